"""What the directories of published families share: special tokens, names of tensors, and how the two layouts of a
directory are related."""

from rrft_jax.models.names import TensorNames
from rrft_jax.models.protocol import SpecialTokens, VisionSizes
from rrft_jax.models.tower import patch_shape

TOKENS = SpecialTokens("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>", "<|im_end|>")

LAYER = {
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
# Of a block of the tower, but for its MLP.
BLOCK = {"norm1": "norm1", "norm2": "norm2", "qkv": "attn.qkv", "proj": "attn.proj"}
# transformers 4.52 and later keep the decoder and the tower under `model.`; older directories do not.
ALIASES = (
    (r"model\.language_model\.", "model."),
    (r"language_model\.model\.", "model."),
    (r"model\.visual\.", "visual."),
)
TODAY = ((r"visual\.", "model.visual."), (r"model\.", "model.language_model."))


def module_names(layer: dict[str, str], tower: dict[str, str], decoder: str, visual: str) -> dict[str, str]:
    """A family's `TensorNames.modules`. layer: modules of a decoder layer; tower: all others, below vision; decoder,
    visual: what the directory calls the two branches."""
    return {
        "language/embed": f"{decoder}.embed_tokens",
        "language/norm": f"{decoder}.norm",
        "language/lm_head": "lm_head",
        **{f"language/layers/{ours}": f"{decoder}.layers.{{}}.{theirs}" for ours, theirs in layer.items()},
        **{f"vision/{ours}": f"{visual}.{theirs}" for ours, theirs in tower.items()},
    }


def stacked(ours: str, theirs: str, modules: dict[str, str]) -> dict[str, str]:
    """Modules of equal layers, which lie in one stack here and are numbered there."""
    return {f"{ours}/{name}": f"{theirs}.{{}}.{published}" for name, published in modules.items()}


def names_of_both_layouts(mlp: dict[str, str], vision: VisionSizes) -> TensorNames:
    """Of a family whose older directories do not keep its branches under `model.`. mlp: of a block of the tower."""
    tower = {
        "patch_embed/proj": "patch_embed.proj",
        "merger/ln_q": "merger.ln_q",
        "merger/fc1": "merger.mlp.0",
        "merger/fc2": "merger.mlp.2",
        **stacked("blocks", "blocks", {**BLOCK, **mlp}),
    }
    modules = module_names(LAYER, tower, "model", "visual")
    return TensorNames(modules, {"vision/patch_embed/proj": patch_shape(vision)}, ALIASES, TODAY)
