"""Qwen2.5-VL, as the registry finds it."""

import numpy as np

from rrft_jax.models.positions import mrope_positions
from rrft_jax.models.protocol import Family, TowerWork
from rrft_jax.models.published import TOKENS
from rrft_jax.models.qwen2_5_vl.config import Qwen25VLConfig, config_from_dict, config_to_dict
from rrft_jax.models.qwen2_5_vl.model import Qwen25VL
from rrft_jax.models.qwen2_5_vl.names import tensor_names
from rrft_jax.models.sharding import PARAM_AXES
from rrft_jax.models.tower import count_work


def frame_interval(sizes: Qwen25VLConfig, seconds: float) -> float:
    """Positions of M-RoPE's time between frame pairs of a video that are `seconds` apart; in float32, as in
    transformers."""
    return float(np.float32(sizes.vision.positions_per_second) * np.float32(seconds))


def tower_work(sizes: Qwen25VLConfig, patches: int) -> TowerWork:
    """SwiGLU has three kernels; in most blocks a patch sees those of its window."""
    v = sizes.vision
    full = len(v.full_blocks)
    keys = full * patches + (v.depth - full) * min(patches, v.window_side**2)
    return count_work(v, sizes.hidden_size, keys, mlp=3)


FAMILY = Family(
    model_type="qwen2_5_vl",
    read_sizes=config_from_dict,
    write_sizes=config_to_dict,
    make_model=Qwen25VL,
    tensor_names=tensor_names,
    param_axes=PARAM_AXES,
    tokens=TOKENS,
    positions=mrope_positions,
    pixel_limits=(56 * 56, 28 * 28 * 16384),
    frame_interval=frame_interval,
    tower_work=tower_work,
)
