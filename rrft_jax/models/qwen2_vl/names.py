"""Names of parameters: ours are '/'-joined paths of the tree, the published ones those of HuggingFace directories."""

import re

from rrft_jax.models.qwen2_vl.config import Qwen2VLConfig

# our module (below language/layers or vision/blocks) -> published module
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
_SINGLES = {
    "language/embed": "model.embed_tokens",
    "language/norm": "model.norm",
    "language/lm_head": "lm_head",
    "vision/patch_embed/proj": "visual.patch_embed.proj",
    "vision/merger/ln_q": "visual.merger.ln_q",
    "vision/merger/fc1": "visual.merger.mlp.0",
    "vision/merger/fc2": "visual.merger.mlp.2",
}
# Names in use besides the published ones: transformers 4.52 and later keep the decoder and the tower under `model.`.
_ALIASES = (
    (re.compile(r"^model\.language_model\."), "model."),
    (re.compile(r"^language_model\.model\."), "model."),
    (re.compile(r"^model\.visual\."), "visual."),
)


def published_name(path: str) -> tuple[str, bool]:
    """The published tensor name of our leaf `path` ('language/layers/q/kernel') and whether it is one per layer.

    Stacked names hold '{}' for the layer's number.
    """
    module, leaf = path.rsplit("/", 1)
    suffix = "bias" if leaf == "bias" else "weight"
    if module in _SINGLES:
        return f"{_SINGLES[module]}.{suffix}", False
    if module.startswith("language/layers/"):
        return f"model.layers.{{}}.{_LAYER[module.split('/')[2]]}.{suffix}", True
    if module.startswith("vision/blocks/"):
        return f"visual.blocks.{{}}.{_BLOCK[module.split('/')[2]]}.{suffix}", True
    raise KeyError(path)


def published_shape(path: str, shape: tuple[int, ...], config: Qwen2VLConfig) -> tuple[int, ...]:
    """Shape in the file of our leaf `path`, whose shape of one layer is `shape`."""
    if path == "vision/patch_embed/proj/kernel":
        v = config.vision
        return (v.embed_dim, v.in_channels, v.temporal_patch_size, v.patch_size, v.patch_size)
    return shape[::-1] if path.endswith("kernel") else shape


def canonical(name: str) -> str:
    """The published name of a tensor stored under any of the names in use."""
    for pattern, replacement in _ALIASES:
        if pattern.match(name):
            return pattern.sub(replacement, name)
    return name
