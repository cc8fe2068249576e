"""CodeFormer (Zhou et al. 2022): blind face restoration by predicting codes of a face prior.

Written from the paper; parameter names follow the official checkpoint so that it loads.
"""

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import gelu

from diffshortcut.models.vq import OFFICIAL, Config, Residual, VQAutoencoder, conv
from diffshortcut.weights.unpickle import unpickled


class CodeFormer(VQAutoencoder):
    """A transformer reads the codes of the clean face off the degraded face's latent.

    The controllable feature transformation then lets features of the degraded face into the
    generator, weighted by the fidelity w: 0 = quality (codes only), 1 = fidelity.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        coarsest = config.levels()[-1][0]
        channels = dict(config.levels())
        self.position_emb = nn.Parameter(torch.zeros(coarsest**2, config.dim))
        self.feat_emb = nn.Linear(config.code_channels, config.dim)
        self.ft_layers = nn.Sequential(
            *(TransformerLayer(config.dim, config.heads) for _ in range(config.layers))
        )
        self.idx_pred_layer = nn.Sequential(
            nn.LayerNorm(config.dim), nn.Linear(config.dim, config.codes, bias=False)
        )
        self.fuse_convs_dict = nn.ModuleDict(
            {str(size): Fusion(channels[size], config.groups) for size in config.connect}
        )

    def forward(
        self, x: Tensor, w: float = 0.5, adain: bool = True, straight_through: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(image (n, 3, h, w), code logits (n, tokens, codes), latent of the input).

        As published, no gradient passes the code prediction or the fused features (only the
        statistics of `adain`). `straight_through` lets both pass, which an adaptive attack needs.
        """
        latent, features = self.encoder(x)
        logits = self.predict(latent)
        codes = self.read_codes(logits, straight_through)
        if adain:
            codes = adaptive_instance_normalization(codes, latent)
        if not straight_through:
            features = {resolution: f.detach() for resolution, f in features.items()}
        fuse = {r: partial(self.fuse_convs_dict[str(r)], features[r], w=w) for r in self._fused(w)}
        return self.generator(codes, fuse), logits, latent

    def predict(self, latent: Tensor) -> Tensor:
        """Code logits (n, tokens, codes), tokens row by row, of a latent (n, c, h, w)."""
        tokens = self.feat_emb(latent.flatten(2).transpose(1, 2))
        for layer in self.ft_layers:
            tokens = layer(tokens, self.position_emb)
        return self.idx_pred_layer(tokens)

    def read_codes(self, logits: Tensor, straight_through: bool = False) -> Tensor:
        """The most probable codes as a latent; optionally with the gradient of their mean."""
        side = self.config.levels()[-1][0]
        codes = self.quantize.lookup(logits.argmax(2).unflatten(1, (side, side))).detach()
        if not straight_through:
            return codes
        mean = logits.softmax(2) @ self.quantize.embedding.weight
        mean = mean.transpose(1, 2).unflatten(2, (side, side))
        return codes + mean - mean.detach()

    def _fused(self, w: float) -> tuple[int, ...]:
        return self.config.connect if w > 0 else ()

    def save(self, folder: Path, dtype: torch.dtype = torch.float32) -> None:
        """Write config.json and model.safetensors, the weights rounded to `dtype`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(asdict(self.config), indent=2) + "\n")
        weights = {name: value.to(dtype).contiguous() for name, value in self.state_dict().items()}
        save_file(weights, folder / "model.safetensors")

    @classmethod
    def read(cls, folder: Path) -> "CodeFormer":
        """The net of a folder written by `save`, in evaluation mode."""
        values = json.loads((folder / "config.json").read_text())
        lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        net = cls(Config(**{**values, **lists}))
        net.load_state_dict(load_file(folder / "model.safetensors"))
        return net.eval()

    @classmethod
    def read_released(cls, reference: str, config: Config = OFFICIAL) -> "CodeFormer":
        """The averaged weights of the released codeformer.pth, in evaluation mode."""
        net = cls(config)
        net.load_state_dict(unpickled(reference)["params_ema"])
        return net.eval()


class TransformerLayer(nn.Module):
    """Pre-norm self-attention and MLP; positions are added to queries and keys only."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, dim)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        value = self.norm1(x)
        query = value + position
        x = x + self.self_attn(query, query, value, need_weights=False)[0]
        return x + self.linear2(gelu(self.linear1(self.norm2(x))))


class Fusion(nn.Module):
    """Controllable feature transformation: an affine change of the generator's features."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.encode_enc = Residual(2 * channels, channels, groups)
        self.scale = _affine(channels)
        self.shift = _affine(channels)

    def forward(self, encoded: Tensor, generated: Tensor, *, w: float) -> Tensor:
        h = self.encode_enc(torch.cat([encoded, generated], dim=1))
        return generated + w * (generated * self.scale(h) + self.shift(h))


def _affine(channels: int) -> nn.Sequential:
    return nn.Sequential(conv(channels, channels), nn.LeakyReLU(0.2), conv(channels, channels))


def adaptive_instance_normalization(x: Tensor, style: Tensor) -> Tensor:
    """x with the per-image, per-channel mean and deviation of `style` (Huang & Belongie 2017)."""
    (mean, std), (style_mean, style_std) = _moments(x), _moments(style)
    return (x - mean) / std * style_std + style_mean


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    variance = x.var(dim=(2, 3), keepdim=True) + 1e-5
    return x.mean(dim=(2, 3), keepdim=True), variance.sqrt()
