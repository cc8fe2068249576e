"""InsightFace, DeepFace and facexlib on random weights in their own formats, none replaced."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from full_files import arcface, codeformer, package, parsenet, retinaface, scrfd, vgg_face

from diffshortcut.config import config
from diffshortcut.config.schema import own
from diffshortcut.errors import UserError
from diffshortcut.metrics.identity import find, similarity
from diffshortcut.models import faces, insight
from diffshortcut.models import parsenet as parsing
from diffshortcut.models import retinaface as detection
from diffshortcut.models import vgg_face as recognition
from diffshortcut.pictures.images import quantize
from diffshortcut.weights import registry

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("full")


@pytest.fixture(scope="module")
def photos() -> torch.Tensor:
    torch.manual_seed(0)
    coarse = torch.rand(2, 3, 16, 20)
    return quantize(torch.nn.functional.interpolate(coarse, (128, 160), mode="bicubic"))


@pytest.fixture(scope="module")
def scrfd_file(folder: Path) -> str:
    package("insightface")
    return f"file:{scrfd(folder / 'scrfd.onnx')}"


@pytest.fixture(scope="module")
def arcface_file(folder: Path) -> str:
    package("insightface")
    return f"file:{arcface(folder / 'arcface.onnx')}"


def test_insightface_detects_what_our_own_decoder_does(
    scrfd_file: str, photos: torch.Tensor
) -> None:
    theirs = insight.load_detector(weights=scrfd_file, sizes=[160]).detect(photos)
    ours = faces.load_detector(weights=scrfd_file, size=160).detect(photos)
    assert sum(map(len, theirs)) > 0
    for left, right in zip(theirs, ours, strict=True):
        assert len(left) == len(right)
        for a, b in zip(left, right, strict=True):
            assert a.score == pytest.approx(b.score, abs=1e-4)
            torch.testing.assert_close(a.box, b.box, atol=0.05, rtol=1e-3)
            torch.testing.assert_close(a.points, b.points, atol=0.05, rtol=1e-3)


def test_smaller_sizes_are_tried_where_nothing_is_found(
    scrfd_file: str, photos: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(sizes: list[int]) -> list[float]:
        detector = insight.load_detector(weights=scrfd_file, sizes=sizes)
        return [face.score for face in detector.detect(photos[:1])[0]]

    best = {size: max(found([size])) for size in (96, 160)}
    (worse, low), (better, high) = sorted(best.items(), key=lambda item: item[1])
    net = insight.load_detector(weights=scrfd_file, sizes=[96]).net
    monkeypatch.setattr(net, "det_thresh", (low + high) / 2)
    assert found([worse]) == [] and found([better]) != []
    assert found([worse, better]) == found([better]) == found([better, worse])


def test_insightface_embeds_what_onnxruntime_does(arcface_file: str) -> None:
    torch.manual_seed(0)
    aligned = quantize(torch.rand(3, 3, 112, 112))
    theirs = insight.load_recognizer(weights=arcface_file)
    ours = faces.load_recognizer_a(weights=arcface_file)
    assert theirs.size == 112
    found = theirs.embed(aligned)
    assert found.shape == (3, 512)
    torch.testing.assert_close(found, ours.embed(aligned), atol=1e-5, rtol=1e-4)


def test_a_batch_of_one_is_asked_for_one_by_one(arcface_file: str) -> None:
    net = insight.load_recognizer(weights=arcface_file).net
    single = insight.ArcFace(net=net.net)
    single.batch = 1
    x = torch.rand(3, 3, 112, 112) * 2 - 1
    torch.testing.assert_close(single(x), net(x), atol=1e-5, rtol=1e-4)


def test_the_wrong_file_is_named(scrfd_file: str, arcface_file: str) -> None:
    with pytest.raises(UserError, match="arcface.onnx is no detection model"):
        insight.load_detector(weights=arcface_file, sizes=[640])
    with pytest.raises(UserError, match="scrfd.onnx is no recognition model"):
        insight.load_recognizer(weights=scrfd_file)


def test_the_metrics_take_these_classes(
    scrfd_file: str, arcface_file: str, photos: torch.Tensor
) -> None:
    seen = find(insight.load_detector(weights=scrfd_file, sizes=[160]), photos)
    with_face = 1 - seen.missing
    scores = similarity(insight.load_recognizer(weights=arcface_file), seen, seen)
    assert with_face.any() and ((scores > 0) == with_face.bool()).all()


@pytest.fixture(scope="module")
def vgg_file(folder: Path) -> Path:
    package("deepface")
    return vgg_face(folder / "vgg_face_weights.pth")


@pytest.fixture(scope="module")
def crops() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.rand(2, 3, 224, 224)


def test_vgg_face_is_deepfaces(
    vgg_file: Path, crops: torch.Tensor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """DeepFace's own entry, from its own folder, in BGR."""
    home = tmp_path / ".deepface" / "weights"
    home.mkdir(parents=True)
    (home / vgg_file.name).symlink_to(vgg_file)
    monkeypatch.setenv("DEEPFACE_HOME", str(tmp_path))
    monkeypatch.setenv("DEEPFACE_BACKEND_ENGINE", "pytorch")
    client = package("deepface.DeepFace").build_model("VGG-Face")
    bgr = crops.flip(1).permute(0, 2, 3, 1).numpy()
    wanted = torch.tensor(np.array(client.forward(bgr)), dtype=torch.float32)
    found = recognition.load(weights=f"file:{vgg_file}").embed(crops)
    assert found.shape == (2, 4096)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-3)


