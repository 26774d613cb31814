"""Surrogates and advantage estimators by name, file or dotted path: found, checked before a run starts, and called.

The contracts are in `surrogate` and `estimators`.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from rrft_jax import doors
from rrft_jax.arrays import HostOrDevice
from rrft_jax.losses.advantages import group_advantages
from rrft_jax.losses.estimators import ESTIMATORS, INPUTS, inputs
from rrft_jax.losses.surrogate import SURROGATES, Advantages, LogProbs, Ratio


def function_options(function: Callable) -> dict[str, inspect.Parameter]:
    """The options of a surrogate or an estimator, by name: what has a default, or is keyword-only."""
    parameters = inspect.signature(function).parameters.items()
    is_option = lambda p: p.kind is p.KEYWORD_ONLY or p.default is not p.empty  # noqa: E731
    return {name: p for name, p in parameters if is_option(p) and name not in ("row_weight", *INPUTS)}


def find_surrogate(name: str) -> Callable:
    """The surrogate called `name`, or the function that `name` refers to. Raises ValueError."""
    return _function(name, SURROGATES, "surrogate", "config.loss.surrogate")


def policy_loss(name: str, ratio: Ratio, log_probs: LogProbs, advantages: Advantages, fields: Mapping[str, Any]) -> Any:
    """The surrogate called `name` with those of the options `fields` that it takes; shapes as in `surrogate`."""
    function = find_surrogate(name)
    options = {key: fields[key] for key in function_options(function) if key in fields}
    return function(ratio, log_probs, advantages, **options)


def check_surrogate(name: str, fields: Mapping[str, Any]) -> None:
    """Traces a surrogate on small arrays. Raises ValueError with the file and line of what is wrong."""
    function, field = find_surrogate(name), f"config.loss.surrogate={name}"
    _check_defaults(function, field, fields, "config.loss")
    tokens, row = _floats(2, 3, 4), _floats(2, 3, 1)
    loss = _traced(field, lambda *x: policy_loss(name, *x, fields), tokens, tokens, row)
    if not _is_float(loss, lambda shape: jnp.broadcast_shapes(shape, tokens.shape) == tokens.shape):
        raise ValueError(
            f"{field} ({doors.definition(function)}) must return a float array that broadcasts to [B, G, C]: where "
            f"these are {list(tokens.shape)} it gave {_what(loss)}"
        )


def find_estimator(name: str) -> Callable:
    """The advantage estimator called `name`, or the function that `name` refers to. Raises ValueError."""
    return _function(name, ESTIMATORS, "estimator", "config.advantages.estimator")


def estimate_advantages(
    rewards: Shaped[HostOrDevice, "B G"],
    row_weight: Shaped[HostOrDevice, "B G"],
    given: Mapping[str, Callable[[], Any]] = MappingProxyType({}),
    *,
    estimator: str = "grpo",
    **fields: Any,
) -> tuple[Float[Array, "B G"] | Float[Array, "B G C"], dict[str, Float[Array, ""]]]:
    """Advantages and statistics, by the estimator called so; fields: the others of config.advantages. given: functions
    that make the arrays of `estimators.INPUTS`, called for those that the estimator takes.

    Raises ValueError for a field that the estimator does not take.
    """
    function = find_estimator(estimator)
    arrays = {name: given[name]() for name in inputs(function)}
    return _estimate(rewards, row_weight, arrays, function, tuple(sorted(_taken(function, estimator, fields).items())))


def reads_greedy(estimator: str) -> bool:
    """Whether the estimator called so compares with a greedy completion of every prompt."""
    return "greedy" in inputs(find_estimator(estimator))


def check_estimator(estimator: str = "grpo", **fields: Any) -> None:
    """Traces an estimator on small arrays. Raises ValueError with the file and line of what is wrong."""
    function, field = find_estimator(estimator), f"config.advantages.estimator={estimator}"
    _check_defaults(function, field, fields, "config.advantages")
    taken = tuple(sorted(_taken(function, estimator, fields).items()))
    rewards = _floats(2, 3)
    shapes = {"mask": jax.ShapeDtypeStruct((2, 3, 4), bool), "parts": _floats(5, 2, 3), "weights": _floats(5)}
    shapes |= {"greedy": _floats(2)}
    arrays = {key: shapes[key] for key in inputs(function)}
    call = lambda r, w, more: function(r, row_weight=w, **more, **dict(taken))  # noqa: E731
    given = _traced(field, call, rewards, rewards, arrays)
    pair = isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], dict)
    scalars = pair and all(_is_float(x, lambda shape: shape == ()) for x in given[1].values())
    if not scalars or not _is_float(given[0], lambda shape: shape in ((2, 3), (2, 3, 4))):
        raise ValueError(
            f"{field} ({doors.definition(function)}) must return float advantages [B, G] or [B, G, C] and a dict of "
            f"float scalars: where B, G, C are [2, 3, 4] it gave {_what(given)}"
        )


@partial(jax.jit, static_argnums=(3, 4))  # one small program instead of some fifty that are compiled one by one
def _estimate(
    rewards: Shaped[HostOrDevice, "B G"],
    row_weight: Shaped[HostOrDevice, "B G"],
    given: dict[str, Any],
    function: Callable,
    chosen: tuple[tuple[str, Any], ...],
) -> tuple[Float[Array, "B G"] | Float[Array, "B G C"], dict[str, Float[Array, ""]]]:
    advantages, statistics = function(rewards, row_weight=row_weight, **given, **dict(chosen))
    if function is not group_advantages:
        statistics = {**group_advantages(rewards, row_weight=row_weight)[1], **statistics}
    return advantages, statistics


def _taken(function: Callable, name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Those of config.advantages that the estimator takes; the fields of another one may stand there with their
    defaults."""
    taken = function_options(function)
    others = {key: p.default for other in ESTIMATORS.values() for key, p in function_options(other).items()}
    for key, value in fields.items():
        if key not in taken and (key not in others or value != others[key]):
            raise ValueError(
                f"config.advantages.{key}={value!r} changes nothing: the estimator {name} takes "
                f"{', '.join(taken) or 'no options'}"
            )
    return {key: value for key, value in fields.items() if key in taken}


def _function(name: str, known: Mapping[str, Callable], what: str, field: str) -> Callable:
    found = doors.resolve(name, known, what, field)
    if not callable(found):
        raise doors.DoorError(f"{field}={name}: a function is wanted, not {type(found).__name__}")
    return found


def _check_defaults(function: Callable, field: str, fields: Mapping[str, Any], group: str) -> None:
    lacking = [key for key, p in function_options(function).items() if p.default is p.empty and key not in fields]
    if lacking:
        raise ValueError(
            f"{field} ({doors.definition(function)}): give {', '.join(lacking)} a default; {group} has "
            f"{', '.join(fields)} to fill in"
        )


def _traced(field: str, function: Callable, *arrays: Any) -> Any:
    try:
        return jax.eval_shape(function, *arrays)
    except Exception as error:  # anyone's code: whatever it raises is told with its own file and line
        raise ValueError(f"{field}: {doors.describe(error)}") from error


def _floats(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def _is_float(x: Any, good: Callable[[tuple], bool]) -> bool:
    if not (hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating)):
        return False
    try:
        return good(x.shape)
    except ValueError:  # shapes that do not broadcast
        return False


def _what(tree: Any) -> str:
    show = lambda x: f"{x.dtype}{list(x.shape)}" if hasattr(x, "dtype") else type(x).__name__  # noqa: E731
    return str(jax.tree.map(show, tree))
