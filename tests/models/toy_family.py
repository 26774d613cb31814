"""A second family, as somebody's own package would bring it: nothing in `rrft_jax` knows it.

It is unlike Qwen2-VL wherever the protocol leaves room: norms on queries and keys, no biases, an MLP of its own,
interleaved M-RoPE, patches of 16 pixels and single frames, each a visual token, a tower that is one linear map, another
config.json, other tensor names.
"""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from rrft_jax.models.features import TOWER, place_features
from rrft_jax.models.language import Language, check_settings
from rrft_jax.models.layers import Dense, RMSNorm, init_module
from rrft_jax.models.names import TensorNames
from rrft_jax.models.positions import mrope_positions
from rrft_jax.models.protocol import Family, SpecialTokens
from rrft_jax.models.rope import mrope, rotate

AXES = (
    (r"language/embed/embedding$", ("vocab", "embed")),
    (r"language/layers/(q|k|v|up)/kernel$", ("layers", "embed", None)),
    (r"language/layers/(o|down)/kernel$", ("layers", None, "embed")),
)


@dataclass(frozen=True)
class ToyVision:
    embed_dim: int
    depth: int = 0
    num_heads: int = 1
    intermediate_size: int = 0
    patch_size: int = 16
    temporal_patch_size: int = 1
    spatial_merge_size: int = 1

    @property
    def patch_dim(self) -> int:
        return 3 * self.patch_size**2


@dataclass(frozen=True)
class ToySizes:
    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    special: tuple[int, int, int, int]  # image, video, vision start, vision end
    eos_token_id: int
    pad_token_id: int
    model_type: str = "toy_vl"
    tie_word_embeddings: bool = True
    rms_norm_eps: float = 1e-5
    max_position_embeddings: int = 1024

    eos_token_ids = property(lambda self: (self.eos_token_id,))
    num_kv_heads = property(lambda self: self.num_heads)
    head_dim = property(lambda self: self.hidden_size // self.num_heads)
    intermediate_size = property(lambda self: 2 * self.hidden_size)
    image_token_id = property(lambda self: self.special[0])
    video_token_id = property(lambda self: self.special[1])
    visual_token_ids = property(lambda self: self.special)
    vision = property(lambda self: ToyVision(self.hidden_size))


class ToyLayer(nn.Module):
    sizes: ToySizes
    dtype: Any = jnp.float32

    def setup(self):
        c, dense = self.sizes, partial(Dense, use_bias=False, dtype=self.dtype)
        norm = partial(RMSNorm, c.rms_norm_eps, self.dtype)
        self.norm1, self.norm2, self.q_norm, self.k_norm = norm(), norm(), norm(), norm()
        self.q, self.k, self.v, self.o = (dense(c.hidden_size) for _ in range(4))
        self.up, self.down = dense(c.intermediate_size), dense(c.hidden_size)

    def project(self, x, cos, sin):
        h = self.norm1(x)
        heads = lambda y: y.reshape(*y.shape[:-1], -1, self.sizes.head_dim)  # noqa: E731
        q, k = (rotate(norm(heads(y(h))), cos, sin) for norm, y in ((self.q_norm, self.q), (self.k_norm, self.k)))
        return q, jnp.swapaxes(k, 2, 3), jnp.swapaxes(heads(self.v(h)), 2, 3)

    def finish(self, x, attended):
        x = x + self.o(attended.reshape(*x.shape[:-1], -1))
        return x + self.down(jax.nn.gelu(self.up(self.norm2(x))))

    def __call__(self, x, cos, sin):
        return self.finish(x, self.project(x, cos, sin)[0])


@dataclass(frozen=True)
class ToyModel:
    config: ToySizes
    dtype: str = "float32"
    remat: str = "none"
    attention: str = "xla"

    def __post_init__(self):
        check_settings(self.dtype, self.remat, self.attention)

    @property
    def compute_dtype(self):
        return jnp.dtype(self.dtype)

    @property
    def language(self) -> Language:
        c = self.config
        rope = partial(mrope, components=np.arange(c.head_dim // 2) % 3, head_dim=c.head_dim, theta=1e4)
        return Language(c, ToyLayer(c, self.compute_dtype), rope, AXES, self.dtype, self.remat, self.attention)

    @property
    def tower(self) -> Dense:
        return Dense(self.config.hidden_size, dtype=self.compute_dtype)

    def init_params(self, key):
        keys = jax.random.split(key, 5)
        width = self.config.vision.patch_dim
        vision = {"patch_embed": {"proj": init_module(self.tower, keys[4], (1, 1, width))}}
        return {"language": self.language.init(*keys[:4]), "vision": vision}

    def embed_prompts(self, params, prompts):
        x = self.language.embed(params, prompts.tokens)
        B, I, n, _ = prompts.patches.shape
        if not I * n:
            return x
        with jax.named_scope(TOWER):
            features = self.tower.apply({"params": params["vision"]["patch_embed"]["proj"]}, prompts.patches)
        return place_features(x, features.reshape(B, I * n, -1), prompts, self.config)

    def prefill(self, params, prompts):
        return self.language.prefill(params, prompts, self.embed_prompts(params, prompts))

    def prefix_of(self, params, prompts):
        return self.language.prefix_of(params, prompts, self.embed_prompts(params, prompts))

    def extend(self, params, *arguments, **options):
        return self.language.extend(params, *arguments, **options)

    def empty_suffix(self, batch, group, length):
        return self.language.empty_suffix(batch, group, length)

    def for_decoding(self, params, prefix):
        return self.language.for_decoding(params, prefix)

    def output_table(self, params):
        return self.language.output_table(params)


def read_sizes(raw: dict, path: Path) -> ToySizes:
    try:
        return ToySizes(**{**raw["toy"], "special": tuple(raw["toy"]["special"])})
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a toy's config.json ({error!r})") from None


def write_sizes(sizes: ToySizes, dtype: str) -> dict:
    names = ("vocab_size", "hidden_size", "num_layers", "num_heads", "special", "eos_token_id", "pad_token_id")
    toy = {name: getattr(sizes, name) for name in names}
    return {"model_type": "toy_vl", "dtype": dtype, "toy": json.loads(json.dumps(toy))}


def tensor_names(sizes: ToySizes) -> TensorNames:
    layers = {f"language/layers/{x}": f"toy.{{}}.{x}" for x in ("norm1", "norm2", "q_norm", "k_norm", *"qkvo")}
    mlp = {"language/layers/up": "toy.{}.wide", "language/layers/down": "toy.{}.narrow"}
    others = {"language/embed": "words", "language/norm": "last", "vision/patch_embed/proj": "eyes"}
    return TensorNames(layers | mlp | others | {"language/lm_head": "head"})


FAMILY = Family(
    model_type="toy_vl",
    read_sizes=read_sizes,
    write_sizes=write_sizes,
    make_model=ToyModel,
    tensor_names=tensor_names,
    param_axes=AXES,
    tokens=SpecialTokens("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>", "<|im_end|>"),
    positions=mrope_positions,
    pixel_limits=(16 * 16, 112 * 112),
)
