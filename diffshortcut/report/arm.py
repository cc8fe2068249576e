"""What a report has to know of an arm."""

from collections.abc import Mapping
from typing import Any, Protocol


class Arm(Protocol):
    """A named cell with its resolved config and the options it was composed of, by group.

    The configs say which arms are another's baselines.
    """

    @property
    def name(self) -> str: ...
    @property
    def config(self) -> Mapping[str, Any]: ...
    @property
    def choices(self) -> Mapping[str, str]: ...
