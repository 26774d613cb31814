"""A reward that is another function for each task, for batches that hold several tasks."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rrft_jax.rewards.values import Reward, Values
from rrft_jax.rewards.waiting import is_pending

if TYPE_CHECKING:
    from rrft_jax.data.example import Example


def by_task(rewards: Mapping[str, Reward]) -> Reward:
    """The reward that calls rewards[example.task], each once with its own completions; None for an example of another
    task, to which it does not apply."""

    def reward(
        completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int
    ) -> Values:
        values = Values([None] * len(completions))
        for function in dict.fromkeys(rewards.values()):
            at = [i for i, example in enumerate(examples) if rewards.get(example.task) is function]
            if not at:
                continue
            given = function(*([of[i] for i in at] for of in (completions, examples, group_ids)), step)
            if is_pending(given):
                raise TypeError("a coroutine as the reward of one task of a mixture: give it to all of them (--reward)")
            values.put(at, given)
        return values

    return reward
