"""The registry of weights, and fetching from a hub that misbehaves (a server on this machine)."""

import hashlib
import io
import json
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from diffshortcut import weights
from diffshortcut.config import config
from diffshortcut.errors import UserError
from diffshortcut.weights import __main__ as command
from diffshortcut.weights import fetch, registry
from diffshortcut.weights.registry import Entry, File, Source

CONTENT = bytes(range(256)) * 400
SHA = hashlib.sha256(CONTENT).hexdigest()


class Hub(BaseHTTPRequestHandler):
    """Files by path: whole, cut short (`truncated`), gone after a part (`dying`), or of the hub."""

    seen: list[tuple[str, str, str | None]]
    files: dict[str, bytes]

    def do_HEAD(self) -> None:  # noqa: N802
        self._answer(body=False)

    def do_GET(self) -> None:  # noqa: N802
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        asked = self.headers.get("Range")
        self.seen.append((self.command, self.path, asked))
        content = self.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if start >= len(content):
            self.send_error(416)
            return
        if "truncated" in self.path:  # and says so of nothing
            content = content[: len(content) // 2]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if asked:
            last = len(content) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{len(content)}")
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", "c0ffee")
        self.end_headers()
        if body:
            dies = "dying" in self.path and not asked
            self.wfile.write(content[start : len(content) // 2 if dies else None])

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def hub() -> Iterator[str]:
    Hub.seen, Hub.files = [], {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIFFSHORTCUT_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(fetch.constants, "HF_HUB_OFFLINE", False)
    return tmp_path / "weights"


def entry(*sources: str, sha256: str | None = None, archive: str | None = None) -> Entry:
    return Entry(
        name="toy",
        title="a toy",
        licence="MIT",
        commercial="yes",
        sources=tuple(Source("url", source) for source in sources),
        files=(File("net.pt", len(CONTENT), sha256),),
        archive=archive,
    )


def test_the_first_source_is_gone_and_the_mirror_serves(hub: str, home: Path) -> None:
    Hub.files["/mirror/net.pt"] = CONTENT
    found = entry(f"{hub}/first/net.pt", f"{hub}/mirror/net.pt", sha256=SHA)
    fetch.fetch(found)
    assert found.place.read_bytes() == CONTENT and found.place == home / "toy" / "net.pt"
    assert [path for _, path, _ in Hub.seen] == ["/first/net.pt", "/mirror/net.pt"]
    assert fetch.verify(found) == {} and not list(home.rglob("*.part"))
    fetch.fetch(found)
    assert len(Hub.seen) == 2  # nothing is asked for again


def test_a_wrong_file_is_refused_and_removed(hub: str, home: Path) -> None:
    Hub.files["/net.pt"] = CONTENT[:-1] + b"x"
    with pytest.raises(UserError, match=r"no source has it.*sha256 .* instead of .*put it at"):
        fetch.fetch(entry(f"{hub}/net.pt", sha256=SHA))
    assert not [path for path in home.rglob("*") if path.is_file()]


def test_after_a_wrong_file_the_next_source_serves(hub: str) -> None:
    Hub.files |= {"/bad/net.pt": b"bad", "/net.pt": CONTENT}
    found = entry(f"{hub}/bad/net.pt", f"{hub}/net.pt", sha256=SHA)
    fetch.fetch(found)
    assert fetch.sha256(found.place) == SHA


def test_a_download_that_dies_goes_on_where_it_stopped(
    hub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr(fetch.constants, "DOWNLOAD_CHUNK_SIZE", 1024)  # instead of 10 MB
    Hub.files["/dying/net.pt"] = CONTENT
    found = entry(f"{hub}/dying/net.pt", sha256=SHA)
    fetch.fetch(found)
    assert found.place.read_bytes() == CONTENT
    assert Hub.seen[-1][2] == f"bytes={len(CONTENT) // 2}-"


def test_another_process_goes_on_with_what_is_there(hub: str, home: Path) -> None:
    Hub.files["/net.pt"] = CONTENT
    (home / "toy").mkdir(parents=True)
    for there in (CONTENT[:1000], CONTENT):
        (home / "toy" / "net.pt.part").write_bytes(there)
        found = entry(f"{hub}/net.pt", sha256=SHA)
        fetch.fetch(found)
        assert found.place.read_bytes() == CONTENT
        assert Hub.seen[-1][2] == f"bytes={len(there)}-"
        found.place.unlink()


def test_what_has_no_registered_hash_is_noted_and_compared_later(hub: str) -> None:
    Hub.files["/net.pt"] = CONTENT
    found = entry(f"{hub}/net.pt")
    fetch.fetch(found)
    assert found.noted() == {"net.pt": SHA}
    found.place.write_bytes(b"changed")
    assert "sha256" in fetch.verify(found)["net.pt"]
    found.place.unlink()
    Hub.files["/net.pt"] = b"another release"
    with pytest.raises(UserError, match="sha256"):
        fetch.fetch(found)


@pytest.mark.parametrize("inside", ["net.pt", "toy/net.pt", "toy/toy/net.pt"])
def test_an_archive_may_be_a_folder_too_deep(hub: str, home: Path, inside: str) -> None:
    Hub.files["/toy.zip"] = zipped({inside: CONTENT, "../escape.txt": b"x", "toy/other": b"y"})
    found = entry(f"{hub}/toy.zip", sha256=SHA, archive="toy.zip")
    fetch.fetch(found)
    assert found.place.read_bytes() == CONTENT
    assert not list(home.parent.rglob("escape.txt")) and not list(home.rglob("other"))


@pytest.mark.parametrize("content", [b"no zip", None])
def test_an_archive_that_does_not_serve_is_said(hub: str, content: bytes | None) -> None:
    Hub.files["/toy.zip"] = content or zipped({"something": b"else"})
    with pytest.raises(UserError, match="toy.zip (is no zip file|does not hold net.pt)"):
        fetch.fetch(entry(f"{hub}/toy.zip", archive="toy.zip"))


def test_a_wrong_archive_is_not_found_whole_again(hub: str, home: Path) -> None:
    """The next source's is asked for from its beginning, and nothing of either stays."""
    Hub.files["/first/toy.zip"] = zipped({"net.pt": b"another"})
    Hub.files["/second/toy.zip"] = zipped({"net.pt": CONTENT})
    found = entry(f"{hub}/first/toy.zip", f"{hub}/second/toy.zip", sha256=SHA, archive="toy.zip")
    fetch.fetch(found)
    assert found.place.read_bytes() == CONTENT
    assert [asked for _, _, asked in Hub.seen] == [None, None] and not list(home.rglob("*.part"))


def test_what_is_cut_short_is_refused_without_a_hash_too(hub: str) -> None:
    Hub.files["/truncated/net.pt"] = Hub.files["/mirror/net.pt"] = CONTENT
    found = entry(f"{hub}/truncated/net.pt", f"{hub}/mirror/net.pt")
    fetch.fetch(found)
    assert found.place.read_bytes() == CONTENT
    with pytest.raises(UserError, match="cut short"):
        fetch.fetch(replace(entry(f"{hub}/truncated/net.pt"), name="other"))


@pytest.mark.parametrize(
    "name", [n for n, e in registry.entries().items() if e.sources[0].kind == "hf"]
)
def test_every_registered_repository_can_be_fetched(
    name: str, hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the registry has it: settings as small as released ones are, no hash for most of them."""
    real = partial(fetch.hf_hub_download, endpoint=hub, cache_dir=tmp_path / "hub")
    monkeypatch.setattr(fetch, "hf_hub_download", real)
    registered = registry.entry(name)
    last = registered.sources[-1]  # the mirror: the others are gone
    if last.kind != "hf":
        last = registered.sources[0]
    files = [replace(file, sha256=None, bytes=min(file.bytes, 20_000)) for file in registered.files]
    for file in files:
        content = b'{"beta_end": 0.012}' if file.path.endswith(".json") else b"x" * file.bytes
        Hub.files[f"/{last.place}/resolve/{last.revision or 'main'}/{file.path}"] = content
    found = replace(registered, sources=(Source("hf", "me/gone"), last), files=tuple(files))
    fetch.fetch(found)
    assert found.missing() == [] and fetch.verify(found) == {}


@pytest.mark.parametrize("content", [b"<html>", b'{"beta_end": 0.0'])
def test_settings_that_cannot_be_read_are_refused(hub: str, content: bytes) -> None:
    Hub.files["/config.json"] = content
    found = replace(entry(f"{hub}/config.json"), files=(File("config.json", 1000),))
    with pytest.raises(UserError, match="cut short, or no JSON"):
        fetch.fetch(found)


def test_a_copy_cut_short_is_told_and_fetched_again(
    hub: str, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    Hub.files["/net.pt"] = CONTENT
    found = entry(f"{hub}/net.pt")
    monkeypatch.setattr(registry, "entries", lambda: {"toy": found})
    assert _run(monkeypatch, "verify", "toy") == 1  # asked for by name and not there
    (home / "toy").mkdir(parents=True)
    found.place.write_bytes(b"four")
    assert _run(monkeypatch, "verify") == 1
    assert "cut short, of 102 kB there are 0 kB" in capsys.readouterr().out
    fetch.fetch(found)
    assert found.place.read_bytes() == CONTENT and _run(monkeypatch, "verify", "toy") == 0


def test_damaged_notes_are_one_line(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "entries", lambda: {"toy": entry("https://example.org/net.pt")})
    (home / "toy").mkdir(parents=True)
    (home / "toy" / "net.pt").write_bytes(CONTENT)
    (home / "toy" / registry.NOTED).write_text("not json")
    assert "is damaged" in str(_run(monkeypatch, "verify"))


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def test_the_hubs_own_cache_is_used(
    hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library downloads into its cache, where other programs find the file too."""
    Hub.files["/me/toy/resolve/main/net.pt"] = CONTENT
    real = partial(fetch.hf_hub_download, endpoint=hub, cache_dir=tmp_path / "hub")
    monkeypatch.setattr(fetch, "hf_hub_download", real)
    found = replace(entry(sha256=SHA), sources=(Source("hf", "me/gone"), Source("hf", "me/toy")))
    fetch.fetch(found)
    assert found.place.is_symlink() and found.place.read_bytes() == CONTENT
    assert (tmp_path / "hub" / "models--me--toy").is_dir()
    found.place.resolve().write_bytes(b"damaged in the cache")
    found.place.unlink()
    fetch.fetch(found)
    assert found.place.read_bytes() == CONTENT


def test_offline_nothing_is_asked(hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        fetch.fetch(entry(f"{hub}/net.pt"))
    assert Hub.seen == []


def test_missing_weights_say_what_how_large_and_which_command() -> None:
    with pytest.raises(UserError) as caught:
        weights.locate("full:sd21base")
    for said in (
        "Stable Diffusion 2.1-base",
        "5.2 GB",
        "RAIL",
        "diffshortcut.weights fetch sd21base",
    ):
        assert said in str(caught.value)
    with pytest.raises(UserError, match="Did you mean 'sd21base'"):
        weights.locate("full:sd21bas")
    with pytest.raises(UserError, match="antelopev2 has no other.onnx"):
        weights.locate("full:antelopev2/other.onnx")
    with pytest.raises(UserError, match=r"Did you mean 'glintr100.onnx'\? There are: "):
        weights.locate("full:antelopev2/glintr10.onnx")


def test_weights_that_are_there_are_found(home: Path) -> None:
    for file in registry.entry("antelopev2").files:
        (home / "antelopev2").mkdir(parents=True, exist_ok=True)
        (home / "antelopev2" / file.path).write_bytes(b"x")
    assert weights.locate("full:antelopev2") == home / "antelopev2"
    assert weights.locate("full:antelopev2/glintr100.onnx").name == "glintr100.onnx"
    (home / "codeformer").mkdir()
    (home / "codeformer" / "codeformer.pth").write_bytes(b"x")
    assert weights.locate("full:codeformer") == home / "codeformer" / "codeformer.pth"


def test_every_weight_of_the_full_zoo_is_registered() -> None:
    resolved = config.resolve(config.compose(["zoo=full", "attack=easpl", "purifier=gridpure"]))
    named = {v for _, v in config.leaves(resolved) if weights.scheme(v) == "full"}
    assert len(named) > 10
    for reference in named:
        registry.entry(reference.removeprefix("full:").partition("/")[0])


def test_every_entry_says_where_from_and_under_which_licence() -> None:
    for name, found in registry.entries().items():
        assert found.sources and found.files and found.bytes > 1e7, name
        assert found.licence and found.commercial
        for source in found.sources:
            assert source.kind == "hf" or source.place.startswith("https://")
    assert registry.entry("codeformer").commercial == "no"


@pytest.mark.parametrize("what", ["list", "licences", "verify"])
def test_the_command_line(what: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["weights", what])
    with pytest.raises(SystemExit) as ended:
        command.main()
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert "nothing has been fetched" in said if what == "verify" else "S-Lab" in said


def test_verify_fails_for_a_file_that_changed(
    hub: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    Hub.files["/net.pt"] = CONTENT
    found = entry(f"{hub}/net.pt", sha256=SHA)
    monkeypatch.setattr(registry, "entries", lambda: {"toy": found})
    for what, code in (("fetch", 0), ("verify", 0)):
        assert _run(monkeypatch, what, "toy") == code
    found.place.write_bytes(b"changed")
    assert _run(monkeypatch, "verify") == 1
    assert "toy/net.pt: its sha256" in capsys.readouterr().out
    assert "no 'to' in the registry" in str(_run(monkeypatch, "fetch", "to"))


def _run(monkeypatch: pytest.MonkeyPatch, *words: str) -> Any:
    monkeypatch.setattr(sys, "argv", ["weights", *words])
    with pytest.raises(SystemExit) as ended:
        command.main()
    return ended.value.code


def test_an_archive_unpacked_by_hand_may_be_a_folder_too_deep(home: Path) -> None:
    found = registry.entry("antelopev2")
    deep = home / "antelopev2" / "antelopev2"
    deep.mkdir(parents=True)
    for file in found.files:
        (deep / file.path).write_bytes(b"x")
    assert not found.missing()
    assert weights.locate("full:antelopev2/glintr100.onnx") == deep / "glintr100.onnx"
    assert set(fetch.verify(found)) == {"scrfd_10g_bnkps.onnx", "glintr100.onnx"}  # of other bytes


def test_non_commercial_weights_say_so() -> None:
    found = {name: entry.commercial for name, entry in registry.entries().items()}
    assert [name for name, word in found.items() if word == "no"] == [
        "codeformer",
        "antelopev2",
        "vgg_face",
    ]
    assert all(found[name].startswith("unclear") for name in ("retinaface_resnet50", "parsenet"))


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mini zoo of one model of two files, with their sums."""
    files = {"toy/net.onnx": b"net", "toy/config.json": b"{}"}
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    (tmp_path / weights.SUMS).write_text(json.dumps(sums))
    monkeypatch.setattr(weights, "MINI", tmp_path)
    return tmp_path / "toy"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "net.onnx").write_bytes(b"nut"), "net.onnx of mini:toy is not"),
        (lambda folder: (folder / "config.json").unlink(), "config.json of mini:toy is missing"),
    ],
)
def test_damaged_weights_of_the_mini_zoo_are_refused(
    shipped: Path, damage: Callable[[Path], object], said: str
) -> None:
    assert weights.digest("mini:toy") == weights.digest(f"file:{shipped}")
    damage(shipped)
    with pytest.raises(UserError, match=said):
        weights.digest("mini:toy")
    weights.digest(f"file:{shipped}")  # one's own may be anything


def test_fetched_weights_that_have_changed_are_refused(
    hub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Hub.files["/net.pt"] = CONTENT
    found = entry(f"{hub}/net.pt", sha256=SHA)
    monkeypatch.setattr(registry, "entries", lambda: {"toy": found})
    fetch.fetch(found)
    fetched = weights.digest("full:toy")
    (found.folder / "net.pt.part").write_bytes(b"left over")
    (found.folder / registry.NOTED).unlink()
    assert weights.digest("full:toy") == fetched  # of a copy of one's own too
    found.place.write_bytes(b"another")
    for reference in ("full:toy", "full:toy/net.pt"):
        with pytest.raises(UserError, match="is not what it was .*weights fetch toy"):
            weights.digest(reference)
