"""The artifact store under kill -9, corruption, competition and full disks."""

import errno
import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from diffshortcut import lease
from diffshortcut.lease import Lease
from diffshortcut.store import MARKER, Store, StoreError, publish

PAYLOAD = {"a.bin": bytes(range(256)), "images/00.png": b"picture", "images/01.png": b"other"}

CHILD = textwrap.dedent("""
    import os, signal, sys, time
    from pathlib import Path
    from diffshortcut.store import Store
    root, die_at, pause = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    calls = 0

    def dying(function):
        def call(*args, **kwargs):
            global calls
            calls += 1
            if calls == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)
        return call

    def make(out):
        (root / "made").open("a").write("x")
        time.sleep(pause)
        (out / "a.bin").write_bytes(bytes(range(256)))
        (out / "images").mkdir()
        (out / "images" / "00.png").write_bytes(b"picture")
        dying(lambda: None)()
        (out / "images" / "01.png").write_bytes(b"other")
        return {"loss": 1.5}

    os.fsync, os.rename, os.open = dying(os.fsync), dying(os.rename), dying(os.open)
    Store(root).write("protect", "k", make)
""")


def make(out: Path) -> dict:
    for name, content in PAYLOAD.items():
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(content)
    return {"loss": 1.5}


def payload(folder: Path) -> dict[str, bytes]:
    files = [p for p in folder.rglob("*") if p.is_file() and p.name != MARKER]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def child(root: Path, die_at: int = 0, pause: float = 0.0) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", CHILD, str(root), str(die_at), str(pause)])


def test_write_then_find(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.find("protect", "k") is None
    folder = store.write("protect", "k", make)
    assert folder == tmp_path / "protect" / "k" == store.find("protect", "k")
    assert payload(folder) == PAYLOAD
    assert store.provenance("protect", "k") == {"loss": 1.5}
    assert not list((tmp_path / "tmp").iterdir())
    assert [p.name for p in (tmp_path / "leases").iterdir()] == [".guard"]


def test_an_artifact_is_made_once(tmp_path: Path) -> None:
    calls = []
    for _ in range(2):
        Store(tmp_path).write("protect", "k", lambda out: calls.append(make(out)) or {})
    assert len(calls) == 1


@pytest.mark.parametrize("die_at", [1, 2, 3, 4, 8, 9, 10, 14, 15, 16, 17])
def test_killed_anywhere_it_resumes_to_the_same_payload(tmp_path: Path, die_at: int) -> None:
    assert child(tmp_path, die_at).wait() == -9
    store = Store(tmp_path)
    assert (store.find("protect", "k") is not None) is (die_at > 15)  # 15 is the rename
    start = time.monotonic()
    assert payload(store.write("protect", "k", make)) == PAYLOAD
    assert time.monotonic() - start < 5
    assert not list((tmp_path / "tmp").iterdir())
    assert not (tmp_path / "quarantine").exists()


def test_a_lease_without_a_name_in_it_is_freed_by_age(tmp_path: Path) -> None:
    path = tmp_path / "leases" / "protect-k"
    path.parent.mkdir()
    path.touch()
    assert not Lease(path).acquire()
    os.utime(path, (time.time() - lease.STALE - 1,) * 2)
    assert payload(Store(tmp_path).write("protect", "k", make)) == PAYLOAD


@pytest.mark.parametrize(
    "damage",
    [
        lambda f: (f / "a.bin").write_bytes(bytes([1, *range(1, 256)])),
        lambda f: (f / "a.bin").write_bytes(bytes(range(255))),
        lambda f: (f / "images" / "00.png").unlink(),
        lambda f: (f / "images" / "02.png").write_bytes(b"extra"),
        lambda f: (f / MARKER).unlink(),
        lambda f: (f / MARKER).write_text((f / MARKER).read_text()[:-9]),
        lambda f: (f / MARKER).write_text((f / MARKER).read_text().replace("1.5", "1.6")),
    ],
    ids=["bit flip", "truncated", "deleted", "extra", "no marker", "half marker", "marker flip"],
)
def test_damage_is_quarantined_and_recomputed(tmp_path: Path, damage) -> None:  # noqa: ANN001
    store = Store(tmp_path)
    damage(store.write("protect", "k", make))
    assert store.find("protect", "k") is None
    assert len(list((tmp_path / "quarantine").iterdir())) == 1
    assert payload(store.write("protect", "k", make)) == PAYLOAD


def test_two_processes_on_one_key_compute_it_once(tmp_path: Path) -> None:
    children = [child(tmp_path, pause=1.0) for _ in range(2)]
    assert [process.wait() for process in children] == [0, 0]
    assert (tmp_path / "made").read_text() == "x"


def test_a_dead_owner_is_replaced_and_a_living_one_is_not(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    path = tmp_path / "lease"
    here = json.loads(Lease(path)._text)
    for owner, free in [
        ({**here, "pid": dead.pid}, True),
        ({**here, "pid": os.getppid()}, False),
        ({**here, "host": "elsewhere", "pid": dead.pid}, False),
    ]:
        path.write_text(json.dumps(owner))
        assert Lease(path).acquire() is free
    os.utime(path, (time.time() - lease.STALE - 1,) * 2)
    assert Lease(path).acquire()


def test_the_owner_gives_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT", 0.01)
    owned = Lease(tmp_path / "lease")
    assert owned.acquire()
    os.utime(owned.path, (0, 0))
    with owned:
        deadline = time.monotonic() + 5
        while owned.path.stat().st_mtime == 0:
            assert time.monotonic() < deadline
    assert not owned.path.exists()


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "full"), RuntimeError("I/O error: No space left on device")]
)
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, error: Exception) -> None:
    def fill(out: Path) -> dict:
        (out / "half").write_text("half")
        raise error

    with pytest.raises(StoreError, match="no space left"):
        Store(tmp_path).write("protect", "k", fill)
    assert not list((tmp_path / "tmp").iterdir())
    assert not (tmp_path / "protect").exists()
    assert not (tmp_path / "leases" / "protect-k").exists()


def test_an_unwritable_root_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write to"):
        Store(tmp_path / "file").write("protect", "k", make)


def test_an_error_of_the_stage_passes_through(tmp_path: Path) -> None:
    def fail(out: Path) -> dict:
        raise FileNotFoundError(errno.ENOENT, "gone", "/somewhere")

    with pytest.raises(FileNotFoundError):
        Store(tmp_path).write("protect", "k", fail)
    assert not (tmp_path / "leases" / "protect-k").exists()


def test_nan_never_reaches_a_record(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        Store(tmp_path).write("protect", "k", lambda out: {"loss": float("nan")})
    assert Store(tmp_path).find("protect", "k") is None


def test_a_second_writer_drops_its_copy(tmp_path: Path) -> None:
    final = tmp_path / "protect" / "k"
    publish(final, make, aside=tmp_path / "one")
    publish(final, lambda out: {"late": True}, aside=tmp_path / "two")
    assert payload(final) == PAYLOAD
    assert not (tmp_path / "two").exists()
