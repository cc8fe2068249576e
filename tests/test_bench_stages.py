"""Plain training, sampling and scoring give what our stages give, and waste what they say."""

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_zoo
import torch
from PIL import Image

from diffshortcut.bench import published_metrics, published_sampling
from diffshortcut.bench.counts import Counts, counting
from diffshortcut.bench.published_training import PlainTraining, dreambooth
from diffshortcut.config import config
from diffshortcut.config.schema import own
from diffshortcut.data import portraits
from diffshortcut.data.person import Person
from diffshortcut.dreambooth import Posterior, Settings, Training
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.pictures.images import quantize, read_files, write_folder
from diffshortcut.samplers.classifier_free import ClassifierFree
from diffshortcut.seeding import Draws
from diffshortcut.stages import score
from diffshortcut.stages.inputs import Inputs
from diffshortcut.trainers.dreambooth import DreamBooth

DRAWS = Draws(seed=0, stage="bench", person="nobody")
PERSON, CLASS = "a photo of sks person", "a photo of person"
RATE = 1e-4


@pytest.fixture(scope="module")
def person() -> Person:
    return portraits.people(people=1)[0]


def trainer(model: LatentDiffusion, **changes: Any) -> DreamBooth:
    values = {"instance_batch": 3, "prior_batch": 2, "prior_weight": 0.5, "steps": 4}
    prompts = {"instance_prompt": PERSON, "class_prompt": CLASS}
    return DreamBooth(model=model, learning_rate=RATE, **{**prompts, **values, **changes})


def vector(model: LatentDiffusion) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.trainable_parameters()])


@pytest.mark.parametrize("changes", [{}, {"instance_batch": 1, "prior_batch": 1}])
def test_the_plain_loop_trains_the_same_weights(
    changes: dict[str, int], model: LatentDiffusion
) -> None:
    images, prior = tiny_zoo.pictures(4, seed=1), tiny_zoo.pictures(5, seed=2)
    made = trainer(model, **changes)
    plain, ours = dreambooth(made, images, prior, DRAWS), made(images, prior, DRAWS)
    far, moved = (vector(plain) - vector(one) for one in (ours, model))
    assert moved.abs().mean() > RATE
    # where a gradient is next to nothing AdamW makes a step of its rounding
    assert (far.abs() < 0.01 * RATE).float().mean() > 0.999
    assert far.norm() < 0.01 * moved.norm()


def test_what_a_step_computes(model: LatentDiffusion) -> None:
    """Pictures encoded and prompts embedded every step, or pictures once and each prompt once."""
    images, prior = tiny_zoo.pictures(4, seed=1), tiny_zoo.pictures(5, seed=2)
    plain = PlainTraining(trainer(model), images, prior, DRAWS)
    theirs, ours = Counts(), Counts()
    with counting(theirs):
        plain.step()
    settings = Settings(
        instance_prompt=PERSON,
        class_prompt=CLASS,
        learning_rate=RATE,
        instance_batch=3,
        prior_batch=2,
    )
    training = Training(model, settings, Posterior.of(model, prior), DRAWS)
    posterior = Posterior.of(model, images)
    with counting(ours):
        training.train(posterior, 1)
    assert (theirs.texts, theirs.encoded, theirs.denoised, theirs.denoised_back) == (5, 5, 5, 5)
    assert (ours.texts, ours.encoded, ours.denoised, ours.denoised_back) == (2, 0, 5, 5)
    assert theirs.copies == ours.copies == 0 and theirs.flops > ours.flops


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("negative", ["", "noisy"])
def test_the_pipeline_makes_the_same_pictures(
    batched: bool, negative: str, model: LatentDiffusion, tmp_path: Path
) -> None:
    sampler = ClassifierFree(
        model=model,
        prompts=[PERSON, CLASS],
        images=3,
        steps=3,
        guidance=4,
        negative_prompt=negative,
    )
    method = published_sampling.whole_prompts if batched else published_sampling.one_by_one
    counts, mine = Counts(), Counts()
    with counting(counts, operations=False):
        written = method(sampler, model, DRAWS, tmp_path)
    with counting(mine, operations=False):
        ours = torch.cat(sampler(model, DRAWS))
    assert [path.name for path in written] == [f"{p}-{s:02d}.png" for p in (0, 1) for s in range(3)]
    levels = (read_files(written) - quantize(ours)).abs() * 255
    assert levels.max() < 1.01 and (levels > 0.5).float().mean() < 0.01
    calls = 2 if batched else 2 * 3
    assert counts.denoised == mine.denoised == 2 * 3 * 3 * 2  # prompts, images, steps, branches
    assert (counts.calls, mine.calls) == (3 * calls, 3 * 2)
    assert (counts.texts, mine.texts) == (2 * calls, 1 + 2)


def generated(person: Person, folder: Path) -> Path:
    """Shipped portraits, one of them without a face, as a `generate` artifact of two prompts."""
    pictures = read_files([*person.set_A, *person.set_B], 128)
    pictures[2] = 0
    names = [f"{prompt}-{sample:02d}.png" for prompt in (0, 1) for sample in range(4)]
    write_folder(folder / "images", quantize(pictures), names)
    (folder / "prompts.json").write_text(json.dumps({"prompts": [PERSON, CLASS]}))
    return folder


def test_scores_picture_by_picture_are_those_of_the_stage(person: Person, tmp_path: Path) -> None:
    folder = generated(person, tmp_path / "generated")
    for original in person.set_B:
        place = tmp_path / "seen" / "images" / original.name
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.open(original).resize((128, 128)).save(place)
    roles = {"generated": folder, "protected": tmp_path / "seen", "purified": tmp_path / "seen"}
    found = config.resolve(config.compose([]))["metric"]
    nodes = {name: own(node) for name, node in found.items()}
    files = {
        prompt: sorted((folder / "images").glob(f"{index}-*.png"))
        for index, prompt in enumerate((PERSON, CLASS))
    }
    quality = published_metrics.quality(config.build(nodes["quality"]), files)
    likeness = published_metrics.ims(config.build(nodes["ims"]), files, person.set_C, 128)
    for name, theirs in (("ims", likeness), ("quality", quality)):
        (out := tmp_path / name).mkdir()
        inputs = Inputs(person=person, artifacts=roles)
        score.run(config={"metric": nodes[name]}, inputs=inputs, out=out, draws=DRAWS)
        rows = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
        ours = {
            (row["metric"], row["prompt"], row["sample"]): row["value"]
            for row in rows
            if row["metric"] != "no_face"
        }
        assert theirs == pytest.approx(ours, abs=1e-4)
    assert likeness["ims", PERSON, 2] == 0 and likeness["ims", PERSON, 1] > 0
