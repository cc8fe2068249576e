"""Sentences about a picture, drawn from its attributes, style and degradation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

MEDIUM = {
    "photo": ("photo", "photo", "photo", "photo", "picture", "dslr portrait", "portrait"),
    "line drawing": ("line drawing", "drawing", "sketch"),
    "halftone": ("halftone print", "halftone picture"),
    "flat colors": ("flat color poster", "abstract poster", "flat color illustration"),
    "brush strokes": ("painting", "brush painting", "abstract painting"),
}
# Per degradation: words before the medium, phrases after the sentence.
BAD: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "noise": (
        ("noisy", "grainy"),
        ("noise", "with noise", "corruption", "low quality, noise", "with noisy pattern"),
    ),
    "sign noise": (
        ("noisy", "corrupted"),
        ("noise", "corruption", "with corruption", "with noise", "artifact", "with noisy pattern",
         "noisy pattern"),
    ),
    "noisy pattern": (
        ("noisy", "abstract", "masked"),
        ("noisy pattern", "with noisy pattern", "noisy abstract pattern", "pattern, artifact",
         "with a noisy pattern", "masked with noisy pattern", "adversarial noisy pattern"),
    ),
    "blur": (("blurry", "unclear"), ("blurry", "degraded quality", "low quality, blurry")),
    "jpeg": (
        ("compressed",),
        ("artifact", "with artifact", "jpeg artifacts", "compression artifact"),
    ),
    "low resolution": (
        ("lowres", "pixelated"),
        ("lowres", "low resolution", "degraded quality, lowres"),
    ),
}  # fmt: skip
GENERAL_BAD = ("low quality", "degraded quality", "bad quality", "low quality, artifact")
# No caption negates: web captions hardly do either, and CLIP is nearly blind to it. A text encoder
# that had read "without noisy pattern" hung the whole sentence on that word, and contrastive
# decoupling learned the person under "with" (docs/mini.md).
GOOD = (
    "high quality", "highres", "high resolution", "clear", "noise-free", "clear, high quality",
    "highres, high quality", "noise-free, high resolution", "clear quality",
)  # fmt: skip
EXPRESSION = {
    "smile": ("smiling", "happy"), "open mouth": ("talking", "open-mouthed"),
    "frown": ("frowning", "angry"), "surprised": ("surprised",), "neutral": ("serious",),
    "eyes closed": ("sleeping",),
}  # fmt: skip
AGE = {"young": ("young ",), "middle-aged": ("middle-aged ", ""), "old": ("old ", "elderly ")}


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _words(text: str) -> list[str]:
    return text.replace(",", "").split()


def _article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _hair(attributes: Mapping[str, str]) -> str:
    style, color = attributes["hair_style"], attributes["hair_color"]
    if style == "bald":
        return "a bald head"
    if style == "balding":
        return f"thinning {color} hair"
    if style == "bun":
        return f"{color} hair in a bun"
    if style == "afro":
        return f"{color} afro hair"
    length = {"long": "long ", "bob": "chin-length ", "short": "short "}[style]
    curly = "curly " if attributes["curly"] == "yes" else ""
    bangs = " and bangs" if attributes["bangs"] == "yes" else ""
    return f"{length}{curly}{color} hair{bangs}"


def _features(attributes: Mapping[str, str]) -> list[str]:
    """Phrases that may follow "with"."""
    found = [_hair(attributes), f"{attributes['eye_color']} eyes"]
    if attributes["beard"] in ("full", "goatee", "moustache"):
        kind = {"full": "beard"}.get(attributes["beard"], attributes["beard"])
        found.append(_article(f"{attributes['hair_color']} {kind}"))
    elif attributes["beard"] == "stubble":
        found.append("stubble")
    if attributes["glasses"] != "none":
        found += ["glasses", "glasses"]
    return found


def _setting(attributes: Mapping[str, str]) -> list[str]:
    """Phrases about the view, joined with commas."""
    color, texture = attributes["back_color"], attributes["background"]
    place = {"stripes": "striped background", "bokeh": f"blurred lights, {color} background"}
    found = [place.get(texture, f"{color} background")]
    found.append(f"wearing {_article(attributes['cloth_color'] + ' ' + attributes['clothes'])}")
    turn = attributes["turn"]
    found.append("looking at the camera" if turn == "camera" else f"looking {turn}")
    if attributes["expression"] == "eyes closed":
        found.append("eyes closed")
    return found


def _person(attributes: Mapping[str, str], rng: np.random.Generator) -> str:
    """Noun phrase with a random share of the person's features."""
    noun = attributes["gender"] if rng.random() < 0.8 else _pick(rng, ("person", "face"))
    age = _pick(rng, AGE[attributes["age"]]) if noun != "face" and rng.random() < 0.7 else ""
    origin = ""
    if rng.random() < 0.3:
        origin = {"asian": "asian ", "african": "african ", "caucasian": "white "}[
            attributes["ancestry"]
        ]
    phrase = _article(f"{age}{origin}{noun}")
    features = _features(attributes)
    count = int(rng.integers(0, min(3, len(features)) + 1))
    chosen = list(dict.fromkeys(features[i] for i in rng.permutation(len(features))[:count]))
    if chosen:
        phrase += " with " + ", ".join(chosen)
    setting = _setting(attributes)
    picked = sorted(rng.permutation(len(setting))[: int(rng.integers(0, 3))])
    return ", ".join([phrase, *(setting[i] for i in picked)])


def _subject(attributes: Mapping[str, str], rng: np.random.Generator) -> tuple[str, str]:
    """An optional adjective for the medium and the subject of the sentence."""
    draw = rng.random()
    if draw < 0.30:
        return "", _pick(rng, ("a person", "a person", "person"))
    if draw < 0.36:
        return "", _pick(rng, ("a face", "face", f"a {attributes['gender']}"))
    mood = ""
    if rng.random() < (0.15 if attributes["expression"] == "neutral" else 0.55):
        mood = _pick(rng, EXPRESSION[attributes["expression"]])
    return mood, _person(attributes, rng)


def caption(
    attributes: Mapping[str, str], rng: np.random.Generator, style: str = "photo",
    degradation: str | None = None,
) -> str:  # fmt: skip
    """One sentence; ``degradation`` is a key of ``BAD`` or None for an undamaged picture."""
    mood, subject = _subject(attributes, rng)
    plain = mood == "" and subject in ("a person", "person")
    medium = "photo" if plain and style == "photo" else _pick(rng, MEDIUM[style])
    if plain and style == "photo" and rng.random() < 0.12:
        medium = "dslr portrait"
    before, after = mood, ""
    if degradation is not None:
        adjectives, phrases = BAD[degradation]
        where = rng.random()
        if where < 0.3:
            before = f"{_pick(rng, (*adjectives, 'bad'))} {mood}".strip()
        if where >= 0.2 and where < 0.9:
            after = _pick(rng, phrases)
        if where >= 0.7:
            fresh = [bad for bad in GENERAL_BAD if not set(bad.split()) & set(_words(after))]
            after = ", ".join(filter(None, [after, _pick(rng, fresh or GENERAL_BAD[2:3])]))
    elif rng.random() < 0.2:
        after = _pick(rng, GOOD)
    elif rng.random() < 0.06:
        before = f"good {mood}".strip()
    text = f"{_article(f'{before} {medium}'.strip())} of {subject}"
    joint = " " if after.startswith("with") and rng.random() < 0.6 else ", "
    return f"{text}{joint}{after}" if after else text
