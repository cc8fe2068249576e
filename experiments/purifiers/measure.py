"""How faithful are the purifiers to a protected picture, and to the clean one? (Table 2)

    python -m experiments.purifiers.measure people [ATTACK ...]   # 8 people; aspl and metacloak
    python -m experiments.purifiers.measure table                 # markdown of what was measured

No victim is trained. Every measurement is a line of faithfulness.jsonl beside this file; what
stands there is not repeated.
"""

import json
import sys
import time
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from diffshortcut import catalog, config
from diffshortcut.bench.scenes import scene
from diffshortcut.data import portraits
from diffshortcut.data.person import Person
from diffshortcut.images import quantize
from diffshortcut.metrics.faithfulness import psnr, ssim
from diffshortcut.metrics.identity import find, similarity
from diffshortcut.report.sheet import interval
from diffshortcut.schema import own
from diffshortcut.seeding import Draws
from diffshortcut.stages.purify import of_link
from diffshortcut.statistics import mean
from experiments.kept import lines, markdown

RECORD = Path(__file__).parent / "faithfulness.jsonl"
PURIFIERS = [name for name in catalog.groups()["purifier"] if name not in ("ours", "noise")]
ATTACKS = ("aspl", "metacloak")
METRICS = {
    "perceptual": "perceptual to clean",
    "moved": "perceptual to protected",
    "psnr": "PSNR",
    "ssim": "SSIM",
    "identity": "identity kept",
    "seconds": "seconds per image",
}


def main(what: str, *attacks: str) -> None:
    """One of the two commands of the docstring."""
    torch.set_num_threads(1)
    if what == "table":
        print(table())
        return
    for person in portraits.people(people=8):
        for attack in attacks or ATTACKS:
            measure(person, attack)


def measure(person: Person, attack: str) -> None:
    """Add a line to the record for every purifier that is not there yet."""
    done = {(row["person"], row["attack"], row["purifier"]) for row in lines(RECORD)}
    todo = [name for name in PURIFIERS if (person.name, attack, name) not in done]
    if not todo:
        return
    seen = scene(person)
    cfg = config.resolve(config.compose([f"attack={attack}"]))
    built = config.build(own(cfg["attack"]), "attack")
    protected = quantize(built(seen, Draws(cfg["seed"], "protect", person.name)))
    for name in todo:
        cfg = config.resolve(config.compose([f"attack={attack}", f"purifier={name}"]))
        draws = Draws(cfg["seed"], "purify", person.name)
        nodes = cfg["purifier"].values()
        links = [(config.build(node, "purifier"), of_link(node, draws)) for node in nodes]
        purified, start = protected, time.perf_counter()
        for link, own_draws in links:
            purified = quantize(link(purified, own_draws))
        seconds = (time.perf_counter() - start) / len(purified)
        row = {"person": person.name, "attack": attack, "purifier": name, "seconds": seconds}
        row |= score(cfg["zoo"], purified, protected, seen.images)
        with RECORD.open("a") as stream:
            stream.write(json.dumps(row) + "\n")
        print(row, flush=True)


@torch.no_grad()
def score(
    zoo: dict[str, Any], purified: Tensor, protected: Tensor, clean: Tensor
) -> dict[str, float]:
    """Means over a person's pictures."""
    away = config.build(zoo["perceptual"]).distance
    detector, recognizer = (config.build(zoo[role]) for role in ("detector", "recognizer_a"))
    kept = similarity(recognizer, find(detector, purified), find(detector, clean))
    found = {
        "perceptual": away(purified, clean),
        "moved": away(purified, protected),
        "psnr": psnr(purified, clean),
        "ssim": ssim(purified, clean),
        "identity": kept,
    }
    return {name: float(torch.as_tensor(value).float().mean()) for name, value in found.items()}


def table() -> str:
    """A line per attack and purifier, with intervals over people; nearest to clean first."""
    shown = [["attack", "purifier", "people", *METRICS.values()]]
    for attack in ATTACKS:
        found = {
            name: [r for r in lines(RECORD) if (r["attack"], r["purifier"]) == (attack, name)]
            for name in PURIFIERS
        }
        there = {name: of_it for name, of_it in found.items() if of_it}
        for name in sorted(there, key=lambda name: fmean(r["perceptual"] for r in there[name])):
            of_it = there[name]
            cells = [interval(mean([r[m] for r in of_it])) for m in METRICS if m != "seconds"]
            seconds = f"{fmean(r['seconds'] for r in of_it):.2f}"
            shown.append([attack, name, str(len(of_it)), *cells, seconds])
    return markdown(shown)


if __name__ == "__main__":
    main(*sys.argv[1:])
