"""Prompt templates: text with a slot for the question, by name or from a user's file."""

from pathlib import Path

SLOT = "{Question}"


def fill(template: str, problem: str) -> str:
    """The user's text. A template without a slot asks the same whatever the problem is."""
    return template.replace(SLOT, problem)


def read_template(path: str | Path) -> str:
    """The template in a text file, without the line break that editors put at the end of a file.

    Raises ValueError that names the file where it does not exist or has no slot for the question.
    """
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"prompt template file {path} cannot be read: {error}") from None
    if text.count(SLOT) != 1:
        raise ValueError(f"prompt template file {path} must hold {SLOT} once, where the question goes")
    return text
