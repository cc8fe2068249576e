"""Quantities as people read them."""

OPERATIONS = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"))


def size(count: int) -> str:
    """Of bytes: 5.2 GB, 861 kB."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"


def duration(seconds: float) -> str:
    """Of seconds: 40 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def operations(count: float) -> str:
    """Of floating-point operations: 1.7 TFLOP."""
    for unit, letter in OPERATIONS:
        if count >= unit:
            return f"{count / unit:.3g} {letter}FLOP"
    return "0" if count < 1 else "< 1 MFLOP"
