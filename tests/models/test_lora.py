"""Adapters beside the kernels: a merged kernel's values and gradients; which layers get one; shardings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh
from jax.sharding import PartitionSpec as P

from rrft_jax.models.cache import Prefix
from rrft_jax.models.lora import LoRA, delta, init_adapter, is_adapter, is_trained, target_modules
from rrft_jax.models.paths import from_paths, leaf_paths
from rrft_jax.models.qwen2_vl.model import Qwen2VL
from rrft_jax.models.sharding import PARAM_AXES, gathered, param_spec
from rrft_jax.models.weights import abstract_params
from rrft_jax.training.parameters import combine
from rrft_jax.training.step import make_forward, make_gradient
from tests.helpers.rounding import assert_same_but_rounding, rounding
from tests.models.build import TINY, quick_jit
from tests.rollout.reference import ALLOWED, MODEL, random_params
from tests.training.problems import both_losses, example_batch, whole_gradient

SHAPES = leaf_paths(abstract_params(TINY))
BOTH = LoRA(3, 6.0, parts=("language", "vision"))
LANGUAGE = ["q", "k", "v", "o", "gate", "up", "down"]


def random_adapter(lora=BOTH, seed=5):
    """An adapter whose update is not zero, of a size that matters, leaves by path."""
    rng = np.random.default_rng(seed)
    leaves = init_adapter(SHAPES, lora, seed)
    for path in leaves:
        if is_trained(path):
            leaves[path] = rng.normal(0, 0.15, leaves[path].shape).astype(np.float32)
    return leaves


def merged(params, leaves):
    out = dict(leaf_paths(params))
    for path in leaves:
        if path.endswith("/lora_a"):
            module = path.removesuffix("/lora_a")
            kernel = out[f"{module}/kernel"]
            # Written out per layer, unlike the einsum-free broadcast of `delta`.
            a, b, scale = leaves[path], leaves[f"{module}/lora_b"], leaves[f"{module}/lora_scale"]
            if kernel.ndim == 3:
                out[f"{module}/kernel"] = np.stack([k + s * x @ y for k, x, y, s in zip(kernel, a, b, scale)])  # noqa: B905
            else:
                out[f"{module}/kernel"] = kernel + scale * a @ b
    return from_paths(out)


def split(leaves):
    trained = {path: x for path, x in leaves.items() if is_trained(path)}
    return from_paths(trained), {path: x for path, x in leaves.items() if not is_trained(path)}


def gradient(micro_batches=1, group_chunks=1):
    forward = make_forward(MODEL, jax.numpy.asarray(ALLOWED), chunk=2, group_chunks=group_chunks)
    return quick_jit(make_gradient(forward, both_losses, micro_batches))


@pytest.fixture(scope="module")
def through_merged():
    """(loss, metrics, gradient) of all parameters of the merged model."""
    return gradient()(merged(random_params(), random_adapter()), {}, example_batch())


@pytest.fixture(scope="module")
def slack():
    """By how much rounding may move loss, metrics and gradient of the adapter."""
    trainable, constants = split(random_adapter())
    return rounding(gradient(), trainable, combine(random_params(), from_paths(constants)), example_batch())


@pytest.mark.parametrize("parts", [(1, 1), (2, 1), (1, 2)], ids=["whole", "micro_batches", "group_chunks"])
def test_an_adapter_is_a_merged_kernel(through_merged, slack, parts):
    leaves = random_adapter()
    trainable, constants = split(leaves)
    frozen = combine(random_params(), from_paths(constants))
    found = gradient(*parts)(trainable, frozen, example_batch())
    assert abs(found[0] - whole_gradient()[0][0]) > 1e-2, "the adapter does nothing"
    # The chain rule, by hand: W = W0 + s A B, so dA = s dW B' and dB = s A' dW.
    kernels, expected = leaf_paths(through_merged[2]), {}
    for path, x in leaf_paths(trainable).items():
        module, half = path.rsplit("/", 1)
        grad, scale = np.asarray(kernels[f"{module}/kernel"]), leaves[f"{module}/lora_scale"][..., None, None]
        other = leaves[f"{module}/{'lora_b' if half == 'lora_a' else 'lora_a'}"].swapaxes(-1, -2)
        expected[path] = scale * (grad @ other if half == "lora_a" else other @ grad)
        assert expected[path].shape == x.shape
    assert_same_but_rounding(found, (*through_merged[:2], from_paths(expected)), slack)


def test_a_new_adapter_leaves_the_base_as_it_is():
    leaves = init_adapter(SHAPES, BOTH, seed=0)
    trainable, constants = split(leaves)
    loss, _, _ = gradient()(trainable, combine(random_params(), from_paths(constants)), example_batch())
    whole, slack = whole_gradient()
    assert_same_but_rounding(loss, whole[0], slack[0])
    for path, x in leaves.items():
        if path.endswith("lora_a"):
            bound = SHAPES[path.replace("lora_a", "kernel")].shape[-2] ** -0.5
            assert 0.8 * bound < np.abs(x).max() <= bound and abs(x.mean()) < 0.2 * bound
            assert x.ndim == 2 or (x[0] != x[1]).all()
    again, other = init_adapter(SHAPES, BOTH, seed=0), init_adapter(SHAPES, BOTH, seed=1)
    q = "language/layers/q/lora_a"
    assert (again[q] == leaves[q]).all() and (other[q] != leaves[q]).all()
    assert (leaves[q] != leaves["language/layers/k/lora_a"]).all()  # the same shape, another key


@pytest.mark.parametrize(
    ("lora", "modules"),
    [
        (LoRA(1, 1), [f"language/layers/{name}" for name in LANGUAGE]),
        (LoRA(1, 1, ("q", "v")), ["language/layers/q", "language/layers/v"]),
        (LoRA(1, 1, ("[qkvo]",)), [f"language/layers/{name}" for name in "qkvo"]),
        (LoRA(1, 1, ("fc1",), ("vision",)), ["vision/blocks/fc1", "vision/merger/fc1"]),
        (LoRA(1, 1, ("vision/merger/.*", "down"), ("vision", "language")),
         ["vision/merger/fc1", "vision/merger/fc2", "language/layers/down"]),
    ],
)  # fmt: skip
def test_which_layers(lora, modules):
    assert sorted(target_modules(SHAPES, lora)) == sorted(modules)


def test_the_patch_convolution_has_no_adapter():
    assert "vision/patch_embed/proj" not in target_modules(SHAPES, LoRA(1, 1, parts=("vision",)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(rank=0), "config.lora.rank=0 must be at least 1"),
        (dict(alpha=0.0), "config.lora.alpha=0.0 must be positive"),
        (dict(parts=("tower",)), r"config.lora.parts=\['tower'\]: choose from language, vision"),
        (dict(parts=()), "config.lora.parts"),
        (dict(targets=("(q",)), "config.lora.targets: '\\(q' is not a regular expression"),
        (dict(targets=("q_proj",)), "'q_proj' matches no layer of .*; there are .*q, "),
        (dict(targets=("qkv",)), "'qkv' matches no layer of config.lora.parts=\\['language'\\]"),
        (dict(targets=()), "config.lora.targets is empty"),
    ],
)
def test_settings_that_cannot_be_meant(fields, message):
    with pytest.raises(ValueError, match=message):
        target_modules(SHAPES, LoRA(**{"rank": 2, "alpha": 4.0, **fields}))


@pytest.mark.parametrize(
    ("path", "shape", "spec"),
    [
        ("language/layers/q/lora_a", (2, 32, 4), P(None, ("fsdp",), None)),
        ("language/layers/q/lora_b", (2, 4, 32), P(None, None, ("tensor",))),
        ("language/layers/down/lora_a", (2, 48, 4), P(None, ("tensor",), None)),
        ("opt_state/mu/language/layers/down/lora_b", (2, 4, 32), P(None, None, ("fsdp",))),
        ("vision/merger/fc1/lora_a", (64, 4), P(("fsdp",), None)),
        ("language/layers/q/lora_scale", (2,), P(None)),
        ("vision/merger/fc1/lora_scale", (), P()),
    ],
)
def test_adapters_are_split_like_the_sides_of_their_kernel(path, shape, spec):
    mesh = AbstractMesh((2, 2, 2), ("data", "fsdp", "tensor"))
    assert param_spec(path, shape, mesh, PARAM_AXES) == spec


def test_delta_of_a_part_is_the_part_of_the_delta():
    leaves = random_adapter()
    whole = delta(leaves, "language/layers/down", (slice(None),) * 3)
    part = delta(leaves, "language/layers/down", (slice(1, 2), slice(8, 24), slice(3, 17)))
    slack = rounding(lambda x: delta(x, "language/layers/down", (slice(None),) * 3), leaves)
    assert_same_but_rounding(part, whole[1:2, 8:24, 3:17], slack)
    assert is_adapter("language/layers/q/lora_scale") and not is_trained("language/layers/q/lora_scale")


def test_the_scale_is_exact_in_the_decode_loop():
    """1 / 3 has no bfloat16, and scoring and export take the exact value."""
    leaves = leaf_paths(random_params()) | random_adapter(LoRA(3, 1.0))
    prefix = Prefix(*[jnp.zeros(TINY.num_layers)] * 2, *[jnp.zeros(1)] * 3)
    apart, _ = Qwen2VL(TINY, "bfloat16").language.layers_apart(from_paths(leaves), prefix)
    q = gathered(apart["language"], jnp.bfloat16, PARAM_AXES)["layers"][1]["q"]
    assert q["kernel"].dtype == q["lora_a"].dtype == jnp.bfloat16 and q["lora_scale"] == np.float32(1 / 3)
