"""Files that are cut, have one bit turned, or are gone: found by hash, and made again."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from broken_world import World

from diffshortcut import weights

pytestmark = pytest.mark.faults
Tried = Callable[[str], None]
Damage = Callable[[Path], None]


def cut(path: Path) -> None:
    """The second half is missing."""
    _anew(path, path.read_bytes()[: path.stat().st_size // 2])


def bit(path: Path) -> None:
    """One bit in the middle is turned."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    _anew(path, bytes(content))


def _anew(path: Path, content: bytes) -> None:
    """In a file of its own: the old one may be linked to the unbroken run's."""
    path.unlink()
    path.write_bytes(content)


DAMAGES = {"cut": cut, "bit": bit, "gone": Path.unlink}
ARTIFACTS = {
    "PNG": "protect/*/images/*.png",
    "safetensors": "personalize/*/unet/*.safetensors",
    "config": "personalize/*/unet/config.json",
    "log": "personalize/*/log.jsonl",
    "scores": "score/*/rows.jsonl",
    "facts": "protect/*/facts.json",
    "marker": "generate/*/complete.json",
}
SAMPLE = {("PNG", "bit"), ("safetensors", "cut"), ("marker", "gone")}  # in CI


def each(kinds: dict[str, str], sample: set[tuple[str, str]]) -> list:
    """All kinds with all damages, the sample marked slow."""
    return [
        pytest.param(pattern, damage, id=f"{kind}-{name}", marks=mark)
        for kind, pattern in kinds.items()
        for name, damage in DAMAGES.items()
        for mark in [[pytest.mark.slow] if (kind, name) in sample else []]
    ]


@pytest.mark.parametrize(("pattern", "damage"), each(ARTIFACTS, SAMPLE))
def test_a_damaged_artifact_is_made_again(
    reference: World, tmp_path: Path, tried: Tried, pattern: str, damage: Damage
) -> None:
    world = reference.lacking(tmp_path / "world")
    tried("damaged file of an artifact")
    damage(next(world.store.glob(pattern)))
    assert world.run() == 0, world.said
    world.check_complete(reference)
    assert len(list((world.store / "quarantine").iterdir())) == 1
    assert "is broken" in world.said


RESULTS = {
    name: f"*/{name}"
    for name in ("table.txt", "table.md", "rows.jsonl", "comparison.json", "gallery.png")
} | {"record": "*/record.json"}


@pytest.mark.parametrize(("pattern", "damage"), each(RESULTS, {("record", "cut")}))
def test_damaged_results_are_written_again(
    reference: World, tmp_path: Path, tried: Tried, pattern: str, damage: Damage
) -> None:
    world = reference.copy(tmp_path / "world")
    tried("damaged file of the results")
    damage(next(world.outputs.glob(pattern)))
    assert world.run() == 0, world.said
    world.check_complete(reference)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(damage, id=name, marks=[pytest.mark.slow] if name == "bit" else [])
        for name, damage in DAMAGES.items()
    ],
)
def test_a_damaged_state_of_an_attack_is_not_gone_on_from(
    reference: World, world: World, tried: Tried, damage: Damage
) -> None:
    stop = {"place": "diffshortcut.attacks.pgd:project", "number": 9, "at": 6}
    assert world.run(signal_at=stop) == -9
    [state] = (world.store / "partial").glob("protect-*/*.safetensors")
    tried("damaged state of an attack")
    damage(state)
    assert world.run() == 0, world.said
    world.check_complete(reference)


WEIGHTS = {
    "ONNX": "detector/model.onnx",
    "safetensors": "mini_a/unet/*.safetensors",
    "config": "mini_a/unet/config.json",
    "tokenizer": "mini_a/tokenizer/*.json",
}


@pytest.mark.parametrize(
    ("pattern", "damage"), each(WEIGHTS, {("ONNX", "bit"), ("safetensors", "cut")})
)
def test_damaged_weights_are_refused_by_name(
    reference: World, world: World, tmp_path: Path, tried: Tried, pattern: str, damage: Damage
) -> None:
    mine = tmp_path / "weights"
    shutil.copytree(weights.MINI, mine)
    path = next(mine.glob(pattern))
    tried("damaged file of the weights")
    damage(path)
    assert world.run(weights={"folder": str(mine)}) == 1, world.said
    last = world.said.splitlines()[-1]
    assert last.startswith("error: ") and path.name in last and "Traceback" not in world.said
    assert not world.store.exists()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("", id="empty", marks=pytest.mark.slow),
        pytest.param("{", id="cut"),
        pytest.param("[]", id="a list"),
        pytest.param('{"host": 7}', id="half", marks=pytest.mark.slow),
        pytest.param("\x00" * 99, id="zeros"),
    ],
)
def test_a_damaged_lease_is_taken_over(
    reference: World, tmp_path: Path, tried: Tried, content: str
) -> None:
    [folder] = reference.store.glob("generate/*")
    world = reference.lacking(tmp_path / "world", "generate")
    tried("damaged lease")
    (world.store / "leases" / f"generate-{folder.name}").write_text(content)
    assert world.run() == 0, world.said
    world.check_complete(reference)
