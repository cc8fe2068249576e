"""What experiments measured, as means per person: runs of many sittings and machines meet here.

    python -m experiments.kept table1 FOLDER ...  # keep what these results hold
    python -m experiments.kept table1             # all that is kept, beside the paper, as markdown

`means.jsonl` in the experiment's folder has a line per attack, arm and person: the means over the
images, which is all that tables and tests by person need. A later result replaces an earlier one.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from diffshortcut.comparison import people_means
from diffshortcut.disk import read_object
from diffshortcut.report import published
from diffshortcut.report.sheet import interval
from diffshortcut.rows import read
from diffshortcut.statistics import Estimate, mean, mean_difference

HERE = Path(__file__).parent
PICTURES = ("perceptual_protected", "psnr_protected", "perceptual_purified")
METRICS = ("ims", "q", "overall", "liqe", "no_face", *PICTURES)
SHOWN = {"ims": "IMS", "q": "Q", "overall": "overall"}
CLEAN = ("none", "clean")  # its attack and arm
Scores = dict[str, float]  # metric -> mean over a person's images
Kept = dict[tuple[str, str], dict[str, Scores]]  # (attack, arm) -> person -> scores


def main(name: str, *folders: str) -> None:
    """One of the two commands of the docstring."""
    found = read_kept(name)
    if not folders:
        print(table(name, found))
        return
    for folder in map(Path, folders):
        for place, people in measured(folder).items():
            found.setdefault(place, {}).update(people)
    lines = [
        json.dumps({"attack": attack, "arm": arm, "person": person, **people[person]})
        for (attack, arm), people in found.items()
        for person in sorted(people)
    ]
    (HERE / name / "means.jsonl").write_text("".join(f"{line}\n" for line in lines))


def measured(folder: Path) -> Kept:
    """The means per person of every arm of a result."""
    choices = read_object(folder / "record.json")["choices"]
    means = people_means(read(folder))
    found: Kept = {}
    for arm, chosen in choices.items():
        own = "protected" if arm == chosen["attack"] != "random" else arm
        of_arm = found.setdefault((chosen["attack"], own), {})
        for metric in METRICS:
            for person, value in means.get((arm, metric), {}).items():
                of_arm.setdefault(person, {})[metric] = value
    return found


def read_kept(name: str) -> Kept:
    """What the experiment's record holds."""
    record = HERE / name / "means.jsonl"
    found: Kept = {}
    for line in record.read_text().splitlines() if record.is_file() else []:
        row = json.loads(line)
        place = row.pop("attack"), row.pop("arm")
        found.setdefault(place, {})[row.pop("person")] = row
    return found


def table(name: str, found: Kept) -> str:
    """A line per arm: means, what the paper reports, and the distance from clean."""
    header = ["attack", "arm", "people", *(w for m in SHOWN for w in (SHOWN[m], "paper"))]
    lines = [[*header, "clean - arm, overall"]]
    for (attack, arm), people in found.items():
        paper = _paper(name, attack, arm)
        line = [attack, arm, str(len(people))]
        for metric in SHOWN:
            line += [interval(mean([p[metric] for p in people.values()])), paper.get(metric, "")]
        lost = difference(found, CLEAN, (attack, arm), "overall")
        lines.append([*line, interval(lost, "+") if lost and arm != "clean" else ""])
    return markdown(lines)


def difference(
    found: Kept, place: tuple[str, str], against: tuple[str, str], metric: str
) -> Estimate | None:
    """place - against over the people that both have; None if there are none."""
    both = sorted(found.get(place, {}).keys() & found.get(against, {}).keys())
    sides = ([found[at][person][metric] for person in both] for at in (place, against))
    return mean_difference(*sides) if both else None


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table, its first line the header."""
    head, *body = lines
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *body))


def _paper(name: str, attack: str, arm: str) -> dict[str, str]:
    """Metric -> what the paper reports of the arm."""
    reported: dict[Any, Any] = published.tables().get(name, {})
    arms: Iterable[Any] = reported.get(attack, reported.get(published.ANY, {})).get(arm, ())
    return {m: f"{v:g}" for m, v in zip(reported.get("metrics", ()), arms, strict=False)}


if __name__ == "__main__":
    main(*sys.argv[1:])
