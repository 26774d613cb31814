"""Options of rewards: the keyword parameters that plain data can set, by name and type."""

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from rrft_jax.rewards.registry import REWARDS

PLAIN = (bool, int, float, str, tuple, type(None))


def plain_options(function: Callable) -> dict[str, Any]:
    """Default of each parameter that has one and whose default is plain data; a config cannot set others, such as
    a verifier."""
    parameters = inspect.signature(function).parameters
    return {name: p.default for name, p in parameters.items() if type(p.default) in PLAIN}


def registered_options() -> dict[str, dict[str, Any]]:
    """Options of the registered rewards that have some, with their defaults: config.reward_options."""
    return {name: found for name, reward in REWARDS.items() if (found := plain_options(reward))}


def check_options(name: str, function: Callable, chosen: Mapping[str, Any]) -> None:
    """Raises ValueError for an option of the reward `name` that its function does not have, or of another type."""
    known = plain_options(function)
    for option, value in chosen.items():
        field = f"config.reward_options.{name}.{option}"
        if option not in known:
            near = difflib.get_close_matches(option, known, n=3) or list(known)
            hint = f"did you mean {', '.join(near)}?" if near else "it has none with a plain default"
            raise ValueError(f"{field}={value!r}: the reward has no such option; {hint}")
        default = known[option]
        kinds = {int: (int,), float: (int, float), tuple: (tuple, list)}.get(type(default), (type(default),))
        if default is not None and (type(value) not in kinds):
            raise ValueError(f"{field}={value!r} must be {type(default).__name__}, as its default {default!r}")
