"""A cell in folders of its own, run in processes that are forked after all imports."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffshortcut.artifacts import artifact
from diffshortcut.job import results
from diffshortcut.result_files import GALLERY, PRINTED, RECORD, ROWS, TABLE

HERE = Path(__file__).parent
TINY = [
    *("attack=photoguard_encoder", "purifier=jpeg", "debug=tiny", "compare.arms=[]"),
    *("logger=none", "runtime.threads=1", "runtime.device=cpu", "checkpoint.minutes=0"),
    *("runtime.store=store", "runtime.outputs=outputs"),
]
ALWAYS = {"patience": {"stale": 2}, "held_out": {"draws": 1}}
COSTS = ("seconds.", "peak_memory")  # of rows that differ from run to run
Payload = dict[str, bytes]


class Forge:
    """The process that forks."""

    def __init__(self) -> None:
        command = [sys.executable, str(HERE / "child.py")]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer()

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request, read its answer."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End it."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout
        return json.loads(self.process.stdout.readline())


@dataclass
class World:
    """A working folder with its store and its outputs."""

    root: Path
    forge: Forge
    overrides: list[str] = field(default_factory=lambda: list(TINY))

    @property
    def store(self) -> Path:
        """The artifacts."""
        return self.root / "store"

    @property
    def outputs(self) -> Path:
        """The results."""
        return self.root / "outputs"

    @property
    def said(self) -> str:
        """All that its processes have printed."""
        log = self.root / "log"
        return log.read_text() if log.is_file() else ""

    def start(self, *more: str, environment: dict[str, str] | None = None, **fault: dict) -> int:
        """Run the cell with a fault; the process id."""
        self.root.mkdir(parents=True, exist_ok=True)
        return self.forge.ask(
            overrides=[*self.overrides, *more],
            cwd=str(self.root),
            log=str(self.root / "log"),
            environment=environment or {},
            fault={**ALWAYS, **fault},
        )["pid"]

    def wait(self, pid: int, seconds: float = 900) -> int | None:
        """The exit code, negative for a signal, None if it had to be killed."""
        return self.forge.ask(wait={"pid": pid, "seconds": seconds})["code"]

    def run(self, *more: str, environment: dict[str, str] | None = None, **fault: dict) -> Any:
        """Run the cell with a fault to its end; the exit code."""
        return self.wait(self.start(*more, environment=environment, **fault))

    def copy(self, root: Path) -> "World":
        """The same in another folder; what is in the store is hard links, never written to."""
        shutil.copytree(self.store, root / "store", copy_function=os.link)
        shutil.copytree(self.outputs, root / "outputs")
        return World(root, self.forge, list(self.overrides))

    def lacking(self, root: Path, *stages: str) -> "World":
        """A copy without its results, and without some stages, or artifacts as <stage>/<key>."""
        world = self.copy(root)
        shutil.rmtree(world.outputs)
        for stage in stages:
            shutil.rmtree(world.store / stage)
        return world

    def stages(self) -> list[Path]:
        """The folders of all complete artifacts."""
        work = {"tmp", "leases", "partial", "quarantine", "grids"}
        return sorted(p for p in self.store.glob("*/*") if p.is_dir() and p.parent.name not in work)

    def payload(self) -> Payload:
        """The bytes of all artifacts, without markers."""
        return {
            path.relative_to(self.store).as_posix(): path.read_bytes()
            for folder in self.stages()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name != artifact.MARKER
        }

    def results(self) -> Payload:
        """The bytes of tables, pictures and scores of all results, without what they cost."""
        found: Payload = {}
        for folder in sorted(self.outputs.glob("*-*")):
            for path in sorted(folder.iterdir()):
                if path.name == ROWS:
                    lines = (json.loads(line) for line in path.read_text().splitlines())
                    rows = [row for row in lines if not row["metric"].startswith(COSTS)]
                    found[f"{folder.name}/rows"] = json.dumps(rows).encode()
                elif path.name in (PRINTED, TABLE, GALLERY):
                    found[f"{folder.name}/{path.name}"] = path.read_bytes()
        return found

    def check_nothing_false(self, truth: Payload) -> None:
        """What is at the place of an artifact verifies and holds the true bytes."""
        for folder in self.stages():
            assert artifact.defect(folder) is None, folder
        payload = self.payload()
        assert payload == {name: truth[name] for name in payload}
        for folder in self.outputs.glob("*-*"):
            if (folder / RECORD).exists():
                assert results.is_complete(folder)

    def check_complete(self, reference: "World") -> None:
        """Artifacts and results are those of an unbroken run, and nothing else lies about."""
        assert self.payload() == reference.payload()
        assert self.results() == reference.results()
        assert all(results.is_complete(folder) for folder in self.outputs.glob("*-*"))
        assert list((self.store / "tmp").glob("*")) == []
        left = {p.name for part in ("partial", "leases") for p in self.store.glob(f"{part}/*-*")}
        assert left <= {"-".join(p.parts[-2:]) for p in self.stages()}  # the next write sweeps
