"""Everything a run holds on its devices, as shapes with shardings: no array is made and no weight is read."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from rrft_jax.data.index import Bucket
from rrft_jax.losses.terms import Targets
from rrft_jax.models.lora import adapter_shapes, is_adapter, is_trained
from rrft_jax.models.prompts import Prompts
from rrft_jax.models.qwen2_vl.config import Qwen2VLConfig
from rrft_jax.models.qwen2_vl.sharding import tree_shardings
from rrft_jax.models.qwen2_vl.weights import abstract_params, from_paths, leaf_paths
from rrft_jax.parallel.layout import Layout
from rrft_jax.parallel.mesh import batch_sharding
from rrft_jax.processing.buckets import Buckets
from rrft_jax.training.parameters import combine, lora_settings, trained_paths
from rrft_jax.training.programs import group_size, step_layout
from rrft_jax.training.step import Batch, init_state


@dataclass(frozen=True)
class Tokens:
    """The three facts about a tokenizer that the programs are built from, where there is no tokenizer to ask."""

    vocab_tokens: int
    eos_token_ids: tuple[int, ...]
    pad_token_id: int


@dataclass(frozen=True)
class Shapes:
    """Trees of jax.ShapeDtypeStruct that carry the shardings of a run, for its largest bucket.

    state: what the train step consumes (trainable parameters, optimizer, counters); frozen: the parameters beside it;
    params: both, as the sampler gets them; reference: the policy at the start, None where the loss does not look at it;
    copied: the leaves of it that are not those of `frozen`, which it shares. layout: of the batch's rows.
    """

    params: dict
    state: dict
    frozen: dict
    reference: dict | None
    copied: dict
    prompts: Prompts
    batch: Batch
    key: jax.ShapeDtypeStruct
    first_member: jax.ShapeDtypeStruct
    layout: Layout

    @property
    def resident(self) -> int:
        """Bytes on one device that a run keeps all the time."""
        return device_bytes((self.state, self.frozen, self.copied))


def stand_in_tokens(sizes: Qwen2VLConfig) -> Tokens:
    """From config.json alone: right in every shape, while the ids a vocabulary forbids are not known."""
    eos = sizes.eos_token_ids or (0,)
    return Tokens(sizes.vocab_size, eos, eos[0] if sizes.pad_token_id is None else sizes.pad_token_id)


def largest_bucket(config: ConfigDict) -> Bucket:
    """The bucket that memory is planned for: the longest prompts with the most patches, slots and padding included."""
    return max(Buckets(**config.buckets).shapes, key=lambda b: (b.prompt_tokens, b.images * b.patches))


def make_shapes(
    config: ConfigDict, sizes: Qwen2VLConfig, optimizer: optax.GradientTransformation, mesh: Mesh
) -> Shapes:
    """The arrays of a run of this config on this mesh, as `start.load_weights` and the loop will make them."""
    trainable, frozen, copied = (_on_parameters(tree, mesh) for tree in _weights(config, sizes))
    state = _on_parameters(jax.eval_shape(lambda p: init_state(p, optimizer), trainable), mesh)
    reference = None
    if config.algorithm == "grpo" and config.loss.beta:
        base = {path: x for path, x in leaf_paths(frozen).items() if not is_adapter(path)}
        reference = from_paths(base | leaf_paths(copied))
    layout = step_layout(config, mesh)
    prompts, batch = _batch(config, sizes, mesh, layout)
    key = jax.eval_shape(lambda: jax.random.key(0))
    return Shapes(
        combine(trainable, frozen), state, frozen, reference, copied if reference else {}, prompts, batch,
        jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=NamedSharding(mesh, PartitionSpec())),
        jax.ShapeDtypeStruct((layout.rows,), jnp.int32, sharding=batch_sharding(mesh)), layout,
    )  # fmt: skip


def _weights(config: ConfigDict, sizes: Qwen2VLConfig) -> tuple[dict, dict, dict]:
    """Trainable, frozen, and the reference's copy of what is trained in the base."""
    base, dtype = leaf_paths(abstract_params(sizes)), jnp.dtype(config.model.frozen_dtype)
    trained = trained_paths(config, base)
    cast = lambda x: jax.ShapeDtypeStruct(x.shape, dtype)  # noqa: E731
    trainable = {path: x for path, x in base.items() if path in trained}
    frozen = {path: cast(x) for path, x in base.items() if path not in trained}
    copied = {path: cast(x) for path, x in trainable.items()}
    if config.lora.rank:
        adapter = adapter_shapes(base, lora_settings(config))
        trainable = {path: x for path, x in adapter.items() if is_trained(path)}
        frozen |= {path: x for path, x in adapter.items() if not is_trained(path)}
    return from_paths(trainable), from_paths(frozen), from_paths(copied)


def _on_parameters(tree: Any, mesh: Mesh) -> Any:
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), tree, tree_shardings(tree, mesh)
    )


def prompt_shapes(config: ConfigDict, sizes: Qwen2VLConfig, mesh: Mesh, B: int) -> Prompts:
    """B prompts of the largest bucket, with their shardings."""
    bucket = largest_bucket(config)
    P, I, n = bucket.prompt_tokens, bucket.images, bucket.patches
    rows = partial(_rows, mesh)
    return Prompts(
        prompt_id=rows(jnp.int32, B),
        tokens=rows(jnp.int32, B, P),
        token_mask=rows(bool, B, P),
        positions=rows(jnp.int32, 3, B, P, axis=1),
        next_position=rows(jnp.int32, B),
        patches=rows(jnp.float32, B, I, n, sizes.vision.patch_dim),
        patch_mask=rows(bool, B, I, n),
        patch_position=rows(jnp.int32, B, I, n, 2),
    )


def _rows(mesh: Mesh, dtype: Any, *shape: int, axis: int = 0) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype, sharding=batch_sharding(mesh, axis))


def _batch(config: ConfigDict, sizes: Qwen2VLConfig, mesh: Mesh, layout: Layout) -> tuple[Prompts, Batch]:
    B, C, G = layout.rows, config.rollout.max_completion_length, group_size(config) // layout.split
    rows = partial(_rows, mesh)
    prompts = prompt_shapes(config, sizes, mesh, B)
    targets = Targets(rows(bool, B, G, C), rows(jnp.float32, B, G))
    if config.algorithm == "grpo":
        scores = rows(jnp.float32, B, G, C)
        targets = replace(
            targets, advantages=rows(jnp.float32, B, G), ref_log_probs=scores if config.loss.beta else None,
            sampling_log_probs=scores, old_log_probs=scores if config.rollout.ahead else None,
        )  # fmt: skip
    return prompts, Batch(prompts, rows(jnp.int32, B, G, C), rows(bool, B, G, C), targets)


def device_bytes(tree: Any) -> int:
    """Bytes of a tree of shapes on the device that holds most of it, each array padded to whole shards."""

    def one(x) -> int:
        shape = x.sharding.shard_shape(x.shape) if getattr(x, "sharding", None) is not None else x.shape
        size = jnp.dtype(x.dtype).itemsize if not jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else 8
        total = size
        for length in shape:
            total *= length
        return total

    return sum(one(x) for x in jax.tree.leaves(tree))
