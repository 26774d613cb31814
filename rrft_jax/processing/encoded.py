"""One prompt as arrays, before padding, and the size that decides its bucket."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rrft_jax.models.positions import Grid, Span, mrope_positions
from rrft_jax.processing.positions import patch_positions, visual_spans


@dataclass(frozen=True)
class Size:
    """What a prompt needs of a bucket: tokens with its visual ones, and patches of each image slot."""

    prompt_tokens: int
    patches: tuple[int, ...] = ()


@dataclass(frozen=True)
class EncodedPrompt:
    """A prompt of p tokens with one slot per image or video frame pair, in the order of their tokens.

    tokens           int32[p]
    positions        int32[3, p]            M-RoPE (time, height, width)
    next_position    int                    M-RoPE position of the first completion token
    patches          list of float32[n_i, W]
    patch_positions  list of int32[n_i, 2]  (row, column), in merge order
    patch_width      int                    W: numbers in a patch
    merged           int                    patches behind one visual token
    visual_token_ids ids of the image and video tokens, by which `collate` checks the row again; None: not checked
    """

    tokens: np.ndarray
    positions: np.ndarray
    next_position: int
    patches: list[np.ndarray]
    patch_positions: list[np.ndarray]
    patch_width: int
    merged: int
    visual_token_ids: tuple[int, ...] | None = None

    @property
    def size(self) -> Size:
        return Size(len(self.tokens), tuple(len(p) for p in self.patches))


def from_hf(
    input_ids: np.ndarray | Sequence[int],
    image_token_id: int,
    video_token_id: int,
    pixel_values: np.ndarray | None = None,
    image_grid_thw: Sequence[Grid] = (),
    pixel_values_videos: np.ndarray | None = None,
    video_grid_thw: Sequence[Grid] = (),
    merge_size: int = 2,
    patch_width: int = 0,
    positions: Callable[[int, Sequence[Span], int], tuple[np.ndarray, int]] = mrope_positions,
) -> EncodedPrompt:
    """A prompt from what HuggingFace's processor returns for one row without padding.

    input_ids int[p]; pixel_values float32[N, W], all images after one another, image_grid_thw int[images, 3];
    the same for videos. patch_width: W; 0 for that of the pixel values. positions: as in `protocol.Family`.
    Raises ValueError where tokens, grids and patches disagree.
    """
    tokens = np.asarray(input_ids, np.int32)
    grids = {"image": image_grid_thw, "video": video_grid_thw}
    chunks = {
        "image": _split("pixel_values", pixel_values, image_grid_thw),
        "video": _split("pixel_values_videos", pixel_values_videos, video_grid_thw),
    }
    spans = visual_spans(tokens, grids["image"], grids["video"], image_token_id, video_token_id, merge_size)
    patches, places = [], []
    for span in spans:
        t, h, w = span.grid
        patches += np.split(chunks[span.kind][span.number], t)
        places += [patch_positions(h, w, merge_size)] * t
    width = patch_width or max((x.shape[1] for x in patches), default=0)
    return EncodedPrompt(
        tokens, *positions(len(tokens), spans, merge_size), patches, places, width, merge_size**2,
        (image_token_id, video_token_id),
    )  # fmt: skip


def with_start(encoded: EncodedPrompt, ids: np.ndarray) -> EncodedPrompt:
    """The prompt with the first tokens int32[k] of the answer already given."""
    steps = encoded.next_position + np.arange(len(ids), dtype=np.int32)
    return replace(
        encoded,
        tokens=np.concatenate([encoded.tokens, ids]),
        positions=np.concatenate([encoded.positions, np.broadcast_to(steps, (3, len(ids)))], axis=1),
        next_position=encoded.next_position + len(ids),
    )


def _split(name: str, values: np.ndarray | None, grids: Sequence[Grid]) -> list[np.ndarray]:
    counts = [int(np.prod(grid)) for grid in grids]
    rows = 0 if values is None else len(values)
    if rows != sum(counts):
        shapes = [tuple(map(int, grid)) for grid in grids]
        raise ValueError(f"{name} has {rows} patches, its grids {shapes} have {sum(counts)}: pass both of one row")
    return np.split(np.asarray(values, np.float32), np.cumsum(counts)[:-1]) if counts else []
