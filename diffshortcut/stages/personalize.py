"""Stage: train a copy of the model on a person's images."""

import json
from pathlib import Path
from typing import Any

from diffshortcut import parallel
from diffshortcut.config.config import build
from diffshortcut.errors import UserError
from diffshortcut.pictures.images import quantize, read_files, read_folder
from diffshortcut.seeding import Draws
from diffshortcut.stages.inputs import Inputs


def run(*, config: dict[str, Any], inputs: Inputs, out: Path, draws: Draws) -> dict[str, Any]:
    """Write what was trained and log.jsonl (step, loss). `config`: trainer.

    That is unet/ and text_encoder/, or the small files of `models/adapters.py`.

    The victim's model learns the artifact `images`; without one it is an attack's surrogate, which
    learns set_A at `resolution` and knows none of the victim's draws. UserError if training has
    ended in weights that are not finite.
    """
    assert inputs.person is not None
    trainer = build(config["trainer"], "trainer")
    if "images" in inputs.artifacts:
        images = read_files(inputs.pictures("images"))
        clean = quantize(read_files(inputs.person.set_B, images.shape[-1]))
    else:
        images = clean = quantize(read_files(inputs.person.set_A, config["resolution"]))
        draws = draws.scope("surrogate")
    classes = inputs.artifacts.get("prior")
    prior = read_folder(classes / "images", images.shape[-1]) if classes else None
    losses: list[dict[str, float]] = []
    trained = trainer(
        images, prior, draws, clean, lambda step, loss: losses.append({"step": step, "loss": loss})
    )
    if not all(weight.isfinite().all() for weight in trained.trainable_parameters()):
        raise UserError(
            "a weight of the trained model is NaN or infinite; a smaller learning rate may help"
        )
    if parallel.in_charge():
        trained.save(out)
    lines = [json.dumps(row, allow_nan=False) for row in losses]
    (out / "log.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return {"last_loss": losses[-1]["loss"]} if losses else {}
