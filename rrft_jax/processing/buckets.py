"""Static shapes: the short lists of P, I and n, the choice for a prompt, and padding a batch to it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from rrft_jax.data.index import Bucket
from rrft_jax.models.prompts import Prompts
from rrft_jax.processing.encoded import EncodedPrompt, Size
from rrft_jax.processing.processor import Processor

AUTO = ("auto",)  # in place of a list: chosen from the data, see `proposal`


class PromptTooLong(ValueError):
    """A prompt that no bucket holds. It is refused, since truncating it would cut through its image tokens."""


@dataclass(frozen=True)
class Buckets:
    """Ascending choices for P (prompt tokens), I (image slots) and n (patches per slot), each or all of them AUTO.

    I = 0 goes with n = 0.
    """

    prompt: tuple[int, ...]
    images: tuple[int, ...] = (0,)
    patches: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        for field in fields(self):
            values = getattr(self, field.name)
            values = (values,) if isinstance(values, str) else tuple(values)
            if values == AUTO:
                object.__setattr__(self, field.name, values)
                continue
            if any(isinstance(value, str) for value in values):
                raise ValueError(f"buckets.{field.name}={values} must be an ascending list of sizes, or auto")
            if not values or list(values) != sorted(set(values)) or values[0] < (field.name == "prompt"):
                raise ValueError(f"buckets.{field.name}={values} must be an ascending list, not empty, of sizes")
            object.__setattr__(self, field.name, values)

    @property
    def lists(self) -> tuple[tuple[int, ...] | None, ...]:
        """The choices for P, I and n; None for one that is AUTO."""
        return tuple(None if values == AUTO else values for values in (self.prompt, self.images, self.patches))

    @property
    def auto(self) -> bool:
        """Whether any of them is to be chosen from the data."""
        return None in self.lists

    @property
    def shapes(self) -> tuple[Bucket, ...]:
        """Every shape a batch can have, which bounds the number of compilations. ValueError where one is AUTO."""
        self._check_listed()
        pairs = dict.fromkeys((i, n if i else 0) for i in self.images for n in self.patches)
        return tuple(Bucket(p, i, n) for p in self.prompt for i, n in pairs)

    def check_merged(self, merged: int) -> None:
        """Raises ValueError where the patches of a slot are not whole visual tokens, of `merged` patches each."""
        if any(n % merged for n in self.lists[2] or ()):
            raise ValueError(f"buckets.patches={self.patches} must be multiples of {merged}, the patches of a token")

    def choose(self, size: Size, prompt_id: str | int = "?") -> Bucket:
        """The smallest bucket that holds a prompt. Raises PromptTooLong with its id and sizes if none does."""
        self._check_listed()
        needs = (size.prompt_tokens, len(size.patches), max(size.patches, default=0))
        found = [
            v
            for need, values in zip(needs, (self.prompt, self.images, self.patches), strict=True)
            for v in [v for v in values if v >= need][:1]
        ]
        if len(found) < len(needs):
            raise PromptTooLong(
                f"prompt {prompt_id}: {_needs(size)} fit none of buckets.prompt={self.prompt}, images={self.images}, "
                f"patches={self.patches}; enlarge them or lower max_pixels"
            )
        P, I, n = found
        return Bucket(P, I, n if I else 0)

    def _check_listed(self) -> None:
        if self.auto:
            raise ValueError("buckets=auto are chosen from the records of a folder: give config.data.folder, or sizes")


def bucket_for(size: Size, merge_size: int) -> Bucket:
    """The bucket of a single prompt: tokens and patches rounded up to 64, 96, 128, 192, 256, 384, ..., patches then to
    whole visual tokens, image slots to a power of two, so that many different prompts need few programs."""
    images, merged = len(size.patches), merge_size**2
    patches = round_up(max(size.patches), 64) if images else 0
    slots = 1 << (images - 1).bit_length() if images else 0
    return Bucket(round_up(size.prompt_tokens, 64), slots, -(-patches // merged) * merged)


def round_up(value: int, least: int) -> int:
    """The first of least, 3/2 least, 2 least, 3 least, 4 least, ... that is not below `value`; `least` is even."""
    top = least
    while top < value:
        top *= 2
    between = top * 3 // 4
    return between if least < between >= value else top


def collate(
    encoded: Sequence[EncodedPrompt],
    prompt_ids: Sequence[int] | np.ndarray,
    bucket: Bucket,
    pad_token_id: int,
    names: Sequence[str] | None = None,
) -> Prompts:
    """Pads prompts to the bucket's shape, as numpy arrays. names: what errors call each prompt; None: by its id.

    Raises PromptTooLong for a prompt that does not fit, ValueError for one whose visual tokens and patches disagree.
    """
    B, P, I, n = len(encoded), bucket.prompt_tokens, bucket.images, bucket.patches
    tokens, token_mask = np.full((B, P), pad_token_id, np.int32), np.zeros((B, P), bool)
    positions = np.zeros((B, 3, P), np.int32)
    width = max((one.patch_width for one in encoded), default=0)
    patches, patch_mask = np.zeros((B, I, n, width), np.float32), np.zeros((B, I, n), bool)
    patch_position = np.zeros((B, I, n, 2), np.int32)
    for b, (prompt_id, one) in enumerate(zip(prompt_ids, encoded, strict=True)):
        _check(one, f"example {names[b]}" if names else f"prompt {prompt_id}", bucket)
        p = len(one.tokens)
        tokens[b, :p], token_mask[b, :p], positions[b, :, :p] = one.tokens, True, one.positions
        for i, (patch, place) in enumerate(zip(one.patches, one.patch_positions, strict=True)):
            m = len(patch)
            patches[b, i, :m], patch_mask[b, i, :m], patch_position[b, i, :m] = patch, True, place
    return Prompts(
        prompt_id=np.asarray(prompt_ids, np.int32),
        tokens=tokens,
        token_mask=token_mask,
        positions=positions,
        next_position=np.asarray([one.next_position for one in encoded], np.int32),
        patches=patches,
        patch_mask=patch_mask,
        patch_position=patch_position,
    )


def _check(one: EncodedPrompt, name: str, bucket: Bucket) -> None:
    size = one.size
    if not bucket.fits(size):
        raise PromptTooLong(f"{name}: {_needs(size)} do not fit {bucket}; choose its bucket by its size")
    if one.visual_token_ids is None:
        return
    visual = int(np.isin(one.tokens, one.visual_token_ids).sum())
    if visual * one.merged != sum(size.patches):
        raise ValueError(
            f"{name}: {visual} image tokens stand for {visual * one.merged} patches but it has "
            f"{sum(size.patches)}; its tokens were changed after encoding, encode it again"
        )


def describe(processor: Processor, sizes: Sequence[Size]) -> str:
    """What a run prints at its start: pixel limits, and the visual and prompt tokens that follow from them."""
    side = processor.patch_size * processor.merge_size
    lines = [
        f"images are resized to between min_pixels={processor.min_pixels} and max_pixels={processor.max_pixels}, "
        f"one visual token per {side}x{side} pixels"
    ]
    if sizes:
        lines.append(f"{len(sizes)} prompts of {_range([s.prompt_tokens for s in sizes])} tokens, visual ones included")
    visual = [n // processor.merge_size**2 for s in sizes for n in s.patches]
    lines.append(f"{len(visual)} images of {_range(visual)} visual tokens" if visual else "no images")
    return "\n".join(lines)


def _needs(size: Size) -> str:
    return f"{size.prompt_tokens} tokens, {len(size.patches)} image slots of {list(size.patches)} patches"


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} to {high} (mean {sum(values) / len(values):.1f})"
