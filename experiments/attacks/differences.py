"""What each protection takes, and what a blur or a JPEG leaves of it, of all that was kept.

python -m experiments.kept attacks FOLDER ...   # results of experiment=attacks: keep them
python -m experiments.attacks.differences       # the tables, as markdown
"""

from statistics import fmean

from diffshortcut.config import arms
from diffshortcut.report import published, threat
from diffshortcut.report.sheet import interval
from diffshortcut.statistics import Estimate
from experiments.kept import SHOWN, Kept, difference, markdown, read_kept

FILTERS = ("+gaussian", "+jpeg")
DEFENSES = ("", *FILTERS)
PICTURES = {
    "perceptual_protected": "perceptual",
    "psnr_protected": "PSNR",
    "ssim_protected": "SSIM",
}
Found = dict[str, dict[str, dict[str, Estimate]]]  # attack -> defense -> score -> clean - protected


def main() -> None:
    """Print the tables."""
    found = read_kept("attacks")
    print("\n\n".join(table(found) for table in (means, lost, left)))


def means(found: Kept) -> str:
    """The means of every arm."""
    lines = [["arm", "people", *SHOWN.values(), *PICTURES.values(), "attack knows"]]
    seen = _pictures(found)
    for attack, name in sorted(found):
        people = found[attack, name].people
        scores = [{**seen[attack].get(person, {}), **of} for person, of in people.items()]
        cells = [_mean(scores, metric) for metric in (*SHOWN, *PICTURES)]
        lines.append([name.replace("protected", attack), str(len(people)), *cells, knows(attack)])
    return markdown(lines)


def _pictures(found: Kept) -> dict[str, dict[str, dict[str, float]]]:
    """Attack -> person -> how visible the protection is, whichever arm has measured it."""
    seen: dict[str, dict[str, dict[str, float]]] = {}
    for (attack, _), arm in found.items():
        for person, of in arm.people.items():
            scores = {metric: of[metric] for metric in PICTURES if metric in of}
            seen.setdefault(attack, {}).setdefault(person, {}).update(scores)
    return seen


def _mean(people: list[dict[str, float]], metric: str) -> str:
    """Over all of them; a dash unless each has been measured."""
    return f"{fmean(p[metric] for p in people):.3f}" if all(metric in p for p in people) else "-"


def knows(attack: str) -> str:
    """What the attack, as configured today, knows of the victim of these tables."""
    words = [f"attack={attack}", "purifier=none", "compare.arms=[]"]
    return ", ".join(threat.known(arms.compose(words)[-1].config))


def lost(found: Kept) -> str:
    """clean - protected, undefended, after a blur, after a JPEG."""
    lines = [["clean - protected", "people", *SHOWN.values(), "the paper (Table 1), IMS / Q"]]
    for attack, defenses in differences(found).items():
        for defense, scores in defenses.items():
            cells = [interval(scores[m], "+") for m in SHOWN]
            people = str(scores["overall"].people)
            lines.append([attack + defense, people, *cells, _reported(attack, defense)])
    return markdown(lines)


def left(found: Kept) -> str:
    """What a blur and a JPEG leave of what was lost: shares of the means of equal people.

    Of the overall score, of which every attack takes much; most is left first.
    """
    shares: dict[str, list[float | None]] = {}
    for attack, defenses in differences(found).items():
        lost = {d: scores["overall"] for d, scores in defenses.items()}
        if attack != "random" and len({one.people for one in lost.values()}) == 1 < len(lost):
            shares[attack] = [ratio(lost[d], lost[""]) if d in lost else None for d in FILTERS]
    ranked = sorted(shares.items(), key=lambda item: -(item[1][0] or 0))
    percent = [[attack, *("-" if s is None else f"{s:.0%}" for s in of)] for attack, of in ranked]
    return markdown([["left of the overall score's loss", "after a blur", "a JPEG"], *percent])


def ratio(part: Estimate, whole: Estimate) -> float | None:
    """None of nothing."""
    return part.value / whole.value if part.value is not None and whole.value else None


def differences(found: Kept) -> Found:
    """Of the attacks whose clean arm of equal defense is there."""
    made: Found = {}
    for attack, arm in sorted(found):
        base = "random" if attack == "random" else "protected"
        defense = arm.removeprefix(base)
        if attack != "none" and defense in DEFENSES:
            pair = ("none", f"clean{defense}"), (attack, arm)
            scores = {metric: difference(found, *pair, metric) for metric in SHOWN}
            there = {metric: value for metric, value in scores.items() if value}
            if there:
                made.setdefault(attack, {})[defense] = there
    return made


def _reported(attack: str, defense: str) -> str:
    """What the paper's clean arm has more than the attack's arm, which is its only clean one."""
    table = published.tables()["table1"].get(attack)
    if table is None:
        return "-"
    there = table[defense.removeprefix("+") or "perturbed"]
    pairs = zip(table["clean"], there, strict=True)
    return " / ".join(f"{clean - protected:.2f}" for clean, protected in pairs)


if __name__ == "__main__":
    main()
