"""Export: what was learned, as a pipeline that plain diffusers reads; nothing is overwritten."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline

from diffshortcut import export
from diffshortcut.artifacts.store import Store
from diffshortcut.errors import UserError
from diffshortcut.job import command
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.pictures import images
from diffshortcut.seeding import Draws

DRAWS = Draws(0, "export", "nobody")
PEOPLE = ["anna", "berta"]


@pytest.fixture
def overrides(tiny_ldm_folder: Path, tmp_path: Path) -> list[str]:
    """A command line about two people."""
    for name in PEOPLE:
        pictures = DRAWS.uniform(name, (3, 32, 32), 4)
        images.write_folder(tmp_path / "people" / name, pictures, [f"{i}.png" for i in range(4)])
    return [
        f"model.weights=file:{tiny_ldm_folder}",
        "data=folder",
        f"data.root={tmp_path / 'people'}",
        "data.people=2",
        f"runtime.store={tmp_path / 'store'}",
        "logger=none",
    ]


def train(overrides: list[str], model: LatentDiffusion, people: list[str] = PEOPLE) -> None:
    """Put into the store what a run would, a model for each person that is not the base."""
    comparison = command.comparison(overrides)
    store = Store(Path(comparison.config["runtime"]["store"]))
    for number, person in enumerate(people, 1):
        task = comparison.cells[comparison.arms[-1].name][person]["personalize"]

        def make(out: Path, shift: float = 0.01 * number) -> dict:
            twin = model.copy()
            for parameter in twin.trainable_parameters():
                parameter.data += shift
            twin.save(out)
            return {}

        store.write(task.stage, task.key, make)


@torch.no_grad()
def outputs(unet: torch.nn.Module, context: torch.Tensor) -> torch.Tensor:
    z = DRAWS.normal("z", (4, 4, 4), 2)
    return unet(z, torch.tensor([10, 600]), encoder_hidden_states=context).sample


def test_plain_diffusers_reads_what_was_learned(
    overrides: list[str], model: LatentDiffusion, tmp_path: Path
) -> None:
    train(overrides, model)
    out = tmp_path / "out"
    assert export.export(overrides, out) == [out / name for name in PEOPLE]
    found = []
    for name in PEOPLE:
        pipe = StableDiffusionPipeline.from_pretrained(out / name, local_files_only=True)
        facts = json.loads((out / name / "complete.json").read_text())["provenance"]
        tuned = model.with_weights(tmp_path / "store" / "personalize" / facts["personalize"])
        context, _ = pipe.encode_prompt("a photo", "cpu", 2, do_classifier_free_guidance=False)
        ours = tuned.encode_prompt(["a photo"]).expand(2, -1, -1)
        torch.testing.assert_close(context, ours)
        found.append(outputs(pipe.unet, context))
        torch.testing.assert_close(found[-1], outputs(tuned.unet, ours))
        assert isinstance(pipe.scheduler, DDIMScheduler) and pipe.safety_checker is None
        assert pipe.scheduler.config.prediction_type == "epsilon"
        texts = [path.read_text() for path in (out / name).rglob("*config.json")]
        assert len(texts) == 5 and not any(str(tmp_path.parent) in text for text in texts)
    base = outputs(model.unet, model.encode_prompt(["a photo"]).expand(2, -1, -1))
    assert not torch.allclose(found[0], found[1]) and not torch.allclose(found[0], base)
    assert sorted(path.name for path in out.iterdir()) == PEOPLE  # nothing is left beside


def test_a_model_that_was_not_trained_names_the_command(
    overrides: list[str], model: LatentDiffusion, tmp_path: Path
) -> None:
    train(overrides, model, ["anna"])
    with pytest.raises(UserError, match="personalize berta .* is not in .*\n  python -m diffshort"):
        export.export(overrides, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten_unasked(
    overrides: list[str], model: LatentDiffusion, tmp_path: Path
) -> None:
    overrides = [*overrides, "data.people=1"]
    train(overrides, model, ["anna"])
    out = tmp_path / "out"
    (out / "anna").mkdir(parents=True)
    (out / "anna" / "mine.txt").write_text("mine")
    for overwrite, said in ((False, "--overwrite replaces it"), (True, "is no pipeline")):
        with pytest.raises(UserError, match=said):
            export.export(overrides, out, overwrite=overwrite)
    assert (out / "anna" / "mine.txt").read_text() == "mine"
    (out / "anna" / "model_index.json").write_text("{}")  # an old pipeline
    export.export(overrides, out, overwrite=True)
    assert "_class_name" in (out / "anna" / "model_index.json").read_text()
    assert [path.name for path in out.iterdir()] == ["anna"]
    assert not (out / "anna" / "mine.txt").exists()


def test_help_is_given_and_an_unknown_option_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["export", "--help"])
    export.main()
    assert "--overwrite replaces such a folder" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["export", "attack=none", "--overwrit", "out"])
    with pytest.raises(SystemExit, match="no option '--overwrit'. Did you mean '--overwrite'"):
        export.main()


def test_an_export_that_fails_leaves_the_old_one(
    overrides: list[str], model: LatentDiffusion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = [*overrides, "data.people=1"]
    train(overrides, model, ["anna"])
    (old,) = export.export(overrides, tmp_path / "out")
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    monkeypatch.setattr(export, "pipeline", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export.export(overrides, tmp_path / "out", overwrite=True)
    assert before == {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["anna"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "usage: "),
        (["attack=none"], "usage: "),
        (["attack=asp", "OUT"], "Did you mean 'aspl'?"),
        (["stages=protect", "attack=aspl", "OUT"], "nobody is personalized"),
    ],
)
def test_mistakes_are_one_line(words: list[str], said: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "diffshortcut.export", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
