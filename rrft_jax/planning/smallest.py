"""The smallest slice that a run fits on, by the plan, with stand-ins for its devices."""

import numpy as np
from jax.sharding import AxisType, Mesh
from ml_collections import ConfigDict

from rrft_jax.models.protocol import Sizes
from rrft_jax.parallel.chips import GIB, Chip, StandIn, slices
from rrft_jax.parallel.mesh import AXES
from rrft_jax.planning.device_memory import make_plan


def smallest_fit(config: ConfigDict, sizes: Sizes, chip: Chip, platform: str) -> str:
    """The first of the chip's slices, with the mesh, on which no device is planned to hold more than chip.hbm.

    Parameters are split over all devices; of several meshes that do, the one with the fewest parts of a head comes
    first. platform: of the devices, such as "tpu".
    """
    tried = list(slices(chip.name))
    for name, count in tried:
        for tensor in (t for t in range(1, count + 1) if sizes.num_kv_heads % t == 0 == count % t):
            parts = 1, count // tensor, tensor
            devices = np.array([StandIn(number, platform) for number in range(count)], object)
            mesh = Mesh(devices.reshape(parts), AXES, axis_types=(AxisType.Auto,) * len(AXES))
            try:
                most = make_plan(config, sizes, mesh).most
            except ValueError:  # micro-batches that do not divide over so many devices
                continue
            if most <= chip.hbm:
                flags = " ".join(f"--config.mesh.{axis}={size}" for axis, size in zip(AXES, parts, strict=True))
                return f"the smallest that fits, by the plan: {name} with {flags} ({most / GIB:.2f} GiB)"
    return f"by the plan it fits on no slice up to {tried[-1][0]}: shorten config.buckets or the completions"
