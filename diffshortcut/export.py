"""`python -m diffshortcut.export attack=metacloak purifier=ours OUT`: tuned models as pipelines.

Takes the arguments of `diffshortcut.run` and computes nothing but `crop`: what the command line's
own arm has learned of each person is taken from the store and written to OUT/<person>, a folder
that `diffusers.StableDiffusionPipeline.from_pretrained` reads. --overwrite replaces such a folder.
"""

import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

from diffshortcut.artifacts.artifact import publish
from diffshortcut.artifacts.store import Store
from diffshortcut.config import catalog, config, usage
from diffshortcut.disk import check_writable, user_errors
from diffshortcut.errors import UserError
from diffshortcut.graph.cells import Task
from diffshortcut.job import command

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

    from diffshortcut.models.ldm import LatentDiffusion

OVERWRITE = "--overwrite"
KEPT = "runtime.largest_kept=null"  # how a large model is kept
INDEX = "model_index.json"  # every pipeline folder has one
USAGE = "usage: python -m diffshortcut.export [--overwrite] <arguments of diffshortcut.run> OUT"


def export(overrides: Sequence[str], out: Path, *, overwrite: bool = False) -> list[Path]:
    """Write OUT/<person> for everyone of a command line; the folders.

    UserError, before anything is written, if somebody's model has not been trained, or if a folder
    is there that may not be replaced.
    """
    comparison = command.comparison(overrides)
    store = Store(Path(comparison.config["runtime"]["store"]))
    cells = comparison.cells[comparison.own.name]
    tasks = {out / person: _personalized(cell, store, overrides) for person, cell in cells.items()}
    for folder in tasks:
        _check_free(folder, overwrite)
    check_writable(out)
    base = config.build(comparison.config["trainer"]["model"], "model")
    for folder, task in tasks.items():
        tuned = base.with_weights(store.path(task.stage, task.key))
        with user_errors(out):
            publish(
                folder,
                partial(_save, tuned, {"personalize": task.key, "config": task.config}),
                aside=_beside(folder),
                committing=partial(_replacing, folder),
            )
    return list(tasks)


def pipeline(model: "LatentDiffusion") -> "StableDiffusionPipeline":
    """The model as diffusers runs it, with its own solver and without a safety checker."""
    import diffusers

    solver = getattr(diffusers, model.solver)
    return diffusers.StableDiffusionPipeline(
        vae=model.vae,
        text_encoder=model.text_encoder,
        tokenizer=model.tokenizer,
        unet=model.unet,
        scheduler=solver.from_config(model.scheduler.config),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _personalized(cell: Mapping[str, Task], store: Store, overrides: Sequence[str]) -> Task:
    task = cell.get("personalize")
    if task is None:
        raise UserError(
            "nobody is personalized with stages=protect, with stages=purify or where all metrics"
            " look at pictures alone: leave it out, or add metric=ims"
        )
    if not store.find(task.stage, task.key):
        command = usage.command([*catalog.adopted(), *overrides, KEPT])
        raise UserError(f"{task.title} is not in {store.root}: it is made by\n  {command}")
    return task


def _check_free(folder: Path, overwrite: bool) -> None:
    if not folder.exists():
        return
    if not overwrite:
        raise UserError(f"{folder} is there already: --overwrite replaces it")
    if not (folder / INDEX).is_file():
        raise UserError(f"{folder} is no pipeline (it has no {INDEX}) and is not replaced")


def _save(model: "LatentDiffusion", facts: dict[str, Any], folder: Path) -> dict[str, Any]:
    for net in (model.vae, model.unet):
        net.register_to_config(_name_or_path="")  # not where it came from
    pipeline(model).save_pretrained(folder)
    return facts


@contextmanager
def _replacing(folder: Path) -> Iterator[None]:
    """Move what is at `folder` away while another is put there; back if that fails."""
    old = _beside(folder)
    if not folder.exists():
        yield
        return
    folder.rename(old)
    try:
        yield
    except BaseException:
        old.rename(folder)
        raise
    rmtree(old, ignore_errors=True)


def _beside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}")


def main() -> None:
    """Export what a command line names."""
    words, overwrite = [word for word in sys.argv[1:] if word != OVERWRITE], OVERWRITE in sys.argv
    if usage.FOR_HELP & set(words):
        print(__doc__)
        return
    with usage.one_line(words):
        usage.check_flags(words, [OVERWRITE, *sorted(usage.FOR_HELP)])
        if not words or "=" in words[-1]:
            sys.exit(USAGE)
        for folder in export(catalog.adopt(words[:-1]), Path(words[-1]), overwrite=overwrite):
            print(folder)


if __name__ == "__main__":
    main()
