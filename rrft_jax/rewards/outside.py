"""Rewards from outside the package: a function in a file, a module or an installed package, with its weight.

Two signatures are known, by the names of their parameters; both may be `async def`:

    reward(completions, examples, group_ids, step, *, options) -> list of numbers or None    `values.Reward`
    reward(completions, prompts, **columns) -> list of numbers or None                       TRL's, see `TrlReward`
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from rrft_jax import doors
from rrft_jax.rewards.options import check_options
from rrft_jax.rewards.registry import REWARDS
from rrft_jax.rewards.trl_adapter import Tokenize, TrlReward
from rrft_jax.rewards.values import Weighted

FIELD = "config.extra_rewards"
GROUP = "rrft_jax.rewards"  # of entry points
OURS = ("completions", "examples", "group_ids", "step")
OF_TRL = {"completions", "prompts", "completion_ids"}


def split_entry(entry: str) -> tuple[str, float]:
    """The reference and the weight in "my_rewards.py:short_answer=0.5"; without a weight it is 1."""
    reference, equals, text = entry.rpartition("=")
    try:
        weight = float(text) if equals else 1.0
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight):
        raise ValueError(f"{FIELD}: {entry!r} gives no number as weight; write it as my_rewards.py:NAME=0.5")
    return (reference if equals else entry), weight


def load_rewards(
    entries: Sequence[str],
    options: Mapping[str, Mapping[str, Any]],
    given: Mapping[str, Any],
    tokenize: Tokenize,
) -> list[Weighted]:
    """The rewards that entries name ("reference=weight"), under the names of their functions.

    options: chosen ones, by that name. given: what a run has for those of our signature that name it, such as
    count_tokens. Raises ValueError for what cannot be loaded or recognised, and for two rewards of one name.
    """
    found: dict[str, tuple[str, Weighted]] = {}
    for reference, weight in map(split_entry, entries):
        if reference in REWARDS:
            raise ValueError(f"{FIELD}: {reference} is a registered reward: set config.rewards.{reference}={weight:g}")
        function = doors.resolve(reference, REWARDS, "reward", FIELD, GROUP)
        name = _name(function, reference)
        if name in found or name in REWARDS:
            other = found[name][0] if name in found else "the registered reward"
            raise ValueError(
                f"{FIELD}: {reference} and {other} are both called {name}, under which their metrics are logged: give "
                "one of the functions another name"
            )
        reward = _adapt(function, reference, options.get(name, {}), given, tokenize, name)
        found[name] = reference, Weighted(name, reward, weight, doors.definition(function))
    return [weighted for _, weighted in found.values()]


def _name(function: Any, reference: str) -> str:
    """The function's own name; of an object without one, what it is called in its file."""
    name = getattr(function, "__name__", "")
    called = reference.rpartition(":")[2] if ":" in reference else reference
    return name if name.isidentifier() else "reward" if called.endswith(".py") else called


def _adapt(
    function: Any,
    reference: str,
    options: Mapping[str, Any],
    given: Mapping[str, Any],
    tokenize: Tokenize,
    name: str,
) -> Callable:
    where = f"{FIELD}: {reference}"
    if not callable(function) or inspect.isclass(function):
        kind = "a class: name an object of it" if inspect.isclass(function) else type(function).__name__
        raise ValueError(f"{where}: a function is wanted, not {kind}")
    inner = function.function if isinstance(function, TrlReward) else function
    check_options(name, inner, options)
    parameters = inspect.signature(inner).parameters
    chosen = partial(inner, **options) if options else inner
    if isinstance(function, TrlReward):
        return replace(function, function=chosen, tokenize=function.tokenize or tokenize)
    where = f"{where} ({doors.definition(function)})"
    if tuple(parameters)[: len(OURS)] == OURS:
        filled = {key: given[key] for key in parameters if key in given and key not in options}
        lacking = [key for key in _required(parameters) if key not in (*OURS, *filled)]
        if lacking:
            raise ValueError(f"{where}: give {', '.join(lacking)} a default")
        return partial(chosen, **filled) if filled else chosen
    if not OF_TRL & set(parameters) or {"examples", "group_ids"} & set(parameters):
        raise ValueError(
            f"{where} takes ({', '.join(parameters)}): a reward takes ({', '.join(OURS)}), or as in TRL "
            "(completions, prompts, **columns)"
        )
    return TrlReward(chosen, tokenize=tokenize)


def _required(parameters: Mapping[str, inspect.Parameter]) -> list[str]:
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return [name for name, p in parameters.items() if p.default is p.empty and p.kind not in variable]
