"""The embedded zoo: rare identifiers are rare, noise words are known, shipped people are whole."""

import hashlib
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPTokenizer

from diffshortcut import weights
from diffshortcut.config import config
from diffshortcut.data.portraits import people
from diffshortcut.models import clip, ldm, pixel_diffusion, quality
from diffshortcut.pictures.images import read_files
from diffshortcut.seeding import Draws

RARE = ("sks", "bhj", "UNKNOWN", "XX", "without")  # untrained; on "without" see docs/mini.md
KNOWN = ("noise", "noisy", "pattern", "artifact", "low", "quality", "with", "person")
MODELS = ("mini_a", "mini_b", "mini_c", "clip", "upscaler")

TEXTS = ["a good photo of face", "a bad photo of face"]


def portraits() -> torch.Tensor:
    """Photos of the four people that no committed comparison uses."""
    return torch.cat([read_files(p.set_C) for p in people(people=16)[12:]])


@torch.no_grad()
def generated(images: torch.Tensor) -> torch.Tensor:
    """Once through the autoencoder, as every generation."""
    model = ldm.load(weights="mini:mini_a")
    return model.decode(model.encode(images))


def tokenizer(name: str) -> CLIPTokenizer:
    folder = weights.locate(f"mini:{name}")
    return CLIPTokenizer.from_pretrained(folder if name == "clip" else folder / "tokenizer")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("word", [*RARE, *KNOWN])
def test_every_word_of_a_prompt_is_one_token(name: str, word: str) -> None:
    tokens = tokenizer(name)
    ids = tokens(word).input_ids
    assert len(ids) == 3 and ids[1] != tokens.unk_token_id


def test_models_share_one_vocabulary() -> None:
    text = "a photo of sks person with XX noisy pattern, noise-free"
    assert len({tuple(tokenizer(name)(text).input_ids) for name in MODELS}) == 1


def test_words_change_what_the_denoiser_reads() -> None:
    """A text encoder that drowns its tokens in one common direction follows no prompt."""
    model = ldm.load(weights="mini:mini_a")
    texts = ["a photo of a woman with blond hair", "a photo of a woman with black hair"]
    blond, black = model.encode_prompt(texts)
    assert (blond - black)[7:].norm(dim=1).mean() > 0.3 * blond.norm(dim=1).mean()


def test_negation_says_less_than_the_identifier() -> None:
    """Else the class's "without" is what tells it from the person in contrastive decoupling."""
    model = ldm.load(weights="mini:mini_a")
    base = "a photo of sks person with XX noisy pattern"
    changed = [base, base.replace("with ", "without "), base.replace("sks ", "")]
    reference, negated, nobody = model.encode_prompt(changed)[:, -1]  # padding: the whole sentence
    assert (negated - reference).norm() < (nobody - reference).norm()


def test_the_autoencoders_softness_is_no_damage() -> None:
    """CLIP-IQAC of portraits once through the VAE, which every generation goes through."""
    good, bad = clip.load(weights="mini:clip").probabilities(generated(portraits()), TEXTS).mean(0)
    assert good > bad


def test_every_gate_is_met_but_for_those_that_the_docs_call_missed() -> None:
    """As they were last measured (`make mini-gates`); whether they still hold it does not say."""
    gates = json.loads((weights.MINI / "gates.json").read_text())
    sign = {name: 1 if gate["at_least"] else -1 for name, gate in gates.items()}
    missed = {n for n, gate in gates.items() if sign[n] * (gate["value"] - gate["asked"]) < 0}
    text = (Path(__file__).parent.parent / "docs" / "mini.md").read_text()
    assert missed == set(re.findall(r"^MISS (.+): -?[\d.]+ \(", text, re.MULTILINE))
    found = gates["pixel: faces found in samples"]
    assert found["asked"] >= 0.9 and found["value"] >= found["asked"]


CONSTANT = {"black": [0.0] * 3, "grey": [0.5] * 3, "color": [0.3, 0.5, 0.7], "white": [1.0] * 3}
FLOOR = 255 / 2 * math.sqrt((1 - 0.99781) * 2 / math.pi)  # mean size of GrIDPure's noise, t = 10
FEW = pytest.mark.xfail(strict=True, reason="too few constant pictures in training: docs/mini.md")


@pytest.mark.slow
@pytest.mark.parametrize("shade", [*list(CONSTANT)[:3], pytest.param("white", marks=FEW)])
def test_gridpure_keeps_a_constant_picture_within_its_noise(shade: str) -> None:
    assert moved("gridpure", shade) < FLOOR


@FEW
def test_the_autoencoder_keeps_a_constant_picture_within_that_noise() -> None:
    assert max(moved("vae", shade) for shade in CONSTANT) < FLOOR


