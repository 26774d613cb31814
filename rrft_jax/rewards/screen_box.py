"""Grounding on a screen (UI-Venus, arXiv 2508.10833): the box or the point of the element that an instruction means.

Gold is metadata `box` in original pixels with the picture's `size`; None: no element fits, which the answer [-1,-1]
says. `coordinates` says what predictions are written in (`rewards.coordinates`); for resized pixels `min_pixels`,
`max_pixels` and `token_side`, the pixels a side of a visual token, must be those of the processor.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rrft_jax.answers.tags import extract_answer
from rrft_jax.data.sizes import MAX_PIXELS, MIN_PIXELS, SIDE
from rrft_jax.rewards.boxes import NUMBER, Box, as_box
from rrft_jax.rewards.coordinates import convert, frame_of
from rrft_jax.rewards.symbolic import settle
from rrft_jax.rewards.values import Values

if TYPE_CHECKING:
    from rrft_jax.data.example import Example

REFUSAL = (-1.0, -1.0)
_GAP = r"\s{0,8}"
_LIST = re.compile(rf"\[{_GAP}{NUMBER}{_GAP}(?:,{_GAP}{NUMBER}{_GAP}){{1,3}}\]")


def box_format(
    completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int
) -> Values:
    """1.0 where a completion is exactly [x1,y1,x2,y2], or the refusal [-1,-1]; else 0.0."""
    return Values(float(len(_numbers(text)) == 4 or _numbers(text) == REFUSAL) for text in completions)


def point_format(
    completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int
) -> Values:
    """1.0 where a completion is exactly [x,y], as UI-Venus 1.5 answers, else 0.0."""
    return Values(float(len(_numbers(text)) == 2) for text in completions)


def in_box(
    completions: Sequence[str],
    examples: "Sequence[Example]",
    group_ids: Sequence[int],
    step: int,
    *,
    coordinates: str = "thousandths",
    min_pixels: int = MIN_PIXELS,
    max_pixels: int = MAX_PIXELS,
    token_side: int = SIDE,
) -> Values:
    """1.0 where the predicted point, or the centre of the predicted box, lies in the gold box or on its edge.

    A box counts whatever the order of its corners. Where no element fits, 1.0 for [-1,-1] alone.
    """

    def decide(text: str, example: "Example") -> float:
        gold, numbers = gold_pixels(example), _read(text)
        refuses = numbers == REFUSAL
        if gold is None or refuses:
            return float(gold is None and refuses)
        if len(numbers) not in (2, 4):
            return 0.0
        centre = Box(*numbers).centre if len(numbers) == 4 else numbers
        if coordinates == "pixels":
            return float(gold.holds(*centre))
        frame = frame_of(example, min_pixels, max_pixels, token_side)
        return float(gold.holds(*convert(centre, coordinates, "pixels", frame)))

    unread = [i for i, text in enumerate(completions) if not _read(text)]
    values = settle(decide, completions, examples)
    return Values(values, values.errors, unread)


def gold_pixels(example: "Example") -> Box | None:
    """The gold box in original pixels; None where no element fits. ValueError where the record has neither."""
    value = example.metadata.get("box", "none")
    box = as_box(value)
    if value is not None and (box is None or not box.upright):
        raise ValueError(f"example {example.id}: box is {value!r:.80}; give [x1, y1, x2, y2] in pixels of the picture")
    return box


def _read(text: str) -> tuple[float, ...]:
    """The numbers of a completion that is a list of them, or of its tagged answer."""
    answer = extract_answer(text)
    return _numbers(text) or (_numbers(answer.text) if answer and answer.tagged else ())


def _numbers(text: str) -> tuple[float, ...]:
    text = text.strip()
    found = _LIST.fullmatch(text)
    return tuple(float(x) for x in text[1:-1].split(",")) if found else ()
