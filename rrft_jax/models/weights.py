"""Parameters from and to a HuggingFace directory, leaf by leaf: every mismatch is listed in one error.

A leaf is read by the slices that its devices hold, layer by layer, so that host memory holds the local part of one
stacked leaf at a time; a layer is written after the one before has gone to its shard.
"""

import json
import logging
import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np
from jax.sharding import Mesh, NamedSharding

from rrft_jax.files import shown
from rrft_jax.models import lora, quantized
from rrft_jax.models.files import (
    INDEX,
    SINGLE,
    StoredTensor,
    ignored_shards,
    open_tensors,
    same_values,
    write_shards,
)
from rrft_jax.models.names import TensorNames, is_constant
from rrft_jax.models.paths import from_paths, leaf_paths
from rrft_jax.models.protocol import Sizes
from rrft_jax.models.registry import family_of, make_model, read_config
from rrft_jax.models.sharding import param_spec
from rrft_jax.parallel.processes import gather_to_writer, is_writer

SHOWN = 12  # tensors that an error names
_log = logging.getLogger(__name__)


def abstract_params(config: Sizes) -> dict:
    """Shapes and dtypes (float32) of all parameters, without making any."""
    return jax.eval_shape(make_model(config).init_params, jax.random.key(0))


def tensor_names(config: Sizes) -> TensorNames:
    """How HuggingFace's files call the parameters of a model of these sizes."""
    return family_of(config).tensor_names(config)


def sizes_of(directory: str | Path) -> Sizes:
    """The sizes in config.json, with a head of its own where the weights hold one that is not the embedding: as
    transformers 5, which then does not tie either. Warns where the directory says one thing twice."""
    directory = Path(directory)
    config = read_config(directory)
    names = tensor_names(config)
    try:
        tensors = open_tensors(directory, names)
    except FileNotFoundError:  # those who need the weights say so
        return config
    if others := ignored_shards(directory):
        _log.warning("%s: %s is read, as in transformers, and not %s, which %s names: remove the older of the two",
                     directory, SINGLE, shown(", ".join(others)), INDEX)  # fmt: skip
    head, embedding = tensors.get(names.head), tensors.get(names.embedding)
    if not config.tie_word_embeddings or head is None or embedding is None or same_values(head, embedding):
        return config
    _log.warning("%s: tie_word_embeddings is true in config.json, but %s holds %s with other values than %s: they are "
                 "not tied, as in transformers; set it to false, or remove the head", directory, head.file.name,
                 names.head, names.embedding)  # fmt: skip
    return replace(config, tie_word_embeddings=False)


def load_params(
    directory: str | Path, config: Sizes | None = None, dtype: Any = np.float32, adapter: Mapping | None = None
) -> dict:
    """Numpy parameters of a HuggingFace directory (one file or shards with an index), cast to `dtype`.

    adapter: LoRA leaves by path, merged into the kernels that they belong to.
    Raises ValueError that lists all missing, unexpected and misshaped tensors at once.
    """
    config = config or sizes_of(directory)
    tensors = check_tensors(Path(directory), config)
    return from_paths({
        path: _read_leaf(tensors, config, path, leaf.shape, (slice(None),) * len(leaf.shape), dtype, adapter)
        for path, leaf in leaf_paths(abstract_params(config)).items()
    })  # fmt: skip


def load_sharded(
    directory: str | Path, config: Sizes, mesh: Mesh, dtypes: Mapping[str, Any],
    adapter: Mapping | None = None,
) -> dict:  # fmt: skip
    """The same parameters on the mesh, each leaf (by path) in its dtype of `dtypes`; only local slices are read.

    A dtype may be a scheme of `quantized.SCHEMES`: the kernel is then read and quantised a layer at a time, whole on
    every host, and only its codes and scales are kept.
    """
    tensors, axes = check_tensors(Path(directory), config), family_of(config).param_axes
    leaves = {}
    for path, leaf in leaf_paths(abstract_params(config)).items():
        if quantized.is_scheme(dtypes[path]):
            leaves |= _load_quantized(tensors, config, path, leaf.shape, dtypes[path], adapter, mesh)
            continue
        parts: dict = {}  # devices that hold the same part share one read; gone with the leaf

        def part(
            index: tuple[slice, ...] | None, path: str = path, shape: tuple[int, ...] = leaf.shape, parts: dict = parts
        ) -> np.ndarray:
            index = index or (slice(None),) * len(shape)
            key = str(index)
            if key not in parts:
                parts[key] = _read_leaf(tensors, config, path, shape, index, dtypes[path], adapter)
            return parts[key]

        sharding = NamedSharding(mesh, param_spec(path, leaf.shape, mesh, axes))
        leaves[path] = jax.make_array_from_callback(leaf.shape, sharding, part)
    return from_paths(leaves)


