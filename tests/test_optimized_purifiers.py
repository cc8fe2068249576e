"""The purifiers that minimize something: TVM and IMPRESS."""

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_zoo
import torch
from torch import Tensor

from diffshortcut.models import ldm, perceptual
from diffshortcut.pictures.images import quantize, write_folder
from diffshortcut.purifiers.impress import Impress
from diffshortcut.purifiers.tvm import TotalVariation, minimized
from diffshortcut.seeding import Draws
from diffshortcut.stages import purify as stage
from diffshortcut.stages.inputs import Inputs

DRAWS = Draws(seed=0, stage="purify", person="nobody")
IMAGES = tiny_zoo.pictures(2, seed=1)


def objective(z: Tensor, x: Tensor, kept: Tensor, weight: float) -> float:
    rows = (z[1:] - z[:-1]).norm(dim=1).sum()
    columns = (z[:, 1:] - z[:, :-1]).norm(dim=0).sum()
    return float(((z - x) * kept).norm() + weight * (rows + columns))


@pytest.mark.parametrize("weight", [0.05, 0.2, 0.5])
def test_total_variation_is_minimal(weight: float) -> None:
    """Beside the same problem solved by a general solver of scipy."""
    from scipy.optimize import minimize

    generator = torch.Generator().manual_seed(0)
    x = torch.rand(6, 5, generator=generator).double()
    kept = torch.rand(6, 5, generator=generator) > 0.1
    ours = minimized(x, kept, weight, 3000)

    def value(flat: Any) -> float:
        return objective(torch.from_numpy(flat).view(6, 5), x, kept, weight)

    theirs = minimize(value, x.flatten().numpy(), method="Powell", options={"maxiter": 200_000})
    assert objective(ours, x, kept, weight) <= theirs.fun + 1e-4


def test_at_the_released_weight_kept_pixels_do_not_move() -> None:
    """Nothing is squared, so a small weight is no weight at all: only dropped pixels change."""
    x = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    kept = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1)) >= 0.02
    z = minimized(x, kept, 0.01, 500)
    assert torch.equal(z[kept], x[kept]) and not torch.equal(z[~kept], x[~kept])


def test_dropped_pixels_come_from_their_neighbors() -> None:
    x = torch.linspace(0, 1, 16).expand(16, 16).clone()
    kept = torch.ones(16, 16, dtype=torch.bool)
    kept[7, 9] = False
    assert abs(float(minimized(x, kept, 0.01, 500)[7, 9] - x[7, 9])) < 1e-2


class Enlarger:
    """Super-resolution that repeats pixels."""

    def enlarged(self, images: Tensor, draws: Draws) -> Tensor:
        return images.repeat_interleave(4, 2).repeat_interleave(4, 3)


@pytest.mark.parametrize("interleaved", [True, False])
def test_tvm_drops_two_percent_of_an_eighth(interleaved: bool) -> None:
    purifier = TotalVariation(
        enlarge=Enlarger(),
        shrink=2,
        drop=0.02,
        weight=0.01,
        iterations=100,
        enlargements=2,
        interleaved=interleaved,
    )
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    small = purifier.small(images)
    assert small.shape == (4, 3, 32, 32)
    changed = (purifier.restored(small, DRAWS) != small).float().mean()
    assert 0.01 < changed < 0.03
    assert purifier(images, DRAWS).shape == images.shape


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory, tiny_ldm_folder: Path) -> dict[str, Any]:
    folder = tiny_zoo.recognizer_b(tmp_path_factory.mktemp("recognizer"))
    return {
        "model": ldm.load(weights=f"file:{tiny_ldm_folder}"),
        "perceptual": perceptual.load(weights=f"file:{folder}"),
    }


def impress(tiny: dict[str, Any], **changes: Any) -> Impress:
    options = {"steps": 12, "learning_rate": 0.01, "cosine": False, "epsilon": 1e-8}
    options |= {"alpha": 0.1, "budget": 0.1, "noise": 0.1}
    return Impress(**tiny, **{**options, **changes})


