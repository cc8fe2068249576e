"""The values of attacks and purifiers at full scale are the papers', and the releases'."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from diffshortcut.config import catalog, config

TABLE = Path(__file__).parent.parent / "docs" / "mini.md"
SLIPS_TABLE = TABLE.with_name("purifiers.md")
PROMPTS = {"instance_prompt": "a photo of sks person", "class_prompt": "a photo of person"}
BALL = {"radius": 11, "step": 1, "eot": None, "micro_batch": None}
SURROGATES = {**PROMPTS, **BALL, "learning_rate": 5e-7}
ASPL = SURROGATES | {"rounds": 50, "clean_steps": 3, "pgd_steps": 6, "adversarial_steps": 3}
METACLOAK = {k: v for k, v in SURROGATES.items() if k != "eot"} | {
    "step": None,  # a tenth of the radius
    "surrogate_steps": 1000,
    "snapshots": 6,
    "trails": 4,
    "rounds": 100,
    "pgd_steps": 6,
    "advance_steps": 2,
    "normalize_surrogate": True,
}
PROMPT = {"prompt": PROMPTS["instance_prompt"]}
PHOTO = {"prompt": "a photo"}
FSMG = BALL | {"instance_prompt": PROMPTS["instance_prompt"], "steps": 100}
ADVDM = BALL | PROMPT | {"steps": 100, "samples": 1, "random_start": True}
ENCODER = BALL | {"steps": 200, "random_start": True}
DIFFUSION = BALL | {
    "prompt": "",
    "steps": 200,
    "samples": 10,
    "denoising_steps": 4,
    "guidance": 6.5,
    "strength": 0.5,
}
GLAZE = {
    "radius": 11,
    "eot": None,
    "micro_batch": None,
    "steps": 500,
    "learning_rate": 0.005,  # 0.01 of [-1, 1]
    "visible": 0.05,
    "weight": 30,
}
MIST = BALL | PROMPT | {"mode": "fused", "rate": 1e4, "steps": 100, "random_start": True}
MIST_V2 = (
    BALL
    | PROMPT
    | {"rounds": 5, "pgd_steps": 30, "lora_steps": 10, "lora_rank": 4, "learning_rate": 1e-4}
)
SDS = BALL | PROMPT | {"steps": 100, "direction": "minus"}
CAAT = BALL | {"prompt": "a photo of a person", "steps": 250, "learning_rate": 1e-5}
SIMAC = ASPL | {"feature_weight": 1.0, "attach_features": True}
PID = BALL | {"steps": 1000, "random_start": True}
ADAPTIVE = {
    **PROMPT,
    "radius": 16,
    "step": 1,
    "micro_batch": None,
    "steps": 200,
    "level": "trajectory",
    "unrolled_steps": 4,
    "random_start": True,
}
HALF = {"radius": 0.05 * 255 / 2, "step": 0.005 * 255 / 2}  # 0.05 and 0.005 of [-1, 1]
AS_RELEASED = {"weights_dtype": "bfloat16", "clip_gradients": False, "restart_order": "all"}
BLUR = {"kernel": 7, "sigma_min": 0.1, "sigma_max": 2.0}


@cache
def full(*overrides: str) -> dict[str, Any]:
    """Composed once; nobody changes it."""
    return config.resolve(config.compose(["zoo=full", *overrides]))


def plain(node: dict[str, Any]) -> dict[str, Any]:
    """The values of a node without its target and what is built or read for it."""
    return {k: v for k, v in node.items() if k != "_target_" and not isinstance(v, dict | list)}


def link_values(node: dict[str, Any]) -> dict[str, Any]:
    """The same of a link, with the values of a link inside it."""
    inner = {name: plain(node[name]) for name in ("diffpure", "enlarge") if name in node}
    return plain(node) | inner


@pytest.mark.parametrize(
    ("attack", "expected"),
    [
        ("none", {}),
        ("random", {"radius": 11}),
        ("aspl", ASPL),
        ("aspl/official", ASPL | HALF | AS_RELEASED),
        ("aspl/strong", ASPL | {"learning_rate": 5e-6}),
        ("aspl/targeted", ASPL),
        ("easpl", ASPL | {"combine": "sequential"}),
        (
            "easpl/official",
            ASPL | HALF | AS_RELEASED | {"combine": "average", "train_text_encoder": False},
        ),
        ("metacloak", METACLOAK),
        (
            "metacloak/official",
            METACLOAK | AS_RELEASED | {"normalize_surrogate": False, "restart_order": "prior"},
        ),
        ("fsmg", FSMG),
        ("fsmg/official", FSMG | HALF),
        ("fsmg/targeted", FSMG),
        ("advdm", ADVDM),
        ("advdm/official", ADVDM | PHOTO | {"radius": 16}),
        ("advdm/legacy", ADVDM | {"radius": 5.5, "step": 0.5}),
        ("photoguard_encoder", ENCODER),
        (
            "photoguard_encoder/official",
            ENCODER
            | {"radius": 0.06 * 255 / 2, "step": 0.02 * 255 / 2, "steps": 1000}
            | {"target_picture": None},
        ),
        ("photoguard_encoder/legacy", ENCODER | {"radius": 5.5, "step": 0.5}),
        ("photoguard_diffusion", DIFFUSION),
        (
            "photoguard_diffusion/official",
            DIFFUSION | {"radius": 0.1 * 255 / 2, "step": 0.006 * 255 / 2},
        ),
        ("glaze", GLAZE),
        ("glaze/official", GLAZE | {"radius": 255}),
        ("mist", MIST),
        ("mist/official", MIST | PHOTO | {"radius": 16}),
        ("mist_v2", MIST_V2),
        ("mist_v2/official", MIST_V2 | {"radius": 4, "step": 0.005 * 255 / 2}),
        ("sds", SDS),
        ("sds/official", SDS | PHOTO | {"radius": 16}),
        ("sds/plus", SDS | {"direction": "plus"}),
        ("caat", CAAT),
        ("caat/official", CAAT | HALF),
        ("simac", SIMAC),
        (
            "simac/official",
            SIMAC | AS_RELEASED | {"radius": 8, "step": 0.005 * 255 / 2, "attach_features": False},
        ),
        ("pid", PID),
        ("pid/official", PID | {"radius": 12.75}),
        ("adaptive", ADAPTIVE),
        ("adaptive/bpda", ADAPTIVE | {"level": "bpda"}),
        ("adaptive/unrolled", ADAPTIVE | {"level": "unrolled"}),
    ],
)
def test_attacks(attack: str, expected: dict[str, Any]) -> None:
    cfg = full(f"attack={attack}")
    assert plain(cfg["attack"]) == pytest.approx(expected)
    if "surrogate" in cfg["attack"]:
        assert cfg["attack"]["surrogate"] == cfg["model"]
    if "prior" in cfg["attack"]:
        assert cfg["attack"]["prior"]["images"] == 200
        assert cfg["attack"]["prior"]["prompt"] == PROMPTS["class_prompt"]


def test_every_attack_stands_here() -> None:
    (mark,) = (m for m in test_attacks.pytestmark if m.name == "parametrize")
    assert {name for name, _ in mark.args[1]} == set(catalog.groups()["attack"])


def test_every_purifier_stands_here() -> None:
    (mark,) = (m for m in test_purifiers.pytestmark if m.name == "parametrize")
    assert {name for name, _ in mark.args[1]} == set(catalog.groups()["purifier"])


def test_metacloak_transforms() -> None:
    blur, flip = full("attack=metacloak")["attack"]["eot"]["transforms"]
    assert plain(blur) == BLUR and plain(flip) == {"probability": 0.5}


def test_what_stands_deeper() -> None:
    personal = full("attack=fsmg")["attack"]["personalized"]
    assert personal == {k: v for k, v in full()["trainer"].items() if k in personal}
    assert plain(full("attack=fsmg/official")["attack"]["personalized"])["instance_batch"] == 2
    greedy = {"candidates": 5, "window": 20, "timesteps_left": 100, "steps": 50}
    assert plain(full("attack=simac")["attack"]["greedy"]) == greedy
    style = {"prompt": "Cubism by Picasso style", "strength": 0.5, "steps": 50, "guidance": 6.5}
    assert plain(full("attack=glaze")["attack"]["style"]) == style
    models = full("attack=easpl")["attack"]["surrogates"]
    assert [node["weights"] for node in models.values()] == [
        "full:sd14",
        "full:sd15",
        "full:sd21base",
    ]


def test_eot_is_a_wrapper_that_any_attack_takes() -> None:
    strong = full("attack=aspl", "eot=strong")["attack"]["eot"]
    kinds = [node["_target_"].rpartition(".")[2] for node in strong["transforms"]]
    assert kinds == ["Blur", "Resize", "Crop", "Rotate", "Flip", "Noise", "Jpeg"]
    assert strong == full("attack=metacloak", "eot=strong")["attack"]["eot"]
    assert full("attack=metacloak", "eot=none")["attack"]["eot"] is None
    assert full("attack=metacloak/official")["attack"]["eot"]["transforms"][0]["kernel"] == 7
    climbing = set(catalog.groups()["attack"]) - {"none", "random"}
    assert all("eot" in full(f"attack={name}")["attack"] for name in climbing)
    for name in catalog.groups()["attack"]:  # the controls take none, and are not refused
        config.check({**full(f"attack={name}"), "eot": strong})


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
    "shrink": 4,
    "micro_batch": None,
}
LEGACY_SR = SR | {"prompt": "A photo of a person"}
NOISY_SR = SR | {"shrink": 1, "noise_level": 320, "micro_batch": 1}
TVM = {
    "enlarge": SR,
    "shrink": 8,
    "drop": 0.02,
    "weight": 0.01,
    "iterations": 500,
    "enlargements": 2,
    "interleaved": False,
    "storage": "float",
}
LEGACY_TVM = {
    **TVM,
    "enlarge": LEGACY_SR,
    "enlargements": 1,
    "interleaved": True,
    "storage": "wrapped",
}
RIGHT = {"respacing": None, "unit_range": False, "skip_last": False, "micro_batch": 10}
WRONG = RIGHT | {"respacing": 250, "unit_range": True, "skip_last": True}
SLIPS = {"diffpure": WRONG, "storage": "wrapped"}
GRID_SLIPS = SLIPS | {"float_iterate": True, "corner_window": False}
GRID = {
    "diffpure": RIGHT,
    "t": 10,
    "gamma": 0.1,
    "iterations": 10,
    "stride": 128,
    "corner_window": True,
    "storage": "float",
    "float_iterate": False,
}
TILED = GRID | {"t": 100, "gamma": 0, "iterations": 1, "corner_window": False}
PIXEL = {"diffpure": RIGHT, "t": 100, "interpolation": "bicubic"}
OFFICIAL_PIXEL = PIXEL | {"t": 150, "interpolation": "bilinear"}
DDS = {
    "diffpure": RIGHT,
    "radius": 11,
    "one_shot": False,
    "doubled": True,
    "nearest": False,
    "storage": "float",
}
LATENT = {
    "prompt": "a photo of person, high quality, highres",
    "t": 300,
    "guidance": 6.5,
    "steps": 301,
}
LEGACY_PROMPT = "a photo of a person, clear, high resolution, high quality, noise-free"
IMPRESS = {
    "steps": 3000,
    "learning_rate": 0.001,
    "cosine": False,
    "epsilon": 1e-8,
    "alpha": 0.1,
    "budget": 0.1,
    "noise": 0.1,
    "constrained": False,
    "micro_batch": None,
}
OFFICIAL_ADAM = {"learning_rate": 0.01, "cosine": True, "epsilon": 1e-5}
CLEANER = {
    "bilateral_filters": 64,
    "diameter": 5,
    "sigma_color": 8,
    "sigma_space": 8,
    "guided_filters": 4,
    "guided_radius": 4,
    "epsilon": 16,
}


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
        ("ours/legacy", {"codeformer": {"fidelity": 0.5}, "sr": LEGACY_SR}),
        ("tvm", {"tvm": TVM}),
        ("tvm/legacy", {"tvm": LEGACY_TVM}),
        ("pixel_diffpure", {"pixel_diffpure": PIXEL}),
        ("pixel_diffpure/official", {"pixel_diffpure": OFFICIAL_PIXEL}),
        ("pixel_diffpure/tiled", {"pixel_diffpure": TILED}),
        ("pixel_diffpure/legacy", {"pixel_diffpure": TILED | GRID_SLIPS}),
        ("latent_diffpure", {"latent_diffpure": LATENT}),
        ("latent_diffpure_null", {"latent_diffpure": LATENT | {"prompt": ""}}),
        ("latent_diffpure/legacy", {"latent_diffpure": LATENT | {"prompt": LEGACY_PROMPT}}),
        ("ddspure", {"ddspure": DDS}),
        ("ddspure/official", {"ddspure": DDS | {"one_shot": True}}),
        ("ddspure/legacy", {"ddspure": DDS | SLIPS | {"doubled": False, "nearest": True}}),
        ("ddspure/paper", {"ddspure": DDS | {"doubled": False}}),
        ("gridpure", {"gridpure": GRID}),
        ("gridpure/paper", {"gridpure": GRID | {"corner_window": False}}),
        ("gridpure/official", {"gridpure": GRID | {"iterations": 20, "storage": "truncated"}}),
        ("gridpure/legacy", {"gridpure": GRID | GRID_SLIPS}),
        ("impress", {"impress": IMPRESS}),
        ("impress/official", {"impress": IMPRESS | OFFICIAL_ADAM}),
        (
            "impress/official_faces",
            {
                "impress": IMPRESS
                | OFFICIAL_ADAM
                | {"steps": 1000, "learning_rate": 0.005, "alpha": 0.01, "noise": 0.05}
            },
        ),
        ("impress/legacy", {"impress": IMPRESS | OFFICIAL_ADAM}),
        ("impress/constrained", {"impress": IMPRESS | {"constrained": True}}),
        ("vae", {"vae": {}}),
        ("noise", {"noise": {"sigma": 0.1}}),
        ("noisy_upscale", {"noise": {"sigma": 0.1}, "sr": NOISY_SR}),
        ("pdm_pure", {"pixel_diffpure": PIXEL, "sr": SR | {"shrink": 2}}),
        ("adverse_cleaner", {"adverse_cleaner": CLEANER}),
    ],
)
def test_purifiers(purifier: str, expected: dict[str, Any]) -> None:
    links = full(f"purifier={purifier}")["purifier"]
    assert {name: link_values(link) for name, link in links.items()} == expected
    assert list(links) == list(expected)


@pytest.mark.parametrize(
    ("words", "radius"),
    [
        ("attack=none", 11),
        ("attack=aspl attack.radius=4", 4),
        ("attack=advdm/legacy", 5.5),
        ("attack=aspl attack.radius=4 purifier.ddspure.radius=8", 8),
    ],
)
def test_only_the_released_ddspure_is_told_the_attacks_radius(words: str, radius: float) -> None:
    released = full("purifier=ddspure/legacy", *words.split())["purifier"]["ddspure"]
    assert released["radius"] == radius
    assert (
        full("purifier=ddspure", "attack=aspl", "attack.radius=4")["purifier"]["ddspure"]["radius"]
        == 11
    )


@pytest.mark.parametrize(
    ("method", "right", "lacks"),
    [
        ("gridpure", "gridpure", set()),
        ("ddspure", "ddspure", set()),
        ("pixel_diffpure", "pixel_diffpure/tiled", set()),
        ("pixel_diffpure", "pixel_diffpure", {"storage"}),
    ],
)
def test_each_slip_that_the_docs_name_is_a_key(method: str, right: str, lacks: set[str]) -> None:
    """It alone makes of the correct value the released one."""
    table = SLIPS_TABLE.read_text().split("| key | right |")[1].split("\n\n")[0]
    slips = re.findall(r"^\| `([\w.]+)` \|", table, re.MULTILINE)
    assert slips == ["diffpure.unit_range", "diffpure.respacing", "diffpure.skip_last", "storage"]
    correct = flat(full(f"purifier={right}")["purifier"][method])
    released = flat(full(f"purifier={method}/legacy")["purifier"][method])
    assert set(slips) - correct.keys() == lacks
    for key in (slip for slip in slips if slip not in lacks):
        value = released[key]
        assert value != correct[key]
        slipped = full(f"purifier={right}", f"purifier.{method}.{key}={str(value).lower()}")
        assert flat(slipped["purifier"][method]) == correct | {key: value}


def flat(link: dict[str, Any]) -> dict[str, Any]:
    """The values of a link, those of its DiffPure under dotted names."""
    inner = {f"diffpure.{key}": value for key, value in plain(link["diffpure"]).items()}
    return plain(link) | inner


def test_tiled_and_released_pixel_diffpure_differ_by_the_slips_alone() -> None:
    tiled, released = (
        flat(full(f"purifier=pixel_diffpure/{name}")["purifier"]["pixel_diffpure"])
        for name in ("tiled", "legacy")
    )
    differ = {key for key in tiled if tiled[key] != released[key]}
    named = {"diffpure.unit_range", "diffpure.respacing", "diffpure.skip_last", "storage"}
    assert differ == named | {"float_iterate"}  # where in the loop the bytes wrap


def test_the_docs_name_both_zoos_schedules() -> None:
    """Every value of `scale`, in the table of docs/mini.md."""
    mini = config.resolve(config.compose([]))["scale"]
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \| (\S+) \|$", TABLE.read_text(), re.MULTILINE)
    found = {key: (float(small), float(large)) for key, small, large in rows}
    assert found == {key: (float(mini[key]), float(full()["scale"][key])) for key in mini}
