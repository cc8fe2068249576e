"""Every sanity flag can be raised, and is explained."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_zoo
import torch
from torch import Tensor

from diffshortcut import flags
from diffshortcut.attacks.pgd import ascend, gradient_of
from diffshortcut.attacks.record import Record
from diffshortcut.seeding import Draws
from diffshortcut.stages import purify
from diffshortcut.stages.inputs import Inputs

DOCS = Path(__file__).parent.parent / "docs" / "flags.md"
GOOD: dict[str, Any] = {
    "radius": 11,
    "at_bound": 0.6,
    "steps": 300,
    "no_slope": [],
    "no_set_A": False,
    "objective_of": {
        "a.png": {"clean": 0.06, "random": 0.07, "protected": 0.17},
        "b.png": {"clean": 0.09, "random": 0.10, "protected": 0.20},
    },
}


def _beside(*, clean: float, random: float) -> dict[str, dict[str, float]]:
    """A photo that the attack failed on beside those that it did not."""
    failed = {"c.png": {"clean": clean, "random": random, "protected": 0.15}}
    return GOOD["objective_of"] | failed


RAISED = {
    "zero_gradient": {"no_slope": ["a.png"]},
    "objective_not_raised": {"objective_of": _beside(clean=0.2, random=0.1)},
    "weaker_than_noise": {"objective_of": _beside(clean=0.1, random=0.2)},
    "budget_unused": {"at_bound": 0.001},
    "no_set_A": {"no_set_A": True},
}


def test_a_good_attack_raises_none() -> None:
    assert flags.of_attack(GOOD) == {}
    assert flags.of_attack({"radius": 11, "at_bound": 0.0, "steps": 0}) == {}  # random noise


@pytest.mark.parametrize("name", RAISED)
def test_each_is_raised_by_its_own_cause(name: str) -> None:
    found = flags.of_attack({**GOOD, **RAISED[name]})
    assert list(found) == [name]
    if "objective_of" in RAISED[name]:
        assert found[name].startswith("c.png: ") and "a.png" not in found[name]


def test_of_purification() -> None:
    still, moving = {"unchanged": True, "random": False}, {"unchanged": False, "random": True}
    assert list(flags.of_purification([still], unaware=True)) == ["purifier_is_no_op"]
    assert list(flags.of_purification([still, moving], unaware=True)) == ["purifier_is_random"]
    assert flags.of_purification([moving], unaware=False) == {}
    assert flags.of_purification([], unaware=True) == {}


def test_every_flag_has_its_paragraph() -> None:
    text, source = DOCS.read_text(), Path(flags.__file__).read_text()
    names = set(re.findall(r'found\["(\w+)"\]', source))
    assert names >= {*RAISED, "purifier_is_no_op", "purifier_is_random"}
    for name in names:
        paragraph = text.split(f"## {name}\n")[1].split("\n## ")[0]
        assert all(f"**{word}**" in paragraph for word in ("Raised if", "Meaning", "What to do"))


def test_the_record_sees_a_missing_slope_also_after_a_checkpoint() -> None:
    clean, record = tiny_zoo.pictures(3, seed=1), Record()

    def loss(x: Tensor, images: range, step: int) -> Tensor:
        return x.flatten(1).sum(1) * torch.tensor([1.0, 0.0, -1.0])

    options = {"radius": 5, "step": 1, "steps": 20}
    moved = ascend(clean, clean, gradient_of(loss), record=record, **options)
    rise = loss(moved, range(3), 0) - loss(clean, range(3), 0)
    assert rise[0] > 0 and rise[1] == 0 and rise[2] > 0
    resumed = Record()
    resumed.load_state_dict(record.state_dict())
    ascend(moved, clean, gradient_of(loss), record=resumed, **options)
    assert (record.steps, resumed.steps) == (20, 40)
    assert record.never_steep() == resumed.never_steep() == [1]
    resumed.load_state_dict(Record().state_dict())
    assert (resumed.steps, resumed.never_steep()) == (0, [])


class Link:
    """A purifier that adds a constant, or noise."""

    def __init__(self, constant: float, noise: float) -> None:
        self.constant, self.noise = constant, noise

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        noise = draws.normal("noise", images.shape[1:], len(images))
        return (images + self.constant + self.noise * noise).clamp(0, 1)


@pytest.mark.parametrize(
    ("link", "facts"),
    [
        (Link(0, 0), {"unchanged": True, "random": False}),
        (Link(0.1, 0), {"unchanged": False, "random": False}),
        (Link(0, 0.05), {"unchanged": False, "random": True}),
    ],
)
def test_the_purify_stage_notes_both(
    link: Link, facts: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffshortcut.pictures.images import write_folder

    write_folder(tmp_path / "in" / "images", tiny_zoo.pictures(2, seed=1))
    monkeypatch.setattr(purify, "build", lambda *_: link)
    inputs = replace(Inputs(), artifacts={"images": tmp_path / "in"})
    out = tmp_path / "out"
    found = purify.run(
        config={"link": {"_target_": "x.Y"}}, inputs=inputs, out=out, draws=Draws(0, "purify", "a")
    )
    assert found.pop("purification_seconds") >= 0
    assert found == facts
