"""Sampling with classifier-free guidance away from a negative prompt (Eq. 6)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, PNDMScheduler
from torch import Tensor

from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.progress import track
from diffshortcut.seeding import Draws

SOLVERS = {
    "ddim": DDIMScheduler,
    "pndm": PNDMScheduler,
    "dpm++": DPMSolverMultistepScheduler,
}
# latents are not bounded, so predictions of z_0 are not clipped; every solver step costs one pass
SETTINGS = {"clip_sample": False, "skip_prk_steps": True}
Solver: TypeAlias = DDIMScheduler | PNDMScheduler | DPMSolverMultistepScheduler


@dataclass(frozen=True, kw_only=True)
class ClassifierFree:
    """`images` images of each prompt; the paper's quality-enhanced sampling is a negative prompt.

    `guidance` is Eq. 6's w, which is guidance_scale - 1 in diffusers. `suffix` is appended to every
    prompt. The initial latents depend on prompt index and sample index only, so that all arms of
    a comparison start from the same ones. `solver` is the checkpoint's own or another.
    """

    model: LatentDiffusion
    prompts: Sequence[str]
    images: int
    steps: int
    guidance: float
    negative_prompt: str = ""
    suffix: str | None = None
    solver: Literal["checkpoint", "ddim", "pndm", "dpm++"] = "checkpoint"
    micro_batch: int | None = None

    def __post_init__(self) -> None:
        if min(self.images, self.steps, len(self.prompts)) < 1 or self.guidance < 0:
            raise ValueError("needs a prompt, an image and a step, and guidance >= 0")
        if len(set(self.prompts)) < len(self.prompts):  # scores go by the prompt's text
            raise ValueError("two prompts are the same: their images could not be told apart")

    @property
    def conditions(self) -> list[str]:
        """The full texts, one per prompt."""
        return [prompt + (self.suffix or "") for prompt in self.prompts]

    @torch.no_grad()
    def __call__(self, model: LatentDiffusion, draws: Draws) -> list[Tensor]:
        """(images, 3, h, w) in [0, 1] for each prompt, by `model` (a personalized `self.model`)."""
        negative = model.encode_prompt([self.negative_prompt])
        return [
            self._of(model, model.encode_prompt([text]), negative, draws, index)
            for index, text in enumerate(self.conditions)
        ]

    def _of(
        self, model: LatentDiffusion, context: Tensor, negative: Tensor, draws: Draws, index: int
    ) -> Tensor:
        latents = draws.normal("latents", model.latent_shape, self.images, step=index)
        parts = latents.to(model.device).split(self.micro_batch or self.images)
        finished = (self._denoise(model, part, context, negative) for part in parts)
        return torch.cat([model.decode(z).cpu() for z in finished])

    def _denoise(
        self, model: LatentDiffusion, z: Tensor, context: Tensor, negative: Tensor
    ) -> Tensor:
        solver = self.new_solver(model)
        z = z * solver.init_noise_sigma
        for t in track(solver.timesteps, "generate"):
            eps = guided(model, z, t.expand(len(z)), context, negative, self.guidance)
            z = solver.step(eps, t, z).prev_sample
        return z

    def new_solver(self, model: LatentDiffusion) -> Solver:
        """A solver at its first step; DDIM if the checkpoint's own is none of these."""
        own = {kind.__name__: kind for kind in SOLVERS.values()}
        kind = SOLVERS.get(self.solver) or own.get(model.solver, DDIMScheduler)
        with torch.device("cpu"):  # some ask numpy about their tables
            solver = kind.from_config({**model.scheduler.config, **SETTINGS})
            solver.set_timesteps(self.steps)
        return solver


def guided(
    model: LatentDiffusion, z: Tensor, t: Tensor, context: Tensor, negative: Tensor, w: float
) -> Tensor:
    """Eq. 6: (1 + w) eps(z, t, context) - w eps(z, t, negative).

    One branch if w = 0 or if both contexts are the same.
    """
    if w == 0 or torch.equal(context, negative):
        return model.predict(z, t, context)
    contexts = torch.cat([context.expand(len(z), -1, -1), negative.expand(len(z), -1, -1)])
    conditional, away = model.predict(z.repeat(2, 1, 1, 1), t.repeat(2), contexts).chunk(2)
    return (1 + w) * conditional - w * away
