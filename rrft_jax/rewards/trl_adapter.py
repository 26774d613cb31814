"""Use a reward function written for TRL's GRPOTrainer: f(prompts=..., completions=..., **columns)."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from rrft_jax.rewards.values import Values, reason

if TYPE_CHECKING:
    from rrft_jax.data.example import Example


@dataclass(frozen=True)
class TrlReward:
    """A TRL reward function under our signature. None from it means "does not apply" and is no error.

    conversational: hand over prompts and completions as message lists, [{"role": ..., "content": ...}], as TRL does
        for chat data; otherwise as strings.
    per_item: call it once per completion, so that one it stumbles over costs no other. Not for functions that
        compare the completions of a call with each other.
    Columns, each a list of length N: the fields of the examples (id, task, problem, answer, images, cot),
    solution (the answer again), and every metadata key (None where a record lacks it; a field wins over a
    metadata key of its name). trainer_state.global_step is the step. A function without **kwargs gets what it names.
    """

    function: Callable[..., Sequence[float | None]]
    conversational: bool = False
    per_item: bool = False

    def __call__(
        self, completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int
    ) -> Values:
        if not self.per_item:
            return self._call(completions, examples, step)
        values, errors = [None] * len(completions), {}
        for i, (text, example) in enumerate(zip(completions, examples, strict=True)):
            try:
                values[i] = self._call([text], [example], step)[0]
            except Exception as error:  # the function is the user's: whatever it raises belongs to this item
                errors[i] = reason(error)
        return Values(values, errors)

    def _call(self, completions: Sequence[str], examples: "Sequence[Example]", step: int) -> Values:
        arguments = {
            **columns(examples),
            "prompts": [self._message("user", example.problem) for example in examples],
            "completions": [self._message("assistant", text) for text in completions],
            "trainer_state": SimpleNamespace(global_step=step),
        }
        parameters = inspect.signature(self.function).parameters
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            arguments = {name: value for name, value in arguments.items() if name in parameters}
        return Values(None if value is None else float(value) for value in self.function(**arguments))

    def _message(self, role: str, text: str) -> Any:
        return [{"role": role, "content": text}] if self.conversational else text


def from_trl(
    function: Callable[..., Sequence[float | None]], *, conversational: bool = False, per_item: bool = False
) -> TrlReward:
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
