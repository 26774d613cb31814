"""The decoder that families share: prompts read once, completions extended from them, caches explicit.

A family brings its layer and its rotary angles; which norms and biases the layer has is the family's own business.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Bool, Float, Int, Key, Shaped

from rrft_jax.arrays import HostOrDevice
from rrft_jax.models.attention import BACKENDS, attend_members
from rrft_jax.models.cache import Prefix, Suffix
from rrft_jax.models.dense_attention import ATTENDED, attend, attend_in_parts
from rrft_jax.models.layers import RMSNorm, applied, init_module, init_stack
from rrft_jax.models.prompts import Prompts
from rrft_jax.models.protocol import Sizes
from rrft_jax.models.sharding import ParamAxes, cast, gathered
from rrft_jax.parallel.mesh import constrain, on_one_device

CARRIED = "carried"  # the name of what a layer hands to the next
REMAT_POLICIES = {
    "none": None,
    "full": jax.checkpoint_policies.nothing_saveable,
    "offload": jax.checkpoint_policies.save_and_offload_only_these_names(
        names_which_can_be_saved=[], names_which_can_be_offloaded=[CARRIED], offload_src="device",
        offload_dst="pinned_host",
    ),
    "dots": jax.checkpoint_policies.save_from_both_policies(
        jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
        jax.checkpoint_policies.save_only_these_names(ATTENDED),
    ),
}


def check_settings(dtype: str, remat: str, attention: str) -> None:
    """Raises ValueError for settings that no model can be built with.

    dtype: "float32" or "bfloat16", in which products run; parameters keep their own. remat: a name in REMAT_POLICIES,
    what the backward pass recomputes of every decoder layer and vision block. attention: a name in BACKENDS, what
    attends where many tokens come at once (`attention.choose` turns a config's choice into one); a token of the decode
    loop is always attended by xla.
    """
    if remat not in REMAT_POLICIES:
        raise ValueError(f"model.remat={remat!r}: choose one of {', '.join(REMAT_POLICIES)}")
    if dtype not in ("float32", "bfloat16"):
        raise ValueError(f"model.dtype={dtype!r}: choose float32 or bfloat16")
    if attention not in BACKENDS:
        raise ValueError(f"model.attention={attention!r}: choose one of {', '.join(BACKENDS)}")


def rematerialised(body: Callable, remat: str) -> Callable:
    """The body of a scan over layers, with what the policy of this name says recomputed in the backward pass. "full"
    and "offload" keep what comes from the layer before, the latter in the host's memory."""

    def named(carry: Any, inputs: Any) -> Any:
        return body(jax.tree.map(lambda x: checkpoint_name(x, CARRIED), carry), inputs)

    if remat == "none":
        return body
    return jax.checkpoint(named if remat == "offload" else body, policy=REMAT_POLICIES[remat], prevent_cse=False)


@dataclass(frozen=True)
class Language:
    """Token embeddings, L equal layers, final norm and LM head: the branch `language` of the parameters.

    layer: a module with `project` and `finish`, as `decoder_layer.DecoderLayer` has them. rope: from positions
    int32[B, 3, G, T] to cos and sin float32[B, G, T, A/2]. param_axes: the family's, see `sharding.param_spec`.
    dtype, remat, attention: see `check_settings`.
    """

    sizes: Sizes
    layer: nn.Module
    rope: Callable[[jax.Array], tuple[jax.Array, jax.Array]]
    param_axes: ParamAxes
    dtype: str
    remat: str
    attention: str

    @property
    def compute_dtype(self) -> jnp.dtype:
        return jnp.dtype(self.dtype)

    def init(
        self,
        embed_key: Key[Array, ""],
        layers_key: Key[Array, ""],
        norm_key: Key[Array, ""],
        head_key: Key[Array, ""],
    ) -> dict:
        """Random float32 parameters: normal with fan-in scaling, embeddings 0.02, biases 0, scales 1."""
        c = self.sizes
        table, half = (c.vocab_size, c.hidden_size), (1, 1, 4, c.head_dim // 2)
        language = {
            "embed": {"embedding": 0.02 * jax.random.normal(embed_key, table)},
            "layers": init_stack(self.layer, c.num_layers, layers_key, (1, 1, 4, c.hidden_size), half, half),
            "norm": init_module(RMSNorm(c.rms_norm_eps), norm_key, (1, c.hidden_size)),
        }
        if not c.tie_word_embeddings:
            language["lm_head"] = {"embedding": 0.02 * jax.random.normal(head_key, table)}
        return language

    def embed(self, params: dict, tokens: Int[HostOrDevice, "*rows"]) -> Float[Array, "*rows D"]:
        """Embeddings of tokens."""
        return params["language"]["embed"]["embedding"][tokens].astype(self.compute_dtype)

    def output_table(self, params: dict) -> Float[HostOrDevice, "V D"]:
        """The LM head: the embedding itself when tied."""
        language = params["language"]
        return language.get("lm_head", language["embed"])["embedding"]

    def prefill(
        self,
        params: dict,
        prompts: Prompts,
        x: Float[HostOrDevice, "B P D"],
        added: Float[HostOrDevice, "K B P D"] | None = None,
    ) -> tuple[Float[Array, "B P D"], Prefix]:
        """Hidden states of all tokens of the prompts (after the final norm), and their keys and values.

        x: the prompts embedded, pictures included. added: to the hidden states behind each of the first K layers
        (DeepStack, arXiv 2406.04334).
        """
        last = _last(prompts)
        x, k, v = self._read(params, prompts, x, added)
        return x[:, 0], _prefix(prompts, k, v, _take(x, last))

    def prefix_of(
        self,
        params: dict,
        prompts: Prompts,
        x: Float[HostOrDevice, "B P D"],
        added: Float[HostOrDevice, "K B P D"] | None = None,
    ) -> Prefix:
        """The same keys and values, where of hidden states nothing but each prompt's last one is wanted: what sampling
        and scoring begin with."""
        x, k, v = self._read(params, prompts, x, added, _last(prompts))
        return _prefix(prompts, k, v, x)

    def empty_suffix(self, batch: int, group: int, length: int) -> Suffix:
        """A cache for completions of `length` tokens, nothing in it yet, in the compute dtype."""
        shape = (batch, group, self.sizes.num_kv_heads, length, self.sizes.head_dim)
        zeros = constrain(jnp.zeros(shape, self.compute_dtype), "batch", None, "kv_heads", None, None)
        layers = (zeros,) * self.sizes.num_layers
        return Suffix(layers, layers, jnp.zeros((batch, group, length), bool))

    def extend(
        self,
        params: dict,
        tokens: Int[HostOrDevice, "B G T"],
        positions: Int[HostOrDevice, "B 3 G T"],
        token_mask: Bool[HostOrDevice, "B G T"],
        prefix: Prefix,
        suffix: Suffix | None = None,
        write_index: Int[HostOrDevice, ""] | int = 0,
    ) -> tuple[Float[Array, "B G T D"], Suffix]:
        """Runs T further tokens of every member.

        They see their prompt, the valid part of the suffix cache, and each other causally. write_index is one int32 for
        all rows: rows of unequal length leave masked gaps, as positions are given explicitly. Without a suffix the
        tokens are the whole completion and nothing is cached in advance (the differentiable form).
        Returns hidden states after the final norm, and the suffix with these tokens in it.
        """
        x = self.embed(params, tokens)
        known = token_mask
        if suffix is not None:
            known = jax.lax.dynamic_update_slice(suffix.mask, token_mask, (0, 0, write_index))
        x, k, v = self._run(params, x, positions, known, prefix, suffix, write_index)
        return x, Suffix(k, v, known)

    def layers_apart(self, params: dict, prefix: Prefix) -> tuple[dict, Prefix]:
        """The decoder's parameters, in the compute dtype, and the prompt's cache with one array a layer, for `extend`.

        For a loop over tokens: out of a stack, a layer's weights would be copied for every token (on a CPU a quarter of
        the decode time). It costs the memory of one copy of the decoder while the loop runs.
        """
        language = params["language"]
        layers = _apart(cast(language["layers"], self.compute_dtype), self.sizes.num_layers)
        params = {**params, "language": {**language, "layers": layers}}
        return params, replace(prefix, k=tuple(prefix.k), v=tuple(prefix.v))

    def for_decoding(self, params: dict, prefix: Prefix) -> tuple[dict, Prefix]:
        """`layers_apart`, with the decoder's parameters whole over fsdp."""
        params, prefix = self.layers_apart(params, prefix)
        return {**params, "language": gathered(params["language"], self.compute_dtype, self.param_axes)}, prefix

    def _read(
        self,
        params: dict,
        prompts: Prompts,
        x: Float[HostOrDevice, "B P D"],
        added: Float[HostOrDevice, "K B P D"] | None,
        last: Int[HostOrDevice, " B"] | None = None,
    ) -> tuple[Float[Array, "B 1 #P D"], Any, Any]:
        positions, known = prompts.positions[:, :, None], prompts.token_mask[:, None]
        added = None if added is None else added[:, :, None]
        return self._run(params, x[:, None], positions, known, last=last, added=added)

    def _run(
        self,
        params: dict,
        x: Float[HostOrDevice, "B G T D"],
        positions: Int[HostOrDevice, "B 3 G T"],
        known: Bool[HostOrDevice, "B G S"],
        prefix: Prefix | None = None,
        suffix: Suffix | None = None,
        write_index: Int[HostOrDevice, ""] | int = 0,
        last: Int[HostOrDevice, " B"] | None = None,
        added: Float[HostOrDevice, "K B G T D"] | None = None,
    ) -> tuple[Float[Array, "B G #T D"], Any, Any]:
        """Runs the layers over x.

        known: which own keys are real: S = T without a suffix cache, else the cache's length. last:
        the one token per row whose hidden state is wanted, after which there are none; x then comes back with
        T = 1. added: see `prefill`. Returns hidden states after the final norm, and k, v: [L, B, G, K, T, A] of these
        tokens without a suffix cache, else the cache's own arrays with these tokens written at write_index.
        """
        T, L, layer = x.shape[2], self.sizes.num_layers, self.layer
        before = jnp.tril(jnp.ones((T, T), bool))
        if suffix is not None:
            before = jnp.arange(known.shape[-1]) <= write_index + jnp.arange(T)[:, None]
        mask = before & known[:, :, None, :]
        by_kernel = self.attention != "xla" and suffix is None and T > 1
        cos, sin = self.rope(positions)
        known_prompt = None if prefix is None else prefix.mask
        act = lambda y: constrain(y, "batch", None, None, None)  # noqa: E731

        def attended_and_finished(
            x: Float[HostOrDevice, "B G T D"], q: jax.Array, k: jax.Array, v: jax.Array, shared: Any, weights: dict
        ) -> Float[Array, "B G T D"]:
            if by_kernel:
                out = attend_members(self.attention, q, k, v, known, shared)
            else:
                out = attend_in_parts(q, k, v, mask, shared)
            return act(applied(layer, weights, x, out, method="finish"))

        def last_alone(
            x: Float[HostOrDevice, "B G T D"], q: jax.Array, k: jax.Array, v: jax.Array, shared: Any, weights: dict
        ) -> Float[Array, "B G T D"]:
            one = _take(x, last)
            out = attend(_take(q, last), k, v, known[:, :, None, :], shared)
            return jnp.broadcast_to(applied(layer, weights, one, out, method="finish"), x.shape)

        def body(x: Float[HostOrDevice, "B G T D"], inputs: Any) -> tuple[Float[Array, "B G T D"], tuple]:
            weights, prompt, cache, at_the_end, number = inputs
            q, *new = applied(layer, weights, x, cos, sin, method="project")
            if cache is not None:
                at = (0, 0, 0, write_index, 0)
                new = [
                    jax.lax.dynamic_update_slice(old, y.astype(old.dtype), at)
                    for old, y in zip(cache, new, strict=True)
                ]
            shared = None if prompt is None else (*prompt, known_prompt)
            arguments: tuple[Any, ...] = (x, q, *new, shared, weights)
            if at_the_end is None:
                x = attended_and_finished(*arguments)
            else:
                x = jax.lax.cond(at_the_end, last_alone, attended_and_finished, *arguments)
            if number is not None and added is not None:
                # By number: a layer of zeros for each of the others would be as large as all that is kept of them.
                x = act(x + jnp.where(number < len(added), added[jnp.minimum(number, len(added) - 1)], 0))
            return x, tuple(new)

        layers = params["language"]["layers"]
        # Of the other tokens the last layer's keys and values are all that is read. Not on several devices: what fsdp
        # brings together inside a branch could not be fetched ahead. Not without rematerialisation: the backward pass
        # would keep what goes into a branch, every layer's weights.
        trimmed = last is not None and on_one_device() and self.remat != "none"
        x = act(x)
        if suffix is None:
            prompt = None if prefix is None else (prefix.k, prefix.v)
            ends = jnp.arange(L) == L - 1 if trimmed else None
            numbers = None if added is None else jnp.arange(L)
            x, (k, v) = jax.lax.scan(rematerialised(body, self.remat), x, (layers, prompt, None, ends, numbers))
        elif prefix is None:
            raise ValueError("a suffix cache continues prompts: give their prefix too")
        else:
            layers = layers if isinstance(layers, tuple) else _apart(layers, L)
            # Or every layer would compute them again, once for each head, inside its own fused loop.
            cos, sin = jax.lax.optimization_barrier((cos, sin))
            one_layer = jax.jit(body)  # traced and lowered once instead of once a layer; the compiler inlines it
            caches = []
            for weights, *prompt, old_k, old_v in zip(layers, prefix.k, prefix.v, suffix.k, suffix.v, strict=True):
                x, cache = one_layer(x, (weights, prompt, (old_k, old_v), None, None))
                caches.append(cache)
            k, v = zip(*caches, strict=True)
        x = x if last is None else _take(x, last)
        norm = RMSNorm(self.sizes.rms_norm_eps, self.compute_dtype)
        return applied(norm, params["language"]["norm"], x), k, v


def _last(prompts: Prompts) -> Int[Array, " B"]:
    return jnp.sum(prompts.token_mask, axis=-1) - 1


def _prefix(
    prompts: Prompts,
    k: Float[HostOrDevice, "L B 1 K P A"],
    v: Float[HostOrDevice, "L B 1 K P A"],
    last: Float[HostOrDevice, "B 1 1 D"],
) -> Prefix:
    k, v = (constrain(y[:, :, 0], None, "batch", "kv_heads", None, None) for y in (k, v))
    return Prefix(k, v, prompts.token_mask, prompts.next_position, last[:, 0, 0])


def _take(x: Shaped[HostOrDevice, "B 1 T *rest"], at: Int[HostOrDevice, " B"]) -> Shaped[Array, "B 1 1 *rest"]:
    """x at token `at` of each row."""
    return jnp.take_along_axis(x, at.reshape(-1, *[1] * (x.ndim - 1)), axis=2)


def _apart(stacked: Any, count: int) -> tuple:
    """A tree of float[L, ...] as L trees of float[...]."""
    return tuple(jax.tree.map(lambda y, i=i: y[i], stacked) for i in range(count))
