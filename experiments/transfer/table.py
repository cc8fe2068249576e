"""What a protection made on one model takes from another, by trainer.

    python -m experiments.kept transfer FOLDER ...  # keep what the jobs' results hold
    python -m experiments.transfer.table            # the tables of README.md, as markdown

A loss is clean - protected of the same victim and trainer; scores are means over the people kept.
"""

from collections.abc import Iterator
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
    for surrogate in MODELS:
        for victim in MODELS:
            cells = []
            for trainer in TRAINERS:
                job = (surrogate, victim, trainer)
                lost = difference(found, _place("none", "clean", *job), _protected(*job), metric)
                cells.append(f"{lost.value:+.3f}" if lost else "-")
            yield [surrogate, f"**{victim}**" if victim == surrogate else victim, *cells]


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


def _protected(surrogate: str, victim: str, trainer: str) -> Place:
    return _place("aspl", "protected", surrogate, victim, trainer)


def _place(attack: str, arm: str, surrogate: str, victim: str, trainer: str) -> Place:
    return f"{attack} model={victim} surrogate={surrogate} trainer={trainer}", arm


if __name__ == "__main__":
    main()
