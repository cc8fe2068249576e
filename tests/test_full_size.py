"""One step of each kind at the size of Stable Diffusion 2.1-base, with random weights, on the CPU.

It shows that the steps run at full size and in how much memory; docs/full.md holds what was seen.
Each test needs up to 16 GB and minutes: run them one at a time,
`python -m pytest -s -m large tests/test_full_size.py -k pgd`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, StableDiffusionUpscalePipeline
from tiny_zoo import tokenizer as _tokenizer
from torch import Tensor

from diffshortcut.artifacts.provenance import cost
from diffshortcut.attacks.denoising import denoising_loss
from diffshortcut.attacks.pgd import ascend, gradient_of
from diffshortcut.dreambooth import Posterior, Settings, Training
from diffshortcut.models import released
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.models.upscaler import Upscaler
from diffshortcut.precision import Precision
from diffshortcut.samplers.classifier_free import ClassifierFree, guided
from diffshortcut.seeding import Draws

pytestmark = pytest.mark.large
MOST = 20 * 2**30  # bytes
DRAWS = Draws(seed=0, stage="full size", person="nobody")
PROMPT = "a photo of sks person"
SIDE = 512
LEAN = Precision(autocast="bfloat16", optimizer="adamw8bit", gradient_checkpointing=True)


@contextmanager
def measured(what: str) -> Iterator[None]:
    """Print seconds of the clock and of the processor, and the peak of memory meanwhile."""
    processor = time.process_time()
    with cost() as found:
        yield
    processor, peak = time.process_time() - processor, found["peak_memory"]
    print(f"\n{what}: {found['seconds']:.0f} s, {processor:.0f} s of CPU, peak {peak / 1e9:.1f} GB")
    assert peak < MOST


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def model(name: str = "sd21base", precision: Precision | None = None) -> LatentDiffusion:
    """Fresh weights; a tokenizer of 514 tokens, for prompts of random meaning."""
    torch.manual_seed(0)
    precision = precision or Precision()
    nets = {part: precision.prepare(released.net(name, part)) for part in released.NETS}
    scheduler = DDPMScheduler.from_config(released.config(name, "scheduler"))
    more = {"tokenizer": _tokenizer(), "scheduler": scheduler, "precision": precision}
    return LatentDiffusion(**nets, **more)


def picture(side: int) -> Tensor:
    return DRAWS.uniform("picture", (3, side, side), 1)


def test_a_pgd_step() -> None:
    """float32, one picture: encoder, denoiser and back to the pixels."""
    sd, clean = model(), picture(SIDE)
    with measured("PGD step"):
        gradient = gradient_of(denoising_loss(sd, PROMPT, DRAWS))
        moved = ascend(clean, clean, gradient, radius=11, step=1, steps=1)
    levels = ((moved - clean) * 255).abs()
    assert levels.max() == pytest.approx(1, abs=1e-3) and levels.mean() > 0.9
    assert all(p.grad is None for p in sd.trainable_parameters())


def test_a_sampler_step() -> None:
    """float32, one latent, both branches of the guidance."""
    sd = model()
    sampler = ClassifierFree(model=sd, prompts=[PROMPT], images=1, steps=100, guidance=7.5)
    solver, z = sampler.new_solver(sd), DRAWS.normal("latents", sd.latent_shape, 1)
    assert sd.latent_shape == (4, 64, 64)
    with torch.no_grad(), measured("sampler step"):
        context, negative = (sd.encode_prompt([text]) for text in (PROMPT, ""))
        t = solver.timesteps[0]
        prediction = guided(sd, z, t.expand(1), context, negative, 7.5)
        after = solver.step(prediction, t, z).prev_sample
    assert after.shape == z.shape and after.isfinite().all() and not after.equal(z)


def test_an_upscaler_step() -> None:
    """bfloat16 autocast, 128 to 512 pixels, both branches of the guidance, and the decoder."""
    name = "sd_x4_upscaler"
    torch.manual_seed(0)
    nets = {part: released.net(name, part) for part in released.NETS}
    pipeline = StableDiffusionUpscalePipeline(
        **nets,
        tokenizer=_tokenizer(),
        scheduler=DDIMScheduler.from_config(released.config(name, "scheduler")),
        low_res_scheduler=DDPMScheduler.from_config(released.config(name, "low_res_scheduler")),
    )
    pipeline.set_progress_bar_config(disable=True)
    upscaler = Upscaler(pipeline, Precision(autocast="bfloat16"))
    with measured("upscaler step"):
        large = upscaler(picture(128), prompt=PROMPT, draws=DRAWS, steps=1)
    assert large.shape == (1, 3, SIDE, SIDE) and large.isfinite().all()


@pytest.mark.parametrize("weights_dtype", ["float32", "bfloat16"])
@pytest.mark.skipif(not find_spec("bitsandbytes"), reason="needs bitsandbytes: the extra [gpu]")
def test_a_dreambooth_step(weights_dtype: str) -> None:
    """bfloat16 autocast, 8-bit AdamW, checkpoints: one picture of the person, one of the class.

    The trained weights in float32, or for half the memory in bfloat16 as released attacks do.
    """
    latents = Posterior(DRAWS.normal("mean", (4, 64, 64), 1), torch.full((1, 4, 64, 64), 0.1))
    settings = Settings(
        instance_prompt=PROMPT,
        class_prompt="a photo of person",
        learning_rate=5e-7,
        weights_dtype=weights_dtype,
    )
    # the base goes, its copy is trained
    training = Training(model(precision=LEAN), settings, latents, DRAWS)
    before = training.model.trainable_parameters()[0].detach().clone()
    losses: list[float] = []
    with measured(f"DreamBooth step, {weights_dtype}"):
        training.train(latents, 1, lambda step, loss: losses.append(loss))
    moved = not training.model.trainable_parameters()[0].equal(before)
    assert len(losses) == 1 and losses[0] > 0 and moved
    states = [s["state1"].dtype for s in training.optimizer.state.values() if "state1" in s]
    assert torch.uint8 in states
