"""Algebraic equality with math-verify: exact but slow, and able to run for hours on a hostile answer.

So a `Verify` function is handed to the rewards that need one: `in_pool(pool)` in training, where a hard limit
holds, and `verify_here` for trusted text.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from rrft_jax.rewards.values import Outcome, Values, reason

if TYPE_CHECKING:
    from rrft_jax.data.example import Example
    from rrft_jax.rewards.pool import Pool


class Check(NamedTuple):
    """Two texts to compare, in math-verify's order verify(gold, target), which is not symmetric.

    whole: both are formulas in LaTeX, equal only if each was read to its last sign. Otherwise math-verify looks for
    something to compare in texts of any kind, as the published rewards let it.
    """

    gold: str
    target: str
    whole: bool = False


Verify = Callable[[Sequence[Check]], list[Outcome]]


def load() -> None:
    """Import math-verify (0.3 s) ahead of the first check."""
    import math_verify  # noqa: F401

    # It warns once per process that its own time limits are off; ours replace them.
    logging.getLogger("math_verify").setLevel(logging.ERROR)


def equal(gold: str, target: str, whole: bool) -> bool:
    """Whether math-verify finds `target` equal to `gold`. Without a time limit: see `in_pool`."""
    load()
    from math_verify import parse, verify

    if whole:
        parsed = [_formula(text) for text in (gold, target)]
        return None not in parsed and bool(verify(*parsed, timeout_seconds=None))
    # Its own limits use SIGALRM, which works in main threads only and does not interrupt long C calls.
    no_limit: Any = None  # a valid value that its annotation leaves out
    parsed = [parse(text, parsing_timeout=no_limit) for text in (gold, target)]
    return bool(verify(*parsed, timeout_seconds=None))


def _formula(text: str) -> Any:
    """The SymPy value of a LaTeX formula, or None where its parser does not take all of it.

    math-verify's own `parse` looks for a part that it can read, and drops units and words before it does.
    """
    from latex2sympy2_extended import latex2sympy
    from math_verify.grader import should_treat_as_complex

    try:
        return latex2sympy(text, is_real=not should_treat_as_complex(text), normalization_config=None)
    except RecursionError:
        raise
    except Exception:  # the parser raises errors of any type
        return None


def verify_here(checks: Sequence[Check]) -> list[Outcome]:
    """Run checks in this process, without a time limit."""
    return [_outcome(check) for check in checks]


def in_pool(pool: "Pool") -> Verify:
    """Run checks in the pool's workers, each within the pool's limit."""
    return partial(pool.map, equal)


def settle(
    decide: "Callable[[str, Example], float | Check]",
    completions: Sequence[str],
    examples: "Sequence[Example]",
    verify: Verify = verify_here,
) -> Values:
    """Score item by item: a float stands, a Check becomes 1.0 or 0.0 (each distinct one is run once).

    An item that raises or overruns becomes None with the reason; the others are not affected.
    """
    values: list[float | None] = [None] * len(completions)
    errors: dict[int, str] = {}
    pending: dict[Check, list[int]] = {}
    for i, (text, example) in enumerate(zip(completions, examples, strict=True)):
        try:
            decision = decide(text, example)
        except Exception as error:  # any error of a rule belongs to this item alone
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
