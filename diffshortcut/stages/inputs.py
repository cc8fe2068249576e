"""What a stage reads."""

from dataclasses import dataclass, field
from pathlib import Path

from diffshortcut.data.people import Person


@dataclass(frozen=True)
class Inputs:
    """A person (None for the class prior) and the folders of the artifacts read, by role.

    Roles: prior, images, model, protected, purified, generated. An artifact's images are in its
    `images/`.
    """

    person: Person | None = None
    artifacts: dict[str, Path] = field(default_factory=dict)
