"""What follows training in a cell, by our stages as a run has them, and as it is published.

Both load the same personalized weights (here the base model's) and write and read the same files.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from diffshortcut.bench import published_metrics, published_sampling
from diffshortcut.bench.scenes import SIZE
from diffshortcut.config import config
from diffshortcut.data.person import Person
from diffshortcut.graph import cells
from diffshortcut.pictures.images import quantize, read_files, write_folder
from diffshortcut.samplers.classifier_free import ClassifierFree
from diffshortcut.seeding import Draws
from diffshortcut.stages import generate, prior, score
from diffshortcut.stages.inputs import Inputs
from diffshortcut.weights import locate

DRAWS = Draws(seed=0, stage="generate", person="nobody")
WEIGHTS = "mini:mini_a"
AT_ONCE = 4  # pictures of the class in a call of the pipeline, as in diffusers' example
Sampled = Callable[[ClassifierFree, Any, Draws, Path], list[Path]]


class Cell:
    """The default arm of a person; `root` is where its files go."""

    def __init__(self, person: Person, root: Path, overrides: Sequence[str] = ()) -> None:
        self.person, self.root = person, root
        self.config = config.resolve(config.compose(["attack=none", *overrides]))
        self.tasks = cells.plan(self.config, person)
        seen = quantize(read_files(person.set_B, SIZE))
        write_folder(root / "seen" / "images", seen, [path.name for path in person.set_B])

    @cached_property
    def sampler(self) -> ClassifierFree:
        """The sampler of the cell's generate stage, with its model and prompts, built once."""
        return config.build(self.tasks["generate"].config["sampler"], "sampler")

    def generate(self) -> Path:
        """Our stage."""
        inputs = Inputs(person=self.person, artifacts={"model": locate(WEIGHTS)})
        return self._stage(generate, self.tasks["generate"].config, inputs, "generate")

    def score(self, generated: Path) -> None:
        """Our stages, one for each metric of the generated pictures."""
        seen = self.root / "seen"
        roles = {"generated": generated, "protected": seen, "purified": seen}
        inputs = Inputs(person=self.person, artifacts={**roles, "model": locate(WEIGHTS)})
        for name in ("score.ims", "score.quality"):
            self._stage(score, self.tasks[name].config, inputs, name)

    def classes(self, count: int) -> Path:
        """Our stage, for some pictures of the class."""
        node = {**self.config["prior"], "images": count}
        return self._stage(prior, node, Inputs(), "prior")

    def sampled(self, method: Sampled = published_sampling.one_by_one) -> list[Path]:
        """The pictures of all prompts by diffusers' pipeline."""
        model = self.sampler.model.with_weights(locate(WEIGHTS))
        return method(self.sampler, model, DRAWS, self.root / "sampled" / "images")

    def scored(self, paths: Sequence[Path]) -> published_metrics.Scores:
        """The same metrics, picture by picture."""
        nodes, files = self.config["metric"], {}
        for index, prompt in enumerate(self.sampler.prompts):
            files[prompt] = [path for path in paths if path.name.startswith(f"{index}-")]
        ims, quality = (config.build(nodes[name], "metric") for name in ("ims", "quality"))
        likeness = published_metrics.ims(ims, files, self.person.set_C, SIZE)
        return likeness | published_metrics.quality(quality, files)

    def sampled_classes(self, count: int) -> list[Path]:
        """Pictures of the class by diffusers' pipeline, some at once."""
        node, folder = self.config["prior"], self.root / "sampled classes"
        model = config.build(node["model"], "model")
        sampler = ClassifierFree(
            model=model,
            prompts=[node["prompt"]],
            images=AT_ONCE,
            steps=node["steps"],
            guidance=node["guidance"],
        )
        written: list[Path] = []
        for first in range(0, count, AT_ONCE):
            some = replace(sampler, images=min(AT_ONCE, count - first))
            draws, place = DRAWS.from_image(first), folder / str(first)
            written += published_sampling.whole_prompts(some, model, draws, place)
        return written

    def _stage(self, stage: Any, node: dict[str, Any], inputs: Inputs, name: str) -> Path:
        out = self.root / name
        out.mkdir(exist_ok=True)
        stage.run(config=node, inputs=inputs, out=out, draws=DRAWS)
        return out
