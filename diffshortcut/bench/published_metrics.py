"""Scores as they are published, plainly: what `make bench` measures our `score` stage beside.

The same metric objects and files as ours, so that the scores are equal but for rounding. Every
metric reads every picture for itself and calls its models for one picture after the other. Numbers
in brackets are the sections of the notes on the releases, which are not in this repository. This
file was written before anything was measured with it, and stays as it is.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from diffshortcut.metrics.identity import find
from diffshortcut.metrics.ims import IMS
from diffshortcut.metrics.quality import Quality, renormalize
from diffshortcut.models.faces import FaceDetector, Recognizer
from diffshortcut.pictures.images import quantize, read

Files = Mapping[str, Sequence[Path]]  # of the generated pictures, by prompt
Scores = dict[tuple[str, str, int], float]  # by metric, prompt and sample


def ims(metric: IMS, files: Files, references: Sequence[Path], size: int) -> Scores:
    """Either recognizer's package looks for the faces itself [5.1].

    It keeps the embeddings of the references for a folder of pictures, which are those of a prompt.
    """
    scores: Scores = {}
    for prompt, paths in files.items():
        parts = [
            _likeness(metric.detector, recognizer, paths, references, size)
            for recognizer in (metric.recognizer_a, metric.recognizer_b)
        ]
        for sample, (a, b) in enumerate(zip(*parts, strict=True)):
            scores["ims_a", prompt, sample] = a
            scores["ims_b", prompt, sample] = b
            scores["ims", prompt, sample] = metric.weight * a + (1 - metric.weight) * b
    return scores


def quality(metric: Quality, files: Files) -> Scores:
    """LIQE of every picture, then CLIP of every picture and of the two texts [5.2, 5.3]."""
    scores: Scores = {}
    for prompt, paths in files.items():
        for sample, path in enumerate(paths):
            scores["liqe", prompt, sample] = float(metric.liqe.score(read(path)[None]))
        for sample, path in enumerate(paths):
            scores["clip_iqac", prompt, sample] = float(metric.clip_iqac(read(path)[None]))
        for sample in range(len(paths)):
            liqe = renormalize(torch.tensor(scores["liqe", prompt, sample]))
            q = (float(liqe) + scores["clip_iqac", prompt, sample]) / 2
            scores["q", prompt, sample] = q
    return scores


def _likeness(
    detector: FaceDetector,
    recognizer: Recognizer,
    paths: Sequence[Path],
    references: Sequence[Path],
    size: int,
) -> list[float]:
    """Each picture's mean cosine to the references; 0 without a face."""
    known = [_embedded(detector, recognizer, quantize(read(path, size))) for path in references]
    targets = torch.cat(known)
    found = (_embedded(detector, recognizer, read(path)) for path in paths)
    return [float((face @ targets.T).mean()) if len(face) else 0.0 for face in found]


def _embedded(detector: FaceDetector, recognizer: Recognizer, image: Tensor) -> Tensor:
    """The embedding (1, d) of a picture's largest face, (0, d) without one."""
    return find(detector, image[None]).embeddings(recognizer)
