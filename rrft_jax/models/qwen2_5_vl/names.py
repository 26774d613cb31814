"""What HuggingFace directories of a Qwen2.5-VL call its parameters."""

from rrft_jax.models.names import TensorNames
from rrft_jax.models.published import names_of_both_layouts
from rrft_jax.models.qwen2_5_vl.config import Qwen25VLConfig

MLP = {"gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj"}


def tensor_names(config: Qwen25VLConfig) -> TensorNames:
    return names_of_both_layouts(MLP, config.vision)
