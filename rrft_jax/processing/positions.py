"""Where images and videos stand in a prompt, and where their patches stand in them."""

from collections.abc import Sequence

import numpy as np

from rrft_jax.models.positions import Grid, Span


def visual_tokens(grid: Grid, merge_size: int) -> int:
    """How many tokens stand for a grid, one per merge_size x merge_size patches."""
    t, h, w = grid
    return t * (h // merge_size) * (w // merge_size)


def visual_spans(
    tokens: np.ndarray,
    image_grids: Sequence[Grid],
    video_grids: Sequence[Grid],
    image_token_id: int,
    video_token_id: int,
    merge_size: int,
) -> list[Span]:
    """The images and videos of a prompt in the order of their tokens int[p].

    Raises ValueError where the tokens of a kind and its grids disagree in number.
    """
    named = {
        "image": (image_token_id, [(int(t), int(h), int(w)) for t, h, w in image_grids]),
        "video": (video_token_id, [(int(t), int(h), int(w)) for t, h, w in video_grids]),
    }
    spans = []
    for kind, (token_id, grids) in named.items():
        places, used = np.flatnonzero(np.asarray(tokens) == token_id), 0
        for number, grid in enumerate(grids):
            count = visual_tokens(grid, merge_size)
            here = places[used : used + count]
            if len(here) < count or here[-1] - here[0] != count - 1:
                raise ValueError(
                    f"{kind} {number} of grid {grid} needs {count} {kind} tokens in a row; {len(here)} are left for it "
                    "or others stand between them: expand one placeholder per image to the size of its grid"
                )
            spans.append(Span(int(here[0]), kind, number, grid))
            used += count
        if used != len(places):
            raise ValueError(
                f"the prompt holds {len(places)} {kind} tokens, its {len(grids)} {kind}s account for {used}: "
                f"pass every {kind}, and no {kind} token in the text"
            )
    return sorted(spans, key=lambda s: s.start)


def patch_positions(rows: int, columns: int, merge_size: int) -> np.ndarray:
    """int32[rows * columns, 2]: (row, column) of each patch, in the order that keeps merged patches together."""
    order = np.indices((rows, columns), np.int32).reshape(
        2, rows // merge_size, merge_size, columns // merge_size, merge_size
    )
    return order.transpose(1, 3, 2, 4, 0).reshape(-1, 2)
