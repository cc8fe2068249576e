"""Stage keys: what changes them, and what must not."""

import ast
import shutil
from pathlib import Path
from typing import Any

import pytest

from diffshortcut import weights
from diffshortcut.artifacts import keys, sources
from diffshortcut.errors import UserError


def key(**changes: Any) -> str:
    given = {"stage": "protect", "config": {"radius": 11}, "person": "ann", "data": "d"}
    return keys.stage_key(**{**given, "parents": {"prior": "p"}, **changes})


@pytest.mark.parametrize(
    "change",
    [
        {"stage": "purify"},
        {"config": {"radius": 12}},
        {"config": {"radius": 11, "step": 1}},
        {"person": "bob"},
        {"data": "e"},
        {"parents": {"prior": "q"}},
        {"parents": {"images": "p"}},
        {"config": {"radius": 11, "_target_": "diffshortcut.errors.UserError"}},
    ],
)
def test_a_key_changes_with_everything_that_counts(change: dict[str, Any]) -> None:
    assert key(**change) != key()


def test_a_key_is_32_hex_and_ignores_order_and_neutral_keys() -> None:
    assert len(key()) == 32 and int(key(), 16) >= 0
    ordered = {"a": 1, "b": {"c": 2, "micro_batch": 4}, "precision": {"compiled": False}}
    other = {"precision": {"compiled": True}, "b": {"micro_batch": 8, "c": 2}, "a": 1}
    assert key(config=ordered) == key(config=other)


def test_the_order_of_a_chain_counts() -> None:
    links = {"jpeg": {"_target_": "json.dumps"}, "sr": {"_target_": "json.loads"}}
    turned = dict(reversed(links.items()))
    assert key(config={"target": turned}) != key(config={"target": links})
    one = {"target": {"jpeg": links["jpeg"]}, "b": 1}
    assert key(config=one) == key(config=dict(reversed(one.items())))


@pytest.mark.parametrize("name", ["attention", "device", "compiled"])
def test_a_methods_own_value_counts_whatever_it_is_called(name: str) -> None:
    assert key(config={"attack": {name: 0.3}}) != key(config={"attack": {name: 0.9}})


def test_weights_count_by_content_not_by_place(tmp_path: Path) -> None:
    first, second = tmp_path / "x" / "net", tmp_path / "elsewhere"
    first.mkdir(parents=True)
    (first / "model.safetensors").write_bytes(b"weights")
    shutil.copytree(first, second)
    assert key(config={"w": f"file:{first}"}) == key(config={"w": f"file:{second}"})
    (second / "model.safetensors").write_bytes(b"weighty")
    assert key(config={"w": f"file:{first}"}) != key(config={"w": f"file:{second}"})
    (second / "model.safetensors").rename(second / "other.safetensors")
    assert weights.digest(f"file:{first}") != weights.digest(f"file:{second}")


