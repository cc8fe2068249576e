"""What a protection made on one model takes from another, by trainer.

    python -m experiments.kept transfer FOLDER ...  # keep what the jobs' results hold
    python -m experiments.transfer.table            # the tables of README.md, as markdown

A loss is clean - protected of the same victim and trainer; scores are means over the people kept.
"""

from collections.abc import Iterator
from itertools import product
from statistics import fmean

from experiments.kept import Kept, Place, difference, markdown, read_kept

MODELS = ("mini_a", "mini_b", "mini_c")
TRAINERS = ("dreambooth", "cdl", "lora", "textual_inversion", "custom_diffusion")
METRICS = {"overall": "overall score", "ims": "IMS"}


def main() -> None:
    """A table per score, then what the victims reach unharmed."""
    found = read_kept("transfer")
    for metric, name in METRICS.items():
        print(f"\nLost of the {name}:\n\n{markdown([*_losses(found, metric)])}")
    levels = markdown([*_levels(found)])
    print(f"\nOverall score without an attack, and under random noise:\n\n{levels}")


def _losses(found: Kept, metric: str) -> Iterator[list[str]]:
    yield ["made on", "against", *TRAINERS]
    own: list[list[float]] = []
    others: list[list[float]] = []
    for surrogate, victim in product(MODELS, MODELS):
        losses = [_lost(found, metric, surrogate, victim, trainer) for trainer in TRAINERS]
        (own if victim == surrogate else others).append(losses)
        against = f"**{victim}**" if victim == surrogate else victim
        yield [surrogate, against, *map("{:+.3f}".format, losses)]
    for name, lines in (("own model", own), ("another", others)):
        means = map(fmean, zip(*lines, strict=True))
        yield [f"mean, {name}", "", *map("{:+.3f}".format, means)]


def _lost(found: Kept, metric: str, *job: str) -> float:
    """clean - protected of a surrogate, a victim and a trainer."""
    clean, protected = _place("none", "clean", *job), _place("aspl", "protected", *job)
    lost = difference(found, clean, protected, metric)
    assert lost and lost.value is not None, f"not kept: {job}"
    return lost.value


def _levels(found: Kept) -> Iterator[list[str]]:
    yield ["victim", *TRAINERS]
    for victim in MODELS:
        cells = []
        for trainer in TRAINERS:
            arms = [
                found[_place(arm, name, victim, victim, trainer)].people.values()
                for arm, name in (("none", "clean"), ("random", "random"))
            ]
            means = [fmean(scores["overall"] for scores in people) for people in arms]
            cells.append(", ".join(f"{mean:.3f}" for mean in means))
        yield [victim, *cells]


def _place(attack: str, arm: str, surrogate: str, victim: str, trainer: str) -> Place:
    return f"{attack} model={victim} surrogate={surrogate} trainer={trainer}", arm


if __name__ == "__main__":
    main()
