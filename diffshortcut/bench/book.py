"""The file of a part: a line that describes the machine, then a line per job with its records."""

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import diffshortcut
from diffshortcut.artifacts import provenance
from diffshortcut.bench.records import Record, from_plain, to_plain

PASSING = ("git", "started", "load")  # what does not make it another measurement


class Book:
    """What was measured of a part so far; of another source or machine nothing is kept."""

    def __init__(self, path: Path, *, threads: int, anew: bool = False) -> None:
        self.path = path
        self.machine = machine(threads)
        self.done: dict[str, list[Record]] = {}
        found = None if anew else read(path)
        if found and _lasting(found[0]) == _lasting(self.machine):
            self.machine, self.done = found
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [{"machine": self.machine}, *map(_line, self.done, self.done.values())]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def add(self, job: str, records: Sequence[Record]) -> None:
        """Keep what a job has found."""
        self.done[job] = list(records)
        with self.path.open("a") as file:
            file.write(json.dumps(_line(job, records), allow_nan=False) + "\n")


def read(path: Path) -> tuple[dict[str, Any], dict[str, list[Record]]] | None:
    """Machine and jobs of a part's file; what was cut off by a kill is left out."""
    if not path.is_file():
        return None
    *whole, _ = path.read_text().split("\n")
    lines = [json.loads(line) for line in whole]
    if not lines or "machine" not in lines[0]:
        return None
    jobs = {line["job"]: [from_plain(one) for one in line["records"]] for line in lines[1:]}
    return lines[0]["machine"], jobs


def machine(threads: int) -> dict[str, Any]:
    """Versions and processor, cores, memory, threads, how busy it is, the source measured."""
    return {
        **provenance.environment(),
        "cores": os.cpu_count(),
        "memory": provenance.machine_memory() or 0,
        "threads": threads,
        "load": os.getloadavg(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "source": _source(),
    }


def described(found: Mapping[str, Any]) -> str:
    """A machine in one line."""
    packages = ", ".join(f"{name} {found['packages'][name]}" for name in ("torch", "diffusers"))
    load = found["load"][0]
    return (
        f"{found['processor']}, {found['cores']} cores, {found['memory'] / 1e9:.0f} GB, threads:"
        f" {found['threads']}, load average {load:.1f} at the start ({found['started']}),"
        f" {packages}, Python {found['python']}"
    )


def _line(job: str, records: Sequence[Record]) -> dict[str, Any]:
    return {"job": job, "records": [to_plain(record) for record in records]}


def _lasting(found: Mapping[str, Any]) -> dict[str, Any]:
    plain = json.loads(json.dumps(found))
    return {key: value for key, value in plain.items() if key not in PASSING}


def _source() -> str:
    root, total = Path(diffshortcut.__file__).parent, hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        total.update(f"{file.relative_to(root)}\0".encode() + file.read_bytes())
    return total.hexdigest()[:16]
