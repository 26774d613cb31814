"""Sizes of a Qwen2-VL, read from and written to a HuggingFace config.json: sizes are data, not code."""

from dataclasses import dataclass
from pathlib import Path

from rrft_jax.fields import count, number
from rrft_jax.models.config_json import LAYERS, check_acts, flat_layout, model_fields, sections, tower_theta
from rrft_jax.models.sizes import ModelSizes, check_joint, check_tower


@dataclass(frozen=True)
class VisionConfig:
    depth: int
    embed_dim: int
    num_heads: int
    hidden_size: int  # width of the merged features, equal to the decoder's
    mlp_ratio: float = 4
    in_channels: int = 3
    patch_size: int = 14
    temporal_patch_size: int = 2
    spatial_merge_size: int = 2
    rope_theta: float = 10000.0

    @property
    def intermediate_size(self) -> int:
        return int(self.embed_dim * self.mlp_ratio)

    @property
    def patch_dim(self) -> int:
        return self.in_channels * self.temporal_patch_size * self.patch_size**2

    @property
    def head_dim(self) -> int:
        return self.embed_dim // self.num_heads


@dataclass(frozen=True)
class Qwen2VLConfig(ModelSizes):
    vision: VisionConfig

    @property
    def model_type(self) -> str:
        return "qwen2_vl"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_tower(self.vision, "embed_dim")
        check_joint("hidden_size", self.vision.hidden_size, self.hidden_size)


def config_from_dict(raw: dict, path: Path = Path("config.json")) -> Qwen2VLConfig:
    """Reads both layouts: the published flat one and transformers 5's nested text_config / rope_parameters.

    Raises ValueError naming the file and the field for another architecture or a missing size.
    """
    language, rope, vision = sections(raw, path, "qwen2_vl")
    fields = model_fields(raw, path, language, rope, head_dim=None, mrope=(16, 24, 24), theta=1e6, positions=32768)
    check_acts(language, vision, path, "quick_gelu")
    tower = VisionConfig(
        depth=count(vision, path, "depth", most=LAYERS),
        embed_dim=count(vision, path, "embed_dim"),
        num_heads=count(vision, path, "num_heads"),
        hidden_size=count(vision, path, "hidden_size", default=fields["hidden_size"]),
        mlp_ratio=number(vision, path, "mlp_ratio", default=4, most=1024),
        in_channels=count(vision, path, "in_channels", "in_chans", default=3),
        patch_size=count(vision, path, "patch_size", default=14),
        temporal_patch_size=count(vision, path, "temporal_patch_size", default=2),
        spatial_merge_size=count(vision, path, "spatial_merge_size", default=2),
        rope_theta=tower_theta(vision, path),
    )
    return Qwen2VLConfig(**fields, vision=tower)


def config_to_dict(config: Qwen2VLConfig, dtype: str) -> dict:
    """The published flat layout, which every transformers release with Qwen2-VL reads."""
    v = config.vision
    names = ("depth", "embed_dim", "num_heads", "hidden_size", "mlp_ratio", "in_channels", "patch_size",
             "temporal_patch_size", "spatial_merge_size")  # fmt: skip
    vision = {**{name: getattr(v, name) for name in names}, "hidden_act": "quick_gelu"}
    return flat_layout(config, "Qwen2VLForConditionalGeneration", dtype, vision)
