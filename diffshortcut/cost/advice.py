"""Whether a cost fits a device, and which option helps where it does not."""

from collections.abc import Mapping
from typing import Any

from diffshortcut.cost.estimate import Cost
from diffshortcut.errors import UserError
from diffshortcut.units import size

OPTIONS: dict[str, dict[str, Any]] = {  # by what they make smaller, the cheapest first
    "saved": {
        "autocast": "bfloat16",
        "recompute_encoder": True,
        "gradient_checkpointing": True,
    },
    "optimizer": {"optimizer": "adamw8bit"},
}


MicroBatch = tuple[str, Any] | None  # its key, and its value


def advice(
    cost: Cost, memory: int, precision: Mapping[str, Any], micro_batch: MicroBatch
) -> str | None:
    """What to say of a stage that needs more than `memory` bytes; None if it does not.

    `precision` is the config's group, `micro_batch` the stage's own, None if it has none.
    UserError if not even the weights and the optimizer's state fit.
    """
    if cost.peak <= memory:
        return None
    has = f"of the {size(memory)} that the device has"
    helps = _options(cost, precision, micro_batch)
    if cost.least > memory:
        lighter = [option for option in helps if "adamw8bit" in option]
        ways = [*lighter, "a smaller model", "another device"]
        raise UserError(
            f"weights and the optimizer's state alone need {size(cost.least)} {has}:"
            f" use {' or '.join(ways)}"
        )
    said = ", ".join(helps) or "no option is left, use another device"
    return f"needs about {size(cost.peak)} {has}: {said}"


def _options(cost: Cost, precision: Mapping[str, Any], micro_batch: MicroBatch) -> list[str]:
    """Those that are not chosen yet, of the larger part first."""
    parts = sorted(OPTIONS, key=lambda part: -getattr(cost, part))
    helps = [
        f"precision.{name}={str(value).lower()}"
        for part in parts
        for name, value in OPTIONS[part].items()
        if getattr(cost, part) and precision.get(name) != value
        if not (name == "autocast" and precision.get(name))  # of equal width
    ]
    smaller = [f"{micro_batch[0]}=1"] if micro_batch and micro_batch[1] != 1 else []
    return [*smaller, *helps]