def _load_quantized(
    tensors: Mapping[str, StoredTensor], config: Sizes, path: str, shape: tuple[int, ...], scheme: str,
    adapter: Mapping | None, mesh: Mesh,
) -> dict[str, jax.Array]:  # fmt: skip
    """Codes and scales of the kernel `path` on the mesh."""
    kept = quantized.shapes(path, shape, scheme)
    host = {name: np.empty(like.shape, like.dtype) for name, like in kept.items()}
    *stack, rows, columns = shape
    for layer in range(stack[0]) if stack else [None]:
        one = () if layer is None else (slice(layer, layer + 1),)
        index = (*one, slice(0, rows), slice(0, columns))
        kernel = _read_leaf(tensors, config, path, shape, index, np.float32, adapter).reshape(rows, columns)
        for out, found in zip(host.values(), quantized.quantize(kernel, scheme), strict=True):
            out[... if layer is None else layer] = found
    axes, placed = family_of(config).param_axes, {}
    for name, x in host.items():
        sharding = NamedSharding(mesh, param_spec(name, x.shape, mesh, axes))
        # Copies: on a CPU device the array may lie in the buffer that it was made from.
        placed[name] = jax.make_array_from_callback(x.shape, sharding, lambda index, x=x: np.array(x[index]))
    return placed


def check_tensors(directory: Path, config: Sizes) -> dict[str, StoredTensor]:
    """The directory's tensors, after their names and shapes have been compared with what `config` asks for.

    Reads headers only, so a run can do it before anything that takes long.
    """
    names = tensor_names(config)
    tensors = open_tensors(directory, names)
    if config.tie_word_embeddings and names.embedding not in tensors and names.head in tensors:
        # The tied matrix by its other name.
        tensors[names.embedding] = tensors.pop(names.head)
    wanted: dict[str, tuple[int, ...]] = {}
    for path, leaf in leaf_paths(abstract_params(config)).items():
        name, stacked = names.published(path)
        shape = names.shape(path, leaf.shape[1:] if stacked else leaf.shape)
        wanted |= {name.format(layer): shape for layer in (range(leaf.shape[0]) if stacked else [None])}
    problems = [f"missing {name}" for name in wanted if name not in tensors]
    for name, tensor in tensors.items():
        if name not in wanted:
            # A tied head is often stored a second time (see `sizes_of`); inverse frequencies are constants.
            if not (name == names.head and config.tie_word_embeddings) and not is_constant(name):
                problems.append(f"unexpected {name} {list(tensor.shape)}")
        elif tensor.shape != wanted[name]:
            problems.append(f"misshaped {name}: file has {list(tensor.shape)}, config.json says {list(wanted[name])}")
    if problems:
        shown = sorted(problems)[:SHOWN]
        more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise ValueError(
            f"{directory}: {len(problems)} tensors do not fit; config.json and weights are not of one model, or a "
            "download was cut short: get the directory again\n  " + "\n  ".join(shown + more)
        )
    return tensors


def _read_leaf(
    tensors: Mapping[str, StoredTensor],
    config: Sizes,
    path: str,
    shape: tuple[int, ...],
    index: tuple[slice, ...],
    dtype: Any,
    adapter: Mapping | None,
) -> np.ndarray:
    """Our leaf `path` of the whole `shape`, at `index`; at most one layer of it is held in another layout."""
    name, stacked = tensor_names(config).published(path)
    index = tuple(slice(*s.indices(n)) for s, n in zip(index, shape, strict=True))
    out = np.empty([s.stop - s.start for s in index], dtype)
    module = path.removesuffix("/kernel")
    for i in range(out.shape[0]) if stacked else [0]:
        layer = index[0].start + i if stacked else 0
        inner = index[1:] if stacked else index
        x = _read_layer(tensors[name.format(layer)], path, inner)
        if adapter and f"{module}/lora_a" in adapter:
            at = (slice(layer, layer + 1), *inner) if stacked else inner
            x = x.astype(np.float32) + lora.delta(adapter, module, at).reshape(x.shape)
        if stacked:
            out[i] = x
        else:
            out[...] = x
    return out


