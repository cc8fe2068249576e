"""Detector layout, alignment, recognizers and the nets' file formats."""

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from diffshortcut.errors import UserError
from diffshortcut.mini.export import export_detector, export_recognizer
from diffshortcut.models import faces, perceptual
from diffshortcut.models.geometry import ARCFACE, align, alignment, invert, similarity, warp
from diffshortcut.models.nets import (
    DetectorNet,
    RecognizerANet,
    RecognizerBNet,
    anchor_centers,
    decode,
)


def planted(*marks, size=128, batched=True):
    """SCRFD's nine outputs with faces (stride, row, column, anchor, score), nothing elsewhere."""
    outputs = [
        torch.zeros((1, 2 * (size // s) ** 2, k)[0 if batched else 1 :])
        for k in (1, 4, 10)
        for s in (8, 16, 32)
    ]
    for stride, row, column, anchor, score in marks:
        level = (8, 16, 32).index(stride)
        index = (row * (size // stride) + column) * 2 + anchor
        outputs[level][..., index, 0] = score
        outputs[level + 3][..., index, :] = torch.tensor([1.0, 2.0, 1.0, 2.0])
        outputs[level + 6][..., index, :] = torch.arange(10.0) / 10
    return tuple(outputs)


def test_anchors_are_row_by_row_and_twice():
    centers = anchor_centers(128, 32)
    assert centers.shape == (32, 2)
    assert centers[:4].tolist() == [[0, 0], [0, 0], [32, 0], [32, 0]]
    assert centers[8].tolist() == [0, 32]


@pytest.mark.parametrize("batched", [True, False])
def test_decode_by_hand(batched):
    scores, boxes, points = decode(planted((16, 3, 2, 1, 0.9), batched=batched), 128)
    at = int(scores.argmax())
    assert at == 512 + (3 * 8 + 2) * 2 + 1 and scores.shape == (1, 672)
    assert boxes[0, at].tolist() == [32 - 16, 48 - 32, 32 + 16, 48 + 32]
    assert torch.allclose(points[0, at, 1], torch.tensor([32 + 16 * 0.2, 48 + 16 * 0.3]))


def test_detection_threshold_suppression_and_scale():
    marks = [(16, 3, 2, 1, 0.9), (16, 3, 2, 0, 0.8), (16, 3, 6, 0, 0.7), (16, 7, 7, 0, 0.49)]
    detector = faces.Detector(net=lambda x: planted(*marks), size=128)
    [found] = detector.detect(torch.rand(1, 3, 128, 256))
    assert [face.score for face in found] == pytest.approx([0.9, 0.7])
    assert found[0].box.tolist() == [32, 32, 96, 160]  # twice as large in the original pixels
    assert faces.largest(found) is found[0] and faces.largest([]) is None


def test_detector_input_is_fitted_and_scaled():
    seen = []
    detector = faces.Detector(net=lambda x: seen.append(x) or planted(), size=128)
    assert detector.detect(torch.ones(1, 3, 64, 32)) == [[]]
    assert seen[0].shape == (1, 3, 128, 128)
    assert torch.allclose(seen[0][..., :64], torch.tensor(127.5 / 128))
    assert torch.allclose(seen[0][..., 64:], torch.tensor(-127.5 / 128))


def test_similarity_is_the_least_squares_one():
    torch.manual_seed(0)
    source, target = torch.rand(5, 2) * 100, torch.rand(5, 2) * 100
    matrix = similarity(source, target).double().numpy()
    x, y = source.double().numpy().T
    ones, zeros = np.ones(5), np.zeros(5)
    design = np.concatenate([np.stack([x, -y, ones, zeros], 1), np.stack([y, x, zeros, ones], 1)])
    wanted = target.T.reshape(-1).double().numpy()
    a, b, tx, ty = np.linalg.lstsq(design, wanted, rcond=None)[0]
    assert np.allclose(matrix, [[a, -b, tx], [b, a, ty]], atol=1e-4)


def test_alignment_undoes_a_known_motion():
    angle, scale = math.radians(20), 1.7
    turn = scale * torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    moved = ARCFACE @ turn.T + torch.tensor([5.0, -3.0])
    back = alignment(moved, 112)
    assert torch.allclose(moved @ back[:, :2].T + back[:, 2], ARCFACE, atol=1e-3)
    double = alignment(moved, 224)
    assert torch.allclose(moved @ double[:, :2].T + double[:, 2], 2 * ARCFACE, atol=1e-3)
    both = torch.cat([back, torch.tensor([[0.0, 0, 1]])]) @ torch.cat(
        [invert(back), torch.tensor([[0.0, 0, 1]])]
    )
    assert torch.allclose(both, torch.eye(3), atol=1e-4)


def test_align_crops_where_the_points_are():
    image = torch.zeros(3, 112, 140)
    image[:, 71 - 2 : 71 + 4, 76 - 2 : 76 + 4] = 1  # the nose, 20 pixels to the right
    crop = align(image, ARCFACE + torch.tensor([20.0, 0]), 112)
    assert crop.shape == (3, 112, 112)
    assert crop[0, 72, 56] > 0.99 and crop[0, 72, 76] < 0.01
    same = align(image[..., :112], ARCFACE, 112)
    assert torch.allclose(same, image[..., :112], atol=1e-4)


def test_degenerate_points_give_numbers():
    assert torch.isfinite(alignment(torch.zeros(5, 2), 112)).all()
    image = torch.rand(3, 32, 32, requires_grad=True)
    warp(image, torch.tensor([[1.0, 0, 0.3], [0, 1, 0.2]]), 32).sum().backward()
    assert image.grad.abs().sum() > 0


def test_detector_onnx_equals_torch(tmp_path):
    torch.manual_seed(0)
    net = DetectorNet(width=16)
    export_detector(net, tmp_path / "model.onnx", size=64)
    exported = faces.load_detector(weights=f"file:{tmp_path}", size=64)
    x = torch.randn(3, 3, 64, 64)
    outputs = exported.net(x)
    assert [tuple(o.shape) for o in outputs[::3]] == [(3, 128, 1), (3, 128, 4), (3, 128, 10)]
    for ours, theirs in zip(outputs, net(x), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
    assert all(((s > 0) & (s < 1)).all() for s in outputs[:3])


def test_recognizer_a_onnx_equals_torch(tmp_path):
    torch.manual_seed(0)
    net = RecognizerANet(width=8)
    export_recognizer(net, tmp_path / "model.onnx")
    a = faces.load_recognizer_a(weights=f"file:{tmp_path / 'model.onnx'}")
    aligned = torch.rand(5, 3, 112, 112)
    found = a.embed(aligned)
    with torch.no_grad():
        wanted = torch.nn.functional.normalize(net(aligned * 2 - 1), dim=-1)
    assert found.shape == (5, 512) and torch.allclose(found, wanted, atol=1e-5)
    assert torch.allclose(found.norm(dim=1), torch.ones(5), atol=1e-5)


@pytest.fixture
def b_folder(tmp_path):
    torch.manual_seed(0)
    net = RecognizerBNet(width=4, dim=32)
    (tmp_path / "config.json").write_text(json.dumps({"width": 4, "dim": 32}))
    save_file(net.state_dict(), tmp_path / "model.safetensors")
    return f"file:{tmp_path}"


def test_recognizer_b_is_read_frozen(b_folder):
    b = faces.load_recognizer_b(weights=b_folder)
    found = b.embed(torch.rand(2, 3, 112, 112))
    assert found.shape == (2, 32) and torch.allclose(found.norm(dim=1), torch.ones(2), atol=1e-5)
    assert not b.net.training and not any(p.requires_grad for p in b.net.parameters())


def test_perceptual_distance(b_folder):
    lpips = perceptual.load(weights=b_folder)
    a = torch.rand(2, 3, 40, 40)
    near, far = a + 0.02 * torch.randn_like(a), a + 0.3 * torch.randn_like(a)
    assert torch.equal(lpips.distance(a, a), torch.zeros(2))
    assert (lpips.distance(a, near) > 0).all()
    assert (lpips.distance(a, near) < lpips.distance(a, far)).all()
    assert torch.allclose(lpips.distance(a, far), lpips.distance(far, a))
    moved = far.clone().requires_grad_()
    lpips.distance(moved, a).sum().backward()
    assert moved.grad.abs().sum() > 0


def test_missing_weights_are_named():
    with pytest.raises(UserError, match="nowhere"):
        faces.load_detector(weights="file:/nowhere", size=128)
