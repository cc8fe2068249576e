"""Statistics against scipy and values worked by hand."""

import html
import math
import re
import warnings
from itertools import product

import numpy as np
import pytest
from markdown_it import MarkdownIt
from scipy import stats

from diffshortcut.report.sheet import Sheet, as_markdown, as_tex
from diffshortcut.statistics import (
    bootstrap,
    deviation,
    fewest,
    holm,
    mean,
    mean_difference,
    recovered,
    smallest_p,
    wilcoxon,
)
from diffshortcut.statistics.comparison import (
    Claim,
    against_all,
    check,
    compare,
    grouped,
    judge,
    people_means,
    recovery,
    unlike,
)


@pytest.mark.parametrize(("n", "floor"), [(4, 0.125), (7, 0.015625), (8, 0.0078125)])
def test_smallest_attainable_p(n, floor):
    test = wilcoxon(np.arange(1, n + 1))
    assert test.p_value == test.smallest_p == floor
    assert (test.method, test.n, test.zeros, test.effect) == ("exact", n, 0, 1.0)
    assert wilcoxon(np.arange(1, n + 1), "greater").p_value == floor / 2


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
@pytest.mark.parametrize("n", [5, 12, 40, 80])
def test_agrees_with_scipy(n, alternative):
    values = np.random.default_rng(n).normal(0.2, 1, n)
    ours = wilcoxon(values, alternative)
    theirs = stats.wilcoxon(
        values,
        alternative=alternative,
        method="exact" if n <= 50 else "asymptotic",
        correction=True,
    )
    assert ours.p_value == pytest.approx(float(theirs.pvalue), rel=1e-9)
    assert ours.method == ("exact" if n <= 50 else "normal approximation")


def test_ties_are_exact_and_zeros_dropped():
    values = np.array([1.0, 1.0, -1.0, 2.0, 2.0, 0.0, 3.0])
    ranks = np.array([2, 2, 2, 4.5, 4.5, 6])  # mid-ranks of the six that are not 0, by hand
    sums = [ranks[np.array(signs, bool)].sum() for signs in product([0, 1], repeat=6)]
    test = wilcoxon(values, "greater")
    assert test.p_value == pytest.approx(np.mean(np.array(sums) >= 19))
    assert (test.n, test.zeros, test.positive_ranks) == (6, 1, 19.0)
    assert test.effect == pytest.approx((19 - 2) / 21)


def test_ties_below_are_exact_too():
    values = np.array([-1.0, 1.0, -1.0, -2.0, 2.0, 0.0, -3.0])
    ranks = np.array([2, 2, 2, 4.5, 4.5, 6])  # W+ is that of 1 and of 2: 6.5
    sums = [ranks[np.array(signs, bool)].sum() for signs in product([0, 1], repeat=6)]
    test = wilcoxon(values, "less")
    assert test.p_value == pytest.approx(np.mean(np.array(sums) <= 6.5))
    assert (test.alternative, test.smallest_p) == ("less", 0.5**6)
    opposite = wilcoxon(-values, "less").p_value
    assert opposite == pytest.approx(np.mean(np.array(sums) <= 21 - 6.5)) and opposite < 1


def test_what_differs_by_rounding_is_a_tie():
    twelfths = [2 / 12 - 1 / 12, 3 / 12 - 2 / 12, 3 / 12 - 4 / 12, 5 / 12 - 4 / 12, 6 / 12 - 5 / 12]
    assert len(set(map(abs, twelfths))) > 1
    for scale in (1.0, 1e-9, 1e9):
        values = np.array(twelfths) * scale
        assert wilcoxon(values, "greater") == wilcoxon([1, 1, -1, 1, 1], "greater")
    assert wilcoxon(twelfths, "greater").p_value == pytest.approx(6 / 32)
    near = wilcoxon([1.0, 1 + 1e-11, -1 - 2e-11])  # no rounding: three ranks
    assert near.positive_ranks == 3


def test_a_difference_of_nothing_but_rounding_is_none():
    """0.1 + 0.2 is not 0.3: an arm that equals another has not won."""
    values = {"a": [[0.1 + 0.2]] * 8, "b": [[0.3]] * 8}
    found = compare(rows_of(values), "ims", "a", "b")
    assert (found.person_test.zeros, found.person_test.p_value) == (8, 1)
    assert (found.image_test.zeros, found.image_test.p_value) == (8, 1)
    [verdict] = judge(rows_of(values), [Claim("ims", "a", ("b",))])
    assert verdict.p_value == 1 and not verdict.star
    values = {"a": [[0.5 + p * 1e-6] for p in range(1, 4)], "b": [[0.5]] * 3}  # small, but true
    assert compare(rows_of(values), "ims", "a", "b").person_test.n == 3


