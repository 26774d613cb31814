"""Softmax attention by plain products, and its backward pass: what `attention.py` has kernels for, without one."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Bool, Float, Shaped

from rrft_jax.arrays import HostOrDevice
from rrft_jax.models.layers import matmul_precision

# Keys and values of the prompts, and which of their tokens are real.
PromptKeys = tuple[Float[HostOrDevice, "B K P A"], Float[HostOrDevice, "B K P A"], Bool[HostOrDevice, "B P"]]

_SMALLEST = jnp.finfo(jnp.float32).min
QUERIES = 256  # that attend at a time
ATTENDED = "attended"  # the name under which rematerialisation policies know what the backward pass keeps


def attend(
    q: Float[HostOrDevice, "B G T H A"],
    k: Float[HostOrDevice, "B G K S A"],
    v: Float[HostOrDevice, "B G K S A"],
    mask: Shaped[HostOrDevice, "*mask"],
    prefix: PromptKeys | None = None,
) -> Float[Array, "B G T H A"]:
    """Softmax attention of every group member over its own keys and, unrepeated, its prompt's.

    mask: broadcastable to [B, G, T, S]. prefix: one softmax over both sets of keys, as if concatenated, but the
    prompt's keys are never copied G times. H is a multiple of K (grouped queries).
    Scores and softmax are float32; a query that may see no key returns a finite value.
    """
    B, G, T, H, A = q.shape
    K = k.shape[2]
    precision = matmul_precision(q.dtype)

    def scores(spec: str, keys: HostOrDevice) -> jax.Array:
        return jnp.einsum(spec, q, keys, precision=precision, preferred_element_type=jnp.float32)

    def values(spec: str, weights: HostOrDevice, v: HostOrDevice) -> jax.Array:
        return jnp.einsum(spec, weights.astype(v.dtype), v, precision=precision, preferred_element_type=jnp.float32)

    q = (q * A**-0.5).reshape(B, G, T, K, H // K, A)
    own = jnp.where(mask[:, :, None, :, None, :], scores("bgtkra,bgksa->bgktrs", k), _SMALLEST)
    top = jnp.max(own, axis=-1, keepdims=True)
    if prefix is not None:
        prefix_k, prefix_v, prefix_mask = prefix
        # One product for the whole group, batch axes first: other orders make a CPU copy, and refuse bfloat16.
        shared = jnp.swapaxes(scores("bgtkra,bkpa->bkgtrp", prefix_k), 1, 2)
        shared = jnp.where(prefix_mask[:, None, None, None, None, :], shared, _SMALLEST)
        top = jnp.maximum(top, jnp.max(shared, axis=-1, keepdims=True))
    top = jax.lax.stop_gradient(top)
    own = jnp.exp(own - top)
    total = jnp.sum(own, axis=-1)
    out = values("bgktrs,bgksa->bgktra", own, v)
    if prefix is not None:
        shared = jnp.exp(shared - top)
        total = total + jnp.sum(shared, axis=-1)
        out = out + jnp.swapaxes(values("bgktrp,bkpa->bkgtra", shared, prefix_v), 1, 2)
    out = (out / total[..., None]).astype(q.dtype)
    return jnp.transpose(out, (0, 1, 3, 2, 4, 5)).reshape(B, G, T, H, A)


def attend_in_parts(
    q: Float[HostOrDevice, "B G T H A"],
    k: Float[HostOrDevice, "B G K S A"],
    v: Float[HostOrDevice, "B G K S A"],
    mask: Shaped[HostOrDevice, "*mask"],
    prefix: PromptKeys | None = None,
    most: int = QUERIES,
) -> Float[Array, "B G T H A"]:
    """`attend` for at most `most` queries at a time, with a backward pass of its own, as flash attention's is (Dao et
    al., arXiv:2205.14135, appendix B).

    Scores of a large picture or a long prompt are far larger than anything else: in parts they stay in a cache instead
    of going through memory. Kept for the backward pass are the result and, for each query, the largest score and the
    sum of the exponentials; scores are computed again, and no large array is the transposed operand of a product.
    A query that may see no key has no gradient. A single query per member is attended by `attend`.
    """
    B, G, T, H, A = q.shape
    if T == 1:
        return attend(q, k, v, mask, prefix)
    K = k.shape[2]
    mask = mask.reshape((1,) * (4 - mask.ndim) + mask.shape)
    x = jnp.transpose((q * A**-0.5).reshape(B, G, T, K, H // K, A), (0, 3, 1, 2, 4, 5))
    out = _attend(most, x, jnp.swapaxes(k, 1, 2), jnp.swapaxes(v, 1, 2), mask, prefix)
    return jnp.transpose(out, (0, 2, 3, 1, 4, 5)).reshape(B, G, T, H, A)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(
    most: int, q: HostOrDevice, k: HostOrDevice, v: HostOrDevice, mask: HostOrDevice, prefix: PromptKeys | None
) -> jax.Array:
    """q float[B, K, G, T, R, A], scaled, R = H / K; k, v float[B, K, G, S, A]; mask bool, broadcastable to
    [B, G, T, S]. Returns q's shape."""
    return _forward(most, q, k, v, mask, prefix)[0]


