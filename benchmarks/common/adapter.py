"""LoRA as a run with config.lora.rank sets it up: the split of the parameters, and the least FLOPs of its update."""

from functools import partial

import jax
import jax.numpy as jnp

from common.cost import Shapes, pairs, phases, tower
from rrft_jax.config.defaults import base_config
from rrft_jax.config.groups import read
from rrft_jax.models.lora import init_adapter, is_trained
from rrft_jax.models.paths import from_paths, leaf_paths
from rrft_jax.models.protocol import Sizes

RANK = 64  # of docs/tpu_compile.md's table


def with_adapter(params: dict, dtype) -> tuple[dict, dict, dict]:
    """(trainable, frozen, base): a new adapter on every layer of the decoder; its base, a copy in `dtype`, which is the
    reference as well, and with the adapter's constants what the step is given as frozen."""
    config = base_config()
    config.lora.rank = RANK
    adapter = init_adapter(leaf_paths(params), read(config, "lora").settings(), config.seed)
    base = jax.jit(partial(jax.tree.map, lambda x: x.astype(dtype)))(params)
    on_device = {path: jnp.asarray(leaf) for path, leaf in adapter.items()}
    trainable = {path: leaf for path, leaf in on_device.items() if is_trained(path)}
    constants = {path: leaf for path, leaf in on_device.items() if not is_trained(path)}
    return from_paths(trainable), from_paths(leaf_paths(base) | constants), base


def update_flops(c: Sizes, s: Shapes, trained: int) -> float:
    """As common/cost.py counts them. The frozen tower has no backward pass, the frozen decoder none of its kernels, but
    attention both of its products'; every token goes through all `trained` numbers of the adapter, three times, but for
    the prompt's in the last layer, of which few need more than those of k and v: none of it is counted."""
    forward, own, seen = phases(c, s)["reference"].flops, s.B * s.G * (s.C - 1), s.P + s.C / 2
    attention = 4 * c.num_heads * c.head_dim * (pairs(c, s) + c.num_layers * own * seen)
    prompt = s.B * s.P * (c.num_layers - 1) / c.num_layers
    return 2 * forward - tower(c, s) + attention + 6 * (prompt + own) * trained
