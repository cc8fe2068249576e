"""Random-weight files in the formats that the full zoo's packages read (loader tests only)."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from diffshortcut.models.codeformer import CodeFormer
from diffshortcut.models.nets import DetectorNet, RecognizerANet
from diffshortcut.models.vq import OFFICIAL

REASON = "needs the extra [full]: make test-full"


def package(name: str) -> Any:
    """A package of the extra [full]; the test is skipped, naming it, where it is missing."""
    return pytest.importorskip(name, reason=f"no module {name}; {REASON}")


def scrfd(path: Path) -> Path:
    """Nine outputs as SCRFD's, for pictures of any size; finds something in most noise."""
    torch.manual_seed(0)
    net = DetectorNet(width=8)
    for head in net.heads:
        nn.init.normal_(head.score.weight, std=0.5)
        nn.init.zeros_(head.score.bias)
    return _onnx(
        net, path, 64, [f"{k}_{s}" for k in ("score", "box", "point") for s in (8, 16, 32)]
    )


def arcface(path: Path) -> Path:
    """Aligned faces of 112 x 112 to 512 numbers."""
    torch.manual_seed(0)
    return _onnx(RecognizerANet(width=8), path, 112, ["embedding"])


def _onnx(net: nn.Module, path: Path, size: int, outputs: list[str]) -> Path:
    axes = {name: {0: "n"} for name in outputs}
    if size == 64:
        axes |= {"input": {0: "n", 2: "h", 3: "w"}} | {name: {0: "n", 1: "a"} for name in outputs}
    else:
        axes |= {"input": {0: "n"}}
    torch.onnx.export(
        net.eval(),
        (torch.zeros(2, 3, size, size),),
        str(path),
        input_names=["input"],
        output_names=outputs,
        dynamic_axes=axes,
        opset_version=17,
        dynamo=False,
    )
    return path


def vgg_face(path: Path) -> Path:
    """DeepFace's vgg_face_weights.pth."""
    source = package("deepface.models.facial_recognition.pytorch.VGGFace")
    torch.manual_seed(0)
    torch.save(source.base_model().state_dict(), path)
    return path


def retinaface(path: Path) -> Path:
    """detection_Resnet50_Final.pth, saved from a wrapped net; finds faces everywhere."""
    source = package("facexlib.detection.retinaface")
    torch.manual_seed(0)
    net = source.RetinaFace(network_name="resnet50", device=torch.device("cpu"))
    for head in (*net.ClassHead, *net.BboxHead, *net.LandmarkHead):
        nn.init.normal_(head.conv1x1.weight, std=1.5e-4)  # of untrained features, which are large
    torch.save({f"module.{name}": value for name, value in net.state_dict().items()}, path)
    return path


def parsenet(path: Path) -> Path:
    """parsing_parsenet.pth."""
    source = package("facexlib.parsing.parsenet")
    torch.manual_seed(0)
    torch.save(source.ParseNet(in_size=512, out_size=512, parsing_ch=19).state_dict(), path)
    return path


def codeformer(path: Path) -> Path:
    """codeformer.pth, as released: the averaged weights, at full size."""
    torch.manual_seed(0)
    torch.save({"params_ema": CodeFormer(OFFICIAL).state_dict()}, path)
    return path


def openai_clip(**changes: Any) -> Any:
    """A tiny CLIP under OpenAI's names, which pyiqa and LIQE.pt use; of half precision's values."""
    torch.manual_seed(0)
    net = package("pyiqa.archs.clip_model").CLIP(**(OPENAI | changes)).eval()
    return net.half().float()


OPENAI = {
    "embed_dim": 32,
    "image_resolution": 224,
    "vision_layers": 1,
    "vision_width": 64,
    "vision_patch_size": 32,
    "context_length": 77,
    "vocab_size": 49408,
    "transformer_width": 64,
    "transformer_heads": 1,
    "transformer_layers": 1,
}


RN50 = {"vision_layers": (1, 1, 1, 1), "vision_width": 8, "vision_patch_size": None}


def archive(net: Any, path: Path) -> Path:
    """A TorchScript archive of a CLIP, as OpenAI released RN50.pt and ViT-B-32.pt."""
    example = torch.rand(1, 3, 224, 224), torch.zeros(1, 77, dtype=torch.long)
    torch.jit.save(torch.jit.trace(net, example, check_trace=False), path)
    return path
