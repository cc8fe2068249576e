"""A surrogate of which only some weights are trained: attention projections, or a LoRA."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from diffshortcut.artifacts.checkpoint import load_trained, trained_tensors
from diffshortcut.models.adapters import ATTENTION, add_lora, keys_and_values
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.seeding import Draws


class Adapted:
    """A copy of a model in which `weights` are trained by AdamW and all else is frozen."""

    def __init__(
        self, model: LatentDiffusion, weights: Sequence[nn.Parameter], learning_rate: float
    ) -> None:
        self.model = model
        self.weights = weights
        model.text_encoder.requires_grad_(False)
        model.unet.requires_grad_(False)
        for weight in weights:
            weight.requires_grad_(True)
        self.optimizer = model.precision.new_optimizer(weights, learning_rate)

    def add_slopes(self, slopes: Sequence[Tensor]) -> None:
        """Add to the gradient of the weights."""
        for weight, slope in zip(self.weights, slopes, strict=True):
            weight.grad = slope if weight.grad is None else weight.grad + slope

    def descend(self, scale: float = 1.0) -> None:
        """One step of AdamW down the gradient that was added, times `scale`."""
        for weight in self.weights:
            assert weight.grad is not None
            weight.grad *= scale
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Tensor]:
        """The trained weights and AdamW's moments, for a checkpoint."""
        return trained_tensors(self.weights, self.optimizer)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a checkpoint."""
        load_trained(self.weights, self.optimizer, state)


def cross_attention(model: LatentDiffusion, learning_rate: float) -> Adapted:
    """The key and value projections of every cross-attention (attn2), as in Custom Diffusion."""
    model = model.copy()
    return Adapted(model, list(keys_and_values(model.unet).values()), learning_rate)


def lora(model: LatentDiffusion, *, rank: int, learning_rate: float, draws: Draws) -> Adapted:
    """A LoRA of every attention projection of the denoiser, which starts as no change."""
    model = model.copy()
    return Adapted(model, add_lora(model.unet, ATTENTION, rank=rank, draws=draws), learning_rate)
