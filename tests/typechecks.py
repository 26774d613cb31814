"""What checks types and shapes of arrays, as annotations have them, while the tests run."""

from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype

_CONF = BeartypeConf(is_pep484_tower=True)  # an int where a float is wanted


def check(function: Callable, *_: Any) -> Callable:
    """beartype for all functions but constructors: jax builds pytrees of shardings, shapes or stacked arrays too."""
    return function if function.__name__ == "__init__" else beartype(conf=_CONF)(function)
