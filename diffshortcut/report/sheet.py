"""A table of text: for the terminal, as markdown, LaTeX and CSV."""

import csv
import html
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:  # a cached answer does not wait for scipy
    from diffshortcut.statistics import Estimate

TITLES = {
    "ims": "IMS",
    "style": "style",
    "q": "Q",
    "overall": "overall",
    "liqe": "LIQE",
    "clip_iqac": "CLIP-IQAC",
    "no_face": "no face",
    "perceptual_protected": "perceptual, protected",
    "perceptual_purified": "perceptual, purified",
    "identity_purified": "identity kept",
}
ARROWS = {"higher": " ↑", "lower": " ↓", None: ""}
FIGURE = re.compile(  # what tables hold
    r"-|[+-][\d.]+(e[+-]?\d+)?( ± [\d.]+| \[[+-]?[\d.]+, [+-]?[\d.]+\])?"
)
NAME = 22  # letters of an arm that stay on one line of a narrow console


@dataclass(frozen=True)
class Sheet:
    """A table of text cells under a title."""

    title: str
    header: list[str]
    rows: list[list[str]]

    def markdown(self, *, escaped: bool = False) -> str:
        """As a markdown section; `escaped` if the texts are markdown already."""
        plain = str if escaped else as_markdown
        lines = [list(map(plain, line)) for line in (self.header, *self.rows)]
        lines.insert(1, ["---"] * len(self.header))
        body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        return f"## {plain(self.title)}\n\n{body}\n"

    def latex(self, *, escaped: bool = False, note: str = "") -> str:
        """As a LaTeX table of the package booktabs; `escaped` if the texts are LaTeX already.

        The `note` stands below it.
        """
        tex = str if escaped else as_tex
        lines = [" & ".join(map(tex, line)) + r" \\" for line in (self.header, *self.rows)]
        lines = [f"{{}}{line}" if line[0] in "[*" else line for line in lines]  # no option of \\
        columns = "l" + "r" * (len(self.header) - 1)
        head = [r"\begin{table}", r"\centering", f"\\caption{{{tex(self.title)}}}"]
        body = [f"\\begin{{tabular}}{{{columns}}}", r"\toprule", lines[0], r"\midrule", *lines[1:]]
        below = [r"\par\medskip", rf"{{\footnotesize {tex(note)}\par}}"] if note else []
        foot = [r"\bottomrule", r"\end{tabular}", *below, r"\end{table}"]
        return "\n".join([*head, *body, *foot, ""])

    def csv(self) -> str:
        """As comma-separated values, without the title."""
        text = io.StringIO()
        lines = [list(map(as_csv, line)) for line in (self.header, *self.rows)]
        csv.writer(text, lineterminator="\n").writerows(lines)
        return text.getvalue()

    def rich(self) -> Table:
        """For a console; nothing is cut: names that begin alike must stay apart."""
        table = Table(title=escape(self.title), title_justify="left")
        first, *others = map(escape, self.header)
        longest = max((len(row[0]) for row in self.rows), default=0)
        table.add_column(first, overflow="fold", no_wrap=longest <= NAME)
        for name in others:
            table.add_column(name, justify="right", overflow="fold")
        for row in self.rows:
            table.add_row(*map(escape, row))  # a picture may be called [red].png
        return table


def titled(metric: str, better: str | None = None) -> str:
    """What the metric is called in tables and figures; an arrow says which way is `better`."""
    return TITLES.get(metric, metric) + ARROWS[better]


def number(value: float | None, digits: int = 3, sign: str = "") -> str:
    """The number, or - if there is none; what rounds to nothing has no minus."""
    return "-" if value is None else f"{round(value, digits) + 0.0:{sign}.{digits}f}"


TEX = str.maketrans(
    {
        **{letter: rf"\{letter}" for letter in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": "$<$",
        ">": "$>$",
        "|": r"\textbar{}",
        "±": r"$\pm$",
        "≤": r"$\leq$",
        "↑": r"$\uparrow$",
        "↓": r"$\downarrow$",
    }
)


def interval(found: "Estimate | None", sign: str = "") -> str:
    """`0.41 [0.30, 0.52]`, or the point alone, or - if there is none."""
    if found is None or found.value is None:
        return "-"
    point, low, high = (number(value, sign=sign) for value in (found.value, found.low, found.high))
    return point if found.low is None else f"{point} [{low}, {high}]"


def significance(p: float | None) -> str:
    """The p-value with two digits, or - if there is none."""
    return "-" if p is None else f"{p:.2g}"


MINUS = re.compile(r"(?<![\w.)}-])-(?=\d)|(?<=\de)-(?=\d)")  # of a number, of its exponent


def as_tex(text: str) -> str:
    """The text in one line, with everything escaped that LaTeX would take for a command.

    The sign of a negative number is a minus, for LaTeX makes a short hyphen of it.
    """
    return MINUS.sub("$-$", " ".join(text.split()).translate(TEX))


MARKUP = re.compile(
    r"[\\`|~]"
    r"|\*(?!$)|(?<!\d)\*"  # no star of a figure
    r"|(?<![^\W_])_|_(?![^\W_])"  # none within a word
    r"|\](?=[(\[:])"  # no end of an interval
)


def as_markdown(text: str) -> str:
    """The text in one line, with what would be HTML, markup or the end of a cell escaped."""
    return html.escape(MARKUP.sub(r"\\\g<0>", " ".join(text.split())), quote=False)


def as_csv(text: str) -> str:
    """The text, with a quote before what a spreadsheet would take for a formula."""
    risky = text.startswith(("=", "+", "-", "@", "\t", "\r")) and not FIGURE.fullmatch(text)
    return f"'{text}" if risky else text
