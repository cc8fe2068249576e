"""The artifact store under kill -9, corruption, competition and full disks."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from diffshortcut.artifacts import artifact, lease, store
from diffshortcut.artifacts.artifact import MARKER, publish
from diffshortcut.artifacts.lease import Lease
from diffshortcut.artifacts.store import Store
from diffshortcut.disk import StoreError, replacing

PAYLOAD = {"a.bin": bytes(range(256)), "images/00.png": b"picture", "images/01.png": b"other"}

CHILD = textwrap.dedent("""
    import os, signal, sys, time
    from pathlib import Path
    from diffshortcut.artifacts.store import Store
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


@pytest.mark.parametrize("place", [".DS_Store", "images/._00.png", ".cache/x"])
def test_what_a_system_hides_in_a_folder_is_no_damage(tmp_path: Path, place: str) -> None:
    folder = Store(tmp_path).write("protect", "k", make)
    (folder / place).parent.mkdir(exist_ok=True)
    (folder / place).write_text("hidden")
    assert Store(tmp_path).find("protect", "k") == folder


@pytest.mark.parametrize(
    ("error", "seen_as"),
    [(PermissionError(errno.EACCES, "denied"), StoreError), (OSError(errno.EIO, "disk"), OSError)],
)
def test_what_cannot_be_read_is_not_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, seen_as: type
) -> None:
    folder = Store(tmp_path).write("protect", "k", make)

    def refuse(_: Path) -> dict:
        error.filename = str(folder / MARKER)
        raise error

    monkeypatch.setattr(artifact, "read_marker", refuse)
    with pytest.raises(seen_as):
        Store(tmp_path).find("protect", "k")
    monkeypatch.undo()
    assert Store(tmp_path).find("protect", "k") == folder


@pytest.mark.parametrize("remade", [True, False])
def test_a_broken_folder_that_another_process_has_moved_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remade: bool
) -> None:
    folder = Store(tmp_path).write("protect", "k", make)
    (folder / "a.bin").write_bytes(b"broken")
    look = store.defect

    def look_then_lose(found: Path) -> str | None:
        monkeypatch.setattr(store, "defect", look)
        reason = look(found)
        shutil.rmtree(found)
        if remade:
            publish(found, make, aside=tmp_path / "aside")
        return reason

    monkeypatch.setattr(store, "defect", look_then_lose)
    assert Store(tmp_path).find("protect", "k") == (folder if remade else None)
    assert not (tmp_path / "quarantine").exists()


def test_two_processes_on_one_key_compute_it_once(tmp_path: Path) -> None:
    children = [child(tmp_path, pause=1.0) for _ in range(2)]
    assert [process.wait() for process in children] == [0, 0]
    assert (tmp_path / "made").read_text() == "x"


def gone() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize("age", [0, lease.STALE + 1])
@pytest.mark.parametrize(
    ("owner", "free"),
    [
        (lambda: {"pid": gone()}, "always"),
        (lambda: {}, "never"),
        (lambda: {"started": None}, "when old"),
        (lambda: {"started": "1"}, "always"),
        (lambda: {"host": "elsewhere"}, "when old"),
        (lambda: {"host": "elsewhere", "pid": gone()}, "when old"),
    ],
    ids=["dead", "alive", "alive, no /proc", "id used again", "elsewhere", "elsewhere, no id"],
)
def test_a_dead_owner_is_replaced_and_a_living_one_is_not(
    tmp_path: Path, age: float, owner: Callable[[], dict], free: str
) -> None:
    path = tmp_path / "lease"
    path.write_text(json.dumps({**json.loads(Lease(path)._text), **owner()}))
    os.utime(path, (time.time() - age,) * 2)
    assert Lease(path).acquire() is (free == "always" or (free == "when old" and age > 0))


