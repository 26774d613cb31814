"""Qwen2-VL as three pure functions: encode the images, prefill the prompt, extend it by completions.

The vision tower and the prompt run once per prompt; completions attend to the prompt's keys and values in place.
Sampling is a prefill and a loop of `extend` with T = 1; scoring is a prefill and one `extend` with T = C. Both take
`prefix_of`, the prefill of which nothing but keys, values and the last token is wanted.
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp

from rrft_jax.models.attention import BACKENDS, attend_members
from rrft_jax.models.cache import Prefix, Suffix
from rrft_jax.models.dense_attention import ATTENDED, attend, attend_in_parts
from rrft_jax.models.layers import RMSNorm
from rrft_jax.models.prompts import Prompts
from rrft_jax.models.qwen2_vl.config import Qwen2VLConfig
from rrft_jax.models.qwen2_vl.language import DecoderLayer
from rrft_jax.models.qwen2_vl.vision import Merger, PatchEmbed, VisionBlock
from rrft_jax.models.rope import mrope, vision_rope
from rrft_jax.models.sharding import cast
from rrft_jax.parallel.mesh import constrain, on_one_device

REMAT_POLICIES = {
    "none": None,
    "full": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.save_from_both_policies(
        jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
        jax.checkpoint_policies.save_only_these_names(ATTENDED),
    ),
}


@dataclass(frozen=True)
class Qwen2VL:
    """A Qwen2-VL: its sizes, the dtype products run in, and what the backward pass recomputes.

    dtype: "float32" or "bfloat16"; parameters keep their own dtype. remat: a name in REMAT_POLICIES, applied to
    every decoder layer and vision block. attention: a name in BACKENDS, what attends where many tokens come at once
    (`attention.choose` turns a config's choice into one); a token of the decode loop is always attended by xla.
    """

    config: Qwen2VLConfig
    dtype: str = "float32"
    remat: str = "none"
    attention: str = "xla"

    def __post_init__(self):
        if self.remat not in REMAT_POLICIES:
            raise ValueError(f"model.remat={self.remat!r}: choose one of {', '.join(REMAT_POLICIES)}")
        if self.dtype not in ("float32", "bfloat16"):
            raise ValueError(f"model.dtype={self.dtype!r}: choose float32 or bfloat16")
        if self.attention not in BACKENDS:
            raise ValueError(f"model.attention={self.attention!r}: choose one of {', '.join(BACKENDS)}")

    @property
    def compute_dtype(self):
        return jnp.dtype(self.dtype)


def init_params(model: Qwen2VL, key: jax.Array) -> dict:
    """Random float32 parameters: normal with fan-in scaling, embeddings 0.02, biases 0, scales 1; layers stacked."""
    c, v = model.config, model.config.vision
    keys = jax.random.split(key, 6)

    def one(module, key, *shapes):
        return module.init(key, *(jnp.zeros(s) for s in shapes))["params"]

    def stacked(module, count, key, *shapes):
        return jax.vmap(lambda k: one(module, k, *shapes))(jax.random.split(key, count))

    half = (1, 1, 4, c.head_dim // 2)
    language = {
        "embed": {"embedding": 0.02 * jax.random.normal(keys[0], (c.vocab_size, c.hidden_size))},
        "layers": stacked(DecoderLayer(c), c.num_layers, keys[1], (1, 1, 4, c.hidden_size), half, half),
        "norm": one(RMSNorm(c.rms_norm_eps), keys[2], (1, c.hidden_size)),
    }
    if not c.tie_word_embeddings:
        language["lm_head"] = {"embedding": 0.02 * jax.random.normal(keys[5], (c.vocab_size, c.hidden_size))}
    rope = (1, 4, v.head_dim // 2)
    vision = {
        "patch_embed": one(PatchEmbed(v), keys[3], (1, 4, v.patch_dim)),
        "blocks": stacked(VisionBlock(v), v.depth, keys[4], (1, 4, v.embed_dim), (1, 4), rope, rope),
        "merger": one(Merger(v), keys[5], (1, 4, v.embed_dim)),
    }
    return {"language": language, "vision": vision}


def output_table(params: dict) -> jax.Array:
    """The LM head float[V, D]: the embedding itself when tied."""
    language = params["language"]
    return language.get("lm_head", language["embed"])["embedding"]


def _remat(model: Qwen2VL, body):
    if model.remat == "none":
        return body
    return jax.checkpoint(body, policy=REMAT_POLICIES[model.remat], prevent_cse=False)


def encode_images(model: Qwen2VL, params: dict, prompts: Prompts) -> jax.Array:
    """Features float[B, I * n/4, D] of every image slot, in merge order; padded patches give finite rubbish."""
    v, dtype = model.config.vision, model.compute_dtype
    B, I, n, width = prompts.patches.shape
    flat = lambda x: constrain(x.reshape(B * I, *x.shape[2:]), "batch", *[None] * (x.ndim - 2))  # noqa: E731
    mask = flat(prompts.patch_mask)
    cos, sin = vision_rope(flat(prompts.patch_position), v.head_dim, v.rope_theta)
    x = PatchEmbed(v, dtype).apply({"params": params["vision"]["patch_embed"]}, flat(prompts.patches))

    def body(x, block):
        x = VisionBlock(v, dtype, model.attention).apply({"params": block}, x, mask, cos, sin)
        return constrain(x, "batch", None, None), None

    x, _ = jax.lax.scan(_remat(model, body), x, params["vision"]["blocks"])
    x = Merger(v, dtype).apply({"params": params["vision"]["merger"]}, x)
    return constrain(x.reshape(B, -1, v.hidden_size), "batch", None, None)


def embed_prompts(model: Qwen2VL, params: dict, prompts: Prompts) -> jax.Array:
    """Token embeddings float[B, P, D], the k-th image or video token replaced by the k-th valid image feature."""
    c = model.config
    x = params["language"]["embed"]["embedding"][prompts.tokens].astype(model.compute_dtype)
    if prompts.patches.shape[1] == 0 or prompts.patches.shape[2] == 0:
        return constrain(x, "batch", None, None)
    features = encode_images(model, params, prompts)
    merged = c.vision.spatial_merge_size**2
    valid = prompts.patch_mask.reshape(x.shape[0], -1)[:, ::merged]
    order = jnp.argsort(~valid, axis=-1, stable=True)  # valid features first, in slot order
    visual = (prompts.tokens == c.image_token_id) | (prompts.tokens == c.video_token_id)
    visual = visual & prompts.token_mask
    rank = jnp.clip(jnp.cumsum(visual, axis=-1) - 1, 0, valid.shape[1] - 1)
    index = jnp.take_along_axis(order, rank, axis=-1)
    features = jnp.take_along_axis(features, index[..., None], axis=1)
    return constrain(jnp.where(visual[..., None], features, x), "batch", None, None)


def _decode(model, params, x, positions, known, prefix=None, suffix=None, write_index=0, last=None):
    """Runs the layers over x float[B, G, T, D].

    known bool[B, G, S], which own keys are real: S = T without a suffix cache, else the cache's length. last int32[B]:
    the one token per row whose hidden state is wanted, after which there are none; x then comes back with T = 1.
    Returns hidden float[B, G, T, D] after the final norm, and k, v: [L, B, G, K, T, A] of these tokens without a
    suffix cache, else the cache's own arrays with these tokens written at write_index.
    """
    c, dtype = model.config, model.compute_dtype
    T = x.shape[2]
    before = jnp.tril(jnp.ones((T, T), bool))
    if suffix is not None:
        before = jnp.arange(known.shape[-1]) <= write_index + jnp.arange(T)[:, None]
    mask = before & known[:, :, None, :]
    by_kernel = model.attention != "xla" and suffix is None and T > 1
    cos, sin = mrope(positions, c.mrope_section, c.head_dim, c.rope_theta)
    layer = DecoderLayer(c, dtype)
    act = lambda y: constrain(y, "batch", None, None, None)  # noqa: E731

    def attended_and_finished(x, q, k, v, shared, weights):
        if by_kernel:
            out = attend_members(model.attention, q, k, v, known, shared)
        else:
            out = attend_in_parts(q, k, v, mask, shared)
        return act(layer.apply({"params": weights}, x, out, method="finish"))

    def last_alone(x, q, k, v, shared, weights):
        one = _take(x, last)
        out = attend(_take(q, last), k, v, known[:, :, None, :], shared)
        return jnp.broadcast_to(layer.apply({"params": weights}, one, out, method="finish"), x.shape)

    def body(x, inputs):
        weights, prompt, cache, at_the_end = inputs
        q, *new = layer.apply({"params": weights}, x, cos, sin, method="project")
        if cache is not None:
            at = (0, 0, 0, write_index, 0)
            new = [
                jax.lax.dynamic_update_slice(old, y.astype(old.dtype), at) for old, y in zip(cache, new, strict=True)
            ]
        shared = None if prompt is None else (*prompt, prefix.mask)
        arguments = (x, q, *new, shared, weights)
        if at_the_end is None:
            x = attended_and_finished(*arguments)
        else:
            x = jax.lax.cond(at_the_end, last_alone, attended_and_finished, *arguments)
        return x, tuple(new)

    layers = params["language"]["layers"]
    # Of the other tokens the last layer's keys and values are all that is read. Not on several devices: what fsdp
    # brings together inside a branch could not be fetched ahead. Not without rematerialisation: the backward pass would
    # keep what goes into a branch, every layer's weights.
    trimmed = last is not None and on_one_device() and model.remat != "none"
    x = act(x)
    if suffix is None:
        prompt = None if prefix is None else (prefix.k, prefix.v)
        ends = jnp.arange(c.num_layers) == c.num_layers - 1 if trimmed else None
        x, (k, v) = jax.lax.scan(_remat(model, body), x, (layers, prompt, None, ends))
    else:
        layers = layers if isinstance(layers, tuple) else _apart(layers, c.num_layers)
        # Or every layer would compute them again, once for each head, inside its own fused loop.
        cos, sin = jax.lax.optimization_barrier((cos, sin))
        one_layer = jax.jit(body)  # traced and lowered once instead of once a layer; the compiler inlines it
        caches = []
        for weights, *prompt, old_k, old_v in zip(layers, prefix.k, prefix.v, suffix.k, suffix.v, strict=True):
            x, cache = one_layer(x, (weights, prompt, (old_k, old_v), None))
            caches.append(cache)
        k, v = zip(*caches, strict=True)
    x = x if last is None else _take(x, last)
    x = RMSNorm(c.rms_norm_eps, dtype).apply({"params": params["language"]["norm"]}, x)
    return x, k, v


def _take(x: jax.Array, at: jax.Array) -> jax.Array:
    """x float[B, 1, T, ...] at token `at` int32[B] of each row: float[B, 1, 1, ...]."""
    return jnp.take_along_axis(x, at.reshape(-1, *[1] * (x.ndim - 1)), axis=2)


def _apart(stacked, count: int) -> tuple:
    """A tree of float[L, ...] as L trees of float[...]."""
    return tuple(jax.tree.map(lambda y, i=i: y[i], stacked) for i in range(count))


def layers_apart(model: Qwen2VL, params: dict, prefix: Prefix) -> tuple[dict, Prefix]:
    """The decoder's parameters, in the compute dtype, and the prompt's cache with one array a layer, for `extend`.

    For a loop over tokens: out of a stack, a layer's weights would be copied for every token (on a CPU a quarter of the
    decode time). It costs the memory of one copy of the decoder while the loop runs.
    """
    language, dtype = params["language"], model.compute_dtype
    layers = _apart(cast(language["layers"], dtype), model.config.num_layers)
    params = {**params, "language": {**language, "layers": layers}}
    return params, replace(prefix, k=tuple(prefix.k), v=tuple(prefix.v))


def prefill(model: Qwen2VL, params: dict, prompts: Prompts) -> tuple[jax.Array, Prefix]:
    """Hidden states float[B, P, D] of all tokens of the prompts (after the final norm), and their keys and values."""
    last = _last(prompts)
    x, k, v = _read(model, params, prompts)
    return x[:, 0], _prefix(prompts, k, v, _take(x, last))


def prefix_of(model: Qwen2VL, params: dict, prompts: Prompts) -> Prefix:
    """The same keys and values, where of hidden states nothing but each prompt's last one is wanted: what sampling and
    scoring begin with."""
    x, k, v = _read(model, params, prompts, _last(prompts))
    return _prefix(prompts, k, v, x)


def _last(prompts: Prompts) -> jax.Array:
    return jnp.sum(prompts.token_mask, axis=-1) - 1


def _read(model, params, prompts, last=None):
    x = embed_prompts(model, params, prompts)[:, None]
    return _decode(model, params, x, prompts.positions[:, :, None], prompts.token_mask[:, None], last=last)


def _prefix(prompts, k, v, last) -> Prefix:
    k, v = (constrain(y[:, :, 0], None, "batch", "kv_heads", None, None) for y in (k, v))
    return Prefix(k, v, prompts.token_mask, prompts.next_position, last[:, 0, 0])


def empty_suffix(model: Qwen2VL, batch: int, group: int, length: int) -> Suffix:
    """A cache for completions of `length` tokens, nothing in it yet, in the compute dtype."""
    c = model.config
    shape = (batch, group, c.num_kv_heads, length, c.head_dim)
    zeros = constrain(jnp.zeros(shape, model.compute_dtype), "batch", None, "kv_heads", None, None)
    layers = (zeros,) * c.num_layers
    return Suffix(layers, layers, jnp.zeros((batch, group, length), bool))


def extend(
    model: Qwen2VL,
    params: dict,
    tokens: jax.Array,
    positions: jax.Array,
    token_mask: jax.Array,
    prefix: Prefix,
    suffix: Suffix | None = None,
    write_index: jax.Array | int = 0,
) -> tuple[jax.Array, Suffix]:
    """Runs T further tokens of every member: tokens int32[B, G, T], positions int32[B, 3, G, T], token_mask bool.

    They see their prompt, the valid part of the suffix cache, and each other causally. write_index is one int32 for
    all rows: rows of unequal length leave masked gaps, as positions are given explicitly. Without a suffix the tokens
    are the whole completion and nothing is cached in advance (the differentiable form).
    Returns hidden float[B, G, T, D] after the final norm, and the suffix with these tokens in it.
    """
    x = params["language"]["embed"]["embedding"][tokens].astype(model.compute_dtype)
    known = token_mask
    if suffix is not None:
        known = jax.lax.dynamic_update_slice(suffix.mask, token_mask, (0, 0, write_index))
    x, k, v = _decode(model, params, x, positions, known, prefix, suffix, write_index)
    return x, Suffix(k, v, known)
