"""The face restorer: CodeFormer's three stages (Zhou et al. 2022) at mini scale.

I: a vector-quantized autoencoder of clean portraits. II: codes of the clean image predicted from a
damaged one. III: controllable features of the damaged image let into the generator, also at full
resolution and at a random fidelity w with `adain`: so is the net used, and a small codebook alone
(24 dB) would cost more than the damage. For the same reason, and unlike the published training, the
features are trained for this (the gradient passes them) and the generator with them.
"""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from diffshortcut.mini.train.corpus import Corpus, pick
from diffshortcut.mini.train.damage import damage
from diffshortcut.mini.train.loop import fit
from diffshortcut.mini.train.vae import decibels, reconstruction
from diffshortcut.models.codeformer import CodeFormer
from diffshortcut.models.vq import Config, VQAutoencoder

BATCH = 8
CONFIG = Config(multipliers=(1, 1, 2, 3), blocks=1, connect=(32, 64, 128))
LEAST = 0.3  # smallest fidelity of stage III
CONTINUOUS = 0.3  # share of stage I before the codes are switched on


def start_codes(net: CodeFormer, x: Tensor, rng: torch.Generator) -> None:
    """Codes start as random latents of the continuous autoencoder, so that none is dead."""
    with torch.no_grad():
        latent, _ = net.encoder(x)
        rows = latent.permute(0, 2, 3, 1).flatten(0, 2)
        chosen = torch.randperm(len(rows), generator=rng)[: net.config.codes]
        net.quantize.embedding.weight.copy_(rows[chosen])


def stage_one(work: Path, net: CodeFormer, corpus: Corpus, steps: int) -> float:
    """Encoder, codes and generator on clean photos; styles are the restorer's business too."""
    index, switch = corpus.where(degradation=None), int(CONTINUOUS * steps)

    def loss(step: int, rng: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        x = corpus.pixels(pick(index, BATCH, rng)) * 2 - 1
        if step == switch:
            start_codes(net, x, rng)
        with torch.autocast("cpu", torch.bfloat16):
            if step < switch:
                output, codes = net.generator(net.encoder(x)[0]), torch.zeros(())
            else:
                output, codes, _ = VQAutoencoder.forward(net, x)
        output = output.float()
        return reconstruction(output, x) + codes, {"psnr": decibels(output, x)}

    return fit(
        name="codeformer_1",
        module=net,
        loss=loss,
        steps=steps,
        work=work,
        peak=1e-3,
        ema=0.99,
        weight_decay=0.0,
    )


def stage_two_and_three(
    work: Path, net: CodeFormer, corpus: Corpus, steps: int
) -> tuple[CodeFormer, float]:
    """Code prediction and fusion together; the codes stay as stage I left them."""
    teacher = CodeFormer(CONFIG)
    teacher.load_state_dict(net.state_dict())
    teacher.eval().requires_grad_(False)
    net.quantize.requires_grad_(False)
    index = corpus.where(degradation=None)

    def loss(step: int, rng: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        clean = corpus.pixels(pick(index, BATCH, rng))
        bad, x = damage(clean, rng), clean * 2 - 1
        w = LEAST + (1 - LEAST) * float(torch.rand(1, generator=rng))
        with torch.no_grad():
            target = teacher.quantize.nearest(teacher.encoder(x)[0])
        with torch.autocast("cpu", torch.bfloat16):
            found = net(bad * 2 - 1, w=w, straight_through=True)
        output, logits, latent = (y.float() for y in found)
        codes = functional.cross_entropy(logits.transpose(1, 2), target.flatten(1))
        near = functional.mse_loss(latent, teacher.quantize.lookup(target))
        value = 0.5 * codes + near + reconstruction(output, x)
        return value, {"psnr": decibels(output, x), "codes": float(codes.detach())}

    seconds = fit(
        name="codeformer_2",
        module=net,
        loss=loss,
        steps=steps,
        work=work,
        peak=1e-3,
        decay=0.4,
        ema=0.99,
    )
    return net, seconds


def train(work: Path, steps: tuple[int, ...]) -> tuple[CodeFormer, float]:
    """All stages; `steps` of stage I and of II + III."""
    corpus, net = Corpus.load(work, "train"), CodeFormer(CONFIG)
    first = stage_one(work, net, corpus, steps[0])
    net, second = stage_two_and_three(work, net, corpus, steps[1])
    return net, first + second
