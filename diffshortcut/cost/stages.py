"""What each stage does with its pictures, without reading or writing any."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from diffshortcut.attacks.scene import Scene, View
from diffshortcut.config import config as configs
from diffshortcut.graph.cells import Task
from diffshortcut.metrics.evidence import Evidence
from diffshortcut.pictures import squares
from diffshortcut.pictures.images import quantize
from diffshortcut.seeding import Draws
from diffshortcut.stages import prior as prior_stage
from diffshortcut.stages import protect as protect_stage
from diffshortcut.stages import purify as purify_stage

NOWHERE = Path("nowhere")


def rehearse(task: Task) -> None:
    """Walk through the stage of a task; nothing but its cost is left."""
    STAGES[task.stage](task, Draws(task.seed, task.stage, "nobody"))


def _prior(task: Task, draws: Draws) -> None:
    prior_stage.sample(task.config, draws)


def _protect(task: Task, draws: Draws) -> None:
    photos = _photos(task) if task.config.get("full_size") else list(_pictures(task, "set_B"))
    prior, personalized = (task.inputs.get(role) for role in ("prior", "personalized"))
    scene = Scene(
        images=squares.stack(photos),
        clean=_pictures(task, "set_A"),
        prior=_blank(prior.config["images"], side_of(task)) if prior else None,
        names=tuple(str(number) for number in range(len(photos))),
        personalized=NOWHERE if personalized else None,
        view=View(side_of(task), squares.sides(photos)) if task.config.get("full_size") else None,
    )
    attack = configs.build(task.config["attack"], "attack")
    perturbed = attack(scene, draws)
    if hasattr(attack, "objective") and (radius := getattr(attack, "radius", None) or 0) > 0:
        protect_stage.own_objective(attack, scene, quantize(perturbed), draws, radius)


def _purify(task: Task, draws: Draws) -> None:
    link = configs.build(task.config["link"], "purifier")
    side = task.config.get("resolution")
    if side is None:
        images = _pictures(task, "set_B")
        link(images, draws)
        link(images[:1], draws)  # with other draws: is it random?
        return
    side = side if purify_stage.shrinks(link, task.config["link"]) else None
    for photo in _photos(task):
        purify_stage._fitted(link, photo[None], draws, side)


def _personalize(task: Task, draws: Draws) -> None:
    images = _pictures(task, "set_B" if "images" in task.inputs else "set_A")
    class_images = task.inputs.get("prior")
    prior = _blank(class_images.config["images"], side_of(task)) if class_images else None
    configs.build(task.config["trainer"], "trainer")(images, prior, draws, images, lambda *_: None)


def _generate(task: Task, draws: Draws) -> None:
    sampler = configs.build(task.config["sampler"], "sampler")
    sampler(sampler.model.with_weights(NOWHERE), draws)


def _score(task: Task, draws: Draws) -> None:
    made = task.inputs.get("generated")
    sampler: dict[str, Any] = made.config["sampler"] if made else {"prompts": (), "images": 0}
    generated = {text: _blank(sampler["images"], side_of(task)) for text in sampler["prompts"]}
    clean = _pictures(task, "set_B")
    evidence = Evidence(
        generated=generated,
        references=_pictures(task, "set_C"),
        clean=clean,
        protected=clean,
        purified=clean,
        model=NOWHERE,
        draws=draws,
    )
    configs.build(task.config["metric"], "metric")(evidence)


STAGES: dict[str, Callable[[Task, Draws], None]] = {
    "prior": _prior,
    "protect": _protect,
    "purify": _purify,
    "personalize": _personalize,
    "generate": _generate,
    "score": _score,
}


def side_of(task: Task) -> int:
    """Pixels of the models' pictures: only some stages are told."""
    return next(t.config["resolution"] for t in task.ancestry() if "resolution" in t.config)


def _pictures(task: Task, name: str) -> Tensor:
    assert task.person is not None
    return _blank(len(getattr(task.person, name)), side_of(task))


def _blank(count: int, side: int) -> Tensor:
    return torch.zeros(count, 3, side, side)


def _photos(task: Task) -> list[Tensor]:
    """Of their own sizes, turned or not."""
    assert task.person is not None
    sizes = [Image.open(path).size for path in task.person.set_B]
    return [torch.zeros(3, height, width) for width, height in sizes]
