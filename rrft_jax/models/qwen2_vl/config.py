"""Sizes of a Qwen2-VL, read from and written to a HuggingFace config.json: sizes are data, not code."""

from dataclasses import dataclass
from pathlib import Path

from rrft_jax.fields import count, number
from rrft_jax.models.config_json import check_acts, flat_layout, model_fields, sections, tower_fields, tower_sizes
from rrft_jax.models.sizes import ModelSizes, TowerSizes, check_joint, check_tower


@dataclass(frozen=True, kw_only=True)
class VisionConfig(TowerSizes):
    hidden_size: int  # width of the merged features, equal to the decoder's
    mlp_ratio: float = 4

    @property
    def intermediate_size(self) -> int:
        return int(self.embed_dim * self.mlp_ratio)


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
        **tower_sizes(vision, path, width="embed_dim", patch=14),
        hidden_size=count(vision, path, "hidden_size", default=fields["hidden_size"]),
        mlp_ratio=number(vision, path, "mlp_ratio", default=4, most=1024),
    )
    return Qwen2VLConfig(**fields, vision=tower)


def config_to_dict(config: Qwen2VLConfig, dtype: str) -> dict:
    """The published flat layout, which every transformers release with Qwen2-VL reads."""
    v = config.vision
    vision = {
        **tower_fields(v, "embed_dim", "quick_gelu"),
        "hidden_size": v.hidden_size,
        "mlp_ratio": v.mlp_ratio,
    }
    return flat_layout(config, "Qwen2VLForConditionalGeneration", dtype, vision)
