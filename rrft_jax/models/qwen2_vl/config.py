"""Sizes of a Qwen2-VL, read from and written to a HuggingFace config.json: sizes are data, not code."""

from dataclasses import dataclass
from pathlib import Path


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
class Qwen2VLConfig:
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    mrope_section: tuple[int, int, int]
    vision: VisionConfig
    image_token_id: int
    video_token_id: int
    vision_start_token_id: int
    vision_end_token_id: int
    rms_norm_eps: float = 1e-6
    rope_theta: float = 1000000.0
    tie_word_embeddings: bool = True
    eos_token_id: int | None = None
    pad_token_id: int | None = None
    max_position_embeddings: int = 32768

    @property
    def model_type(self) -> str:
        return "qwen2_vl"

    @property
    def visual_token_ids(self) -> tuple[int, ...]:
        # <|vision_pad|> lies between vision_end and image_pad in every Qwen2-VL vocabulary and has no config field.
        pads = range(self.vision_end_token_id + 1, self.image_token_id)
        return (
            self.image_token_id, self.video_token_id, self.vision_start_token_id, self.vision_end_token_id, *pads
        )  # fmt: skip

    def __post_init__(self):
        if sum(self.mrope_section) * 2 != self.head_dim:
            raise ValueError(
                f"config.json: mrope_section {list(self.mrope_section)} must sum to half of head_dim {self.head_dim}"
            )
        if self.vision.embed_dim % self.vision.num_heads:
            raise ValueError(
                f"config.json: vision_config.num_heads {self.vision.num_heads} must divide embed_dim "
                f"{self.vision.embed_dim}"
            )
        if self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"config.json: num_key_value_heads {self.num_kv_heads} must divide num_attention_heads {self.num_heads}"
            )
        if self.vision.hidden_size != self.hidden_size:
            raise ValueError(
                f"config.json: vision_config.hidden_size {self.vision.hidden_size} must equal hidden_size "
                f"{self.hidden_size}"
            )


def _field(section: dict, path: Path, *names: str, default=None):
    for name in names:
        if section.get(name) is not None:
            return section[name]
    if default is None:
        raise ValueError(f"{path}: field {' or '.join(names)} is missing")
    return default


def _section(section: dict, path: Path, name: str) -> dict:
    """The JSON object of this name, empty where there is none."""
    value = section.get(name)
    if value is not None and not isinstance(value, dict):
        raise ValueError(f"{path}: {name} is {value!r}, an object is wanted; get the model's config.json again")
    return value or {}


def _count(section: dict, path: Path, *names: str, default: int | None = None, least: int = 1) -> int:
    value = _field(section, path, *names, default=default)
    if type(value) is not int or value < least:
        kind = "a positive whole number" if least else "a token id, 0 or more,"
        raise ValueError(f"{path}: {' or '.join(names)} is {value!r}, {kind} is wanted")
    return value


