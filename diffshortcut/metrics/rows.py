"""Rows, the record of every measurement, and the aggregate that needs two metrics. No torch."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

Row = dict[str, Any]  # metric, value, prompt, sample, better; later also arm, person ...
Better = Literal["higher", "lower"] | None


def image_rows(
    metric: str, values: Iterable[float], *, better: Better, prompt: str | None = None
) -> list[Row]:
    """One row per image: `sample` counts the images of a prompt (or of the person's set).

    ValueError if a value is not finite: a record never holds NaN.
    """
    rows = []
    for sample, value in enumerate(map(float, values)):
        if not math.isfinite(value):
            raise ValueError(f"{metric} is {value} for prompt {prompt!r}, image {sample}")
        rows.append(
            {"metric": metric, "value": value, "prompt": prompt, "sample": sample, "better": better}
        )
    return rows


def with_overall(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows and, for each image that has `ims` and `q`, overall = (IMS + Q) / 2 (Table 5)."""
    ims, q = ({_image(row): row for row in rows if row["metric"] == m} for m in ("ims", "q"))
    known = {_image(row) for row in rows if row["metric"] == "overall"}
    added = [
        dict(row) | {"metric": "overall", "value": (row["value"] + q[image]["value"]) / 2}
        for image, row in ims.items()
        if image in q and image not in known
    ]
    return [*rows, *added]


def _image(row: Mapping[str, Any]) -> tuple:
    return tuple(row.get(key) for key in ("arm", "person", "training_seed", "prompt", "sample"))
