"""Whether a device finds what float32 on the host's CPU finds, and whether cuDNN's attention finds what XLA's does."""

from collections.abc import Callable
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from common.checkpoint import ASSETS
from common.problem import Question, encode
from rrft_jax.losses import Targets, grpo_loss
from rrft_jax.losses.trl import trl
from rrft_jax.models.attention import attend_members, attend_whole, choose
from rrft_jax.models.dense_attention import attend_in_parts
from rrft_jax.models.paths import leaf_paths
from rrft_jax.models.prompts import Prompts
from rrft_jax.models.protocol import Model, Sizes
from rrft_jax.models.registry import make_model, read_config
from rrft_jax.processing.processor import load_processor
from rrft_jax.training.step import Batch, make_forward, make_gradient

# Largest difference of a log-probability; norm of a gradient's difference over the gradient's norm, of the worst
# parameter. bfloat16 is allowed three to four times what it shows on a CPU, where only rounding can differ; float32 so
# little that products of 10 bits (TF32), an eighth of bfloat16's differences, would not pass.
TOLERANCE = {
    "float32": {"log_probs": 2e-4, "gradient": 1e-3},
    "bfloat16": {"log_probs": 0.03, "gradient": 0.1},
}
# Of two attentions in bfloat16: largest difference over the largest entry, of the output and of each gradient. Three
# times what jax's dense attention shows in the kernel's place, on a CPU.
KERNEL_TOLERANCE = {"values": 0.03, "gradients": 0.03}

# Width and height: a CLEVR scene, and the most the paper's 480,000 pixels allow (2,436 patches).
PICTURES, TINY_PICTURES = ((480, 320), (800, 600)), ((84, 56), (56, 56))


def against_host(attention: str, tiny: bool) -> dict:
    """nano's sizes with random weights, on pictures as the processor makes them: log-probabilities of a scored batch
    and the gradient of its GRPO loss, on the device in both dtypes. attention: as config.model.attention, for bfloat16.
    """
    host, device = jax.local_devices(backend="cpu")[0], jax.local_devices()[0]
    config = read_config(ASSETS)
    batch = scored_batch(config, tiny)
    model = make_model(config, remat="full")
    params = jax.jit(model.init_params)(jax.device_put(jax.random.key(0), host))
    expected = solve(model, params, batch, host)
    found = {}
    for dtype, limits in TOLERANCE.items():
        backend = choose(attention, device.platform, dtype) if dtype == "bfloat16" else "xla"
        model = make_model(config, dtype, "full", backend)
        found[dtype] = {"attention": backend, **difference(solve(model, params, batch, device), expected, limits)}
    return {**found, "within": all(one["within"] for one in found.values())}


def scored_batch(config: Sizes, tiny: bool) -> Batch:
    """A prompt for each picture, with completions of several lengths; numpy arrays."""
    prompts = picture_prompts(TINY_PICTURES if tiny else PICTURES)
    B, (G, C) = len(prompts.tokens), (2, 8) if tiny else (4, 128)
    rng = np.random.default_rng(1)
    tokens = rng.integers(0, 900, (B, G, C)).astype(np.int32)  # nano's special tokens are the last ones
    mask = np.arange(C) < rng.integers(C // 2, C + 1, (B, G, 1))
    advantages = rng.normal(size=(B, G)).astype(np.float32)
    # On policy, so that nothing is clipped: rounding at a clip's edge would switch a token's gradient on or off.
    ref = (0.1 * rng.normal(size=(B, G, C)) - np.log(config.vocab_size)).astype(np.float32)
    return Batch(prompts, tokens, mask, Targets(mask, np.ones((B, G), np.float32), advantages, None, ref))


def picture_prompts(sizes: tuple[tuple[int, int], ...]) -> Prompts:
    """One picture of noise a prompt, (width, height) each, through the real processor; padded to the largest."""
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 255, (height, width, 3), np.uint8)) for width, height in sizes]
    processor = load_processor(ASSETS, max_pixels=480_000)
    return encode(processor, [Question("How many cubes are there?" * (k + 1), (x,)) for k, x in enumerate(noise)])


@lru_cache
def program(model: Model) -> Callable:
    config = trl("grpo", beta=0.04)

    def loss(scores, targets):
        return grpo_loss(scores, targets, config=config)[0], scores.log_probs  # where the step has its metrics

    return jax.jit(make_gradient(make_forward(model, None), loss))


