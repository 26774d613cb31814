"""Sizes of a Qwen2.5-VL, read from and written to a HuggingFace config.json: sizes are data, not code."""

from dataclasses import dataclass
from pathlib import Path

from rrft_jax.fields import count, field, number
from rrft_jax.files import shown
from rrft_jax.models.config_json import LAYERS, check_acts, flat_layout, model_fields, sections, tower_theta
from rrft_jax.models.sizes import ModelSizes, check_joint, check_tower


@dataclass(frozen=True)
class VisionConfig:
    """window_size: side of a window in pixels; full_blocks: numbers of the blocks that attend to the whole picture
    instead; positions_per_second: of M-RoPE's time, in a video."""

    depth: int
    embed_dim: int
    num_heads: int
    intermediate_size: int
    out_hidden_size: int  # width of the merged features, equal to the decoder's
    window_size: int = 112
    full_blocks: tuple[int, ...] = (7, 15, 23, 31)
    positions_per_second: float = 4
    in_channels: int = 3
    patch_size: int = 14
    temporal_patch_size: int = 2
    spatial_merge_size: int = 2
    rope_theta: float = 10000.0

    @property
    def patch_dim(self) -> int:
        return self.in_channels * self.temporal_patch_size * self.patch_size**2

    @property
    def head_dim(self) -> int:
        return self.embed_dim // self.num_heads

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
    full = field(vision, path, "fullatt_block_indexes", default=(7, 15, 23, 31))
    if not isinstance(full, list | tuple) or any(type(i) is not int or i < 0 for i in full):
        raise ValueError(f"{path}: fullatt_block_indexes is {shown(full)}, a list of numbers of blocks is wanted")
    tower = VisionConfig(
        depth=count(vision, path, "depth", default=32, most=LAYERS),
        embed_dim=count(vision, path, "hidden_size"),
        num_heads=count(vision, path, "num_heads", default=16),
        intermediate_size=count(vision, path, "intermediate_size"),
        out_hidden_size=count(vision, path, "out_hidden_size", default=fields["hidden_size"]),
        window_size=count(vision, path, "window_size", default=112),
        full_blocks=tuple(sorted(set(full))),
        positions_per_second=number(vision, path, "tokens_per_second", default=4, most=2**20),
        in_channels=count(vision, path, "in_channels", "in_chans", default=3),
        patch_size=count(vision, path, "patch_size", default=14),
        temporal_patch_size=count(vision, path, "temporal_patch_size", default=2),
        spatial_merge_size=count(vision, path, "spatial_merge_size", default=2),
        rope_theta=tower_theta(vision, path),
    )
    return Qwen25VLConfig(**fields, vision=tower)


def config_to_dict(config: Qwen25VLConfig, dtype: str) -> dict:
    """The published flat layout, which every transformers release with Qwen2.5-VL reads."""
    v = config.vision
    names = ("depth", "num_heads", "intermediate_size", "out_hidden_size", "window_size", "in_channels", "patch_size",
             "temporal_patch_size", "spatial_merge_size")  # fmt: skip
    vision = {
        **{name: getattr(v, name) for name in names},
        "hidden_size": v.embed_dim,
        "fullatt_block_indexes": list(v.full_blocks),
        "tokens_per_second": v.positions_per_second,
        "hidden_act": "silu",
    }
    return flat_layout(config, "Qwen2_5_VLForConditionalGeneration", dtype, vision)
