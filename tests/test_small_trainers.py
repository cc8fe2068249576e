"""LoRA, textual inversion, Custom Diffusion: what is trained, what is written, who reads it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from diffshortcut.config import catalog, config
from diffshortcut.dreambooth import Posterior, Settings, Training, descend
from diffshortcut.errors import UserError
from diffshortcut.export import pipeline
from diffshortcut.models import adapters
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.seeding import Draws
from diffshortcut.trainers.custom_diffusion import CustomDiffusion
from diffshortcut.trainers.dreambooth import DreamBooth
from diffshortcut.trainers.lora import LoRA
from diffshortcut.trainers.textual_inversion import TextualInversion

DRAWS = Draws(0, "personalize", "nobody")
WORD = "q"  # the tiny tokenizer has letters
PROMPT = f"a photo of {WORD} person"
OPTIONS: dict[str, tuple[type[DreamBooth], dict[str, Any]]] = {
    "lora": (LoRA, {"rank": 2}),
    "lora of both": (LoRA, {"rank": 2, "text_encoder": True}),
    "textual inversion": (TextualInversion, {"word": WORD, "initial_word": "p"}),
    "custom diffusion": (CustomDiffusion, {"word": WORD}),
}
KINDS = list(OPTIONS)
NAMES = ["lora", "textual_inversion", "custom_diffusion"]


def images(name: str, count: int = 2) -> torch.Tensor:
    return DRAWS.uniform(name, (3, 32, 32), count)


def trainer(kind: str, model: LatentDiffusion, **changes: object) -> DreamBooth:
    target, options = OPTIONS[kind]
    values = {"instance_prompt": PROMPT, "class_prompt": "a photo", "learning_rate": 1e-2}
    return target(model=model, **{"steps": 3, **values, **options, **changes})


def trained(kind: str, model: LatentDiffusion, **changes: object) -> LatentDiffusion:
    return trainer(kind, model, **changes)(images("x"), images("prior"), DRAWS)


def saved(kind: str, model: LatentDiffusion, folder: Path, **changes: object) -> Path:
    trained(kind, model, **changes).save(folder)
    return folder


@torch.no_grad()
def output(model: LatentDiffusion, prompt: str = PROMPT) -> torch.Tensor:
    """The denoiser's output, of the model or of a pipeline."""
    z, t = DRAWS.normal("z", model.latent_shape, 2), torch.tensor([10, 600])
    return model.predict(z, t, model.encode_prompt([prompt]))


@torch.no_grad()
def plain(pipe: StableDiffusionPipeline, prompt: str = PROMPT) -> torch.Tensor:
    """The same by plain diffusers."""
    context, _ = pipe.encode_prompt(prompt, "cpu", 2, do_classifier_free_guidance=False)
    z = DRAWS.normal("z", (4, 4, 4), 2)
    return pipe.unet(z, torch.tensor([10, 600]), encoder_hidden_states=context).sample


def changed(before: LatentDiffusion, after: LatentDiffusion) -> dict[str, torch.Tensor]:
    """The weights that differ, as booleans."""
    pairs = {
        name: (p != q)
        for part in ("unet", "text_encoder")
        for (name, p), q in zip(
            getattr(before, part).named_parameters(), getattr(after, part).parameters(), strict=True
        )
    }
    return {name: differs for name, differs in pairs.items() if differs.any()}


def projections(model: LatentDiffusion, ends: tuple[str, ...], part: str = "unet") -> set[str]:
    named = getattr(model, part).named_parameters()
    return {name for name, _ in named if name.endswith(tuple(f"{end}.weight" for end in ends))}


def test_what_each_trainer_changes(model: LatentDiffusion, tmp_path: Path) -> None:
    def after(kind: str) -> dict[str, torch.Tensor]:
        folder = tmp_path / kind
        folder.mkdir()
        return changed(model, model.with_weights(saved(kind, model, folder)))

    attention = projections(model, ("to_q", "to_k", "to_v", "to_out.0"))
    text = projections(model, ("q_proj", "k_proj", "v_proj", "out_proj"), "text_encoder")
    assert len(attention) == 32 and len(text) == 8
    assert set(after("lora")) == attention
    assert set(after("lora of both")) == attention | text
    (embedding,) = (name for name in after("textual inversion"))
    assert embedding.endswith("token_embedding.weight")
    keys = projections(model, ("attn2.to_k", "attn2.to_v"))
    assert set(after("custom diffusion")) == keys | {embedding}
    index = adapters.token_index(model.tokenizer, WORD)
    for kind in ("textual inversion", "custom diffusion"):
        rows = changed(model, model.with_weights(tmp_path / kind))[embedding]
        assert rows[index].all() and rows.any(1).sum() == 1


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_comes_back(kind: str, model: LatentDiffusion, tmp_path: Path) -> None:
    before = output(model)
    tuned = trained(kind, model)
    tuned.save(tmp_path)
    assert not torch.allclose(output(tuned), before, atol=1e-5)
    back = model.with_weights(tmp_path)
    torch.testing.assert_close(output(back), output(tuned))
    assert not any(p.requires_grad for p in back.trainable_parameters())
    assert torch.equal(output(model), before)