def _forward(
    most: int, q: HostOrDevice, k: HostOrDevice, v: HostOrDevice, mask: HostOrDevice, prefix: PromptKeys | None
) -> tuple[jax.Array, tuple]:
    def part(carry: Any, x: dict[str, jax.Array]) -> tuple[Any, Any]:
        own, shared = _scores(x["q"], k, x["mask"], prefix)
        top = jnp.max(own, axis=-1)
        if shared is not None:
            top = jnp.maximum(top, jnp.max(shared, axis=-1))
        own = jnp.exp(own - top[..., None])
        total = jnp.sum(own, axis=-1)
        out = _own("nk,ka->na", own.astype(v.dtype), v)
        if prefix is not None and shared is not None:
            shared = jnp.exp(shared - top[..., None])
            total = total + jnp.sum(shared, axis=-1)
            out = out + _shared("nk,ka->na", shared.astype(v.dtype), prefix[1])
        return carry, ((out / total[..., None]).astype(q.dtype), top, total)

    _, found = _each_part(most, part, (), {"q": q}, mask)
    out, top, total = (checkpoint_name(x, ATTENDED) for x in found)
    return out, (q, k, v, mask, prefix, out, top, total)


def _backward(most: int, kept: tuple, d_out: HostOrDevice) -> tuple:
    q, k, v, mask, prefix, out, top, total = kept
    d_out = d_out.astype(jnp.float32) / total[..., None]  # the exponentials below are not divided by it then
    d_out = jnp.where((top > _SMALLEST)[..., None], d_out, 0.0)
    inner = jnp.sum(d_out * out, axis=-1)  # what every score of a query gets of the sum's gradient

    def part(carry: Any, x: dict[str, jax.Array]) -> tuple[Any, Any]:
        own, shared = _scores(x["q"], k, x["mask"], prefix)
        d_part = x["d_out"].astype(v.dtype)

        def weights_and_gradient(scores: HostOrDevice, d_weights: HostOrDevice) -> tuple[jax.Array, jax.Array]:
            weights = jnp.exp(scores - x["top"][..., None])
            d_scores = weights * (d_weights - x["inner"][..., None])
            return weights.astype(v.dtype), d_scores.astype(q.dtype)

        weights, d_own = weights_and_gradient(own, _own("na,ka->nk", d_part, v))
        d_q = _own("nk,ka->na", d_own, k)
        # As [A, keys]: the smaller operand is the transposed one, for which a CPU has no fast product.
        found = [_own("na,nk->ak", x["q"], d_own), _own("na,nk->ak", d_part, weights)]
        if prefix is not None:
            weights, d_shared = weights_and_gradient(shared, _shared("na,ka->nk", d_part, prefix[1]))
            d_q = d_q + _shared("nk,ka->na", d_shared, prefix[0])
            found += [_shared("na,nk->ak", x["q"], d_shared), _shared("na,nk->ak", d_part, weights)]
        return jax.tree.map(jnp.add, carry, found), d_q.astype(q.dtype)

    keys = [k, v, *(prefix[:2] if prefix is not None else ())]
    turned = [jnp.zeros((*x.shape[:-2], x.shape[-1], x.shape[-2]), jnp.float32) for x in keys]
    queries = {"q": q, "d_out": d_out, "inner": inner, "top": top}
    turned, d_q = _each_part(most, part, turned, queries, mask)
    turned = jax.lax.optimization_barrier(turned)  # else the compiler turns the products instead
    d_keys = [jnp.swapaxes(d, -1, -2).astype(x.dtype) for d, x in zip(turned, keys, strict=True)]
    return d_q, *d_keys[:2], None, (*d_keys[2:], None) if prefix is not None else None


