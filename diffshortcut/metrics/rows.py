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

    UserError if a value is not finite.
    """
    rows = [
        {"metric": metric, "value": value, "prompt": prompt, "sample": sample, "better": better}
        for sample, value in enumerate(map(float, values))
    ]
    require_finite(rows)
    return rows


def require_finite(rows: Iterable[Row]) -> None:
    """UserError naming metric and image unless all values are finite: a record never holds NaN."""
    for row in rows:
        if not math.isfinite(row["value"]):
            whose = "the person" if row["prompt"] is None else repr(row["prompt"])
            raise UserError(f"{row['metric']} of {whose}, sample {row['sample']} is {row['value']}")
