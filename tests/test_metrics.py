"""Metrics on fakes with known answers."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from diffshortcut.config import catalog
from diffshortcut.errors import UserError
from diffshortcut.job import measured
from diffshortcut.metrics.evidence import Evidence
from diffshortcut.metrics.faithfulness import Faithfulness, psnr, ssim
from diffshortcut.metrics.ims import IMS
from diffshortcut.metrics.legacy_ims import LegacyIMS, accepted_mean
from diffshortcut.metrics.mismatch import Mismatch
from diffshortcut.metrics.quality import Quality, renormalize
from diffshortcut.metrics.rows import image_rows
from diffshortcut.metrics.shortcut import Shortcut, high_frequency
from diffshortcut.metrics.style import Style
from diffshortcut.models.clip import load as load_clip
from diffshortcut.models.faces import Face, Recognizer
from diffshortcut.models.geometry import ARCFACE
from diffshortcut.models.nets import QualityNet
from diffshortcut.models.quality import Quality as Liqe
from diffshortcut.models.quality import load as load_quality
from diffshortcut.seeding import Draws
from diffshortcut.statistics.comparison import with_overall

RED, GREEN, BLACK = (
    torch.tensor(c).view(1, 3, 1, 1).expand(1, 3, 112, 112)
    for c in ([1.0, 0, 0], [0, 1.0, 0], [0.0, 0, 0])
)


class BrightDetector:
    """A face fills every image that is not black; a smaller one lies beside it."""

    def detect(self, images):
        whole = Face(box=torch.tensor([0.0, 0, 112, 112]), score=0.6, points=ARCFACE)
        small = Face(box=torch.tensor([0.0, 0, 9, 9]), score=0.9, points=ARCFACE * 0)
        return [[small, whole] if image.max() > 0 else [] for image in images]


def color(x):
    """The mean color as an embedding."""
    return (x + 1).mean((2, 3))


def red_first(x):
    """1 for red, 0.6 between red and green."""
    return color(x) @ torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 0.0]])


@pytest.fixture
def evidence():
    return Evidence(
        generated={"a photo of sks person": torch.cat([RED, GREEN, BLACK])},
        references=torch.cat([RED, RED, BLACK]),
        clean=torch.cat([RED, GREEN]),
        protected=torch.cat([RED, GREEN]) * 0.5,
        purified=torch.cat([RED, BLACK]),
        model=Path("model"),
        draws=Draws(0, "score", "p"),
    )


def values(rows, metric):
    return [row["value"] for row in rows if row["metric"] == metric]


def test_ims_is_the_weighted_mean_cosine_and_no_face_is_zero(evidence):
    metric = IMS(
        detector=BrightDetector(),
        recognizer_a=Recognizer(net=color, size=112),
        recognizer_b=Recognizer(net=red_first, size=112),
    )
    rows = metric(evidence)
    assert values(rows, "ims_a") == pytest.approx([1, 0, 0], abs=1e-5)
    assert values(rows, "ims_b") == pytest.approx([1, 0.6, 0], abs=1e-5)
    assert values(rows, "ims") == pytest.approx([1, 0.3 * 0.6, 0], abs=1e-5)
    assert values(rows, "no_face") == [0, 0, 1]
    better = {row["metric"]: row["better"] for row in rows}
    assert better == {"ims": "higher", "ims_a": "higher", "ims_b": "higher", "no_face": "lower"}
    assert {row["prompt"] for row in rows} == set(evidence.generated)
    assert [row["sample"] for row in rows if row["metric"] == "ims"] == [0, 1, 2]


def test_ims_averages_over_the_references(evidence, caplog):
    metric = IMS(
        detector=BrightDetector(),
        recognizer_a=Recognizer(net=color, size=112),
        recognizer_b=Recognizer(net=color, size=112),
    )
    mixed = replace(evidence, references=torch.cat([RED, RED, GREEN]))
    assert values(metric(mixed), "ims") == pytest.approx([2 / 3, 1 / 3, 0], abs=1e-5)
    assert "leaves out" not in caplog.text
    lacking = replace(evidence, references=torch.cat([RED, BLACK, GREEN]))
    assert values(metric(lacking), "ims") == pytest.approx([1 / 2, 1 / 2, 0], abs=1e-5)
    assert "leaves out 1 of 3 reference pictures" in caplog.text
    with pytest.raises(UserError, match="reference"):
        metric(replace(evidence, references=BLACK))
    with pytest.raises(ValueError, match="weight"):
        replace(metric, weight=1.2)


def test_liqe_is_renormalized_to_the_unit_interval():
    assert renormalize(torch.tensor([1.0, 3.0, 5.0])).tolist() == [-1, 0, 1]


@dataclass
class FakeClip:
    """p(first text) is the red channel."""

    asked: list

    def probabilities(self, images, texts):
        self.asked.append(list(texts))
        p = images[:, 0].mean((1, 2))
        return torch.stack([p, 1 - p], 1)


class FakeLiqe:
    def score(self, images):
        return torch.tensor([5.0, 3.0, 1.0])


def test_q_by_hand_and_overall(evidence):
    clip = FakeClip([])
    rows = Quality(clip=clip, liqe=FakeLiqe())(evidence)
    assert clip.asked == [["a good photo of face", "a bad photo of face"]]
    assert values(rows, "clip_iqac") == pytest.approx([1, -1, -1])
    assert values(rows, "q") == pytest.approx([1, -0.5, -1])
    assert all(row["better"] == "higher" for row in rows)
    prompt = next(iter(evidence.generated))
    ims = image_rows("ims", [0.5, 0.1, 0.0], better="higher", prompt=prompt)
    complete = with_overall([*ims, *rows])
    assert values(complete, "overall") == pytest.approx([0.75, -0.2, -0.5])
    assert with_overall(complete) == complete
    assert not values(with_overall(ims), "overall")


def test_liqe_role_of_a_net(tmp_path):
    import json

    from safetensors.torch import save_file

    torch.manual_seed(0)
    (tmp_path / "config.json").write_text(json.dumps({"widths": [4, 8]}))
    save_file(QualityNet(widths=(4, 8)).state_dict(), tmp_path / "model.safetensors")
    liqe = load_quality(weights=f"file:{tmp_path}")
    assert isinstance(liqe, Liqe)
    scores = liqe.score(torch.rand(3, 3, 32, 32))
    assert scores.shape == (3,) and ((scores >= 1) & (scores <= 5)).all()


def test_psnr_by_hand():
    a = torch.zeros(3, 3, 4, 4)
    b = torch.stack([torch.full((3, 4, 4), x) for x in (0.1, 11 / 255, 0.0)])
    assert psnr(b, a).tolist() == pytest.approx([20.0, 27.303, 100.0], abs=1e-3)


def test_ssim_of_known_pairs():
    torch.manual_seed(0)
    a, noise = torch.rand(3, 3, 32, 32), torch.randn(3, 3, 32, 32)
    assert ssim(a, a).tolist() == [1.0] * 3
    assert ssim(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16)).item() == 1.0
    weak, strong = ((a + level * noise).clamp(0, 1) for level in (0.02, 0.2))
    assert (ssim(strong, a) < ssim(weak, a)).all() and (ssim(weak, a) < 1).all()
    assert torch.allclose(ssim(strong, a), ssim(a, strong), atol=1e-6)
    assert (ssim(1 - a, a) < 0).all()  # the negative is anticorrelated


def test_ssim_by_hand():
    flat = [torch.full((1, 3, 16, 16), x) for x in (0.5, 0.25)]
    expected = (2 * 0.5 * 0.25 + 1e-4) / (0.5**2 + 0.25**2 + 1e-4)  # only the means differ
    assert ssim(*flat).item() == pytest.approx(expected, abs=1e-3)
    torch.manual_seed(0)
    x, y = torch.rand(2, 1, 3, 11, 11, dtype=torch.float64)  # a single window
    bell = (-((torch.arange(11, dtype=torch.float64) - 5) ** 2) / (2 * 1.5**2)).exp()
    weights = bell[:, None] * bell / bell.sum() ** 2

    def mean(values):
        return (weights * values).sum((-2, -1))

    a, b = mean(x), mean(y)
    spread, shared = mean(x * x) - a * a + mean(y * y) - b * b, mean(x * y) - a * b
    by_hand = (2 * a * b + 1e-4) * (2 * shared + 9e-4) / ((a * a + b * b + 1e-4) * (spread + 9e-4))
    assert ssim(x, y).item() == pytest.approx(by_hand.mean().item(), abs=1e-9)


class SquaredError:
    def distance(self, a, b):
        return (a - b).square().mean((1, 2, 3))


def test_faithfulness_against_clean(evidence):
    metric = Faithfulness(
        perceptual=SquaredError(),
        detector=BrightDetector(),
        recognizer=Recognizer(net=color, size=112),
    )
    rows = metric(evidence)
    assert values(rows, "perceptual_protected") == pytest.approx([1 / 12, 1 / 12])
    assert values(rows, "perceptual_purified") == pytest.approx([0, 1 / 3])
    moved = (evidence.purified - evidence.protected).square().mean((1, 2, 3)).tolist()
    assert values(rows, "perceptual_moved") == pytest.approx(moved) and min(moved) > 0
    assert values(rows, "psnr_purified") == pytest.approx([100, 4.771], abs=1e-3)
    one_color_halved = (2 * 0.5 / (1 + 0.5**2) + 1 + 1) / 3
    assert values(rows, "ssim_protected") == pytest.approx([one_color_halved] * 2, abs=1e-3)
    assert values(rows, "ssim_purified")[0] == 1
    assert values(rows, "identity_protected") == pytest.approx([0.5, 0.5], abs=1e-5)
    assert values(rows, "identity_purified") == pytest.approx([0.5, 0], abs=1e-5)
    assert values(rows, "no_face_purified") == [0, 1]
    with pytest.raises(UserError, match="person's pictures of set_B: of paintings"):
        metric(replace(evidence, clean=torch.cat([BLACK, BLACK])))
    better = {
        row["metric"].split("_pu")[0]: row["better"] for row in rows if "_pu" in row["metric"]
    }
    assert better == {
        "perceptual": "lower",
        "psnr": "higher",
        "ssim": "higher",
        "identity": "higher",
        "no_face": "lower",
    }


def test_faithfulness_of_pictures_without_faces(evidence):
    with_faces = Faithfulness(
        perceptual=SquaredError(),
        detector=BrightDetector(),
        recognizer=Recognizer(net=color, size=112),
    )(evidence)
    rows = Faithfulness(perceptual=SquaredError())(evidence)
    assert rows == [r for r in with_faces if not r["metric"].startswith(("identity", "no_face"))]
    assert {r["metric"] for r in with_faces} - {r["metric"] for r in rows} == {
        f"{what}_{version}"
        for what in ("identity", "no_face")
        for version in ("protected", "purified")
    }
    with pytest.raises(ValueError, match="both or neither"):
        Faithfulness(perceptual=SquaredError(), detector=BrightDetector())


class MeanColor:
    """A CLIP whose features are the direction of the mean color."""

    def image_features(self, images):
        return torch.nn.functional.normalize(images.mean((2, 3)))


def test_style_is_the_mean_cosine_to_the_held_out_works(evidence):
    red, green = torch.zeros(2, 3, 8, 8).unbind()
    red[0], green[1] = 1, 1
    grey = torch.full((3, 8, 8), 0.5)
    works = replace(
        evidence, references=torch.stack([red, green]), generated={"a": torch.stack([red, grey])}
    )
    rows = Style(clip=MeanColor())(works)
    assert values(rows, "style") == pytest.approx([0.5, 3**-0.5])
    assert {(r["prompt"], r["better"]) for r in rows} == {("a", "higher")}


def test_the_mini_clip_tells_artists_apart():
    """docs/data.md has the figures: the test would see it if weights or paintings got worse."""
    from diffshortcut.data import paintings
    from diffshortcut.pictures import images

    clip = load_clip(weights="mini:clip")
    artists = paintings.people(people=None)
    train, test = (
        [clip.image_features(images.read_files(files)) for files in sets]
        for sets in ([a.set_A + a.set_B for a in artists], [a.set_C for a in artists])
    )
    scores = torch.stack([torch.stack([(t @ h.T).mean(1) for h in test]) for t in train])
    assert scores.shape == (8, 8, 8)  # artist, held-out works of, work
    own = scores.diagonal().flatten()
    others = scores.permute(2, 0, 1)[:, ~torch.eye(8, dtype=torch.bool)].flatten()
    assert (own[:, None] > others).float().mean() > 0.9


def test_high_frequency_energy():
    assert high_frequency(torch.full((1, 3, 8, 8), 0.7)).item() == 0
    board = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * 0.2
    assert high_frequency(board.expand(1, 3, 8, 8)).item() == pytest.approx(0.1)
    assert high_frequency(torch.rand(2, 3, 7, 9)).shape == (2,)


class FakeModel:
    def __init__(self, red):
        self.red = red

    def with_weights(self, folder):
        assert folder == Path("model")
        return FakeModel(0.75)


class FakeSampler:
    prompts = ("sks", "sks with XX noisy pattern")
    model = FakeModel(0.25)

    def __call__(self, model, draws):
        assert draws.stage == "score/shortcut"
        return [RED * model.red for _ in self.prompts]


def test_shortcut_is_personalized_minus_base(evidence):
    clip = FakeClip([])
    rows = Shortcut(clip=clip, sampler=FakeSampler(), names=("identifier", "identifier+token"))(
        evidence
    )
    assert clip.asked[0] == ["a photo of noise", "a photo of person"]
    for name, better in {"identifier": "lower", "identifier+token": None}.items():
        assert values(rows, f"shortcut_noise.{name}") == pytest.approx([0.5])
        assert values(rows, f"shortcut_high_frequency.{name}") == pytest.approx([0])
        assert {row["better"] for row in rows if row["metric"].endswith(f".{name}")} == {better}


def test_an_untrained_model_has_no_shortcut(evidence, tmp_path, tiny_ldm_folder, tiny_clip_folder):
    from diffshortcut.models import ldm
    from diffshortcut.samplers.classifier_free import ClassifierFree

    base = ldm.load(weights=f"file:{tiny_ldm_folder}")
    base.save(tmp_path)
    sampler = ClassifierFree(model=base, prompts=["sks"], images=2, steps=2, guidance=7.5)
    metric = Shortcut(
        clip=load_clip(weights=f"file:{tiny_clip_folder}"), sampler=sampler, names=["identifier"]
    )
    rows = metric(replace(evidence, model=tmp_path))
    assert [row["value"] for row in rows] == [0.0] * 4
    with torch.no_grad():
        changed = base.copy()
        for parameter in changed.unet.parameters():
            parameter.mul_(1.5)
    changed.save(tmp_path)
    rows = metric(replace(evidence, model=tmp_path))
    assert all(row["value"] != 0 for row in rows)


def test_what_our_metrics_are_said_to_measure_is_what_they_write(evidence):
    """And every metric of the config is said to measure something."""
    detector, recognizer = BrightDetector(), Recognizer(net=color, size=112)
    faces = {"detector": detector, "recognizer_a": recognizer, "recognizer_b": recognizer}
    ours = [
        IMS(**faces),
        LegacyIMS(**faces),
        Quality(clip=FakeClip([]), liqe=FakeLiqe()),
        Style(clip=MeanColor()),
        Faithfulness(perceptual=SquaredError(), detector=detector, recognizer=recognizer),
        Mismatch(clip=FakeClip([])),
        Shortcut(clip=FakeClip([]), sampler=FakeSampler(), names=("identifier", "class+token")),
    ]
    written = {}
    for metric in ours:
        target = f"{type(metric).__module__}.{type(metric).__name__}"
        families = [name for name in measured.METRICS[target] if name.endswith(".")]
        names = {row["metric"] for row in metric(evidence)}
        written[target] = {next(filter(name.startswith, families), name) for name in names}
    assert written == {target: set(names) for target, names in measured.METRICS.items()}
    yamls = [file.read_text() for file in (catalog.folder() / "metric").rglob("*.yaml")]
    named = re.findall(r"_target_: (diffshortcut\.metrics\.\S+)", "\n".join(yamls))
    assert set(named) == set(written)


@pytest.mark.parametrize(("prompt", "whose"), [("x", "'x'"), (None, "the person")])
def test_a_record_never_holds_nan(prompt, whose):
    with pytest.raises(UserError, match=f"ims of {whose}, sample 1 is nan"):
        image_rows("ims", [0.1, float("nan")], better="higher", prompt=prompt)


@pytest.mark.parametrize("name", ["ims", "quality", "faithfulness", "shortcut", "style"])
def test_every_metric_composes_and_fits_its_signature(name):
    from diffshortcut.config import config

    cfg = config.resolve(config.compose([f"metric={name}"]))
    config.check(cfg)
    assert list(cfg["metric"]) == [name]


def test_legacy_b_counts_accepted_references_only():
    cosines = torch.tensor([[0.9, 0.7, 0.5], [0.59, 0.0, -1.0], [0.62, 0.61, 0.61], [0.2, 0.2, 1]])
    found = accepted_mean(cosines, 0.40)
    assert found.tolist() == pytest.approx([0.8, -1, (0.62 + 0.61 + 0.61) / 3, 1])


def test_legacy_ims_by_hand(evidence):
    """B embeds the whole image where no face is found; A is -1 there."""
    metric = LegacyIMS(
        detector=BrightDetector(),
        recognizer_a=Recognizer(net=color, size=112),
        recognizer_b=Recognizer(net=red_first, size=112),
    )
    slanted = replace(evidence, references=torch.cat([RED, RED, GREEN]))
    near = {  # red and green have cosine 0.6
        0.39: [1, 1, -1],
        0.41: [(1 + 1 + 0.6) / 3, (0.6 + 0.6 + 1) / 3, -1],
    }
    a = [2 / 3, 1 / 3, -1]
    for threshold, b in near.items():
        rows = replace(metric, threshold=threshold)(slanted)
        assert values(rows, "ims_a") == pytest.approx(a, abs=1e-5)
        assert values(rows, "ims_b") == pytest.approx(b, abs=1e-5)
        ims = [0.7 * left + 0.3 * right for left, right in zip(a, b, strict=True)]
        assert values(rows, "ims") == pytest.approx(ims, abs=1e-5)
        assert values(rows, "no_face") == [0, 0, 1]
        better = {row["metric"]: row["better"] for row in rows}
        assert better == dict.fromkeys(["ims", "ims_a", "ims_b"], "higher") | {"no_face": "lower"}


def test_a_whole_image_may_be_the_person_for_legacy_b(evidence):
    class NoFaceInGreen(BrightDetector):
        def detect(self, images):
            found = super().detect(images)
            return [[] if image[1].max() > 0 else f for image, f in zip(images, found, strict=True)]

    recognizer = Recognizer(net=color, size=56)
    metric = LegacyIMS(detector=NoFaceInGreen(), recognizer_a=recognizer, recognizer_b=recognizer)
    rows = metric(replace(evidence, references=torch.cat([RED, GREEN])))
    assert values(rows, "ims_a") == pytest.approx([1, -1, -1], abs=1e-5)
    assert values(rows, "ims_b") == pytest.approx([1, 1, -1], abs=1e-5)