def _positive(section: dict, path: Path, name: str, default: float) -> float:
    value = _field(section, path, name, default=default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ValueError(f"{path}: {name} is {value!r}, a positive number is wanted")
    return value


def config_from_dict(raw: dict, path: Path = Path("config.json")) -> Qwen2VLConfig:
    """Reads both layouts: the published flat one and transformers 5's nested text_config / rope_parameters.

    Raises ValueError naming the file and the field for another architecture or a missing size.
    """
    if not isinstance(raw, dict):
        raise ValueError(f"{path}: holds no JSON object; get the model's config.json again")
    if raw.get("model_type") != "qwen2_vl":
        raise ValueError(
            f"{path}: model_type is {raw.get('model_type')!r}, this code reads 'qwen2_vl' only: give the directory of "
            "a Qwen2-VL"
        )
    text = {**raw, **_section(raw, path, "text_config")}
    _field(raw, path, "vision_config")
    vision = _section(raw, path, "vision_config")
    rope = _section(text, path, "rope_parameters") or _section(text, path, "rope_scaling")
    hidden, heads = (_count(text, path, name) for name in ("hidden_size", "num_attention_heads"))
    section = _field(rope, path, "mrope_section", default=(16, 24, 24))
    if not isinstance(section, list | tuple) or [type(x) for x in section] != [int] * 3:
        raise ValueError(f"{path}: mrope_section is {section!r}, three whole numbers are wanted")
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind not in ("default", "mrope"):
        raise ValueError(f"{path}: rope type {kind!r} is not supported; Qwen2-VL as released has 'mrope'")
    if text.get("use_sliding_window"):
        raise ValueError(
            f"{path}: use_sliding_window=true is not supported; set it to false (no released model has it)"
        )
    acts = (text.get("hidden_act", "silu"), vision.get("hidden_act", "quick_gelu"))
    if acts != ("silu", "quick_gelu"):
        raise ValueError(f"{path}: hidden_act {acts} is not Qwen2-VL's ('silu', 'quick_gelu')")
    return Qwen2VLConfig(
        vocab_size=_count(text, path, "vocab_size"),
        hidden_size=hidden,
        intermediate_size=_count(text, path, "intermediate_size"),
        num_layers=_count(text, path, "num_hidden_layers"),
        num_heads=heads,
        num_kv_heads=_count(text, path, "num_key_value_heads"),
        head_dim=_count(text, path, "head_dim", default=hidden // heads or 1),
        mrope_section=tuple(section),
        rms_norm_eps=_positive(text, path, "rms_norm_eps", 1e-6),
        rope_theta=float(_positive(rope, path, "rope_theta", _positive(text, path, "rope_theta", 1e6))),
        tie_word_embeddings=bool(raw.get("tie_word_embeddings") or text.get("tie_word_embeddings")),
        image_token_id=_count(raw, path, "image_token_id", least=0),
        video_token_id=_count(raw, path, "video_token_id", least=0),
        vision_start_token_id=_count(raw, path, "vision_start_token_id", least=0),
        vision_end_token_id=_count(raw, path, "vision_end_token_id", least=0),
        eos_token_id=text.get("eos_token_id"),
        pad_token_id=text.get("pad_token_id"),
        max_position_embeddings=text.get("max_position_embeddings", 32768),
        vision=VisionConfig(
            depth=_count(vision, path, "depth"),
            embed_dim=_count(vision, path, "embed_dim"),
            num_heads=_count(vision, path, "num_heads"),
            hidden_size=_count(vision, path, "hidden_size", default=hidden),
            mlp_ratio=_positive(vision, path, "mlp_ratio", 4),
            in_channels=_count(vision, path, "in_channels", "in_chans", default=3),
            patch_size=_count(vision, path, "patch_size", default=14),
            temporal_patch_size=_count(vision, path, "temporal_patch_size", default=2),
            spatial_merge_size=_count(vision, path, "spatial_merge_size", default=2),
            rope_theta=float(_positive(_section(vision, path, "rope_parameters"), path, "rope_theta", 10000.0)),
        ),
    )


def config_to_dict(config: Qwen2VLConfig, dtype: str) -> dict:
    """The published flat layout, which every transformers release with Qwen2-VL reads."""
    vision = config.vision
    return {
        "architectures": ["Qwen2VLForConditionalGeneration"],
        "model_type": "qwen2_vl",
        "attention_dropout": 0.0,
        "bos_token_id": None,
        "eos_token_id": config.eos_token_id,
        "pad_token_id": config.pad_token_id,
        "image_token_id": config.image_token_id,
        "video_token_id": config.video_token_id,
        "vision_start_token_id": config.vision_start_token_id,
        "vision_end_token_id": config.vision_end_token_id,
        "hidden_act": "silu",
        "hidden_size": config.hidden_size,
        "head_dim": config.head_dim,
        "initializer_range": 0.02,
        "intermediate_size": config.intermediate_size,
        "max_position_embeddings": config.max_position_embeddings,
        "num_attention_heads": config.num_heads,
        "num_hidden_layers": config.num_layers,
        "num_key_value_heads": config.num_kv_heads,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope_theta,
        "rope_scaling": {"type": "mrope", "mrope_section": list(config.mrope_section)},
        "tie_word_embeddings": config.tie_word_embeddings,
        "torch_dtype": dtype,
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": config.vocab_size,
        "vision_config": {
            "depth": vision.depth,
            "embed_dim": vision.embed_dim,
            "num_heads": vision.num_heads,
            "hidden_size": vision.hidden_size,
            "mlp_ratio": vision.mlp_ratio,
            "in_channels": vision.in_channels,
            "patch_size": vision.patch_size,
            "temporal_patch_size": vision.temporal_patch_size,
            "spatial_merge_size": vision.spatial_merge_size,
            "hidden_act": "quick_gelu",
            "model_type": "qwen2_vl",
        },
    }
