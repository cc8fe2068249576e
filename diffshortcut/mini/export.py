"""Export of the mini zoo's detector and recognizer A to ONNX, the form of the full zoo's files."""

import warnings
from pathlib import Path

import torch
from torch import nn

OPSET = 17
DETECTOR_OUTPUTS = [f"{kind}_{s}" for kind in ("score", "box", "point") for s in (8, 16, 32)]


def export_onnx(net: nn.Module, path: Path, *, size: int, outputs: list[str]) -> None:
    """Write `net` (input (n, 3, size, size), any n) in evaluation mode to an ONNX file."""
    example = torch.zeros(2, 3, size, size)
    axes = {name: {0: "batch"} for name in ("input", *outputs)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        # the exporter that needs no extra package announces its own retirement
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            net.eval(),
            (example,),
            str(path),
            input_names=["input"],
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )


def export_detector(net: nn.Module, path: Path, *, size: int) -> None:
    """DetectorNet to ONNX with SCRFD's nine outputs."""
    export_onnx(net, path, size=size, outputs=DETECTOR_OUTPUTS)


def export_recognizer(net: nn.Module, path: Path) -> None:
    """RecognizerANet to ONNX, 112 x 112 to 512-d."""
    export_onnx(net, path, size=112, outputs=["embedding"])
