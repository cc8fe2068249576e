"""The CodeFormer architecture: names, sizes, gradients, fidelity, restoration of photos."""

import hashlib
from pathlib import Path

import pytest
import torch
from tiny_codeformer import AS_THEY_ARE, TINY

from diffshortcut.models.codeformer import CodeFormer, adaptive_instance_normalization
from diffshortcut.models.faces import Face
from diffshortcut.models.restorer import FFHQ, Restorer, load
from diffshortcut.models.vq import OFFICIAL, Config, VQAutoencoder
from diffshortcut.seeding import Draws

DRAWS = Draws(0, "purify", "nobody")


@pytest.fixture
def net() -> CodeFormer:
    torch.manual_seed(0)
    net = CodeFormer(TINY).eval()
    torch.nn.init.normal_(net.quantize.embedding.weight)
    return net


@pytest.fixture
def x() -> torch.Tensor:
    return DRAWS.uniform("x", (3, 32, 32), 2) * 2 - 1


def test_names_and_sizes_are_the_official_checkpoints() -> None:
    with torch.device("meta"):
        official = CodeFormer(OFFICIAL)
    shapes = {name: tuple(value.shape) for name, value in official.state_dict().items()}
    expected = {
        "position_emb": (256, 512),
        "feat_emb.weight": (512, 256),
        "ft_layers.8.self_attn.in_proj_weight": (1536, 512),
        "ft_layers.8.linear1.weight": (1024, 512),
        "idx_pred_layer.0.weight": (512,),
        "idx_pred_layer.1.weight": (1024, 512),
        "quantize.embedding.weight": (1024, 256),
        "encoder.blocks.0.weight": (64, 3, 3, 3),
        "encoder.blocks.3.conv.weight": (64, 64, 3, 3),
        "encoder.blocks.4.conv_out.weight": (128, 64, 1, 1),
        "encoder.blocks.17.proj_out.weight": (512, 512, 1, 1),
        "encoder.blocks.24.weight": (256, 512, 3, 3),
        "generator.blocks.0.weight": (512, 256, 3, 3),
        "generator.blocks.24.weight": (3, 64, 3, 3),
        "fuse_convs_dict.256.encode_enc.conv1.weight": (128, 256, 3, 3),
        "fuse_convs_dict.32.scale.2.bias": (256,),
    }
    assert {name: shapes.get(name) for name in expected} == expected
    assert {r: i for i, r in official.encoder.taps.items()}[256] == 5
    assert {r: i for i, r in official.generator.taps.items()}[256] == 18


def test_every_name_and_shape_is_the_official_one() -> None:
    """The digest is that of spandrel_extra_arches 0.2.0's and codeformer-pip 0.0.4's lists."""
    with torch.device("meta"):
        official = CodeFormer(OFFICIAL)
    lines = [f"{k} {'x'.join(map(str, v.shape))}" for k, v in official.state_dict().items()]
    digest = hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
    assert digest == "df7e0add193f7418fed4db9a64bb6be3c424f81c00377dea7435a34c9f560bcf"
    assert len(lines) == 515
    assert sum(value.numel() for value in official.parameters()) == 94_112_707


def test_shapes(net: CodeFormer, x: torch.Tensor) -> None:
    image, logits, latent = net(x)
    assert image.shape == x.shape and logits.shape == (2, 64, 32) and latent.shape == (2, 16, 8, 8)


def test_no_fidelity_skips_the_fusion(net: CodeFormer, x: torch.Tensor) -> None:
    image = net(x, w=0, adain=False)[0]
    codes = net.read_codes(net.predict(net.encoder(x)[0]))
    torch.testing.assert_close(image, net.generator(codes))
    assert not torch.equal(image, net(x, w=1, adain=False)[0])


@pytest.mark.parametrize(
    ("options", "passes"),
    [
        ({"adain": False}, False),
        ({"adain": True}, True),
        ({"adain": False, "straight_through": True}, True),
    ],
)
def test_gradients_to_the_input(
    options: dict[str, bool], passes: bool, net: CodeFormer, x: torch.Tensor
) -> None:
    """None as published but for AdaIN's statistics."""
    image = net(x.requires_grad_(), w=0.5, **options)[0]
    (gradient,) = torch.autograd.grad(image.square().sum(), x, allow_unused=True)
    assert (gradient is not None and bool(gradient.abs().max() > 0)) == passes


def test_straight_through_does_not_change_the_image(net: CodeFormer, x: torch.Tensor) -> None:
    torch.testing.assert_close(net(x)[0], net(x, straight_through=True)[0], rtol=1e-3, atol=1e-4)


