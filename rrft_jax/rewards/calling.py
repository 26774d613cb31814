"""Call rewards, which may be anyone's code: what goes wrong is contained, and told with the user's file and line."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rrft_jax import doors
from rrft_jax.rewards.values import SetupError, Values, Weighted, members
from rrft_jax.rewards.waiting import Waiter, is_async, is_pending

if TYPE_CHECKING:
    from rrft_jax.data.example import Example


def call_all(
    items: Sequence[Weighted],
    waiter: Waiter,
    completions: Sequence[str],
    examples: "Sequence[Example]",
    group_ids: Sequence[int],
    step: int,
) -> list[Values]:
    """The values of each reward; those that are coroutines are awaited together.

    A reward that raises is called again group by group, so that the others keep their values. SetupError where it
    raises for every group at step 0, or breaks its contract: then nothing could be learned from it.
    """
    arguments = completions, examples, group_ids, step
    # Coroutines first: their requests travel while the other rewards compute.
    order = sorted(range(len(items)), key=lambda i: not is_async(items[i].reward))
    waits = {i: _start(items[i], waiter, *arguments) for i in order}
    return [_finish(item, waits[i], waiter, *arguments) for i, item in enumerate(items)]


def _start(item: Weighted, waiter: Waiter, *arguments: Any) -> Callable[[], Any]:
    """Calls a reward; the function that it returns waits for the values, or raises what the reward raised."""
    try:
        given = item.reward(*arguments)
    except SetupError:
        raise
    except Exception as error:
        return lambda error=error: _raise(error)
    return waiter.submit(given).result if is_pending(given) else lambda: given


def _finish(
    item: Weighted,
    wait: Callable[[], Any],
    waiter: Waiter,
    completions: Sequence[str],
    examples: "Sequence[Example]",
    group_ids: Sequence[int],
    step: int,
) -> Values:
    try:
        return _checked(item, completions, wait())
    except SetupError:
        raise
    except Exception:
        return _by_group(item, waiter, completions, examples, group_ids, step)


def _by_group(
    item: Weighted,
    waiter: Waiter,
    completions: Sequence[str],
    examples: "Sequence[Example]",
    group_ids: Sequence[int],
    step: int,
) -> Values:
    """Find out which groups a reward stumbles over: those lose their values, the others keep them."""
    values = Values([None] * len(completions))
    waits = []
    for group in members(group_ids):
        part = ([of[i] for i in group] for of in (completions, examples, group_ids))
        waits.append((group, _start(item, waiter, *part, step)))
    raised = []
    for group, wait in waits:
        try:
            values.put(group, _checked(item, [completions[i] for i in group], wait()))
        except SetupError:
            raise
        except Exception as error:
            raised.append(_why(item, error))
            values.errors |= dict.fromkeys(group, raised[-1])
    if len(raised) == len(waits) and step == 0:
        raise SetupError(
            f"reward {item.name} raised for all {len(completions)} completions of the first step, so nothing could be "
            f"learned from it. For example {examples[0].id}: {raised[0]}"
        )
    return values


def _checked(item: Weighted, completions: Sequence[str], given: Any) -> Values:
    """Plain floats in, Values out; numbers that are not finite, and coroutines that raised, become failures."""
    at = f" ({item.where})" if item.where else ""
    if isinstance(given, str) or not hasattr(given, "__len__"):
        kind = type(given).__name__
        raise SetupError(f"reward {item.name}{at} must return a list with a number or None a completion, not {kind}")
    if len(given) != len(completions):
        raise SetupError(f"reward {item.name} gave {len(given)} values for {len(completions)} completions{at}")
    raised = [value for value in given if isinstance(value, BaseException)]
    if raised and len(raised) == len(given):
        raise raised[0]
    errors = dict(getattr(given, "errors", {}))
    values: list[float | None] = []
    for i, value in enumerate(given):
        if isinstance(value, BaseException):
            errors[i], value = _why(item, value), None
        number = None if value is None else _number(value)
        if number is not None and not math.isfinite(number):
            errors[i], number = f"ValueError: the reward is {number}", None
        values.append(number)
    return Values(values, errors, getattr(given, "unread", None))


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"the reward is {value!r:.80}, which is no number") from None


def _why(item: Weighted, error: BaseException) -> str:
    """What was raised, and the line of user code, at least that of the reward."""
    what = doors.describe(error)
    return what if doors.user_frame(error) or not item.where else f"{what} (reward of {item.where})"


def _raise(error: Exception) -> Any:
    raise error
