"""From a judge's reply to its verdict, whatever else it wrote.

Read in turn: the last balanced JSON object that holds a verdict; a last line that is a verdict alone; the last
"score: 7" or "winner: A" in the text. What repeats words of the judged item is doubtful, since a judge often quotes a
response that asks for its own score: then the lowest score of the reply counts, or a winner that is not repeated.
"""

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeVar

from rrft_jax.rewards.judge.fence import squeeze
from rrft_jax.rewards.judge.rubric import Rubric

A, B, TIE = "A", "B", "tie"
_LONGEST = 20_000  # characters from the end that are read
_NUMBER = re.compile(r"\s*([-+]?\d{1,9}(?:\.\d{1,9})?)\s*")
_LETTER = re.compile(r"\W*(?:(?:response|answer|output)\s+)?([AB])\W*", re.IGNORECASE)
_SAID_SCORE = re.compile(r"\bscore\b[\"'*]*\s*[:=]\s*[\"'*]*([-+]?\d{1,9}(?:\.\d{1,9})?)(?![\d.]*\d)", re.IGNORECASE)
_SAID_WINNER = re.compile(r"\bwinner\b[\"'*]*\s*[:=]\s*[\"'*]*(?:response\s+)?(A|B|tie)\b", re.IGNORECASE)
_TIES = ("tie", "equal", "draw", "neither", "both")

Verdict = TypeVar("Verdict")


def read_score(reply: str, rubric: Rubric, item: str = "") -> float | None:
    """The score of a pointwise reply, clamped to the rubric's scale; None where there is none.

    item: the judged texts, to tell what the reply quotes of them.
    """
    found = _read(reply, item, lambda given: _number(given.get("score")), _number, _SAID_SCORE)
    if not found:
        return None
    score, doubtful = found[0]
    return _clamp(min(other for other, _ in found) if doubtful else score, rubric)


def read_winner(reply: str, rubric: Rubric, item: str = "") -> str | None:
    """The winner of a pairwise reply, A, B or TIE, as named, or else by the two scores; None where there is neither."""

    def winner(given: dict) -> str | None:
        scores = [_number(given.get(name)) for name in ("score_a", "score_b")]
        if (named := _letter(given.get("winner"))) or None in scores:
            return named
        a, b = (_clamp(score, rubric) for score in scores if score is not None)
        return A if a > b else B if b > a else TIE

    found = _read(reply, item, winner, _letter, _SAID_WINNER)
    return next((named for named, doubtful in found if not doubtful), found[0][0] if found else None)


def _read(
    reply: str,
    item: str,
    of_object: Callable[[dict], Verdict | None],
    of_text: Callable[[Any], Verdict | None],
    said: re.Pattern,
) -> list[tuple[Verdict, bool]]:
    """All verdicts in the order of preference, each with whether it repeats words of the item."""
    reply = reply[-_LONGEST:]
    found: list[tuple[str, Verdict | None]] = []  # what was read, in the order of preference
    rest = []
    end = 0
    objects = list(balanced(reply))
    for start, stop, given in objects:
        rest.append(reply[end:start])
        end = stop
        found.insert(0, (reply[start:stop], of_object({str(key).casefold(): value for key, value in given.items()})))
    rest.append(reply[end:])
    outside = " ".join(rest) if objects else reply
    lines = outside.split("\n")
    last = next((line for line in reversed(lines) if line.strip()), "")
    found.append((last, of_text(last)))
    found += [(match[0], of_text(match[1])) for match in reversed(list(said.finditer(outside)))]
    known = squeeze(item)
    return [(verdict, squeeze(text) in known) for text, verdict in found if verdict is not None]


def balanced(text: str) -> Iterator[tuple[int, int, dict]]:
    """Every outermost JSON object of a text: (start, end, object). An object inside a string of another is text."""
    start = text.find("{")
    while start >= 0:
        try:
            given, end = _DECODER.raw_decode(text, start)
            yield start, end, given
        except (ValueError, RecursionError):  # prose, or cut off: perhaps an object begins further inside
            end = start + 1
        start = text.find("{", end)


def _number(given: Any) -> float | None:
    if isinstance(given, str):
        match = _NUMBER.fullmatch(given)
        return float(match[1]) if match else None
    if type(given) not in (int, float):
        return None
    try:
        return float(given) if math.isfinite(given) else None
    except OverflowError:  # an int of hundreds of digits
        return None


def _letter(given: Any) -> str | None:
    if not isinstance(given, str):
        return None
    match = _LETTER.fullmatch(given)
    return match[1].upper() if match else TIE if given.strip().casefold() in _TIES else None


def _clamp(score: float, rubric: Rubric) -> float:
    return min(max(score, rubric.low), rubric.high)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)
