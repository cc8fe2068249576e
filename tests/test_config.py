"""The config: everything composes, mistakes are named, arms are what they should be."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from diffshortcut import run
from diffshortcut.artifacts import sources
from diffshortcut.config import arms, catalog, config, schema, usage
from diffshortcut.errors import UserError

ROOTED = ("folder", "antidreambooth", "wikiart")  # data that are not in the package
OPTIONS = [
    f"{group}={option}"
    for group, options in catalog.groups().items()
    for option in options
    if option not in ("full", *ROOTED) and not option.startswith("sd")
]


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_composes_and_fits_its_target(option: str) -> None:
    cfg = config.resolve(config.compose([option]))
    config.check(cfg)
    for node in nodes(cfg):  # who can split a batch says so in the yaml
        signature = schema.signature(node["_target_"])
        assert "micro_batch" not in signature or "micro_batch" in node


@pytest.mark.parametrize("option", ROOTED)
def test_data_elsewhere_need_their_place(option: str) -> None:
    config.check(config.resolve(config.compose([f"data={option}", "data.root=x"])))
    with pytest.raises(UserError, match="data.root is missing: add data.root="):
        config.resolve(config.compose([f"data={option}"]))


STYLE = ["style", "quality", "faithfulness"]


@pytest.mark.parametrize(
    "overrides",
    [
        "data=paintings",
        "data=wikiart data.root=x",
        "data=folder data.root=x prompts=style",
        "experiment=quickstart data=paintings",
    ],
)
def test_paintings_bring_their_prompts_and_scores(overrides: str) -> None:
    for arm in arms.compose(["purifier=ours", "attack=glaze", *overrides.split()]):
        cfg = arm.config
        assert list(cfg["metric"]) == STYLE
        assert "detector" not in cfg["metric"]["faithfulness"]
        assert cfg["metric"]["quality"]["subject"] == "painting"
        assert cfg["prior"]["prompt"] == "a painting"
        assert cfg["trainer"]["instance_prompt"].startswith("a painting in the style of sks")
        assert cfg["sampler"]["prompts"] == [
            "a painting in the style of sks",
            "a painting of a person in the style of sks",
        ]


def test_the_command_line_wins_over_the_datas_prompts_and_scores() -> None:
    cfg = config.resolve(config.compose(["data=paintings", "prompts=paper", "metric=[ims]"]))
    assert (list(cfg["metric"]), cfg["prompts"]["subject"]) == (["ims"], "face")


@pytest.mark.parametrize("metric", ["ims", "faithfulness"])
def test_no_faces_are_compared_where_there_are_none(metric: str) -> None:
    overrides = ["data=paintings", f"metric=[style,{metric}]"]
    cfg = config.resolve(config.compose(overrides))
    with pytest.raises(UserError, match=f"metric.{metric} compares faces, .*subject=painting"):
        config.check(cfg)
    config.check(cfg | {"stages": "protect"})  # where nothing is scored
    config.check(config.resolve(config.compose([*overrides, "prompts.subject=face"])))


@pytest.mark.parametrize("option", [o for o in OPTIONS if o.startswith(("attack", "purif", "sam"))])
def test_every_method_composes_in_the_full_zoo(option: str) -> None:
    config.check(config.resolve(config.compose(["zoo=full", option])))


def test_the_full_zoo_has_the_papers_numbers() -> None:
    cfg = config.resolve(config.compose(["zoo=full", "attack=metacloak", "purifier=ours"]))
    assert cfg["scale"] == {
        "prior_images": 200,
        "prior_steps": 50,
        "dreambooth_steps": 1000,
        "dreambooth_learning_rate": 5e-7,
        "dreambooth_decay": 0,
        "dreambooth_batch": 1,
        "dreambooth_prior_batch": 1,
        "sampler_steps": 100,
        "sampler_images": 16,
        "aspl_rounds": 50,
        "surrogate_learning_rate": 5e-7,
        "strong_surrogate_learning_rate": 5e-6,
        "metacloak_surrogate_steps": 1000,
        "metacloak_snapshots": 6,
        "metacloak_trails": 4,
        "metacloak_rounds": 100,
        "fixed_steps": 100,
        "photoguard_encoder_steps": 200,
        "photoguard_steps": 200,
        "photoguard_samples": 10,
        "glaze_steps": 500,
        "glaze_learning_rate": 0.005,
        "mist_rate": 1e4,
        "mist_v2_rounds": 5,
        "mist_v2_learning_rate": 1e-4,
        "caat_steps": 250,
        "caat_learning_rate": 1e-5,
        "greedy_steps": 50,
        "pid_steps": 1000,
        "adaptive_steps": 200,
        "adaptive_samples": 4,
        "sr_steps": 75,
        "pixel_batch": 10,
        "latent_diffpure_steps": 301,
        "pixel_diffpure_t": 100,
        "gridpure_iterations": 10,
        "impress_steps": 3000,
        "impress_face_steps": 1000,
        "prior_batch": 4,
        "sampler_guidance": 7.5,
        "sampler_legacy_guidance": 6.5,
        "prior_guidance": 6.5,
        "dreambooth_lora_steps": 500,
        "dreambooth_lora_learning_rate": 1e-4,
        "dreambooth_lora_rank": 4,
        "textual_inversion_steps": 3000,
        "textual_inversion_learning_rate": 2e-3,
        "custom_diffusion_steps": 250,
        "custom_diffusion_learning_rate": 4e-5,
    }
    assert cfg["zoo"]["resolution"] == 512
    assert cfg["model"]["weights"] == cfg["surrogate"]["weights"] == "full:sd21base"
    attack, sampler = cfg["attack"], cfg["sampler"]
    assert (attack["radius"], attack["pgd_steps"], attack["trails"]) == (11, 6, 4)
    assert (sampler["steps"], sampler["images"], len(sampler["prompts"])) == (100, 16, 2)


@pytest.mark.parametrize("name", ["mini_a", "mini_b", "mini_c"])
def test_surrogates_and_victims_are_loaded_alike(name: str) -> None:
    own = config.resolve(config.compose([f"model={name}"]))
    transfer = config.resolve(config.compose([f"surrogate={name}"]))
    assert own["model"] == own["surrogate"] == transfer["surrogate"]
    assert own["surrogate"] == own["surrogate_prior"]["model"]


def test_the_zoos_have_the_same_keys() -> None:
    mini, full = (config.resolve(config.compose([f"zoo={name}"])) for name in ("mini", "full"))
    for part in ("zoo", "scale"):
        assert mini[part].keys() == full[part].keys()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("attack=metacloac", "no attack 'metacloac'. Did you mean 'metacloak'?"),
        ("purifier=[jpeg,srr]", "no purifier 'srr'. Did you mean 'sr'?"),
        ("purifier=gaussian/legcy", "Did you mean 'gaussian/legacy'?"),
        ("hydra/launcher=grph", "no hydra/launcher 'grph'. Did you mean 'graph'?"),
        ("atack=aspl", "the config has no key 'atack'. Did you mean 'attack'?"),
        ("+atack=aspl", "the config has no key 'atack'. Did you mean 'attack'?"),
        ("attack=aspl attack.radus=3", "attack has no key 'radus'. Did you mean 'radius'?"),
        ("attack=aspl +attack.radus=3", "attack has no key 'radus'. Did you mean 'radius'?"),
        ("attack=aspl attack.radius=big", "attack.radius must be float, not 'big'"),
        ("seed=one", "seed must be int, not 'one'"),
        ("runtime.threads=0", "runtime.threads must be at least 1"),
        ("scale.sr_steps=few", "scale.sr_steps must be float, not 'few'"),
        ("data=folder", "data.root is missing: add data.root=..."),
        ("attack=[a", "attack=[a"),
        ("attack._target_=os.system", "'os.system' is not in diffshortcut"),
        ("attack._target_=diffshortcut.attacks.none.NoAtack", "no such function or class"),
        ("zoo=full model=mini_a", "model.weights=mini:mini_a cannot be used with zoo=full"),
        ("model=sd21base", "model.weights=full:sd21base cannot be used with zoo=mini"),
        ("attack=aspl attack.radius=nan", "attack.radius must be finite, not nan"),
        ("scale.sampler_guidance=inf", "scale.sampler_guidance must be finite, not inf"),
        ("+runtime.thread=4", "runtime has no key 'thread'. Did you mean 'threads'?"),
        ("runtime.device=cud", "runtime.device: 'cud' is none of auto, cpu, cuda."),
        ("runtime.fail_fast=1", "runtime.fail_fast must be bool, not 1"),
        ("~runtime.store", "runtime.store is missing: write runtime.store=..."),
        ("~attack", "attack is missing: write attack=none"),
        ("+prior.image=3", "prior has no key 'image'. Did you mean 'images'?"),
        ("prior.images=0", "prior.images must be at least 1, not 0"),
        ("prior.steps=many", "prior.steps must be int, not 'many'"),
        ("surrogate_prior.guidance=-1", "surrogate_prior.guidance must be at least 0, not -1"),
        ("prompts.identifier=3", "prompts.identifier must be str, not 3"),
        ("zoo.resolution=0", "zoo.resolution must be at least 8, not 0"),
        ("zoo.resolution=64.5", "zoo.resolution must be int, not 64.5"),
        ("logger.name=wandbb", "'wandbb' is none of none, wandb. Did you mean 'wandb'?"),
        ("logger=none logger.name=wandb", "logger.project is missing"),
        ("logger.timeout=0", "logger.timeout must be at least 1, not 0"),
        ("+compare.cleen=x", "compare has no key 'cleen'. Did you mean 'clean'?"),
        ("attack=aspl compare.clean=cleen", "compare.clean: no arm is called 'cleen'. Did you"),
        ("compare.claims=[{metric:ims}]", "{'metric': 'ims'} is not {metric: ..., arm: ..., riv"),
        ("compare.claims=[{metric:a,arm:clean,rivals:[]}]", "is not {metric: ..., arm: ..., riv"),
        ("compare.claims=[{metric:a,arm:b,rivals:[clean]}]", "claims: no arm is called 'b'"),
        ("compare.pairs=[[clean,b]]", "compare.pairs: no arm is called 'b'"),
        (
            "compare.pairs=[[clean]]",
            "compare.pairs must be list[tuple[str, str]] such as [[ours, jpeg]], not [['clean']]",
        ),
        (
            "crop={face:1}",
            "crop must be an option of crop (crop=face; in a yaml `- override /crop: face`) or a",
        ),
        ("prior.model=mini_a", "prior.model must be a node with _target_, not 'mini_a'"),
        ("compare.claims=[{metric:a,arm:b,rivals:[c],x:1}]", "is not {metric: ..., arm: ..., riv"),
        ("compare.claims=[{metric:a,arm:clean,rivals:[clean]}]", "clean is its own rival"),
        (
            "attack=aspl compare.family=0 compare.claims=[{metric:a,arm:clean,rivals:[protected]}]",
            "compare.family: 1 claims are declared here",
        ),
        ("compare.family=all", "compare.family must be int | None, not 'all'"),
        ("purifier=[jpeg,jpeg]", "purifier=[jpeg,jpeg]: 'jpeg' is named twice"),
        (
            "purifier=[gridpure,gridpure/legacy]",
            "gridpure/legacy]: gridpure and gridpure/legacy both have a link 'gridpure'",
        ),
        ("purifier=[pdm_pure,jpeg,sr]", "pdm_pure and sr both have a link 'sr'"),
        ("metric=[ims,ims/legacy]", "ims and ims/legacy both have a link 'ims'"),
        (
            "compare.arms=[{name:x,overrides:['purifier=[sr,sr/legacy]']}]",
            "arm x: purifier=[sr,sr/legacy]: sr and sr/legacy both have a link 'sr'",
        ),
        (
            "attack=adaptive attack.target=[noisy_upscale,codeformer_sr]",
            "noisy_upscale and codeformer_sr both have a link 'sr'",
        ),
        (
            "trainer=[dreambooth,cdl]",
            "only purifier and metric are chains; a run each: -m trainer=dreambooth,cdl",
        ),
        ("attack=[aspl,mist]", "only purifier and metric are chains; a run each: -m attack=aspl"),
        (
            "attack=easpl surrogate=mini_b",
            "(mini_a, mini_b, mini_c) instead; in its place leave one out by ~attack.surrogates",
        ),
        (
            "attack=aspl attack.micro_batch=-1",
            "attack.micro_batch must be a number of images from 1",
        ),
        ("prior.micro_batch=0", "prior.micro_batch must be a number of images from 1, or null"),
        ("attack=aspl attack.micro_batch=true", "or null: all; not True"),
        ("compare.claims=[3]", "compare.claims: 3 is not {metric: ..., arm: ..., rivals: [...]}"),
        (
            "attack=aspl +compare.worst={w:[clean,protecte]}",
            "'protecte'. Did you mean 'protected'?",
        ),
        ("+compare.worst={w:[a,b]}", "compare.worst: no arm is called 'a'"),
        ("attack=aspl +compare.worst={clean:[clean,protected]}", "called 'clean' already"),
        ("+compare.worst={w:[clean]}", "compare.worst: 'w' needs two arms or more, each once"),
        ("+compare.worst={w:[clean,clean]}", "compare.worst: 'w' needs two arms or more"),
        (
            "+compare.worst={w:clean}",
            "compare.worst must be dict[str, list[str]] such as {adaptive: [ours, jpeg]}, not",
        ),
        ("compare.worst.w=[clean]", "no key 'w'. To add it: +compare.worst.w=..."),
        ("compare.worst={w:[clean]}", "no key 'w'. To add it: +compare.worst.w=..."),
        ("+compare.worst={1:[clean,clean]}", "compare.worst: 1 is not a name"),
        ("+compare.wurst=x", "compare has no key 'wurst'. Did you mean 'worst'?"),
        (
            "attack=aspl +compare.worst={w:[clean,protected]} compare.clean=w",
            "clean: no arm is call",
        ),
        ("compare.arms=[clean]", "compare.arms: 'clean' is not {name: ..., overrides: [...]}"),
    ],
)
def test_a_mistake_is_one_line_with_the_close_match(
    overrides: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    monkeypatch.setattr(sys, "argv", ["run", *overrides.split()])
    with pytest.raises(SystemExit) as stopped:
        run.main()
    text = str(stopped.value)
    assert message in text and text.startswith("error: ") and "\n" not in text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("override", "advice"),
    [
        ("attack=null", "write attack=none"),
        ("attack=3", "write attack=none"),
        ("purifier=null", "write purifier=none"),
        ("logger=null", "write logger=none"),
        ("surrogate=null", "write surrogate=mini_a or mini_b or"),
    ],
)
def test_a_group_has_no_null(override: str, advice: str) -> None:
    with pytest.raises(UserError, match=f"{override}: leave it out, or {advice}"):
        arms.compose([override])


def test_a_purifier_that_is_taken_away_is_none() -> None:
    found = arms.compose(["attack=aspl", "~purifier"])
    assert [arm.name for arm in found] == ["clean", "protected"]


def test_an_arm_alone_needs_no_clean_one() -> None:
    assert [arm.name for arm in arms.compose(["attack=aspl", "compare.arms=[]"])] == ["aspl"]
    random = "compare.arms=[{name: random, overrides: ['attack=random']}]"
    assert len(arms.compose(["attack=aspl", random, "compare.clean=null"])) == 2
    with pytest.raises(UserError, match="no arm is called 'clean'. There are: random, aspl"):
        arms.compose(["attack=aspl", random])


def test_declared_claims_and_pairs_are_accepted() -> None:
    claim = "compare.claims=[{metric: ims, arm: aspl+jpeg, rivals: [clean, protected]}]"
    pair = "compare.pairs=[[protected, clean]]"
    found = arms.compose(["attack=aspl", "purifier=jpeg", claim, pair])
    assert found[-1].config["compare"]["pairs"] == [["protected", "clean"]]


def test_arms_may_differ_in_the_order_of_a_chain_only() -> None:
    turned = "compare.arms=[{name: turned, overrides: ['purifier=[sr,jpeg]']}]"
    found = arms.compose(["attack=aspl", "purifier=[jpeg,sr]", turned, "compare.clean=null"])
    assert [list(arm.config["purifier"]) for arm in found] == [["sr", "jpeg"], ["jpeg", "sr"]]


def test_a_worst_of_arm_may_be_claimed_and_paired() -> None:
    worst = "+compare.worst={either: [protected, aspl+jpeg]}"
    claim = "compare.claims=[{metric: ims, arm: clean, rivals: [either]}]"
    found = arms.compose(
        ["attack=aspl", "purifier=jpeg", worst, claim, "compare.pairs=[[either, protected]]"]
    )
    assert [arm.name for arm in found] == ["clean", "protected", "aspl+jpeg"]  # no cell of its own
    assert found[-1].config["compare"]["worst"] == {"either": ["protected", "aspl+jpeg"]}
    assert arms.compose([])[-1].config["compare"]["worst"] == {}


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield from [value] if "_target_" in value else []
        value = list(value.values())
    if isinstance(value, list):
        for child in value:
            yield from nodes(child)


def test_a_key_that_only_the_target_has_reaches_every_arm_that_can_take_it(plugin: str) -> None:
    listed = "compare.arms=[{name: a, overrides: ['attack=none']}, {name: b, overrides: [%s]}]"
    listed %= "'attack=shield', 'seed=1'"
    found = arms.compose(["attack=shield", "+attack.steps=4", listed, "compare.clean=null"])
    none, shield, own = (arm.config["attack"] for arm in found)
    assert none.keys() == {"_target_"} and shield == own and own["steps"] == 4
    plain = arms.compose(["attack=aspl", "+attack.micro_batch=1", "++sampler.micro_batch=4"])
    assert [arm.config["sampler"]["micro_batch"] for arm in plain] == [4, 4]
    assert plain[-1].config["attack"]["micro_batch"] == 1


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError(13, "Permission denied", "/secret"), "/secret: Permission denied"),
        (OSError("no such model"), "data: no such model"),
    ],
)
def test_what_cannot_be_read_is_the_users_error(
    monkeypatch: pytest.MonkeyPatch, error: OSError, message: str
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr("diffshortcut.data.portraits.choose", refuse)
    node = {"_target_": "diffshortcut.data.portraits.people", "people": 1}
    with pytest.raises(UserError) as raised:
        config.build(node, "data")
    assert str(raised.value) == message


def test_help_lists_nested_presets() -> None:
    text = usage.help_text([])
    assert "gaussian/legacy" in text and "seed=0" in text
    assert re.findall(r"^hydra.*:", text, re.MULTILINE) == ["hydra/launcher:"]


PLUGIN = """
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

