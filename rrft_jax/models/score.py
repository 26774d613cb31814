"""Log-probabilities of given completions: one prefill, one extend, one pass of the LM head."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rrft_jax.arrays import HostOrDevice
from rrft_jax.models.cache import completion_positions
from rrft_jax.models.head import token_log_probs
from rrft_jax.models.prompts import Prompts
from rrft_jax.models.protocol import Model


def score(
    model: Model,
    params: dict,
    prompts: Prompts,
    tokens: Int[HostOrDevice, "B G C"],
    token_mask: Bool[HostOrDevice, "B G C"],
    allowed: Bool[HostOrDevice, " V"] | None,
    temperature: float = 1.0,
    chunk: int = 32,
    group_chunks: int = 1,
    read: Callable[[Float[Array, "B g C D"]], Float[Array, "B g C"]] | None = None,
) -> tuple[Float[Array, "B G C"], ...]:
    """Log-probabilities and entropies of completions under softmax(logits / temperature).

    read: a function of the hidden states that predict each token, such as a value head, whose result comes third.

    tokens: right-padded. allowed: the tokens that the softmax is over; None: all of them. Padded positions hold finite
    but meaningless values.

    group_chunks: the members of a group go through the decoder in so many parts, one after the other, and the backward
    pass computes each part again, so that the activations of G / group_chunks members are in memory at a time. Vision
    tower and prompt stay outside and run once. Raises ValueError where it does not divide G.
    """
    B, G, C = tokens.shape
    prefix = model.prefix_of(params, prompts)

    def members(
        part: tuple[Int[HostOrDevice, "B g C"], Bool[HostOrDevice, "B g C"]],
    ) -> tuple[Float[Array, "B g C"], ...]:
        tokens, token_mask = part
        g = tokens.shape[1]
        hidden = jnp.broadcast_to(prefix.last_hidden[:, None, None], (B, g, 1, prefix.last_hidden.shape[-1]))
        if C > 1:
            positions = completion_positions(prefix.next_position, g, C - 1)
            rest, _ = model.extend(params, tokens[..., :-1], positions, token_mask[..., :-1], prefix)
            hidden = jnp.concatenate([hidden, rest], axis=2)
        scores = token_log_probs(hidden, model.output_table(params), tokens, allowed, temperature, chunk)
        return scores if read is None else (*scores, read(hidden))

    if group_chunks == 1:
        return members((tokens, token_mask))
    if group_chunks < 1 or G % group_chunks:
        raise ValueError(f"train.group_chunks={group_chunks} must divide the {G} completions of a prompt")
    parts = jax.tree.map(lambda x: jnp.moveaxis(x.reshape(B, group_chunks, -1, C), 1, 0), (tokens, token_mask))
    scores = jax.lax.map(jax.checkpoint(members), parts)
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1).reshape(B, G, C), scores)