def test_a_clock_that_is_ahead_takes_nothing_from_a_living_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another machine, which has just given a sign of life."""
    path = tmp_path / "lease"
    path.write_text(json.dumps({"host": "elsewhere"}))
    now = time.time()
    monkeypatch.setattr(lease.time, "time", lambda: now + 3600)
    assert not Lease(path).acquire()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux tells")
def test_an_owner_that_nobody_waits_for_is_dead(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    zombie = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = {"pid": zombie.pid, "started": lease._started(zombie.pid)}
    path.write_text(json.dumps({**json.loads(Lease(path)._text), **owner}))
    assert not Lease(path).acquire()
    zombie.kill()
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    assert Lease(path).acquire()
    zombie.communicate()


@pytest.mark.parametrize("fails", [True, False])
def test_who_has_lost_the_lease_commits_nothing(tmp_path: Path, fails: bool) -> None:
    """The new owner empties the folder and is not done when the first one is."""
    lease_path, calls = tmp_path / "leases" / "protect-k", []

    def slow(out: Path) -> dict:
        calls.append(out)
        if len(calls) == 1:
            shutil.rmtree(out)
            lease_path.write_text(json.dumps({"host": "elsewhere"}))
            os.utime(lease_path, (time.time() - lease.STALE - 1,) * 2)  # and dies
            if not fails:
                (out / "images").mkdir(parents=True)
            (out / "images" / "01.png").write_bytes(b"other")
            return {}
        assert not (tmp_path / "protect" / "k").exists()
        return make(out)

    folder = Store(tmp_path).write("protect", "k", slow)
    assert payload(folder) == PAYLOAD and len(calls) == 2
    assert not list((tmp_path / "tmp").iterdir()) and not lease_path.exists()


def test_who_has_lost_the_lease_gets_what_the_new_owner_makes(tmp_path: Path) -> None:
    def slow(out: Path) -> dict:
        (tmp_path / "leases" / "protect-k").unlink()
        Store(tmp_path).write("protect", "k", make)
        return {"late": True}

    assert payload(Store(tmp_path).write("protect", "k", slow)) == PAYLOAD
    assert Store(tmp_path).provenance("protect", "k") == {"loss": 1.5}


def test_what_dead_processes_left_of_other_artifacts_is_removed(tmp_path: Path) -> None:
    dead, kept = tmp_path / "tmp" / "score-a-12345678", tmp_path / "tmp" / "score-b-12345678"
    for folder in (dead, kept):
        folder.mkdir(parents=True)
        (folder / "half").write_text("half")
    (tmp_path / "leases").mkdir()
    (tmp_path / "leases" / "score-b").write_text(json.dumps({"host": "elsewhere"}))
    Store(tmp_path).write("protect", "k", make)
    assert list((tmp_path / "tmp").iterdir()) == [kept]


def test_what_is_complete_has_no_partial_state_left(tmp_path: Path) -> None:
    """Its maker was killed just after the commit; what belongs to another one is kept."""
    store = Store(tmp_path)
    store.write("score", "a", make)
    for key in ("a", "b"):
        store.partial("score", key).mkdir(parents=True)
    owner = {**json.loads(Lease(tmp_path / "x")._text), "pid": gone()}
    (tmp_path / "leases" / "score-a").write_text(json.dumps(owner))
    Store(tmp_path).write("protect", "k", make)
    assert list((tmp_path / "partial").iterdir()) == [store.partial("score", "b")]
    assert [p.name for p in (tmp_path / "leases").iterdir()] == [".guard"]


def test_a_state_that_changes_meanwhile_is_no_left_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process has renamed what was just listed."""
    partial = tmp_path / "partial" / "protect-abc"
    partial.mkdir(parents=True)
    monkeypatch.setattr(Path, "rglob", lambda self, pattern: [self / "renamed since"])
    assert not store._forgotten(partial)


