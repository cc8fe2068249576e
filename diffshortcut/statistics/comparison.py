"""Statistics on rows: what is paired with what, the two units, and who earns a star. No torch.

A row is a dict with arm, person, metric, value, better, prompt, sample (and training_seed).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from diffshortcut.statistics import (
    MIN_PEOPLE,
    Alternative,
    Estimate,
    Wilcoxon,
    holm,
    mean_difference,
    recovered,
    wilcoxon,
)

Row = Mapping[str, Any]
PRIMARY = ("ims", "style", "q", "overall")
STAR = 0.01  # the paper's level (Table 1)
LARGEST = 1e150  # of a value: sums of squares stay finite
IMAGE = ("person", "training_seed", "prompt", "sample")


@dataclass(frozen=True)
class Compared:
    """One arm against another in one metric, arm - against.

    `difference` and `person_test` take the person as unit (means over a person's images, prompts
    and training seeds). `image_test` is of the paper's kind, whose four people cannot reach p <=
    0.01 as units: pairs of images of equal person, prompt and initial latent (None if there are
    none, as between training seeds); they are not independent, so it never earns a star.
    """

    metric: str
    arm: str
    against: str
    better: str | None
    difference: Estimate
    person_test: Wilcoxon
    image_test: Wilcoxon | None


@dataclass(frozen=True)
class Claim:
    """A declared test: `arm` is better in `metric` than every one of `rivals`."""

    metric: str
    arm: str
    rivals: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """A claim's outcome: the largest one-sided person-level p over its rivals, Holm-adjusted.

    `tests` are those of the rivals by name, `people` the fewest that any of them had. `unlike` are
    the rivals measured on other images, with how many people. No star below 8 people nor with an
    unlike rival, whatever p.
    """

    claim: Claim
    hardest: str
    p_value: float
    adjusted: float
    people: int
    star: bool
    tests: dict[str, Wilcoxon]
    unlike: dict[str, int] = field(default_factory=dict)


def compare(rows: Sequence[Row], metric: str, arm: str, against: str) -> Compared:
    """Two-sided tests and the difference with its interval; ValueError if nothing is paired."""
    a, b = _paired(person_means(rows, metric, arm), person_means(rows, metric, against))
    left, right = _paired(_images(rows, metric, arm), _images(rows, metric, against))
    return Compared(
        metric=metric,
        arm=arm,
        against=against,
        better=direction(rows, metric),
        difference=mean_difference(a, b),
        person_test=_tested(a, b),
        image_test=_tested(left, right) if left else None,
    )


def recovery(rows: Sequence[Row], metric: str, ours: str, protected: str, clean: str) -> Estimate:
    """(ours - protected) / (clean - protected) over the people that all three arms have."""
    means = [person_means(rows, metric, arm) for arm in (ours, protected, clean)]
    shared = sorted(set.intersection(*(set(m) for m in means)))
    return recovered(*([m[person] for person in shared] for m in means))


def judge(rows: Sequence[Row], claims: Iterable[Claim], declared: int = 0) -> list[Verdict]:
    """Verdicts of claims, one family for Holm's correction; `declared` if there were more."""
    family = {claim: _tests(rows, claim) for claim in claims}
    hardest = {
        claim: max(tests, key=lambda rival: tests[rival].p_value) for claim, tests in family.items()
    }
    largest = {claim: family[claim][rival].p_value for claim, rival in hardest.items()}
    adjusted = holm(largest, declared)
    return [
        _verdict(c, hardest[c], tests, adjusted[c], _unlike(rows, c)) for c, tests in family.items()
    ]


