"""Use a reward function written for TRL's GRPOTrainer: f(prompts=..., completions=..., **columns)."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from rrft_jax import doors
from rrft_jax.rewards.values import Values
from rrft_jax.rewards.waiting import is_async

if TYPE_CHECKING:
    from rrft_jax.data.example import Example

_MESSAGES = "completions are text: for a function that reads messages name from_trl(FUNCTION, conversational=True)"
Tokenize = Callable[[Sequence[str]], Sequence[Sequence[int]]]


@dataclass(frozen=True)
class TrlReward:
    """A TRL reward function under our signature. None from it means "does not apply" and is no error. It may be async.

    conversational: hand over prompts and completions as message lists, [{"role": ..., "content": ...}], as TRL does
        for chat data; otherwise as strings.
    per_item: call it once per completion, so that an error costs that completion alone. Not for functions that
        compare the completions of a call with each other.
    tokenize: texts -> token ids, for a function that names completion_ids: the text is tokenised again, and no end
        token follows.
    Columns, each a list of length N: the fields of the examples (id, task, problem, answer, images, cot),
    solution (the answer again), and every metadata key (None where a record lacks it; a field wins over a
    metadata key of its name). trainer_state.global_step is the step. A function without **kwargs gets what it names.
    """

    function: Callable[..., Any]
    conversational: bool = False
    per_item: bool = False
    tokenize: Tokenize | None = None

    def __call__(
        self, completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int
    ) -> Any:
        if not self.per_item:
            return self._call(completions, examples, step)
        pairs = zip(completions, examples, strict=True)
        if is_async(self.function):
            return [self._later(text, example, step) for text, example in pairs]
        values, errors = [None] * len(completions), {}
        for i, (text, example) in enumerate(pairs):
            try:
                values[i] = self._call([text], [example], step)[0]
            except Exception as error:  # the user's function may raise anything, which costs this item alone
                errors[i] = doors.describe(error)
        return Values(values, errors)

    async def _later(self, text: str, example: "Example", step: int) -> float | None:
        return (await self._call([text], [example], step))[0]

    def _call(self, completions: Sequence[str], examples: "Sequence[Example]", step: int) -> Any:
        parameters = inspect.signature(self.function).parameters
        arguments = {
            **columns(examples),
            "prompts": [self._message("user", example.problem) for example in examples],
            "completions": [self._message("assistant", text) for text in completions],
            "trainer_state": SimpleNamespace(global_step=step),
        }
        if "completion_ids" in parameters and self.tokenize:
            arguments["completion_ids"] = self.tokenize(completions)
        wanted = [n for n, p in parameters.items() if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
        if lacking := [name for name in wanted if name not in arguments]:
            raise TypeError(f"it wants the column {', '.join(lacking)}, and the records have {', '.join(arguments)}")
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            arguments = {name: value for name, value in arguments.items() if name in parameters}
        try:
            return self.function(**arguments)
        except TypeError as error:
            if "string indices must be integers" in str(error) and not self.conversational:
                error.args = (f"{error}; {_MESSAGES}",)
            raise

    def _message(self, role: str, text: str) -> Any:
        return [{"role": role, "content": text}] if self.conversational else text


def from_trl(function: Callable[..., Any], *, conversational: bool = False, per_item: bool = False) -> TrlReward:
    """Wrap a TRL-style function; see `TrlReward` for what it receives."""
    return TrlReward(function, conversational, per_item)


def columns(examples: "Sequence[Example]") -> dict[str, list]:
    """Examples as columns, the way a data set row reaches a TRL reward function."""
    keys = dict.fromkeys(key for example in examples for key in example.metadata)
    found = {key: [example.metadata.get(key) for example in examples] for key in keys}
    for name in ("id", "task", "problem", "answer", "cot"):
        found[name] = [getattr(example, name) for example in examples]
    found["solution"] = list(found["answer"])
    found["images"] = [list(example.images) for example in examples]
    return found
