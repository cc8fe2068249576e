"""IMPRESS (Cao et al. 2023): a picture that survives the autoencoder and looks the same."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.models.perceptual import Perceptual
from diffshortcut.pictures.images import batches, cropped, grown, quantize
from diffshortcut.precision import gradients
from diffshortcut.progress import track
from diffshortcut.seeding import Draws

Distance = Callable[[Tensor], Tensor]
FLOOR = 1e-5  # learning rate at the end of the cosine
HALVINGS = 12  # of the way back to the picture
TERMS = ("reconstruction", "hinge", "distance")


@dataclass(frozen=True, kw_only=True)
class Impress:
    """min ||x - D(E(x))||^2 + alpha max(distance(x, x_ptb) - budget, 0) by Adam, in [-1, 1].

    The hinge only pulls. With `constrained` a result that is farther than the budget is moved back
    on the straight line to the picture, as little as needed.
    """

    model: LatentDiffusion
    perceptual: Perceptual
    steps: int
    learning_rate: float
    cosine: bool
    epsilon: float  # of Adam
    alpha: float
    budget: float
    noise: float  # standard deviation of the start
    constrained: bool = False
    micro_batch: int | None = None  # images in memory at once
    history: list[dict[str, float]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        if self.steps < 1 or min(self.alpha, self.budget, self.noise) < 0:
            raise ValueError("steps must be at least 1; alpha, budget and noise at least 0")
        if min(self.learning_rate, self.epsilon) <= 0:
            raise ValueError("learning_rate and epsilon must be above 0")

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """(n, 3, h, w) in [0, 1] at the same size; each step's terms, and the
        distance in the end, are added to `history`."""
        self.history.clear()
        given = images.to(self.model.device)
        parts = [
            (i, self.perceptual.toward(given[i.start : i.stop]))
            for i in batches(len(given), self.micro_batch)
        ]

        def away(x: Tensor) -> Tensor:
            return torch.cat([of(x[i.start : i.stop]) for i, of in parts])

        purified = self._optimized(given, parts, draws)
        if self.constrained:
            purified = self._moved_back(purified, given, away)
        with torch.no_grad():
            self._note(self.steps, distance=away(quantize(purified)))
        return purified.to(images)

    def _optimized(
        self, images: Tensor, parts: Sequence[tuple[range, Distance]], draws: Draws
    ) -> Tensor:
        start = draws.normal("start", images.shape[1:], len(images)).to(images)
        p = (images * 2 - 1 + self.noise * start).clamp(-1, 1)
        optimizer = torch.optim.Adam([p], lr=self.learning_rate, eps=self.epsilon)
        end = FLOOR if self.cosine else self.learning_rate
        rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps, eta_min=end)
        for step in track(range(self.steps), "impress"):
            pulled = [self._pulled(p[i.start : i.stop], away) for i, away in parts]
            p.grad = torch.cat([slope for slope, _ in pulled])
            optimizer.step()
            rate.step()
            p.clamp_(-1, 1)
            self._note(step, **{name: torch.cat([t[name] for _, t in pulled]) for name in TERMS})
        return (p / 2 + 0.5).clamp(0, 1)

    @torch.enable_grad()
    def _pulled(self, p: Tensor, away: Distance) -> tuple[Tensor, dict[str, Tensor]]:
        """The gradient of the objective of some pictures, and its terms, each (n,)."""
        p = p.detach().requires_grad_()
        reconstruction, distance = self._reconstruction(p), away(p / 2 + 0.5)
        hinge = (distance - self.budget).relu()
        (slope,) = gradients((reconstruction + self.alpha * hinge).sum(), [p])
        return slope, dict(zip(TERMS, (reconstruction, hinge, distance), strict=True))

    def _reconstruction(self, p: Tensor) -> Tensor:
        """(n,) mean squared error of the round trip, in [-1, 1]."""
        unit = grown(p / 2 + 0.5, multiple=self.model.factor)
        decoded = self.model.decode(self.model.encode(unit), clip=False)
        decoded = cropped(decoded, p) * 2 - 1
        return (p - decoded).square().mean((1, 2, 3))

    @torch.no_grad()
    def _moved_back(self, purified: Tensor, images: Tensor, away: Distance) -> Tensor:
        """The farthest points of the lines from images to purified that the budget allows."""
        near = torch.zeros(len(images), 1, 1, 1, device=images.device)
        far = torch.ones_like(near)

        def point(share: Tensor) -> Tensor:
            return quantize(images + share * (purified - images))

        inside = (away(quantize(purified)) <= self.budget).view_as(near)
        for _ in range(HALVINGS):
            middle = (near + far) / 2
            good = (away(point(middle)) <= self.budget).view_as(near)
            near, far = torch.where(good, middle, near), torch.where(good, far, middle)
        return torch.where(inside, purified, point(near))

    def _note(self, step: int, **terms: Tensor) -> None:
        means = {name: float(term.detach().mean()) for name, term in terms.items()}
        self.history.append({"step": step, **means})
