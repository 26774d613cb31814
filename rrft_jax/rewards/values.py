"""What a reward returns: one number per completion, None where there is none, and why."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rrft_jax.answers.tags import reference_answer

if TYPE_CHECKING:
    from rrft_jax.data.example import Example

# reward(completions, examples, group_ids, step) -> one value per completion. All three sequences have length N;
# completions with equal group_ids answer the same prompt; step is the optimizer step, from 0.
Reward = Callable[..., "list[float | None]"]


@dataclass(frozen=True)
class Weighted:
    """One reward of a set. name appears in the metrics as rewards/<name>/mean. where: `file:line` of a reward from
    outside the package."""

    name: str
    reward: Reward
    weight: float = 1.0
    where: str = ""


class Values(list):
    """A list[float | None] that also knows why some of its entries are None.

    errors: position -> reason. A None without a reason means "this reward does not apply here", as in TRL.
    unread: positions whose answer could not be read, which the value alone does not tell from a wrong one; None where
        the reward does not say. They are counted as parse_fail/<name>.
    """

    def __init__(
        self,
        values: Iterable[float | None] = (),
        errors: Mapping[int, str] | None = None,
        unread: Iterable[int] | None = None,
    ):
        super().__init__(values)
        self.errors = dict(errors or {})
        self.unread = None if unread is None else frozenset(unread)

    def put(self, positions: Sequence[int], part: "Sequence[float | None]") -> None:
        """Write the values of some positions, scored on their own, with what is known about them."""
        for position, value in zip(positions, part, strict=True):
            self[position] = value
        self.errors |= {positions[k]: why for k, why in getattr(part, "errors", {}).items()}
        unread = getattr(part, "unread", None)
        if unread is not None:
            self.unread = (self.unread or frozenset()) | {positions[k] for k in unread}


class SetupError(RuntimeError):
    """A reward that cannot work at all: a bug to stop at, not an item to skip. `RewardSet.score` lets it through."""


@dataclass(frozen=True)
class Outcome:
    """The result of one call made elsewhere: its value, or the reason why there is none."""

    value: Any = None
    error: str | None = None


def reason(error: BaseException) -> str:
    """One line that names an exception and says what it said."""
    return f"{type(error).__name__}: {error}"


def gold_answer(example: "Example") -> str:
    """The reference answer of an example, or a typed error that names the record."""
    if not isinstance(example.answer, str):
        raise TypeError(f"example {example.id}: answer must be text, got {example.answer!r}; write it as a string")
    if not example.answer.strip():
        raise ValueError(f"example {example.id}: answer is empty; drop the record or fill it in")
    return example.answer


def gold_text(example: "Example") -> str:
    """The reference answer of an example, read out of its tags as a completion's is."""
    text = reference_answer(gold_answer(example))
    if not text:
        raise ValueError(f"example {example.id}: answer {example.answer!r} has tags and no answer; correct the record")
    return text


def members(group_ids: Sequence[int]) -> Iterator[list[int]]:
    """The positions that belong to each group, groups in order of first appearance."""
    groups: dict[int, list[int]] = {}
    for position, group in enumerate(group_ids):
        groups.setdefault(group, []).append(position)
    return iter(groups.values())
