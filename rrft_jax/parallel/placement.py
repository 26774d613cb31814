"""Placing a batch on the mesh, and taking results back by rows."""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from rrft_jax.parallel.mesh import batch_sharding, constrain


def to_devices(tree: Any, mesh: Mesh) -> Any:
    """A batch on the mesh, B sharded over it, from the rows that this process holds; M-RoPE positions carry B on axis
    1."""

    def put(path, x):
        axis = 1 if path and getattr(path[-1], "name", None) == "positions" else 0
        return jax.make_array_from_process_local_data(batch_sharding(mesh, axis), np.asarray(x))

    return jax.tree_util.tree_map_with_path(put, tree)


def by_rows(tree: Any) -> Any:
    """Inside jit: leaves [B, ...] lie where their prompts do, so each process finds its own rows on its own devices."""
    return jax.tree.map(lambda x: constrain(x, "batch", *[None] * (x.ndim - 1)), tree)
