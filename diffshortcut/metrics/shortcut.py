"""Has the model learned the person or the noise? (Figures 1 and 3)"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from diffshortcut.metrics.evidence import Evidence
from diffshortcut.metrics.mismatch import LABELS, noise_probability
from diffshortcut.metrics.rows import Better, Row, image_rows

TOKEN = "+token"


def high_frequency(images: Tensor) -> Tensor:
    """(n, 3, h, w) to (n,): root mean square of what a 2x2 block average takes away."""
    images = images[..., : images.shape[-2] // 2 * 2, : images.shape[-1] // 2 * 2]
    smooth = interpolate(avg_pool2d(images, 2), scale_factor=2.0)
    return (images - smooth).square().mean((1, 2, 3)).sqrt()


@dataclass(frozen=True, kw_only=True)
class Shortcut:
    """What personalization put into each token: its generations minus the base model's.

    The sampler draws from the identifier alone, from c_ID and from the class prompt, with and
    without the noise token, by the personalized and by the base model, from equal latents. Rows per
    image and prompt, personalized - base: shortcut_noise.<prompt's name>, CLIP's zero-shot
    p("noise") against "person" (as in Figure 2), and shortcut_high_frequency.<name>. Higher means
    that the prompt has become a name of the noise; under the noise token that is what contrastive
    decoupling wants, so those rows have no better direction. `names` are those of the sampler's
    prompts in order, with TOKEN at the end where the noise token stands in the prompt.
    """

    clip: Any
    sampler: Any
    names: Sequence[str]
    labels: Sequence[str] = LABELS

    def __call__(self, evidence: Evidence) -> list[Row]:
        """Rows of all the sampler's prompts."""
        draws = evidence.draws.scope("shortcut")
        base = self.sampler.model
        assert evidence.model is not None
        personalized = base.with_weights(evidence.model)
        before, after = (self.sampler(model, draws) for model in (base, personalized))
        return [
            row
            for name, prompt, ours, theirs in zip(
                self.names, self.sampler.prompts, after, before, strict=True
            )
            for row in self._rows(name, prompt, ours, theirs)
        ]

    def _rows(self, name: str, prompt: str, ours: Tensor, base: Tensor) -> list[Row]:
        better: Better = None if name.endswith(TOKEN) else "lower"
        after, before = (noise_probability(self.clip, x, self.labels) for x in (ours, base))
        noise = after - before
        energy = high_frequency(ours) - high_frequency(base)
        return [
            *image_rows(f"shortcut_noise.{name}", noise, better=better, prompt=prompt),
            *image_rows(f"shortcut_high_frequency.{name}", energy, better=better, prompt=prompt),
        ]
