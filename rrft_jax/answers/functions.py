"""Sequences of functions such as "change_size(7, large), change_color(2, red)", read from a text."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from rrft_jax.answers.vocabulary import BEFORE

_CALL = re.compile(r"(?<![\w-])([A-Za-z][\w-]*)\s*\(([^()]*)\)")
_QUOTES = " \t\r\n'\"`\u2018\u2019\u201c\u201d"
# The \b keeps a long word from being tried from each of its letters, and matches nothing else than without it.
_PAPER_CALL = re.compile(r"\b(\w+)\((\w+),\s*'?(\w+)'?\)")
_AROUND = BEFORE | frozenset(
    "function functions sequence transformation transformations change changes step steps first second next".split()
)


class Function(NamedTuple):
    """One change. object and value are None where a call of that name stands with arguments that cannot be read."""

    name: str
    object: str | None
    value: str | None


def read_functions(text: str) -> list[Function]:
    """The functions of a text in order, repeats included, in one spelling.

    Tolerated: case, quotes, spaces around names and arguments, "front-left" or "front left" for front_left, an escaped
    underscore. A call with one underscore or more in its name and other than two arguments counts as a function without
    arguments: the completion claims a function that cannot be read.
    """
    found = []
    for name, body in _CALL.findall(text.replace("\\_", "_")):
        name, arguments = _spell(name), [_spell(part) for part in body.split(",")]
        if len(arguments) == 2 and all(arguments):
            found.append(Function(name, _without_zeros(arguments[0]), arguments[1]))
        elif "_" in name:
            found.append(Function(name, None, None))
    return found


def is_sequence(text: str) -> bool:
    """Whether a text is functions and nothing else, but for punctuation."""
    found = read_functions(text)
    named = all("_" in function.name for function in found)  # a point P(2, 3) is none
    return bool(readable(found)) and named and not re.search(r"\w", _CALL.sub("", text.replace("\\_", "_")))


def read_only(text: str) -> list[Function]:
    """The functions of a text that says nothing else than that they are its answer; none of another text."""
    around = re.findall(r"[^\W\d_]+(?:'[a-z]+)?", _CALL.sub(" ", text.replace("\\_", "_")).casefold())
    return read_functions(text) if all(word in _AROUND for word in around) else []


def readable(functions: Sequence[Function]) -> list[Function]:
    """Those whose arguments could be read."""
    return [function for function in functions if function.object is not None]


def same(predicted: Sequence[Function], wanted: Sequence[Function]) -> bool:
    """Equal, each function as often, in any order: two pictures do not tell in which order things were changed."""
    return Counter(predicted) == Counter(wanted)


def read_paper(text: str) -> list[Function]:
    """What the published pattern sees: a space inside the parentheses, a double quote or a hyphen hides a function."""
    return [Function(*found) for found in _PAPER_CALL.findall(text)]


def _spell(word: str) -> str:
    return re.sub(r"[-\s]+", "_", word.strip(_QUOTES).casefold())


def _without_zeros(word: str) -> str:
    return (word.lstrip("0") or "0") if word.isdecimal() else word
