"""Tiny models of every family that shares its parts with others, and their HuggingFace directories: random weights."""

import json
import shutil
from pathlib import Path

from rrft_jax.models.registry import read_config, sizes_from_dict
from rrft_jax.models.weights import save_params
from rrft_jax.pretrained import ASSETS
from tests.models.build import TINY, tiny_params

NANO = ASSETS / "nano"
DECODER = dict(
    hidden_size=32, intermediate_size=48, num_attention_heads=4, num_key_value_heads=2, head_dim=8, rms_norm_eps=1e-6,
)  # fmt: skip
VISION = dict(hidden_size=16, num_heads=2, intermediate_size=24, out_hidden_size=32)
FIELDS = {
    "qwen2_5_vl": dict(
        **DECODER, num_hidden_layers=2, rope_scaling=dict(type="mrope", mrope_section=[2, 1, 1]),
        vision_config=dict(**VISION, depth=2, window_size=56, fullatt_block_indexes=[1], tokens_per_second=2),
    ),
    "qwen3_vl": dict(
        text_config=dict(**DECODER, num_hidden_layers=3, rope_scaling=dict(mrope_section=[2, 1, 1])),
        vision_config=dict(**VISION, depth=3, num_position_embeddings=16, deepstack_visual_indexes=[0, 1]),
    ),
}  # fmt: skip


def tiny(model_type, tokens=TINY, **fields):
    """Sizes of a tiny model. tokens: sizes whose vocabulary and special tokens it has; fields: of the outer level."""
    names = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    outer = {"model_type": model_type, "tie_word_embeddings": True, **{name: getattr(tokens, name) for name in names}}
    inner = {name: getattr(tokens, name) for name in ("vocab_size", "eos_token_id", "pad_token_id")}
    raw = {**FIELDS[model_type], **outer, **fields}
    if "text_config" in raw:
        raw["text_config"] = {**raw["text_config"], **inner}
    return sizes_from_dict(raw if "text_config" in raw else {**raw, **inner})


def write_directory(folder: Path, model_type: str) -> Path:
    """A HuggingFace directory of a tiny model with nano's tokenizer."""
    sizes = tiny(model_type, read_config(NANO))
    folder.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        shutil.copy(NANO / name, folder)
    images = json.loads((NANO / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps({**images, "patch_size": sizes.vision.patch_size}))
    save_params(folder, sizes, tiny_params(sizes), "float32")
    return folder
