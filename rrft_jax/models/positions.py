"""M-RoPE positions of prompts that mix text, images and videos, computed on the host (arXiv 2409.12191 section 2.1).

The rule is that of `Qwen2VLModel.get_rope_index` in transformers 5: text advances all three components together; a
visual block of grid (t, h, w) counts its frames, rows and columns from where it starts, and the text after it continues
at start + max(h, w) / merge, whatever t is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

Grid = tuple[int, int, int]  # frame pairs, rows and columns of patches


@dataclass(frozen=True)
class Span:
    """Where a whole image or video stands in a prompt: its first token, its kind, and its number within the kind.

    interval: positions of time between frame pairs, in families whose videos have the time of a clock.
    """

    start: int
    kind: str  # "image" or "video"
    number: int
    grid: Grid
    interval: float = 1.0


def mrope_positions(length: int, spans: Sequence[Span], merge_size: int) -> tuple[Int[np.ndarray, "3 {length}"], int]:
    """Positions (time, height, width) of a prompt, and the position of the token that follows it."""
    positions, done, now = np.empty((3, length), np.int32), 0, 0
    for span in spans:
        text = span.start - done
        positions[:, done : span.start] = now + np.arange(text)
        now += text
        t, h, w = span.grid[0], span.grid[1] // merge_size, span.grid[2] // merge_size
        done = span.start + t * h * w
        places = np.indices((t, h, w)).reshape(3, -1)
        if span.interval != 1:  # cut off and in float32, as in transformers
            places[0] = (places[0].astype(np.float32) * np.float32(span.interval)).astype(np.int64)
        positions[:, span.start : done] = now + places
        now += max(h, w)
    positions[:, done:] = now + np.arange(length - done)
    # Not the largest position + 1: a video with more frame pairs than rows stands higher than the text after it.
    return positions, now + length - done
