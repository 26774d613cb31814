"""Log-probabilities of given completions: one prefill, one extend, one pass of the LM head."""

import jax
import jax.numpy as jnp

from rrft_jax.models.head import token_log_probs
from rrft_jax.models.prompts import Prompts
from rrft_jax.models.qwen2_vl.model import Qwen2VL, completion_positions, extend, output_table, prefill


def score(
    model: Qwen2VL,
    params: dict,
    prompts: Prompts,
    tokens: jax.Array,
    token_mask: jax.Array,
    allowed: jax.Array | None,
    temperature: float = 1.0,
    chunk: int = 32,
) -> tuple[jax.Array, jax.Array]:
    """Log-probabilities and entropies float32[B, G, C] of completions under softmax(logits / temperature).

    tokens int32[B, G, C], right-padded, with token_mask bool[B, G, C]. allowed bool[V] is the vocabulary law, None the
    full softmax. Padded positions hold finite, meaningless values.
    """
    B, G, C = tokens.shape
    _, prefix = prefill(model, params, prompts)
    first = jnp.broadcast_to(prefix.last_hidden[:, None, None], (B, G, 1, prefix.last_hidden.shape[-1]))
    hidden = first
    if C > 1:
        positions = completion_positions(prefix.next_position, G, C - 1)
        rest, _ = extend(model, params, tokens[..., :-1], positions, token_mask[..., :-1], prefix)
        hidden = jnp.concatenate([first, rest], axis=2)
    return token_log_probs(hidden, output_table(params), tokens, allowed, temperature, chunk)
