"""Gates of the models that look: CLIP, quality head, recognizers, detector, perceptual distance."""

import itertools

import numpy as np
import torch
from scipy.stats import spearmanr
from torch.nn import functional

from diffshortcut.mini.train.held_out import Gate, HeldOut, Measure, auc, enlarged, quarter
from diffshortcut.models import clip, faces, perceptual, quality

ZERO_SHOT = {
    "gender": {"man": "a photo of a man", "woman": "a photo of a woman"},
    "glasses": {"none": "a photo of a person", "some": "a photo of a person with glasses"},
    "hair_style": {
        "bald": "a photo of a person with a bald head",
        "long": "a photo of a person with long hair",
    },
    "age": {"young": "a photo of a young person", "old": "a photo of an old person"},
}
DAMAGE = (
    "a photo of a person",
    "a noisy photo of a person, noise",
    "a blurry photo of a person, blurry",
    "a photo of a person, jpeg artifacts",
)


@torch.no_grad()
def attributes(held_out: HeldOut) -> list[Gate]:
    """CLIP: zero-shot attributes, balanced over their values."""
    model = clip.load(weights=held_out.at("clip"))
    facts = [held_out.corpus.records[i]["attributes"] for i in held_out.photos]
    scores = []
    for task, prompts in ZERO_SHOT.items():
        truth = [f[task] if task != "glasses" or f[task] == "none" else "some" for f in facts]
        for label in prompts:
            chosen = held_out.photos[[t == label for t in truth]]
            answers = model.probabilities(held_out.corpus.pixels(chosen), list(prompts.values()))
            right = answers.argmax(1) == list(prompts).index(label)
            scores.append(float(right.float().mean()))
    return [Gate("CLIP: zero-shot attributes, balanced accuracy", float(np.mean(scores)), 0.8)]


@torch.no_grad()
def damaged(held_out: HeldOut) -> list[Gate]:
    """CLIP: noise, blur and JPEG versions told from clean."""
    model, records = clip.load(weights=held_out.at("clip")), held_out.corpus.records
    kinds = ("noise", "sign noise", "noisy pattern", "blur", "jpeg")
    bad = [i for i in held_out.corpus.where(style="photo") if records[i]["degradation"] in kinds]
    shares = [
        float((model.probabilities(held_out.corpus.pixels(np.array(i)), DAMAGE).argmax(1) > 0)
              .float().mean())
        for i in (held_out.photos, bad)
    ]  # fmt: skip
    balanced = (1 - shares[0] + shares[1]) / 2
    return [Gate("CLIP: damaged told from clean, balanced accuracy", balanced, 0.95)]


def picture_quality(held_out: HeldOut) -> list[Gate]:
    """The LIQE role: rank correlation of the score with the level of damage."""
    model = quality.load(weights=held_out.at("quality"))
    records = held_out.corpus.records
    bad = [i for i in held_out.corpus.where(style="photo") if records[i]["degradation"]]
    index = np.array([*bad, *held_out.spread(100)])
    level = [records[i]["level"] for i in index]
    score = model.score(held_out.corpus.pixels(index))
    return [Gate("quality: Spearman with damage", -float(spearmanr(level, score).statistic), 0.9)]


def recognition(held_out: HeldOut) -> list[Gate]:
    """AUC over pairs whose negatives share gender, age and ancestry; also after / 4 and back."""
    images, records = held_out.corpus.pixels(held_out.photos), held_out.corpus.records
    facts = [records[i]["attributes"] for i in held_out.photos]
    group = [tuple(f[k] for k in ("gender", "age", "ancestry")) for f in facts]
    people = [records[i]["person"] for i in held_out.photos]
    pairs = [p for p in itertools.combinations(range(len(people)), 2) if group[p[0]] == group[p[1]]]
    first, second = (list(side) for side in zip(*pairs, strict=True))
    same = np.array([people[i] == people[j] for i, j in pairs])
    small = enlarged(quarter(images), 4)
    nets = {
        "A": faces.load_recognizer_a(weights=held_out.at("recognizer_a")),
        "B": faces.load_recognizer_b(weights=held_out.at("recognizer_b")),
    }
    found = []
    for name, note, pixels, asked in (
        ("A", "", images, 0.98),
        ("B", "", images, 0.98),
        ("A", " after / 4 and back", small, 0.9),
    ):
        e = held_out.embeddings(nets[name], pixels, held_out.photos)
        cosine = (e[first] * e[second]).sum(1).numpy()
        found.append(Gate(f"recognizer {name}: AUC{note}", auc(cosine[same], cosine[~same]), asked))
    return found


def detection(held_out: HeldOut) -> list[Gate]:
    """Faces found in portraits, and imagined in backgrounds and noise."""
    x, rng = held_out.clean(400), torch.Generator().manual_seed(1)
    corner = functional.interpolate(x[:200, :, :28, :24], size=(128, 128), mode="bilinear")
    empty = torch.cat([corner, torch.rand(200, 3, 128, 128, generator=rng)])
    hits, ghosts = (
        float(np.mean([bool(found) for found in held_out.detector.detect(images)]))
        for images in (x, empty)
    )
    return [
        Gate("detector: found in portraits", hits, 0.99),
        Gate("detector: found in noise and backgrounds", ghosts, 0.01, at_least=False),
    ]


def distance(held_out: HeldOut) -> list[Gate]:
    """Pairs of a weaker and a stronger damage put in order."""
    model = perceptual.load(weights=held_out.at("recognizer_b"))
    x, rng = held_out.clean(100), torch.Generator().manual_seed(2)
    noise = torch.randn(x.shape, generator=rng)
    noisy = [(x + amount * noise).clamp(0, 1) for amount in (0.03, 0.09)]
    soft = [enlarged(functional.avg_pool2d(x, k), k) for k in (2, 4)]
    right = [model.distance(x, a) < model.distance(x, b) for a, b in (noisy, soft)]
    return [Gate("perceptual: pairs in order", float(torch.cat(right).float().mean()), 0.9)]


MEASURES: dict[str, Measure] = {
    "attributes": attributes,
    "damaged": damaged,
    "quality": picture_quality,
    "recognition": recognition,
    "detection": detection,
    "distance": distance,
}
