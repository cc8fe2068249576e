"""What an attack did step by step, for tests that compare two runs of it."""

from torch import Tensor

from diffshortcut.attacks.record import Record


class Course(Record):
    """A record that keeps values and gradients too, of the steps it saw itself."""

    def __init__(self) -> None:
        super().__init__()
        self.values: list[Tensor] = []
        self.directions: list[Tensor] = []

    def __call__(self, values: Tensor, direction: Tensor) -> None:
        super().__call__(values, direction)
        self.values.append(values.detach().cpu())
        self.directions.append(direction)


def rounding(name: str, node: dict[str, object]) -> float:
    """How far an attack's gradient may depend on the batch, of its largest entry."""
    if node.get("weights_dtype") == "bfloat16":
        return 1e-2  # it rounds at 4e-3, batch by batch
    # behind the purifier's sampler rounding has grown
    return 1e-4 if name.startswith("adaptive") else 1e-5
