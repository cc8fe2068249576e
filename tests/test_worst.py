"""Worst-of arms: of each person all rows of the one arm that did worst."""

import pytest

from diffshortcut.report import worst
from diffshortcut.statistics.comparison import person_means


def rows(levels, metric="overall", better="higher"):
    """Two images per person of arm -> person -> mean."""
    return [
        {"arm": arm, "person": person, "metric": metric, "value": mean + shift, "better": better}
        | {"prompt": "p", "sample": sample, "training_seed": 0}
        for arm, people in levels.items()
        for person, mean in people.items()
        for sample, shift in enumerate((-0.05, 0.05))
    ]


LEVELS = {
    "a": {"ann": 0.1, "bob": 0.5, "cat": 0.3},
    "b": {"ann": 0.2, "bob": 0.4, "cat": 0.3},
    "c": {"ann": 0.0, "bob": 0.0, "cat": 0.0},  # not asked for
}


def test_the_lowest_mean_of_each_person_is_taken():
    found = worst.choose(rows(LEVELS), {"ab": ["a", "b"]})
    assert found["ab"].chosen == {"ann": "a", "bob": "b", "cat": "a"}  # the first of equals
    assert found["ab"].counts() == {"a": 2, "b": 1}
    copies = found["ab"].rows("ab", rows(LEVELS))
    expected = {"ann": 0.1, "bob": 0.4, "cat": 0.3}
    assert person_means(copies, "overall", "ab") == pytest.approx(expected)
    assert {row["arm"] for row in copies} == {"ab"} and len(copies) == 6


def test_every_metric_comes_from_the_same_arm():
    noise = {"a": {"ann": 9.0, "bob": 1.0}, "b": {"ann": 1.0, "bob": 9.0}}  # would say the contrary
    both = rows(LEVELS) + rows(noise, "perceptual_purified", "lower")
    copies = worst.choose(both, {"ab": ["a", "b"]})["ab"].rows("ab", both)
    assert person_means(copies, "perceptual_purified", "ab") == {"ann": 9.0, "bob": 9.0}


def test_single_images_do_not_decide():
    one = [{**row, "value": -1.0} if row["arm"] == "b" else row for row in rows(LEVELS)[:2]]
    lucky = [{**one[0], "arm": "b", "value": -0.5}, {**one[1], "arm": "b", "value": 0.9}]
    assert worst.choose([*one, *lucky], {"ab": ["a", "b"]})["ab"].chosen == {"ann": "a"}


def test_a_person_whom_one_arm_lacks_does_not_count():
    partly = {**LEVELS, "b": {"bob": 0.4}}
    assert worst.choose(rows(partly), {"ab": ["a", "b"]})["ab"].chosen == {"bob": "b"}


@pytest.mark.parametrize("measured", [rows({"a": LEVELS["a"]}), rows(LEVELS, "ims"), []])
def test_an_arm_of_nobody_is_left_out(measured, caplog):
    assert worst.choose(measured, {"ab": ["a", "b"]}) == {}
    assert "left out" in caplog.text and "ab" in caplog.text
