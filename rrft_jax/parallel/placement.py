"""Placing a batch on the mesh, and taking results back by rows."""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from rrft_jax.parallel.mesh import batch_sharding, constrain


def to_devices(tree: Any, mesh: Mesh) -> Any:
    """A batch on the mesh, B (the first axis) sharded over it, from the rows that this process holds."""
    sharding = batch_sharding(mesh)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), tree)


def by_rows(tree: Any) -> Any:
    """Inside jit: leaves [B, ...] lie where their prompts do, so each process finds its own rows on its own devices."""
    return jax.tree.map(lambda x: constrain(x, "batch", *[None] * (x.ndim - 1)), tree)