def test_fifty_pairs_are_the_last_that_are_exact():
    assert wilcoxon(np.arange(1.0, 51)).method == "exact"
    assert wilcoxon(np.arange(1.0, 52)).method == "normal approximation"


def test_no_p_value_is_above_one():
    assert [wilcoxon([sign], "greater").p_value for sign in (1.0, -1.0)] == [0.5, 1.0]
    assert smallest_p(0) == 1 and smallest_p(1) == 1 and smallest_p(2) == smallest_p(2, "two-sided")


def test_the_reach_of_an_interval_is_student_s():
    """Hesterberg's formula, seen in which quantiles are taken of draws from 0 to 1."""
    people = 9
    found = bootstrap(np.ones((people, 1)), lambda m: np.linspace(0, 1, len(m)))
    reach = stats.t.ppf(0.975, people - 1) * np.sqrt(people / (people - 1))
    assert found.low == pytest.approx(stats.norm.cdf(-reach))
    assert found.high == pytest.approx(1 - stats.norm.cdf(-reach))
    assert (found.people, found.level) == (people, 0.95)
    narrow = bootstrap(np.ones((people, 1)), lambda m: np.linspace(0, 1, len(m)), level=0.8)
    assert narrow.level == 0.8 and found.low < narrow.low < narrow.high < found.high


def test_a_ratio_with_nothing_below_warns_nobody():
    with warnings.catch_warnings(action="error"):
        found = bootstrap(
            np.tile([[1.0, 0.0]], (9, 1)), lambda m: np.divide(*m.T) if len(m) > 1 else m[:, 0]
        )
    assert found.low is None


def test_points_say_their_people_and_level_too():
    few = bootstrap(np.ones((3, 1)), lambda m: m[:, 0], level=0.9)
    undefined = bootstrap(np.ones((9, 1)), lambda m: np.full(len(m), np.inf), level=0.9)
    assert (few.people, few.level, undefined.people, undefined.level) == (3, 0.9, 9, 0.9)
    assert undefined.low is None
    assert recovered([1.0] * 4, [2.0] * 4, [2.0] * 4).people == 4


def test_no_difference_at_all():
    test = wilcoxon([0.0, 0.0, 0.0])
    assert (test.p_value, test.n, test.zeros, test.effect, test.smallest_p) == (1, 0, 3, 0, 1)


def test_not_finite_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        wilcoxon([1.0, float("nan")])
    with pytest.raises(ValueError, match="NaN"):
        mean_difference([1.0, float("inf")], [0.0, 0.0])


def test_another_alternative_is_refused():
    with pytest.raises(ValueError, match="'two_sided' is none of two-sided, greater, less"):
        wilcoxon([1.0, 2.0], "two_sided")


@pytest.mark.parametrize("p", [math.nan, -0.1, 1.1])
def test_holm_takes_p_values_only(p):
    with pytest.raises(ValueError, match="the p-value of b is .*not between 0 and 1"):
        holm({"a": 0.01, "b": p})


def test_holm_by_hand():
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert adjusted == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert list(adjusted) == ["a", "b", "c", "d"]
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}
    assert holm({"a": 0.01, "b": 0.04}, 4) == pytest.approx({"a": 0.04, "b": 0.12})


def test_bootstrap_covers_the_mean():
    rng, hits = np.random.default_rng(7), 0
    for trial in range(600):
        sample = rng.normal(1.0, 1.0, (8, 1))
        found = bootstrap(sample, lambda m: m[:, 0], draws=2000, seed=trial)
        hits += found.low <= 1.0 <= found.high
    assert 0.92 <= hits / 600 <= 0.98


def test_below_eight_people_only_points():
    found = mean_difference([3.0, 4.0, 5.0], [1.0, 1.0, 1.0])
    assert (found.value, found.low, found.high, found.people) == (3.0, None, None, 3)
    assert not found.positive


