"""What HuggingFace directories of a Qwen2-VL call its parameters."""

from rrft_jax.models.names import TensorNames
from rrft_jax.models.qwen2_vl.config import Qwen2VLConfig

_LAYER = {
    "input_norm": "input_layernorm",
    "post_norm": "post_attention_layernorm",
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "o": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}
_BLOCK = {
    "norm1": "norm1",
    "norm2": "norm2",
    "qkv": "attn.qkv",
    "proj": "attn.proj",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
}
_MODULES = {
    "language/embed": "model.embed_tokens",
    "language/norm": "model.norm",
    "language/lm_head": "lm_head",
    "vision/patch_embed/proj": "visual.patch_embed.proj",
    "vision/merger/ln_q": "visual.merger.ln_q",
    "vision/merger/fc1": "visual.merger.mlp.0",
    "vision/merger/fc2": "visual.merger.mlp.2",
    **{f"language/layers/{ours}": f"model.layers.{{}}.{theirs}" for ours, theirs in _LAYER.items()},
    **{f"vision/blocks/{ours}": f"visual.blocks.{{}}.{theirs}" for ours, theirs in _BLOCK.items()},
}
# transformers 4.52 and later keep the decoder and the tower under `model.`.
_ALIASES = (
    (r"model\.language_model\.", "model."),
    (r"language_model\.model\.", "model."),
    (r"model\.visual\.", "visual."),
)
_TODAY = ((r"visual\.", "model.visual."), (r"model\.", "model.language_model."))


def tensor_names(config: Qwen2VLConfig) -> TensorNames:
    v = config.vision
    patch = (v.embed_dim, v.in_channels, v.temporal_patch_size, v.patch_size, v.patch_size)
    return TensorNames(_MODULES, {"vision/patch_embed/proj": patch}, _ALIASES, _TODAY)
