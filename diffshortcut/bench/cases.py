"""Which attacks are set beside which published loop, and on what."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from diffshortcut.attacks.scene import Scene
from diffshortcut.bench import published, published_later, published_rounds
from diffshortcut.bench.scenes import scene
from diffshortcut.config import config
from diffshortcut.config.schema import own
from diffshortcut.data import portraits
from diffshortcut.seeding import Draws
from diffshortcut.weights import locate


@dataclass(frozen=True)
class Case:
    """An attack, the overrides that make it short, and the loop of which a turn is measured."""

    name: str
    published: Callable[[Any, Scene, Draws], Tensor]
    overrides: tuple[str, ...]
    loop: str

    def attack(self, *more: str) -> Any:
        """The attack on the mini zoo, its numbers those of the yaml but for the length."""
        return config.build(own(config.resolve(config.compose([*self.overrides, *more]))["attack"]))


STEPS, ROUNDS = "attack.steps=3", "attack.rounds=1"
SEARCH = "attack.greedy.steps"
CASES = [
    Case("fsmg, step", published.fsmg, ("attack=fsmg", STEPS), "FSMG"),
    Case("aspl, round", published_rounds.aspl, ("attack=aspl", ROUNDS), "aspl"),
    Case("easpl, round", published_rounds.easpl, ("attack=easpl", ROUNDS), "easpl"),
    Case(
        "metacloak, round",
        published_rounds.metacloak,
        ("attack=metacloak", ROUNDS, "attack.surrogate_steps=0", "attack.snapshots=1"),
        "metacloak",
    ),
    Case(
        "simac, round",
        published_rounds.simac,
        ("attack=simac", ROUNDS, f"{SEARCH}=0"),
        "simac",
    ),
    Case(
        "simac, round, features detached",
        published_rounds.simac,
        ("attack=simac", ROUNDS, f"{SEARCH}=0", "attack.attach_features=false"),
        "simac",
    ),
    Case(
        "simac, step of the search",
        published_rounds.simac,
        (
            "attack=simac",
            "attack.rounds=1",
            "attack.pgd_steps=1",
            "attack.clean_steps=0",
            "attack.adversarial_steps=0",
            f"{SEARCH}=1",
        ),
        "simac: timesteps",
    ),
    Case("advdm, step", published.advdm, ("attack=advdm", STEPS), "AdvDM"),
    Case("sds, step", published.sds, ("attack=sds", STEPS), "SDS"),
    Case(
        "sds, beside a step through the denoiser",
        published.sds_with_denoiser,
        ("attack=sds", STEPS),
        "SDS",
    ),
    Case("mist, step", published.mist, ("attack=mist", STEPS), "Mist"),
    Case(
        "mist_v2, round",
        published_later.mist_v2,
        ("attack=mist_v2", ROUNDS, "attack.pgd_steps=3", "attack.lora_steps=1"),
        "mist_v2",
    ),
    Case("caat, step", published.caat, ("attack=caat", STEPS), "caat"),
    Case(
        "photoguard_encoder, step",
        published.photoguard_encoder,
        ("attack=photoguard_encoder", STEPS),
        "EncoderAttack",
    ),
    Case(
        "photoguard_diffusion, step",
        published_later.photoguard,
        ("attack=photoguard_diffusion", STEPS),
        "DiffusionAttack",
    ),
    Case("pid, step", published_later.pid, ("attack=pid", STEPS), "PID"),
    Case(
        "glaze, step",
        published.glaze,
        ("attack=glaze", STEPS, "attack.style.steps=2"),
        "glaze",
    ),
]


def person() -> Scene:
    """A person who comes with the package."""
    [first] = portraits.people(people=1)
    return replace(scene(first), personalized=locate("mini:mini_a"))
