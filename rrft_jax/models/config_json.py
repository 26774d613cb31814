"""What the config.json files of several families have in common: fields of the decoder, special tokens, quantization.

Both layouts are read: the published flat one and transformers 5's nested text_config / rope_parameters.
"""

from pathlib import Path
from typing import Any

from rrft_jax.fields import count, field, flag, number, section_of, text, token_id, token_ids
from rrft_jax.files import shown
from rrft_jax.models.sizes import ModelSizes, TowerSizes

LAYERS, ROWS = 2**12, 2**24  # more than any model has


def sections(raw: dict, path: Path, model_type: str) -> tuple[dict, dict, dict]:
    """The fields of the decoder, of its rotary positions, and of the tower, of a file of this model_type.

    Raises ValueError naming the file for another architecture or quantized weights.
    """
    if not isinstance(raw, dict):
        raise ValueError(f"{path}: holds no JSON object; get the model's config.json again")
    if raw.get("model_type") != model_type:
        raise ValueError(
            f"{path}: model_type is {raw.get('model_type')!r}, this code reads {model_type!r} only: give the directory "
            f"of a {model_type}"
        )
    _refuse_quantized(raw, path)
    language = {**raw, **section_of(raw, path, "text_config")}
    field(raw, path, "vision_config")
    # Where a file has both, transformers 5 takes rope_scaling.
    rope = section_of(language, path, "rope_scaling") or section_of(language, path, "rope_parameters")
    return language, rope, section_of(raw, path, "vision_config")


