"""Everything a run holds on its devices, as shapes with shardings: no array is made and no weight is read."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from rrft_jax.data.index import Bucket
from rrft_jax.losses.terms import Targets
from rrft_jax.models.prompts import Prompts
from rrft_jax.models.qwen2_vl.config import Qwen2VLConfig
from rrft_jax.models.qwen2_vl.sharding import tree_shardings
from rrft_jax.models.qwen2_vl.weights import abstract_params
from rrft_jax.parallel.mesh import batch_sharding
from rrft_jax.processing.buckets import Buckets
from rrft_jax.training.forward import Batch
from rrft_jax.training.step import init_state
from rrft_jax.training.tree import combine, partition


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
    params: both, as the sampler gets them; reference: the reference policy's own copy, {} where there is none.
    """

    params: dict
    state: dict
    frozen: dict
    reference: dict
    prompts: Prompts
    batch: Batch
    key: jax.ShapeDtypeStruct


def stand_in_tokens(sizes: Qwen2VLConfig) -> Tokens:
    """From config.json alone: right in every shape, while the ids a vocabulary forbids are not known."""
    eos = 0 if sizes.eos_token_id is None else sizes.eos_token_id
    return Tokens(sizes.vocab_size, (eos,), eos if sizes.pad_token_id is None else sizes.pad_token_id)


def largest_bucket(config: ConfigDict) -> Bucket:
    """The bucket that memory is planned for: the longest prompts with the most patches, slots and padding included."""
    return max(Buckets(**config.buckets).shapes, key=lambda b: (b.prompt_tokens, b.images * b.patches))


def make_shapes(
    config: ConfigDict, sizes: Qwen2VLConfig, optimizer: optax.GradientTransformation, mesh: Mesh
) -> Shapes:
    """The arrays of a run of this config on this mesh; parameters are float32, as they are loaded."""
    params = abstract_params(sizes)
    trainable, frozen = partition(params, config.train.freeze)
    trainable, frozen = _on_parameters(trainable, mesh), _on_parameters(frozen, mesh)
    state = _on_parameters(jax.eval_shape(lambda p: init_state(p, optimizer), trainable), mesh)
    prompts, batch = _batch(config, sizes, mesh)
    key = jax.eval_shape(lambda: jax.random.key(0))
    key = jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=NamedSharding(mesh, PartitionSpec()))
    reference = combine(trainable, frozen) if config.algorithm == "grpo" else {}
    return Shapes(combine(trainable, frozen), state, frozen, reference, prompts, batch, key)


def _on_parameters(tree: Any, mesh: Mesh) -> Any:
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), tree, tree_shardings(tree, mesh)
    )


def _batch(config: ConfigDict, sizes: Qwen2VLConfig, mesh: Mesh) -> tuple[Prompts, Batch]:
    bucket = largest_bucket(config)
    B, C = config.train.prompts, config.rollout.max_completion_length
    G = config.rollout.group if config.algorithm == "grpo" else 1
    P, I, n = bucket.prompt_tokens, bucket.images, bucket.patches

    def rows(dtype, *shape, axis=0):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=batch_sharding(mesh, axis))

    prompts = Prompts(
        prompt_id=rows(jnp.int32, B),
        tokens=rows(jnp.int32, B, P),
        token_mask=rows(bool, B, P),
        positions=rows(jnp.int32, 3, B, P, axis=1),
        next_position=rows(jnp.int32, B),
        patches=rows(jnp.float32, B, I, n, sizes.vision.patch_dim),
        patch_mask=rows(bool, B, I, n),
        patch_position=rows(jnp.int32, B, I, n, 2),
    )
    targets = Targets(rows(bool, B, G, C), rows(jnp.float32, B, G))
    if config.algorithm == "grpo":
        targets = Targets(
            targets.loss_mask, targets.row_weight, rows(jnp.float32, B, G), None, rows(jnp.float32, B, G, C)
        )
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
