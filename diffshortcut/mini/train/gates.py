"""The mini zoo's gates, measured on people never trained on: what each model must be able to do.

`python -m diffshortcut.mini.train.gates [NAME ...] [--work FOLDER]` prints and writes gates.json.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from diffshortcut.mini.train import measures_generation, measures_perception
from diffshortcut.mini.train.bench import Bench

MEASURES = {
    **measures_perception.MEASURES,
    **measures_generation.MEASURES,
}
WEIGHTS = Path(__file__).parent.parent / "weights"


def main() -> None:
    """Measure the named models, or all, and note what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*MEASURES, []])
    parser.add_argument("--work", type=Path, default=Path("build/mini"))
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    arguments = parser.parse_args()
    bench, record = Bench(arguments.work, arguments.weights), arguments.work / "gates.json"
    found = json.loads(record.read_text()) if record.exists() else {}
    for name in arguments.names or MEASURES:
        for gate in MEASURES[name](bench):
            print(gate, flush=True)
            found[gate.name] = asdict(gate)
    record.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