@pytest.mark.parametrize("kind", KINDS)
def test_no_steps_change_nothing(kind: str, model: LatentDiffusion, tmp_path: Path) -> None:
    back = model.with_weights(saved(kind, model, tmp_path, steps=0))
    if kind == "textual inversion":  # it starts as another word
        same = output(back), output(model, PROMPT.replace(WORD, "p"))
    else:
        same = output(back), output(model)
    torch.testing.assert_close(*same)


@pytest.mark.parametrize("kind", ["lora", "lora of both"])
def test_plain_diffusers_loads_the_lora(kind: str, model: LatentDiffusion, tmp_path: Path) -> None:
    pipe = pipeline(model.frozen_copy())
    torch.testing.assert_close(plain(pipe), output(model))
    pipe.load_lora_weights(saved(kind, model, tmp_path), local_files_only=True)
    tuned = output(model.with_weights(tmp_path))
    torch.testing.assert_close(plain(pipe), tuned)
    assert not torch.allclose(tuned, output(model), atol=1e-5)
    keys = load_file(tmp_path / adapters.LORA)
    parts = {"unet"} | ({"text_encoder.text_model"} if kind == "lora of both" else set())
    assert all(any(key.startswith(f"{part}.") for part in parts) for key in keys)
    assert all(any(key.startswith(f"{part}.") for key in keys) for part in parts)


@pytest.mark.parametrize("kind", ["textual inversion", "custom diffusion"])
def test_plain_diffusers_loads_the_word(kind: str, model: LatentDiffusion, tmp_path: Path) -> None:
    saved(kind, model, tmp_path)
    pipe = pipeline(model.frozen_copy())
    pipe.tokenizer = type(pipe.tokenizer).from_pretrained(_tokenizer(model, tmp_path))
    given = {"weight_name": adapters.EMBEDDINGS, "local_files_only": True}
    pipe.load_textual_inversion(tmp_path, token="<person>", **given)
    if kind == "custom diffusion":  # diffusers wants empty entries, which no safetensors can hold
        others = {name: {} for name in pipe.unet.attn_processors if "attn1" in name}
        stored = load_file(tmp_path / adapters.KEYS_AND_VALUES)
        pipe.unet.load_attn_procs(others | stored, _pipeline=pipe)
    tuned = output(model.with_weights(tmp_path))
    torch.testing.assert_close(plain(pipe, PROMPT.replace(WORD, "<person>")), tuned)


def _tokenizer(model: LatentDiffusion, folder: Path) -> Path:
    """Its files, for a tokenizer that may be changed."""
    model.tokenizer.save_pretrained(folder / "tokenizer")
    return folder / "tokenizer"


@pytest.mark.parametrize("kind", KINDS)
def test_training_ignores_the_global_generator(kind: str, model: LatentDiffusion) -> None:
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        tuned = trained(kind, model)
        assert torch.equal(state, torch.get_rng_state())
        results.append([p.detach() for p in tuned.trainable_parameters()])
    assert all(map(torch.equal, *results))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_trained_lowers_the_loss(kind: str, model: LatentDiffusion) -> None:
    """Of the same images, noises and timesteps, for the effect on random networks is small."""
    z, noise = (DRAWS.normal(name, model.latent_shape, 4) for name in ("z", "noise"))
    tuned, t = trainer(kind, model).start(DRAWS), torch.tensor([50, 300, 600, 900])
    optimizer = tuned.precision.new_optimizer(tuned.trainable_parameters(), 1e-2)
    losses = []
    for _ in range(5):
        loss = tuned.denoising_loss(z, tuned.encode_prompt([PROMPT]), t, noise).mean()
        losses.append(loss.item())
        descend(optimizer, [loss])
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0]


