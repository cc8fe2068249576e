"""What a worker is given next."""

import random
from itertools import product

import pytest

from diffshortcut.graph.cells import Task
from diffshortcut.launch.ready import Kind, Ready, is_light, kind

MODEL = Task(stage="personalize", config={"trainer": {"weights": "mini:mini_a"}}, seed=0)
SCORE = {"metric": {"detector": "mini:detector"}}
LIGHT = {"purify", "score"}


def tasks() -> list[Task]:
    """Four of each of some kinds, mixed."""
    made = [
        ("protect", {"attack": {"weights": "mini:mini_a"}}, {}),
        ("protect", {"attack": {"weights": "mini:mini_b"}}, {}),
        ("purify", {"link": {"quality": 75}}, {}),
        ("personalize", {"trainer": {"weights": "mini:mini_a"}}, {}),
        ("generate", {"sampler": {"weights": "mini:mini_a"}}, {"model": MODEL}),
        ("protect", {"attack": {"weights": "mini:mini_a"}}, {"personalized": MODEL}),
        ("score", SCORE, {}),
    ]
    found = [
        Task(stage=stage, config=config, seed=seed, inputs=inputs)
        for seed in range(4)
        for stage, config, inputs in made
    ]
    random.Random(0).shuffle(found)
    return found


def best(waiting: list[Task], warm_for: Kind, *, light: bool, left: bool) -> Task | None:
    """By looking at every task."""
    fitting = [task for task in waiting if is_light(task) or not light]
    return min(
        fitting,
        default=None,
        key=lambda t: (left and is_light(t), t.model is None, kind(t) != warm_for),
    )


@pytest.mark.parametrize(("light", "left"), product([False, True], [False, True]))
def test_the_next_is_what_looking_at_all_would_find(light: bool, left: bool) -> None:
    graph = tasks()
    ready, waiting, warm_for = Ready(graph), list(graph), ()
    for task in random.Random(1).sample(graph, len(graph)):
        ready.add(task)
    while expected := best(waiting, warm_for, light=light, left=left):
        assert ready.take(warm_for, light=light, light_left_to_others=left) is expected
        waiting.remove(expected)
        warm_for = kind(expected)
    assert ready.take(warm_for, light=light, light_left_to_others=left) is None
    left_over = {task.stage for task in graph} - LIGHT if light else set()
    assert {task.stage for task in waiting} == left_over


def test_a_model_that_is_there_is_read_before_another_is_trained() -> None:
    graph = tasks()
    ready = Ready(graph)
    for task in graph:
        ready.add(task)
    taken = ready.take(kind(MODEL), light=False, light_left_to_others=False)
    assert taken is not None and taken.model is MODEL


def test_what_was_lost_is_given_again() -> None:
    [one, *_] = graph = tasks()
    ready = Ready(graph)
    for _ in range(2):
        ready.add(one)
        assert ready.take((), light=False, light_left_to_others=False) is one
    assert ready.take((), light=False, light_left_to_others=False) is None
