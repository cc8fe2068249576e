"""One page, figures and tables of the results in one or several folders.

python -m diffshortcut.report outputs/aspl-ours-1a2b3c4d outputs/metacloak-ours-5e6f7a8b
"""

import argparse
import logging
import math
from collections.abc import Sequence
from pathlib import Path

from diffshortcut.disk import check_writable, user_errors
from diffshortcut.errors import UserError, exit_on_mistake
from diffshortcut.report import figures, loaded, page, paper, pictures, plots
from diffshortcut.report.matrix import Matrix, matrices
from diffshortcut.statistics.comparison import people_means


def main() -> None:
    """Read the folders and write the report."""
    asked = _parser().parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    with exit_on_mistake():
        written = write(
            [Path(folder) for folder in asked.folders],
            Path(asked.out),
            stores=[Path(asked.store)] if asked.store else [],
            megabytes=asked.megabytes,
        )
    for line in written:
        print(line)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m diffshortcut.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", nargs="+", help="result folders (rows.jsonl); joined")
    parser.add_argument("--out", default="outputs/report", help="folder to write (%(default)s)")
    parser.add_argument("--store", help="artifacts, if not where the runs left them")
    parser.add_argument(
        "--megabytes", type=_megabytes, default=20, help="of pictures in the page (%(default)s)"
    )
    return parser


def _megabytes(word: str) -> float:
    if not 0 <= (found := float(word)) < math.inf:
        raise ValueError(word)
    return found


_megabytes.__name__ = "number"  # what argparse says that the word is not


def write(
    folders: Sequence[Path], out: Path, *, stores: Sequence[Path] = (), megabytes: float = 20
) -> list[str]:
    """Write report.html, figures/ and tables/ below `out`; what was written, in lines.

    UserError if a folder holds no rows or `out` cannot be written.
    """
    results = loaded.load(folders)
    means = people_means(results.rows)
    found = matrices(results, means)
    if not found:
        raise UserError("no row has a metric that a report shows: ims, q, overall ...")
    album = pictures.collect(results.entries, stores, megabytes)
    with user_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        check_writable(out)
        drawn = {name: list(draw(results, means)) for name, draw in plots.SECTIONS.items()}
        text = page.render(results, means, found, drawn, album)
        (out / "report.html").write_text(text, encoding="utf-8")
        _clear(out / "figures", ("*.pdf", "*.svg"))  # those of another report
        count = _save(found, [figure for of in drawn.values() for figure in of], out / "figures")
        tables = paper.write(found, out / "tables")
    return [
        f"{out / 'report.html'}: {len(text.encode()) / 1e6:.1f} MB. {album.remark()}",
        f"{out / 'figures'}: {count} figures, each as PDF and SVG",
        f"{out / 'tables'}: {', '.join(tables)}",
        *results.remarks,
    ]


def _clear(folder: Path, kinds: Sequence[str]) -> None:
    for kind in kinds:
        for file in folder.glob(kind):
            file.unlink()


def _save(found: Sequence[Matrix], drawn: Sequence[plots.Figure], folder: Path) -> int:
    for matrix in found:
        size = figures.heatmap_size(matrix)
        figures.save(figures.heatmap(matrix), f"matrix-{matrix.metric}", folder, size)
    for figure in drawn:
        figures.save(figure.draw, figure.name, folder, figure.size)
    return len(found) + len(drawn)


if __name__ == "__main__":
    main()