def test_recovered_share():
    people = np.linspace(0, 0.1, 9)
    found = recovered(people + 0.5, people + 0.2, people + 0.6)
    assert found.value == pytest.approx(0.75)
    assert found.low == pytest.approx(0.75) and found.high == pytest.approx(0.75)
    noise = np.array([1, -1, 1, -1, 1, -1, 1, -1, 0.5]) * 0.3
    weak = recovered(people + 0.5, people + 0.2, people + 0.2 + noise)
    assert weak.low is None and weak.value is not None
    assert recovered(people, people, people).value is None
    gained = recovered(people + 0.55, people + 0.7, people + 0.5)  # the "protection" helped
    assert gained.low is None


def test_a_share_of_nothing_in_some_draws_has_no_interval():
    """Three of eight people score 0 in every arm: a draw of those three alone is 0 / 0."""
    there = np.array([0.0] * 3 + [1.0] * 5)
    found = recovered(0.5 * there, 0.1 * there, there)
    assert found.value == pytest.approx(4 / 9) and found.low is None and found.high is None


def rows_of(values, better="higher", metric="ims"):
    """Rows of {arm: [one list of images per person]}."""
    return [
        {
            "arm": arm,
            "person": f"p{p}",
            "metric": metric,
            "prompt": "x",
            "sample": s,
            "value": value,
            "better": better,
        }
        for arm, people in values.items()
        for p, images in enumerate(people)
        for s, value in enumerate(images)
    ]


def test_person_and_image_units():
    rows = rows_of({"a": [[1.0, 2.0], [3.0, 5.0]], "b": [[0.0, 0.0], [1.0, 1.0]]})
    found = compare(rows, "ims", "a", "b")
    assert found.difference.value == pytest.approx((1.5 + 3.0) / 2)
    assert (found.person_test.n, found.image_test.n) == (2, 4)
    assert found.better == "higher" and found.difference.low is None


def test_pairs_are_what_both_arms_have():
    rows = rows_of({"a": [[1.0], [3.0], [9.0]], "b": [[0.0], [1.0]]})
    found = compare(rows, "ims", "a", "b")
    assert found.difference.people == 2 and found.difference.value == pytest.approx(1.5)


def test_images_of_different_training_seeds_are_no_pairs():
    rows = rows_of({"a": [[1.0], [3.0]], "b": [[0.0], [1.0]]})
    seeded = [{**row, "training_seed": int(row["arm"] == "b")} for row in rows]
    found = compare(seeded, "ims", "a", "b")
    assert found.image_test is None and found.difference.value == pytest.approx(1.5)


def test_rows_that_say_of_no_image_are_no_pairs_of_images():
    """Means per person, as they are kept: the test over people is none over images."""
    kept = ("arm", "person", "metric", "value", "better")
    rows = [
        {k: row[k] for k in kept} for row in rows_of({"a": [[1.0], [3.0]], "b": [[0.0], [1.0]]})
    ]
    found = compare(rows, "ims", "a", "b")
    assert found.image_test is None and found.person_test.n == 2


@pytest.mark.parametrize(("better", "star"), [("higher", True), ("lower", False)])
def test_star_needs_to_beat_every_rival_in_the_right_direction(better, star):
    base = np.linspace(0, 0.2, 9)
    arms = {name: (base + x)[:, None] for name, x in {"ours": 0.3, "jpeg": 0.1, "tvm": 0.2}.items()}
    rows = rows_of(arms, better=better)
    [verdict] = judge(rows, [Claim("ims", "ours", ("jpeg", "tvm"))])
    assert verdict.star is star and verdict.people == 9
    [other] = judge(rows, [Claim("ims", "tvm", ("jpeg", "ours"))])
    assert not other.star and other.hardest == ("ours" if better == "higher" else "jpeg")


def test_no_star_below_eight_people_nor_after_too_many_claims():
    def rows(people):
        ours = [[1.0 + p / 10] for p in range(people)]
        return rows_of({"ours": ours, "jpeg": [[0.0]] * people})

    claim = Claim("ims", "ours", ("jpeg",))
    [seven], [eight] = judge(rows(7), [claim]), judge(rows(8), [claim])
    assert not seven.star and eight.star and eight.p_value == 0.5**8
    many = rows(8) + [{**row, "metric": f"m{i}"} for row in rows(8) for i in range(3)]
    verdicts = judge(many, [claim, *(Claim(f"m{i}", "ours", ("jpeg",)) for i in range(3))])
    assert not verdicts[0].star and verdicts[0].adjusted == pytest.approx(4 * 0.5**8)


