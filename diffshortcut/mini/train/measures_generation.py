"""Gates of the models that draw: VAE, latent and pixel diffusion models, restorer, upscaler."""

from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from diffshortcut.mini.train import judge
from diffshortcut.mini.train.damage import blurred, compressed, noisy
from diffshortcut.mini.train.held_out import Gate, HeldOut, Measure, enlarged, psnr, quarter
from diffshortcut.models import ldm, perceptual, pixel_diffusion, restorer, upscaler
from diffshortcut.pictures.images import resize
from diffshortcut.progress import track
from diffshortcut.samplers.classifier_free import ClassifierFree
from diffshortcut.seeding import Draws

PROMPTS = {  # what the judge must see in a sample
    "a photo of a man with glasses": {"gender": "man", "glasses": "some"},
    "a photo of a woman": {"gender": "woman", "glasses": "none"},
    "a photo of a woman with blond hair, glasses": {"hair_color": "blond", "glasses": "some"},
    "a photo of a man with red hair": {"hair_color": "red", "gender": "man"},
    "a photo of a man with a black beard": {"beard": "full", "gender": "man"},
    "a smiling photo of a young woman": {"expression": "smile", "gender": "woman"},
    "a photo of an old man with white hair": {"age": "old", "hair_color": "white"},
    "a line drawing of a person": {"style": "line drawing"},
    "a halftone print of a person": {"style": "halftone"},
}
KINDS = (blurred, noisy, compressed)
PROMPT = "a photo of a person, high quality, highres"


@torch.no_grad()
def autoencoder(held_out: HeldOut) -> list[Gate]:
    """Reconstruction, and the energy of sign noise that survives the round trip."""
    model, x = ldm.load(weights=held_out.at("mini_a")), held_out.clean(128)

    def round_trip(images: Tensor) -> Tensor:
        return model.decode(model.encode(images))

    y = round_trip(x)
    signs = torch.randint(2, x.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    delta = (x + signs * 11 / 255).clamp(0, 1) - x
    passed = round_trip(x + delta) - y
    kept, given = (functional.avg_pool2d(d, 2).square().mean() for d in (passed, delta))
    return [
        Gate("VAE: PSNR, dB", psnr(x, y), 26),
        Gate("VAE: energy of sign noise kept, 2x2 averages", float(kept / given), 0.5),
    ]


def restoration(held_out: HeldOut) -> list[Gate]:
    """PSNR and identity gained on blurred, noisy and JPEG portraits, at the purifier's w = 0.5."""
    model = restorer.load(weights=held_out.at("codeformer"), detector=held_out.detector)
    rng, index = torch.Generator().manual_seed(3), held_out.spread(96)
    x = held_out.corpus.pixels(index)
    bad = torch.cat([KINDS[i % 3](image, rng) for i, image in enumerate(x.split(1))])
    good = model(bad, fidelity=0.5)
    kept = [held_out.identity(images, index) for images in (bad, good)]
    gains = [psnr(good[i::3], x[i::3]) - psnr(bad[i::3], x[i::3]) for i in range(3)]
    return [
        Gate("restorer: PSNR gained on average, dB", float(np.mean(gains)), 2.0),
        Gate("restorer: identity cosine gained", kept[1] - kept[0], 0.0),
    ]


def enlargement(held_out: HeldOut) -> list[Gate]:
    """The upscaler against bicubic: perceptual distance saved, identity gained."""
    model = upscaler.load(weights=held_out.at("upscaler"))
    away = perceptual.load(weights=held_out.at("recognizer_b")).distance
    index = held_out.spread(48)
    x = held_out.corpus.pixels(index)
    small = quarter(x)
    images = enlarged(small, 4), model(small, prompt=PROMPT, steps=20, draws=Draws(0, "gate", ""))
    far = [float(away(x, y).mean()) for y in images]
    kept = [held_out.identity(y, index) for y in images]
    return [
        Gate("upscaler: perceptual distance below bicubic's", far[0] - far[1], 0.0),
        Gate("upscaler: identity cosine gained on bicubic", kept[1] - kept[0], 0.0),
    ]


@torch.no_grad()
def generation(held_out: HeldOut, name: str) -> list[Gate]:
    """What prompts ask for is seen by the judge; faces are found in the samples."""
    net = judge.Judge()
    net.load_state_dict(torch.load(held_out.work / "judge_net.pt", weights_only=True))
    net.eval()
    model = ldm.load(weights=held_out.at(name), autoencoder=held_out.at("mini_a"))
    sampler = ClassifierFree(model=model, prompts=list(PROMPTS), images=16, steps=30, guidance=6.5)
    scores, photos = [], []
    for asked, images in zip(PROMPTS.values(), sampler(model, Draws(0, "gate", "")), strict=True):
        answers = {head: logits.argmax(1) for head, logits in net(images).items()}
        scores += [
            float((answers[head] == judge.HEADS[head].index(value)).float().mean())
            for head, value in asked.items()
        ]
        photos += [images] if "style" not in asked else []
    found = [bool(face) for face in held_out.detector.detect(torch.cat(photos))]
    return [
        Gate(f"{name}: attributes asked for and seen", float(np.mean(scores)), 0.8),
        Gate(f"{name}: faces found in samples", float(np.mean(found)), 0.95),
    ]


@torch.no_grad()
def pixels(held_out: HeldOut) -> list[Gate]:
    """Faces found in samples of 100 steps; noise of timestep 100 taken from windows, in one step.

    Windows are a quarter of a portrait, as GrIDPure lays them.
    """
    model = pixel_diffusion.load(weights=held_out.at("pixel"))
    few, draws, side = model.respaced(100), Draws(0, "gate", ""), model.resolution
    x = draws.normal("start", (3, side, side), 64)
    for t in track(range(99, -1, -1), "sample"):
        x = few.p_sample(x, t, draws.normal("sample", x.shape[1:], len(x), t))
    found = [bool(face) for face in held_out.detector.detect(resize(model.to_images(x), 128))]
    windows = held_out.clean(32)[..., :side, :side]
    noised = model.q_sample(model.to_model(windows), 100, draws.normal("noise", x.shape[1:], 32))
    guess = model.to_images(model.predict(noised, 100).clean)
    before = model.to_images(noised / model.alpha_bar[100].float().sqrt())
    gained = psnr(guess, windows) - psnr(before, windows)
    return [
        Gate("pixel: faces found in samples", float(np.mean(found)), 0.9),
        Gate("pixel: PSNR gained on noised windows, dB", gained, 10),
    ]


MEASURES: dict[str, Measure] = {
    "pixel": pixels,
    "vae": autoencoder,
    "restorer": restoration,
    "upscaler": enlargement,
    **{name: partial(generation, name=name) for name in ("mini_a", "mini_b", "mini_c")},
}
