"""Folders as runs leave them, written without models: for tests of what reads them."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from diffshortcut.report import summary

PROMPT = "a photo of sks person"
LEVEL = {"none": 0.6, "aspl": 0.1, "advdm": 0.2}
GAIN = {"none": 0.0, "jpeg": 0.05, "ours": 0.3}


@dataclass(frozen=True)
class Arm:
    """An arm of an attack and a purifier."""

    attack: str
    purifier: str = "none"
    radius: int = 11
    prompt: str = PROMPT
    called: str = ""
    store: str = "outputs/store"
    more: dict[str, Any] = field(default_factory=dict)  # of its config

    @property
    def name(self) -> str:
        if self.called:
            return self.called
        words = ("clean" if self.attack == "none" else self.attack, self.purifier)
        return "+".join(word for word in words if word != "none")

    @property
    def config(self) -> dict[str, Any]:
        none = self.attack == "none"
        chain = {} if self.purifier == "none" else {self.purifier: {"_target_": self.purifier}}
        return {
            "attack": {"_target_": self.attack} | ({} if none else {"radius": self.radius}),
            "purifier": chain,
            "trainer": {"_target_": "dreambooth", "instance_prompt": self.prompt},
            "sampler": {"_target_": "plain", "prompts": [self.prompt]},
            "data": {"_target_": "absent.people"},
            "runtime": {"store": self.store},
            "seed": 0,
            **self.more,
        }

    @property
    def choices(self) -> dict[str, str]:
        found = {"attack": self.attack, "purifier": self.purifier}
        return {**found, "trainer": "dreambooth", "sampler": "plain"}


@dataclass
class Folder:
    """A result folder below `root` with its store beside it."""

    root: Path
    name: str
    arms: list[Arm]
    people: list[str] = field(default_factory=lambda: ["person_000", "person_001"])
    claims: list[dict[str, Any]] = field(default_factory=list)
    flags: dict[str, Any] = field(default_factory=dict)
    worst: dict[str, list[str]] = field(default_factory=dict)
    family: int | None = None
    victims: bool = True  # else it holds what is measured without personalized models

    def write(self) -> Path:
        """Write everything and return the folder."""
        folder = self.root / self.name
        compare = {"clean": "clean", "claims": self.claims, "worst": self.worst}
        compare["family"] = self.family
        rows = [row for arm in self.arms for row in self._rows(arm)]
        facts = summary.summarize(arms=self.arms, rows=rows, compare=compare, flags=self.flags)
        summary.write(facts, folder=folder, gallery={})
        record = {
            "overrides": [f"experiment={self.name}"],
            "arms": {arm.name: arm.config for arm in self.arms},
            "choices": {arm.name: arm.choices for arm in self.arms},
            "stages": {
                arm.name: {p: self._stages(arm, p) for p in self.people} for arm in self.arms
            },
            "files": {},
        }
        (folder / "record.json").write_text(json.dumps(record))
        return folder

    def _rows(self, arm: Arm) -> list[dict[str, Any]]:
        base = {"arm": arm.name, "training_seed": 0}
        level = LEVEL[arm.attack] + GAIN[arm.purifier] - arm.radius / 100
        found = []
        for number, person in enumerate(self.people):
            if not self.victims:
                far = {"metric": "perceptual_purified", "value": 1 - level, "better": "lower"}
                found.append({**base, "person": person, **far})
            for metric, shift in (("ims", 0.0), ("q", 0.1)):
                for sample in range(2 * self.victims):
                    value = level + shift + number / 50 + sample / 100
                    unit = {"prompt": arm.prompt, "sample": sample, "better": "higher"}
                    found.append(
                        {**base, "person": person, "metric": metric, "value": value, **unit}
                    )
            if arm.purifier != "none":
                link = {**base, "person": person, "better": "lower"}
                spent = {"purification": 1.5, "purify": 9.5}  # alone, and with loading
                for kind, seconds in spent.items():
                    cost = {"metric": f"seconds.{kind}.{arm.purifier}", "value": seconds + number}
                    found.append({**link, **cost})
        return found

    def _stages(self, arm: Arm, person: str) -> dict[str, Any]:
        names = ["protect", "personalize", "generate"]
        names[1:1] = [] if arm.purifier == "none" else [f"purify.{arm.purifier}"]
        return {name: self._stage(name, arm, person) for name in names}

    def _stage(self, name: str, arm: Arm, person: str) -> dict[str, Any]:
        stage = name.partition(".")[0]
        key = f"{stage}-{arm.attack}-{arm.radius}-{arm.purifier}-{self.people.index(person)}"
        images = self.root / "store" / stage / key / "images"
        if stage != "personalize":
            images.mkdir(parents=True, exist_ok=True)
            shade = 40 + 30 * len(name) % 200
            for file in ("0-00.png", "0-01.png"):
                Image.effect_noise((64, 64), shade).convert("RGB").save(images / file)
        told = {"seconds": 2.5, "peak_memory": 9e8, "device": "cpu", "git": "abc"}
        return {"stage": stage, "key": key, **told, "packages": {"torch": "2"}}