_attend.defvjp(_forward, _backward)


def _scores(
    q: Float[HostOrDevice, "B K G T R A"],
    k: Float[HostOrDevice, "B K G S A"],
    mask: Shaped[HostOrDevice, "#B #G #T #S"],
    prefix: PromptKeys | None,
) -> tuple[Float[Array, "B K G T R S"], Float[Array, "B K G T R P"] | None]:
    """Scores with a member's own keys, and with its prompt's; _SMALLEST where masked."""
    own = jnp.where(mask[:, None, :, :, None, :], _own("na,ka->nk", q, k), _SMALLEST)
    if prefix is None:
        return own, None
    return own, jnp.where(prefix[2][:, None, None, None, None, :], _shared("na,ka->nk", q, prefix[0]), _SMALLEST)


def _own(spec: str, a: HostOrDevice, b: HostOrDevice) -> jax.Array:
    """A product with a member's own keys. n stands for [T, R] of a[B, K, G, T, R, ..], and of b where it is there."""
    return _folded(spec, a, b, 3)


def _shared(spec: str, a: HostOrDevice, b: HostOrDevice) -> jax.Array:
    """A product with the prompt's keys, one for the whole group: n stands for [G, T, R] of a[B, K, G, T, R, ..]."""
    return _folded(spec, a, b, 2)


def _folded(spec: str, a: HostOrDevice, b: HostOrDevice, batch: int) -> jax.Array:
    """A product over the axes after the first `batch`, summed up in float32, queries as one axis: a product that
    contracts several is transposed by the compiler first."""
    rows = a.shape[batch:-1]
    a = a.reshape(*a.shape[:batch], -1, a.shape[-1])
    if spec.startswith("na,nk"):
        b = b.reshape(*b.shape[:batch], -1, b.shape[-1])
    y = jnp.einsum(
        "...{},...{}->...{}".format(*spec.replace("->", ",").split(",")), a, b, precision=matmul_precision(a.dtype),
        preferred_element_type=jnp.float32,
    )  # fmt: skip
    return y.reshape(*y.shape[:batch], *rows, y.shape[-1]) if spec.endswith(("nk", "na")) else y


def _each_part(most: int, body: Any, carry: Any, queries: dict[str, jax.Array], mask: HostOrDevice) -> tuple[Any, Any]:
    """Scans body(carry, arrays) over parts of at most `most` queries, axis 3 of `queries` and 2 of the mask.

    body: returns the carry and arrays whose axis 3 are the queries of the part; they come back joined.
    """
    T = queries["q"].shape[3]
    count = -(-T // most)
    if count == 1:
        return body(carry, {**queries, "mask": mask})
    each = -(-T // count)

    def parted(x: HostOrDevice, axis: int) -> jax.Array:
        x = jnp.pad(x, [(0, count * each - T if i == axis else 0) for i in range(x.ndim)])
        return jnp.moveaxis(x.reshape(*x.shape[:axis], count, each, *x.shape[axis + 1 :]), axis, 0)

    def joined(x: HostOrDevice) -> jax.Array:
        x = jnp.moveaxis(x, 0, 3)
        return x.reshape(*x.shape[:3], count * each, *x.shape[5:])[:, :, :, :T]

    same = mask.shape[2] == 1  # for all queries
    parts = {name: parted(x, 3) for name, x in queries.items()} | ({} if same else {"mask": parted(mask, 2)})
    carry, out = jax.lax.scan(lambda carry, x: body(carry, {"mask": mask, **x}), carry, parts)
    return carry, jax.tree.map(joined, out)
