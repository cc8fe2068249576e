"""The mini zoo's gates, measured on people never trained on: what each model must be able to do.

`python -m diffshortcut.mini.train.gates [NAME ...] [--work FOLDER]` prints them and notes them
in gates.json beside the weights, where the model cards find them.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

from diffshortcut.mini.train import measures_generation, measures_perception
from diffshortcut.mini.train.cards import note
from diffshortcut.mini.train.held_out import HeldOut
from diffshortcut.weights import MINI

MEASURES = {
    **measures_perception.MEASURES,
    **measures_generation.MEASURES,
}


def main() -> None:
    """Measure the named models, or all, and note what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*MEASURES, []])
    parser.add_argument("--work", type=Path, default=Path("build/mini"))
    parser.add_argument("--weights", type=Path, default=MINI)
    arguments = parser.parse_args()
    held_out = HeldOut(arguments.work, arguments.weights)
    for name in arguments.names or MEASURES:
        for gate in MEASURES[name](held_out):
            print(gate, flush=True)
            note(arguments.weights, "gates", {gate.name: asdict(gate)})


if __name__ == "__main__":
    main()