def test_a_state_that_nobody_went_on_with_is_removed_after_a_month(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for key, days in (("old", 31), ("fresh", 29)):
        folder = store.partial("protect", key)
        folder.mkdir(parents=True)
        (folder / "state").write_text("half")
        for path in (folder / "state", folder):
            os.utime(path, (time.time() - days * 24 * 3600,) * 2)
    Store(tmp_path).write("score", "k", make)
    assert list((tmp_path / "partial").iterdir()) == [store.partial("protect", "fresh")]


def test_a_stage_on_another_disk_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system at /dev/shm")
    (tmp_path / "protect").symlink_to(elsewhere)
    with pytest.raises(StoreError, match="protect is on another disk than .*tmp"):
        Store(tmp_path).write("protect", "k", lambda out: pytest.fail("it was made"))


def test_a_file_is_hashed_once_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    whole = artifact.sha256
    Store(tmp_path).write("protect", "k", make)
    monkeypatch.setattr(artifact, "sha256", lambda path: [hashed.append(path.name), whole(path)][1])
    folder = [Store(tmp_path).find("protect", "k") for _ in range(3)][0]
    assert sorted(hashed) == sorted(Path(name).name for name in PAYLOAD)
    assert folder is not None
    state = (folder / "a.bin").stat()
    (folder / "a.bin").write_bytes(bytes(reversed(range(256))))
    os.utime(folder / "a.bin", ns=(state.st_atime_ns, state.st_mtime_ns))  # its ctime tells
    assert Store(tmp_path).find("protect", "k") is None


def test_a_disk_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_lock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lease.fcntl, "flock", no_lock)
    with pytest.raises(StoreError, match=f"below {tmp_path} cannot be locked"):
        Store(tmp_path).write("protect", "k", make)


