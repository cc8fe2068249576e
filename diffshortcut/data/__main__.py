"""`python -m diffshortcut.data scan data=folder data.root=PHOTOS`: what is there, what is wrong.

Takes the arguments of `diffshortcut.run` and runs nothing but `crop`. Everyone is looked at unless
data.people says who. The exit code is 1 if anything is left out, too small or without a face.
"""

import logging
import sys
from collections.abc import Sequence

from diffshortcut.config import catalog, config, usage
from diffshortcut.data.people import PeopleError, shown
from diffshortcut.data.scan import HEADER, Found, Messages, finder, look
from diffshortcut.errors import UserError
from diffshortcut.job import crops
from diffshortcut.progress import output
from diffshortcut.report.sheet import Sheet


def scan(overrides: Sequence[str]) -> tuple[list[Found], list[str]]:
    """Who is there, and a line for each thing that is wrong. UserError if nothing can be read."""
    asked = any(override.lstrip("+").startswith("data.people=") for override in overrides)
    cfg = config.resolve(config.compose([*overrides, *([] if asked else ["data.people=null"])]))
    config.check(cfg)
    told, reasons = Messages(), []
    logger = logging.getLogger("diffshortcut")
    logger.addHandler(told)
    try:
        try:
            people = config.build(cfg["data"], "data")
        except PeopleError as error:
            people, reasons = error.read, error.reasons
        people = crops.cropped(people, cfg)
    finally:
        logger.removeHandler(told)
    has_face = None
    if people and cfg["prompts"].get("subject", config.FACE) == config.FACE:
        try:
            has_face = finder(cfg["zoo"]["detector"])
        except UserError as error:
            reasons = [*reasons, f"faces were not looked for: {error}"]
    size = cfg["zoo"]["resolution"]
    found = [look(person, size, has_face) for person in people]
    lines = [line for each in found for line in each.complaints(size)]
    return found, [shown(line) for line in (*reasons, *told.lines, *lines)]


def main() -> None:
    """Print who was read and what is wrong, a line each; the exit code is 1 if anything is."""
    words = sys.argv[1:]
    if usage.FOR_HELP & set(words):
        print(__doc__)
        return
    if words[:1] != ["scan"]:
        sys.exit("usage: python -m diffshortcut.data scan data=folder data.root=PHOTOS")
    with usage.one_line(words[1:]):
        usage.check_flags(words[1:], sorted(usage.FOR_HELP))
        found, lines = scan(catalog.adopt(words[1:]))
    if found:
        sheet = Sheet(f"{len(found)} read", HEADER, [each.cells() for each in found])
        output().print(sheet.rich())
    print("\n".join(lines or ["nothing is wrong"]))
    sys.exit(1 if lines else 0)


if __name__ == "__main__":
    main()
