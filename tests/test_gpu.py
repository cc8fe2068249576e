"""What only a GPU can run: make test-gpu. Skipped, with the reason, where there is no CUDA.

DIFFSHORTCUT_TEST_DEVICE=cpu runs the same code on the CPU, as far as that can: a check of the tests
themselves, not of the claims.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from diffshortcut.attacks.denoising import denoising_loss
from diffshortcut.attacks.pgd import ascend, gradient_of
from diffshortcut.bench import costs
from diffshortcut.bench.scenes import scene
from diffshortcut.cost.estimate import estimate
from diffshortcut.data import portraits
from diffshortcut.dreambooth import Posterior, Settings, Training
from diffshortcut.models import remembered
from diffshortcut.models.ldm import LatentDiffusion, load
from diffshortcut.precision import Precision
from diffshortcut.samplers.classifier_free import ClassifierFree
from diffshortcut.seeding import Draws

DEVICE = os.environ.get("DIFFSHORTCUT_TEST_DEVICE", "cuda")
ON_CUDA = DEVICE == "cuda"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        ON_CUDA and not torch.cuda.is_available(), reason="needs CUDA (make test-gpu on a GPU)"
    ),
]
only_cuda = pytest.mark.skipif(not ON_CUDA, reason="CUDA only")
PRECISIONS = {
    "float32": Precision(),
    "bfloat16": Precision(autocast="bfloat16", channels_last="all"),
    "float16": Precision(autocast="float16", channels_last="all"),
    "lean": Precision(
        autocast="bfloat16",
        optimizer="adamw8bit",
        gradient_checkpointing=True,
        recompute_encoder=True,
        channels_last="all",
    ),
    "compiled": Precision(autocast="bfloat16", compiled=True),
    "xformers": Precision(autocast="float16", attention="xformers"),
}
NEEDS = {"lean": "bitsandbytes", "xformers": "xformers"}
SETTINGS = Settings(
    instance_prompt="a photo of sks person",
    class_prompt="a photo of person",
    learning_rate=3e-4,
    instance_batch=4,
)
DRAWS = Draws(0, "test", "")


@pytest.fixture(autouse=True)
def device() -> Iterator[None]:
    """The models and the images of a test are on the GPU."""
    torch.set_default_device(DEVICE)
    yield
    torch.set_default_device("cpu")


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    """Four photos of a shipped person."""
    (person,) = portraits.people(people=["person_000"])
    return scene(person).images


@pytest.fixture(params=PRECISIONS)
def model(request: pytest.FixtureRequest) -> LatentDiffusion:
    """mini_a, computing in every way there is."""
    name = request.param
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason=f"{NEEDS[name]} (extra [gpu]) is not installed")
    if name == "xformers":
        _require_kernels()
    return load(weights="mini:mini_a", precision=PRECISIONS[name])


def _require_kernels() -> None:
    """Skip where xformers is installed but has no kernel for this torch and this GPU."""
    if not ON_CUDA:
        pytest.skip("xformers needs CUDA")
    from xformers.ops import memory_efficient_attention

    x = torch.zeros(1, 8, 1, 32, dtype=torch.float16)
    try:
        memory_efficient_attention(x, x, x)
    except (NotImplementedError, RuntimeError) as error:
        pytest.skip(f"xformers does not work here: {str(error).splitlines()[0]}")


def exact() -> LatentDiffusion:
    return load(weights="mini:mini_a", precision=PRECISIONS["float32"])


def test_the_loss_and_its_gradient_are_those_of_32_bits(
    model: LatentDiffusion, pictures: Tensor
) -> None:
    x = pictures.cpu()  # as a stage reads them
    found, expected = (
        gradient_of(denoising_loss(m, SETTINGS.instance_prompt, DRAWS))(x, range(len(x)), 0)
        for m in (model, exact())
    )
    torch.testing.assert_close(found[0], expected[0], rtol=0.03, atol=1e-3)
    assert found[1].isfinite().all()
    assert (found[1].sign() == expected[1].sign()).float().mean() > 0.9


def test_an_attack_raises_the_loss_that_32_bits_see(
    model: LatentDiffusion, pictures: Tensor
) -> None:
    x = pictures.cpu()  # as a stage reads them
    gradient = gradient_of(denoising_loss(model, SETTINGS.instance_prompt, DRAWS))
    protected = ascend(x, x, gradient, radius=11, step=1, steps=20)
    loss = denoising_loss(exact(), SETTINGS.instance_prompt, DRAWS.scope("held-out"))
    before, after = (
        torch.stack([loss(images, range(len(images)), n) for n in range(16)]).mean()
        for images in (x, protected)
    )
    assert after > 1.2 * before


def test_training_lowers_the_loss_and_keeps_32_bit_weights(
    model: LatentDiffusion, pictures: Tensor
) -> None:
    x = pictures.cpu()  # as a stage reads them
    posterior, losses = Posterior.of(model, x), []
    training = Training(model, SETTINGS, posterior, DRAWS)
    training.train(posterior, 100, lambda step, loss: losses.append(loss))
    assert losses[-1] < losses[0]
    assert {p.dtype for p in training.model.trainable_parameters()} == {torch.float32}
    assert all(p.isfinite().all() for p in training.model.trainable_parameters())


def test_samples_are_pictures(model: LatentDiffusion) -> None:
    prompts = ["a photo of person"]
    sampler = ClassifierFree(model=model, prompts=prompts, images=2, steps=10, guidance=4.0)
    (found,), (expected,) = sampler(model, DRAWS), sampler(exact(), DRAWS)
    assert found.isfinite().all() and 0 <= float(found.min()) <= float(found.max()) <= 1
    assert (found - expected).abs().mean() < 0.1


def test_a_whole_cell_runs(tmp_path: Path) -> None:
    words = ["attack=aspl", "purifier=ours", "debug=quick", "data.people=1", "logger=none"]
    places = [f"runtime.store={tmp_path}/store", f"runtime.outputs={tmp_path}/out"]
    command = [sys.executable, "-m", "diffshortcut.run", *words, *places]
    for precision in ("float32", "bfloat16"):
        options = [f"precision={precision}", f"runtime.device={DEVICE}"]
        done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@only_cuda
@pytest.mark.parametrize("name", ["advdm", "dreambooth"])
def test_a_stage_takes_the_memory_that_the_plan_tells(name: str) -> None:
    told = estimate(costs.task(name)).peak
    remembered.forget()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    costs.run(name)
    assert told == pytest.approx(torch.cuda.max_memory_allocated(), rel=0.3)


@only_cuda
def test_8_bit_moments_take_a_quarter_of_the_memory() -> None:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes (extra [gpu]) is not installed")
    taken = []
    for precision in (Precision(), Precision(optimizer="adamw8bit")):
        weight = torch.nn.Parameter(torch.ones(4096, 4096))
        optimizer = precision.new_optimizer([weight], 1e-3)
        weight.square().sum().backward()
        before = torch.cuda.memory_allocated()
        optimizer.step()
        taken.append(torch.cuda.memory_allocated() - before)
    assert taken[1] < 0.27 * taken[0]


@only_cuda
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_train_one_model(tmp_path: Path) -> None:
    launcher = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2", "-m"]
    words = ["attack=none", "purifier=none", "debug=quick", "data.people=1", "logger=none"]
    places = [f"runtime.store={tmp_path}/store", f"runtime.outputs={tmp_path}/out"]
    command = [sys.executable, *launcher, "diffshortcut.run", *words, *places]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Mean per arm") == 1
