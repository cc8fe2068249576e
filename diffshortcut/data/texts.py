"""Text files that come with data sets."""

from pathlib import Path

from diffshortcut.errors import UserError

PLACEHOLDER = "@@@"  # the place of the identifier in a prompt, as MetaCloak writes it


def check_count(prompts: int | None) -> None:
    """UserError for a number of prompts of which none is left."""
    if prompts is not None and prompts < 1:
        raise UserError(f"data.prompts={prompts}: 1 at least, or null for the sampler's own")


def text_of(file: Path) -> str:
    """A text file's content; UserError if it is missing or no UTF-8."""
    if not file.is_file():
        raise UserError(f"no file {file}")
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: not UTF-8 text") from error
