"""Guided diffusion's UNet as its paper and its weight names describe it, for comparison only."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


def norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(32, channels)


class Residual(nn.Module):
    """GroupNorm, SiLU, convolution; again, scaled and shifted by the time; plus the input."""

    def __init__(self, inputs: int, outputs: int, time: int, resample: str = "") -> None:
        super().__init__()
        self.resample = resample
        self.in_layers = nn.ModuleList(
            [norm(inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1)]
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(time, 2 * outputs))
        self.out_layers = nn.ModuleList(
            [norm(outputs), nn.SiLU(), nn.Dropout(0), nn.Conv2d(outputs, outputs, 3, padding=1)]
        )
        self.skip_connection = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def resampled(self, x: Tensor) -> Tensor:
        if self.resample == "down":
            return functional.avg_pool2d(x, 2)
        return functional.interpolate(x, scale_factor=2.0) if self.resample == "up" else x

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.in_layers[2](self.resampled(functional.silu(self.in_layers[0](x))))
        scale, shift = self.emb_layers(time)[:, :, None, None].chunk(2, dim=1)
        h = self.out_layers[0](h) * (1 + scale) + shift
        return self.skip_connection(self.resampled(x)) + self.out_layers[3](functional.silu(h))


class Attention(nn.Module):
    """Self-attention over pixels, heads one after the other in qkv."""

    def __init__(self, channels: int, head: int) -> None:
        super().__init__()
        self.heads = channels // head
        self.norm = norm(channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        flat = x.reshape(n, channels, -1)
        parts = self.qkv(self.norm(flat)).reshape(n * self.heads, -1, height * width)
        q, k, v = parts.chunk(3, dim=1)
        weight = torch.softmax(q.transpose(1, 2) @ k / math.sqrt(q.shape[1]), dim=-1)
        mixed = (v @ weight.transpose(1, 2)).reshape(n, channels, -1)
        return (flat + self.proj_out(mixed)).reshape(x.shape)


class ReferenceUNet(nn.Module):
    """Attention where the picture is shrunk by one of `attention`; 6 channels out."""

    def __init__(
        self,
        *,
        channels: int,
        multipliers: tuple[int, ...],
        blocks: int,
        attention: tuple[int, ...],
        head: int,
    ) -> None:
        super().__init__()
        self.channels, time = channels, 4 * channels
        self.time_embed = nn.Sequential(nn.Linear(channels, time), nn.SiLU(), nn.Linear(time, time))
        width, scale = channels, 1
        inputs: list[nn.ModuleList] = [nn.ModuleList([nn.Conv2d(3, channels, 3, padding=1)])]
        skips = [channels]
        for level, multiplier in enumerate(multipliers):
            for _ in range(blocks):
                layers: list[nn.Module] = [Residual(width, multiplier * channels, time)]
                width = multiplier * channels
                if scale in attention:
                    layers.append(Attention(width, head))
                inputs.append(nn.ModuleList(layers))
                skips.append(width)
            if level < len(multipliers) - 1:
                inputs.append(nn.ModuleList([Residual(width, width, time, "down")]))
                skips.append(width)
                scale *= 2
        self.input_blocks = nn.ModuleList(inputs)
        self.middle_block = nn.ModuleList(
            [Residual(width, width, time), Attention(width, head), Residual(width, width, time)]
        )
        outputs: list[nn.ModuleList] = []
        for level, multiplier in reversed(list(enumerate(multipliers))):
            for number in range(blocks + 1):
                layers = [Residual(width + skips.pop(), multiplier * channels, time)]
                width = multiplier * channels
                if scale in attention:
                    layers.append(Attention(width, head))
                if level and number == blocks:
                    layers.append(Residual(width, width, time, "up"))
                    scale //= 2
                outputs.append(nn.ModuleList(layers))
        self.output_blocks = nn.ModuleList(outputs)
        self.out = nn.Sequential(norm(width), nn.SiLU(), nn.Conv2d(width, 6, 3, padding=1))

    @classmethod
    def released(cls) -> "ReferenceUNet":
        """256x256_diffusion_uncond, without memory."""
        with torch.device("meta"):
            return cls(
                channels=256,
                multipliers=(1, 1, 2, 2, 4, 4),
                blocks=2,
                attention=(8, 16, 32),
                head=64,
            )

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        half = self.channels // 2
        frequencies = torch.exp(-math.log(10_000) * torch.arange(half) / half)
        angles = t[:, None].float() * frequencies
        time = self.time_embed(torch.cat([angles.cos(), angles.sin()], dim=-1))
        kept = []
        for block in self.input_blocks:
            for layer in block:
                x = layer(x) if isinstance(layer, nn.Conv2d) else layer(x, time)
            kept.append(x)
        for layer in self.middle_block:
            x = layer(x, time)
        for block in self.output_blocks:
            x = torch.cat([x, kept.pop()], dim=1)
            for layer in block:
                x = layer(x, time)
        return self.out(x)
