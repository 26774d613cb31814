"""Qwen2-VL, as the registry finds it."""

from rrft_jax.models.positions import mrope_positions
from rrft_jax.models.protocol import Family, TowerWork
from rrft_jax.models.published import TOKENS
from rrft_jax.models.qwen2_vl.config import Qwen2VLConfig, config_from_dict, config_to_dict
from rrft_jax.models.qwen2_vl.model import Qwen2VL
from rrft_jax.models.qwen2_vl.names import tensor_names
from rrft_jax.models.sharding import PARAM_AXES
from rrft_jax.models.tower import count_work


def tower_work(sizes: Qwen2VLConfig, patches: int) -> TowerWork:
    """Every patch sees its whole picture in every block."""
    return count_work(sizes.vision, sizes.hidden_size, sizes.vision.depth * patches)


FAMILY = Family(
    model_type="qwen2_vl",
    read_sizes=config_from_dict,
    write_sizes=config_to_dict,
    make_model=Qwen2VL,
    tensor_names=tensor_names,
    param_axes=PARAM_AXES,
    tokens=TOKENS,
    positions=mrope_positions,
    pixel_limits=(56 * 56, 28 * 28 * 16384),
    tower_work=tower_work,
)
