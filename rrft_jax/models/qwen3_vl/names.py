"""What HuggingFace directories of a Qwen3-VL call its parameters: as transformers' modules today."""

from rrft_jax.models.names import TensorNames
from rrft_jax.models.published import BLOCK, LAYER, module_names, stacked
from rrft_jax.models.qwen3_vl.config import Qwen3VLConfig
from rrft_jax.models.tower import patch_shape

_BLOCK = {**BLOCK, "fc1": "mlp.linear_fc1", "fc2": "mlp.linear_fc2"}
_MERGER = {"ln_q": "norm", "fc1": "linear_fc1", "fc2": "linear_fc2"}
_TOWER = {
    "patch_embed/proj": "patch_embed.proj",
    "positions": "pos_embed",
    **{f"merger/{ours}": f"merger.{theirs}" for ours, theirs in _MERGER.items()},
    **stacked("deepstack", "deepstack_merger_list", _MERGER),
    **stacked("blocks", "blocks", _BLOCK),
}
_LAYER = {**LAYER, "q_norm": "self_attn.q_norm", "k_norm": "self_attn.k_norm"}


def tensor_names(config: Qwen3VLConfig) -> TensorNames:
    modules = module_names(_LAYER, _TOWER, "model.language_model", "model.visual")
    return TensorNames(modules, {"vision/patch_embed/proj": patch_shape(config.vision)})
