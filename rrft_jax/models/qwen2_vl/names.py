"""What HuggingFace directories of a Qwen2-VL call its parameters."""

from rrft_jax.models.names import TensorNames
from rrft_jax.models.published import names_of_both_layouts
from rrft_jax.models.qwen2_vl.config import Qwen2VLConfig

MLP = {"fc1": "mlp.fc1", "fc2": "mlp.fc2"}


def tensor_names(config: Qwen2VLConfig) -> TensorNames:
    return names_of_both_layouts(MLP, config.vision)
