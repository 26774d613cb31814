"""What one process will hold in its host's memory, from shapes alone: weights on their way in, batches, held-out sets.

The devices' own arrays count where the devices are CPUs, which share that memory.
"""

import math
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from ml_collections import ConfigDict

from rrft_jax.config import groups
from rrft_jax.models import adapter as peft
from rrft_jax.models import quantized
from rrft_jax.models.lora import adapter_shapes
from rrft_jax.models.paths import leaf_paths
from rrft_jax.models.protocol import Sizes
from rrft_jax.models.registry import family_of
from rrft_jax.models.sharding import ParamAxes, param_spec
from rrft_jax.models.weights import abstract_params, tensor_names
from rrft_jax.parallel.layout import process_rows
from rrft_jax.planning.shapes import RunShapes, device_bytes, prompt_shapes
from rrft_jax.tasks.registry import get_task
from rrft_jax.training.batches import KEPT
from rrft_jax.training.parameters import loaded_dtypes

STORED = 2  # bytes of a number in the file: published checkpoints are bfloat16
MERGING = 12  # and of the float32 copies of it while an adapter is added: the kernel, scale A B, their sum
AT_ONCE = 3  # training batches: being made, waiting, in use


@dataclass(frozen=True)
class HostPlan:
    """Bytes of one process. reading: the most that it holds while weights come in, besides the arrays that they become;
    shards: those arrays, where the devices are CPUs, else 0; batches: of training, made, waiting and in use; held_out:
    the batches of the held-out sets, those that are kept and two more, and the one with exchanged pictures; moments:
    the optimizer's, of all devices of this process, where config.optimizer.offload keeps them here; activations: of all
    of them, with config.model.remat=offload."""

    reading: int
    shards: int
    batches: int
    held_out: int
    moments: int
    activations: int


def plan_host(
    config: ConfigDict, sizes: Sizes, mesh: Mesh, shapes: RunShapes, evaluated: int, activations: int
) -> HostPlan:
    """The plan of this process. evaluated: rows of an evaluation batch, of all processes; 0 where there is none.
    activations: bytes that a device leaves on the host."""
    held = 0
    if evaluated:
        sets = 1 if config.data.folder else len(get_task(config.task).held_out)
        batch = _own_rows(prompt_shapes(config, sizes, mesh, evaluated), mesh, evaluated)
        every, room = -(-config.eval.examples // config.eval.batch) * batch, KEPT // sets
        held = sets * min(every, room) + (2 * batch if every > room else 0)  # two more: in use, and being made
        held += batch if config.log.exchanged_pictures else 0
    rows = shapes.layout.drawn.rows
    batches = AT_ONCE * _own_rows(shapes.drawn.prompts, mesh, rows)
    mine = sum(device.process_index == jax.process_index() for device in mesh.devices.flat)
    moments = mine * device_bytes(shapes.offloaded)
    return HostPlan(*_loading(config, sizes, mesh), batches, held, moments, mine * activations)


def _loading(config: ConfigDict, sizes: Sizes, mesh: Mesh) -> tuple[int, int]:
    """(reading, shards) as in `HostPlan`, of `start.load_weights`.

    A leaf of the base is there with all the parts of it that this process's devices hold, and one read: a layer of a
    stack, or the part itself. A new adapter is made whole in every process, after the base is in place.
    """
    base, names, axes = leaf_paths(abstract_params(sizes)), tensor_names(sizes), family_of(sizes).param_axes
    merged = _merged_bytes(config.init)
    read = STORED + (MERGING if merged else 0)
    most = shards = 0
    for path, dtype in loaded_dtypes(config, base).items():
        elements, distinct, held = _parts(path, base[path].shape, mesh, axes)
        layers = base[path].shape[0] if names.published(path)[1] else 1
        if quantized.is_scheme(dtype):  # codes of the whole leaf, a byte each here, and one layer's kernel
            total = math.prod(base[path].shape)
            most = max(most, total + total // layers * (read + 4))
            shards += held * elements
            continue
        most = max(most, distinct * elements * dtype.itemsize + elements // layers * read)
        shards += held * elements * dtype.itemsize
    most += merged
    if config.lora.rank:
        adapter = adapter_shapes(base, groups.read(config, "lora").settings())
        parts = {path: _parts(path, x.shape, mesh, axes) for path, x in adapter.items()}
        largest = max(elements * held for elements, _, held in parts.values())  # `place` copies for each device
        most = max(most, 4 * (sum(math.prod(x.shape) for x in adapter.values()) + largest))
        shards += 4 * sum(elements * held for elements, _, held in parts.values())
    on_host = mesh.devices.flat[0].platform == "cpu"
    return most, shards if on_host else 0


def _parts(path: str, shape: tuple[int, ...], mesh: Mesh, axes: ParamAxes) -> tuple[int, int, int]:
    """Elements of the part of a leaf on one device, how many different parts this process's devices hold, and how many
    of its devices hold one."""
    sharding = NamedSharding(mesh, param_spec(path, shape, mesh, axes))
    places = sharding.devices_indices_map(shape)
    mine = [str(index) for device, index in places.items() if device.process_index == jax.process_index()]
    return math.prod(sharding.shard_shape(shape)), len(set(mine)), len(mine)


def _merged_bytes(init: str) -> int:
    """Of the adapter that `init` is, which stays on the host until the base has been read; 0 for a model."""
    return peft.weights_file(init).stat().st_size if peft.is_adapter_directory(init) else 0


def _own_rows(tree: Any, mesh: Mesh, rows: int) -> int:
    """Bytes of this process's rows of a batch of `rows` rows."""
    total = sum(leaf.size * np.dtype(leaf.dtype).itemsize for leaf in jax.tree.leaves(tree))
    return total * len(process_rows(mesh, rows)[0]) // rows
