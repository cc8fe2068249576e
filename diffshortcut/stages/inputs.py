"""What a stage reads."""

from dataclasses import dataclass, field
from pathlib import Path

from diffshortcut.artifacts.checkpoint import Checkpoint
from diffshortcut.data.person import Person
from diffshortcut.errors import UserError


@dataclass(frozen=True)
class Inputs:
    """A person (None for the class prior) and the folders of the artifacts read, by role.

    Roles: prior, personalized, images, model, protected, purified, generated. An artifact's images
    are in its `images/`.
    """

    person: Person | None = None
    artifacts: dict[str, Path] = field(default_factory=dict)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)  # for stages of hours

    def pictures(self, role: str) -> list[Path]:
        """What an artifact made of each picture of set_B, in that order, found by its name.

        UserError naming one that is missing.
        """
        assert self.person is not None
        folder = self.artifacts[role] / "images"
        paths = [folder / f"{original.stem}.png" for original in self.person.set_B]
        for path in paths:
            if not path.is_file():
                raise UserError(f"{path} is missing: the artifact is not of this person's set_B")
        return paths
