"""pyiqa, lpips and CLIP of the full zoo on random weights in their own formats."""

from pathlib import Path
from typing import Any

import pytest
import torch
from full_files import RN50, archive, openai_clip, package

from diffshortcut.metrics.quality import renormalize
from diffshortcut.models import clip, iqa, lpips
from diffshortcut.seeding import Draws
from diffshortcut.weights import registry

X = Draws(0, "score", "nobody").uniform("x", (3, 256, 288), 2)


@pytest.fixture
def liqe_file(tmp_path: Path) -> Path:
    """LIQE.pt is the state of a CLIP and nothing more (LIQE's own demo loads it so)."""
    package("torchvision")
    file = tmp_path / "LIQE.pt"
    torch.save(openai_clip().state_dict(), file)
    return file


@pytest.mark.full
def test_liqe_is_pyiqas(liqe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pyiqa's own constructor, with its fetch answered by the file, in a cache of the test's."""
    source = package("pyiqa.archs.liqe_arch")
    ours = iqa.load(weights=f"file:{liqe_file}")
    released = archive(openai_clip(), tmp_path / "ViT-B-32.pt")
    monkeypatch.setattr(package("pyiqa.archs.clip_model"), "_download", lambda *_: released)
    monkeypatch.setattr(source, "DEFAULT_CACHE_DIR", str(tmp_path))
    theirs = source.LIQE(pretrained=False, mtl=True).eval()
    assert (tmp_path / "liqe_text_feat.pt").exists()
    with torch.no_grad():
        wanted = theirs(X)[:, 0]
    found = ours.score(X)
    torch.testing.assert_close(found, wanted)
    assert ((found >= 1) & (found <= 5)).all() and found.std() > 0


@pytest.mark.full
def test_liqe_reads_what_pyiqa_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """liqe_mix.pt: the constructor as pyiqa calls it, reading the same file by its own means."""
    package("torchvision")
    source = package("pyiqa.archs.liqe_arch")
    released = archive(openai_clip(), tmp_path / "ViT-B-32.pt")
    monkeypatch.setattr(package("pyiqa.archs.clip_model"), "_download", lambda *_: released)
    monkeypatch.setattr(source, "DEFAULT_CACHE_DIR", str(tmp_path))
    tuned = {f"clip_model.{n}": 1.1 * v for n, v in openai_clip().state_dict().items()}
    file = tmp_path / "liqe_mix.pt"
    torch.save({"params": tuned}, file)
    theirs = source.LIQE(pretrained="mix", pretrained_model_path=str(file)).eval()
    with torch.no_grad():
        wanted = theirs(X)[:, 0]
    torch.testing.assert_close(iqa.load(weights=f"file:{file}").score(X), wanted)


@pytest.mark.full
def test_liqe_leaves_no_cache_and_takes_small_pictures(liqe_file: Path) -> None:
    home = package("pyiqa.archs.liqe_arch").DEFAULT_CACHE_DIR
    before = sorted(Path(home).glob("*"))
    liqe = iqa.load(weights=f"file:{liqe_file}")
    assert sorted(Path(home).glob("*")) == before
    assert home == package("pyiqa.archs.liqe_arch").DEFAULT_CACHE_DIR
    small = X[:, :, :64, :72]
    assert liqe.score(small).shape == (2,)


@pytest.mark.full
def test_liqe_by_hand(liqe_file: Path) -> None:
    """All mass on one quality: 1, 3 and 5, which renormalize to -1, 0 and 1."""
    net = iqa.load(weights=f"file:{liqe_file}").net
    with torch.no_grad():
        feature = net.clip_model.encode_image(X[:1, :, :224, :224], pos_embedding=True)[0]
    kept, scale = net.text_features, net.clip_model.logit_scale.data.clone()
    net.clip_model.logit_scale.data.fill_(8.0)
    wanted = {0: 1.0, 2: 3.0, 4: 5.0}
    for quality, value in wanted.items():
        net.text_features = torch.zeros_like(kept).view(5, 99, -1)
        net.text_features -= feature / feature.norm()
        net.text_features[quality] = feature / feature.norm()
        net.text_features = net.text_features.view(495, -1)
        score = iqa.Liqe(net=net).score(X[:1, :, :224, :224])
        assert score.item() == pytest.approx(value, abs=0.05)
        assert renormalize(score).item() == pytest.approx((value - 3) / 2, abs=0.05)
    net.text_features = kept
    net.clip_model.logit_scale.data = scale


@pytest.mark.full
def test_clip_iqa_is_pyiqas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package("torchvision")
    file = archive(openai_clip(**RN50), tmp_path / "RN50.pt")
    source = package("pyiqa.archs.clipiqa_arch")
    ours = iqa.load_clip_iqa(weights=f"file:{file}")
    monkeypatch.setattr(package("pyiqa.archs.clip_model"), "_download", lambda *_: file)
    theirs = source.CLIPIQA().eval()
    with torch.no_grad():
        wanted = theirs(X)[:, 0]
    found = ours.score(X)
    torch.testing.assert_close((found - 1) / 4, wanted)
    torch.testing.assert_close(renormalize(found), 2 * wanted - 1)


@pytest.fixture(params=["vgg", "alex"])
def trunk(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """What torchvision releases, under its own names."""
    models = package("torchvision.models")
    package("lpips")
    torch.manual_seed(0)
    net = {"vgg": models.vgg16, "alex": models.alexnet}[request.param]()
    state = {k: v for k, v in net.state_dict().items() if k.startswith("features.")}
    torch.save(state, tmp_path / "trunk.pth")
    return request.param, tmp_path / "trunk.pth"


@pytest.mark.full
def test_trunks_are_as_large_as_the_released_files() -> None:
    """torchvision's own files: four bytes for each value, and a header."""
    models = package("torchvision.models")
    with torch.device("meta"):
        nets = {"lpips_vgg": models.vgg16(), "lpips_alex": models.alexnet()}
    for name, net in nets.items():
        [registered] = registry.entry(name).files
        values = sum(value.numel() for value in net.state_dict().values())
        assert 0 < registered.bytes - 4 * values < 10_000


@pytest.mark.full
def test_lpips_is_the_packages(trunk: tuple[str, Path]) -> None:
    kind, file = trunk
    ours = lpips.load(weights=f"file:{file}", net=kind)
    theirs: Any = package("lpips").LPIPS(net=kind, pnet_rand=True, verbose=False)
    names = [name for name in theirs.net.state_dict()]
    state = torch.load(file, weights_only=True)
    theirs.net.load_state_dict({n: state["features." + n.split(".", 1)[1]] for n in names})
    a, b = X[:, :, :96, :96], X[:, :, 100:196, 100:196]
    with torch.no_grad():
        wanted = theirs(a, b, normalize=True).flatten()
    assert (wanted > 0).all()
    torch.testing.assert_close(ours.distance(a, b), wanted, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(ours.toward(b)(a), wanted, rtol=1e-4, atol=1e-6)
    assert ours.distance(a, a).tolist() == [0, 0]
    moved = a.clone().requires_grad_()
    (slope,) = torch.autograd.grad(ours.distance(moved, b).sum(), moved)
    assert torch.isfinite(slope).all() and slope.abs().sum() > 0


@pytest.mark.parametrize(
    ("sizes", "parameters"),
    [
        # openai/clip-vit-base-patch32 and clip-vit-large-patch14: config.json of their pages
        ((512, (512, 2048, 8, 12), (768, 3072, 12, 12), 32), 151_277_313),
        ((768, (768, 3072, 12, 12), (1024, 4096, 16, 24), 14), 427_616_513),
    ],
    ids=["ViT-B/32", "ViT-L/14"],
)
def test_clip_has_the_released_sizes(sizes: Any, parameters: int) -> None:
    from transformers import CLIPConfig, CLIPModel

    dim, text, vision, patch = sizes
    keys = ("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers")
    config = CLIPConfig(
        text_config=dict(zip(keys, text, strict=True)),
        vision_config=dict(zip(keys, vision, strict=True)) | {"patch_size": patch},
        projection_dim=dim,
    )
    with torch.device("meta"):
        net = CLIPModel(config)
    assert sum(value.numel() for value in net.parameters()) == parameters
    shapes = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    assert shapes["visual_projection.weight"] == (dim, vision[0])
    assert shapes["text_model.embeddings.token_embedding.weight"] == (49408, text[0])
    kernel = shapes["vision_model.embeddings.patch_embedding.weight"]
    assert kernel == (vision[0], 3, patch, patch)


def test_clip_as_first_released(tiny_clip_folder: Path, tmp_path: Path) -> None:
    """A pytorch_model.bin with the position ids that old files hold, and no safetensors."""
    from safetensors.torch import load_file

    state = load_file(tiny_clip_folder / "model.safetensors")
    for tower, count in (("text", 77), ("vision", 17)):
        state[f"{tower}_model.embeddings.position_ids"] = torch.arange(count)[None]
    torch.save(state, tmp_path / "pytorch_model.bin")
    for file in tiny_clip_folder.iterdir():
        if file.name != "model.safetensors":
            (tmp_path / file.name).symlink_to(file)
    first, now = (clip.load(weights=f"file:{f}") for f in (tmp_path, tiny_clip_folder))
    texts = ["a good photo of face", "a bad photo of face"]
    torch.testing.assert_close(first.probabilities(X, texts), now.probabilities(X, texts))
