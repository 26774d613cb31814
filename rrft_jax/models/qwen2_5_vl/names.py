"""What HuggingFace directories of a Qwen2.5-VL call its parameters."""

from rrft_jax.models.names import TensorNames
from rrft_jax.models.published import ALIASES, LAYER, TODAY, module_names, stacked
from rrft_jax.models.qwen2_5_vl.config import Qwen25VLConfig
from rrft_jax.models.tower import patch_shape

_BLOCK = {
    "norm1": "norm1",
    "norm2": "norm2",
    "qkv": "attn.qkv",
    "proj": "attn.proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}
_TOWER = {
    "patch_embed/proj": "patch_embed.proj",
    "merger/ln_q": "merger.ln_q",
    "merger/fc1": "merger.mlp.0",
    "merger/fc2": "merger.mlp.2",
    **stacked("blocks", "blocks", _BLOCK),
}


def tensor_names(config: Qwen25VLConfig) -> TensorNames:
    modules = module_names(LAYER, _TOWER, "model", "visual")
    return TensorNames(modules, {"vision/patch_embed/proj": patch_shape(config.vision)}, ALIASES, TODAY)
