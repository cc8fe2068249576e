"""What each protection takes, and what a blur or a JPEG leaves of it.

    python experiments/attacks/collect.py FOLDER ...  # results of experiment=attacks: keep them
    python experiments/attacks/collect.py             # the table of what was kept, as markdown

means.jsonl beside this file holds a line per arm and person: the mean over the images, which is all
that the table needs, so that runs of many sittings and machines come together.
"""

import json
import sys
from pathlib import Path
from statistics import fmean

from diffshortcut.comparison import person_means
from diffshortcut.report import published
from diffshortcut.report.table import interval
from diffshortcut.statistics import Estimate, mean_difference

RECORD = Path(__file__).parent / "means.jsonl"
METRICS = ("ims", "q", "overall", "no_face", "perceptual_protected", "psnr_protected")
SHOWN = {"ims": "IMS", "q": "Q", "overall": "overall"}
DEFENSES = ("", "+gaussian", "+jpeg")
Means = dict[str, dict[str, dict[str, float]]]  # arm -> person -> metric -> mean


def main(*folders: str) -> None:
    """One of the two commands of the docstring."""
    if not folders:
        print(table(kept()))
        return
    found = kept()
    for folder in map(Path, folders):
        if (folder / "rows.jsonl").is_file():
            for arm, people in means(folder).items():
                found.setdefault(arm, {}).update(people)
    lines = [
        json.dumps({"arm": arm, "person": person, **found[arm][person]})
        for arm in sorted(found)
        for person in sorted(found[arm])
    ]
    RECORD.write_text("".join(f"{line}\n" for line in lines))


def means(folder: Path) -> Means:
    """Of every arm of a result; `protected` is called by its attack."""
    rows = [json.loads(line) for line in (folder / "rows.jsonl").open()]
    arms = list(json.loads((folder / "comparison.json").read_text())["arms"])
    found: Means = {}
    for arm in arms:
        name = arm.replace("protected", arms[-1])
        if "".join(name.partition("+")[1:]) not in DEFENSES:  # of another experiment
            continue
        of_arm = found.setdefault(name, {})
        for metric in METRICS:
            for person, value in person_means(rows, metric, arm).items():
                of_arm.setdefault(person, {})[metric] = value
    return found


def kept() -> Means:
    """What the record holds."""
    found: Means = {}
    for line in RECORD.read_text().splitlines() if RECORD.is_file() else []:
        row = json.loads(line)
        found.setdefault(row.pop("arm"), {})[row.pop("person")] = row
    return found


def table(found: Means) -> str:
    """Means of every arm; then clean - protected, undefended, after a blur, after a JPEG."""
    header = ["arm", "people", *SHOWN.values(), "perceptual", "PSNR"]
    lines = [header, ["---"] * len(header)]
    for arm, people in found.items():
        shown = [*SHOWN, "perceptual_protected", "psnr_protected"]
        cells = [f"{fmean(p[m] for p in people.values()):.3f}" for m in shown]
        lines.append([arm, str(len(people)), *cells])
    header = ["clean - protected", "people", *SHOWN.values(), "the paper (Table 1), IMS / Q"]
    compared = [header, ["---"] * len(header)]
    for attack, defenses in differences(found).items():
        for defense, scores in defenses.items():
            cells = [interval(scores[m], "+") for m in SHOWN]
            people = str(scores["overall"].people)
            compared.append([attack + defense, people, *cells, reported(attack, defense)])
    return "\n\n".join(
        "\n".join("| " + " | ".join(line) + " |" for line in part) for part in (lines, compared)
    )


def differences(found: Means) -> dict[str, dict[str, dict[str, Estimate]]]:
    """attack -> defense -> score -> clean - protected, where the clean arm of the defense is."""
    made: dict[str, dict[str, dict[str, Estimate]]] = {}
    for arm, people in found.items():
        defense = next(d for d in reversed(DEFENSES) if arm.endswith(d))
        attack, clean = arm.removesuffix(defense), found.get(f"clean{defense}")
        if clean is not None and attack != "clean":
            both = sorted(people.keys() & clean.keys())
            made.setdefault(attack, {})[defense] = {
                m: mean_difference(*([x[p][m] for p in both] for x in (clean, people)))
                for m in SHOWN
            }
    return made


def reported(attack: str, defense: str) -> str:
    """What the paper's clean arm has more than the attack's arm, which is its only clean one."""
    table = published.tables()["table1"].get(attack)
    if table is None:
        return "-"
    there = table[defense.removeprefix("+") or "perturbed"]
    pairs = zip(table["clean"], there, strict=True)
    return " / ".join(f"{clean - protected:.2f}" for clean, protected in pairs)


if __name__ == "__main__":
    main(*sys.argv[1:])
