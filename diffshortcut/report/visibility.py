"""How visible each protection is: protected pictures beside clean ones."""

from diffshortcut.report.facts import Facts
from diffshortcut.report.sheet import Sheet, number

COLUMNS = {  # metric of the protected pictures -> title, digits
    "psnr_protected": ("PSNR, dB ↑", 2),
    "ssim_protected": ("SSIM ↑", 3),
    "perceptual_protected": ("perceptual ↓", 3),
}


def sheet(facts: Facts) -> Sheet:
    """A line per attack; the clean arm, which has nothing to hide, is left out."""
    attacks = [arm for arm in facts.attacks if arm != facts.baselines.clean]
    header = ["attack", "mean change, levels", *(title for title, _ in COLUMNS.values())]
    rows = [[arm, *_line(facts, arm)] for arm in attacks]
    measured = [row for row in rows if set(row[1:]) != {"-"}]
    return Sheet("How visible the protection is", header, measured)


def _line(facts: Facts, arm: str) -> list[str]:
    metrics = (number(facts.mean(arm, m), digits) for m, (_, digits) in COLUMNS.items())
    return [number(facts.change(arm), 2), *metrics]