def test_the_digest_of_a_weight_folder_is_pinned(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    for name in ("unet/model.safetensors", "unet.json", "a.json", ".hidden"):
        (tmp_path / name).write_text(name)
    pinned = "e07d0f98e7016bc087ae76a3fe3e96eb46a18f98443e6f85bd05b34a7565513d"
    assert weights.digest(f"file:{tmp_path}") == pinned


def test_linked_weight_folders_count(tmp_path: Path) -> None:
    real, linked, net = tmp_path / "real", tmp_path / "linked", tmp_path / "net"
    for folder in (real / "unet", linked, net):
        folder.mkdir(parents=True)
    for folder in (real / "unet", net):
        (folder / "model.safetensors").write_text("weights")
    (linked / "unet").symlink_to(net)
    assert weights.digest(f"file:{linked}") == weights.digest(f"file:{real}")
    (net / "model.safetensors").write_text("others")
    assert weights.digest(f"file:{linked}") != weights.digest(f"file:{real}")


def test_missing_and_foreign_weights_are_named() -> None:
    with pytest.raises(UserError, match="sd14 .*is not in .*weights fetch sd14"):
        weights.digest("full:sd14")
    with pytest.raises(UserError, match="no /nowhere"):
        weights.locate("file:/nowhere")
    with pytest.raises(UserError, match="'huge:x' is not"):
        weights.locate("huge:x")


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package whose `attack` imports, by several ways, three of its four other modules."""
    root = tmp_path / "sample_plugin"
    (root / "inner").mkdir(parents=True)
    (root / "__init__.py").write_text("raise RuntimeError('must not be imported')\n")
    (root / "inner" / "__init__.py").write_text("from .deep import depth\n")
    (root / "inner" / "deep.py").write_text("from ..base import size\ndepth = 1\n")
    (root / "base.py").write_text("size = 1\n")
    (root / "other.py").write_text("import sample_plugin.attack\n")
    (root / "attack.py").write_text(
        "import os\ndef lazy():\n    from sample_plugin import inner\n"
        "from diffshortcut import errors\nclass Attack:\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for cached in (sources.imports, sources.module_file, sources._package_root):
        cached.cache_clear()
    return root


def test_imports_are_followed_without_importing(plugin: Path) -> None:
    assert sources.module_file("sample_plugin.attack.Attack") == (
        "sample_plugin.attack",
        plugin / "attack.py",
    )
    assert sources.imports("sample_plugin.attack") == ("diffshortcut.errors", "sample_plugin.inner")
    assert sources.imports("sample_plugin.inner") == ("sample_plugin.inner.deep",)
    assert sources.imports("sample_plugin.inner.deep") == ("sample_plugin.base",)


@pytest.mark.parametrize(
    ("name", "counts"),
    [("attack.py", True), ("inner/deep.py", True), ("base.py", True), ("other.py", False)],
)
def test_the_source_of_every_import_counts(
    plugin: Path, name: str, counts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sources.digest(["sample_plugin.attack.Attack"])
    with (plugin / name).open("a") as stream:
        stream.write("changed = 1\n")
    monkeypatch.setattr(sources, "_first", {})  # as a new process
    assert (sources.digest(["sample_plugin.attack.Attack"]) != before) is counts


SAID = """\
'Of ünits.'; size = 1  # of one

def f():
    '''Größen,
    # alle.'''; return '#'
    # behind
TEXT = '''a

b'''
"""


def test_code_is_what_is_left_of_a_source_without_what_is_said() -> None:
    left = ["; size = 1", "def f():", "    ; return '#'", "TEXT = '''a", "", "b'''", ""]
    assert sources._code(SAID, ast.parse(SAID)) == "\n".join(left)


def test_what_is_said_in_a_source_does_not_count(plugin: Path) -> None:
    before = sources.digest(["sample_plugin.attack.Attack"])
    base = plugin / "base.py"
    for text, counts in (
        ("'''Sizes.'''\n\n\nsize = 1  # in pixels\n", False),
        ("'''Sizes.'''\nsize = 1\n'''size = 2'''\n", True),
        ("size = '''1'''\n", True),
    ):
        base.write_text(text)
        if counts:
            with pytest.raises(UserError, match=r"base\.py has changed"):
                sources.digest(["sample_plugin.attack.Attack"])
        else:
            assert sources.digest(["sample_plugin.attack.Attack"]) == before


def test_a_source_that_changes_in_a_running_process_is_refused(plugin: Path) -> None:
    before = sources.digest(["sample_plugin.attack.Attack"])
    (plugin / "other.py").write_text("# read by nobody\n")
    assert sources.digest(["sample_plugin.attack.Attack"]) == before
    (plugin / "base.py").write_text("size = 2\n")
    with pytest.raises(UserError, match=r"base\.py has changed"):
        sources.digest(["sample_plugin.attack.Attack"])


@pytest.mark.parametrize("name", ["errors", "lease", "provenance"])
def test_a_plugin_that_is_called_as_a_module_of_ours_counts(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for cached in (sources.imports, sources.module_file, sources._package_root):
        cached.cache_clear()
    (tmp_path / name).mkdir()
    found = set()
    for text in ("", "changed = 1\n"):
        (tmp_path / name / "__init__.py").write_text(text)
        monkeypatch.setattr(sources, "_first", {})  # as a new process
        found.add(sources.digest([f"{name}.Attack"]))
    assert len({*found, sources.digest([])}) == 3


def test_code_that_cannot_change_a_result_does_not_count() -> None:
    assert sources.digest(["diffshortcut.errors"]) == sources.digest([])
    assert sources.digest(["diffshortcut.pictures.images"]) != sources.digest([])


def test_a_method_is_called_as_its_class_or_its_functions_module() -> None:
    assert keys.method({"_target_": "diffshortcut.purifiers.jpeg.Jpeg"}) == "Jpeg"
    prior = {"images": 4, "model": {"_target_": "diffshortcut.models.ldm.load"}}
    assert keys.method(prior) == "ldm" and keys.method({}) == ""
