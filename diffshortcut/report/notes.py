"""What the figures of a comparison are, in sentences."""

from collections.abc import Sequence

from diffshortcut.report.facts import Facts
from diffshortcut.report.sheet import significance, titled
from diffshortcut.statistics import EXACT_UP_TO, MIN_PEOPLE, Wilcoxon
from diffshortcut.statistics.comparison import STAR, Verdict


def notes(facts: Facts) -> list[str]:
    """What the figures are: unit, intervals, tests and stars, in sentences."""
    people = max((facts.people(arm) for arm in facts.arms), default=0)
    lines = [
        f"The unit is the person ({people} here): a figure is the mean over people of each person's"
        " mean over images."
    ]
    if "ims" in facts.metrics:
        lines[0] += (
            " An image without a face has IMS 0 (ims/legacy has a rule of its own) and is counted"
            " under no face."
        )
    if "style" in facts.metrics:
        lines[0] += " Style: CLIP's mean cosine to the artist's held-out works."
    if any(found.difference.low is not None for found in facts.comparisons):
        lines.append(
            "Intervals: 95 % bootstrap over people; a share has one only where that of"
            f" clean - protected lies above 0. p, people: {_about_people_tests(facts)}, not"
            f" corrected for the number of comparisons{_about_pairs(facts)}. Effect: rank-biserial."
        )
    elif people < MIN_PEOPLE or facts.comparisons:
        shared = " in common" if people >= MIN_PEOPLE else ""
        lines.append(f"Fewer than {MIN_PEOPLE} people{shared}: points only, no interval, no star.")
    lines.append(
        f"p, images: Wilcoxon over single images{_about_image_tests(facts)}. The paper's test must"
        " be of this kind, as its four people cannot reach p ≤ 0.01 as units. Images of one trained"
        " model are not independent, so it overstates the evidence and earns no star."
    )
    lines += [_about_stars(facts), *_about_claims(facts), *_about_knowledge(facts)]
    return [*lines, *_about_worst(facts), *_about_flags(facts)]


def _about_people_tests(facts: Facts) -> str:
    """The test with its method, and what it can reach at most."""
    tests = [c.person_test for c in facts.comparisons if c.difference.people >= MIN_PEOPLE]
    least = significance(min(test.smallest_p for test in tests))
    return f"Wilcoxon signed-rank, two-sided, {_method(tests)}, zeros dropped (least p {least})"


def _about_pairs(facts: Facts) -> str:
    """Over how many tests they are corrected, and what that leaves out of reach."""
    if not facts.adjusted:
        return ""
    tests = [c.person_test.smallest_p for c in facts.comparisons if facts.is_paired(c)]
    least = min(1.0, facts.paired * min(tests))
    reach = f" (least p {significance(least)})" if least > STAR else ""
    return f"; p, Holm: corrected for this job's {facts.paired} tests of declared pairs{reach}"


def _about_image_tests(facts: Facts) -> str:
    tests = [c.image_test for c in facts.comparisons if c.image_test]
    return f" ({_method(tests)})" if tests else ""


def _method(tests: Sequence[Wilcoxon]) -> str:
    methods = sorted({test.method for test in tests})
    above = f" above {EXACT_UP_TO} differences" if len(methods) > 1 else ""
    return " or ".join(methods) + above


def _about_stars(facts: Facts) -> str:
    if facts.claims and not facts.verdicts:
        return "What the declared claims (compare.claims) name was not measured: no star is given."
    if not facts.verdicts:
        return "No claim was declared (compare.claims), so no star is given."
    own, family = len(set(facts.claims)), facts.declared
    elsewhere = f", of which {own} are of this job" if family > own else ""
    return (
        f"A star means better than every rival: the largest one-sided p over the rivals, Holm over"
        f" all declared claims ({family}{elsewhere}), adjusted p ≤ {STAR}, at least"
        f" {MIN_PEOPLE} people."
    )


def _about_claims(facts: Facts) -> list[str]:
    """A line per claim: its hardest rival, what was tested how, and what could have come of it."""
    return [_about_claim(verdict, facts.declared) for verdict in facts.verdicts]


def _about_claim(verdict: Verdict, family: int) -> str:
    metric = titled(verdict.claim.metric)
    said = f"Claim {verdict.claim.arm}, {metric}: hardest rival {verdict.hardest}"
    if verdict.people < MIN_PEOPLE:
        return f"{said}; {verdict.people} people are too few for a test."
    test = verdict.tests[verdict.hardest]
    p, holm, least = map(significance, (verdict.p_value, verdict.adjusted, test.smallest_p))
    reach = significance(min(1.0, family * test.smallest_p))
    return (
        f"{said}, p {p}, after Holm {holm} ({test.method}, one-sided, n {test.n}: least p {least},"
        f" after Holm {reach}).{_about_images(verdict)}"
    )


def _about_images(verdict: Verdict) -> str:
    """Which rivals were measured on other images, in a sentence; empty if none."""
    if not verdict.unlike:
        return ""
    rivals = ", ".join(f"{rival} ({people} people)" for rival, people in verdict.unlike.items())
    return f" No star: it was measured on other images (prompt, sample) than {rivals}."


def _about_knowledge(facts: Facts) -> list[str]:
    """What the words of the column `attack knows` mean, where there are any."""
    if not any(facts.knows.values()):
        return []
    return [
        "Attack knows: model, a surrogate is the one that is personalized; prompt, the instance"
        " prompt; trainer, its surrogates are personalized on the same prompts; purifier, it aims"
        " at the purification itself."
    ]


def _about_flags(facts: Facts) -> list[str]:
    return ["A flag marks a suspicious result; docs/flags.md explains each."] if facts.flags else []


def _about_worst(facts: Facts) -> list[str]:
    """Of each worst-of arm who was chosen, and what choosing alone does."""
    lines = [
        f"{name}: of each person the arm with the lowest mean overall"
        f" ({', '.join(f'{arm} {people}' for arm, people in found.counts().items())})."
        for name, found in facts.worst.items()
    ]
    caution = "The lowest of several means lies below each by chance alone: set a worst-of arm"
    controls = (
        "beside one of as many controls; beside any other arm it has no p, and a claim against it"
        " earns no star."
    )
    return [*lines, f"{caution} {controls}"] if lines else []