def test_the_start_token_teaches_the_cross_attention_nothing(model: LatentDiffusion) -> None:
    tuned = trainer("custom diffusion", model).start(DRAWS)
    z, t = DRAWS.normal("z", model.latent_shape, 2), torch.tensor([10, 600])
    context = model.encode_prompt([PROMPT])
    same = model.predict(z, t, context)
    gradients = {}
    for tokens in (1, 2):
        part = context[:, :tokens]
        loss = tuned.predict(z, t, part).square().sum()
        weights = tuned.trainable_parameters()[:-1]
        slopes = torch.autograd.grad(loss, weights)
        gradients[tokens] = sum(float(slope.abs().sum()) for slope in slopes)
    assert gradients[1] == 0 < gradients[2]
    torch.testing.assert_close(tuned.predict(z, t, context), same)


def test_a_loss_without_class_images(model: LatentDiffusion) -> None:
    """It is the instance loss, and takes the very draws of the one with class images."""
    settings = Settings(instance_prompt="a", class_prompt="b", learning_rate=1e-3, prior_batch=0)
    x = Posterior.of(model, images("x"))
    without = Training(model, settings, None, DRAWS)
    seen = without._sample("instance", x, 1)
    assert torch.equal(seen, Training(model, settings, x, DRAWS)._sample("instance", x, 1))
    without.train(x, 2)
    assert changed(model, without.model)


def test_class_images_are_needed_for_prior_preservation_only(model: LatentDiffusion) -> None:
    assert trainer("textual inversion", model).prior_batch == 0
    trainer("textual inversion", model)(images("x"), None, DRAWS)
    trainer("lora", model, prior_batch=0)(images("x"), None, DRAWS)
    with pytest.raises(UserError, match="trainer.prior="):
        trainer("lora", model)(images("x"), None, DRAWS)


def test_a_word_of_several_tokens_is_refused(model: LatentDiffusion) -> None:
    with pytest.raises(UserError, match="'sks' is 3 tokens"):
        trained("custom diffusion", model, word="sks")


def test_a_folder_without_weights_is_refused(model: LatentDiffusion, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no trained weights"):
        model.with_weights(tmp_path)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("lora", {"rank": 0}),
        ("lora", {"prior_batch": -1}),
        ("textual inversion", {"instance_batch": 0}),
        ("custom diffusion", {"steps": -1}),
    ],
)
def test_senseless_values_are_refused(
    kind: str, change: dict[str, int], model: LatentDiffusion
) -> None:
    with pytest.raises(ValueError):
        trainer(kind, model, **change)


@pytest.mark.parametrize("name", NAMES)
def test_contrastive_decoupling_is_a_choice_of_prompts(name: str) -> None:
    def node(choice: str) -> dict[str, Any]:
        return config.resolve(config.compose([f"trainer={choice}"]))["trainer"]

    decoupled = {"instance_prompt", "class_prompt", "inference_suffix"}
    own, with_cdl, cdl = node(name), node(f"{name}/cdl"), node("cdl")
    assert {key for key in own if own[key] != with_cdl[key]} == decoupled
    assert all(with_cdl[key] == cdl[key] for key in decoupled)
    assert own.keys() == with_cdl.keys()


def test_parts_of_options_are_no_options() -> None:
    expected = {"dreambooth", "cdl", *NAMES, *(f"{name}/cdl" for name in NAMES)}
    assert set(catalog.groups()["trainer"]) == expected


SMALL = {
    "lora": {"steps": 500, "learning_rate": 1e-4, "instance_batch": 1, "prior_batch": 1, "rank": 4},
    "textual_inversion": {
        "steps": 3000,
        "learning_rate": 2e-3,  # 5e-4, scaled by 4 accumulated batches
        "instance_batch": 4,
        "prior_batch": 0,
        "word": "sks",
        "initial_word": "person",
    },
    "custom_diffusion": {
        "steps": 250,
        "learning_rate": 4e-5,  # 1e-5, scaled by the batch of 2 and by 2 for the prior's
        "instance_batch": 2,
        "prior_batch": 2,
        "word": "sks",
    },
}


@pytest.mark.parametrize("name", NAMES)
def test_the_full_zoo_trains_as_diffusers_examples_do(name: str) -> None:
    node = config.resolve(config.compose(["zoo=full", f"trainer={name}"]))["trainer"]
    assert {key: node[key] for key in SMALL[name]} == SMALL[name]
    assert (node["prior"] is None) == (node["prior_batch"] == 0) and node["prior_weight"] == 1
