"""Attacks and purifiers beside the published loops, as `bench/attacks.py` and `purifiers.py`."""

from functools import partial

from diffshortcut.attacks.scene import Scene
from diffshortcut.bench import attacks, cases, purifiers
from diffshortcut.bench.attacks import Method
from diffshortcut.bench.cases import Case
from diffshortcut.bench.measured import timed
from diffshortcut.bench.pairs import Effort, Side, compare
from diffshortcut.bench.records import Figure, Job, Pair
from diffshortcut.data.person import Person
from diffshortcut.stages import protect

METACLOAK = "metacloak, round"
GOALS = {  # how many times as fast as the published loop
    "fsmg, step": 1.2,
    "aspl, round": 1.2,
    METACLOAK: 1.2,
    "gridpure": 3.0,
    "impress": 2.0,
}
WHOLE = "sr, as configured"  # what the main job's composition needs
CHECK = "metacloak, held-out check of our stage"
VERSIONS = 3  # clean, protected, random


def of_attacks(person: Person, effort: Effort) -> dict[str, Job]:
    """A job per case."""
    scene = cases.person()
    listed: dict[str, Job] = {
        case.name: partial(_attack, case, scene, effort) for case in cases.CASES
    }
    return {**listed, CHECK: partial(_check, scene, effort)}


def of_purifiers(person: Person, effort: Effort) -> dict[str, Job]:
    """A job per case; beside the short ones the whole x4 upscaling."""
    listed = [*purifiers.CASES, purifiers.Case("sr", purifiers.published.one_by_one)]
    names = [*(case.name for case in purifiers.CASES), WHOLE]
    return {
        name: partial(_purifier, name, case, effort)
        for name, case in zip(names, listed, strict=True)
    }


def _attack(case: Case, scene: Scene, effort: Effort) -> list[Pair]:
    def side(method: Method) -> Side:
        run = partial(attacks.timed, method, loop=case.loop, scene=scene)
        return Side(run, partial(attacks.count, method, case.loop, scene), run)

    theirs, ours = map(side, attacks.sides(case))
    return compare("attacks", case.name, theirs, ours, effort, goal=GOALS.get(case.name))


def _check(scene: Scene, effort: Effort) -> list[Figure]:
    """What no release does: the objective of three versions of the pictures, on held-out draws."""
    case = next(case for case in cases.CASES if case.name == METACLOAK)
    loss = case.attack().objective(scene, attacks.DRAWS)
    look = partial(protect.held_out, loss, scene.images, protect.HELD_OUT)
    runs = [timed(look).wall for _ in range(effort.pairs)]
    return [Figure(part="attacks", name=CHECK, values=[VERSIONS * one for one in runs])]


def _purifier(name: str, case: purifiers.Case, effort: Effort) -> list[Pair]:
    theirs, ours = map(Side.whole, purifiers.sides(case, purifiers.pictures(4)))
    goal = GOALS.get(name)
    return compare("purifiers", name, theirs, ours, effort, beside=case.beside, goal=goal)