def test_no_star_beside_an_arm_of_other_images():
    """Rows that say nothing of their images are taken as they are."""
    ours, other = [[1.0 + p / 10] * 2 for p in range(8)], [[0.0, 0.0]] * 7 + [[0.0]]
    rows = rows_of({"ours": ours, "jpeg": other})
    claim = Claim("ims", "ours", ("jpeg",))
    [verdict] = judge(rows, [claim])
    assert not verdict.star and verdict.unlike == {"jpeg": 1}
    assert unlike(rows, "ims", "ours", "jpeg") == ["p7"]
    for row in rows:
        del row["prompt"], row["sample"]
    [verdict] = judge(rows, [claim])
    assert verdict.star and verdict.unlike == {}


def test_a_comparison_and_a_verdict_say_what_was_tested():
    values = {"ours": [[1.0 + p / 10] for p in range(8)], "jpeg": [[0.0]] * 7 + [[1.7]]}
    rows = rows_of(values)
    found = compare(rows, "ims", "ours", "jpeg")
    assert (found.metric, found.arm, found.against, found.better) == (
        "ims", "ours", "jpeg", "higher")  # fmt: skip
    claim = Claim("ims", "ours", ("jpeg",))
    [verdict] = judge(rows, [claim])
    assert verdict.claim == claim and verdict.tests["jpeg"].zeros == 1
    assert verdict.people == 8  # the one without a difference is one of them
    [alone], [of_many] = judge(rows, [claim]), judge(rows, [claim], 5)
    assert of_many.adjusted == pytest.approx(5 * alone.adjusted)
    assert judge(rows, [claim], 1) == judge(rows, [claim])


def test_lower_may_be_better():
    rows = rows_of({"ours": [[p / 10] for p in range(8)], "jpeg": [[2.0]] * 8}, better="lower")
    [verdict] = judge(rows, [Claim("ims", "ours", ("jpeg",))])
    assert verdict.star and verdict.tests["jpeg"].alternative == "less"


def test_a_claim_needs_a_direction():
    rows = rows_of({"ours": [[1.0]], "jpeg": [[2.0]]}, better=None)
    with pytest.raises(ValueError, match="ims has no better direction"):
        judge(rows, [Claim("ims", "ours", ("jpeg",))])


def test_the_means_of_all_people():
    rows = rows_of({"ours": [[1.0, 3.0], [4.0]], "jpeg": [[5.0]]})
    rows += rows_of({"ours": [[7.0]]}, metric="q")
    assert people_means(rows) == {
        ("ours", "ims"): {"p0": 2.0, "p1": 4.0},
        ("jpeg", "ims"): {"p0": 5.0},
        ("ours", "q"): {"p0": 7.0},
    }


def test_rows_are_grouped_in_their_order():
    rows = rows_of({"ours": [[1.0, 2.0]], "jpeg": [[3.0]]})
    assert grouped(rows) == {("ours", "ims"): rows[:2], ("jpeg", "ims"): rows[2:]}


def test_recovery_on_rows():
    rows = rows_of({"ours": [[0.5], [0.6]], "protected": [[0.2], [0.2]], "clean": [[0.6], [0.8]]})
    found = recovery(rows, "ims", "ours", "protected", "clean")
    assert found.value == pytest.approx((0.55 - 0.2) / (0.7 - 0.2)) and found.people == 2


def test_check_names_the_row():
    with pytest.raises(ValueError, match="ims of a is nan"):
        check(rows_of({"a": [[float("nan")]]}))


@pytest.mark.parametrize(
    ("p", "alternative", "tests", "n"),
    [
        (0.01, "two-sided", 1, 8),
        (0.01, "greater", 1, 7),
        (0.01, "greater", 3, 9),
        (0.5, "less", 1, 1),
    ],
)
def test_the_fewest_people_that_can_reach_a_level(p, alternative, tests, n):
    assert fewest(p, alternative, tests) == n
    assert tests * smallest_p(n, alternative) <= p < tests * smallest_p(n - 1, alternative)


def test_alone_and_two_sided_unless_told():
    assert fewest(0.01) == fewest(0.01, "two-sided", 1) == 8


def test_a_level_must_be_one():
    with pytest.raises(ValueError, match="between 0 and 1"):
        fewest(0.0)


def test_deviation_needs_two_people():
    assert deviation([1.0, 3.0]) == pytest.approx(2**0.5)
    assert deviation([1.0]) is None


def test_a_claim_against_all_others_names_them():
    assert against_all(["a", "b", "c"], "q", "b") == Claim("q", "b", ("a", "c"))


