"""Every attack on the trained models: its own objective rises more than random noise raises it."""

from statistics import fmean
from typing import Any

import pytest
import torch
from course import Course, rounding
from torch import Tensor

from diffshortcut.attacks.scene import Scene
from diffshortcut.config import arms, catalog, config
from diffshortcut.config.schema import own
from diffshortcut.data.portraits import people
from diffshortcut.pictures import images
from diffshortcut.seeding import Draws
from diffshortcut.stages.protect import own_objective
from diffshortcut.weights import MINI

OBJECTIVES = {  # presets that raise something else than their method's default
    "aspl/targeted",
    "fsmg/targeted",
    "sds/plus",
    "adaptive/bpda",
    "adaptive/unrolled",
}
LATER = {name for name in catalog.groups()["attack"] if "/" in name} - OBJECTIVES  # make test-long
ATTACKS = [
    pytest.param(name, marks=pytest.mark.long if name in LATER else pytest.mark.slow)
    for name in catalog.groups()["attack"]
    if name not in ("none", "random")
]
SHORT = [  # enough steps to be better than noise, few enough to try them all
    "scale.fixed_steps=20",
    "scale.photoguard_encoder_steps=20",
    "scale.glaze_steps=60",
    "scale.caat_steps=20",
    "scale.pid_steps=20",
    "scale.photoguard_steps=8",
    "scale.photoguard_samples=1",
    "scale.greedy_steps=3",
    "scale.mist_v2_rounds=1",
    "scale.aspl_rounds=3",
    "scale.metacloak_surrogate_steps=6",
    "scale.metacloak_snapshots=2",
    "scale.metacloak_rounds=2",
    "scale.adaptive_steps=12",
    "scale.sr_steps=5",
]
FEWEST = {
    **dict.fromkeys(["pgd_steps", "rounds", "trails", "clean_steps", "adversarial_steps"], 1),
    **dict.fromkeys(["lora_steps", "surrogate_steps", "advance_steps", "greedy_steps"], 1),
    **dict.fromkeys(["steps", "snapshots", "candidates", "unrolled_steps"], 2),
}
DRAWS = Draws(0, "protect", "person_013")


@pytest.fixture(scope="module")
def scene() -> dict[str, Any]:
    (person,) = people(people=["person_013"])
    return {
        "images": images.quantize(images.read_files(person.set_B[:2], 128)),
        "clean": images.quantize(images.read_files(person.set_A[:2], 128)),
        "prior": images.quantize(images.read_files(person.set_C, 128)),  # any faces do here
        "names": ("0.png", "1.png"),
        "personalized": MINI / "mini_a",
    }


@pytest.mark.parametrize("name", [name for name in catalog.groups()["attack"] if name != "none"])
@pytest.mark.slow
def test_ball_range_draws_and_batch(name: str, scene: dict[str, Any]) -> None:
    """What test_attacks.py asks of all steps, here of a step or two on the trained models."""
    overrides = [f"attack={name}", "purifier=codeformer_sr", "compare.arms=[]", *SHORT]
    node = own(arms.compose(overrides)[-1].config["attack"])
    node = {k: min(v, FEWEST[k]) if k in FEWEST else v for k, v in node.items()}

    def run(**changes: Any) -> tuple[Tensor, Course]:
        record = Course()
        attack = config.build({**node, **changes}, "attack")
        return images.quantize(attack(Scene(**scene, record=record), DRAWS)), record

    protected, whole = run()
    again, _ = run()
    assert torch.equal(protected, again)
    largest = ((protected - scene["images"]) * 255).abs().flatten(1).amax(1)
    assert protected.min() >= 0 and protected.max() <= 1
    assert (largest > 0).all() and (largest <= node["radius"] + 1e-3).all()
    if name != "random":
        _, parts = run(micro_batch=1)
        apart = (parts.directions[0] - whole.directions[0]).abs().max()
        assert apart <= rounding(name, node) * whole.directions[0].abs().max()


@pytest.mark.parametrize("name", ATTACKS)
def test_its_objective_rises_more_than_by_noise(name: str, scene: dict[str, Any]) -> None:
    # the plain adaptive attack has to pass the restorer's codes too
    purifier = "codeformer_sr" if name == "adaptive" else "sr"
    overrides = [f"attack={name}", f"purifier={purifier}", "compare.arms=[]", *SHORT]
    node = own(arms.compose(overrides)[-1].config["attack"])
    node = {**node, "steps": min(node["steps"], 60)} if "steps" in node else node
    attack, where = config.build(node, "attack"), Scene(**scene)
    protected = images.quantize(attack(where, DRAWS))
    levels = ((protected - where.images) * 255).abs().max()
    assert 0 < levels <= attack.radius + 1e-3
    each = own_objective(attack, where, protected, DRAWS, attack.radius)
    found = {version: fmean(values) for version, values in each.items()}
    assert found["protected"] > max(found["random"], found["clean"]), found
    assert where.record.never_steep() == []
