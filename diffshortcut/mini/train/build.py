"""Train the mini zoo: `python -m diffshortcut.mini.train.build [NAME ...] [--work FOLDER]`.

Each name is one model; without names all are built in order. Everything is resumable: drawn shards,
checkpoints and finished models are kept in the work folder, and `make mini` calls this.
"""

import argparse
import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPModel, CLIPTokenizer

from diffshortcut.mini.export import export_detector, export_recognizer
from diffshortcut.mini.train import (
    cards,
    clip,
    codeformer,
    corpus,
    detector,
    judge,
    ldm,
    pixel,
    quality,
    recognizers,
    tokenizer,
    upscaler,
    vae,
)
from diffshortcut.models.nets import RecognizerANet, RecognizerBNet
from diffshortcut.weights import MINI

log = logging.getLogger(__name__)
PEOPLE, VIEWS = 2800, 10
STEPS = {
    "vae": (2600,),
    "clip": (4500,),
    "mini_a": (8000,),
    "mini_b": (4000,),
    "mini_c": (4500,),
    "judge": (2000,),
    "recognizer_a": (900,),
    "recognizer_b": (600,),
    "detector": (400,),
    "quality": (2400,),
    "codeformer": (1300, 3900),  # stage I; II and III
    "upscaler": (3400, 12000),  # VAE, UNet
    "pixel": (6950,),
}


class Builder:
    """Builds each model from the work folder; a model that others need is loaded from there."""

    def __init__(self, work: Path, weights: Path = MINI, scale: float = 1.0) -> None:
        self.work, self.weights, self.scale = work, weights, scale

    def steps(self, name: str) -> int:
        """The steps of a model, scaled."""
        return self.parts(name)[0]

    def parts(self, name: str) -> tuple[int, ...]:
        """The steps of a model that is trained in several parts, scaled."""
        return tuple(max(2, int(count * self.scale)) for count in STEPS[name])

    def corpus(self) -> float:
        corpus.write(self.work, "gate", corpus.GATE, 200, 8)
        corpus.write(self.work, "train", corpus.TRAIN, PEOPLE, VIEWS)
        return 0.0

    def tokens(self) -> CLIPTokenizer:
        """The tokenizer, trained when first asked for."""
        folder = self.work / "tokenizer"
        if not (folder / "tokenizer_config.json").exists():
            data = corpus.Corpus.load(self.work, "train")
            everything = np.arange(len(data.images))
            texts = [t for k in range(4) for t in data.captions(everything, seed=50 + k)]
            return tokenizer.train(texts, folder)
        return CLIPTokenizer.from_pretrained(folder)

    def vae(self) -> float:
        model, seconds = vae.train(self.work, self.steps("vae"))
        model.save_pretrained(self.work / "vae")
        return seconds

    def trained_vae(self) -> AutoencoderKL:
        return AutoencoderKL.from_pretrained(self.work / "vae")

    def clip(self) -> float:
        model, seconds = clip.train(
            self.work, self.trained_vae(), self.tokens(), self.steps("clip")
        )
        clip.save(model, self.tokens(), self.weights / "clip")
        return seconds

    def trained_clip(self) -> CLIPModel:
        return CLIPModel.from_pretrained(self.weights / "clip", torch_dtype=torch.float32)

    def ldm(self, name: str) -> float:
        autoencoder = self.trained_vae()
        module, seconds = ldm.train(
            self.work,
            name,
            autoencoder,
            self.trained_clip(),
            self.tokens(),
            self.steps(name),
        )
        own = autoencoder if name == "mini_a" else None  # the others share it
        ldm.save(module, name, own, self.tokens(), self.weights / name)
        return seconds

    def recognizer_a(self) -> float:
        net, seconds = recognizers.train(
            self.work, "recognizer_a", RecognizerANet(), 512, self.steps("recognizer_a")
        )
        torch.save(net.state_dict(), self.work / "recognizer_a_net.pt")
        export_recognizer(net, self.weights / "recognizer_a" / "model.onnx")
        return seconds

    def recognizer_b(self) -> float:
        net, seconds = recognizers.train(
            self.work, "recognizer_b", RecognizerBNet(), 256, self.steps("recognizer_b")
        )
        write_net(net, {"width": 16, "dim": 256}, self.weights / "recognizer_b")
        return seconds

    def detector(self) -> float:
        net, seconds = detector.train(self.work, self.steps("detector"))
        torch.save(net.state_dict(), self.work / "detector_net.pt")
        export_detector(net, self.weights / "detector" / "model.onnx", size=128)
        return seconds

    def judge(self) -> float:
        net, seconds = judge.train(self.work, self.steps("judge"))
        torch.save(net.state_dict(), self.work / "judge_net.pt")
        return seconds

    def quality(self) -> float:
        net, seconds = quality.train(self.work, self.trained_vae(), self.steps("quality"))
        write_net(net, {}, self.weights / "quality")
        return seconds

    def codeformer(self) -> float:
        net, seconds = codeformer.train(self.work, self.parts("codeformer"))
        net.save(self.weights / "codeformer", torch.float16)
        return seconds

    def upscaler(self) -> float:
        counts = self.parts("upscaler")
        pipeline, seconds = upscaler.train(self.work, self.trained_clip(), self.tokens(), counts)
        pipeline.to(torch.float16).save_pretrained(self.weights / "upscaler")
        return seconds

    def pixel(self) -> float:
        unet, seconds = pixel.train(self.work, self.steps("pixel"))
        pixel.save(unet, self.weights / "pixel")
        return seconds

    def recipes(self) -> dict[str, Callable[[], float]]:
        """Every model in the order in which they need each other."""
        return {
            "corpus": self.corpus,
            "vae": self.vae,
            "clip": self.clip,
            "mini_a": lambda: self.ldm("mini_a"),
            "recognizer_a": self.recognizer_a,
            "recognizer_b": self.recognizer_b,
            "detector": self.detector,
            "judge": self.judge,
            "quality": self.quality,
            "codeformer": self.codeformer,
            "upscaler": self.upscaler,
            "pixel": self.pixel,
            "mini_b": lambda: self.ldm("mini_b"),
            "mini_c": lambda: self.ldm("mini_c"),
        }


def write_net(net: nn.Module, config: dict, folder: Path) -> None:
    """config.json and model.safetensors, as `models/nets.load_net` reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    save_file(
        {k: v.contiguous() for k, v in net.state_dict().items()}, folder / "model.safetensors"
    )


def main() -> None:
    """Build the named models (or all) and note the time that each took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--work", type=Path, default=Path("build/mini"))
    parser.add_argument("--weights", type=Path, default=MINI)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the steps, for a trial")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    recipes = Builder(arguments.work, arguments.weights, arguments.scale).recipes()
    for name in arguments.names or recipes:
        seconds = recipes[name]()
        log.info("%s: %.0f s of training in all", name, seconds)
        if name in STEPS:
            facts = {"steps": list(STEPS[name]), "seconds": round(seconds)}
            cards.note(arguments.weights, "training", {name: facts})


if __name__ == "__main__":
    main()
