"""Algebraic equality with math-verify: exact but slow, and able to run for hours on a hostile answer.

So a `Verify` function is handed to the rewards that need one: `in_pool(pool)` in training, where a hard limit
holds, and `verify_here` for trusted text.
"""

import logging
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from rrft_jax.rewards.values import Outcome, Values, reason

if TYPE_CHECKING:
    from rrft_jax.data.example import Example
    from rrft_jax.rewards.pool import Pool

MAX_CHARS = 2000  # a longer text is no answer; parsing time grows with length


class Check(NamedTuple):
    """Two texts to compare, in math-verify's order verify(gold, target), which is not symmetric."""

    gold: str
    target: str


Verify = Callable[[Sequence[Check]], list[Outcome]]


def load() -> None:
    """Import math-verify (0.3 s) ahead of the first check."""
    import math_verify  # noqa: F401

    # It warns, once per process, that its own time limits are off: ours replace them.
    logging.getLogger("math_verify").setLevel(logging.ERROR)


def equal(gold: str, target: str) -> bool:
    """Whether math-verify finds `target` equal to `gold`. Without a time limit: see `in_pool`."""
    load()
    from math_verify import parse, verify

    # Its own limits use SIGALRM, which works in main threads only and does not interrupt long C calls.
    parsed = [parse(text, parsing_timeout=None) for text in (gold, target)]
    return bool(verify(*parsed, timeout_seconds=None))


def verify_here(checks: Sequence[Check]) -> list[Outcome]:
    """Run checks in this process, without a time limit."""
    return [_outcome(check) for check in checks]


def in_pool(pool: "Pool") -> Verify:
    """Run checks in the pool's workers, each within the pool's limit."""
    return partial(pool.map, equal)


def as_math(text: str) -> str:
    """Bare LaTeX in dollar signs, without which math-verify does not see `2\\sqrt{3}`; prose stays as it is."""
    bare = re.search(r"[\\^]", text) and not re.search(r"\$|\\\(|\\\[", text)
    if not bare or re.search(r"[A-Za-z]{3,}", re.sub(r"\\[A-Za-z]+", "", text)):
        return text
    return f"${text}$"


def check_or_fail(gold: str, target: str) -> float | Check:
    """A Check, or 0.0 where the target is too long to be an answer."""
    return Check(gold, target) if len(target) <= MAX_CHARS else 0.0


def settle(
    decide: "Callable[[str, Example], float | Check]",
    completions: Sequence[str],
    examples: "Sequence[Example]",
    verify: Verify = verify_here,
) -> Values:
    """Score item by item: a float stands, a Check becomes 1.0 or 0.0 (each distinct one is run once).

    What raises or overruns leaves None in its own place, with the reason, and nowhere else.
    """
    values: list[float | None] = [None] * len(completions)
    errors: dict[int, str] = {}
    pending: dict[Check, list[int]] = {}
    for i, (text, example) in enumerate(zip(completions, examples, strict=True)):
        try:
            decision = decide(text, example)
        except Exception as error:  # whatever a rule stumbles over belongs to this item alone
            errors[i] = reason(error)
            continue
        if isinstance(decision, Check):
            pending.setdefault(decision, []).append(i)
        else:
            values[i] = float(decision)
    if pending:
        for positions, outcome in zip(pending.values(), verify(list(pending)), strict=True):
            for i in positions:
                if outcome.error is None:
                    values[i] = float(outcome.value)
                else:
                    errors[i] = outcome.error
    return Values(values, errors)


def _outcome(check: Check) -> Outcome:
    try:
        return Outcome(equal(*check))
    except Exception as error:
        return Outcome(error=reason(error))
