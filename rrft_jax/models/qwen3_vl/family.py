"""Qwen3-VL, dense, as the registry finds it."""

from rrft_jax.models.positions import mrope_positions
from rrft_jax.models.protocol import Family, TowerWork
from rrft_jax.models.published import TOKENS
from rrft_jax.models.qwen3_vl.config import Qwen3VLConfig, config_from_dict, config_to_dict
from rrft_jax.models.qwen3_vl.model import AXES, Qwen3VL
from rrft_jax.models.qwen3_vl.names import tensor_names
from rrft_jax.models.tower import count_work


def tower_work(sizes: Qwen3VLConfig, patches: int) -> TowerWork:
    """DeepStack has a merger of its own for each block whose features it takes."""
    v = sizes.vision
    return count_work(v, sizes.hidden_size, v.depth * patches, mergers=1 + len(v.deepstack))


FAMILY = Family(
    model_type="qwen3_vl",
    read_sizes=config_from_dict,
    write_sizes=config_to_dict,
    make_model=Qwen3VL,
    tensor_names=tensor_names,
    param_axes=AXES,
    tokens=TOKENS,
    positions=mrope_positions,
    pixel_limits=(256 * 256, 4096 * 4096),
    timestamps=True,
    tower_work=tower_work,
)