Tensor = Any

@dataclass(frozen=True, kw_only=True)
class Base:
    radius: float

@dataclass(frozen=True, kw_only=True)
class Attack(Base):
    unit: ClassVar[str] = "levels"
    steps: int = 1
    mode: Literal["mean", "max"] = "mean"
    sizes: tuple[int, ...] = ()
    pair: tuple[int, int] | None = None
    names: list[str] = field(default_factory=list)
    inner: "Base | None" = None
    cache: dict[str, float] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        if self.radius < 0:
            raise ValueError(f"radius must be at least 0, not {self.radius}")

def load(*, weights: str, size: int = 2) -> Base:
    return Base(radius=size)
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with one python file and one yaml, trusted by the environment."""
    root = tmp_path / "shield_plugin"
    (root / "conf" / "attack").mkdir(parents=True)
    (root / "__init__.py").write_text("")
    (root / "shield.py").write_text(PLUGIN)
    target = "shield_plugin.shield.Attack"
    (root / "conf" / "attack" / "shield.yaml").write_text(f"_target_: {target}\nradius: 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("DIFFSHORTCUT_PLUGINS", "shield_plugin")
    caches = (
        schema.plugins,
        catalog._of_plugins,
        schema.signature,
        sources.module_file,
        sources._package_root,
    )
    for cached in caches:
        cached.cache_clear()
    yield target
    sys.modules.pop("shield_plugin", None)
    sys.modules.pop("shield_plugin.shield", None)
    monkeypatch.undo()
    for cached in caches:
        cached.cache_clear()


def test_a_plugin_is_one_file_and_one_yaml(plugin: str) -> None:
    assert "shield" in catalog.groups()["attack"]
    *_, arm = arms.compose(["attack=shield", "attack.radius=4"])
    assert arm.name == "protected"
    assert config.build(arm.config["attack"]).radius == 4
    with pytest.raises(UserError, match="attack has no key 'stps'. Did you mean 'steps'"):
        arms.compose(["attack=shield", "+attack.stps=4"])


def test_transformations_that_an_attack_would_not_take_are_refused(plugin: str) -> None:
    assert arms.compose(["attack=shield", "eot=none"])
    for words in (["attack=shield", "eot=strong"], ["attack=shield", "eot=draws"]):
        with pytest.raises(UserError, match=r"the attack has no key eot.*eot: \$\{eot\}"):
            arms.compose(words)
    listed = "compare.arms=[{name: clean, overrides: ['attack=none']}, %s]"
    random, shield = (
        f"{{name: other, overrides: ['attack={name}']}}" for name in ("random", "shield")
    )
    found = arms.compose(["attack=aspl", "eot=strong", listed % random])
    assert [arm.name for arm in found] == ["clean", "other", "aspl"]
    with pytest.raises(UserError, match="arm other: eot=...: the attack has no key eot"):
        arms.compose(["attack=aspl", "eot=strong", listed % shield])
    beside = arms.compose(["attack=metacloak", listed % shield])  # the transforms are MetaCloak's
    assert [arm.name for arm in beside] == ["clean", "other", "metacloak"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, None),
        ({"radius": 3.5, "steps": 2, "mode": "max", "sizes": [1, 2, 3], "pair": [1, 2]}, None),
        ({"names": ["a"], "inner": {"_target_": "shield_plugin.shield.Base", "radius": 1}}, None),
        ({"pair": None, "inner": None, "sizes": []}, None),
        ({"steps": 2.0}, "attack.steps must be int, not 2.0"),
        ({"steps": True}, "attack.steps must be int, not True"),
        ({"mode": "median"}, "attack.mode must be"),
        ({"sizes": [1, "b"]}, "attack.sizes must be"),
        ({"sizes": 1}, "attack.sizes must be"),
        ({"pair": [1, 2, 3]}, "attack.pair must be"),
        ({"inner": 3}, "attack.inner must be"),
        ({"inner": {"_target_": "shield_plugin.shield.Base"}}, "attack.inner.radius is missing"),
        ({"inner": {"_target_": "shield_plugin.shield.load"}}, "attack.inner.weights is missing"),
        ({"radius": None}, "attack.radius must be float, not None"),
        ({"unit": "pixels"}, "attack has no key 'unit'"),
        ({"cache": {}}, "attack has no key 'cache'"),
        ({"_partial_": True}, "attack has no key '_partial_'"),
    ],
)
def test_values_are_checked_against_the_signature(
    plugin: str, given: dict, message: str | None
) -> None:
    node = {"_target_": plugin, "radius": 1, **given}
    if message is None:
        schema.check_node(node, "attack")
    else:
        with pytest.raises(UserError) as error:
            schema.check_node(node, "attack")
        assert str(error.value).startswith(message)
    assert "shield_plugin.shield" not in sys.modules


def test_a_method_judges_its_own_values(plugin: str) -> None:
    node = {"_target_": plugin, "radius": -1}
    for judge in (config.build, config.check_values):
        with pytest.raises(UserError, match="attack: radius must be at least 0, not -1"):
            judge(node, "attack")
    inside = {"_target_": plugin, "radius": 1, "inner": node}
    with pytest.raises(UserError, match="attack.inner: radius must be"):
        config.check_values(inside, "attack")


def parts(arm: arms.Arm) -> tuple[str, list[str], str, str]:
    attack = arm.config["attack"]["_target_"].rpartition(".")[2]
    prompt = arm.config["trainer"]["instance_prompt"]
    trainer = "cdl" if "noisy" in prompt else "dreambooth"
    sampler = "quality" if arm.config["sampler"]["negative_prompt"] else "plain"
    return attack, list(arm.config["purifier"]), trainer, sampler


def test_the_command_line_is_set_beside_clean_and_protected() -> None:
    clean, protected, own = arms.compose(["attack=metacloak", "purifier=ours", "attack.radius=8"])
    assert [clean.name, protected.name, own.name] == ["clean", "protected", "metacloak+ours"]
    assert parts(clean) == ("NoAttack", [], "dreambooth", "plain")
    assert parts(protected) == ("MetaCloak", [], "dreambooth", "plain")
    assert parts(own) == ("MetaCloak", ["codeformer", "sr"], "cdl", "quality")
    assert protected.config["attack"]["radius"] == own.config["attack"]["radius"] == 8


def test_equal_arms_appear_once() -> None:
    assert [arm.name for arm in arms.compose(["attack=aspl"])] == ["clean", "protected"]
    assert [arm.name for arm in arms.compose([])] == ["clean"]
    chain = arms.compose(["attack=aspl", "purifier=[sr,jpeg]"])[-1]
    assert (chain.name, list(chain.config["purifier"])) == ("aspl+sr+jpeg", ["sr", "jpeg"])


@pytest.mark.parametrize(
    ("chain", "name"),
    [
        ("[gridpure,sr]", "gridpure+sr"),
        ("[gridpure/legacy,sr]", "gridpure/legacy+sr"),
        ("[jpeg,codeformer_sr]", "jpeg+codeformer+sr"),
        ("[jpeg,codeformer_sr/legacy]", "jpeg+codeformer_sr/legacy"),
    ],
)
def test_a_chain_goes_by_its_links_and_presets(chain: str, name: str) -> None:
    arm = arms.compose(["attack=aspl", f"purifier={chain}"])[-1]
    assert (arm.name, arm.choices["purifier"]) == (f"aspl+{name}", name)
    alike = compose_arms("purifier=none", f"purifier={chain}")
    assert alike == name


def compose_arms(main: str, own: str) -> str:
    """What the purifiers of a listed arm are called."""
    listed = f"compare.arms=[{{name:x,overrides:['{own}']}}]"
    return arms.compose([main, listed, "compare.clean=null"])[0].choices["purifier"]


def test_a_value_may_refer_to_another_part_of_the_config() -> None:
    words = ["trainer=textual_inversion", "trainer.prior=${prior}", "trainer.prior_batch=1"]
    arm = arms.compose([*words, "purifier=[jpeg,sr]"])[-1]
    assert arm.config["trainer"]["prior"] == arm.config["prior"]
    assert arm.choices["purifier"] == "jpeg+sr"


def test_values_reach_the_arms_that_have_them() -> None:
    overrides = ["experiment=quickstart", "attack.radius=5", "attack.trails=2", "seed=3"]
    found = {arm.name: arm.config for arm in arms.compose(overrides)}
    assert list(found) == [
        "clean", "random", "aspl", "metacloak", "metacloak+jpeg", "clean+cdl+quality",
        "metacloak+ours",
    ]  # fmt: skip
    assert {name: cfg["attack"].get("radius") for name, cfg in found.items()} == {
        **dict.fromkeys(found, 5), "clean": None, "clean+cdl+quality": None,
    }  # fmt: skip
    assert found["metacloak+jpeg"]["attack"]["trails"] == 2
    assert {cfg["data"]["people"] for cfg in found.values()} == {8}
    assert {cfg["seed"] for cfg in found.values()} == {3}


def test_every_cell_of_quickstart_is_what_it_is_called() -> None:
    cells = {arm.name: parts(arm) for arm in arms.compose(["experiment=quickstart"])}
    assert cells == {
        "clean": ("NoAttack", [], "dreambooth", "plain"),
        "random": ("RandomNoise", [], "dreambooth", "plain"),
        "aspl": ("ASPL", [], "dreambooth", "plain"),
        "metacloak": ("MetaCloak", [], "dreambooth", "plain"),
        "metacloak+jpeg": ("MetaCloak", ["jpeg"], "dreambooth", "plain"),
        "clean+cdl+quality": ("NoAttack", [], "cdl", "quality"),
        "metacloak+ours": ("MetaCloak", ["codeformer", "sr"], "cdl", "quality"),
    }


def test_the_command_lines_arm_is_last_in_an_experiment_too() -> None:
    found = arms.compose(["experiment=quickstart", "purifier=gaussian"])
    assert [arm.name for arm in found][-2:] == ["metacloak+ours", "metacloak+gaussian"]


def test_ours_is_the_very_stage_of_codeformer_sr() -> None:
    ours, links = (arms.compose([f"purifier={n}"])[-1].config for n in ("ours", "codeformer_sr"))
    assert ours["purifier"] == links["purifier"]


def test_different_arms_of_one_name_are_refused() -> None:
    a = "{name: a, overrides: ['attack=random']}"
    b = "{name: a, overrides: ['attack=none']}"
    with pytest.raises(UserError, match="two different arms are called 'a'"):
        arms.compose([f"compare.arms=[{a}, {b}]", "attack=aspl"])


@pytest.mark.parametrize(
    ("word", "right"),
    [
        ("data.root=/tmp/höme/ad x", """'data.root="/tmp/höme/ad x"'"""),
        ("data.people=[ann, Jürgen]", """'data.people=["ann","Jürgen"]'"""),
    ],
)
def test_names_that_need_quotes_are_told_how(word: str, right: str) -> None:
    with pytest.raises(usage.CONFIG_ERRORS) as caught:
        config.compose(["data=folder", word])
    assert right in usage.explain(caught.value, [word])
    config.compose(["data=folder", right.strip("'")])  # what is told can be read


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("purifier=jpeg,sr", "add -m for a run with each, or purifier=[jpeg,sr] for a chain"),
        ("attack=aspl,mist", "attack=aspl,mist are several values: add -m for a run with each"),
    ],
)
def test_several_values_without_m_are_told_how(word: str, said: str) -> None:
    with pytest.raises(usage.CONFIG_ERRORS) as caught:
        config.compose([word])
    assert usage.explain(caught.value, [word]).endswith(said)


def test_a_list_of_arms_without_quotes_is_told_what_it_lacks() -> None:
    words = ["compare.arms=[{name: x, overrides: [purifier=jpeg]}]"]
    with pytest.raises(usage.CONFIG_ERRORS) as caught:
        config.compose(words)
    said = usage.explain(caught.value, words)
    assert said.startswith(f"{words[0]} cannot be read") and "['purifier=jpeg']" in said


def test_the_weights_that_a_config_names_are_found_at_any_depth() -> None:
    node = {"a": "mini:vae", "b": [{"c": "full:sd15/unet"}, "file:/x", "mini:vae"], "d": "mini"}
    assert config.references(node) == {"mini:vae", "full:sd15/unet", "file:/x"}
    assert config.references({"n": None, "seconds": 3.5}) == set()
