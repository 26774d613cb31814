"""The reference completion of supervised fine-tuning as tokens: whole, or refused with the example's name."""

from ml_collections import ConfigDict

from rrft_jax.data.example import Example
from rrft_jax.processing.processor import Processor, encode_completion
from rrft_jax.tasks.registry import Task


def reference_tokens(config: ConfigDict, task: Task, processor: Processor, example: Example) -> list[int]:
    """Tokens of the task's target (config.sft.target), EOS included.

    Raises ValueError where the example has no such target, or one longer than rollout.max_completion_length: it is
    not cut.
    """
    ids = encode_completion(processor, task.targets[config.sft.target](example))
    limit = config.rollout.max_completion_length
    if len(ids) > limit:
        raise ValueError(
            f"example {example.id}: its target has {len(ids)} tokens, more than rollout.max_completion_length={limit}"
        )
    return ids
