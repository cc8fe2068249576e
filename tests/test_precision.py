"""Options of speed and memory: what they change, and what they must not."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor

from diffshortcut.artifacts import keys
from diffshortcut.artifacts.checkpoint import load_optimizer, optimizer_tensors
from diffshortcut.attacks.denoising import denoising_loss
from diffshortcut.attacks.pgd import gradient_of
from diffshortcut.attacks.surrogate import WithSurrogates
from diffshortcut.config import arms, config
from diffshortcut.dreambooth import Posterior, Settings, Training
from diffshortcut.errors import UserError
from diffshortcut.models.ldm import LatentDiffusion, load
from diffshortcut.precision import Precision
from diffshortcut.seeding import Draws

DRAWS = Draws(0, "test", "")
SETTINGS = Settings(
    instance_prompt="a photo of sks person",
    class_prompt="a photo of person",
    learning_rate=5e-7,  # the paper's: pure bfloat16 loses it
)
ROUNDING = {  # change nothing but rounding
    "gradient_checkpointing": {"gradient_checkpointing": True},
    "recompute_encoder": {"recompute_encoder": True},
    "channels_last": {"channels_last": "all"},
    "channels_last of images": {"channels_last": "images"},
}
Loader = Callable[[Precision], LatentDiffusion]


@pytest.fixture
def ldm(tiny_ldm_folder: Path) -> Loader:
    return lambda precision: load(weights=f"file:{tiny_ldm_folder}", precision=precision)


def images(n: int = 2) -> Tensor:
    return DRAWS.uniform("image", (3, 32, 32), n)


def trained(model: LatentDiffusion, steps: int = 2) -> Training:
    posterior = Posterior.of(model, images())
    training = Training(model, SETTINGS, posterior, DRAWS)
    training.train(posterior, steps)
    return training


def slope(model: LatentDiffusion) -> Tensor:
    loss = denoising_loss(model, "a photo of sks person", DRAWS)
    return gradient_of(loss)(images(), range(2), 0)[1]


def kept_bytes(call: Callable[[], object]) -> int:
    """Of the tensors that autograd keeps, each once."""
    kept: dict[int, int] = {}

    def keep(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        call()
    return sum(kept.values())


@pytest.mark.parametrize("name", ROUNDING)
def test_the_gradient_of_the_images_is_the_same(ldm: Loader, name: str) -> None:
    expected = slope(ldm(Precision()))
    torch.testing.assert_close(
        slope(ldm(Precision(**ROUNDING[name]))), expected, rtol=1e-4, atol=1e-9
    )


@pytest.mark.parametrize("name", ROUNDING)
def test_training_gives_the_same_weights(ldm: Loader, name: str) -> None:
    plain, other = (trained(ldm(p)) for p in (Precision(), Precision(**ROUNDING[name])))
    for a, b in zip(_weights(plain), _weights(other), strict=True):
        torch.testing.assert_close(b, a, rtol=0, atol=1e-7)


def test_recomputing_the_encoder_keeps_less(ldm: Loader) -> None:
    def encoded(precision: Precision) -> int:
        return kept_bytes(lambda: ldm(precision).posterior(images().requires_grad_()))

    assert encoded(Precision(recompute_encoder=True)) < 0.2 * encoded(Precision())


def test_checkpointing_the_denoiser_keeps_less(ldm: Loader) -> None:
    def denoised(precision: Precision) -> int:
        model = ldm(precision).copy()
        z = torch.zeros(4, *model.latent_shape)
        context = model.encode_prompt(["a photo"]).detach()
        return kept_bytes(lambda: model.predict(z, torch.zeros(4, dtype=torch.long), context))

    assert denoised(Precision(gradient_checkpointing=True)) < 0.6 * denoised(Precision())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_16_bits_compute_about_the_same_loss(ldm: Loader, dtype: str) -> None:
    values = []
    for precision in (Precision(), Precision(autocast=dtype)):
        loss = denoising_loss(ldm(precision), "a photo", DRAWS)
        values.append(loss(images(), range(2), 0))
    assert values[1].dtype == torch.float32
    assert not torch.equal(*values)  # it does compute in 16 bits
    torch.testing.assert_close(values[1], values[0], rtol=0.03, atol=0)


def test_float16_loses_no_gradient(ldm: Loader) -> None:
    found, exact = slope(ldm(Precision(autocast="float16"))), slope(ldm(Precision()))
    assert (found == 0).float().mean() <= (exact == 0).float().mean() + 0.01
    assert (found.sign() == exact.sign()).float().mean() > 0.9


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_trained_weights_stay_in_32_bits_and_all_of_them_move(ldm: Loader, dtype: str) -> None:
    model = ldm(Precision(autocast=dtype))
    before = [p.detach().clone() for p in model.trainable_parameters()]
    training = trained(model, steps=1)
    pairs = list(zip(_weights(training), before, strict=True))
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p, _ in pairs)
    matrices = torch.cat([(p != b).flatten() for p, b in pairs if p.ndim == 4])
    assert matrices.float().mean() >= 0.99


@pytest.mark.parametrize("whole", [True, False])
def test_weights_in_bfloat16_cannot_be_trained_in_float16_on_the_cpu(
    ldm: Loader, whole: bool
) -> None:
    attack = WithSurrogates(
        radius=8,
        instance_prompt="a photo of sks person",
        class_prompt="a photo of person",
        learning_rate=1e-4,
        weights_dtype="bfloat16",
        train_text_encoder=whole,
    )
    prior = Posterior.of(ldm(Precision()), images())
    with pytest.raises(UserError, match="precision=float32 or precision=bfloat16"):
        attack.training(ldm(Precision(autocast="float16")), prior, DRAWS)
    for precision in (Precision(), Precision(autocast="bfloat16")):
        attack.training(ldm(precision), prior, DRAWS).train(prior, 1)


@pytest.mark.parametrize(
    "precision",
    [
        pytest.param(Precision(optimizer="adamw8bit"), id="8 bits", marks=pytest.mark.slow),
        pytest.param(Precision(autocast="float16"), id="float16"),
    ],
)
def test_a_checkpoint_holds_what_a_training_needs(ldm: Loader, precision: Precision) -> None:
    if precision.optimizer == "adamw8bit":
        pytest.importorskip("bitsandbytes", reason="bitsandbytes (extra [optim8]) is not installed")
    model = ldm(precision)
    posterior = Posterior.of(model, images())
    whole, first, second = (Training(model, SETTINGS, posterior, DRAWS) for _ in range(3))
    whole.train(posterior, 4)
    first.train(posterior, 2)
    second.load_state_dict({k: v.clone() for k, v in first.state_dict().items()})
    second.train(posterior, 2)
    assert all(map(torch.equal, _weights(second), _weights(whole)))


@pytest.mark.slow
def test_8_bit_moments_take_a_quarter_of_the_memory() -> None:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes (extra [optim8]) is not installed")

    def moments(precision: Precision) -> int:
        weight = torch.nn.Parameter(torch.ones(256, 256))
        optimizer = precision.new_optimizer([weight], 1e-3)
        weight.square().sum().backward()
        optimizer.step()
        state = optimizer.state[weight].values()
        return sum(x.nbytes for x in state if isinstance(x, Tensor) and x.numel() > 256)

    assert moments(Precision(optimizer="adamw8bit")) < 0.27 * moments(Precision())


def test_xformers_without_cuda_says_what_to_do(ldm: Loader) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA: make test-gpu runs xformers")
    with pytest.raises(UserError, match="precision.attention=sdpa needs neither"):
        ldm(Precision(attention="xformers"))


@pytest.mark.parametrize("layout", [None, "images", "all"])
def test_the_layout_is_that_of_all_nets_or_of_those_without_a_prompt(
    layout: Literal["all", "images"] | None, ldm: Loader
) -> None:
    model = ldm(Precision(channels_last=layout))
    last = {
        name: net.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
        for name, net in {"images": model.vae.encoder, "all": model.unet}.items()
    }
    assert last == {"images": layout is not None, "all": layout == "all"}


def key_of(*overrides: str) -> str:
    cfg = arms.compose(["attack=advdm", "compare.arms=[]", *overrides])[-1].config
    return keys.stage_key(stage="protect", config={"attack": cfg["attack"]}, parents={})


def test_only_what_changes_results_changes_the_key() -> None:
    plain = key_of()
    for name in ("gradient_checkpointing", "recompute_encoder", "compiled"):
        assert key_of(f"precision.{name}=true") == plain
    for layout in ("null", "images", "all"):
        assert key_of(f"precision.channels_last={layout}") == plain
    assert key_of("precision.autocast=bfloat16") != plain
    assert key_of("precision.optimizer=adamw8bit") != plain


def test_every_zoo_has_its_precision() -> None:
    assert config.resolve(config.compose([]))["precision"]["autocast"] is None
    full = config.resolve(config.compose(["zoo=full"]))
    assert full["model"]["precision"]["autocast"] == "bfloat16"
    chosen = config.resolve(config.compose(["zoo=full", "precision=lean"]))
    assert chosen["zoo"]["upscaler"]["precision"]["recompute_encoder"] is True


def _weights(training: Training) -> list[Tensor]:
    return [p.detach() for p in training.model.trainable_parameters()]


def test_moments_come_back_in_the_layout_of_their_weights() -> None:
    """Fused AdamW goes by the memory: a resumed training goes on as the one that was not."""

    def trained(resumed: bool) -> torch.Tensor:
        torch.manual_seed(0)
        net = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
        optimizer = Precision().new_optimizer(net.parameters(), 1e-2)
        for step in range(3):
            if step == 2 and resumed:
                kept = {
                    name: value.detach().clone(memory_format=torch.contiguous_format)
                    for name, value in optimizer_tensors(optimizer).items()
                }
                optimizer = Precision().new_optimizer(net.parameters(), 1e-2)
                load_optimizer(optimizer, kept)
            optimizer.zero_grad()
            net(torch.linspace(0, 1 + step, 75).view(1, 3, 5, 5)).square().sum().backward()
            optimizer.step()
        return net.weight.detach()

    assert torch.equal(trained(resumed=True), trained(resumed=False))
