"""Kernels in 8 and 4 bits: codes by hand, products and gradients, what an export holds, no whole kernels in memory."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from rrft_jax.models import quantized
from rrft_jax.models.layers import Dense
from rrft_jax.models.lora import LoRA, init_adapter
from rrft_jax.models.paths import from_paths, leaf_paths
from rrft_jax.models.registry import make_model
from rrft_jax.models.score import score
from rrft_jax.models.weights import abstract_params, load_params, load_sharded, save_params
from rrft_jax.parallel.mesh import make_mesh
from rrft_jax.rollout.decoder import Decoder
from rrft_jax.rollout.sampler import sample
from rrft_jax.rollout.sampling import Sampling
from tests.models.build import TINY, quick_jit, random_completions, random_prompts, tiny_params

PAD = 50


def normal_float():
    """The 16 values of QLoRA (arXiv 2305.14314, appendix E): quantiles of a normal distribution, zero among them."""
    upper, lower = np.linspace(0.9677083, 0.5, 9)[:-1], np.linspace(0.9677083, 0.5, 8)[:-1]
    values = np.sort(np.concatenate([norm.ppf(upper), [0], -norm.ppf(lower)]))
    return values / values.max()


def by_hand(kernel, scheme):
    """(codes before they are rounded, kernel that codes stand for)."""
    if scheme == "int8":
        scale = np.abs(kernel).max(0) / 127.5  # the outermost code is as wide as the others
        return kernel / scale, lambda codes: codes * scale
    block = max(n for n in range(1, 65) if len(kernel) % n == 0)
    blocks = kernel.reshape(-1, block, kernel.shape[1])
    scale = np.abs(blocks).max(1, keepdims=True)
    codes = np.abs(blocks[..., None] / scale[..., None] - normal_float()).argmin(-1)
    values = lambda codes: (normal_float()[codes.reshape(blocks.shape)] * scale).reshape(kernel.shape)  # noqa: E731
    return codes.reshape(kernel.shape), values


@pytest.mark.parametrize("scheme", quantized.SCHEMES)
@pytest.mark.parametrize("rows", [128, 75])
def test_codes_are_those_by_hand(scheme, rows):
    kernel = np.random.default_rng(0).normal(size=(rows, 24)).astype(np.float32)
    codes, scale = quantized.quantize(kernel, scheme)
    expected, values = by_hand(kernel.astype(np.float64), scheme)
    assert np.abs(codes.astype(int) - expected).max() <= (0.5001 if scheme == "int8" else 0)
    np.testing.assert_allclose(quantized.dequantized(codes, scale), values(codes.astype(int)), rtol=0, atol=1e-6)
    like = quantized.shapes("a/kernel", kernel.shape, scheme)
    assert [(x.shape, x.dtype) for x in like.values()] == [(x.shape, x.dtype) for x in (codes, scale)]


@pytest.mark.parametrize("scheme", quantized.SCHEMES)
def test_a_layer_computes_with_the_kernel_that_the_codes_stand_for(scheme):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3, 5, 64)).astype(np.float32)
    params = {"bias": rng.normal(size=16).astype(np.float32), "lora_a": rng.normal(size=(64, 2)).astype(np.float32),
              "lora_b": rng.normal(size=(2, 16)).astype(np.float32), "lora_scale": np.float32(0.5)}  # fmt: skip
    codes, scale = quantized.quantize(rng.normal(size=(64, 16)).astype(np.float32), scheme)
    whole = {**params, "kernel": quantized.dequantized(codes, scale)}
    coded = {**params, "kernel": codes, "kernel_scale": scale}

    def f(x, trained, rest):
        return jnp.sum(jnp.sin(Dense(16).apply({"params": {**rest, **trained}}, x)))

    def run(params):
        trained = {name: params[name] for name in ("lora_a", "lora_b")}
        return quick_jit(jax.value_and_grad(f, (0, 1)))(x, trained, {k: params[k] for k in params.keys() - trained})

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-6, atol=2e-6), run(coded), run(whole))


@pytest.fixture(scope="module", params=quantized.SCHEMES)
def models(request, tmp_path_factory):
    """(directory, its parameters whole, those loaded in codes)."""
    directory = tmp_path_factory.mktemp("base")
    save_params(directory, TINY, tiny_params(), "float32")
    kept = {path: quantized.dtype_of(path, request.param) for path in leaf_paths(abstract_params(TINY))}
    mesh = make_mesh(devices=jax.devices()[:1])
    return directory, load_params(directory), load_sharded(directory, TINY, mesh, kept)


def test_what_is_kept_and_what_is_exported(models, tmp_path):
    """Kernels in codes, all else in bfloat16; an export holds the kernels that the codes stand for."""
    _, whole, coded = models
    leaves = leaf_paths(coded)
    kernels = {p for p in leaf_paths(whole) if p.endswith("/kernel")} - {"vision/patch_embed/proj/kernel"}
    assert {p for p, x in leaves.items() if jnp.issubdtype(x.dtype, jnp.integer)} == kernels
    others = {p: x for p, x in leaves.items() if p not in kernels and not quantized.is_scale(p)}
    assert {x.dtype.name for x in others.values()} == {"bfloat16"}
    save_params(tmp_path, TINY, coded, "float32")
    stored = leaf_paths(load_params(tmp_path))
    layer = "language/layers/down/kernel"
    expected = quantized.dequantized(leaves[layer][1], leaves[f"{layer}_scale"][1])
    np.testing.assert_array_equal(stored[layer][1], expected)
    assert 0 < np.abs(stored[layer] - leaf_paths(whole)[layer]).max() < 0.2 * np.abs(stored[layer]).max()


def test_sampler_and_trainer_read_the_same_kernels(models):
    """The log-probabilities of drawn tokens are those that scoring gives, with an adapter on top as well."""
    _, _, coded = models
    rng = np.random.default_rng(0)
    adapter = init_adapter(leaf_paths(abstract_params(TINY)), LoRA(2, 4.0, parts=("language", "vision")), 0)
    adapter = {p: x if p.endswith("scale") else 0.3 * rng.normal(size=x.shape).astype(np.float32)
               for p, x in adapter.items()}  # fmt: skip
    params = from_paths({**leaf_paths(coded), **adapter})
    model, prompts = make_model(TINY), random_prompts()
    decoder = Decoder(model, None, (52,), PAD, 6, Sampling(1.0), stop_at_eos=False)
    drawn = quick_jit(lambda p, x: sample(decoder, p, x, jax.random.key(0), 2))(params, prompts)
    again, _ = quick_jit(lambda p, x, t, m: score(model, p, x, t, m, None))(params, prompts, drawn.tokens, drawn.mask)
    np.testing.assert_allclose(drawn.log_probs, again, rtol=0, atol=2e-5)
    plain, _ = quick_jit(lambda p, x, t, m: score(model, p, x, t, m, None))(coded, prompts, drawn.tokens, drawn.mask)
    assert np.abs(plain - again).max() > 0.1, "the adapter does nothing"


@pytest.mark.parametrize("remat", ["none", "full"])
def test_the_backward_pass_keeps_no_whole_kernels(models, remat):
    _, _, coded = models
    model, prompts = make_model(TINY, remat=remat), random_prompts()
    tokens, mask = random_completions(0, len(prompts.tokens), 2, 4)
    adapter = from_paths(init_adapter(leaf_paths(abstract_params(TINY)), LoRA(2, 4.0), 0))
    scales = {p: x for p, x in leaf_paths(adapter).items() if p.endswith("scale")}
    trained = {p: x for p, x in leaf_paths(adapter).items() if p not in scales}

    def objective(trained, frozen):
        params = from_paths({**leaf_paths(frozen), **scales, **trained})
        return jnp.sum(score(model, params, prompts, tokens, mask, None)[0])

    text = quick_jit(jax.grad(objective)).lower(trained, coded).compile().as_text()
    D, M = TINY.hidden_size, TINY.intermediate_size
    assert not re.findall(rf"f32\[2,(?:{D},{M}|{M},{D})\]", text) and f"[2,{D},{M}]" in text


def scans(jaxpr):
    for equation in jaxpr.eqns:
        if equation.primitive.name == "scan":
            yield equation
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
            inner = getattr(inner, "jaxpr", inner)
            yield from scans(inner) if hasattr(inner, "eqns") else ()


def test_no_array_as_large_as_a_kernel_is_made_in_front_of_the_layers():
    """What does not depend on the layer is made once by JAX when it differentiates: constants as large as kernels,
    between which a code chose, were 16 for each kernel of a layer."""
    codes = jnp.zeros((3, 64, 48), jnp.uint4)
    scale = jnp.ones((3, 1, 48))

    def layer(x, weights):
        return Dense(48, use_bias=False).apply({"params": weights}, x) @ jnp.ones((48, 64)), None

    def objective(x):
        body = jax.checkpoint(layer, prevent_cse=False)
        return jnp.sum(jax.lax.scan(body, x, {"kernel": codes, "kernel_scale": scale})[0])

    found = list(scans(jax.make_jaxpr(jax.grad(objective))(jnp.ones((2, 64))).jaxpr))
    assert len(found) == 2
    for scan in found:
        shapes = [atom.aval.shape for atom in scan.invars[: scan.params["num_consts"]]]
        assert (64, 48) not in shapes, shapes


def test_a_kernel_of_the_backward_pass_waits_for_the_gradient_that_it_multiplies():
    """Next to the forward pass, computed again, a compiler would make it once for both and keep those of a layer."""
    weights = {"kernel": jnp.zeros((64, 48), jnp.uint4), "kernel_scale": jnp.ones((1, 48))}
    layer = lambda x: Dense(48, use_bias=False).apply({"params": weights}, x)  # noqa: E731
    jaxpr = jax.make_jaxpr(lambda x, dy: jax.vjp(layer, x)[1](dy))(jnp.ones((2, 64)), jnp.ones((2, 48)))
    barriers = [e for e in jaxpr.eqns if e.primitive.name == "optimization_barrier"]
    assert [sorted(v.aval.shape for v in barrier.invars) for barrier in barriers] == [[(1, 48), (2, 48), (64, 48)]]


def test_each_code_stands_for_its_value_exactly():
    codes, scale = jnp.arange(16).astype(jnp.uint4)[:, None], jnp.ones((1, 1))
    np.testing.assert_array_equal(quantized.dequantized(codes, scale)[:, 0], np.float32(quantized.NORMAL_FLOAT))
