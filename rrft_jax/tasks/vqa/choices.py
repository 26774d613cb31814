"""Multiple choice in records: options in a field or in the question's text, an answer that is a letter or a text."""

import re
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from string import ascii_uppercase
from typing import Any

from rrft_jax.answers.markup import folded, plain
from rrft_jax.data.example import Example
from rrft_jax.data.values import missing, number_text

FIELDS = ("options", "choices")  # of a record
_MARK = re.compile(r"(?<![^\s,;:(])\(?([A-Z])[.:)](?=\s)")  # "A. ", "A) ", "A: ", "(A) "
_LETTER = re.compile(r"\(?([A-Z])\)?[.:]?")
_LETTER_AND_TEXT = re.compile(r"\(?([A-Z])[.:)]\)?\s+(.+)", re.DOTALL)


def by_letter(example: Example) -> Example:
    """A record as it is trained on: the options of its field behind the question, a letter as its answer.

    A record without that field whose text lists options keeps its text; an answer that repeats one becomes its letter.
    Any other record is an open question and stays as it is. ValueError where the options cannot be read or the answer
    is none of them.
    """
    given = [field for field in FIELDS if example.metadata.get(field)]
    if not given:
        letter = _letter(example.answer, listed(example.problem))
        return replace(example, answer=letter) if letter else example
    if len(given) > 1 and example.metadata[given[0]] != example.metadata[given[1]]:
        raise ValueError(f"{given[0]} and {given[1]} differ; keep the right one")
    options = _options(given[0], example.metadata[given[0]])
    letter = _letter(example.answer, options)
    if letter is None:
        there = ", ".join(f"{name}. {text}" for name, text in zip(ascii_uppercase, options, strict=False))
        raise ValueError(f"answer {example.answer!r} is neither the letter nor the text of one of its options: {there}")
    problem = example.problem
    if [_plain(text) for text in listed(problem)] != [_plain(text) for text in options]:
        problem = "\n".join([problem, *(f"{n}. {text}" for n, text in zip(ascii_uppercase, options, strict=False))])
    return replace(example, problem=problem, answer=letter)


def kind(example: Example) -> str:
    """ "choice" where the question lists options and the answer is the letter of one, else "open"."""
    letters = ascii_uppercase[: len(listed(example.problem))]
    return "choice" if example.answer and example.answer in letters else "open"


def listed(text: str) -> list[str]:
    """The options that a question lists behind the marks A, B, ... ("A. ", "A) ", "A: " or "(A) "), two at least; else
    none. A later list takes the place of an earlier one."""
    found: list[re.Match] = []
    for mark in _MARK.finditer(text):
        if mark[1] == "A":
            found = [mark]
        elif found and mark[1] == chr(ord(found[-1][1]) + 1):
            found.append(mark)
    ends = [mark.start() for mark in found[1:]]
    if not ends:
        return []
    # The last option goes to the end of its line.
    ends.append(text.find("\n", found[-1].end()) if "\n" in text[found[-1].end() :] else len(text))
    return [text[mark.end() : end].strip(" \t\n,;") for mark, end in zip(found, ends, strict=True)]


def _options(field: str, value: Any) -> list[str]:
    """The texts of a list of options, or of an object whose keys are the letters in order."""
    if isinstance(value, dict):
        if list(value) != list(ascii_uppercase[: len(value)]):
            raise ValueError(f"{field} has the keys {', '.join(map(str, value))}; name them A, B, ... in order")
        value = list(value.values())
    if not isinstance(value, list | tuple) or not 2 <= len(value) <= len(ascii_uppercase):
        raise ValueError(f"{field} is {value!r}; make it a list of 2 to {len(ascii_uppercase)} texts")
    wrong = [x for x in value if isinstance(x, bool) or not isinstance(x, str | int | float | Decimal) or missing(x)]
    texts = [" ".join((text if isinstance(text, str) else number_text(text)).split()) for text in value if not wrong]
    if wrong or not all(texts):
        raise ValueError(f"{field} holds {wrong[0] if wrong else ''!r}; make every option a text")
    return texts


def _letter(answer: str, options: Sequence[str]) -> str | None:
    """The letter of the option that an answer names by its letter or repeats; None where it does neither. ValueError
    where it is the letter of one option and the text of another."""
    texts = [_plain(text) for text in options]
    same = [n for n, text in enumerate(texts) if text == _plain(answer)]
    both = _LETTER_AND_TEXT.fullmatch(answer.strip())
    alone = _LETTER.fullmatch(answer.strip())
    found = both or alone
    named = ascii_uppercase.index(found[1]) if found else len(options)
    if named < len(options) and (alone or both and _plain(both[2]) == texts[named]):
        if same and same != [named]:
            raise ValueError(f"answer {answer!r} is a letter and also the text of option {ascii_uppercase[same[0]]}")
        return ascii_uppercase[named]
    return ascii_uppercase[same[0]] if len(same) == 1 else None


def _plain(text: str) -> str:
    return folded(plain(text))
