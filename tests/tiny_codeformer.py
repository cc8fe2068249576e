"""A CodeFormer of a size for tests: of aligned faces, and of faces as they are."""

from dataclasses import replace

from diffshortcut.models.vq import Config

TINY = Config(
    resolution=32,
    base_channels=16,
    groups=4,
    multipliers=(1, 1, 2),
    blocks=1,
    attention=(8,),
    code_channels=16,
    codes=32,
    dim=16,
    heads=2,
    layers=2,
    connect=(16,),
)
AS_THEY_ARE = replace(TINY, aligned=False)
