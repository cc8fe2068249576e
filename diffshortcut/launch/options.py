"""Options of hydra/launcher=graph; its dataclass GraphConf says what each is for."""

from typing import TypedDict


class Options(TypedDict):
    """Values of hydra.launcher."""

    workers: int | None
    address: str | None
    retries: int
    light_gpu: float
    confirm: bool
