"""Rows, the record of every measurement. No torch."""

import math
from collections.abc import Iterable
from typing import Any, Literal

from diffshortcut.errors import UserError

Row = dict[str, Any]  # metric, value, prompt, sample, better; later also arm, person ...
Better = Literal["higher", "lower"] | None


def image_rows(
    metric: str, values: Iterable[float], *, better: Better, prompt: str | None = None
) -> list[Row]:
    """One row per image: `sample` counts the images of a prompt (or of the person's set).

    UserError naming metric and image if a value is not finite: a record never holds NaN.
    """
    rows = []
    for sample, value in enumerate(map(float, values)):
        if not math.isfinite(value):
            where = f"{'the person' if prompt is None else repr(prompt)}, sample {sample}"
            raise UserError(f"{metric} of {where} is {value}")
        rows.append(
            {"metric": metric, "value": value, "prompt": prompt, "sample": sample, "better": better}
        )
    return rows
