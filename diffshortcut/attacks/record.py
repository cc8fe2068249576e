"""What an attack saw on its way, for the sanity flags."""

from collections.abc import Mapping

import torch
from torch import Tensor


class Record:
    """Per step and image: the value that was climbed and whether there was a slope at all."""

    def __init__(self) -> None:
        self.values: list[Tensor] = []  # (n,) each
        self.flat: list[Tensor] = []  # (n,) each: the whole gradient of the image was zero

    def __call__(self, values: Tensor, direction: Tensor) -> None:
        """Note a step's values (n,) and gradients (n, 3, h, w)."""
        self.values.append(values.detach().cpu().float())
        self.flat.append((direction.flatten(1) == 0).all(dim=1).cpu())

    def state_dict(self) -> dict[str, Tensor]:
        """(steps, n) each, for a checkpoint."""
        if not self.values:
            return {}
        return {"values": torch.stack(self.values), "flat": torch.stack(self.flat)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a checkpoint."""
        self.values = list(state["values"]) if state else []
        self.flat = list(state["flat"]) if state else []

    def rise(self) -> list[float]:
        """How much each image's mean value rose from the first to the last tenth of the steps."""
        if len(self.values) < 2:
            return []
        values = torch.stack(self.values)
        tenth = max(len(values) // 10, 1)
        return (values[-tenth:].mean(0) - values[:tenth].mean(0)).tolist()

    def never_steep(self) -> list[int]:
        """The images whose gradient was zero at every step."""
        if not self.flat:
            return []
        return torch.stack(self.flat).all(dim=0).nonzero().flatten().tolist()
