"""`python -m diffshortcut.weights list | fetch | verify | licences`: the full zoo's weights."""

import argparse
import sys

from diffshortcut.errors import exit_on_mistake
from diffshortcut.progress import output
from diffshortcut.report.sheet import Sheet
from diffshortcut.units import size
from diffshortcut.weights import registry
from diffshortcut.weights.registry import Entry


def main() -> None:
    """Do one of the four to the named entries, or to all."""
    parser = argparse.ArgumentParser(prog="python -m diffshortcut.weights", description=__doc__)
    parser.add_argument("what", choices=["list", "fetch", "verify", "licences"])
    parser.add_argument("names", nargs="*", help="of the registry; list shows them")
    parser.add_argument("--all", action="store_true", help="fetch everything")
    asked = parser.parse_args()
    if asked.what == "fetch" and not (asked.names or asked.all):
        parser.error("fetch needs names, or --all")
    with exit_on_mistake():
        entries = [registry.entry(name) for name in asked.names or registry.entries()]
        if asked.what == "verify" and not asked.names:  # what there is
            entries = [e for e in entries if len(e.missing()) < len(e.files)]
        wrong = {"fetch": _fetch, "verify": _verify}.get(asked.what, _show)(entries)
    sys.exit(1 if wrong else 0)


def _show(entries: list[Entry]) -> bool:
    header = ["name", "what", "size", "here", "licence", "commercial use"]
    rows = [
        [
            e.name,
            e.title,
            size(e.bytes),
            "no" if e.missing() else "yes",
            e.licence,
            e.commercial,
        ]
        for e in entries
    ]
    console = output(140)
    console.print(Sheet(f"weights in {registry.home()}", header, rows).rich())
    return False


def _fetch(entries: list[Entry]) -> bool:
    from diffshortcut.weights import fetch

    for entry in entries:
        fetch.fetch(entry)
        print(f"{entry.name}: {entry.place}")
    return False


def _verify(entries: list[Entry]) -> bool:
    from diffshortcut.weights import fetch

    wrong = {entry.name: fetch.verify(entry) for entry in entries}
    for name, files in wrong.items():
        for path, reason in files.items():
            print(f"{name}/{path}: {reason}")
        if not files:
            found = registry.entry(name)
            unknown = [file.path for file in found.files if found.expected(file) is None]
            but = f"; no hash is known of {', '.join(unknown)}" if unknown else ""
            print(f"{name}: nothing differs{but}")
    if not entries:
        print("nothing has been fetched")
    return any(wrong.values())


if __name__ == "__main__":
    main()
