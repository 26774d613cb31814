"""Sizes of a dense Qwen3-VL, read from and written to a HuggingFace config.json: sizes are data, not code."""

import math
from dataclasses import dataclass
from pathlib import Path

from rrft_jax.fields import count, flag
from rrft_jax.models.config_json import (
    block_numbers,
    check_acts,
    decoder_fields,
    model_fields,
    sections,
    special_token_fields,
    tower_fields,
    tower_sizes,
)
from rrft_jax.models.sizes import ModelSizes, TowerSizes, check_joint, check_tower


@dataclass(frozen=True, kw_only=True)
class VisionConfig(TowerSizes):
    """position_rows: side of the square table of learned positions; deepstack: numbers of the blocks whose features are
    added to the hidden states of the first decoder layers in the order of the blocks (arXiv 2406.04334)."""

    intermediate_size: int
    out_hidden_size: int  # width of the merged features, equal to the decoder's
    position_rows: int = 48
    deepstack: tuple[int, ...] = (8, 16, 24)
    patch_size: int = 16


@dataclass(frozen=True)
class Qwen3VLConfig(ModelSizes):
    vision: VisionConfig

    @property
    def model_type(self) -> str:
        return "qwen3_vl"

    def __post_init__(self) -> None:
        super().__post_init__()
        v = self.vision
        check_tower(v, "hidden_size")
        check_joint("out_hidden_size", v.out_hidden_size, self.hidden_size)
        if max(v.deepstack, default=0) >= v.depth or len(set(v.deepstack)) < len(v.deepstack):
            raise ValueError(
                f"config.json: vision_config.deepstack_visual_indexes {list(v.deepstack)} are not different blocks of "
                f"a tower of depth {v.depth}"
            )


def config_from_dict(raw: dict, path: Path = Path("config.json")) -> Qwen3VLConfig:
    """Reads the published layout and that of transformers 5, which differ in rope_scaling / rope_parameters.

    Raises ValueError naming the file and the field for another architecture or a missing size.
    """
    language, rope, vision = sections(raw, path, "qwen3_vl")
    fields = model_fields(raw, path, language, rope, head_dim=128, mrope=(24, 20, 20), theta=5e5, positions=128000)
    check_acts(language, vision, path, "gelu_pytorch_tanh")
    if flag(language, path, "attention_bias", default=False):
        raise ValueError(f"{path}: attention_bias=true is not supported; no released Qwen3-VL has it")
    places = count(vision, path, "num_position_embeddings", default=2304)
    if math.isqrt(places) ** 2 != places:
        raise ValueError(f"{path}: num_position_embeddings is {places}, the table of positions is a square")
    tower = VisionConfig(
        **tower_sizes(vision, path, width="hidden_size", patch=16, depth=27, heads=16),
        intermediate_size=count(vision, path, "intermediate_size"),
        out_hidden_size=count(vision, path, "out_hidden_size", default=fields["hidden_size"]),
        position_rows=math.isqrt(places),
        deepstack=block_numbers(vision, path, "deepstack_visual_indexes", (8, 16, 24)),
    )
    return Qwen3VLConfig(**fields, vision=tower)


def config_to_dict(config: Qwen3VLConfig, dtype: str) -> dict:
    """The published layout, which every transformers release with Qwen3-VL reads."""
    v = config.vision
    rope = {"mrope_interleaved": True, "mrope_section": list(config.mrope_section), "rope_type": "default"}
    text = {
        **decoder_fields(config),
        "attention_bias": False,
        "dtype": dtype,
        "model_type": "qwen3_vl_text",
        "rope_scaling": rope,
        "rope_theta": config.rope_theta,
    }
    vision = {
        **tower_fields(v, "hidden_size", "gelu_pytorch_tanh"),
        "intermediate_size": v.intermediate_size,
        "out_hidden_size": v.out_hidden_size,
        "num_position_embeddings": v.position_rows**2,
        "deepstack_visual_indexes": list(v.deepstack),
        "model_type": "qwen3_vl",
    }
    return {
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "model_type": "qwen3_vl",
        **special_token_fields(config),
        "text_config": text,
        "vision_config": vision,
    }