def test_the_legacy_descriptor_is_what_the_softmax_reads(
    vgg_file: Path, crops: torch.Tensor
) -> None:
    legacy = recognition.load(weights=f"file:{vgg_file}", descriptor=2622)
    assert legacy.size == 224
    with torch.no_grad():
        logits = legacy.net(crops * 2 - 1)
        probabilities = legacy.net.net(crops.flip(1))
    assert logits.shape == (2, 2622)
    torch.testing.assert_close(logits.softmax(1), probabilities)


@pytest.fixture(scope="module")
def retinaface_file(folder: Path) -> str:
    package("facexlib")
    return f"file:{retinaface(folder / 'detection_Resnet50_Final.pth')}"


def test_retinaface_enlarges_small_photos_and_gives_their_own_pixels(
    retinaface_file: str, photos: torch.Tensor
) -> None:
    small = detection.load(weights=retinaface_file, size=256)
    [found] = small.detect(photos[:1])
    assert found and all(face.score > 0.8 for face in found)
    assert found == sorted(found, key=lambda face: -face.score)
    twice = torch.nn.functional.interpolate(photos[:1], scale_factor=2, mode="bilinear")
    bgr = (twice[0].flip(0) * 255).permute(1, 2, 0).numpy()
    with torch.no_grad():
        rows = torch.from_numpy(small.net.detect_faces(bgr, 0.8))
    assert len(rows) == len(found)
    torch.testing.assert_close(torch.stack([f.box for f in found]) * 2, rows[:, :4])
    points = torch.stack([f.points for f in found])
    torch.testing.assert_close(points.flatten(1) * 2, rows[:, 5:])


def test_parsing_keeps_the_releases_classes() -> None:
    """Each of the 19 classes planted in a band; the colors are those of CodeFormer's release."""

    def net(x: torch.Tensor) -> tuple[torch.Tensor, None]:
        bands = torch.zeros(1, 19, 512, 512)
        for kind in range(19):
            bands[:, kind, kind * 20 : kind * 20 + 20] = 1
        return bands, None

    mask = parsing.Parser(net=net)(torch.rand(1, 3, 64, 64))
    assert mask.shape == (1, 1, 512, 512)
    kept = [int(mask[0, 0, kind * 20 + 10, 0]) for kind in range(19)]
    assert kept == [0, *[1] * 13, 0, 1, 0, 0, 0]


def test_parsenet_is_read(folder: Path) -> None:
    package("facexlib")
    file = parsenet(folder / "parsing_parsenet.pth")
    parser: Any = parsing.load(weights=f"file:{file}")
    asked: list[tuple[torch.Tensor, torch.Tensor]] = []
    parser.net.register_forward_hook(lambda _, x, out: asked.append((x[0], out[0].argmax(1))))
    x = torch.rand(1, 3, 512, 512)
    mask = parser(x)
    assert torch.equal(asked[0][0], x * 2 - 1)
    assert torch.equal(
        mask[0, 0] == 0, torch.isin(asked[0][1][0], torch.tensor([0, 14, 16, 17, 18]))
    )


def test_the_zoo_builds_these(
    scrfd_file: str, arcface_file: str, vgg_file: Path, retinaface_file: str
) -> None:
    """The nodes of conf/zoo/full.yaml, with the files of this test for weights."""
    resolved = config.resolve(config.compose(["zoo=full", "metric=[ims/legacy,faithfulness]"]))
    zoo = resolved["zoo"]
    files = {"detector": scrfd_file, "recognizer_a": arcface_file}
    files |= dict.fromkeys(("recognizer_b", "recognizer_b_legacy"), f"file:{vgg_file}")
    nodes = {role: zoo[role] | {"weights": file} for role, file in files.items()}
    nodes["restorer's"] = zoo["restorer"]["detector"] | {"weights": retinaface_file}
    built: dict[str, Any] = {role: config.build(node) for role, node in nodes.items()}
    assert built["detector"].sizes == [640, 320] and built["restorer's"].size == 640
    assert built["recognizer_a"].size == 112
    assert built["recognizer_b"].net.descriptor == 4096
    assert built["recognizer_b_legacy"].net.descriptor == 2622
    ims = own(resolved["metric"]["ims"]) | {
        "detector": nodes["detector"],
        "recognizer_a": nodes["recognizer_a"],
        "recognizer_b": nodes["recognizer_b_legacy"],
    }
    metric = config.build(ims)
    assert metric.threshold == 0.40 and metric.recognizer_b.net.descriptor == 2622


@pytest.mark.parametrize(
    ("name", "write"),
    [("retinaface_resnet50", retinaface), ("parsenet", parsenet), ("codeformer", codeformer)],
)
def test_architectures_are_as_large_as_the_released_files(
    name: str, write: Any, tmp_path: Path
) -> None:
    """Four bytes for each value that a state holds, and less than half a percent besides."""
    package("facexlib")
    file = write(tmp_path / "net.pth")
    state = torch.load(file, weights_only=True, map_location="cpu")
    values = sum(value.numel() for value in state.get("params_ema", state).values())
    [registered] = registry.entry(name).files
    assert 4 * values == pytest.approx(registered.bytes, rel=0.005)
    assert 4 * values < registered.bytes
