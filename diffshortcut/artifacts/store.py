"""The artifact store: every artifact at its place, written once by whoever asks first."""

import itertools
import logging
import shutil
import time
import uuid
from pathlib import Path
from typing import Any

from diffshortcut.artifacts.artifact import MARKER, Make, defect, publish, read_marker
from diffshortcut.artifacts.lease import Lease, LeaseLostError, guard
from diffshortcut.disk import StoreError, replacing, user_errors

log = logging.getLogger(__name__)
EVICTED = "evicted"  # the folder of the markers of what was removed
POLL = 0.5  # seconds between two looks at an artifact another process makes
FORGOTTEN = 30 * 24 * 3600  # seconds without a change after which a state that was left is removed


class Store:
    """Artifacts at root/<stage>/<key>, written once by whoever asks first."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._swept = False

    def path(self, stage: str, key: str) -> Path:
        """Where the artifact is or will be."""
        return self.root / stage / key

    def partial(self, stage: str, key: str) -> Path:
        """Where the maker of an artifact may keep what it has so far; gone with the commit."""
        return self.root / "partial" / f"{stage}-{key}"

    def find(self, stage: str, key: str) -> Path | None:
        """The artifact's folder if it verifies; a broken one is put into quarantine."""
        folder = self.path(stage, key)
        with user_errors(self.root):
            if folder.is_dir() and defect(folder):
                self._quarantine(folder)
            return folder if folder.is_dir() else None

    def provenance(self, stage: str, key: str) -> dict[str, Any]:
        """What was recorded when the artifact was made."""
        try:
            return read_marker(self.path(stage, key))["provenance"]
        except FileNotFoundError:  # evicted, maybe just now
            return read_marker(self.marker(stage, key).parent)["provenance"]

    def marker(self, stage: str, key: str) -> Path:
        """Where the artifact's marker is or will be; that of an evicted one was kept elsewhere."""
        evicted = self.is_evicted(stage, key)
        return (self._kept if evicted else self.path)(stage, key) / MARKER

    def is_evicted(self, stage: str, key: str) -> bool:
        """Whether it was made, and all but its marker was removed then; a broken one is none."""
        if self.path(stage, key).is_dir():
            return False
        try:
            return bool(read_marker(self._kept(stage, key)))
        except (FileNotFoundError, ValueError):
            return False

    def evict(self, stage: str, key: str) -> None:
        """Remove an artifact, if it is there, but for its marker, which tells what it was."""
        name, folder = f"{stage}-{key}", self.path(stage, key)
        with user_errors(self.root), self._wait_for(name):  # nobody makes it meanwhile
            if not folder.is_dir():
                return
            with replacing(self._kept(stage, key) / MARKER, alone=True) as aside:
                shutil.copyfile(folder / MARKER, aside)
            gone = self._aside(name)
            folder.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)

    def write(self, stage: str, key: str, make: Make) -> Path:
        """The artifact's folder, made by `make` unless it is there; one writer per key."""
        name = f"{stage}-{key}"
        with user_errors(self.root):
            self._check_one_disk(stage)
            self._sweep()
            while True:
                try:
                    with self._wait_for(name) as lease:
                        return self.find(stage, key) or self._make(
                            lease, self.path(stage, key), make
                        )
                except LeaseLostError:
                    log.warning("%s was taken over by another process: ours is dropped", name)

    def _check_one_disk(self, stage: str) -> None:
        """StoreError before anything is computed that could not be moved to its place."""
        folder, aside = self.root / stage, self.root / "tmp"
        aside.mkdir(parents=True, exist_ok=True)
        if folder.is_dir() and folder.stat().st_dev != aside.stat().st_dev:
            raise StoreError(
                f"{folder} is on another disk than {aside}, where it is made before it is moved:"
                " put the whole store there (runtime.store=...)"
            )

    def _wait_for(self, name: str) -> Lease:
        lease = self._lease(name)
        for attempt in itertools.count():
            if lease.acquire():
                break
            if attempt == 0:
                log.info("%s is being made by another process: waiting for it", name)
            time.sleep(POLL)
        return lease

    def _make(self, lease: Lease, final: Path, make: Make) -> Path:
        name = lease.path.name
        for left_over in (self.root / "tmp").glob(f"{name}-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        aside = self._aside(name)
        try:
            made = publish(final, make, aside=aside, committing=lease.kept)
            shutil.rmtree(self.root / "partial" / name, ignore_errors=True)
            return made
        except Exception as error:
            if not lease.held():  # then the new owner has emptied our folder: no fault of `make`
                raise LeaseLostError(name) from error
            raise

    def _kept(self, stage: str, key: str) -> Path:
        """Where the marker of an evicted artifact is or will be."""
        return self.root / EVICTED / stage / key

    def _aside(self, name: str) -> Path:
        """A new place on the same disk, swept if it is left there."""
        return self.root / "tmp" / f"{name}-{uuid.uuid4().hex[:8]}"

    def _sweep(self) -> None:
        """Once: remove what processes that are gone have left of any artifact.

        The state of an attack or training is kept for whoever goes on with it, but not for ever:
        after a change of its config or code nobody asks for it any more.
        """
        if self._swept:
            return
        self._swept = True
        left_overs = {p: p.name.rpartition("-")[0] for p in (self.root / "tmp").glob("*-*")}
        left_overs |= {p: p.name for p in (self.root / "partial").glob("*-*") if _forgotten(p)}
        for part in ("partial", "leases"):  # of what is complete: killed just after the commit
            left_overs |= {p: p.name for p in (self.root / part).glob("*-*") if self._has(p.name)}
        for left_over, name in left_overs.items():
            lease = self._lease(name)
            if lease.acquire():
                with lease:
                    shutil.rmtree(left_over, ignore_errors=True)

    def _has(self, name: str) -> bool:
        stage, _, key = name.partition("-")
        return self.path(stage, key).is_dir()

    def _lease(self, name: str) -> Lease:
        return Lease(self.root / "leases" / name)

    def _quarantine(self, folder: Path) -> None:
        """Move a broken folder away, unless another process has done so and maybe remade it."""
        quarantine = self.root / "quarantine"
        with guard(self.root / "leases"):  # nothing is committed meanwhile
            if folder.is_dir() and (reason := defect(folder)):
                quarantine.mkdir(parents=True, exist_ok=True)
                place = quarantine / f"{folder.parent.name}-{folder.name}-{uuid.uuid4().hex[:8]}"
                log.warning("%s is broken (%s): moved to %s", folder, reason, place)
                folder.rename(place)


def _forgotten(folder: Path) -> bool:
    """Whether nothing in it was written for a month."""
    try:
        written = [path.stat().st_mtime for path in (folder, *folder.rglob("*"))]
    except FileNotFoundError:  # somebody is at work there
        return False
    return time.time() - max(written) > FORGOTTEN
