"""The pass over all examples before training: it measures each, assigns a bucket, and leaves out what fits none.

Afterwards the content of every batch is known, so the bucket list bounds the compiled shapes and nothing is truncated.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np

from rrft_jax.data.decoding import image_size
from rrft_jax.data.example import Example


class PromptSize(Protocol):
    """What a prompt needs: tokens with its visual ones, and patches of each of its image slots."""

    @property
    def prompt_tokens(self) -> int: ...
    @property
    def patches(self) -> Sequence[int]: ...


@dataclass(frozen=True)
class Bucket:
    """The static shape of a batch: P prompt tokens, I image slots, n patches per slot."""

    prompt_tokens: int
    images: int = 0
    patches: int = 0

    def fits(self, size: PromptSize) -> bool:
        patches = size.patches
        return (
            size.prompt_tokens <= self.prompt_tokens
            and len(patches) <= self.images
            and max(patches, default=0) <= self.patches
        )


def enclosing(buckets: Sequence[Bucket]) -> Bucket:
    """The smallest shape that holds what any of them holds."""
    return Bucket(*(max(getattr(b, f.name) for b in buckets) for f in fields(Bucket)))


@dataclass(frozen=True)
class Skipped:
    """An example that training leaves out, and why."""

    id: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Index:
    """The examples that training uses, in fixed order, with their sizes and buckets."""

    examples: tuple[Example, ...]
    sizes: tuple[Any, ...]  # the Size of each example
    bucket_ids: np.ndarray  # int32[examples], into `buckets`
    buckets: tuple[Bucket, ...]
    skipped: tuple[Skipped, ...]

    @property
    def groups(self) -> tuple[np.ndarray, ...]:
        """For every bucket the indices int64[N_k] of its examples, in order: what `order.batch_ids` draws from."""
        return tuple(np.flatnonzero(self.bucket_ids == k) for k in range(len(self.buckets)))

    def report(self, limit: int = 10) -> str:
        """How many examples each bucket holds, and how many were left out, with kinds and the first `limit` ids."""
        held = [f"P={b.prompt_tokens} I={b.images} n={b.patches}: {len(g)}" for b, g in self._filled()]
        lines = [f"{len(self.examples)} examples in buckets " + ", ".join(held)]
        for kind in dict.fromkeys(s.kind for s in self.skipped):
            them = [s for s in self.skipped if s.kind == kind]
            ids = ", ".join(s.id for s in them[:limit]) + (", ..." if len(them) > limit else "")
            lines.append(f"{len(them)} left out, {kind}: {ids} (the first: {them[0].reason})")
        return "\n".join(lines)

    def _filled(self) -> list[tuple[Bucket, np.ndarray]]:
        return [(b, g) for b, g in zip(self.buckets, self.groups, strict=True) if len(g)]


def build_index(
    examples: Sequence[Example],
    format_prompt: Callable[[Example], Any],
    measure: Callable[[Any, list[tuple[int, int]]], PromptSize],
    buckets: Sequence[Bucket] | Callable[[Sequence[PromptSize]], Sequence[Bucket]],
    check: Callable[[Example], Any] = lambda example: None,
) -> Index:
    """Measures every example and gives it the first bucket of the list, smallest first, that holds it.

    format_prompt: the prompt of an example, as `measure` takes it.
    measure: from this prompt and the (height, width) of each image in pixels to its Size; images are not decoded.
    buckets: the shapes that batches may have, or what chooses them from the sizes of all usable examples. "Smallest"
        counts prompt tokens and patches of a full batch row.
    check: raises ValueError for an example that cannot be used for another reason, such as a missing target.
    Raises ValueError if no example is left.
    """
    measured, sizes, skipped = [], [], []
    for example in examples:
        try:
            pixels = [image_size(image) for image in example.images]
        except OSError as e:
            skipped.append(Skipped(example.id, "unreadable image", str(e)))
            continue
        try:
            size = measure(format_prompt(example), pixels)
        except ValueError as e:  # an aspect ratio that the image processor refuses, or a picture without area
            skipped.append(Skipped(example.id, "unusable image", str(e)))
            continue
        try:
            check(example)
        except ValueError as e:
            skipped.append(Skipped(example.id, "no usable target", str(e)))
            continue
        measured.append(example)
        sizes.append(size)
    listed = isinstance(buckets, Sequence)
    shapes = buckets if listed else buckets(sizes)
    ordered = tuple(sorted(shapes, key=lambda b: (b.prompt_tokens + b.images * b.patches, b.prompt_tokens, b.images)))
    if not ordered and listed:
        raise ValueError("the bucket list is empty; name at least one shape (P, I, n)")
    kept, kept_sizes, bucket_ids = [], [], []
    for example, size in zip(measured, sizes, strict=True):
        bucket = next((k for k, b in enumerate(ordered) if b.fits(size)), None)
        if bucket is None:
            skipped.append(Skipped(example.id, "too long for every bucket", _too_long(size)))
            continue
        kept.append(example)
        kept_sizes.append(size)
        bucket_ids.append(bucket)
    index = Index(tuple(kept), tuple(kept_sizes), np.array(bucket_ids, np.int32), ordered, tuple(skipped))
    if not kept and not measured:  # no bucket would help
        raise ValueError(f"no example can be used, for these reasons:\n{index.report()}")
    if not kept:
        listed = ", ".join(f"P={b.prompt_tokens} I={b.images} n={b.patches}" for b in ordered) or "chosen from the data"
        remedy = "enlarge config.buckets or set them to auto, or lower max_pixels"
        raise ValueError(f"no example fits the buckets {listed}; {remedy}\n{index.report()}")
    return index


def _too_long(size: PromptSize) -> str:
    patches = list(size.patches)
    return f"{size.prompt_tokens} prompt tokens, {len(patches)} images of {patches} patches"
