"""Surrogates: models that an attack fine-tunes as the victim would, and sets back in place."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from diffshortcut.attacks.perturbation import Perturbation
from diffshortcut.dreambooth import Instances, Posterior, Settings, Training
from diffshortcut.errors import UserError
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.models.partly_trained import PartlyTrained
from diffshortcut.seeding import Draws

RESTARTED = {None: (), "all": ("instance", "prior"), "prior": ("prior",)}


@dataclass(frozen=True, kw_only=True)
class WithSurrogates(Perturbation):
    """An attack that trains surrogates by DreamBooth, correctly or as it was released.

    Released attacks keep no float32 weights (`weights_dtype` bfloat16), clip gradients that they do
    not see (`clip_gradients` false) and start every short training at the same first images of
    the person and the class, or of the class alone (`restart_order` all, prior). The released
    ensemble leaves text encoders as they are (`train_text_encoder` false).
    """

    instance_prompt: str
    class_prompt: str
    learning_rate: float
    weights_dtype: Literal["float32", "bfloat16"] = "float32"
    clip_gradients: bool = True
    restart_order: Literal["all", "prior"] | None = None
    train_text_encoder: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.learning_rate <= 0:
            raise ValueError("learning_rate must be above 0")

    def training(self, model: LatentDiffusion, prior: Posterior, draws: Draws) -> Training:
        """A copy of `model` to be trained, all of it or the denoiser alone.

        UserError for bfloat16 weights in float16 on a CPU, whose norms refuse such a mixture.
        """
        kinds = (model.precision.autocast, self.weights_dtype)
        if model.device.type == "cpu" and kinds == ("float16", "bfloat16"):
            raise UserError(
                "attack.weights_dtype=bfloat16 cannot be trained in precision=float16 on the CPU:"
                " write precision=float32 or precision=bfloat16"
            )
        settings = Settings(
            instance_prompt=self.instance_prompt,
            class_prompt=self.class_prompt,
            learning_rate=self.learning_rate,
            weights_dtype=self.weights_dtype,
            clip=self.clip_gradients,
        )
        if self.train_text_encoder:
            return Training(model, settings, prior, draws)
        copied = model.copy(getattr(torch, self.weights_dtype))
        copied.text_encoder.requires_grad_(False)
        denoiser = PartlyTrained.of(copied, [*copied.unet.parameters()], copied.save)
        return Training(denoiser, settings, prior, draws, copy=False)

    def fine_tune(self, training: Training, instances: Instances, steps: int) -> None:
        """`steps` DreamBooth steps with a new AdamW, as the released attacks make one per call.

        The order of the images goes on where the last call stopped, so that every image is seen.
        """
        training.reset_optimizer()
        training.restart_order(*RESTARTED[self.restart_order])
        training.train(instances, steps)
        training.reset_optimizer()  # the ascent that follows needs the memory


def weights_of(training: Training) -> list[Tensor]:
    """A snapshot of what is trained, kept on the CPU: a pool of them would fill a GPU."""
    weights = training.model.trainable_parameters()
    return [weight.detach().to("cpu", copy=True).contiguous() for weight in weights]


@torch.no_grad()
def restore(training: Training, weights: Sequence[Tensor]) -> None:
    """Set a surrogate's weights, in place: an attack of many rounds never copies a model."""
    torch._foreach_copy_(tuple(training.model.trainable_parameters()), tuple(weights))
