"""Everything a run holds on its devices, as shapes with shardings: no array is made and no weight is read."""

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from rrft_jax.config.groups import read
from rrft_jax.data.index import Bucket
from rrft_jax.losses.terms import Targets
from rrft_jax.models import quantized
from rrft_jax.models.lora import adapter_shapes, is_adapter, is_trained
from rrft_jax.models.paths import from_paths, leaf_paths
from rrft_jax.models.prompts import Prompts
from rrft_jax.models.protocol import Sizes
from rrft_jax.models.registry import family_of
from rrft_jax.models.sharding import shardings_like, tree_shardings
from rrft_jax.models.weights import abstract_params
from rrft_jax.parallel.chips import StandIn
from rrft_jax.parallel.layout import Layout
from rrft_jax.parallel.mesh import batch_sharding
from rrft_jax.processing.buckets import Buckets
from rrft_jax.training.algorithm import Algorithm
from rrft_jax.training.algorithms import get_algorithm
from rrft_jax.training.critic import head_params
from rrft_jax.training.offload import in_host_memory, is_moved
from rrft_jax.training.parameters import combine, trained_paths
from rrft_jax.training.programs import StepLayout, step_layout
from rrft_jax.training.rollouts import off_policy
from rrft_jax.training.step import Batch, init_state


@dataclass(frozen=True)
class Tokens:
    """The three facts about a tokenizer that the programs are built from, where there is no tokenizer to ask."""

    vocab_tokens: int
    eos_token_ids: tuple[int, ...]
    pad_token_id: int


@dataclass(frozen=True)
class RunShapes:
    """Trees of jax.ShapeDtypeStruct that carry the shardings of a run, for its largest bucket.

    state: what the train step consumes (trainable parameters, optimizer, counters); frozen: the other parameters;
    params: both, as the sampler gets them; reference: the policy at the start, None where the loss does not look at it;
    copied: the leaves of it that are not those of `frozen`, which it shares. drawn: a whole batch with its completions;
    batch: what one update takes of it. layout: of their rows. offloaded: the leaves of `state` in the host's memory.
    """

    params: dict
    state: dict
    frozen: dict
    reference: dict | None
    copied: dict
    drawn: Batch
    batch: Batch
    key: jax.ShapeDtypeStruct
    first_member: jax.ShapeDtypeStruct
    layout: StepLayout
    offloaded: tuple[jax.ShapeDtypeStruct, ...]

    @property
    def resident(self) -> int:
        """Bytes on one device that a run keeps all the time."""
        return device_bytes((self.state, self.frozen, self.copied)) - device_bytes(self.offloaded)


def stand_in_tokens(sizes: Sizes) -> Tokens:
    """From config.json alone: right in every shape, while the ids a vocabulary forbids are not known."""
    eos = sizes.eos_token_ids or (0,)
    return Tokens(sizes.vocab_size, eos, eos[0] if sizes.pad_token_id is None else sizes.pad_token_id)


def largest_bucket(config: ConfigDict) -> Bucket:
    """The bucket that memory is planned for: the longest prompts with the most patches, slots and padding included.

    ValueError where buckets are "auto": see `measured.with_buckets`.
    """
    return max(Buckets(**config.buckets).shapes, key=lambda b: (b.prompt_tokens, b.images * b.patches))


def make_shapes(
    config: ConfigDict, sizes: Sizes, optimizer: optax.GradientTransformation, mesh: Mesh
) -> RunShapes:
    """The arrays of a run of this config on this mesh, as `start.load_weights` and the loop will make them."""
    Buckets(**config.buckets).check_merged(sizes.vision.spatial_merge_size**2)
    algorithm, axes = get_algorithm(config.algorithm), family_of(sizes).param_axes
    trained, *rest = _weights(config, sizes)
    if algorithm.critic(config) is not None:
        trained |= jax.eval_shape(lambda: head_params(sizes.hidden_size))
    trainable, frozen, copied = (_sharded(x, tree_shardings(x, mesh, axes)) for x in (trained, *rest))
    state = jax.eval_shape(lambda p: init_state(p, optimizer), trainable)
    state = _sharded(state, shardings_like(state, trainable, mesh))
    offloaded = ()
    if config.optimizer.offload:
        offloaded = tuple(filter(is_moved, jax.tree.leaves(state["opt_state"])))
        if not isinstance(mesh.devices.flat[0], StandIn):  # which has no memories: nothing is compiled for it
            like = jax.tree.map(lambda x: x.sharding, state["opt_state"])
            state["opt_state"] = _sharded(state["opt_state"], in_host_memory(state["opt_state"], like))
    reference = None
    if algorithm.reference(config):
        base = {path: x for path, x in leaf_paths(frozen).items() if not is_adapter(path)}
        reference = from_paths(base | leaf_paths(copied))
    layout = step_layout(read(config, "train"), algorithm.group(config), mesh)
    batch = _batch(config, algorithm, sizes, mesh, layout.update)
    drawn = batch
    if layout.drawn is not layout.update:
        drawn = _batch(config, algorithm, sizes, mesh, layout.drawn)
    key = jax.eval_shape(lambda: jax.random.key(0))
    return RunShapes(
        combine(trainable, frozen), state, frozen, reference, copied if reference else {}, drawn, batch,
        jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=NamedSharding(mesh, PartitionSpec())),
        jax.ShapeDtypeStruct((layout.drawn.rows,), jnp.int32, sharding=batch_sharding(mesh)), layout, offloaded,
    )  # fmt: skip


