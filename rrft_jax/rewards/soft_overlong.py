"""Soft overlong punishment (DAPO, arXiv 2503.14476, equation 13): none up to a length, then down to -1 at the limit."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rrft_jax.rewards.values import Values

if TYPE_CHECKING:
    from rrft_jax.data.example import Example


def soft_overlong(
    completions: Sequence[str],
    examples: "Sequence[Example]",
    group_ids: Sequence[int],
    step: int,
    *,
    count_tokens: Callable[[Sequence[str]], Sequence[int]],
    max_completion_length: int,
    buffer: float = 0.2,
) -> Values:
    """0 up to (1 - buffer) max_completion_length tokens, from there straight down to -1 at max_completion_length.

    count_tokens: the number of tokens of each text, from the tokenizer that trains. max_completion_length: in
    tokens (config.rollout.max_completion_length; the paper's L_max, 20480). buffer: a share of it; the paper's
    L_cache / L_max is 4096 / 20480. Scale with the weight of the reward (verl's penalty_factor). Raises ValueError
    for another share.
    """
    if not 0 < buffer <= 1:
        raise ValueError(
            f"config.reward_options.soft_overlong.buffer={buffer} is a share of the longest completion: (0, 1]"
        )
    width = buffer * max_completion_length
    free = max_completion_length - width
    return Values(-min(max(n - free, 0.0) / width, 1.0) for n in count_tokens(completions))
