"""Every kernel attends as `dense_attention.attend` does, values and gradients: padding, ragged groups, grouped queries.

splash is interpreted here, the same kernel that a TPU compiles. cuDNN needs a GPU; elsewhere only what it is handed is
checked, with jax's own dense attention in its place.
"""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rrft_jax.models import attention
from rrft_jax.models.attention import attend_members, attend_whole, choose
from rrft_jax.models.dense_attention import attend
from rrft_jax.models.group_mask import GroupMask
from rrft_jax.models.qwen2_vl.model import Qwen2VL
from rrft_jax.models.score import score
from tests.devices import run_on_devices
from tests.helpers.rounding import assert_same_but_rounding, rounding
from tests.models.build import TINY, quick_jit, random_completions, random_prompts, select_prompts, tiny_params

on_gpu = pytest.mark.skipif(jax.default_backend() != "gpu", reason="cuDNN's attention has no form for other devices")


@pytest.mark.parametrize(
    ("name", "platform", "dtype", "backend"),
    [
        ("auto", "tpu", "bfloat16", "splash"),
        ("auto", "tpu", "float32", "xla"),
        ("auto", "cpu", "bfloat16", "xla"),
        ("auto", "gpu", "bfloat16", "xla"),
        ("xla", "tpu", "bfloat16", "xla"),
        ("splash", "tpu", "float32", "splash"),
        ("cudnn", "gpu", "bfloat16", "cudnn"),
    ],
)
def test_what_a_choice_means(name, platform, dtype, backend):
    assert choose(name, platform, dtype) == backend


@pytest.mark.parametrize(
    ("name", "platform", "dtype", "message"),
    [
        ("flash", "tpu", "bfloat16", "'flash': choose one of auto, xla, splash, cudnn"),
        ("splash_interpreted", "cpu", "float32", "choose one of auto, xla, splash, cudnn"),
        ("splash", "cpu", "bfloat16", "splash does not run on cpu: choose auto or xla"),
        ("splash", "gpu", "bfloat16", "splash does not run on gpu: choose auto or xla"),
        ("cudnn", "tpu", "bfloat16", "cudnn does not run on tpu: choose auto or xla"),
        ("cudnn", "gpu", "float32", "cudnn has no float32 products: give config.model.dtype=bfloat16"),
    ],
)
def test_a_choice_that_cannot_run_is_one_line(name, platform, dtype, message):
    with pytest.raises(ValueError, match=message) as found:
        choose(name, platform, dtype)
    assert str(found.value).startswith("config.model.attention=") and "\n" not in str(found.value)


def test_who_sees_whom():
    """Prompt of 2, two members of 3."""
    expected = """
        11 100 000
        11 110 000
        11 111 000
        11 000 100
        11 000 110
        11 000 111"""
    rows = [[c == "1" for c in row.replace(" ", "")] for row in expected.split("\n")[1:]]
    mask = GroupMask(2, 2, 3)
    assert mask.shape == (6, 8)
    np.testing.assert_array_equal(mask[:, :], rows)
    np.testing.assert_array_equal(mask[1:5, 2:7], np.array(rows)[1:5, 2:7])
    np.testing.assert_array_equal(GroupMask(0, 1, 4)[:, :], np.tril(np.ones((4, 4), bool)))
    assert GroupMask(0, 1, 4, causal=False)[:, :].all()


def ragged(rng, shape):
    """bool[..., T], right-padded rows of every length, one whole, one empty where there are several."""
    lengths = rng.integers(0, shape[-1] + 1, shape[:-1])
    lengths.flat[0] = shape[-1]
    lengths.flat[-1] = 0 if lengths.size > 1 else shape[-1]
    return np.arange(shape[-1]) < lengths[..., None]