def test_codes_are_the_nearest(net: CodeFormer, x: torch.Tensor) -> None:
    latent = net.encoder(x)[0].detach()
    quantized, _, indices = net.quantize(latent)
    rows = latent.permute(0, 2, 3, 1).reshape(-1, 16)
    expected = torch.cdist(rows, net.quantize.embedding.weight).argmin(1)
    assert torch.equal(indices.flatten(), expected)
    torch.testing.assert_close(quantized, net.quantize.lookup(indices))


def test_the_autoencoder_learns() -> None:
    x = torch.ones(2, 3, 32, 32)
    x[0, :2, :16] = x[1, 1:, :, 16:] = -1
    torch.manual_seed(0)
    net = VQAutoencoder(TINY)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    losses = []
    for _ in range(25):
        image, quantization, _ = net(x)
        error = (image - x).abs().mean()
        optimizer.zero_grad()
        (error + quantization).backward()
        optimizer.step()
        losses.append(float(error.detach()))
    assert losses[-1] < 0.7 * losses[0]
    assert all(p.grad is not None for p in net.parameters())


def test_the_generator_can_give_any_mean_color() -> None:
    """A norm of one channel per group would fix every image's mean color (see Config.groups)."""
    torch.manual_seed(0)
    generator = VQAutoencoder(Config()).generator
    codes = DRAWS.normal("codes", (64, 16, 16), 4) * torch.arange(1, 5).view(4, 1, 1, 1)
    with torch.no_grad():
        means = generator(codes).mean((2, 3))
    assert means.std(0).min() > 1e-3


def test_adain_takes_the_style_s_statistics() -> None:
    content, style = (DRAWS.normal(name, (4, 9, 9), 2) * 3 + 1 for name in ("c", "s"))
    result = adaptive_instance_normalization(content, style)
    torch.testing.assert_close(result.mean((2, 3)), style.mean((2, 3)), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(result.std((2, 3)), style.std((2, 3)), atol=1e-4, rtol=1e-4)


def test_saved_nets_come_back(net: CodeFormer, x: torch.Tensor, tmp_path: Path) -> None:
    net.save(tmp_path)
    restorer = load(weights=f"file:{tmp_path}", detector=None)
    assert restorer.net.config == TINY
    assert torch.equal(restorer.net(x)[0], net(x)[0])


def test_the_released_file_is_read(
    net: CodeFormer, x: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One .pth with the averaged weights under `params_ema`, and nothing that tells the sizes."""
    file = tmp_path / "codeformer.pth"
    torch.save({"params_ema": net.state_dict()}, file)
    reference = f"file:{file}"
    assert torch.equal(CodeFormer.read_released(reference, TINY)(x)[0], net(x)[0])
    seen: list[str] = []
    monkeypatch.setattr(CodeFormer, "read_released", lambda given: seen.append(given) or net)
    assert load(weights=reference, detector=None).net is net and seen == [reference]


class FixedDetector:
    """Finds in every image a face with its landmarks at given places, or none."""

    def __init__(self, points: torch.Tensor | None) -> None:
        self.points = points

    def detect(self, images: torch.Tensor) -> list[list[Face]]:
        if self.points is None:
            return [[] for _ in images]
        return [[Face(box=torch.zeros(4), score=1.0, points=self.points)] for _ in images]


def test_an_aligned_net_restores_the_whole_image(net: CodeFormer, x: torch.Tensor) -> None:
    restored = Restorer(net=net, detector=FixedDetector(None))((x + 1) / 2, fidelity=0.5)
    torch.testing.assert_close(restored, (net(x, w=0.5)[0] / 2 + 0.5).clamp(0, 1))


def test_without_a_face_the_image_stays() -> None:
    net = CodeFormer(AS_THEY_ARE)
    photo = DRAWS.uniform("photo", (3, 60, 80), 2)
    assert torch.equal(Restorer(net=net, detector=FixedDetector(None))(photo), photo)


def test_a_face_is_pasted_back_where_it_was() -> None:
    """An identity net must return the photo, and a white one must whiten the face only."""
    photo = DRAWS.uniform("photo", (3, 8, 8), 1)
    photo = torch.nn.functional.interpolate(photo, (64, 80), mode="bicubic").clamp(0, 1)
    points = FFHQ / 512 * 40 + torch.tensor([25.0, 12.0])
    net = CodeFormer(AS_THEY_ARE)
    restorer = Restorer(net=net, detector=FixedDetector(points))
    net.forward = lambda x, **options: (x, None, None)
    torch.testing.assert_close(restorer(photo), photo, atol=0.05, rtol=0)
    net.forward = lambda x, **options: (torch.ones_like(x), None, None)
    white = restorer(photo)[0]
    torch.testing.assert_close(white[:, 32, 45], torch.ones(3))
    assert torch.equal(white[:, :, :20], photo[0, :, :, :20])
