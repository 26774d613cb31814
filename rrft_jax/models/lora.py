"""Low-rank adapters as extra leaves next to a kernel: which layers get one, how it starts, how it is merged.

Next to `kernel` float[..., in, out] lie `lora_a` float32[..., in, r], `lora_b` float32[..., r, out] and the constant
`lora_scale` float32[...], where ... is the number of layers or nothing. The layer computes x W + scale (x A) B.
Without these leaves the same tree is the base, so the reference policy needs no second copy of the parameters.
"""

import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

PARTS = ("language", "vision")
TRAINED, LEAVES = ("lora_a", "lora_b"), ("lora_a", "lora_b", "lora_scale")
# It is a convolution in the published model, where an adapter has other shapes.
EXCLUDED = "vision/patch_embed/proj"


@dataclass(frozen=True)
class LoRA:
    """rank r >= 1; the update is alpha / r times A B. A layer gets an adapter if it lies in one of `parts` and one of
    `targets`, regular expressions, matches its whole path ('language/layers/q') or its whole name ('q')."""

    rank: int
    alpha: float
    targets: tuple[str, ...] = (".*",)
    parts: tuple[str, ...] = ("language",)

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"config.lora.rank={self.rank} must be at least 1 (0 in the config turns LoRA off)")
        if not self.alpha > 0:
            raise ValueError(f"config.lora.alpha={self.alpha} must be positive")
        if not self.parts or set(self.parts) - set(PARTS):
            raise ValueError(f"config.lora.parts={list(self.parts)}: choose from {', '.join(PARTS)}")
        for target in self.targets:
            try:
                re.compile(target)
            except re.error as error:
                raise ValueError(f"config.lora.targets: {target!r} is not a regular expression ({error})") from None


def target_modules(paths: Iterable[str], lora: LoRA) -> list[str]:
    """Paths of the layers that get an adapter, from the paths of all parameters. ValueError: a target matches none."""
    modules = [path.removesuffix("/kernel") for path in paths if path.endswith("/kernel")]
    modules = [m for m in modules if m.split("/")[0] in lora.parts and m != EXCLUDED]
    hits = {t: {m for m in modules if re.fullmatch(t, m) or re.fullmatch(t, m.split("/")[-1])} for t in lora.targets}
    for target, found in hits.items():
        if not found:
            names = dict.fromkeys(m.split("/")[-1] for m in modules)
            raise ValueError(
                f"config.lora.targets: {target!r} matches no layer of config.lora.parts={list(lora.parts)}; there are "
                f"{', '.join(names)}"
            )
    if not hits:
        raise ValueError("config.lora.targets is empty: give a name such as 'q', or '.*' for every layer")
    return [m for m in modules if any(m in found for found in hits.values())]


def init_adapter(shapes: Mapping[str, Any], lora: LoRA, seed: int) -> dict[str, np.ndarray]:
    """Adapter leaves by path for a base of these shapes: A uniform in +-1 / sqrt(in), B zero, as in PEFT.

    An update of zero: the policy starts as its base. Every leaf's key is folded from (seed, path).
    """
    leaves = {}
    for module in target_modules(shapes, lora):
        *stack, width, out = shapes[f"{module}/kernel"].shape
        key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(module.encode()))
        a = jax.random.uniform(key, (*stack, width, lora.rank), minval=-1.0, maxval=1.0)
        leaves[f"{module}/lora_a"] = np.asarray(a) / np.float32(width**0.5)
        leaves[f"{module}/lora_b"] = np.zeros((*stack, lora.rank, out), np.float32)
        leaves[f"{module}/lora_scale"] = np.full(tuple(stack), lora.alpha / lora.rank, np.float32)
    return leaves


def adapter_shapes(shapes: Mapping[str, Any], lora: LoRA) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of what `init_adapter` makes, without making it."""
    leaves = {}
    for module in target_modules(shapes, lora):
        *stack, width, out = shapes[f"{module}/kernel"].shape
        for leaf, shape in zip(LEAVES, ((width, lora.rank), (lora.rank, out), ()), strict=True):
            leaves[f"{module}/{leaf}"] = jax.ShapeDtypeStruct((*stack, *shape), np.float32)
    return leaves


def is_adapter(path: str) -> bool:
    return path.rsplit("/", 1)[-1] in LEAVES


def is_trained(path: str) -> bool:
    """Whether this leaf of an adapter is trained: the scale is a constant."""
    return path.rsplit("/", 1)[-1] in TRAINED


def delta(leaves: Mapping[str, Any], module: str, index: tuple[slice, ...]) -> np.ndarray:
    """float32 scale A B of a layer at `index` of its kernel [..., in, out], computed on the host."""
    a, b, scale = (np.asarray(leaves[f"{module}/{name}"], np.float32) for name in LEAVES)
    *stack, rows, columns = index
    stack = tuple(stack)
    return scale[stack][..., None, None] * (a[(*stack, rows)] @ b[(*stack, slice(None), columns)])