def problem(T, P=0, B=2, G=1, H=4, K=2, A=8, gaps=False, dtype="float32"):
    """q, k, v and the prompt's k, v; which tokens of members and of prompts are real; weights of the output."""
    rng = np.random.default_rng(T)
    normal = lambda *shape: jnp.asarray(rng.normal(size=shape), dtype)  # noqa: E731
    arrays = [normal(B, G, T, H, A), normal(B, G, K, T, A), normal(B, G, K, T, A)]
    valid = rng.random((B, G, T)) < 0.7 if gaps else ragged(rng, (B, G, T))
    prompt = None
    if P:
        arrays += [normal(B, K, P, A), normal(B, K, P, A)]
        prompt = rng.random((B, P)) < 0.7 if gaps else ragged(rng, (B, P))
    weights = np.where(valid[..., None, None], rng.normal(size=(B, G, T, H, A)), 0)
    return arrays, jnp.asarray(valid), prompt if prompt is None else jnp.asarray(prompt), weights.astype(np.float32)


def solver(attend_as, arrays, valid, prompt, weights):
    """f(*arrays) -> the output at real tokens, and the gradient of its weighted sum with respect to every array."""

    def total(*arrays):
        q, k, v, *shared = arrays
        out = attend_as(q, k, v, valid, (*shared, prompt) if shared else None)
        return jnp.sum(out * weights), jnp.where(valid[..., None, None], out, 0)

    def f(*arrays):
        (_, out), grads = jax.value_and_grad(total, range(len(arrays)), has_aux=True)(*arrays)
        return out, *grads

    return quick_jit(f)


def by_xla(q, k, v, valid, prefix):
    return attend(q, k, v, jnp.tril(jnp.ones((q.shape[2],) * 2, bool)) & valid[:, :, None, :], prefix)


def assert_same_as_xla(attend_as, arrays, *given):
    """Values and gradients in float32 are those of `by_xla` but for rounding."""
    expected = solver(by_xla, arrays, *given)
    found = solver(attend_as, arrays, *given)(*arrays)
    assert all(x.dtype == jnp.float32 for x in found)
    assert_same_but_rounding(found, expected(*arrays), rounding(expected, *arrays))


CASES = {
    "prefill": dict(T=40),
    "extend": dict(T=11, P=40, G=3),
    # Several blocks of queries and of keys, whole ones left out: between members, and above the diagonal.
    "long extend": dict(T=140, P=150, B=1, G=2),
    "long prefill": dict(T=300, B=1),
    "gaps": dict(T=11, P=20, G=2, gaps=True),
    "one head each": dict(T=9, P=5, G=2, H=2, K=2),
    "width of the real models": dict(T=7, P=5, G=2, A=128),
}


def some_slow(cases, fast):
    return [case if case in fast else pytest.param(case, marks=pytest.mark.slow) for case in cases]


@pytest.mark.parametrize("case", some_slow(CASES, ("prefill", "extend", "long extend")))
def test_splash_has_the_values_and_gradients_of_xla(case):
    assert_same_as_xla(functools.partial(attend_members, "splash_interpreted"), *problem(**CASES[case]))


@pytest.mark.parametrize("n", some_slow([20, 130], [20]))
def test_splash_in_the_tower(n):
    rng = np.random.default_rng(n)
    q, k, v = (jnp.asarray(rng.normal(size=(3, n, 2, 80) if i == 0 else (3, 2, n, 80)), "float32") for i in range(3))
    valid = jnp.asarray(ragged(rng, (3, n)))
    weights = jnp.where(valid[..., None, None], rng.normal(size=q.shape), 0)

    def run(attend_as):
        total = lambda *x: jnp.sum(attend_as(*x) * weights)  # noqa: E731
        return quick_jit(jax.value_and_grad(total, (0, 1, 2)))

    dense = lambda q, k, v: attend(q[:, None], k[:, None], v[:, None], valid[:, None, None])[:, 0]  # noqa: E731
    found, expected = run(lambda *x: attend_whole("splash_interpreted", *x, valid)), run(dense)
    assert_same_but_rounding(found(q, k, v), expected(q, k, v), rounding(expected, q, k, v))


