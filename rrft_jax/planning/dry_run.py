"""The memory of a run, planned and printed before anything is made: of each stage of a recipe."""

from collections.abc import Sequence

import jax
from ml_collections import ConfigDict

from rrft_jax.config.task_choice import settle_task
from rrft_jax.models.protocol import Sizes
from rrft_jax.models.published_sizes import SIZES
from rrft_jax.parallel.chips import GIB, Chip
from rrft_jax.parallel.mesh import make_mesh
from rrft_jax.planning.device_memory import make_plan
from rrft_jax.planning.measured import with_buckets
from rrft_jax.planning.smallest import smallest_fit
from rrft_jax.planning.text import describe_plan, picture_tokens
from rrft_jax.pretrained import read_sizes, resolve_init
from rrft_jax.processing.processor import load_processor
from rrft_jax.training.preset_choice import settle_preset
from rrft_jax.training.stages import check_stages
from rrft_jax.training.validate import check_config


def dry_run(
    config: ConfigDict,
    sizes: Sizes | None = None,
    devices: Sequence[jax.Device] | None = None,
    capacity: int = 0,
    kind: str = "",
) -> int:
    """Prints the plan of a run; config.init may be a size without weights (2b, qwen3-vl-4b, ...).

    Returns the exit code: 1 where more than `capacity` bytes of a device are planned, in any stage.

    sizes: None for those of config.init. devices: None for those that are here. capacity: 0 where it is not known.
    kind: of chip, whose slices are looked through for one that fits.
    """
    config = config.copy_and_resolve_references()
    for chosen in filter(None, (settle_task(config), settle_preset(config))):
        print(chosen)
    check_config(config)
    if not config.stage1:
        return _stage(config, sizes, devices, capacity, kind)
    check_stages(config)
    print(f"stage 1 of 2, {config.stage1.algorithm}")
    first = _stage(config.stage1, sizes, devices, capacity, kind)
    print(f"\nstage 2 of 2, {config.algorithm}")
    return max(first, _stage(config, sizes, devices, capacity, kind))


def _stage(
    config: ConfigDict, sizes: Sizes | None, devices: Sequence[jax.Device] | None, capacity: int, kind: str
) -> int:
    sizes, limits = sizes or read_sizes(config.init), None
    config = with_buckets(config)
    mesh = make_mesh(**config.mesh, devices=devices, kv_heads=sizes.num_kv_heads)
    if config.init not in SIZES:
        processor = load_processor(resolve_init(config.init))
        limits = processor.min_pixels, processor.max_pixels
    plan = make_plan(config, sizes, mesh)
    print(describe_plan(plan, config, sizes, mesh, picture_tokens(config, sizes, limits)))
    if not capacity:
        return 0
    fits = plan.most <= capacity
    answer = "fits" if fits else "DOES NOT FIT"
    print(f"{answer}: at most {plan.most / GIB:.2f} GiB planned, of {capacity / GIB:.2f} GiB that a device has")
    if not fits:
        print(smallest_fit(config, sizes, Chip(kind, capacity), mesh.devices.flat[0].platform))
    return 0 if fits else 1