def _weights(config: ConfigDict, sizes: Sizes) -> tuple[dict, dict, dict]:
    """Trainable, frozen, and the reference's copy of what is trained in the base."""
    base, kept = leaf_paths(abstract_params(sizes)), config.model.frozen_dtype
    trained = trained_paths(config, base)
    trainable = {path: x for path, x in base.items() if path in trained}
    as_trained = {path: jax.ShapeDtypeStruct(x.shape, config.model.trained_dtype) for path, x in trainable.items()}

    def as_kept(leaves: dict) -> dict:
        found: dict = {}
        for path, x in leaves.items():
            found |= quantized.shapes(path, x.shape, quantized.dtype_of(path, kept))
        return found

    frozen = as_kept({path: x for path, x in base.items() if path not in trained})
    copied = as_kept(base if config.reference else trainable)
    if config.lora.rank:
        adapter = adapter_shapes(base, read(config, "lora").settings())
        as_trained = {path: x for path, x in adapter.items() if is_trained(path)}
        frozen |= {path: x for path, x in adapter.items() if not is_trained(path)}
    return from_paths(as_trained), from_paths(frozen), from_paths(copied)


def _sharded(tree: Any, shardings: Any) -> Any:
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), tree, shardings)


def prompt_shapes(config: ConfigDict, sizes: Sizes, mesh: Mesh, B: int) -> Prompts:
    """B prompts of the largest bucket, with their shardings."""
    bucket = largest_bucket(config)
    P, I, n = bucket.prompt_tokens, bucket.images, bucket.patches
    rows = partial(_rows, mesh)
    return Prompts(
        prompt_id=rows(jnp.int32, B),
        tokens=rows(jnp.int32, B, P),
        token_mask=rows(bool, B, P),
        positions=rows(jnp.int32, B, 3, P),
        next_position=rows(jnp.int32, B),
        patches=rows(jnp.float32, B, I, n, sizes.vision.patch_dim),
        patch_mask=rows(bool, B, I, n),
        patch_position=rows(jnp.int32, B, I, n, 2),
    )


def _rows(mesh: Mesh, dtype: Any, *shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype, sharding=batch_sharding(mesh))


def _batch(config: ConfigDict, algorithm: Algorithm, sizes: Sizes, mesh: Mesh, layout: Layout) -> Batch:
    B, C, G = layout.rows, config.rollout.max_completion_length, algorithm.group(config) // layout.split
    rows = partial(_rows, mesh)
    prompts = prompt_shapes(config, sizes, mesh, B)
    targets = Targets(rows(bool, B, G, C), rows(jnp.float32, B, G))
    if algorithm.samples:
        scores = rows(jnp.float32, B, G, C)
        targets = replace(
            targets, advantages=rows(jnp.float32, B, G), ref_log_probs=scores if algorithm.reference(config) else None,
            sampling_log_probs=scores, old_log_probs=scores if off_policy(config) else None,
        )  # fmt: skip
    return Batch(prompts, rows(jnp.int32, B, G, C), rows(bool, B, G, C), targets)


def bytes_of(dtype: Any) -> float:
    """Of a number on a device, where two of four bits share a byte."""
    return jnp.iinfo(dtype).bits / 8 if jnp.issubdtype(dtype, jnp.integer) else jnp.dtype(dtype).itemsize


def device_bytes(tree: Any) -> int:
    """Bytes of a tree of shapes on the device that holds most of it, each array padded to whole shards."""

    def one(x: Any) -> int:
        shape = x.sharding.shard_shape(x.shape) if getattr(x, "sharding", None) is not None else x.shape
        size = 8 if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else bytes_of(x.dtype)
        for length in shape:
            size *= length
        return math.ceil(size)

    return sum(one(x) for x in jax.tree.leaves(tree))
