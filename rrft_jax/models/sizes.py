"""Sizes of a decoder with a vision tower, as the config.json of a family says them: sizes are data, not code."""

from dataclasses import dataclass

from rrft_jax.models.protocol import VisionSizes


@dataclass(frozen=True, kw_only=True)
class TowerSizes:
    """What the towers of several families have; a family adds its own, among them the widths of MLP and features.

    embed_dim: width of a patch; patch_size: pixels a side; temporal_patch_size: frames; spatial_merge_size: patches a
    side that become one feature.
    """

    depth: int
    embed_dim: int
    num_heads: int
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


@dataclass(frozen=True)
class ModelSizes:
    """What `protocol.Sizes` asks for; a family adds its `model_type`, and the checks of what it alone has."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    mrope_section: tuple[int, int, int]
    vision: VisionSizes
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
        """As config.json has it: of each family its own."""
        raise NotImplementedError

    @property
    def visual_token_ids(self) -> tuple[int, ...]:
        # <|vision_pad|> lies between vision_end and image_pad in every published vocabulary and has no config field.
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
        if self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"config.json: num_key_value_heads {self.num_kv_heads} must divide num_attention_heads {self.num_heads}"
            )


def check_tower(vision: VisionSizes, width: str) -> None:
    """ValueError where the heads do not divide the tower's width, which config.json calls `width`, or cannot be
    rotated."""
    if vision.embed_dim % vision.num_heads:
        raise ValueError(
            f"config.json: vision_config.num_heads {vision.num_heads} must divide {width} {vision.embed_dim}"
        )
    if vision.embed_dim // vision.num_heads % 4:
        raise ValueError(
            f"config.json: vision_config.num_heads {vision.num_heads} gives heads of "
            f"{vision.embed_dim // vision.num_heads}, which two rotary axes cannot share"
        )


def check_joint(field: str, features: int, hidden_size: int) -> None:
    """ValueError where the tower's features, whose width config.json has as `field`, do not fit the decoder."""
    if features != hidden_size:
        raise ValueError(f"config.json: vision_config.{field} {features} must equal hidden_size {hidden_size}")
