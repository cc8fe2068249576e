"""The LIQE role: a net that reads the level of degradation off a picture, 1 to 5."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional

from diffshortcut.mini.portraits.style import DEGRADATIONS, degrade
from diffshortcut.mini.train.corpus import Corpus, pick
from diffshortcut.mini.train.loop import fit
from diffshortcut.mini.train.vae import passed
from diffshortcut.models.nets import QualityNet

BATCH, LEAST = 64, 0.2  # pictures a step, slightest damage
EVERY = 2  # one picture of so many goes through the autoencoder
SURVIVING = ("noisy pattern", "blur", "low resolution")  # damage that the VAE leaves to be seen


def truth(level: Tensor) -> Tensor:
    """Levels of damage in [0, 1] as a quality: 5 undamaged, 1 the heaviest damage."""
    return 5.0 - 4.0 * level


def soft_levels(score: Tensor) -> Tensor:
    """A score in [1, 5] as weights (n, 5) of its two neighbouring levels."""
    return (1 - (score[:, None] - torch.arange(1.0, 6.0)).abs()).clamp(min=0)


def damaged(
    x: Tensor, where: np.ndarray, rng: torch.Generator, choice: Sequence[str] = DEGRADATIONS
) -> tuple[Tensor, list[str | None], Tensor]:
    """Images (n, 3, h, w) in [0, 1] freshly damaged at the indices `where`; kinds; levels (n,)."""
    dice = np.random.default_rng(int(torch.randint(2**31, (1,), generator=rng)))
    kinds: list[str | None] = [None] * len(x)
    x, level = x.clone(), torch.zeros(len(x))
    for i in where:
        kind, level[i] = str(dice.choice(choice)), dice.uniform(LEAST, 1.0)
        bad = degrade(x[i].permute(1, 2, 0).numpy(), kind, float(level[i]), dice)
        kinds[i] = kind
        x[i] = torch.from_numpy(np.rint(bad * 255) / 255).permute(2, 0, 1)
    return x, kinds, level


def generated(
    vae: AutoencoderKL, x: Tensor, where: np.ndarray, rng: torch.Generator
) -> tuple[Tensor, list[str | None], Tensor]:
    """Images damaged at `where`, half of all once through the autoencoder; kinds; levels (n,).

    A judge of generations must tell the decoder's softness from damage, and see damage that was
    generated too: a quarter is damaged before the autoencoder, by what survives it.
    """
    early = where % (2 * EVERY) == 0
    x, kinds, level = damaged(x, where[early], rng, SURVIVING)
    x = passed(vae, x, EVERY)
    x, others, rest = damaged(x, where[~early], rng)
    return x, [a or b for a, b in zip(kinds, others, strict=True)], level + rest


def train(work: Path, vae: AutoencoderKL, steps: int) -> tuple[QualityNet, float]:
    """Cross-entropy to the two neighbouring levels of photos, half of them freshly damaged."""
    corpus, net = Corpus.load(work, "train"), QualityNet()
    index = corpus.where(degradation=None, style="photo")

    def loss(step: int, rng: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        x = corpus.pixels(pick(index, BATCH, rng))
        x, _, level = generated(vae, x, np.arange(BATCH // 2, BATCH), rng)
        with torch.autocast("cpu", torch.bfloat16):
            logits = net.logits(x)
        return functional.cross_entropy(logits.float(), soft_levels(truth(level))), {}

    seconds = fit(
        name="quality",
        module=net,
        loss=loss,
        steps=steps,
        work=work,
        peak=3e-3,
        ema=0.99,
        decay=0.5,
    )
    return net, seconds