def test_a_clock_that_was_set_back_delays_by_what_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dead owner on another machine has left a sign of life an hour from now."""
    path = tmp_path / "lease"
    path.write_text(json.dumps({"host": "elsewhere"}))
    os.utime(path, (time.time() + 3600,) * 2)
    clock = 1000.0
    monkeypatch.setattr(lease.time, "monotonic", lambda: clock)
    waiting = Lease(path)
    assert not waiting.acquire()
    clock += lease.STALE - 1
    assert not waiting.acquire()
    os.utime(path, (time.time() + 3601,) * 2)  # it lives
    clock += 2
    assert not waiting.acquire()
    clock += lease.STALE + 1
    assert waiting.acquire()


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


def test_a_lost_lease_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT", 0.01)
    lost = Lease(tmp_path / "lease")
    assert lost.acquire()
    with lost:
        lost.path.write_text("another's")
        time.sleep(0.05)  # a beat that was on its way
        os.utime(lost.path, (0, 0))
        time.sleep(0.2)
        assert lost.path.stat().st_mtime == 0
    assert lost.path.read_text() == "another's"


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


def test_who_is_waited_for_is_told_and_not_harmed(tmp_path: Path, caplog: Any) -> None:
    deadly = partial(signal.signal, signal.SIGHUP, signal.SIG_DFL)  # also under nohup
    other = subprocess.Popen(["sleep", "60"], preexec_fn=deadly)  # noqa: PLW1509
    owner = {"pid": other.pid, "started": lease._started(other.pid), "host": lease._host()}
    place = tmp_path / "leases" / "protect-k"
    place.parent.mkdir()
    place.write_text(json.dumps(owner))
    with caplog.at_level("INFO"), ThreadPoolExecutor(1) as pool:
        made = pool.submit(Store(tmp_path).write, "protect", "k", make)
        time.sleep(3 * store.POLL)
        assert not made.done() and other.poll() is None
        other.kill()
        other.wait()
        assert payload(made.result(timeout=20)) == PAYLOAD
    said = [record.getMessage() for record in caplog.records]
    assert said == ["protect-k is being made by another process: waiting for it"]


def test_a_process_of_a_reused_id_is_not_the_owner(tmp_path: Path) -> None:
    owner = {"pid": os.getpid(), "started": "1", "host": lease._host()}
    path = tmp_path / "protect-k"
    path.write_text(json.dumps(owner))
    assert Lease(path).acquire()
    path.write_text(json.dumps({**owner, "started": lease._started(os.getpid())}))
    assert not Lease(path).acquire()
    assert float(lease._started(os.getpid()) or 0) > float(lease._started(1) or 0)


def test_what_was_half_made_of_an_artifact_is_removed_by_who_makes_it(tmp_path: Path) -> None:
    owner = Store(tmp_path)
    assert payload(owner.write("protect", "a", make)) == PAYLOAD  # has swept by now
    half, partial = tmp_path / "tmp" / "protect-k-0", owner.partial("protect", "k")
    for folder in (half, partial):
        folder.mkdir(parents=True)
        (folder / "x").write_text("")

    def seen(out: Path) -> dict[str, Any]:
        assert not half.exists() and partial.exists()
        return make(out)

    owner.write("protect", "k", seen)
    assert not partial.exists()


def test_a_lease_of_what_is_complete_is_removed(tmp_path: Path) -> None:
    Store(tmp_path).write("protect", "k", make)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = tmp_path / "leases" / "protect-k"
    left.write_text(json.dumps({"pid": gone.pid, "started": "1", "host": lease._host()}))
    Store(tmp_path).write("protect", "other", make)
    assert not left.exists()


def test_every_broken_artifact_is_kept_and_told(tmp_path: Path, caplog: Any) -> None:
    owner = Store(tmp_path / "deep" / "store")
    for _ in range(2):
        (owner.write("protect", "k", make) / "a.bin").write_bytes(b"")
        assert owner.find("protect", "k") is None
    assert len(list((owner.root / "quarantine").iterdir())) == 2
    for record in caplog.records:
        place = owner.root / "protect" / "k"
        assert record.getMessage().startswith(f"{place} is broken (changed: a.bin): moved to ")
    assert len(caplog.records) == 2


def test_a_broken_folder_in_the_way_of_a_commit_is_no_first_copy(tmp_path: Path) -> None:
    final = tmp_path / "final"
    final.mkdir()
    (final / "a.bin").write_bytes(b"")
    with pytest.raises(OSError, match="not empty"):
        publish(final, make, aside=tmp_path / "aside")
    assert not (tmp_path / "aside").exists()


def test_a_marker_that_was_changed_says_so(tmp_path: Path) -> None:
    folder = Store(tmp_path).write("protect", "k", make)
    marker = folder / MARKER
    marker.write_text(json.dumps(json.loads(marker.read_text()), sort_keys=True))  # means the same
    assert artifact.read_marker(folder)["provenance"] == {"loss": 1.5}
    marker.write_text(marker.read_text().replace("1.5", "1.6"))
    with pytest.raises(ValueError, match="its marker does not match itself"):
        artifact.read_marker(folder)


def test_an_artifact_in_the_place_of_another_is_broken(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for key in ("a", "b"):

        def named(out: Path, key: str = key) -> dict[str, Any]:
            return {**make(out), "key": key}

        store.write("protect", key, named)
    assert store.find("protect", "a")
    shutil.rmtree(store.path("protect", "a"))
    shutil.copytree(store.path("protect", "b"), store.path("protect", "a"))
    assert store.find("protect", "a") is None and store.find("protect", "b")
    assert len(list((tmp_path / "quarantine").iterdir())) == 1


@pytest.mark.parametrize("text", ["[1]", "3", "{}", '{"files": []}', "[" * 100_000, "\xff"])
def test_a_marker_of_another_form_is_broken(tmp_path: Path, text: str) -> None:
    store = Store(tmp_path)
    marker = store.write("protect", "k", make) / MARKER
    marker.write_text(text, encoding="latin-1")
    assert store.find("protect", "k") is None


def test_what_is_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "protect").write_text("")
    with pytest.raises(StoreError, match=f"cannot use {tmp_path / 'protect'}"):
        Store(tmp_path).write("protect", "k", make)
    (tmp_path / "leases" / "purify-k").mkdir(parents=True)
    with pytest.raises(StoreError, match="cannot use .*purify-k"):
        Store(tmp_path).write("purify", "k", make)


def test_an_unwritable_root_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot use"):
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


@pytest.mark.parametrize("alone", [True, False])
def test_a_file_is_replaced_wholly_or_not(tmp_path: Path, alone: bool) -> None:
    place = tmp_path / "new" / "file.json"
    with replacing(place, alone=alone) as aside:
        aside.write_text("first")
    with pytest.raises(OSError), replacing(place, alone=alone) as aside:
        aside.write_text("hal")
        raise OSError("full")
    assert place.read_text() == "first" and list(place.parent.iterdir()) == [place]
    (place.parent / ".file.json").write_text("of a killed process")
    with replacing(place, alone=alone) as aside:
        aside.write_text("second")
    assert place.read_text() == "second"
    assert len(list(place.parent.iterdir())) == (1 if alone else 2)
