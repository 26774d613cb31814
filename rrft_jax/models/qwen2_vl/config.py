"""Sizes of a Qwen2-VL, read from and written to a HuggingFace config.json: sizes are data, not code."""

from dataclasses import dataclass
from pathlib import Path

from rrft_jax.fields import count, field, flag, number, section_of, text, token_id, token_ids

LAYERS, ROWS = 2**12, 2**24  # more than any model has


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
    eos_token_id: int | tuple[int, ...] | None = None
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

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        ids = self.eos_token_id
        return ids if isinstance(ids, tuple) else () if ids is None else (ids,)

    def __post_init__(self) -> None:
        if sum(self.mrope_section) * 2 != self.head_dim:
            raise ValueError(
                f"config.json: mrope_section {list(self.mrope_section)} must sum to half of head_dim {self.head_dim}"
            )
        if self.vision.embed_dim % self.vision.num_heads:
            raise ValueError(
                f"config.json: vision_config.num_heads {self.vision.num_heads} must divide embed_dim "
                f"{self.vision.embed_dim}"
            )
        if self.vision.head_dim % 4:
            raise ValueError(
                f"config.json: vision_config.num_heads {self.vision.num_heads} gives heads of {self.vision.head_dim}, "
                "which two rotary axes cannot share"
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
    _refuse_quantized(raw, path)
    language = {**raw, **section_of(raw, path, "text_config")}
    field(raw, path, "vision_config")
    vision = section_of(raw, path, "vision_config")
    # Where a file has both, transformers 5 takes rope_scaling.
    rope = section_of(language, path, "rope_scaling") or section_of(language, path, "rope_parameters")
    hidden, heads = (count(language, path, name) for name in ("hidden_size", "num_attention_heads"))
    sections = field(rope, path, "mrope_section", default=(16, 24, 24))
    if not isinstance(sections, list | tuple) or [type(x) for x in sections] != [int] * 3 or min(sections) < 0:
        raise ValueError(f"{path}: mrope_section is {sections!r}, three whole numbers are wanted")
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind not in ("default", "mrope"):
        raise ValueError(f"{path}: rope type {kind!r} is not supported; Qwen2-VL as released has 'mrope'")
    if flag(language, path, "use_sliding_window", default=False):
        raise ValueError(
            f"{path}: use_sliding_window=true is not supported; set it to false (no released model has it)"
        )
    acts = (text(language, path, "hidden_act", "silu"), text(vision, path, "hidden_act", "quick_gelu"))
    if acts != ("silu", "quick_gelu"):
        raise ValueError(f"{path}: hidden_act {acts} is not Qwen2-VL's ('silu', 'quick_gelu')")
    return Qwen2VLConfig(
        vocab_size=count(language, path, "vocab_size", most=ROWS),
        hidden_size=hidden,
        intermediate_size=count(language, path, "intermediate_size"),
        num_layers=count(language, path, "num_hidden_layers", most=LAYERS),
        num_heads=heads,
        num_kv_heads=count(language, path, "num_key_value_heads"),
        head_dim=count(language, path, "head_dim", default=hidden // heads or 1),
        mrope_section=tuple(sections),
        rms_norm_eps=number(language, path, "rms_norm_eps", default=1e-6, most=1),
        rope_theta=float(number(rope, path, "rope_theta", default=number(language, path, "rope_theta", default=1e6))),
        # As in transformers 5: where either level says so. Earlier releases wrote the flag into text_config alone.
        tie_word_embeddings=any(flag(level, path, "tie_word_embeddings", default=False) for level in (raw, language)),
        image_token_id=token_id(raw, path, "image_token_id"),
        video_token_id=token_id(raw, path, "video_token_id"),
        vision_start_token_id=token_id(raw, path, "vision_start_token_id"),
        vision_end_token_id=token_id(raw, path, "vision_end_token_id"),
        eos_token_id=_one_or_all(token_ids(language, path, "eos_token_id")),
        pad_token_id=token_id(language, path, "pad_token_id", default=None),
        max_position_embeddings=count(language, path, "max_position_embeddings", default=32768, most=2**31),
        vision=VisionConfig(
            depth=count(vision, path, "depth", most=LAYERS),
            embed_dim=count(vision, path, "embed_dim"),
            num_heads=count(vision, path, "num_heads"),
            hidden_size=count(vision, path, "hidden_size", default=hidden),
            mlp_ratio=number(vision, path, "mlp_ratio", default=4, most=1024),
            in_channels=count(vision, path, "in_channels", "in_chans", default=3),
            patch_size=count(vision, path, "patch_size", default=14),
            temporal_patch_size=count(vision, path, "temporal_patch_size", default=2),
            spatial_merge_size=count(vision, path, "spatial_merge_size", default=2),
            rope_theta=float(number(section_of(vision, path, "rope_parameters"), path, "rope_theta", default=10000.0)),
        ),
    )


def _refuse_quantized(raw: dict, path: Path) -> None:
    for where in (raw, section_of(raw, path, "text_config")):
        for name in ("quantization_config", "compression_config"):  # the second: compressed-tensors, once
            if found := section_of(where, path, name):
                method = found.get("quant_method") or found.get("format") or "of an unknown method"
                raise ValueError(
                    f"{path}: {name} says that the weights are quantized ({method}), which this code does not read: "
                    "give the directory of the model before quantization"
                )


def _one_or_all(ids: tuple[int, ...]) -> int | tuple[int, ...] | None:
    return ids if len(ids) > 1 else ids[0] if ids else None


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
