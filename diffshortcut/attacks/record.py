"""What an attack saw on its way, for the sanity flags."""

from collections.abc import Mapping

import torch
from torch import Tensor


class Record:
    """How many steps there were, and the images that had no slope at any of them."""

    def __init__(self) -> None:
        self.steps = 0
        self._flat: Tensor | None = None  # (n,): every gradient of the image was zero so far

    def __call__(self, values: Tensor, direction: Tensor) -> None:
        """Note a step's gradients (n, 3, h, w)."""
        flat = (direction.flatten(1) == 0).all(dim=1).cpu()
        self._flat = flat if self._flat is None else self._flat & flat
        self.steps += 1

    def state_dict(self) -> dict[str, Tensor]:
        """For a checkpoint; empty before the first step."""
        if self._flat is None:
            return {}
        return {"steps": torch.tensor(self.steps, device="cpu"), "flat": self._flat}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a checkpoint."""
        self.steps, self._flat = int(state.get("steps", 0)), state.get("flat")

    def never_steep(self) -> list[int]:
        """The images whose gradient was zero at every step."""
        return [] if self._flat is None else self._flat.nonzero().flatten().tolist()