@pytest.mark.slow
@pytest.mark.parametrize("remat", ["none", "full"])
def test_the_model_scores_and_learns_alike(remat):
    """Log-probabilities, entropies and the gradients of every parameter, tower included, from padded prompts."""
    prompts, G, C = select_prompts(random_prompts(), [0, 2]), 3, 5
    tokens, mask = random_completions(1, len(prompts.tokens), G, C)
    weights = np.random.default_rng(2).normal(size=tokens.shape).astype(np.float32)

    def run(name):
        def objective(params):
            model = Qwen2VL(TINY, remat=remat, attention=name)
            scores = score(model, params, prompts, tokens, mask, None, chunk=4)
            log_probs, entropy = (jnp.where(mask, x, 0.0) for x in scores)
            return jnp.sum(weights * (log_probs + 0.1 * entropy)), (log_probs, entropy)

        return quick_jit(jax.value_and_grad(objective, has_aux=True))

    found, expected, params = run("splash_interpreted"), run("xla"), tiny_params()
    assert_same_but_rounding(found(params), expected(params), rounding(expected, params))


def test_one_call_a_layer_and_none_in_the_decode_loop():
    model, B, G, C = Qwen2VL(TINY, attention="splash_interpreted"), 4, 3, 5
    prompts, params = random_prompts(), tiny_params()
    tokens = jnp.zeros((B, G, C), jnp.int32)
    calls = lambda f, *args: len(re.findall(r"\bpallas_call\b", str(jax.make_jaxpr(f)(*args))))  # noqa: E731
    assert calls(lambda p: model.prefix_of(p, prompts), params) == 2  # the scanned tower's and the scanned decoder's
    prefix = jax.eval_shape(lambda p: model.prefix_of(p, prompts), params)

    def whole(params, prefix):
        return model.extend(params, tokens, jnp.zeros((B, 3, G, C), int), tokens == 0, prefix)[0]

    def one(params, prefix):
        positions = jnp.zeros((B, 3, G, 1), int)
        suffix = model.empty_suffix(B, G, C)
        return model.extend(params, tokens[..., :1], positions, tokens[..., :1] == 0, prefix, suffix)[0]

    assert calls(whole, params, prefix) == 1
    assert calls(one, params, prefix) == 0


SHARDED = """
import jax
from functools import partial
from rrft_jax.models.attention import attend_members
from rrft_jax.parallel.mesh import make_mesh
from tests.helpers.rounding import assert_same_but_rounding, rounding
from tests.models.test_attention import by_xla, problem, solver
splash = partial(attend_members, "splash_interpreted")
# Rows over data and fsdp, heads over tensor; three rows divide over nothing, and are computed everywhere.
for B in (4, 3):
    arrays, *rest = problem(T=5, P=7, B=B, G=2)
    f = solver(by_xla, arrays, *rest)
    expected, slack = f(*arrays), rounding(f, *arrays)
    with jax.set_mesh(make_mesh(2, 2, 2)):
        whole = str(jax.make_jaxpr(splash)(*arrays[:3], rest[0], (*arrays[3:], rest[1])))
        assert "shard_map" in whole
        assert_same_but_rounding(solver(splash, arrays, *rest)(*arrays), expected, slack)
"""


@pytest.mark.slow
def test_splash_on_eight_devices():
    run_on_devices(SHARDED)


@pytest.mark.parametrize("case", some_slow(["prefill", "extend", "gaps"], ["extend"]))
def test_what_cudnn_is_handed(case, monkeypatch):
    dense = jax.nn.dot_product_attention

    def stand_in(*args, implementation, **kwargs):
        assert implementation == "cudnn"
        return dense(*args, **kwargs, implementation="xla")

    monkeypatch.setattr(attention.jax.nn, "dot_product_attention", stand_in)
    assert_same_as_xla(functools.partial(attend_members, "cudnn"), *problem(**CASES[case]))


@on_gpu
@pytest.mark.parametrize("case", CASES)
def test_cudnn_has_the_values_and_gradients_of_xla(case):
    arrays, *given = problem(**CASES[case], dtype="bfloat16")
    ours, theirs = (
        solver(attend_as, arrays, *given)(*arrays) for attend_as in (functools.partial(attend_members, "cudnn"), by_xla)
    )
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(np.asarray(a, np.float32), np.asarray(b, np.float32), rtol=0, atol=0.05)
