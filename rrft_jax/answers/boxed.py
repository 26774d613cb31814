"""Answers in \\boxed{}: where they stand, and the published rules of RIF-RFT (arXiv 2507.05386) about them."""

import re

from rrft_jax.answers.choices import choice_reference
from rrft_jax.answers.compare import decide
from rrft_jax.answers.formulas import Undecided
from rrft_jax.answers.markup import boxed, folded, plain

_BOX = "\\boxed{"
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_WHOLE = re.compile(r"-?\d+(?:\.0*)?")
_FILTER = re.compile(r"<think>.*?</think>\s*\\boxed\{(.*?)\}", re.DOTALL)


def last_box(text: str) -> str | None:
    """What the last balanced box behind the last closed thought holds; None without one, or where it is empty.

    A thought that was never closed holds no answer.
    """
    _, _, behind = text.rpartition("</think>")
    if "<think>" in behind:
        return None
    found = boxed(behind)
    return (found[-1].strip() or None) if found else None


def is_thought_then_box(text: str) -> bool:
    """One thought, not empty, at the start, and behind it a balanced box that is not empty."""
    thought, closed, behind = text.strip().partition("</think>")
    single = text.count("<think>") == text.count("</think>") == 1
    return bool(closed and single and thought.startswith("<think>") and thought[7:].strip()) and bool(last_box(text))


def published_text(text: str) -> str:
    """Without the space around `<`, `>` and `/`, which the original removes first."""
    pieces = re.split("([<>/])", text)
    last = len(pieces) - 1
    trim = lambda i, x: (x if i == 0 else x.lstrip()) if i == last else x.rstrip() if i == 0 else x.strip()  # noqa: E731
    return "".join(piece if i % 2 else trim(i, piece) for i, piece in enumerate(pieces))


def published_format(text: str) -> bool:
    """A full match of <think>.*</think>.*\\boxed\\{.*\\}.* with a dot that is any sign; without its backtracking."""
    if not text.startswith("<think>"):
        return False
    end = text.find("</think>", len("<think>"))
    box = text.find(_BOX, end + len("</think>")) if end >= 0 else -1
    return box >= 0 and text.find("}", box + len(_BOX)) >= 0


def published_box(text: str) -> str:
    """What the last box of a text holds, balanced, wherever it stands; "None" without one, as the original says it."""
    start = text.rfind(_BOX)
    found = boxed(text[start:]) if start >= 0 else []
    return found[0].strip() if found else "None"


def published_line(text: str) -> str:
    """What the first <answer> holds whose text is on one line, else the whole text, as the original's r1v reads it."""
    for line in text.split("\n"):
        _, opened, rest = line.partition("<answer>")
        inside, closed, _ = rest.partition("</answer>")
        if opened and closed:
            return inside.strip()
    return text.strip()


def filter_box(text: str) -> str | None:
    """What the original's instance filter reads: up to the first brace that closes, so that \\frac{1}{2} is cut."""
    found = _FILTER.search(text)
    return found[1] if found else None


def published_grade(answer: str, gold: str) -> bool | Undecided:
    """mathruler's `grade_answer` by its rules: equal text, case aside; else equal values, where neither is prose.

    A letter or a word is compared as text. An integer is matched by an integer as written (8/2 is no 4).
    """
    given, wanted = (plain(text) for text in (answer, gold))
    if not given or not wanted:
        return False
    if folded(given).rstrip(".") == folded(wanted):
        return True
    if choice_reference(gold) or any(_WORD.search(_COMMAND.sub(" ", text)) for text in (given, wanted)):
        return False
    whole = [bool(_WHOLE.fullmatch(text.replace(",", ""))) for text in (given, wanted)]
    return False if whole[0] != whole[1] else decide(given, wanted)