def model_fields(
    raw: dict, path: Path, language: dict, rope: dict, *, head_dim: int | None, mrope: tuple[int, int, int],
    theta: float, positions: int,
) -> dict[str, Any]:  # fmt: skip
    """Arguments of `ModelSizes` but its tower.

    head_dim: where the file says none; None: hidden_size / num_attention_heads. mrope, theta, positions:
    mrope_section, rope_theta and max_position_embeddings where the file says none.
    """
    hidden, heads = (count(language, path, name) for name in ("hidden_size", "num_attention_heads"))
    split = field(rope, path, "mrope_section", default=mrope)
    if not isinstance(split, list | tuple) or [type(x) for x in split] != [int] * 3 or min(split) < 0:
        raise ValueError(f"{path}: mrope_section is {split!r}, three whole numbers are wanted")
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind not in ("default", "mrope"):
        raise ValueError(f"{path}: rope type {kind!r} is not supported; {raw['model_type']} as released has 'mrope'")
    if flag(language, path, "use_sliding_window", default=False):
        raise ValueError(
            f"{path}: use_sliding_window=true is not supported; set it to false (no released model has it)"
        )
    return dict(
        vocab_size=count(language, path, "vocab_size", most=ROWS),
        hidden_size=hidden,
        intermediate_size=count(language, path, "intermediate_size"),
        num_layers=count(language, path, "num_hidden_layers", most=LAYERS),
        num_heads=heads,
        num_kv_heads=count(language, path, "num_key_value_heads"),
        head_dim=count(language, path, "head_dim", default=head_dim or hidden // heads or 1),
        mrope_section=tuple(split),
        rms_norm_eps=number(language, path, "rms_norm_eps", default=1e-6, most=1),
        rope_theta=float(number(rope, path, "rope_theta", default=number(language, path, "rope_theta", default=theta))),
        # As in transformers 5: where either level says so. Earlier releases wrote the flag into text_config alone.
        tie_word_embeddings=any(flag(level, path, "tie_word_embeddings", default=False) for level in (raw, language)),
        image_token_id=token_id(raw, path, "image_token_id"),
        video_token_id=token_id(raw, path, "video_token_id"),
        vision_start_token_id=token_id(raw, path, "vision_start_token_id"),
        vision_end_token_id=token_id(raw, path, "vision_end_token_id"),
        eos_token_id=_one_or_all(token_ids(language, path, "eos_token_id")),
        pad_token_id=token_id(language, path, "pad_token_id", default=None),
        max_position_embeddings=count(language, path, "max_position_embeddings", default=positions, most=2**31),
    )


def check_acts(language: dict, vision: dict, path: Path, tower: str) -> None:
    """ValueError where the activations are not SwiGLU's in the decoder and `tower` in the tower."""
    acts = (text(language, path, "hidden_act", "silu"), text(vision, path, "hidden_act", tower))
    if acts != ("silu", tower):
        raise ValueError(f"{path}: hidden_act {acts} of decoder and tower is not {('silu', tower)} as released")


def tower_sizes(
    vision: dict, path: Path, *, width: str, patch: int, depth: int | None = None, heads: int | None = None
) -> dict[str, Any]:
    """Arguments of `TowerSizes`. width: what the file calls the width of a patch; patch, depth, heads: patch_size,
    depth and num_heads where the file says none, None: it has to."""
    given = {name: {} if value is None else {"default": value} for name, value in (("depth", depth), ("heads", heads))}
    return dict(
        depth=count(vision, path, "depth", most=LAYERS, **given["depth"]),
        embed_dim=count(vision, path, width),
        num_heads=count(vision, path, "num_heads", **given["heads"]),
        in_channels=count(vision, path, "in_channels", "in_chans", default=3),
        patch_size=count(vision, path, "patch_size", default=patch),
        temporal_patch_size=count(vision, path, "temporal_patch_size", default=2),
        spatial_merge_size=count(vision, path, "spatial_merge_size", default=2),
        rope_theta=float(number(section_of(vision, path, "rope_parameters"), path, "rope_theta", default=10000.0)),
    )


def block_numbers(vision: dict, path: Path, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    """A list of numbers of blocks of the tower."""
    numbers = field(vision, path, name, default=default)
    if not isinstance(numbers, list | tuple) or any(type(i) is not int or i < 0 for i in numbers):
        raise ValueError(f"{path}: {name} is {shown(numbers)}, a list of numbers of blocks is wanted")
    return tuple(numbers)


def special_token_fields(sizes: ModelSizes) -> dict[str, Any]:
    """Fields of the outer level, as every layout has them."""
    names = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id", "tie_word_embeddings")
    return {name: getattr(sizes, name) for name in names}


def decoder_fields(sizes: ModelSizes) -> dict[str, Any]:
    """Fields of the decoder but its rotary positions: of the flat layout's outer level, or of text_config."""
    return {
        "attention_dropout": 0.0,
        "bos_token_id": None,
        "eos_token_id": sizes.eos_token_id,
        "pad_token_id": sizes.pad_token_id,
        "hidden_act": "silu",
        "hidden_size": sizes.hidden_size,
        "head_dim": sizes.head_dim,
        "initializer_range": 0.02,
        "intermediate_size": sizes.intermediate_size,
        "max_position_embeddings": sizes.max_position_embeddings,
        "num_attention_heads": sizes.num_heads,
        "num_hidden_layers": sizes.num_layers,
        "num_key_value_heads": sizes.num_kv_heads,
        "rms_norm_eps": sizes.rms_norm_eps,
        "tie_word_embeddings": sizes.tie_word_embeddings,
        "use_cache": True,
        "vocab_size": sizes.vocab_size,
    }


def tower_fields(vision: TowerSizes, width: str, act: str) -> dict[str, Any]:
    """Fields of vision_config that every layout has. width: what it calls the width of a patch; act: hidden_act."""
    names = ("depth", "num_heads", "in_channels", "patch_size", "temporal_patch_size", "spatial_merge_size")
    return {**{name: getattr(vision, name) for name in names}, width: vision.embed_dim, "hidden_act": act}


def flat_layout(sizes: ModelSizes, architecture: str, dtype: str, vision: dict[str, Any]) -> dict[str, Any]:
    """The published flat layout, which every transformers release with these models reads."""
    return {
        "architectures": [architecture],
        "model_type": sizes.model_type,
        **special_token_fields(sizes),
        **decoder_fields(sizes),
        "rope_theta": sizes.rope_theta,
        "rope_scaling": {"type": "mrope", "mrope_section": list(sizes.mrope_section)},
        "torch_dtype": dtype,
        "use_sliding_window": False,
        "vision_config": {**vision, "model_type": sizes.model_type},
    }


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
