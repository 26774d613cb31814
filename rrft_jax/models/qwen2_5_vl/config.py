"""Sizes of a Qwen2.5-VL, read from and written to a HuggingFace config.json: sizes are data, not code."""

from dataclasses import dataclass
from pathlib import Path

from rrft_jax.fields import count, number
from rrft_jax.models.config_json import (
    block_numbers,
    check_acts,
    flat_layout,
    model_fields,
    sections,
    tower_fields,
    tower_sizes,
)
from rrft_jax.models.sizes import ModelSizes, TowerSizes, check_joint, check_tower


@dataclass(frozen=True, kw_only=True)
class VisionConfig(TowerSizes):
    """window_size: side of a window in pixels; full_blocks: numbers of the blocks that attend to the whole picture
    instead; positions_per_second: of M-RoPE's time, in a video."""

    intermediate_size: int
    out_hidden_size: int  # width of the merged features, equal to the decoder's
    window_size: int = 112
    full_blocks: tuple[int, ...] = (7, 15, 23, 31)
    positions_per_second: float = 4

    @property
    def window_side(self) -> int:
        """Patches along a side of a window."""
        return self.window_size // self.patch_size


@dataclass(frozen=True)
class Qwen25VLConfig(ModelSizes):
    vision: VisionConfig

    @property
    def model_type(self) -> str:
        return "qwen2_5_vl"

    def __post_init__(self) -> None:
        super().__post_init__()
        v = self.vision
        check_tower(v, "hidden_size")
        check_joint("out_hidden_size", v.out_hidden_size, self.hidden_size)
        if v.window_size % (v.patch_size * v.spatial_merge_size):
            raise ValueError(
                f"config.json: vision_config.window_size {v.window_size} is no whole number of visual tokens of "
                f"{v.patch_size * v.spatial_merge_size} pixels: an unknown window layout, released models have 112"
            )
        if max(v.full_blocks, default=0) >= v.depth:
            raise ValueError(
                f"config.json: vision_config.fullatt_block_indexes {list(v.full_blocks)} names blocks that a tower of "
                f"depth {v.depth} does not have"
            )


def config_from_dict(raw: dict, path: Path = Path("config.json")) -> Qwen25VLConfig:
    """Reads both layouts: the published flat one and transformers 5's nested text_config / rope_parameters.

    Raises ValueError naming the file and the field for another architecture or a missing size.
    """
    language, rope, vision = sections(raw, path, "qwen2_5_vl")
    fields = model_fields(raw, path, language, rope, head_dim=None, mrope=(16, 24, 24), theta=1e6, positions=32768)
    check_acts(language, vision, path, "silu")
    full = block_numbers(vision, path, "fullatt_block_indexes", (7, 15, 23, 31))
    tower = VisionConfig(
        **tower_sizes(vision, path, width="hidden_size", patch=14, depth=32, heads=16),
        intermediate_size=count(vision, path, "intermediate_size"),
        out_hidden_size=count(vision, path, "out_hidden_size", default=fields["hidden_size"]),
        window_size=count(vision, path, "window_size", default=112),
        full_blocks=tuple(sorted(set(full))),
        positions_per_second=number(vision, path, "tokens_per_second", default=4, most=2**20),
    )
    return Qwen25VLConfig(**fields, vision=tower)


def config_to_dict(config: Qwen25VLConfig, dtype: str) -> dict:
    """The published flat layout, which every transformers release with Qwen2.5-VL reads."""
    v = config.vision
    vision = {
        **tower_fields(v, "hidden_size", "silu"),
        "intermediate_size": v.intermediate_size,
        "out_hidden_size": v.out_hidden_size,
        "window_size": v.window_size,
        "fullatt_block_indexes": list(v.full_blocks),
        "tokens_per_second": v.positions_per_second,
    }
    return flat_layout(config, "Qwen2_5_VLForConditionalGeneration", dtype, vision)
