"""The threat model of an arm: what its attack knows of the victim it is measured against."""

from collections.abc import Iterable, Mapping
from typing import Any

from diffshortcut import links

Node = Mapping[str, Any]
WHOLE = "diffshortcut.trainers.dreambooth.DreamBooth"  # how attacks train their surrogates
SAMPLED = "diffshortcut.purifiers.sr.SuperResolution"  # its own denoiser has a trajectory
PARTS = ("model", "prompt", "trainer", "purifier")


def known(config: Node) -> list[str]:
    """Which of PARTS the arm's attack knows, from its config.

    model: a surrogate is the model that the victim is personalized from. prompt: the attack's is
    the victim's. trainer: surrogates are personalized as the victim is, prompts included. purifier:
    the attack's `target` is the arm's chain. An attack without a model knows nothing.
    """
    attack, trainer = config["attack"], config["trainer"]
    models = _models(attack)
    if not models:
        return []
    asks = not _purifier_only(attack)
    found = {
        "model": asks and trainer.get("model") in models,
        "prompt": asks and trainer.get("instance_prompt") in _prompts(attack),
        "trainer": _trains(attack, trainer),
        "purifier": links.aimed_at(attack.get("target"), config["purifier"]),
    }
    return [part for part in PARTS if found[part]]


def jointly(several: Iterable[list[str]]) -> list[str]:
    """What an adversary knows who has several attacks at hand."""
    together = {part for parts in several for part in parts}
    return [part for part in PARTS if part in together]


def _models(attack: Node) -> list[Node]:
    several = attack.get("surrogates") or {}
    models = several.values() if isinstance(several, Mapping) else several
    return [model for model in (attack.get("surrogate"), *models) if model is not None]


def _purifier_only(attack: Node) -> bool:
    """Whether an adaptive attack asks no model but the purifier's (levels B and C)."""
    level, target = attack.get("level"), attack.get("target")
    if level == "trajectory" and isinstance(target, Mapping) and target:
        return list(target.values())[-1].get("_target_") == SAMPLED
    return level == "unrolled"


def _prompts(attack: Node) -> list[str]:
    return [attack[key] for key in ("instance_prompt", "prompt") if attack.get(key) is not None]


def _trains(attack: Node, trainer: Node) -> bool:
    """Whether surrogates are trained as the victim is: all weights or few, on the two prompts."""
    personalized = attack.get("personalized")
    if not personalized and not {"class_prompt", "learning_rate"} <= attack.keys():
        return False
    own = personalized or {**attack, "_target_": WHOLE}
    text_encoders = (node.get("train_text_encoder", True) for node in (own, trainer))
    same = ("_target_", "instance_prompt", "class_prompt")
    return len(set(text_encoders)) == 1 and all(
        key in trainer and own.get(key) == trainer[key] for key in same
    )
