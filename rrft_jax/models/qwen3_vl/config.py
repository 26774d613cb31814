"""Sizes of a dense Qwen3-VL, read from and written to a HuggingFace config.json: sizes are data, not code."""

import math
from dataclasses import dataclass
from pathlib import Path

from rrft_jax.fields import count, field, flag
from rrft_jax.files import shown
from rrft_jax.models.config_json import (
    LAYERS,
    check_acts,
    decoder_fields,
    model_fields,
    sections,
    special_tokens,
    tower_theta,
)
from rrft_jax.models.sizes import ModelSizes, check_joint, check_tower


@dataclass(frozen=True)
class VisionConfig:
    """position_rows: side of the square table of learned positions; deepstack: numbers of the blocks whose features are
    added to the hidden states of the first decoder layers in the order of the blocks (arXiv 2406.04334)."""

    depth: int
    embed_dim: int
    num_heads: int
    intermediate_size: int
    out_hidden_size: int  # width of the merged features, equal to the decoder's
    position_rows: int = 48
    deepstack: tuple[int, ...] = (8, 16, 24)
    in_channels: int = 3
    patch_size: int = 16
    temporal_patch_size: int = 2
    spatial_merge_size: int = 2
    rope_theta: float = 10000.0

    @property
    def patch_dim(self) -> int:
        return self.in_channels * self.temporal_patch_size * self.patch_size**2

    @property
    def head_dim(self) -> int:
        return self.embed_dim // self.num_heads


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
    taken = field(vision, path, "deepstack_visual_indexes", default=(8, 16, 24))
    if not isinstance(taken, list | tuple) or any(type(i) is not int or i < 0 for i in taken):
        raise ValueError(f"{path}: deepstack_visual_indexes is {shown(taken)}, a list of numbers of blocks is wanted")
    places = count(vision, path, "num_position_embeddings", default=2304)
    if math.isqrt(places) ** 2 != places:
        raise ValueError(f"{path}: num_position_embeddings is {places}, the table of positions is a square")
    tower = VisionConfig(
        depth=count(vision, path, "depth", default=27, most=LAYERS),
        embed_dim=count(vision, path, "hidden_size"),
        num_heads=count(vision, path, "num_heads", default=16),
        intermediate_size=count(vision, path, "intermediate_size"),
        out_hidden_size=count(vision, path, "out_hidden_size", default=fields["hidden_size"]),
        position_rows=math.isqrt(places),
        deepstack=tuple(taken),
        in_channels=count(vision, path, "in_channels", "in_chans", default=3),
        patch_size=count(vision, path, "patch_size", default=16),
        temporal_patch_size=count(vision, path, "temporal_patch_size", default=2),
        spatial_merge_size=count(vision, path, "spatial_merge_size", default=2),
        rope_theta=tower_theta(vision, path),
    )
    return Qwen3VLConfig(**fields, vision=tower)


def config_to_dict(config: Qwen3VLConfig, dtype: str) -> dict:
    """The published layout, which every transformers release with Qwen3-VL reads."""
    v = config.vision
    names = ("depth", "num_heads", "intermediate_size", "out_hidden_size", "in_channels", "patch_size",
             "temporal_patch_size", "spatial_merge_size")  # fmt: skip
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
        **{name: getattr(v, name) for name in names},
        "hidden_size": v.embed_dim,
        "hidden_act": "gelu_pytorch_tanh",
        "num_position_embeddings": v.position_rows**2,
        "deepstack_visual_indexes": list(v.deepstack),
        "model_type": "qwen3_vl",
    }
    return {
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "model_type": "qwen3_vl",
        **special_tokens(config),
        "text_config": text,
        "vision_config": vision,
    }