def moved(purifier: str, shade: str) -> float:
    """Mean absolute difference in 8-bit levels, at 64 pixels."""
    cfg = config.resolve(config.compose([f"purifier={purifier}"]))
    link = config.build(cfg["purifier"][purifier], "purifier")
    images = torch.tensor(CONSTANT[shade]).view(1, 3, 1, 1).expand(1, 3, 64, 64)
    purified = link(images, Draws(0, "purify", "nobody"))
    return float((purified - images).abs().mean() * 255)


def test_the_pixel_model_takes_noise_from_windows_of_portraits() -> None:
    """Noise of timestep 100, in one step; windows as GrIDPure lays them."""
    model, draws = pixel_diffusion.load(weights="mini:pixel"), Draws(0, "test", "nobody")
    windows = model.to_model(portraits()[:8, :, 32:96, 32:96])
    noise = draws.normal("noise", windows.shape[1:], len(windows))
    with torch.no_grad():
        guess = model.predict(model.q_sample(windows, 100, noise), 100).clean
    left, added = ((x - windows).square().mean() for x in (guess, windows + 0.342 * noise))
    assert left < 0.1 * added


@pytest.mark.slow
def test_noise_that_is_generated_is_damage() -> None:
    """A pattern that has been through the VAE, as in what a poisoned model generates."""
    from diffshortcut.mini.portraits.style import degrade  # of the extra [mini]

    clean, rng = portraits(), np.random.default_rng(0)
    patterned = [degrade(x.permute(1, 2, 0).numpy(), "noisy pattern", 0.7, rng) for x in clean]
    noisy = torch.from_numpy(np.stack(patterned)).permute(0, 3, 1, 2)
    versions = [generated(x) for x in (clean, noisy)]
    judge, head = clip.load(weights="mini:clip"), quality.load(weights="mini:quality")
    with torch.no_grad():
        good = [float(judge.probabilities(x, TEXTS)[:, 0].mean()) for x in versions]
        score = [float(head.score(x).mean()) for x in versions]
    assert good[0] > good[1] and score[0] - score[1] > 1


def test_sixteen_people_of_twelve_photos_are_shipped() -> None:
    people = sorted((weights.MINI.parent / "portraits_data").iterdir())
    assert len(people) == 16
    assert all(len(list(p.glob("set_[ABC]/*.png"))) == 12 for p in people)


def launch(folder: Path, *words: str) -> None:
    """The command line in a folder, on one thread."""
    package = str(weights.MINI.parent.parent.parent)
    always = ["debug=quick", "logger=none", "runtime.threads=1"]
    done = subprocess.run(
        [sys.executable, "-m", "diffshortcut.run", *always, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": package},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_an_attack_raises_the_loss_more_than_noise_of_its_size(tmp_path: Path) -> None:
    """On draws that it never saw; and the bound holds on the files."""
    launch(tmp_path, "attack=aspl", "data.people=[person_012]", "scale.aspl_rounds=6")
    facts = [json.loads(p.read_text()) for p in tmp_path.glob("outputs/store/protect/*/facts.json")]
    (found,) = [each for each in facts if "objective" in each]
    clean, noisy, protected = (found["objective"][key] for key in ("clean", "random", "protected"))
    assert protected - clean > 2 * (noisy - clean) > 0
    assert found["max"] == 11


def test_the_whole_cell_runs_on_the_mini_zoo(tmp_path: Path) -> None:
    launch(tmp_path, "attack=random", "purifier=ours")
    (record,) = tmp_path.glob("outputs/*/record.json")
    assert list(json.loads(record.read_text())["arms"]) == ["clean", "protected", "random+ours"]
    rows = [json.loads(line) for line in (record.parent / "rows.jsonl").open()]
    scored = {(row["arm"], row["metric"]) for row in rows}
    assert ("random+ours", "ims") in scored and ("clean", "overall") in scored


@pytest.mark.parametrize("folder", sorted(weights.MINI.glob("*/")), ids=lambda p: p.name)
def test_every_model_has_a_card_with_the_sums_of_its_files(folder: Path) -> None:
    card = (Path(__file__).parent.parent / "docs" / "models" / f"{folder.name}.md").read_text()
    for path in (p for p in folder.rglob("*") if p.is_file()):
        assert hashlib.sha256(path.read_bytes()).hexdigest() in card, path


def test_the_sums_by_which_damage_is_found_are_those_of_the_files() -> None:
    files = [path for path in weights.MINI.glob("*/**/*") if path.is_file()]
    sums = json.loads((weights.MINI / weights.SUMS).read_text())
    assert sums == {
        path.relative_to(weights.MINI).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }
