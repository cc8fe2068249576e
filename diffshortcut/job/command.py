"""What a command line asks for: its arms, their people, and the cells of all of them."""

from collections.abc import Iterable, Sequence

from diffshortcut import extras, weights
from diffshortcut.artifacts import keys
from diffshortcut.config import arms, config
from diffshortcut.data.person import Person
from diffshortcut.errors import UserError
from diffshortcut.graph import cells
from diffshortcut.graph.cells import Task
from diffshortcut.job import crops, measured
from diffshortcut.job.own_photos import OwnPhotos
from diffshortcut.job.results import Comparison
from diffshortcut.weights import registry


def comparison(overrides: Sequence[str]) -> Comparison:
    """The arms of a command line, its people and all their cells."""
    composed = arms.compose(overrides)
    if composed[-1].config["stages"] == "all":
        measured.check_claims(composed[-1].config)
    people = people_of(composed)
    planned = {
        arm.name: {person.name: cells.plan(arm.config, person) for person in people[arm.name]}
        for arm in composed
    }
    own = composed[-1]
    kind = Comparison if own.config["stages"] == "all" else OwnPhotos
    return kind(composed, people[own.name], planned, own)


def require_weights(comparison: Comparison) -> None:
    """UserError naming all weights that are not here, for without them nothing has a key."""
    with weights.unfetched() as absent:
        comparison.key()
    if absent:
        raise registry.absent(list(absent.values()))


def lacking(tasks: Iterable[Task]) -> str | None:
    """The packages that are not installed and that stages would ask for hours later."""
    values = (
        value
        for task in tasks
        for _, value in config.leaves(task.config)
        # attacks that train say it at once, others never ask
        if value != extras.EIGHT_BIT or task.stage == "personalize"
    )
    return extras.lacking(values)


def people_of(composed: Sequence[arms.Arm]) -> dict[str, list[Person]]:
    """Each arm's people, whom arms with equal data and crop share; they go by the same names.

    UserError if they do not, for arms are compared by person.
    """
    read: dict[str, list[Person]] = {}
    found: dict[str, list[Person]] = {}
    for arm in reversed(composed):  # the command line's own comes first
        node = {key: arm.config[key] for key in ("data", "crop")}
        if (which := keys.digest(node)) not in read:
            read[which] = crops.cropped(config.build(arm.config["data"], "data"), arm.config)
        found[arm.name] = read[which]
        ours, theirs = ([p.name for p in found[a.name]] for a in (composed[-1], arm))
        if ours != theirs:
            raise UserError(
                f"arm {arm.name} has other people than the command line, and arms are compared by"
                f" person: {', '.join(theirs)} instead of {', '.join(ours)}"
            )
    return found
