"""CLIP's wrapper against transformers."""

from pathlib import Path

import pytest
import torch
from transformers import CLIPModel, CLIPTokenizer

from diffshortcut.models import clip
from diffshortcut.seeding import Draws

TEXTS = ["a good photo of face", "a bad photo of face"]
X = Draws(0, "score", "nobody").uniform("x", (3, 32, 32), 3)


@pytest.fixture
def net(tiny_clip_folder: Path) -> clip.Clip:
    return clip.load(weights=f"file:{tiny_clip_folder}")


def test_probabilities_are_the_models(net: clip.Clip, tiny_clip_folder: Path) -> None:
    tokenizer = CLIPTokenizer.from_pretrained(tiny_clip_folder)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (clip.MEAN, clip.STD))
    with torch.no_grad():
        output = CLIPModel.from_pretrained(tiny_clip_folder)(
            **tokenizer(TEXTS, padding="max_length", return_tensors="pt"),
            pixel_values=(X - mean) / std,
        )
        ours = net.probabilities(X, TEXTS)
    torch.testing.assert_close(ours, output.logits_per_image.softmax(1), rtol=1e-4, atol=1e-5)


def test_features_are_unit_vectors_and_differentiable(net: clip.Clip) -> None:
    x = X.clone().requires_grad_()
    features = net.image_features(x)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(3))
    assert torch.autograd.grad(features[:, 0].sum(), x)[0].abs().max() > 0


def test_any_size_is_cropped_and_resized(net: clip.Clip) -> None:
    wide = torch.nn.functional.pad(X, (9, 9))
    torch.testing.assert_close(net.image_features(wide), net.image_features(X))
