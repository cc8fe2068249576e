"""The values of attacks and purifiers at full scale are the papers', and the releases'."""

import re
from pathlib import Path
from typing import Any

import pytest

from diffshortcut import config

README = Path(__file__).parent.parent / "README.md"
PROMPTS = {"instance_prompt": "a photo of sks person", "class_prompt": "a photo of person"}
ASPL = {
    **PROMPTS,
    "radius": 11,
    "step": 1,
    "rounds": 50,
    "clean_steps": 3,
    "pgd_steps": 6,
    "adversarial_steps": 3,
    "learning_rate": 5e-7,
    "micro_batch": None,
}
METACLOAK = {
    **PROMPTS,
    "radius": 11,
    "step_ratio": 0.1,
    "surrogate_steps": 1000,
    "snapshots": 6,
    "trails": 4,
    "rounds": 100,
    "pgd_steps": 6,
    "advance_steps": 2,
    "learning_rate": 5e-7,
    "normalize_surrogate": True,
    "micro_batch": None,
}
BLUR = {"kernel": 7, "sigma_min": 0.1, "sigma_max": 2.0}


def full(*overrides: str) -> dict[str, Any]:
    return config.resolve(config.compose(["zoo=full", *overrides]))


def plain(node: dict[str, Any]) -> dict[str, Any]:
    """The values of a node without its target and what is built or read for it."""
    return {k: v for k, v in node.items() if k != "_target_" and not isinstance(v, dict | list)}


@pytest.mark.parametrize(
    ("attack", "expected"),
    [
        ("none", {}),
        ("random", {"radius": 11}),
        ("aspl", ASPL),
        # 0.05 and 0.005 of [-1, 1]
        ("aspl/official", ASPL | {"radius": 0.05 * 255 / 2, "step": 0.005 * 255 / 2}),
        ("metacloak", METACLOAK),
        ("metacloak/official", METACLOAK | {"normalize_surrogate": False}),
    ],
)
def test_attacks(attack: str, expected: dict[str, Any]) -> None:
    cfg = full(f"attack={attack}")
    assert plain(cfg["attack"]) == pytest.approx(expected)
    if "surrogate" in cfg["attack"]:
        assert cfg["attack"]["surrogate"] == cfg["model"]
        assert cfg["attack"]["prior"]["images"] == 200
        assert cfg["attack"]["prior"]["prompt"] == PROMPTS["class_prompt"]


def test_metacloak_transforms() -> None:
    blur, flip = full("attack=metacloak")["attack"]["transforms"]
    assert plain(blur) == BLUR and plain(flip) == {"probability": 0.5}


def test_a_surrogate_other_than_the_victims_model() -> None:
    cfg = full("attack=aspl", "zoo=mini", "surrogate=mini_b")
    assert cfg["attack"]["surrogate"]["weights"] == "mini:mini_b"
    assert cfg["attack"]["prior"]["model"]["weights"] == "mini:mini_b"
    assert cfg["trainer"]["model"]["weights"] == "mini:mini_a"


SR = {
    "prompt": "a photo of a person, high quality, highres",
    "steps": 75,
    "guidance": 9.0,
    "noise_level": 20,
    "micro_batch": None,
}
LEGACY_SR = SR | {"prompt": "A photo of a person"}


@pytest.mark.parametrize(
    ("purifier", "expected"),
    [
        ("none", {}),
        ("gaussian", {"gaussian": {"kernel": 5, "sigma": 1.1}}),
        ("gaussian/legacy", {"gaussian": {"radius": 5}}),
        ("jpeg", {"jpeg": {"quality": 75}}),
        ("codeformer", {"codeformer": {"fidelity": 0.5}}),
        ("sr", {"sr": SR}),
        ("sr/legacy", {"sr": LEGACY_SR}),
        ("codeformer_sr", {"codeformer": {"fidelity": 0.5}, "sr": SR}),
        ("codeformer_sr/legacy", {"codeformer": {"fidelity": 0.5}, "sr": LEGACY_SR}),
        ("ours", {"codeformer": {"fidelity": 0.5}, "sr": SR}),
    ],
)
def test_purifiers(purifier: str, expected: dict[str, Any]) -> None:
    links = full(f"purifier={purifier}")["purifier"]
    assert {name: plain(link) for name, link in links.items()} == expected
    assert list(links) == list(expected)


def test_the_readme_names_both_zoos_schedules() -> None:
    """Every value of `scale`, in the README's table."""
    mini = config.resolve(config.compose([]))["scale"]
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \| (\S+) \|$", README.read_text(), re.MULTILINE)
    found = {key: (float(small), float(large)) for key, small, large in rows}
    assert found == {key: (float(mini[key]), float(full()["scale"][key])) for key in mini}
