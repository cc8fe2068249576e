"""What experiments measured, as means per person: runs of many sittings and machines meet here.

    python -m experiments.kept table1 FOLDER ...  # keep what these results hold
    python -m experiments.kept table1             # all that is kept, beside the paper, as markdown

`means.jsonl` in the experiment's folder has a line per attack, arm and person: the means over the
images, which is all that tables and tests by person need, and a digest of what the arm is. A later
result of equal content replaces an earlier one; one that is configured otherwise is left out until
the arm's lines are deleted. What else than the attack the experiment sweeps stands behind the
attack's name (`aspl model=mini_b`).
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffshortcut.config import catalog, config
from diffshortcut.disk import read_object
from diffshortcut.errors import UserError, exit_on_mistake, listed
from diffshortcut.report import published
from diffshortcut.report.labels import Described
from diffshortcut.report.published import ANY
from diffshortcut.report.sheet import interval
from diffshortcut.result_files import RECORD
from diffshortcut.statistics import Estimate, mean, mean_difference
from diffshortcut.statistics.comparison import people_means
from diffshortcut.statistics.rows import read

HERE = Path(__file__).parent
PICTURES = ("perceptual_protected", "psnr_protected", "ssim_protected", "perceptual_purified")
METRICS = ("ims", "q", "overall", "style", "liqe", "no_face", *PICTURES)
SHOWN = {"ims": "IMS", "q": "Q", "overall": "overall"}
Place = tuple[str, str]  # attack and what else is swept, arm


@dataclass
class Arm:
    """The scores of an arm by person; `content` says what it is, None if that is not known."""

    content: str | None
    people: dict[str, dict[str, float]] = field(default_factory=dict)


Kept = dict[Place, Arm]


def main(name: str, *folders: str) -> None:
    """One of the two commands of the docstring; ends with a message if it cannot keep a result."""
    with exit_on_mistake():
        _check(name)
        _keep(name, folders)


def _check(name: str) -> None:
    """UserError unless there is such an experiment."""
    folders = {folder.name for folder in HERE.iterdir() if folder.is_dir()}
    known = sorted({*catalog.groups()["experiment"], *folders} - {"__pycache__"})
    if name not in known:
        raise UserError(f"no experiment is called '{name}'.{listed(name, known)}")


def _keep(name: str, folders: Sequence[str]) -> None:
    found = read_kept(name)
    if not folders:
        print(table(name, found))
        return
    for folder in map(Path, folders):
        for place, arm in measured(folder, swept(name)).items():
            known = found.setdefault(place, Arm(arm.content))
            if known.content not in (None, arm.content):
                print(
                    f"left out: {folder}: {' '.join(place)} is configured otherwise than the kept",
                    file=sys.stderr,
                )
                continue
            known.content = arm.content
            known.people |= arm.people
    kept = [
        json.dumps({"attack": attack, "arm": name, "of": arm.content, "person": person, **scores})
        for (attack, name), arm in found.items()
        for person, scores in sorted(arm.people.items())
    ]
    (HERE / name).mkdir(exist_ok=True)
    (HERE / name / "means.jsonl").write_text("".join(f"{line}\n" for line in kept))


def swept(name: str) -> list[str]:
    """The keys, other than the attack, that an experiment sweeps by itself."""
    if name not in catalog.groups()["experiment"]:
        return []
    params = config.compose([f"experiment={name}"], hydra=True).hydra.sweeper.params or {}
    return [key for key in params if key != "attack"]


def measured(folder: Path, keys: Sequence[str] = ()) -> Kept:
    """The means per person of every arm of a result; ends with a message if it means nothing.

    `keys` are those whose values tell its job from the others of its experiment.
    """
    record, means = _record(folder), people_means(read(folder))
    told_apart = [word for word in record["overrides"] if word.partition("=")[0] in keys]
    found: Kept = {}
    for name, chosen in record["choices"].items():
        if "debug" in chosen:
            sys.exit(
                f"error: {folder}: made with debug={chosen['debug']}, its numbers mean nothing"
            )
        content = _content(name, record["arms"][name])
        own = "protected" if name == chosen["attack"] != "random" else name
        attack = " ".join([chosen["attack"], *sorted(told_apart)])
        arm = found[attack, own] = Arm(content)
        for metric in METRICS:
            for person, value in means.get((name, metric), {}).items():
                arm.people.setdefault(person, {})[metric] = value
    return found


def _content(name: str, config: Mapping[str, Any]) -> str | None:
    """What makes the arm's rows, and the seed unless that is 0; None if it is not known."""
    digest, seed = Described(name, name, config).content(), config.get("seed", 0)
    return digest and " ".join([digest[:12], *([f"seed {seed}"] if seed else [])])


def _record(folder: Path) -> dict[str, Any]:
    """UserError if it is not there, or cannot be read."""
    file = folder / RECORD
    try:
        return read_object(file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{file}: {reason}; a complete result has one") from error


def read_kept(name: str) -> Kept:
    """What the experiment's record holds."""
    found: Kept = {}
    for row in lines(HERE / name / "means.jsonl"):
        arm = found.setdefault((row.pop("attack"), row.pop("arm")), Arm(row.pop("of", None)))
        arm.people[row.pop("person")] = row
    return found


def lines(record: Path) -> list[dict[str, Any]]:
    """What a file of JSON lines holds; nothing if it is not there."""
    text = record.read_text() if record.is_file() else ""
    return [json.loads(line) for line in text.splitlines()]


def table(name: str, found: Kept) -> str:
    """A line per arm: means, what the paper reports, and the distance from clean."""
    header = ["attack", "arm", "people", *(w for m in SHOWN for w in (SHOWN[m], "paper"))]
    shown = [[*header, "clean - arm, overall"]]
    for place, arm in found.items():
        attack, _, rest = place[0].partition(" ")
        paper, clean = _paper(name, attack, place[1]), (f"none {rest}".strip(), "clean")
        line = [*place, str(len(arm.people))]
        for metric in SHOWN:
            values = [scores[metric] for scores in arm.people.values() if metric in scores]
            line += [interval(mean(values)) if values else "-", paper.get(metric, "")]
        lost = difference(found, clean, place, "overall") if place != clean else None
        shown.append([*line, interval(lost, "+") if lost else ""])
    return markdown(shown)


def difference(found: Kept, place: Place, against: Place, metric: str) -> Estimate | None:
    """place - against over the people that both have; None if there are none."""
    sides = [found[at].people if at in found else {} for at in (place, against)]
    scores = [{p: of[metric] for p, of in people.items() if metric in of} for people in sides]
    both = sorted(set.intersection(*map(set, scores)))
    values = ([of[person] for person in both] for of in scores)
    return mean_difference(*values) if both else None


def markdown(shown: Sequence[Sequence[str]]) -> str:
    """A table, its first line the header."""
    head, *body = shown
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *body))


def _paper(name: str, attack: str, arm: str) -> dict[str, str]:
    """Metric -> what the paper reports of the arm; without an attack, beside any of them."""
    reported: dict[Any, Any] = dict(published.tables().get(name, {}))
    metrics: Sequence[str] = reported.pop("metrics", ())
    reported.pop("radius", None)
    of = reported.values() if attack == "none" else [reported.get(attack, reported.get(ANY, {}))]
    found: Sequence[float] = next((arms[arm] for arms in of if arm in arms), ())
    return {m: f"{v:g}" for m, v in zip(metrics, found, strict=False)}


if __name__ == "__main__":
    main(*sys.argv[1:])
