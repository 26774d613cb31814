"""The batch a train step sees, and the forward pass that scores it."""

from collections.abc import Callable
from dataclasses import dataclass

import jax

from rrft_jax.losses.terms import Scores, Targets
from rrft_jax.models.prompts import Prompts
from rrft_jax.models.qwen2_vl.model import Qwen2VL
from rrft_jax.models.score import score
from rrft_jax.training.tree import combine


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Batch:
    """Prompts with G completions each: tokens int32[B, G, C], token_mask bool[B, G, C] (right-padded), and targets."""

    prompts: Prompts
    tokens: jax.Array
    token_mask: jax.Array
    targets: Targets


def make_forward(
    model: Qwen2VL, allowed: jax.Array | None, temperature: float = 1.0, chunk: int = 32, group_chunks: int = 1
) -> Callable[[dict, dict, Batch], Scores]:
    """forward(trainable, frozen, batch) -> Scores under softmax(logits / temperature) over the allowed tokens."""

    def forward(trainable: dict, frozen: dict, batch: Batch) -> Scores:
        params = combine(trainable, frozen)
        completions = (batch.tokens, batch.token_mask)
        return Scores(*score(model, params, batch.prompts, *completions, allowed, temperature, chunk, group_chunks))

    return forward
