"""How parameters are split over the mesh: each family's list of (path pattern, logical axes), first match wins."""

import functools
import logging
import re
from typing import Any

import jax
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from rrft_jax.parallel.mesh import dropped_rules, on_one_device, spec_for

_log = logging.getLogger(__name__)

ParamAxes = tuple[tuple[str, tuple[str | None, ...]], ...]

# Of a decoder of `decoder_layer` and a tower whose layers lie below vision/blocks and vision/merger.
PARAM_AXES: ParamAxes = (
    (r"language/(embed|lm_head)/embedding$", ("vocab", "embed")),
    (r"language/layers/q/kernel$", ("layers", "embed", "heads")),
    (r"language/layers/[kv]/kernel$", ("layers", "embed", "kv_heads")),
    (r"language/layers/o/kernel$", ("layers", "heads", "embed")),
    (r"language/layers/(gate|up)/kernel$", ("layers", "embed", "mlp")),
    (r"language/layers/down/kernel$", ("layers", "mlp", "embed")),
    (r"vision/blocks/\w+/kernel$", ("layers", "embed", None)),
    (r"vision/merger/\w+/kernel$", ("embed", None)),
)


def param_spec(path: str, shape: tuple[int, ...], mesh: Mesh | AbstractMesh, axes: ParamAxes) -> PartitionSpec:
    """The PartitionSpec of the leaf with this '/'-joined path; what no pattern of `axes` matches stays whole.

    An adapter's A is split like the rows of its kernel and its B like the columns; the rank is never split. A rule that
    cannot apply to a parameter is logged once, with its path.
    """
    kernel, adapter, half = path.partition("/lora_")
    for pattern, names in axes:
        if re.search(pattern, f"{kernel}/kernel" if adapter else path):
            if adapter:
                *stack, rows, columns = names
                names = {"a": (*stack, rows, None), "b": (*stack, None, columns), "scale": stack}[half]
            for reason in dropped_rules(shape, names, dict(mesh.shape)):
                _log_once(path, reason)
            return spec_for(shape, names, dict(mesh.shape))
    return PartitionSpec()


@functools.cache
def _log_once(path: str, reason: str) -> None:
    """Parameters, both optimizer moments and every later placement ask for the same path."""
    _log.warning("%s stays whole along one axis on every device: %s", path, reason)


def tree_shardings(tree: Any, mesh: Mesh, axes: ParamAxes) -> Any:
    """NamedShardings of a parameter tree, or of any state that holds parameter-shaped trees (optimizer moments).

    A leaf belongs to the parameter whose path is made of the dict keys on its own path.
    """

    def one(path: tuple, leaf: Any) -> NamedSharding:
        return NamedSharding(mesh, param_spec("/".join(_keys(path)), leaf.shape, mesh, axes))

    return jax.tree_util.tree_map_with_path(one, tree)


def shardings_like(state: Any, params: dict, mesh: Mesh) -> Any:
    """Shardings of a state that holds trees of the shape of `params` (optimizer moments): each leaf lies as its
    parameter does, whose path its own path ends with; counters lie whole everywhere.

    params: arrays or shapes that carry their shardings.
    """
    known = {tuple(_keys(path)): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}

    def one(path: tuple, leaf: Any) -> Any:
        keys = tuple(_keys(path))
        owner = next((known[keys[i:]] for i in range(len(keys)) if keys[i:] in known), None)
        if owner is None or owner.shape != leaf.shape:
            return NamedSharding(mesh, PartitionSpec())
        return owner.sharding

    return jax.tree_util.tree_map_with_path(one, state)


def _keys(path: tuple) -> list[str]:
    return [k.key for k in path if isinstance(k, jax.tree_util.DictKey)]


def cast(tree: Any, dtype: Any) -> Any:
    """Parameters in the dtype that products run in; an adapter's scale stays exact."""

    def one(path: tuple, x: Any) -> Any:
        return x if path[-1].key == "lora_scale" else x.astype(dtype)

    return jax.tree_util.tree_map_with_path(one, tree)


def gathered(language: dict, dtype: Any, axes: ParamAxes) -> dict:
    """The decoder's parameters, its layers apart, in `dtype`, whole over fsdp and still split over tensor; inside jit.

    A decode loop that read fsdp's shards would bring every layer and the embedding together again for each token.
    """
    language = cast(language, dtype)
    if on_one_device():
        return language
    mesh = jax.sharding.get_abstract_mesh()

    def one(path: tuple, x: Any) -> Any:
        name = "/".join(["language", *_keys(path)])
        if name.startswith("language/layers/"):  # named as the stack is
            spec = PartitionSpec(*param_spec(name, (1, *x.shape), mesh, axes)[1:])
        else:
            spec = param_spec(name, x.shape, mesh, axes)
        return jax.lax.with_sharding_constraint(x, _without_fsdp(spec))

    return jax.tree_util.tree_map_with_path(one, language)


def _without_fsdp(spec: PartitionSpec) -> PartitionSpec:
    parts = ((axes,) if isinstance(axes, str) else axes or () for axes in spec)
    return PartitionSpec(*(tuple(a for a in axes if a != "fsdp") or None for axes in parts))
