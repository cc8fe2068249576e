"""Names and shapes of the released checkpoints' weights, in the words of the code that trained them.

Transcribed, not computed from this project's or diffusers' classes:
* `unet_1`, `unet_2`, `vae`, `clip_l`, `open_clip`: the lists UNET-v1-SD.txt, UNET-v2-SD.txt,
  VAE-v1-SD.txt, CLIP-v1-SD.txt and CLIP-v2-SD.txt in components/ of
  github.com/arenasys/stable-diffusion-webui-model-toolkit (commit f51c956).
* `unet_x4`, `vae_x4`: UNVERIFIED, no list was found. By hand from configs/stable-diffusion/
  x4-upscaling.yaml of github.com/Stability-AI/stablediffusion (commit ca86da3), block by block as the
  lists above show that its UNetModel and Encoder number them.
"""

from collections.abc import Iterator, Mapping

Shapes = dict[str, tuple[int, ...]]
Named = Iterator[tuple[str, tuple[int, ...]]]

# input and output channels of the residual blocks
BLOCKS_SD = {
    "input_blocks.1.0": (320, 320),
    "input_blocks.2.0": (320, 320),
    "input_blocks.4.0": (320, 640),
    "input_blocks.5.0": (640, 640),
    "input_blocks.7.0": (640, 1280),
    "input_blocks.8.0": (1280, 1280),
    "input_blocks.10.0": (1280, 1280),
    "input_blocks.11.0": (1280, 1280),
    "middle_block.0": (1280, 1280),
    "middle_block.2": (1280, 1280),
    "output_blocks.0.0": (2560, 1280),
    "output_blocks.1.0": (2560, 1280),
    "output_blocks.2.0": (2560, 1280),
    "output_blocks.3.0": (2560, 1280),
    "output_blocks.4.0": (2560, 1280),
    "output_blocks.5.0": (1920, 1280),
    "output_blocks.6.0": (1920, 640),
    "output_blocks.7.0": (1280, 640),
    "output_blocks.8.0": (960, 640),
    "output_blocks.9.0": (960, 320),
    "output_blocks.10.0": (640, 320),
    "output_blocks.11.0": (640, 320),
}
ATTENTION_SD = {
    **dict.fromkeys(("input_blocks.1.1", "input_blocks.2.1"), 320),
    **dict.fromkeys(("input_blocks.4.1", "input_blocks.5.1"), 640),
    **dict.fromkeys(("input_blocks.7.1", "input_blocks.8.1", "middle_block.1"), 1280),
    **dict.fromkeys(("output_blocks.3.1", "output_blocks.4.1", "output_blocks.5.1"), 1280),
    **dict.fromkeys(("output_blocks.6.1", "output_blocks.7.1", "output_blocks.8.1"), 640),
    **dict.fromkeys(("output_blocks.9.1", "output_blocks.10.1", "output_blocks.11.1"), 320),
}
RESAMPLED_SD = {
    "input_blocks.3.0.op": 320,
    "input_blocks.6.0.op": 640,
    "input_blocks.9.0.op": 1280,
    "output_blocks.2.1.conv": 1280,
    "output_blocks.5.2.conv": 1280,
    "output_blocks.8.2.conv": 640,
}
BLOCKS_X4 = {
    "input_blocks.1.0": (256, 256),
    "input_blocks.2.0": (256, 256),
    "input_blocks.4.0": (256, 512),
    "input_blocks.5.0": (512, 512),
    "input_blocks.7.0": (512, 512),
    "input_blocks.8.0": (512, 512),
    "input_blocks.10.0": (512, 1024),
    "input_blocks.11.0": (1024, 1024),
    "middle_block.0": (1024, 1024),
    "middle_block.2": (1024, 1024),
    "output_blocks.0.0": (2048, 1024),
    "output_blocks.1.0": (2048, 1024),
    "output_blocks.2.0": (1536, 1024),
    "output_blocks.3.0": (1536, 512),
    "output_blocks.4.0": (1024, 512),
    "output_blocks.5.0": (1024, 512),
    "output_blocks.6.0": (1024, 512),
    "output_blocks.7.0": (1024, 512),
    "output_blocks.8.0": (768, 512),
    "output_blocks.9.0": (768, 256),
    "output_blocks.10.0": (512, 256),
    "output_blocks.11.0": (512, 256),
}
ATTENTION_X4 = {  # at 1024 channels to the picture itself, else only to the prompt
    **{f"input_blocks.{i}.1": 512 for i in (4, 5, 7, 8)},
    **{f"input_blocks.{i}.1": 1024 for i in (10, 11)},
    "middle_block.1": 1024,
    **{f"output_blocks.{i}.1": 1024 for i in (0, 1, 2)},
    **{f"output_blocks.{i}.1": 512 for i in (3, 4, 5, 6, 7, 8)},
}
RESAMPLED_X4 = {
    "input_blocks.3.0.op": 256,
    "input_blocks.6.0.op": 512,
    "input_blocks.9.0.op": 512,
    "output_blocks.2.2.conv": 1024,
    "output_blocks.5.2.conv": 512,
    "output_blocks.8.2.conv": 512,
}


