"""The grouped sampler: the prompt once, then one loop that extends all members of all groups together."""

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, Shaped

from rrft_jax.arrays import HostOrDevice
from rrft_jax.models.cache import Prefix, Suffix, completion_positions
from rrft_jax.models.head import logits, target_log_probs
from rrft_jax.models.prompts import Prompts
from rrft_jax.parallel.mesh import constrain
from rrft_jax.rollout.compaction import live_first, put_members, stages, take_members
from rrft_jax.rollout.decoder import Decoder
from rrft_jax.rollout.growth import bounds, grown
from rrft_jax.rollout.sampling import Sampling, draw


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Rollouts:
    """G completions per prompt, right-padded.

    mask: true up to and including the first EOS;
    log_probs: at temperature 1 over the allowed tokens, which is what the scorer recomputes;
    sampled_log_probs: under the tempered, truncated distribution the tokens were drawn from;
    finished: an EOS was drawn;
    entropy, values: where somebody scored them, of the distribution that the loss scores and of a critic, before any
    update on these.
    """

    tokens: Int[HostOrDevice, "B G C"]
    mask: Bool[HostOrDevice, "B G C"]
    log_probs: Float[HostOrDevice, "B G C"]
    sampled_log_probs: Float[HostOrDevice, "B G C"]
    finished: Bool[HostOrDevice, "B G"]
    entropy: Float[HostOrDevice, "B G C"] | None = None
    values: Float[HostOrDevice, "B G C"] | None = None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _State:
    """Carry of the decode loop: hidden predicts token `step`; `done` members draw padding."""

    step: Int[HostOrDevice, ""]
    hidden: Float[HostOrDevice, "B G D"]
    suffix: Suffix
    done: Bool[HostOrDevice, "B G"]
    out: Rollouts


def row_keys(
    key: Key[Array, ""],
    prompt_id: Int[HostOrDevice, " B"],
    group: int,
    first_member: Int[HostOrDevice, " B"] | None = None,
) -> Key[Array, "B {group}"]:
    """Keys addressed by (prompt, member): the same wherever and with whatever else the row is sampled.

    first_member: the number of a row's first member, where a group is split over rows; None is 0.
    """
    per_prompt = jax.vmap(lambda i: jax.random.fold_in(key, i))(prompt_id)
    members = _members(prompt_id, group, first_member)
    return jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)))(per_prompt, members)


def _members(
    prompt_id: Int[HostOrDevice, " B"], group: int, first_member: Int[HostOrDevice, " B"] | None
) -> Int[Array, "B {group}"]:
    """The number in its group of every member."""
    return jnp.arange(group) + (0 * prompt_id if first_member is None else first_member)[:, None]


