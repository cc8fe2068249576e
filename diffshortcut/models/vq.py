"""A vector-quantized autoencoder: the image prior that CodeFormer predicts codes of.

Shapes and parameter names are those of the official CodeFormer checkpoint, so that both load.
Images are (n, 3, h, w) in [-1, 1]; a latent is (n, code_channels, h / f, w / f).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor, nn
from torch.nn.functional import interpolate, mse_loss, pad, scaled_dot_product_attention, silu

Fuse = Mapping[int, Callable[[Tensor], Tensor]]  # by resolution: features -> features


@dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes of the nets; the defaults are the mini restorer's."""

    resolution: int = 128
    base_channels: int = 32
    multipliers: tuple[int, ...] = (1, 2, 2, 3)  # one level each, halving the resolution
    blocks: int = 2  # residual blocks per level
    groups: int = 8  # of the normalization; as many as channels would wipe out an image's colors
    attention: tuple[int, ...] = (16,)  # resolutions with self-attention
    code_channels: int = 64
    codes: int = 512
    dim: int = 128
    heads: int = 4
    layers: int = 4
    connect: tuple[int, ...] = (32, 64)  # resolutions with a controllable feature transformation
    aligned: bool = True  # the whole image is the aligned face (no detection, no paste back)

    def levels(self) -> list[tuple[int, int]]:
        """(resolution, channels) from the finest level to the coarsest."""
        return [
            (self.resolution >> i, self.base_channels * m) for i, m in enumerate(self.multipliers)
        ]


OFFICIAL = Config(
    resolution=512,
    base_channels=64,
    multipliers=(1, 2, 2, 4, 4, 8),
    groups=32,
    code_channels=256,
    codes=1024,
    dim=512,
    heads=8,
    layers=9,
    connect=(32, 64, 128, 256),
    aligned=False,
)


class VQAutoencoder(nn.Module):
    """Encoder, nearest-neighbour codebook and generator (van den Oord et al. 2017)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.quantize = Codebook(config.codes, config.code_channels)
        self.generator = Generator(config)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(reconstruction, codebook + 0.25 commitment loss, code indices (n, h / f, w / f))."""
        latent, _ = self.encoder(x)
        quantized, loss, indices = self.quantize(latent)
        return self.generator(quantized), loss, indices


class Codebook(nn.Module):
    """The nearest code of every latent vector, with a straight-through gradient."""

    def __init__(self, codes: int, channels: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(codes, channels)
        nn.init.uniform_(self.embedding.weight, -1 / codes, 1 / codes)

    def nearest(self, latent: Tensor) -> Tensor:
        """Indices (n, h, w) of the codes closest to (n, c, h, w)."""
        rows = latent.permute(0, 2, 3, 1).flatten(0, 2)
        codes = self.embedding.weight
        distance = codes.square().sum(1) - 2 * rows @ codes.T  # up to a constant of the row
        return distance.argmin(1).view(len(latent), *latent.shape[2:])

    def lookup(self, indices: Tensor) -> Tensor:
        """The codes of (n, h, w) indices as (n, c, h, w).

        Contiguous: torch 2.13 writes to a null pointer in the backward pass of a group norm whose
        channels-last input needs no gradient, as behind a frozen generator.
        """
        return self.embedding(indices).permute(0, 3, 1, 2).contiguous()

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(codes with straight-through gradient, loss, indices) of a latent."""
        indices = self.nearest(latent.detach())
        codes = self.lookup(indices)
        loss = mse_loss(codes, latent.detach()) + 0.25 * mse_loss(latent, codes.detach())
        return latent + (codes - latent).detach(), loss, indices


class Encoder(nn.Module):
    """Image to latent; also gives the last residual features of every level."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        levels = config.levels()
        blocks: list[nn.Module] = [conv(3, config.base_channels)]
        self.taps: dict[int, int] = {}  # block index -> resolution
        width = config.base_channels
        for resolution, channels in levels:
            for _ in range(config.blocks):
                last = len(blocks)
                blocks += _level_block(config, resolution, width, channels)
                width = channels
            self.taps[last] = resolution
            if resolution != levels[-1][0]:
                blocks.append(Down(width))
        blocks += _middle(width, config.groups)
        last_norm = norm(width, config.groups)
        self.blocks = nn.ModuleList([*blocks, last_norm, conv(width, config.code_channels)])

    def forward(self, x: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """(latent, features by resolution) of an image batch."""
        features = {}
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.taps:
                features[self.taps[index]] = x
        return x, features


class Generator(nn.Module):
    """Latent to image; `fuse` may change the features after the first block of a level."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        levels = config.levels()
        width = levels[-1][1]
        blocks: list[nn.Module] = [conv(config.code_channels, width)]
        blocks += _middle(width, config.groups)
        self.taps: dict[int, int] = {}  # block index -> resolution
        for resolution, channels in reversed(levels):
            self.taps[len(blocks)] = resolution
            for _ in range(config.blocks):
                blocks += _level_block(config, resolution, width, channels)
                width = channels
            if resolution != config.resolution:
                blocks.append(Up(width))
        self.blocks = nn.ModuleList([*blocks, norm(width, config.groups), conv(width, 3)])

    def forward(self, x: Tensor, fuse: Fuse = MappingProxyType({})) -> Tensor:
        """The image of a latent; `fuse` holds a function of the features by resolution."""
        for index, block in enumerate(self.blocks):
            x = block(x)
            if self.taps.get(index) in fuse:
                x = fuse[self.taps[index]](x)
        return x


def _level_block(config: Config, resolution: int, width: int, channels: int) -> list[nn.Module]:
    attended = resolution in config.attention
    attention = [Attention(channels, config.groups)] if attended else []
    return [Residual(width, channels, config.groups), *attention]


def _middle(width: int, groups: int) -> list[nn.Module]:
    first, second = (Residual(width, width, groups) for _ in range(2))
    return [first, Attention(width, groups), second]


def norm(channels: int, groups: int) -> nn.GroupNorm:
    """Group normalization, as everywhere in these nets."""
    return nn.GroupNorm(groups, channels, eps=1e-6)


def conv(channels: int, out_channels: int) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size."""
    return nn.Conv2d(channels, out_channels, 3, padding=1)


class Residual(nn.Module):
    """Two normalized 3x3 convolutions beside a shortcut."""

    def __init__(self, channels: int, out_channels: int, groups: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = norm(channels, groups), conv(channels, out_channels)
        self.norm2, self.conv2 = norm(out_channels, groups), conv(out_channels, out_channels)
        if channels != out_channels:
            self.conv_out = nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(silu(self.norm1(x)))
        h = self.conv2(silu(self.norm2(h)))
        return h + (self.conv_out(x) if hasattr(self, "conv_out") else x)


class Attention(nn.Module):
    """Single-head self-attention over the pixels."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = norm(channels, groups)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in "qkvo")

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = (f(h).flatten(2).transpose(1, 2)[:, None] for f in (self.q, self.k, self.v))
        h = scaled_dot_product_attention(q, k, v)[:, 0].transpose(1, 2)
        return x + self.proj_out(h.reshape(x.shape))


class Down(nn.Module):
    """Half the size by a strided convolution, padded at the right and bottom only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(pad(x, (0, 1, 0, 1)))


class Up(nn.Module):
    """Twice the size by repetition and a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(interpolate(x, scale_factor=2.0, mode="nearest"))
