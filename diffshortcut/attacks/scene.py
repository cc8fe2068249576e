"""What an attack may see of one person."""

from dataclasses import dataclass

from torch import Tensor

from diffshortcut.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One person as the protector sees them: all images float32 NCHW RGB in [0, 1].

    images: set_B, to be protected, (n, 3, h, w), exact 8-bit levels.  names: their file names.
    clean:  set_A, clean images that are not published, (m, 3, h, w).
    prior:  class-prior images of the surrogate, or None if the attack's config asks for none.
    """

    images: Tensor
    clean: Tensor
    prior: Tensor | None
    names: tuple[str, ...]

    def class_prior(self) -> Tensor:
        """The class-prior images; UserError if the config has none."""
        if self.prior is None:
            raise UserError("this attack trains a surrogate: give attack.prior=${surrogate_prior}")
        return self.prior
