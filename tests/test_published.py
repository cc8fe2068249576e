"""The paper's figures beside ours, and what purification does and costs."""

from types import SimpleNamespace

import pytest

from diffshortcut import links
from diffshortcut.config import catalog, config, sweep
from diffshortcut.report import published, purification
from diffshortcut.report.facts import Baselines, Facts, Published


def row(arm: str, metric: str, value: float, person: str = "anna") -> dict:
    empty = {"prompt": None, "sample": None, "better": "lower", "training_seed": 0}
    return {"arm": arm, "person": person, "metric": metric, "value": value, **empty}


def facts(rows: list[dict], told: Published | None = None) -> Facts:
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    return Facts(arms=arms, rows=rows, baselines=Baselines(None, {}), published=told)


def test_the_papers_figures_stand_beside_those_that_were_measured() -> None:
    told = Published(["q", "seconds per image"], {"ours": [0.34, 51], "tvm": [-0.47, 1]})
    found = published.sheet(facts([row("ours", "q", 0.7), row("sr", "q", 0.5)], told))
    assert found.header == ["arm", "Q", "paper", "seconds per image, paper"]
    assert found.rows == [["ours", "0.700", "0.34", "51"]]
    assert not published.sheet(facts([row("ours", "q", 0.7)])).rows


@pytest.mark.parametrize("name", sorted(published.tables()))
def test_every_arm_that_the_paper_has_is_an_arm_of_the_experiment(name: str) -> None:
    listed = sweep.expand([f"experiment={name}", "data.people=1"]).jobs
    assert name in catalog.groups()["experiment"]
    cfg = config.compose([f"experiment={name}"])
    arms = {arm["name"] for arm in cfg.compare.arms} | set(cfg.compare.worst)
    table = published.tables()[name]
    attacks = {word.partition("=")[2] for job in listed for word in job if "attack=" in word}
    assert set(table) - {"metrics", "radius", "any"} <= (
        attacks or {config.compose([f"experiment={name}"], hydra=True).hydra.runtime.choices.attack}
    )
    for key in set(table) - {"metrics", "radius"}:
        assert set(table[key]) <= arms
        assert {len(values) for values in table[key].values()} == {len(table["metrics"])}
        if table["metrics"] == ["ims", "q", "overall"]:  # as printed: rounded, and one slip
            off = [abs(v[2] - (v[0] + v[1]) / 2) for v in table[key].values()]
            assert max(off) < 0.0251


def test_the_table_is_found_by_experiment_and_attack() -> None:
    def arm(radius: float = 11, **choices: str) -> SimpleNamespace:
        return SimpleNamespace(name="x", choices=choices, config={"attack": {"radius": radius}})

    found = published.of([arm(experiment="table1", attack="glaze")])
    assert found is not None and found.arms["ours"] == [0.23, 0.48]
    assert published.of([arm(attack="glaze")]) is None
    assert published.of([arm(4, experiment="table1", attack="glaze")]) is None
    assert published.of([arm(experiment="figure5", attack="metacloak")]) is not None


def test_seconds_are_of_a_picture_and_of_all_links() -> None:
    rows = [
        row("jpeg+sr", "seconds.purify.jpeg", 11.0),
        row("jpeg+sr", "seconds.purify.sr", 70.0),
        row("jpeg+sr", "seconds.purification.jpeg", 1.0),
        row("jpeg+sr", "seconds.purification.sr", 7.0),
        *(row("jpeg+sr", "psnr_purified", 20.0) for _ in range(4)),
        row("jpeg+sr", "perceptual_purified", 0.25),
        row("perturbed", "perceptual_purified", 0.3),
    ]
    assert purification.seconds(rows) == {"jpeg+sr": 2.0}
    [line] = purification.sheet(facts(rows)).rows
    assert line == ["jpeg+sr", "0.250", "-", "20.000", "-", "-", "2.0"]
    older = [r for r in rows if "purification" not in r["metric"]]  # nothing but wall time
    [line] = purification.sheet(facts(older)).rows
    assert line[-1] == "-"


def test_what_a_link_has_noted_stands_in_the_sheet() -> None:
    told = {"impress": {"last": {"step": 9, "distance": 0.125}, "purification_seconds": 3.0}}
    assert links.seconds(told) == {"seconds.purification.impress": 3.0}
    assert links.noted(told) == {"noted.impress.distance": 0.125}
    rows = [
        row("impress", "seconds.purify.impress", 5.0),
        row("impress", "perceptual_purified", 0.25),
        *(row("impress", metric, value) for metric, value in links.noted(told).items()),
    ]
    found = purification.sheet(facts(rows))
    assert dict(zip(found.header, found.rows[0], strict=True))["impress distance"] == "0.125"
