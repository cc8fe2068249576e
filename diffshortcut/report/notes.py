"""What the figures of a comparison are, in sentences."""

from diffshortcut.comparison import STAR
from diffshortcut.report.facts import Facts
from diffshortcut.statistics import MIN_PEOPLE


def notes(facts: Facts) -> list[str]:
    """What the figures are: unit, intervals, tests and stars, in sentences."""
    people = max((facts.people(arm) for arm in facts.arms), default=0)
    lines = [
        f"The unit is the person ({people} here): a figure is the mean over people of each person's"
        " mean over images."
    ]
    if "ims" in facts.metrics:
        lines[0] += " An image without a face has IMS 0 and is counted under no face."
    if "style" in facts.metrics:
        lines[0] += " Style: CLIP's mean cosine to the artist's held-out works."
    if any(found.difference.low is not None for found in facts.comparisons):
        lines.append(
            "Intervals: 95 % bootstrap over people; a share has one only where that of"
            " clean - protected lies above 0. p, people: Wilcoxon signed-rank, two-sided, zeros"
            " dropped, not corrected for the number of comparisons. Effect: rank-biserial."
        )
    elif people < MIN_PEOPLE or facts.comparisons:
        shared = " in common" if people >= MIN_PEOPLE else ""
        lines.append(f"Fewer than {MIN_PEOPLE} people{shared}: points only, no interval, no star.")
    lines.append(
        "p, images: the paper's image-level Wilcoxon test. Images of one trained model are not"
        " independent, so it overstates the evidence and earns no star."
    )
    lines += [_about_stars(facts), *_about_knowledge(facts)]
    return [*lines, *_about_worst(facts), *_about_flags(facts)]


def _about_stars(facts: Facts) -> str:
    if facts.claims and not facts.verdicts:
        return "What the declared claims (compare.claims) name was not measured: no star is given."
    if not facts.verdicts:
        return "No claim was declared (compare.claims), so no star is given."
    return (
        f"A star means better than every rival: the largest one-sided p over the rivals, Holm over"
        f" all declared claims ({len(set(facts.claims))}), adjusted p ≤ {STAR}, at least"
        f" {MIN_PEOPLE} people."
    )


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
    controls = "beside one of as many controls; a claim against it earns no star."
    return [*lines, f"{caution} {controls}"] if lines else []