def unet_1() -> Shapes:
    """SD 1.x: 686 names."""
    return dict(_unet(BLOCKS_SD, ATTENTION_SD, RESAMPLED_SD, 4, 320, context=768, linear=False))


def unet_2() -> Shapes:
    """SD 2.x: 686 names."""
    return dict(_unet(BLOCKS_SD, ATTENTION_SD, RESAMPLED_SD, 4, 320, context=1024, linear=True))


def unet_x4() -> Shapes:
    """The x4 upscaler: 687 names."""
    found = dict(_unet(BLOCKS_X4, ATTENTION_X4, RESAMPLED_X4, 7, 256, context=1024, linear=True))
    blind = [name for name, channels in ATTENTION_X4.items() if channels == 512]
    for name in blind:
        for kind in ("to_k", "to_v"):
            found[f"{name}.transformer_blocks.0.attn1.{kind}.weight"] = (512, 1024)
    return {**found, "label_emb.weight": (1000, 1024)}


def vae() -> Shapes:
    """SD 1.x and 2.x: 248 names."""
    return dict(_vae((128, 256, 512, 512)))


def vae_x4() -> Shapes:
    """The x4 upscaler's autoencoder, which halves the sides twice."""
    return dict(_vae((128, 256, 512)))


def clip_l() -> Shapes:
    """SD 1.x's text encoder with its buffer of positions: 197 names."""
    found: Shapes = {
        "embeddings.position_embedding.weight": (77, 768),
        "embeddings.position_ids": (1, 77),
        "embeddings.token_embedding.weight": (49408, 768),
        "final_layer_norm.bias": (768,),
        "final_layer_norm.weight": (768,),
    }
    for layer in (f"encoder.layers.{i}" for i in range(12)):
        found |= dict(_pair(f"{layer}.mlp.fc1", 3072, 768))
        found |= dict(_pair(f"{layer}.mlp.fc2", 768, 3072))
        for kind in ("k_proj", "out_proj", "q_proj", "v_proj"):
            found |= dict(_pair(f"{layer}.self_attn.{kind}", 768, 768))
        for norm in ("layer_norm1", "layer_norm2"):
            found |= dict(_norm(f"{layer}.{norm}", 768))
    return found


def open_clip() -> Shapes:
    """SD 2.x's text encoder, all 24 layers: 294 names."""
    found: Shapes = {
        "logit_scale": (),
        "positional_embedding": (77, 1024),
        "text_projection": (1024, 1024),
        "token_embedding.weight": (49408, 1024),
        **dict(_norm("ln_final", 1024)),
    }
    for block in (f"transformer.resblocks.{i}" for i in range(24)):
        found[f"{block}.attn.in_proj_bias"] = (3072,)
        found[f"{block}.attn.in_proj_weight"] = (3072, 1024)
        found |= dict(_pair(f"{block}.attn.out_proj", 1024, 1024))
        found |= dict(_norm(f"{block}.ln_1", 1024)) | dict(_norm(f"{block}.ln_2", 1024))
        found |= dict(_pair(f"{block}.mlp.c_fc", 4096, 1024))
        found |= dict(_pair(f"{block}.mlp.c_proj", 1024, 4096))
    return found


