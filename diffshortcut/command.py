"""What a command line asks for: its arms, their people, and the cells of all of them."""

from collections.abc import Sequence

from diffshortcut import arms, cells, config, crops, keys
from diffshortcut.data.person import Person
from diffshortcut.errors import UserError
from diffshortcut.own_photos import OwnPhotos
from diffshortcut.results import Comparison


def comparison(overrides: Sequence[str]) -> Comparison:
    """The arms of a command line, its people and all their cells."""
    composed = arms.compose(overrides)
    people = _people(composed)
    planned = {
        arm.name: {person.name: cells.plan(arm.config, person) for person in people[arm.name]}
        for arm in composed
    }
    own = composed[-1]
    kind = Comparison if own.config["stages"] == "all" else OwnPhotos
    return kind(composed, people[own.name], planned)


def _people(composed: Sequence[arms.Arm]) -> dict[str, list[Person]]:
    """Each arm's people, whom arms with equal data and crop share; they go by the same names.

    UserError if they do not, for arms are compared by person.
    """
    read: dict[str, list[Person]] = {}
    found: dict[str, list[Person]] = {}
    for arm in reversed(composed):  # the command line's own comes first
        node = {key: arm.config[key] for key in ("data", "crop")}
        if (which := keys.digest(node)) not in read:
            read[which] = crops.of(config.build(arm.config["data"], "data"), arm.config)
        found[arm.name] = read[which]
        ours, theirs = ([p.name for p in found[a.name]] for a in (composed[-1], arm))
        if ours != theirs:
            raise UserError(
                f"arm {arm.name} has other people than the command line, and arms are compared by"
                f" person: {', '.join(theirs)} instead of {', '.join(ours)}"
            )
    return found
