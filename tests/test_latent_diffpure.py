"""LatentDiffPure: which timesteps it walks, its ancestral step beside numpy, one branch or two."""

import numpy as np
import pytest
import tiny_zoo
import torch

from diffshortcut.models.ldm import LatentDiffusion, load
from diffshortcut.purifiers.latent_diffpure import LatentDiffPure
from diffshortcut.purifiers.vae import RoundTrip
from diffshortcut.seeding import Draws

DRAWS = Draws(seed=0, stage="purify", person="nobody")
IMAGES = tiny_zoo.pictures(2, seed=1)
Z = DRAWS.normal("z", (4, 4, 4), 2)


def purifier(model: LatentDiffusion, **changes: object) -> LatentDiffPure:
    options = {"prompt": "a photo", "t": 300, "guidance": 6.5, "steps": 3}
    return LatentDiffPure(model=model, **{**options, **changes})


def test_all_timesteps_or_a_few_of_them(model: LatentDiffusion) -> None:
    every = purifier(model, steps=301).times.tolist()
    assert every == [*range(300, -1, -1), -1]
    assert purifier(model, steps=1000).times.tolist() == every
    assert purifier(model, steps=4).times.tolist() == [300, 200, 100, 0, -1]
    assert purifier(model, steps=1).times.tolist() == [300, -1]


@pytest.mark.parametrize("t", [-1, 1000])
def test_a_t_that_is_not_on_the_schedule_is_refused(t: int, model: LatentDiffusion) -> None:
    with pytest.raises(ValueError, match="t must be below 1000|t and guidance"):
        purifier(model, t=t)
    assert purifier(model, t=999).times[0] == 999


@pytest.mark.parametrize("fixture", ["tiny_ldm_folder", "tiny_v_ldm_folder"])
@pytest.mark.parametrize("t", [1, 10, 300])
def test_the_ancestral_step_is_ddpms(fixture: str, t: int, request: pytest.FixtureRequest) -> None:
    """Mean and variance of q(z_{t-1} | z_t, z_0), in double precision."""
    model = load(weights=f"file:{request.getfixturevalue(fixture)}")
    time, output = torch.full((2,), t), DRAWS.normal("output", (4, 4, 4), 2)
    fresh = DRAWS.normal("fresh", (4, 4, 4), 2)
    kept = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
    beta = 1 - kept[t] / kept[t - 1]
    clean = model.split(Z, output, time)[0].double().numpy()
    mean = np.sqrt(kept[t - 1]) * beta / (1 - kept[t]) * clean
    mean += np.sqrt(1 - beta) * (1 - kept[t - 1]) / (1 - kept[t]) * Z.double().numpy()
    variance = beta * (1 - kept[t - 1]) / (1 - kept[t])
    expected = torch.from_numpy(mean + np.sqrt(variance) * fresh.double().numpy())
    ours = model.previous(Z, output, time, fresh=fresh).double()
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


def test_the_step_to_the_clean_latent_adds_nothing(model: LatentDiffusion) -> None:
    time, end = torch.zeros(2, dtype=torch.long), torch.full((2,), -1)
    fresh = DRAWS.normal("fresh", (4, 4, 4), 2)
    clean, _ = model.split(Z, Z, time)
    torch.testing.assert_close(model.previous(Z, Z, time, end, fresh), clean)


@pytest.mark.parametrize(("prompt", "rows"), [("a photo", 4), ("", 2)])
def test_an_empty_prompt_needs_one_branch(
    prompt: str, rows: int, model: LatentDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    predict = LatentDiffusion.predict

    def noted(self: LatentDiffusion, z: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        seen.append(len(z))
        return predict(self, z, *rest)

    monkeypatch.setattr(LatentDiffusion, "predict", noted)
    purifier(model, prompt=prompt)(IMAGES, DRAWS)
    assert seen == [rows] * 3


def test_a_small_t_changes_less_than_a_large_one(model: LatentDiffusion) -> None:
    trip = RoundTrip(model=model)(IMAGES, DRAWS)
    away = [
        float((purifier(model, t=t, prompt="")(IMAGES, DRAWS) - trip).abs().mean())
        for t in (0, 900)
    ]
    assert away[0] < away[1]