def _unet(
    blocks: Mapping[str, tuple[int, int]],
    attention: Mapping[str, int],
    resampled: Mapping[str, int],
    inputs: int,
    width: int,
    *,
    context: int,
    linear: bool,
) -> Named:
    time = 4 * width
    yield from _pair("input_blocks.0.0", width, inputs, 3, 3)
    yield from _pair("time_embed.0", time, width)
    yield from _pair("time_embed.2", time, time)
    yield from _norm("out.0", width)
    yield from _pair("out.2", 4, width, 3, 3)
    for name, (before, after) in blocks.items():
        yield from _norm(f"{name}.in_layers.0", before)
        yield from _pair(f"{name}.in_layers.2", after, before, 3, 3)
        yield from _pair(f"{name}.emb_layers.1", after, time)
        yield from _norm(f"{name}.out_layers.0", after)
        yield from _pair(f"{name}.out_layers.3", after, after, 3, 3)
        if before != after:
            yield from _pair(f"{name}.skip_connection", after, before, 1, 1)
    for name, channels in attention.items():
        yield from _transformer(name, channels, context, () if linear else (1, 1))
    for name, channels in resampled.items():
        yield from _pair(name, channels, channels, 3, 3)


def _transformer(name: str, channels: int, context: int, kernel: tuple[int, ...]) -> Named:
    yield from _norm(f"{name}.norm", channels)
    yield from _pair(f"{name}.proj_in", channels, channels, *kernel)
    yield from _pair(f"{name}.proj_out", channels, channels, *kernel)
    block = f"{name}.transformer_blocks.0"
    for attention, seen in (("attn1", channels), ("attn2", context)):
        yield f"{block}.{attention}.to_q.weight", (channels, channels)
        yield f"{block}.{attention}.to_k.weight", (channels, seen)
        yield f"{block}.{attention}.to_v.weight", (channels, seen)
        yield from _pair(f"{block}.{attention}.to_out.0", channels, channels)
    yield from _pair(f"{block}.ff.net.0.proj", 8 * channels, channels)
    yield from _pair(f"{block}.ff.net.2", channels, 4 * channels)
    for norm in ("norm1", "norm2", "norm3"):
        yield from _norm(f"{block}.{norm}", channels)


def _vae(widths: tuple[int, ...]) -> Named:
    deepest, levels = widths[-1], len(widths)
    yield from _pair("quant_conv", 8, 8, 1, 1)
    yield from _pair("post_quant_conv", 4, 4, 1, 1)
    for part, first, last in (("encoder", 3, 8), ("decoder", 4, 3)):
        start, end = (widths[0], deepest) if part == "encoder" else (deepest, widths[0])
        yield from _pair(f"{part}.conv_in", start, first, 3, 3)
        yield from _pair(f"{part}.conv_out", last, end, 3, 3)
        yield from _norm(f"{part}.norm_out", end)
        for block in ("block_1", "block_2"):
            yield from _vae_block(f"{part}.mid.{block}", deepest, deepest)
        yield from _norm(f"{part}.mid.attn_1.norm", deepest)
        for kind in ("k", "proj_out", "q", "v"):
            yield from _pair(f"{part}.mid.attn_1.{kind}", deepest, deepest, 1, 1)
    for level, width in enumerate(widths):
        above = widths[level - 1] if level else width
        below = widths[level + 1] if level < levels - 1 else width
        for block in range(2):
            before = above if block == 0 else width
            yield from _vae_block(f"encoder.down.{level}.block.{block}", before, width)
        for block in range(3):
            before = below if block == 0 else width
            yield from _vae_block(f"decoder.up.{level}.block.{block}", before, width)
        if level < levels - 1:
            yield from _pair(f"encoder.down.{level}.downsample.conv", width, width, 3, 3)
        if level:
            yield from _pair(f"decoder.up.{level}.upsample.conv", width, width, 3, 3)


def _vae_block(name: str, before: int, after: int) -> Named:
    yield from _norm(f"{name}.norm1", before)
    yield from _pair(f"{name}.conv1", after, before, 3, 3)
    yield from _norm(f"{name}.norm2", after)
    yield from _pair(f"{name}.conv2", after, after, 3, 3)
    if before != after:
        yield from _pair(f"{name}.nin_shortcut", after, before, 1, 1)


def _pair(name: str, outputs: int, *rest: int) -> Named:
    yield f"{name}.weight", (outputs, *rest)
    yield f"{name}.bias", (outputs,)


def _norm(name: str, channels: int) -> Named:
    yield from _pair(name, channels)