def _read_layer(tensor: StoredTensor, path: str, index: tuple[slice, ...]) -> np.ndarray:
    """Published layout (out, in) to ours (in, out); the patch convolution is flattened to a matrix."""
    if not path.endswith("kernel"):
        return tensor.read(index)
    rows, columns = index
    if len(tensor.shape) == 2:
        return tensor.read((columns, rows)).T
    return tensor.read().reshape(tensor.shape[0], -1)[columns, rows].T


def save_params(
    directory: str | Path, config: Sizes, params: dict, dtype: str = "bfloat16", shard_bytes: int = 2 * 2**30
) -> None:
    """Writes config.json and safetensors in the published layout; more than `shard_bytes` makes shards with an index.

    params: host or device arrays; adapters in it are merged, quantised kernels put together. dtype: "bfloat16" or
    "float32", the dtype stored.
    Every process calls it with its part of the parameters; they come together a layer at a time, and process 0 writes.
    Its host memory: one layer and twice one shard (the file library copies it). Tokenizer and processor files are not
    written here.
    """
    np_dtype = np.dtype({"bfloat16": ml_dtypes.bfloat16, "float32": np.float32}[dtype])
    leaves = leaf_paths(params)
    base = {p: leaf for p, leaf in leaves.items() if not lora.is_adapter(p) and not quantized.is_scale(p)}
    tensors = _published_tensors(config, base, leaves, np_dtype)
    if not is_writer():
        deque(tensors, maxlen=0)  # takes part in what process 0 asks for, in the same order
        return
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    here = ((name, x) for name, x in tensors if x is not None)  # in process 0, all
    write_shards(directory, published_sizes(base, np_dtype.itemsize, tensor_names(config)), here, shard_bytes)
    settings = family_of(config).write_sizes(config, dtype)
    (directory / "config.json").write_text(json.dumps(settings, indent=2) + "\n")


def published_sizes(leaves: Mapping[str, Any], itemsize: int, names: TensorNames) -> dict[str, int]:
    """Published name -> bytes of every tensor, in the order in which `save_params` writes them."""
    sizes = {}
    for path, leaf in leaves.items():
        name, stacked = names.published(path)
        layers, shape = (leaf.shape[0], leaf.shape[1:]) if stacked else (1, leaf.shape)
        sizes |= {name.format(i): math.prod(shape) * itemsize for i in range(layers)}
    return sizes


def _published_tensors(
    config: Sizes, base: Mapping[str, Any], leaves: Mapping[str, Any], dtype: Any
) -> Iterator[tuple[str, np.ndarray | None]]:
    """Each tensor under its published name; None in all processes but the one that writes."""
    names = tensor_names(config)
    for path, leaf in base.items():
        name, stacked = names.published(path)
        module = path.removesuffix("/kernel")
        adapted = path.endswith("/kernel") and f"{module}/lora_a" in leaves
        for layer in range(leaf.shape[0]) if stacked else [None]:
            x = gather_to_writer(leaf, layer)
            if (scale := leaves.get(f"{path}{quantized.SCALE}")) is not None:
                scale = gather_to_writer(scale, layer)
                x = None if x is None else np.asarray(quantized.dequantized(x, scale))
            parts = [f"{module}/{part}" for part in lora.LEAVES if adapted]
            adapter = {part: gather_to_writer(leaves[part], layer) for part in parts}
            yield name.format(layer), None if x is None else _published(names, path, x, adapter, dtype)


def _published(names: TensorNames, path: str, x: np.ndarray, adapter: Mapping, dtype: Any) -> np.ndarray:
    """A layer of our leaf `path` in the published layout, with its adapter merged."""
    shape = names.shape(path, x.shape)
    if adapter:
        x = x.astype(np.float32) + lora.delta(adapter, path.removesuffix("/kernel"), (slice(None),) * 2)
    return np.ascontiguousarray(x.T if path.endswith("kernel") else x, dtype).reshape(shape)