def test_tables_for_papers_are_escaped():
    sheet = Sheet("50 % of $x_1$", ["a_b", "c"], [["x & y", "1 ± 2"], ["q,r", "#"]])
    latex = sheet.latex()
    assert r"\caption{50 \% of \$x\_1\$}" in latex and r"x \& y & 1 $\pm$ 2 \\" in latex
    assert sheet.csv() == 'a_b,c\nx & y,1 ± 2\n"q,r",#\n'


def test_latex_sets_a_minus_and_leaves_hyphens():
    told = {
        "-0.154 ± 0.095": r"$-$0.154 $\pm$ 0.095",
        "+0.140 [-0.100, +0.200]": "+0.140 [$-$0.100, +0.200]",
        "1.2e-05 (exact, n 9)": "1.2e$-$05 (exact, n 9)",
        "a-1 of 2026-11-28, x--2": "a-1 of 2026-11-28, x--2",
        "-": "-",
    }
    assert {text: as_tex(text) for text in told} == told


def test_names_cannot_break_out_of_a_table():
    evil = "a|b\n<img src=x onerror=alert(1)>"
    sheet = Sheet(evil, ["name", "figure"], [[evil, "-"], ["=1+1", "+0.140 [+0.100, -0.200]"]])
    title, _, header, _, line, _, _ = sheet.markdown().split("\n")
    assert title == r"## a\|b &lt;img src=x onerror=alert(1)&gt;" and header == "| name | figure |"
    assert line == f"| {title[3:]} | - |"
    texts = ["=1+1", "@SUM(A1)", "-2+3+cmd|' /C calc'!A0", "+x", "-1 ± =1", "-", "-0.5", "+1.2e-05"]
    texts += ["a-b", "-0.154 ± 0.095"]
    csv = Sheet("t", ["h"], [[text] for text in texts]).csv().split("\n")
    assert csv[1:6] == [f"'{text}" for text in texts[:5]] and csv[6:11] == texts[5:]
    assert sheet.csv().endswith("""'=1+1,"+0.140 [+0.100, -0.200]"\n""")


@pytest.mark.parametrize(
    "name",
    ["[x](javascript:alert(1))", "![x](http://x/y)", "[x][y]", "[x]: y", "*x*", "**x**", "1*2*",
     "_x_", "__x__", "`x`", "~~x~~", "a\\|b", "\\[x](y)", "\\`x`", "<u>x</u>", "x\\"],
)  # fmt: skip
def test_a_name_is_no_markup(name):
    """As a CommonMark reader with tables sees it: only text, and all of it."""
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    table = Sheet("t", ["arm", "IMS"], [[name, "0.504*"], [name, "0.8 [0.7, 0.9]"]]).markdown()
    page = reader.render(table + "\n* " + as_markdown(name) + "\n")
    tags = set(re.findall(r"<(\w+)", page)) - {"h2", "table", "thead", "tbody", "tr", "th", "td"}
    assert tags == {"ul", "li"}
    assert page.count(html.escape(name)) == 3 and "<td>0.504*</td>" in page
    assert "0.8 [0.7, 0.9]" in table and "| 0.504* |" in table


def test_a_row_of_latex_is_no_option_of_the_row_before():
    latex = Sheet("t", ["name"], [["[a]"], ["*"]]).latex(note="a < b")
    assert "\n{}[a] \\\\\n{}* \\\\\n" in latex
    assert r"{\footnotesize a $<$ b\par}" in latex.split(r"\end{tabular}")[1]


def test_intervals_are_repeatable_and_their_seed_is_heeded():
    """By default the seed is 0; an interval that is drawn anew each time cannot be compared."""
    values = np.random.default_rng(1).normal(size=(3, 12))
    ours, protected, clean = values[0] + 1, values[1], values[2] + 3
    makers = {
        "mean": lambda **seed: mean(ours, **seed),
        "difference": lambda **seed: mean_difference(ours, protected, **seed),
        "share": lambda **seed: recovered(ours, protected, clean, **seed),
    }
    for make in makers.values():
        assert make() == make(seed=0) and make(seed=7) == make(seed=7)
        assert make(seed=7).low != make(seed=0).low
        assert make().low < make().value < make().high


def test_the_mean_of_people():
    found = mean([1.0, 2.0, 3.0] * 4)
    assert found.value == 2.0 and found.people == 12
    assert found == bootstrap(np.array([[1.0], [2.0], [3.0]] * 4), lambda m: m[:, 0])