def test_impress_lowers_both_of_its_terms(tiny: dict[str, Any]) -> None:
    purifier = impress(tiny, budget=0.0)
    purifier(IMAGES, DRAWS)
    first, *_, last, end = purifier.history
    assert [row["step"] for row in purifier.history] == list(range(13))
    assert end["distance"] > 0
    assert last["reconstruction"] < first["reconstruction"] and last["hinge"] < first["hinge"]


@pytest.mark.parametrize("budget", [0.0, 0.01])
def test_constrained_meets_the_budget(tiny: dict[str, Any], budget: float) -> None:
    away = tiny["perceptual"].toward(IMAGES)
    free = impress(tiny, alpha=0.0, budget=budget)(IMAGES, DRAWS)
    kept = impress(tiny, alpha=0.0, budget=budget, constrained=True)(IMAGES, DRAWS)
    assert away(quantize(free)).max() > budget >= away(quantize(kept)).max()


def test_constrained_leaves_alone_what_is_near_enough(tiny: dict[str, Any]) -> None:
    free = impress(tiny, budget=10.0)(IMAGES, DRAWS)
    assert torch.equal(impress(tiny, budget=10.0, constrained=True)(IMAGES, DRAWS), free)


@pytest.mark.parametrize(("cosine", "last"), [(True, 1e-5), (False, 0.01)])
def test_the_cosine_ends_at_a_small_rate(
    cosine: bool, last: float, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    step = torch.optim.Adam.step

    def noted(self: torch.optim.Adam) -> None:
        rates.append(self.param_groups[0]["lr"])
        step(self)

    monkeypatch.setattr(torch.optim.Adam, "step", noted)
    monkeypatch.setattr(Impress, "_reconstruction", lambda _, p: p.square().mean((1, 2, 3)))
    impress(tiny, cosine=cosine, steps=200)(IMAGES[:1], DRAWS)
    assert rates[0] == 0.01 and rates[-1] == pytest.approx(last, rel=0.1)


def test_where_no_gradient_is_kept_impress_finds_its_own(tiny: dict[str, Any]) -> None:
    """As when an attack goes through it; and the notes are those of the newest call."""
    purifier = impress(tiny, steps=2)
    expected = purifier(IMAGES, DRAWS)
    with torch.no_grad():
        assert torch.equal(purifier(IMAGES, DRAWS), expected)
    assert len(purifier.history) == 3


def test_the_stage_keeps_what_impress_notes(
    tiny: dict[str, Any], tmp_path: Path, monkeypatch: Any
) -> None:
    write_folder(tmp_path / "images", IMAGES, ["a.png", "b.png"])
    monkeypatch.setattr(stage, "build", lambda node, where: impress(tiny, steps=3))
    inputs = Inputs(artifacts={"images": tmp_path})
    facts = stage.run(
        config={"link": {"_target_": "x.Impress"}}, inputs=inputs, out=tmp_path, draws=DRAWS
    )
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").open()]
    assert [row["step"] for row in rows] == [0, 1, 2, 3]
    assert {"reconstruction", "hinge", "distance"} < rows[0].keys()
    assert facts["last"] == rows[-1] and facts["random"] and not facts["unchanged"]


def test_of_photos_the_stage_says_which_one_a_note_is_of(
    tiny: dict[str, Any], tmp_path: Path, monkeypatch: Any
) -> None:
    write_folder(tmp_path / "images", IMAGES, ["a.png", "b.png"])
    monkeypatch.setattr(stage, "build", lambda node, where: impress(tiny, steps=1))
    config = {"link": {"_target_": "x.Impress"}, "resolution": 32}
    inputs = Inputs(artifacts={"images": tmp_path})
    facts = stage.run(config=config, inputs=inputs, out=tmp_path, draws=DRAWS)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").open()]
    assert [(row["photo"], row["step"]) for row in rows] == [
        (photo, step) for photo in ("a.png", "b.png") for step in (0, 1)
    ]
    ends = {row.pop("photo"): row for row in rows}
    assert facts["photos"] == ends and len({row["distance"] for row in ends.values()}) == 2
