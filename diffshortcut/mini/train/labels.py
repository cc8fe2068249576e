"""Classes of the attributes that captions speak of, for the judge and for CLIP's helper heads."""

LABELS = {
    "gender": ("man", "woman"),
    "age": ("young", "middle-aged", "old"),
    "ancestry": ("asian", "african", "caucasian"),
    "hair_color": ("black", "brown", "blond", "red", "grey", "white"),
    "hair_style": ("short", "long", "bob", "bun", "afro", "bald", "balding"),
    "glasses": ("none", "some"),
    "beard": ("none", "stubble", "full", "goatee", "moustache"),
    "expression": ("neutral", "smile", "open mouth", "frown", "surprised", "eyes closed"),
    "turn": ("camera", "left", "right", "up", "down"),
    "style": ("photo", "line drawing", "halftone", "flat colors", "brush strokes"),
    "degradation": (
        "none", "noise", "sign noise", "noisy pattern", "blur", "jpeg", "low resolution",
    ),
}  # fmt: skip


def classes(record: dict) -> dict[str, int]:
    """The class of each label in a corpus record."""
    facts = record["attributes"] | {"style": record["style"]}
    facts["degradation"] = record["degradation"] or "none"
    facts["glasses"] = "none" if facts["glasses"] == "none" else "some"
    return {name: values.index(facts[name]) for name, values in LABELS.items()}
