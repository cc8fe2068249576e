"""The few weights that a small personalization trains, and its files as plain diffusers reads them.

A pipeline's `load_lora_weights` reads `pytorch_lora_weights.safetensors`, `load_textual_inversion`
`learned_embeds.safetensors` (with `token=` a word that is new to the tokenizer). The names inside
`pytorch_custom_diffusion_weights.safetensors` are those of diffusers' Custom Diffusion.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from diffshortcut.errors import UserError
from diffshortcut.seeding import Draws

Net: TypeAlias = UNet2DConditionModel | CLIPTextModel
LORA = "pytorch_lora_weights.safetensors"
EMBEDDINGS = "learned_embeds.safetensors"
KEYS_AND_VALUES = "pytorch_custom_diffusion_weights.safetensors"
FILES = (LORA, EMBEDDINGS, KEYS_AND_VALUES)
ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]  # projections, as diffusers names them
TEXT_ATTENTION = ["q_proj", "k_proj", "v_proj", "out_proj"]  # and transformers
DOWN, UP = ".down.weight", ".up.weight"


def add_lora(
    net: Net,
    targets: Sequence[str],
    *,
    rank: int,
    draws: Draws,
    deviation: float | None = None,
) -> list[nn.Parameter]:
    """Give `net` a LoRA of its linear layers `targets`, which starts as no change; its weights.

    The first factors are normal, with `deviation` or else 1 / sqrt(inputs); the second are 0.
    """
    from peft import LoraConfig

    with torch.random.fork_rng():  # peft draws from the global generator; ours come below
        net.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(targets)))
    named = [(name, p) for name, p in net.named_parameters() if "lora_" in name]
    for name, weight in named:
        if "lora_A" in name:
            draw = draws.normal(name, weight.shape, images=1)[0]
            weight.data.copy_(draw * deviation if deviation else draw / weight.shape[1] ** 0.5)
    return [p for _, p in named]


def keys_and_values(denoiser: UNet2DConditionModel) -> dict[str, nn.Parameter]:
    """The key and value projections of every cross-attention (attn2), by name."""
    ends = ("attn2.to_k.weight", "attn2.to_v.weight")
    return {name: p for name, p in denoiser.named_parameters() if name.endswith(ends)}


def learn_word(
    text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, word: str, initial_word: str
) -> nn.Parameter:
    """Make the embedding of `word` a parameter of its own, (dim,), that starts as another's."""
    embedding = text_encoder.get_input_embeddings()
    indices = [token_index(tokenizer, name) for name in (word, initial_word)]
    one_row = OneRow(embedding, *indices)
    text_encoder.set_input_embeddings(one_row)
    return one_row.row


class OneRow(nn.Module):
    """An embedding of which one row is a parameter of its own, so that it alone is trained."""

    def __init__(self, embedding: nn.Embedding, index: int, start: int) -> None:
        super().__init__()
        self.embedding, self.index = embedding, index
        self.row = nn.Parameter(embedding.weight[start].detach().clone())

    def forward(self, indices: Tensor) -> Tensor:
        """(..., dim) of indices (...)."""
        return torch.where((indices == self.index)[..., None], self.row, self.embedding(indices))


def token_index(tokenizer: CLIPTokenizer, word: str) -> int:
    """The one token of a word; UserError if it has several."""
    indices = tokenizer(word, add_special_tokens=False).input_ids
    if len(indices) != 1:
        raise UserError(
            f"'{word}' is {len(indices)} tokens of the model's vocabulary, and a trainer of"
            " embeddings needs a word that is one: such as prompts.identifier=sks"
        )
    return indices[0]


def save_lora(folder: Path, *, unet: UNet2DConditionModel, text_encoder: CLIPTextModel) -> None:
    """Write the LoRA of the denoiser and, if it has one, of the text encoder."""
    found = {"unet": _lora_of(unet)}
    if getattr(text_encoder, "peft_config", None):
        found["text_encoder.text_model"] = _lora_of(text_encoder)
    named = {f"{net}.{name}": p for net, layers in found.items() for name, p in layers.items()}
    save_file({name: p.detach().cpu().contiguous() for name, p in named.items()}, folder / LORA)


def save_embedding(folder: Path, word: str, row: Tensor) -> None:
    """Write the embedding (dim,) of a word."""
    save_file({word: row.detach().cpu()[None].contiguous()}, folder / EMBEDDINGS)


def save_keys_and_values(folder: Path, weights: Mapping[str, Tensor]) -> None:
    """Write the cross-attention's projections, named as Custom Diffusion's processors name them."""
    named = {_published(name): weight.detach().cpu() for name, weight in weights.items()}
    save_file(named, folder / KEYS_AND_VALUES)


@torch.no_grad()
def apply(
    folder: Path,
    *,
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
) -> None:
    """Change two networks in place by every such file of a folder; UserError if it has none."""
    found = {name: load_file(folder / name) for name in FILES if (folder / name).is_file()}
    if not found:
        raise UserError(f"{folder}: no trained weights: neither unet/ nor {' nor '.join(FILES)}")
    nets = {"unet": unet, "text_encoder": text_encoder}
    for net, layer, change in _changes(found.get(LORA, {})):
        nets[net].get_submodule(layer).weight += change.to(nets[net].device)
    for word, row in found.get(EMBEDDINGS, {}).items():
        text_encoder.get_input_embeddings().weight[token_index(tokenizer, word)] = row[0]
    stored = found.get(KEYS_AND_VALUES, {})
    for name, weight in keys_and_values(unet).items() if stored else ():
        weight.copy_(stored[_published(name)])


def _lora_of(net: Net) -> dict[str, Tensor]:
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft.utils import get_peft_model_state_dict

    return convert_state_dict_to_diffusers(get_peft_model_state_dict(net))


def _changes(lora: Mapping[str, Tensor]) -> Iterator[tuple[str, str, Tensor]]:
    """Network, layer and what a LoRA (of alpha = rank) adds to its weight."""
    for name, up in lora.items():
        if name.endswith(UP):
            net, _, layer = name.partition(".lora")[0].partition(".")
            yield net, layer.removeprefix("text_model."), up @ lora[name.removesuffix(UP) + DOWN]


def _published(name: str) -> str:
    """Such as ...attn2.processor.to_k_custom_diffusion.weight for ...attn2.to_k.weight."""
    layer, projection, _ = name.rsplit(".", 2)
    return f"{layer}.processor.{projection}_custom_diffusion.weight"
