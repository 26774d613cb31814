"""What a judge's reply says: the last balanced JSON object, else a last line or a field that can be read."""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from rrft_jax.rewards.judge.rubric import HIGHEST

MOST = 20_000  # characters of a reply that are read, from its end
_SCORE = re.compile(r'"?\bscore"?\s{0,4}[:=]\s{0,4}"?(-?\d{1,9}(?:\.\d{1,9})?)', re.IGNORECASE)
_WINNER = re.compile(r'"?\bwinner"?\s{0,4}[:=]\s{0,4}"?([AB])\b', re.IGNORECASE)
_DECODER = json.JSONDecoder()


def objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects of a text that lie in no other, in order; braces inside strings open nothing."""
    text, place = text[-MOST:], 0
    while (place := text.find("{", place)) >= 0:
        try:
            found, place = _DECODER.raw_decode(text, place)
        except (ValueError, RecursionError):
            place += 1
        else:
            yield found


def read_score(reply: str) -> float | None:
    """The score of a pointwise reply, held within 0 and 10; None where none can be read.

    Of the last object that has one. Only where there is no object: of a last line that is a number, else of the first
    field, since the rubric puts it in front of the rationale, which may quote anything.
    """
    there = list(objects(reply))
    for found in reversed(there):
        if (score := _number(found.get("score"))) is not None:
            return score
    if there:
        return None
    lines = reply[-MOST:].split("\n")
    last = _number_in(lines[-1].strip()) if lines else None
    if last is not None:
        return last
    field = _SCORE.search(reply[-MOST:])
    return _number_in(field[1]) if field else None


def read_winner(reply: str) -> float | None:
    """1.0 where A wins, 0.0 where B does, 0.5 where both have the same score; None where nothing can be read."""
    there = list(objects(reply))
    for found in reversed(there):
        winner = found.get("winner")
        if isinstance(winner, str) and winner.strip().upper() in ("A", "B"):
            return float(winner.strip().upper() == "A")
        a, b = _number(found.get("score_A")), _number(found.get("score_B"))
        if a is not None and b is not None:
            return 0.5 if a == b else float(a > b)
    field = None if there else _WINNER.search(reply[-MOST:])
    return float(field[1].upper() == "A") if field else None


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        return _number_in(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(min(max(value, 0), HIGHEST))


def _number_in(text: str) -> float | None:
    return _number(float(text)) if re.fullmatch(r"-?\d{1,9}(?:\.\d{1,9})?", text) else None
