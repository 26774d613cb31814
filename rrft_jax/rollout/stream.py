"""One completion, a token at a time: the sampler's distribution and keys, and the host sees every token at once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from rrft_jax.arrays import HostOrDevice
from rrft_jax.models.cache import Prefix, Suffix, completion_positions
from rrft_jax.models.head import logits
from rrft_jax.models.prompts import Prompts
from rrft_jax.rollout.decoder import Decoder
from rrft_jax.rollout.sampler import row_keys
from rrft_jax.rollout.sampling import draw


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _State:
    """Between two tokens: hidden predicts token `step`."""

    step: Int[HostOrDevice, ""]
    hidden: Float[HostOrDevice, "1 1 D"]
    suffix: Suffix


def make_stream(decoder: Decoder) -> Callable[[dict, Prompts, Key[Array, ""]], Iterator[int]]:
    """stream(params, prompts, key) -> the token ids of one completion, each as soon as it is drawn.

    prompts holds one prompt (B = 1). The ids are those of `sample` with the same key for member 0 of the group; the EOS
    that ends them is the last one given, and after `length` tokens they end without. Two programs, prompt and token,
    compile once for each shape of prompts.
    """
    model, length = decoder.model, decoder.length

    @jax.jit
    def start(params: dict, prompts: Prompts, key: Key[Array, ""]) -> tuple[Prefix, Key[Array, "1 1"], _State]:
        prefix = model.prefix_of(params, prompts)
        keys = row_keys(key, prompts.prompt_id, 1)
        return prefix, keys, _State(jnp.int32(0), prefix.last_hidden[:, None], model.empty_suffix(1, 1, length))

    @partial(jax.jit, donate_argnums=3)
    def next_token(
        params: dict, prefix: Prefix, keys: Key[Array, "1 1"], state: _State
    ) -> tuple[Int[Array, ""], _State]:
        t = state.step
        z = logits(state.hidden, model.output_table(params), decoder.allowed)
        token, _ = draw(z, jax.vmap(jax.vmap(lambda k: jax.random.fold_in(k, t)))(keys), decoder.sampling)
        positions = completion_positions(prefix.next_position + t, 1, 1)
        seen = jnp.ones((1, 1, 1), bool)
        hidden, suffix = model.extend(params, token[..., None], positions, seen, prefix, state.suffix, write_index=t)
        return token[0, 0], _State(t + 1, hidden[:, :, 0], suffix)

    def stream(params: dict, prompts: Prompts, key: Key[Array, ""]) -> Iterator[int]:
        if len(prompts.prompt_id) != 1:
            raise ValueError(f"a stream takes one prompt, not {len(prompts.prompt_id)}; use `sample` for a batch")
        prefix, keys, state = start(params, prompts, key)
        for _ in range(length):
            token, state = next_token(params, prefix, keys, state)
            yield int(token)
            if int(token) in decoder.eos_token_ids:
                return

    return stream
