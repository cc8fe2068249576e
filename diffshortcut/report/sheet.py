"""A table of text, as markdown and for the terminal."""

from dataclasses import dataclass

from rich.markup import escape
from rich.table import Table

NAME = 22  # letters of an arm that stay on one line of a narrow console


@dataclass(frozen=True)
class Sheet:
    """A table of text cells under a title."""

    title: str
    header: list[str]
    rows: list[list[str]]

    def markdown(self) -> str:
        """As a markdown section."""
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        body = "\n".join("| " + " | ".join(map(_plain, line)) + " |" for line in lines)
        return f"## {self.title}\n\n{body}\n"

    def rich(self) -> Table:
        """For a console; nothing is cut: names that begin alike must stay apart."""
        table = Table(title=self.title, title_justify="left")
        first, *others = self.header
        longest = max(len(row[0]) for row in self.rows)
        table.add_column(first, overflow="fold", no_wrap=longest <= NAME)
        for name in others:
            table.add_column(name, justify="right", overflow="fold")
        for row in self.rows:
            table.add_row(*map(escape, row))  # a picture may be called [red].png
        return table


def number(value: float | None, digits: int = 3) -> str:
    """The number, or - if there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def _plain(cell: str) -> str:
    """A bar would end the cell."""
    return cell.replace("|", r"\|")