def solve(model: Model, params: dict, batch: Batch, device: jax.Device) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Log-probabilities, 0 at padding, and gradients by path, computed on `device`."""
    params, on_device = jax.device_put((params, batch), device)
    _, log_probs, gradient = jax.device_get(program(model)(params, {}, on_device))
    return np.where(batch.token_mask, log_probs, 0), leaf_paths(gradient)


def difference(found, expected, limits: dict[str, float]) -> dict:
    """The largest differences of two results of `solve`, and whether they are within `limits`; NaN never is."""
    norm = lambda x: float(np.linalg.norm(x.astype(np.float64)))  # noqa: E731
    (log_probs, gradient), (expected_log_probs, expected_gradient) = found, expected
    paths = list(gradient)
    relative = [norm(gradient[p] - expected_gradient[p]) / norm(expected_gradient[p]) for p in paths]
    worst = int(np.argmax(relative))  # of several, a NaN
    out = {"log_probs": float(np.abs(log_probs - expected_log_probs).max()), "gradient": relative[worst]}
    within = all(out[name] <= limit for name, limit in limits.items())
    return {**out, "gradient_of": paths[worst], "tolerance": limits, "within": within}


def cudnn_against_xla(tiny: bool) -> dict:
    """Attention alone in bfloat16, with the heads and lengths of Qwen2-VL-2B; {"skipped": why} but on NVIDIA."""
    device = jax.local_devices()[0]
    if device.platform != "gpu" or "cuda" not in device.client.platform_version.lower():
        return {"skipped": f"cuDNN runs on NVIDIA GPUs, this is {device.device_kind}"}
    return kernel_against_xla("cudnn", tiny)


def kernel_against_xla(backend: str, tiny: bool) -> dict:
    """Output and gradients by a kernel against those by xla: the tower, prompts, and completions behind them."""
    n, P, (G, T) = (20, 24, (2, 11)) if tiny else (2436, 1000, (4, 511))
    found = {}
    for name, problem in {
        "tower": tower_problem(n), "prompt": members_problem(1, P), "completions": members_problem(G, T, P),
    }.items():  # fmt: skip
        a, b = (attention_and_gradients(name, *problem) for name in (backend, "xla"))
        relative = [np.abs(x - y).max() / np.abs(y).max() for x, y in zip(a, b, strict=True)]
        found[name] = {"values": float(relative[0]), "gradients": float(np.max(relative[1:]))}
    within = all(one[key] <= limit for one in found.values() for key, limit in KERNEL_TOLERANCE.items())
    return {**found, "tolerance": KERNEL_TOLERANCE, "within": within}


def attention_and_gradients(backend, attend, valid, arrays) -> list[np.ndarray]:
    """The output at real queries, and gradients with respect to every array, all float32."""
    real = valid.reshape(*valid.shape, 1, 1)
    weights = jnp.where(real, jax.random.normal(jax.random.key(1), arrays[0].shape), 0)

    def total(arrays, weights):
        out = attend(backend, *arrays)
        return jnp.sum(out * weights), jnp.where(real, out, 0)

    (_, out), gradients = jax.jit(jax.value_and_grad(total, has_aux=True))(arrays, weights)
    return [np.asarray(x, np.float32) for x in (out, *gradients)]


def _arrays(*shapes) -> list[jax.Array]:
    keys = jax.random.split(jax.random.key(0), len(shapes))
    return [jax.random.normal(key, shape, jnp.bfloat16) for key, shape in zip(keys, shapes, strict=True)]


def _valid(*shape) -> jax.Array:
    """Right-padded rows, the first one whole, then shorter ones."""
    rows = np.arange(np.prod(shape[:-1])).reshape(*shape[:-1], 1)
    return jnp.asarray(np.arange(shape[-1]) < shape[-1] // (1 + rows % 3))


def tower_problem(n: int, S: int = 2, H: int = 16, A: int = 80):
    """Two pictures, the second half as large."""
    valid = _valid(S, n)

    def attend(backend, q, k, v):
        if backend == "xla":
            return attend_in_parts(q[:, None], k[:, None], v[:, None], valid[:, None, None])[:, 0]
        return attend_whole(backend, q, k, v, valid)

    return attend, valid, _arrays((S, n, H, A), (S, H, n, A), (S, H, n, A))


def members_problem(G: int, T: int, P: int = 0, B: int = 2, H: int = 12, K: int = 2, A: int = 128):
    """T tokens of each of G members, behind a prompt of P tokens if P is not 0."""
    valid, prompt = _valid(B, G, T), _valid(B, P)
    mask = jnp.tril(jnp.ones((T, T), bool)) & valid[:, :, None]
    shared = [(B, K, P, A)] * 2 if P else []

    def attend(backend, q, k, v, *prefix):
        prefix = (*prefix, prompt) if prefix else None
        if backend == "xla":
            return attend_in_parts(q, k, v, mask, prefix)
        return attend_members(backend, q, k, v, valid, prefix)

    return attend, valid, _arrays((B, G, T, H, A), (B, G, K, T, A), (B, G, K, T, A), *shared)
