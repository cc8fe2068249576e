"""NaN and infinity wherever numbers are made, and memory that is not there."""

import json
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from broken_world import World

from diffshortcut.artifacts import artifact

pytestmark = pytest.mark.faults
Tried = Callable[[str], None]
BROKEN = {  # the stage, the fault, and what the message has to name
    "loss of training": (
        "personalize",
        {"value": {"place": "diffshortcut.dreambooth:dreambooth_loss", "at": 3}},
        "DreamBooth step",
    ),
    "last gradient of training": ("personalize", {"broken_gradient": {"at": 9}}, "weight"),
    "a gradient of training": ("personalize", {"broken_gradient": {"at": 4}}, "DreamBooth step"),
    "gradient of an attack": (
        "protect",
        {"value": {"place": "torch.autograd:grad", "at": 3}},
        "attack step",
    ),
    "loss of an attack": (
        "protect",
        {"value": {"place": "torch:Tensor.norm", "at": 5}},
        "attack step",
    ),
    "latents": (
        "generate",
        {"value": {"place": "diffshortcut.models.ldm:LatentDiffusion.predict", "at": 1}},
        "0-00.png",
    ),
    "class images": (
        "prior",
        {"value": {"place": "diffshortcut.models.ldm:LatentDiffusion.predict", "at": 1}},
        "0.png",
    ),
    "purified image": (
        "purify",
        {"value": {"place": "diffshortcut.purifiers.jpeg:Jpeg.__call__", "at": 0}},
        ".png",
    ),
    "score": (
        "score",
        {"value": {"place": "diffshortcut.metrics.ims:similarity", "at": 0}},
        "ims",
    ),
    "score of a picture": (
        "score",
        {"value": {"place": "diffshortcut.metrics.quality:Quality.__call__", "at": 0}},
        "sample 0",
    ),
}
SAMPLE = {"loss of training", "last gradient of training", "latents", "score"}


@pytest.mark.parametrize("number", ["nan", "inf"])
@pytest.mark.parametrize(
    "what",
    [pytest.param(what, marks=[pytest.mark.slow] if what in SAMPLE else []) for what in BROKEN],
)
def test_what_is_not_finite_fails_its_stage_by_name(
    reference: World, tmp_path: Path, tried: Tried, what: str, number: str
) -> None:
    stage, fault, named = BROKEN[what]
    world = reference.lacking(tmp_path / "world", stage)
    tried("NaN or infinity")
    [(kind, arguments)] = fault.items()
    assert world.run(**{kind: {**arguments, "number": number}}) == 1, world.said
    failed = [line for line in world.said.splitlines() if line.startswith(f"not done: {stage} ")]
    assert any(named in line for line in failed), world.said
    world.check_nothing_false(reference.payload())
    for path in world.root.rglob("*.json*"):
        text = path.read_text()
        for part in text.splitlines() if path.suffix == ".jsonl" else [text]:
            json.loads(part, parse_constant=pytest.fail)
    assert world.run() == 0, world.said
    world.check_complete(reference)


MEMORY = {
    "Python": {"kind": "MemoryError", "message": ""},
    "CPU": {
        "kind": "RuntimeError",
        "message": "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes",
    },
    "GPU": {"kind": "OutOfMemoryError", "message": "CUDA out of memory. Tried to allocate 9 GiB"},
}


@pytest.mark.parametrize("kind", MEMORY)
def test_a_person_whose_memory_does_not_suffice_stops_nobody_else(
    world: World, tried: Tried, kind: str
) -> None:
    tried("out of memory")
    place = "diffshortcut.stages.personalize:run"
    nothing_to_halve = "trainer.micro_batch=1"
    error = {"place": place, **MEMORY[kind]}
    assert world.run("data.people=2", nothing_to_halve, error=error) == 1
    done: dict[str, list[str | None]] = {}
    for folder in world.stages():
        told = artifact.read_marker(folder)["provenance"]
        done.setdefault(told["stage"], []).append(told["person"])
    assert set(done["protect"]) == {"person_000", "person_001"}
    assert done["personalize"] == done["generate"] == ["person_001"]
    scored = Counter(done["score"])  # of whom nothing was generated the photos are scored alone
    assert scored["person_000"] == 1 < scored["person_001"]
    said = [line for line in world.said.splitlines() if line.startswith("not done: ")]
    assert {line.split()[2] for line in said} == {"personalize", "generate", "score"}
    assert any(MEMORY[kind]["message"] in line for line in said)
    assert world.run("data.people=2") == 0, world.said


@pytest.mark.slow
def test_a_process_that_cannot_allocate_loses_nothing(
    reference: World, world: World, tried: Tried
) -> None:
    """Whether Python raises, a library aborts or the system kills it; what failed is counted."""
    failed = (1, -signal.SIGABRT, -signal.SIGKILL, -signal.SIGSEGV, -signal.SIGBUS)
    codes = []
    for more in (150, 250, 400):
        codes.append(world.run(little_memory={"more": more * 2**20}))
        if codes[-1] != 0:
            tried("out of memory")
        world.check_nothing_false(reference.payload())
    assert set(codes) <= {0, *failed} and set(codes) & set(failed), codes
    assert world.run() == 0, world.said
    world.check_complete(reference)
