"""Fetching weights: the first source that has them, resumed where it stopped, checked by hash."""

import hashlib
import json
import logging
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.file_download import http_get

from diffshortcut.disk import NO_SPACE, replacing, sha256
from diffshortcut.errors import UserError
from diffshortcut.units import size
from diffshortcut.weights.registry import NOTED, Entry, File, Source

log = logging.getLogger(__name__)
PART = ".part"  # of a file that is not whole yet
LEAST = 0.9  # of the registered size, which is rounded where no hash is known
NOTHING_LEFT = 416  # the status for a range that begins where the file ends


class WrongFileError(Exception):
    """A file is not what it should be."""


def fetch(entry: Entry) -> None:
    """Bring what is missing; UserError naming every source and why it did not serve."""
    for file in entry.files:
        place = entry.path(file)
        if not place.is_file() or (entry.expected(file) is None and defect(file, place)):
            _bring(entry, file)
    if entry.archive is not None:  # all that is wanted of it is there
        for source in entry.sources:
            _archive(source, entry).unlink(missing_ok=True)


def verify(entry: Entry) -> dict[str, str]:
    """What is wrong with each file that is: missing, cut short, of another hash than known."""
    found = {file.path: _fault(entry, file) for file in entry.files}
    return {path: reason for path, reason in found.items() if reason}


def _fault(entry: Entry, file: File) -> str | None:
    place, expected = entry.path(file), entry.expected(file)
    if not place.is_file():
        return "missing"
    if expected is None:  # a copy of the user's own
        return defect(file, place)
    same = sha256(place) == expected
    return None if same else "its sha256 is not the one registered, or noted when fetched"


def defect(file: File, place: Path) -> str | None:
    """What shows that a file of which no hash is known is not whole.

    The registered sizes of settings are guesses; that they can be read says more.
    """
    if file.path.endswith(".json"):
        try:
            json.loads(place.read_bytes())
        except ValueError:
            return "cut short, or no JSON"
    elif place.stat().st_size < LEAST * file.bytes:
        return f"cut short, of {size(file.bytes)} there are {size(place.stat().st_size)}"
    return None


def _bring(entry: Entry, file: File) -> None:
    refused = []
    for source in entry.sources:
        try:
            got = _from(source)(source, entry, file)
            _accept(entry, file, got)
            return
        except Exception as error:  # of many libraries' kinds; the next source may serve
            if isinstance(error, WrongFileError) and entry.archive is not None:
                _archive(source, entry).unlink(missing_ok=True)  # it would be found whole again
            if getattr(error, "errno", None) in NO_SPACE:
                raise UserError(f"no space left for {file.path} in {entry.folder}") from error
            reason = str(error).strip().splitlines()
            refused.append(f"{source}: {reason[0] if reason else type(error).__name__}")
            log.warning("%s of %s: %s", file.path, entry.name, refused[-1])
    offline = " HF_HUB_OFFLINE is set." if constants.HF_HUB_OFFLINE else ""
    listed = "; ".join(refused)
    raise UserError(
        f"{file.path} of {entry.name}: no source has it.{offline} Tried: {listed}. With a copy of"
        f" your own, put it at {entry.folder / file.path}"
    )


def _from(source: Source) -> Callable[[Source, Entry, File], Path]:
    return _from_hub if source.kind == "hf" else _from_address


def _from_hub(source: Source, entry: Entry, file: File) -> Path:
    """From the hub or its cache, which other programs share; a link is enough."""
    cached = hf_hub_download(source.place, file.path, revision=source.revision)
    if entry.expected(file) not in (None, sha256(Path(cached))):  # the cache may be damaged
        cached = hf_hub_download(
            source.place, file.path, revision=source.revision, force_download=True
        )
    place = entry.folder / f"{file.path}{PART}"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    place.symlink_to(Path(cached).resolve())
    return place


def _from_address(source: Source, entry: Entry, file: File) -> Path:
    """From an address, which is that of the file or of the archive that holds it."""
    if entry.archive is None:
        return _download(source.place, entry.folder / f"{file.path}{PART}")
    archive = _download(source.place, _archive(source, entry))
    return _unpacked(archive, entry.folder / f"{file.path}{PART}", file.path)


def _archive(source: Source, entry: Entry) -> Path:
    """Where an archive is kept while it is not whole, for each source its own."""
    which = hashlib.sha256(source.place.encode()).hexdigest()[:8]
    return entry.folder / f"{which}-{entry.archive}{PART}"


def _download(address: str, part: Path) -> Path:
    """Add what is missing to `part`."""
    if constants.HF_HUB_OFFLINE:
        raise OSError("not asked: HF_HUB_OFFLINE is set")
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.open("ab") as stream:
        try:
            http_get(address, stream, resume_size=stream.tell(), displayed_filename=part.stem)
        except HfHubHTTPError as error:
            if error.response.status_code != NOTHING_LEFT or not stream.tell():
                raise
        stream.flush()
        os.fsync(stream.fileno())
    return part


def _unpacked(archive: Path, part: Path, name: str) -> Path:
    """The file of that name, however deep it lies; nothing else is written."""
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [m for m in opened.namelist() if m.rpartition("/")[2] == name]
            if not members:
                raise WrongFileError(f"{archive.stem} does not hold {name}")
            with opened.open(members[0]) as stream, part.open("wb") as target:
                shutil.copyfileobj(stream, target)
    except zipfile.BadZipFile as error:
        archive.unlink()
        raise WrongFileError(f"{archive.stem} is no zip file") from error
    return part


def _accept(entry: Entry, file: File, part: Path) -> None:
    """Check it, note its hash and give it its name; what is wrong is removed."""
    found = sha256(part)
    expected = entry.expected(file)
    if expected is not None and found != expected:
        part.unlink()
        raise WrongFileError(f"sha256 {found[:12]}... instead of {expected[:12]}...")
    if expected is None and (reason := defect(file, part)):
        part.unlink()
        raise WrongFileError(reason)
    with replacing(entry.folder / NOTED) as noted:
        noted.write_text(json.dumps(entry.noted() | {file.path: found}, indent=1) + "\n")
    part.replace(entry.folder / file.path)
