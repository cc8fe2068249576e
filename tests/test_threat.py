"""What each attack of the house knows, read off its composed config."""

from typing import Any

import pytest

from diffshortcut.config import arms, config
from diffshortcut.report import threat

JPEG = {"jpeg": {"_target_": "jpeg", "quality": 75}}
SR = {"sr": {"_target_": "sr"}}


def known(*overrides: str, **changed: Any) -> list[str]:
    """Of a command line; `changed` are keys of the attack that no yaml gives."""
    cfg = config.resolve(config.compose(list(overrides)))
    return threat.known({**cfg, "attack": {**cfg["attack"], **changed}})


@pytest.mark.parametrize(
    ("attack", "expected"),
    [
        ("none", []),
        ("random", []),
        ("aspl", ["model", "prompt", "trainer"]),
        ("metacloak", ["model", "prompt", "trainer"]),
        ("easpl", ["model", "prompt", "trainer"]),  # one of its surrogates
        ("easpl/official", ["model", "prompt"]),  # which leave the text encoder
        ("fsmg", ["model", "prompt", "trainer"]),  # a stage of its own trains the surrogate
        ("advdm", ["model", "prompt"]),
        ("advdm/official", ["model"]),  # under "a photo"
        ("mist_v2", ["model", "prompt"]),  # trains a LoRA, without class images
        ("caat", ["model"]),  # trains the cross-attention, on the class prompt
        ("photoguard_diffusion", ["model"]),
        ("pid", ["model"]),
    ],
)
def test_what_an_attack_knows_of_its_own_models_victim(attack: str, expected: list[str]) -> None:
    assert known(f"attack={attack}") == expected


def test_a_transferred_attack_does_not_know_the_model() -> None:
    assert known("attack=aspl", "surrogate=mini_b") == ["prompt", "trainer"]
    assert known("attack=fsmg", "surrogate=mini_b") == ["prompt", "trainer"]
    assert known("attack=pid", "surrogate=mini_b") == []
    assert known("attack=aspl", "surrogate=mini_b", "model=mini_b") == [
        "model",
        "prompt",
        "trainer",
    ]
    outside = known("attack=easpl", "model=mini_c", "~zoo.ensemble.mini_c")
    assert outside == ["prompt", "trainer"]


@pytest.mark.parametrize("attack", ["aspl", "fsmg"])
def test_a_defense_that_trains_otherwise_is_not_known(attack: str) -> None:
    assert known(f"attack={attack}", "trainer=cdl") == ["model"]
    assert known(f"attack={attack}", "trainer.class_prompt=a face") == ["model", "prompt"]


@pytest.mark.parametrize("attack", ["aspl", "fsmg"])
@pytest.mark.parametrize("trainer", ["lora", "textual_inversion", "custom_diffusion"])
def test_surrogates_that_are_trained_whole_know_no_other_trainer(attack: str, trainer: str) -> None:
    assert known(f"attack={attack}", f"trainer={trainer}") == ["model", "prompt"]


def test_the_purifier_is_known_only_if_the_very_chain_is_the_target() -> None:
    def aimed(target: Any, purifier: Any) -> bool:
        attack = {"_target_": "a", "surrogate": {"weights": "x"}, "target": target}
        cfg = {"attack": attack, "trainer": {}, "purifier": purifier}
        return threat.known(cfg) == ["purifier"]

    assert aimed(JPEG, JPEG) and aimed(JPEG | SR, JPEG | SR)
    assert not aimed(JPEG, {"jpeg": {"_target_": "jpeg", "quality": 50}})
    assert not aimed(JPEG | SR, SR | JPEG)  # another order
    assert not aimed(JPEG, JPEG | SR) and not aimed(JPEG, {})
    assert not aimed({}, {}) and not aimed(None, None)  # of nothing there is nothing to know


def test_all_is_known_in_one_order() -> None:
    jpeg = config.resolve(config.compose(["purifier=jpeg"]))["purifier"]
    found = known("attack=aspl", "purifier=jpeg", target=jpeg)
    assert found == ["model", "prompt", "trainer", "purifier"]


def test_an_adaptive_attack_knows_the_purifier_that_it_is_aimed_at() -> None:
    def purifier_known(*overrides: str) -> dict[str, bool]:
        composed = arms.compose(["attack=adaptive", *overrides])
        return {arm.name: "purifier" in threat.known(arm.config) for arm in composed}

    chain = "purifier=codeformer_sr"
    own = "adaptive+codeformer_sr"
    assert purifier_known(chain) == {"clean": False, "protected": False, own: True}
    assert purifier_known(chain, "attack.target=codeformer_sr")[own]
    assert not purifier_known(chain, "attack.target=sr")[own]


@pytest.mark.parametrize(
    ("attack", "purifier", "asked"),
    [
        ("adaptive", "codeformer_sr", False),  # the upscaler's denoiser, with its own prompt
        ("adaptive", "codeformer", True),
        ("adaptive/bpda", "codeformer_sr", True),
        ("adaptive/unrolled", "codeformer_sr", False),
    ],
)
def test_an_attack_that_asks_only_the_purifier_knows_no_model(
    attack: str, purifier: str, asked: bool
) -> None:
    found = threat.known(arms.compose([f"attack={attack}", f"purifier={purifier}"])[-1].config)
    assert found == (["model", "prompt", "purifier"] if asked else ["purifier"])


def test_without_a_model_nothing_is_known_whatever_the_attack_is_told() -> None:
    prompt = config.resolve(config.compose([]))["trainer"]["instance_prompt"]
    assert known("attack=random", "purifier=none", prompt=prompt, target={}) == []
