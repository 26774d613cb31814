"""What a model family is to everything outside its folder: its sizes, its functions, and how its files are read.

A family is one `Family` object, found by the `model_type` of a directory's config.json (`registry.py`). Its parameters
are a tree of plain dicts with two branches, `language` and `vision`; layers are stacked below `language/layers`, and a
kernel is float[..., in, out]. Grids of images never reach a model: it sees the arrays of `Prompts` alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from rrft_jax.arrays import HostOrDevice
from rrft_jax.models.cache import Prefix, Suffix
from rrft_jax.models.names import TensorNames
from rrft_jax.models.positions import Span
from rrft_jax.models.prompts import Prompts
from rrft_jax.models.sharding import ParamAxes


@runtime_checkable
class VisionSizes(Protocol):
    """Sizes of the vision tower, as processing and planning read them."""

    @property
    def depth(self) -> int: ...
    @property
    def embed_dim(self) -> int: ...
    @property
    def num_heads(self) -> int: ...
    @property
    def intermediate_size(self) -> int: ...
    @property
    def patch_size(self) -> int: ...
    @property
    def temporal_patch_size(self) -> int: ...
    @property
    def spatial_merge_size(self) -> int: ...
    @property
    def patch_dim(self) -> int: ...


@runtime_checkable
class Sizes(Protocol):
    """What a config.json says, as everything outside a family reads it: a frozen dataclass, equal where the sizes are.

    visual_token_ids: tokens that stand for pictures or mark them, which no completion may hold.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]  # for dataclasses.replace

    @property
    def model_type(self) -> str: ...
    @property
    def vocab_size(self) -> int: ...
    @property
    def hidden_size(self) -> int: ...
    @property
    def intermediate_size(self) -> int: ...
    @property
    def num_layers(self) -> int: ...
    @property
    def num_heads(self) -> int: ...
    @property
    def num_kv_heads(self) -> int: ...
    @property
    def head_dim(self) -> int: ...
    @property
    def rms_norm_eps(self) -> float: ...
    @property
    def tie_word_embeddings(self) -> bool: ...
    @property
    def max_position_embeddings(self) -> int: ...
    @property
    def eos_token_ids(self) -> tuple[int, ...]: ...
    @property
    def pad_token_id(self) -> int | None: ...
    @property
    def image_token_id(self) -> int: ...
    @property
    def video_token_id(self) -> int: ...
    @property
    def visual_token_ids(self) -> tuple[int, ...]: ...
    @property
    def vision(self) -> VisionSizes: ...


@runtime_checkable
class Model(Protocol):
    """A model of one family: a frozen dataclass of its sizes and of how it runs, with pure functions of parameters.

    Vision tower and prompt run once per prompt; completions attend to the prompt's keys and values in place. Sampling
    is a prefill and a loop of `extend` with T = 1; scoring is a prefill and one `extend` with T = C. `language.py` has
    the decoder's part of all of them.
    """

    @property
    def config(self) -> Sizes: ...
    @property
    def compute_dtype(self) -> np.dtype: ...

    def init_params(self, key: Key[Array, ""]) -> dict:
        """Random float32 parameters."""
        ...

    def prefill(self, params: dict, prompts: Prompts) -> tuple[Float[Array, "B P D"], Prefix]:
        """Hidden states of all tokens, after the final norm, and the prompts' keys and values."""
        ...

    def prefix_of(self, params: dict, prompts: Prompts) -> Prefix:
        """`prefill` where of hidden states nothing but each prompt's last one is wanted."""
        ...

    def extend(
        self,
        params: dict,
        tokens: Int[HostOrDevice, "B G T"],
        positions: Int[HostOrDevice, "B 3 G T"],
        token_mask: Bool[HostOrDevice, "B G T"],
        prefix: Prefix,
        suffix: Suffix | None = None,
        write_index: Int[HostOrDevice, ""] | int = 0,
    ) -> tuple[Float[Array, "B G T D"], Suffix]:
        """T further tokens of every member: hidden, and the suffix with them in it.

        They see their prompt, the valid
        part of `suffix`, and each other causally. Without a suffix they are the whole completion (the differentiable
        form); with one, T tokens are written at `write_index`, one int32 for all rows.
        """
        ...

    def empty_suffix(self, batch: int, group: int, length: int) -> Suffix:
        """A cache for completions of `length` tokens with nothing in it."""
        ...

    def for_decoding(self, params: dict, prefix: Prefix) -> tuple[dict, Prefix]:
        """Both as a loop of `extend` over single tokens reads them fastest; inside jit."""
        ...

    def output_table(self, params: dict) -> Float[HostOrDevice, "V D"]:
        """The LM head."""
        ...


@dataclass(frozen=True)
class SpecialTokens:
    """Texts of the tokens that prompts are built with."""

    image: str
    video: str
    vision_start: str
    vision_end: str
    end_of_turn: str


@dataclass(frozen=True)
class TowerWork:
    """The products of a tower's forward pass. Entries of kernels: embed, blocks: that each patch goes through; merged:
    that each visual token does. keys: that a patch attends to, at least, in all blocks together."""

    embed: int
    blocks: int
    merged: int
    keys: int


@dataclass(frozen=True, kw_only=True)
class Family:
    """One architecture.

    model_type: as config.json has it.
    read_sizes(config.json's object, its path): ValueError names file and field.
    write_sizes(sizes, dtype): the object of a config.json that transformers reads back.
    make_model(sizes, dtype, remat, attention), with defaults: "float32", "none", "xla".
    tensor_names(sizes): how HuggingFace's files call the parameters.
    param_axes: logical axes of parameters by patterns of their path, first match wins; what matches none stays whole.
    tokens: special tokens of its tokenizers.
    positions(length, spans, merge_size): M-RoPE of a prompt, int32[3, length], and the position of what follows it.
    pixel_limits: min_pixels and max_pixels of its published directories.
    frame_interval(sizes, seconds): positions of M-RoPE's time between frame pairs of a video that are `seconds` apart;
    None: 1, whatever the time. timestamps: whether each frame pair of a video has its time as text in front of it.
    tower_work(sizes, patches of a slot): for benchmarks; None: they refuse the family.
    """

    model_type: str
    read_sizes: Callable[[dict, Path], Sizes]
    write_sizes: Callable[[Any, str], dict]
    make_model: Callable[..., Model]
    tensor_names: Callable[[Any], TensorNames]
    param_axes: ParamAxes
    tokens: SpecialTokens
    positions: Callable[[int, Sequence[Span], int], tuple[np.ndarray, int]]
    pixel_limits: tuple[int, int]
    frame_interval: Callable[[Any, float], float] | None = None
    timestamps: bool = False
    tower_work: Callable[[Any, int], TowerWork] | None = None