def sample(
    decoder: Decoder,
    params: dict,
    prompts: Prompts,
    key: Key[Array, ""],
    group: int,
    first_member: Int[HostOrDevice, " B"] | None = None,
) -> Rollouts:
    """Draws `group` completions for each prompt; a pure function, to be jitted.

    key: already folded with whatever addresses this call (seed, step). first_member: see `row_keys`.
    """
    model, length, pad_token_id = decoder.model, decoder.length, decoder.pad_token_id
    B = prompts.tokens.shape[0]
    prefix = model.prefix_of(params, prompts)
    # The prompt's activations are gone before the weights of the loop are made, and these never lie in a stack too.
    params, prefix = jax.lax.optimization_barrier((params, prefix))
    params, prefix = model.for_decoding(params, prefix)
    table = model.output_table(params)
    keys = row_keys(key, prompts.prompt_id, group, first_member)
    # All at once: a single key costs the loop as much as a thousand.
    step_keys = jax.vmap(lambda t: jax.vmap(jax.vmap(lambda k: jax.random.fold_in(k, t)))(keys))(jnp.arange(length))
    shape = (B, group, length)
    rows = lambda x: constrain(x, "batch", *[None] * (x.ndim - 1))  # noqa: E731
    lengths = bounds(length, decoder.cache_parts)
    zeros = rows(jnp.zeros(shape, jnp.float32))
    hidden = jnp.broadcast_to(prefix.last_hidden[:, None], (B, group, prefix.last_hidden.shape[-1]))
    none_done = rows(jnp.zeros((B, group), bool))
    state = _State(
        step=jnp.int32(0),
        hidden=rows(hidden),
        suffix=model.empty_suffix(B, group, lengths[0]),
        done=none_done,
        out=Rollouts(
            rows(jnp.full(shape, pad_token_id, jnp.int32)), rows(jnp.zeros(shape, bool)), zeros, zeros, none_done
        ),
    )

    is_greedy = None
    if decoder.greedy_member is not None:
        is_greedy = rows(_members(prompts.prompt_id, group, first_member) == decoder.greedy_member)

    def one_token(
        prefix: Prefix, step_keys: Key[Array, "C B G"], is_greedy: Bool[Array, "B G"] | None, state: _State
    ) -> _State:
        t, members = state.step, state.done.shape[1]
        z = logits(state.hidden, table, decoder.allowed)
        token, sampled = draw(z, step_keys[t], decoder.sampling)
        if is_greedy is not None:
            likely, certain = draw(z, step_keys[t], Sampling(0.0))
            token, sampled = jnp.where(is_greedy, likely, token), jnp.where(is_greedy, certain, sampled)
        live = ~state.done
        token = jnp.where(live, token, pad_token_id)
        put = lambda old, new: jax.lax.dynamic_update_index_in_dim(old, new, t, axis=2)  # noqa: E731
        ended = jnp.isin(token, jnp.array(decoder.eos_token_ids)) & live
        out = Rollouts(
            tokens=put(state.out.tokens, token),
            mask=put(state.out.mask, live),
            log_probs=put(state.out.log_probs, jnp.where(live, target_log_probs(z, token)[0], 0.0)),
            sampled_log_probs=put(state.out.sampled_log_probs, jnp.where(live, sampled, 0.0)),
            finished=state.out.finished | ended,
        )
        positions = completion_positions(prefix.next_position + t, members, 1)
        hidden, suffix = model.extend(
            params, token[..., None], positions, live[..., None], prefix, state.suffix, write_index=t
        )
        done = state.done | ended if decoder.stop_at_eos else state.done
        return _State(t + 1, hidden[:, :, 0], suffix, done, out)

    def decode(
        prefix: Prefix,
        step_keys: Key[Array, "C B G"],
        is_greedy: Bool[Array, "B G"] | None,
        state: _State,
        smaller: tuple[int, ...],
        lengths: tuple[int, ...],
    ) -> Rollouts:
        fits = smaller[0] if smaller else 0

        def goes_on(end: int, state: _State) -> Bool[Array, ""]:
            live = ~jnp.all(state.done) if fits == 0 else jnp.sum(~state.done) > fits
            return (state.step < end) & live

        for end in lengths:
            state = replace(state, suffix=grown(state.suffix, end))
            state = jax.lax.while_loop(partial(goes_on, end), partial(one_token, prefix, step_keys, is_greedy), state)
        if not smaller:
            return state.out
        members = live_first(state.done, fits)
        prompt_of = members // state.done.shape[1]
        few = lambda tree: jax.tree.map(_split_as_before, take_members(tree, members))  # noqa: E731
        prefix = jax.tree.map(lambda x: _split_as_before(x[prompt_of]), prefix)
        keys = jnp.moveaxis(take_members(jnp.moveaxis(step_keys, 0, 2), members), 2, 0)
        is_greedy = take_members(is_greedy, members)
        smaller_state = _State(state.step, *map(few, (state.hidden, state.suffix, state.done, state.out)))
        out = decode(prefix, keys, is_greedy, smaller_state, smaller[1:], lengths[-1:])
        return jax.tree.map(rows, put_members(state.out, members, out))

    return decode(prefix, step_keys, is_greedy, state, stages(B * group, decoder.compact), lengths)


def _split_as_before(x: Shaped[HostOrDevice, "*shape"]) -> Shaped[Array, "*shape"]:
    """Rows over the mesh, and the heads of caches, [n, K, P, A] and [n, 1, K, C, A], too."""
    names = ["batch", *[None] * (x.ndim - 1)]
    if x.ndim > 3:
        names[-3] = "kv_heads"
    return constrain(x, *names)
