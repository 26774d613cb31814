"""Qwen2-VL, as the registry finds it."""

from rrft_jax.models.positions import mrope_positions
from rrft_jax.models.protocol import Family
from rrft_jax.models.published import TOKENS
from rrft_jax.models.qwen2_vl.config import config_from_dict, config_to_dict
from rrft_jax.models.qwen2_vl.model import Qwen2VL
from rrft_jax.models.qwen2_vl.names import tensor_names
from rrft_jax.models.sharding import PARAM_AXES

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
)
