"""A step of training beside the published one, as the victim's and as a surrogate's."""

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import partial
from typing import Any

from diffshortcut.bench.measured import timed
from diffshortcut.bench.pairs import Effort, Side, compare
from diffshortcut.bench.published_training import PlainTraining
from diffshortcut.bench.records import Figure, Job, Record
from diffshortcut.bench.scenes import RELEASED, scene
from diffshortcut.config import config
from diffshortcut.config.schema import own
from diffshortcut.data.person import Person
from diffshortcut.dreambooth import Posterior, Settings, Training
from diffshortcut.seeding import Draws
from diffshortcut.trainers.dreambooth import DreamBooth

DRAWS = Draws(seed=0, stage="bench", person="nobody")
PART = "training"
GOAL = 1.4
TURNS = 4  # steps that are timed at once
STEP, SURROGATE, ENCODED = "dreambooth, step", "surrogate, step", "dreambooth, pictures encoded"


def jobs(person: Person, effort: Effort) -> dict[str, Job]:
    """The default trainer, the same with a picture of each kind, and what is encoded before."""
    return {
        STEP: partial(step, STEP, person, effort, {}),
        SURROGATE: partial(step, SURROGATE, person, effort, {"instance_batch": 1}),
        ENCODED: partial(encoded, person, effort),
    }


def step(name: str, person: Person, effort: Effort, changes: dict[str, Any]) -> Sequence[Record]:
    """Both go on training: no step is repeated."""
    theirs, trainer = (replace(default(*words), **changes) for words in ([RELEASED], []))
    images, prior = pictures(person)
    plain = PlainTraining(theirs, images, prior, DRAWS)
    posterior, classes = (Posterior.of(trainer.model, x) for x in (images, prior))
    training = Training(trainer.model, settings(trainer), classes, DRAWS)
    ours = Side.steps(partial(training.train, posterior, 1), TURNS)
    return compare(PART, name, Side.steps(plain.step, TURNS), ours, effort, goal=GOAL)


def encoded(person: Person, effort: Effort) -> Sequence[Record]:
    """What ours does once, before the first step: the posteriors of all its pictures."""
    model, batches = default().model, pictures(person)
    runs = [timed(lambda: [Posterior.of(model, x) for x in batches]) for _ in range(effort.pairs)]
    count = sum(map(len, batches))
    return [Figure(part=PART, name=f"{ENCODED}: {count}", values=[run.wall for run in runs])]


def default(*words: str) -> DreamBooth:
    """The mini zoo's trainer."""
    return config.build(own(config.resolve(config.compose(words))["trainer"]), "trainer")


def settings(trainer: DreamBooth) -> Settings:
    """What the trainer tells its training."""
    named = {field.name for field in fields(trainer)}
    return Settings(
        **{f.name: getattr(trainer, f.name) for f in fields(Settings) if f.name in named}
    )


def pictures(person: Person) -> tuple[Any, Any]:
    """A person's set_B, and as many pictures of the class as the mini zoo has."""
    found = scene(person)
    count = config.compose([]).scale.prior_images
    prior = found.class_prior()
    return found.images, prior[[i % len(prior) for i in range(count)]]
