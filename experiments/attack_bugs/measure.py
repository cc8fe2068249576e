"""What each bug of the released attacks does, one at a time, all else equal.

    python experiments/attack_bugs/measure.py            # prints markdown, about an hour
    python experiments/attack_bugs/measure.py SimAC      # the bugs that are called so

On the mini zoo and people of the package. The bfloat16 bug cannot show at the mini zoo's learning
rates, which are hundreds of times larger: it is measured on weights at 5e-7.
"""

import sys
from statistics import fmean
from typing import Any

import torch

from diffshortcut.attacks.scene import Scene
from diffshortcut.config import arms, config
from diffshortcut.config.schema import own
from diffshortcut.data.portraits import people
from diffshortcut.dreambooth import Posterior, Settings, Training
from diffshortcut.models.ldm import LatentDiffusion, load
from diffshortcut.pictures import images
from diffshortcut.seeding import Draws
from diffshortcut.stages.protect import HELD_OUT, held_out

PEOPLE = ["person_000", "person_001"]
SHORT = ["scale.aspl_rounds=20", "scale.greedy_steps=20"]
DETACHED = ["attack=simac", "attack.attach_features=false"]
PAIRS = {  # bug -> (without it, with it, and whose objective judges, unless the first's)
    "r/255 given to code of [-1, 1]": (["attack=advdm"], ["attack=advdm/legacy"]),
    "E-ASPL averages the models' results": (
        ["attack=easpl"],
        ["attack=easpl", "attack.combine=average"],
    ),
    "MetaCloak's surrogates see [0, 255]": (
        ["attack=metacloak"],
        ["attack=metacloak", "attack.normalize_surrogate=false"],
    ),
    "SimAC's feature loss is detached": (["attack=simac"], DETACHED),
    "SimAC's feature loss is detached, of the denoising loss alone": (
        ["attack=simac"],
        DETACHED,
        DETACHED,
    ),
    "ASPL restarts at the first images": (
        ["attack=aspl"],
        ["attack=aspl", "+attack.restart_order=all"],
    ),
    "ASPL's clipping sees no gradient": (
        ["attack=aspl"],
        ["attack=aspl", "+attack.clip_gradients=false"],
    ),
    "ASPL's surrogates in pure bfloat16, at the mini zoo's rate": (
        ["attack=aspl"],
        ["attack=aspl", "+attack.weights_dtype=bfloat16"],
    ),
}
Measured = dict[str, float]


def main(*words: str) -> None:
    """Both tables; of the second, which alone is printed then, the bugs that `words` name."""
    if not words:
        print("| weights | steps at 5e-7 | moved | displacement, of float32's |\n|---|---|---|---|")
        for row in precision(load(weights="mini:mini_a")):
            print("| " + " | ".join(row) + " |", flush=True)
    print("\n| bug | without: loss, mean change, at bound | with | ratio of loss raised |")
    print("|---|---|---|---|")
    named = {bug: of for bug, of in PAIRS.items() if any(w in bug for w in words) or not words}
    for bug, (right, wrong, *judged_by) in named.items():
        judge = attack_of(judged_by[0] if judged_by else right)
        a, b = (measure(attack_of(overrides), judge) for overrides in (right, wrong))
        print(f"| {bug} | {shown(a)} | {shown(b)} | {b['raised'] / a['raised']:.2f} |", flush=True)


def precision(model: LatentDiffusion) -> list[list[str]]:
    """How many weights move at the paper's learning rate, and how far."""
    rows = []
    for steps in (3, 30):
        moved = {kind: displacement(model, kind, steps) for kind in ("float32", "bfloat16")}
        full = moved["float32"].norm()
        for kind, change in moved.items():
            share = (change != 0).float().mean()
            rows.append([kind, str(steps), f"{100 * share:.2f} %", f"{change.norm() / full:.3f}"])
    return rows


def displacement(model: LatentDiffusion, dtype: Any, steps: int) -> torch.Tensor:
    """How much every matrix of the denoiser changed in some DreamBooth steps, flat."""
    scene = read(PEOPLE[0])
    settings = Settings(
        instance_prompt="a photo of sks person",
        class_prompt="a photo of person",
        learning_rate=5e-7,
        weights_dtype=dtype,
    )
    prior = Posterior.of(model, scene.class_prior())
    training = Training(model, settings, prior, Draws(0, "bugs", ""))
    weights = [p for p in training.model.unet.parameters() if p.ndim > 1]
    before = [p.detach().float().clone() for p in weights]
    training.train(Posterior.of(model, scene.images), steps)
    pairs = zip(weights, before, strict=True)
    return torch.cat([(p.detach().float() - b).flatten() for p, b in pairs])


def attack_of(overrides: list[str]) -> Any:
    """The attack that a command line describes, made short."""
    node = arms.compose([*overrides, *SHORT, "compare.arms=[]"])[-1].config["attack"]
    return config.build(own(node), "attack")


def measure(attack: Any, judge: Any) -> Measured:
    """The mean over people of what an attack does to the objective of another, the one without
    the bug: the bug may have changed the attack's own. Its model is the pretrained one.
    """
    found = [of_person(attack, judge, person) for person in PEOPLE]
    return {key: fmean(each[key] for each in found) for key in found[0]}


def of_person(attack: Any, judge: Any, person: str) -> Measured:
    """Loss on held-out draws, how much it was raised, size of the perturbation."""
    scene, draws = read(person), Draws(0, "protect", person)
    protected = images.quantize(attack(scene, draws))
    loss = judge.objective(scene, draws)
    clean, raised = (fmean(held_out(loss, x, HELD_OUT)) for x in (scene.images, protected))
    delta = ((protected - scene.images) * 255).round().abs()
    return {
        "loss": raised,
        "raised": raised - clean,
        "mean": float(delta.mean()),
        "at_bound": float((delta == int(attack.radius)).float().mean()),
    }


def read(name: str) -> Scene:
    """A person of the package; other people's clean pictures stand in for class images."""
    (person,) = people(people=[name])
    others = [other.set_C[0] for other in people(people=None)[8:]]
    return Scene(
        images=images.quantize(images.read_files(person.set_B, 128)),
        clean=images.quantize(images.read_files(person.set_A, 128)),
        prior=images.quantize(images.read_files(others, 128)),
        names=tuple(path.name for path in person.set_B),
    )


def shown(found: Measured) -> str:
    """For a cell of the table."""
    return f"{found['loss']:.4f}, {found['mean']:.2f}, {100 * found['at_bound']:.0f} %"


if __name__ == "__main__":
    main(*sys.argv[1:])
