"""Stage: one metric on all that one cell knows about a person."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from diffshortcut.config.config import build
from diffshortcut.metrics.evidence import Evidence
from diffshortcut.metrics.rows import require_finite
from diffshortcut.pictures.images import quantize, read_files
from diffshortcut.seeding import Draws
from diffshortcut.stages.inputs import Inputs


def run(*, config: dict[str, Any], inputs: Inputs, out: Path, draws: Draws) -> dict[str, Any]:
    """Write rows.jsonl: metric, value, prompt, sample, better. `config`: metric.

    UserError naming metric and image if a value is not finite: nothing is recorded then.
    """
    assert inputs.person is not None
    protected = read_files(inputs.pictures("protected"))
    size = protected.shape[-1]
    evidence = Evidence(
        generated=read_generated(inputs.artifacts.get("generated")),
        references=quantize(read_files(inputs.person.set_C, size)),
        clean=quantize(read_files(inputs.person.set_B, size)),
        protected=protected,
        purified=read_files(inputs.pictures("purified")),
        model=inputs.artifacts.get("model"),
        draws=draws,
    )
    rows = build(config["metric"], "metric")(evidence)
    require_finite(rows)  # a plug-in may make its own
    lines = [json.dumps(row, allow_nan=False) for row in rows]
    (out / "rows.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return {"rows": len(rows)}


def read_generated(folder: Path | None) -> dict[str, Tensor]:
    """The images (n, 3, h, w) of a `generate` artifact by prompt; none of no artifact."""
    if folder is None:
        return {}
    prompts = json.loads((folder / "prompts.json").read_text())["prompts"]
    return {
        prompt: read_files(sorted((folder / "images").glob(f"{index}-*.png")))
        for index, prompt in enumerate(prompts)
    }