def grouped(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    """The rows of each arm and metric, in their order."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["arm"], row["metric"]), []).append(row)
    return groups


def against_all(arms: Sequence[str], metric: str, arm: str) -> Claim:
    """The claim that `arm` is better in `metric` than every other arm, measured in it or not.

    Declare it before the rows are looked at: that is what its star means.
    """
    return Claim(metric, arm, tuple(name for name in arms if name != arm))


def unlike(rows: Sequence[Row], metric: str, arm: str, against: str) -> list[str]:
    """Which people that both arms have were not measured on the same images (prompt, sample).

    Where no row says what it is of, nobody.
    """
    unit = ("person", "prompt", "sample")  # of whatever training
    ours, theirs = (_means(rows, metric, name, unit).keys() for name in (arm, against))
    both = {person for person, *_ in ours} & {person for person, *_ in theirs}
    return sorted(both & {person for person, *_ in ours ^ theirs})


def _unlike(rows: Sequence[Row], claim: Claim) -> dict[str, int]:
    """The claim's rivals that were measured on other images, with how many people."""
    found = {rival: len(unlike(rows, claim.metric, claim.arm, rival)) for rival in claim.rivals}
    return {rival: people for rival, people in found.items() if people}


def _verdict(
    claim: Claim,
    hardest: str,
    tests: dict[str, Wilcoxon],
    adjusted: float,
    others: dict[str, int],
) -> Verdict:
    people = min(test.n + test.zeros for test in tests.values())
    return Verdict(
        claim=claim,
        hardest=hardest,
        p_value=tests[hardest].p_value,
        adjusted=adjusted,
        people=people,
        star=people >= MIN_PEOPLE and adjusted <= STAR and not others,
        tests=tests,
        unlike=others,
    )


def _tests(rows: Sequence[Row], claim: Claim) -> dict[str, Wilcoxon]:
    """The claim's one-sided person-level test against each rival."""
    sides: dict[str | None, Alternative] = {"higher": "greater", "lower": "less"}
    better = direction(rows, claim.metric)
    if better not in sides:
        raise ValueError(f"{claim.metric} has no better direction, so no claim can be made of it")
    ours = person_means(rows, claim.metric, claim.arm)
    pairs = {r: _paired(ours, person_means(rows, claim.metric, r)) for r in claim.rivals}
    return {r: _tested(a, b, sides[better]) for r, (a, b) in pairs.items()}


def direction(rows: Sequence[Row], metric: str) -> str | None:
    """higher, lower or None: travels with the rows, never guessed; a row may leave it out."""
    said = (row.get("better") for row in rows if row["metric"] == metric)
    return next((better for better in said if better is not None), None)


def person_means(rows: Sequence[Row], metric: str, arm: str) -> dict[str, float]:
    """Each person's mean over all rows of a metric and arm."""
    return {person[0]: mean for person, mean in _means(rows, metric, arm, ("person",)).items()}


def people_means(rows: Iterable[Row]) -> dict[tuple[str, str], dict[str, float]]:
    """Each person's mean over images, of every arm and metric."""
    return {(arm, m): person_means(of, m, arm) for (arm, m), of in grouped(rows).items()}


def _images(rows: Sequence[Row], metric: str, arm: str) -> dict[Any, float]:
    """Each image's value; rows that say neither prompt nor sample are of no image."""
    images = _means(rows, metric, arm, IMAGE)
    return {image: value for image, value in images.items() if image[-2:] != (None, None)}


def _means(rows: Sequence[Row], metric: str, arm: str, unit: Sequence[str]) -> dict[Any, float]:
    groups: dict[tuple, list[float]] = {}
    for row in rows:
        if row["metric"] == metric and row["arm"] == arm:
            groups.setdefault(tuple(row.get(key) for key in unit), []).append(row["value"])
    return {key: fmean(values) for key, values in groups.items()}


def _paired(a: Mapping[Any, float], b: Mapping[Any, float]) -> tuple[list[float], list[float]]:
    """Values of the units both have, in the order of the first."""
    shared = [key for key in a if key in b]
    return [a[key] for key in shared], [b[key] for key in shared]


def _tested(
    a: Sequence[float], b: Sequence[float], alternative: Alternative = "two-sided"
) -> Wilcoxon:
    """The test of a - b; what rounding of such values can make of nothing counts as nothing."""
    scale = max(map(abs, (*a, *b)), default=0.0)
    return wilcoxon([x - y for x, y in zip(a, b, strict=True)], alternative, scale=scale)


def with_overall(rows: Sequence[Row]) -> list[Row]:
    """The rows and, for each image that has `ims` and `q`, overall = (IMS + Q) / 2 (Table 5)."""
    ims, q = ({_image(row): row for row in rows if row["metric"] == m} for m in ("ims", "q"))
    known = {_image(row) for row in rows if row["metric"] == "overall"}
    added = [
        dict(row) | {"metric": "overall", "value": (row["value"] + q[image]["value"]) / 2}
        for image, row in ims.items()
        if image in q and image not in known
    ]
    return [*rows, *added]


def _image(row: Row) -> tuple:
    return tuple(row.get(key) for key in ("arm", *IMAGE))


def check(rows: Iterable[Row]) -> None:
    """ValueError naming the first row whose value is no finite number to reckon with."""
    for row in rows:
        if not isinstance(row["value"], int | float) or not abs(row["value"]) <= LARGEST:
            raise ValueError(f"{row['metric']} of {row.get('arm')} is {row['value']}: {dict(row)}")
