"""Names of tensors that published families share: the decoder's, and how the two layouts of a directory are related."""

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
