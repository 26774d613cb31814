"""Spatial referring (RoboRefer, arXiv 2506.04308): the point of the answer, and the steps of perception before it.

Gold is metadata `point` in original pixels with the picture's `size`, and `key_steps`: (kind, object, value) with
positions in shares of the sides, orientations as directions and sizes in metres. Predictions are in shares.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rrft_jax.answers.perceptions import KINDS, Perception, read_perceptions, spell
from rrft_jax.answers.tags import extract_answer, split_thought
from rrft_jax.rewards.coordinates import Frame, convert, frame_of
from rrft_jax.rewards.points import cosine, l1, read_points
from rrft_jax.rewards.symbolic import settle
from rrft_jax.rewards.values import Values

if TYPE_CHECKING:
    from rrft_jax.data.example import Example

PAPER_PIXELS = 50.0
SHARE = 0.0625  # of the diagonal: 50 pixels of a picture of 640x480
COSINE = 0.8
SIZE = 0.15


def point_near(
    completions: Sequence[str],
    examples: "Sequence[Example]",
    group_ids: Sequence[int],
    step: int,
    *,
    share: float = SHARE,
) -> Values:
    """1.0 where the answer's point is at most `share` of the picture's diagonal from the gold point, by L1."""
    return _points(completions, examples, lambda frame: share * frame.diagonal, tagged=False)


def point_near_paper(
    completions: Sequence[str],
    examples: "Sequence[Example]",
    group_ids: Sequence[int],
    step: int,
    *,
    pixels: float = PAPER_PIXELS,
) -> Values:
    """1.0 where the point inside <answer> is at most `pixels` of the picture from the gold point, by L1."""
    return _points(completions, examples, lambda frame: pixels, tagged=True)


def steps_format(
    completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int
) -> Values:
    """1.0 where the thought holds a step `[Kind] [object]: value`, else 0.0."""
    return Values(float(bool(read_perceptions(_thought(text)))) for text in completions)


def steps_accuracy(
    completions: Sequence[str],
    examples: "Sequence[Example]",
    group_ids: Sequence[int],
    step: int,
    *,
    share: float = SHARE,
) -> Values:
    """The share of the key steps that the thought has right, in any order; a step is found by kind and object, and of
    several the first counts. Positions within `share` of the diagonal by L1, cosine of orientations above 0.8, sizes
    within 15 % of gold. None for a record without key steps."""
    return _steps(completions, examples, lambda frame: share * frame.diagonal)


def steps_accuracy_paper(
    completions: Sequence[str],
    examples: "Sequence[Example]",
    group_ids: Sequence[int],
    step: int,
    *,
    pixels: float = PAPER_PIXELS,
) -> Values:
    """As `steps_accuracy`, positions within less than `pixels` of the picture. The paper does not say whether steps are
    summed or averaged: their mean, so that a missing one costs."""
    return _steps(completions, examples, lambda frame: pixels)


def gold_point(example: "Example") -> tuple[float, float]:
    """The gold point in original pixels. ValueError where the record has none."""
    point = example.metadata.get("point")
    good = isinstance(point, list | tuple) and len(point) == 2
    if not good or any(isinstance(x, bool) or not isinstance(x, int | float) for x in point):
        raise ValueError(f"example {example.id}: point is {point!r:.80}; give [x, y] in pixels of the picture")
    return float(point[0]), float(point[1])


def key_steps(example: "Example") -> list[Perception]:
    """The annotated steps. ValueError for one that cannot be read."""
    found = []
    for each in example.metadata.get("key_steps") or ():
        good = isinstance(each, list | tuple) and len(each) == 3 and str(each[0]).lower() in KINDS
        value = (each[2] if isinstance(each[2], list | tuple) else (each[2],)) if good else ()
        if not good or len(value) != KINDS[each[0].lower()]:
            raise ValueError(
                f"example {example.id}: key step {each!r:.80}; give [kind, object, value] with kind Position, "
                "Orientation or Size"
            )
        found.append(Perception(each[0].lower(), spell(str(each[1])), tuple(float(x) for x in value)))
    return found


def said_point(text: str, tagged: bool = False) -> tuple[float, float] | None:
    """The first point of a completion's answer, in shares of the sides; None where it gives none. tagged: only inside
    <answer> tags."""
    answer = extract_answer(text)
    if answer is None or tagged and not answer.tagged:
        return None
    return next(iter(read_points(answer.text)), None)


def _points(completions, examples, limit: Callable[[Frame], float], tagged: bool) -> Values:
    def decide(text: str, example: "Example") -> float:
        gold, frame, point = gold_point(example), frame_of(example), said_point(text, tagged)
        return float(point is not None and l1(convert(point, "unit", "pixels", frame), gold) <= limit(frame))

    values = settle(decide, completions, examples)
    return Values(values, values.errors, [i for i, text in enumerate(completions) if said_point(text, tagged) is None])


def _steps(completions, examples, limit: Callable[[Frame], float]) -> Values:
    def decide(text: str, example: "Example") -> float:
        wanted, frame = key_steps(example), frame_of(example)
        if not wanted:
            return -1.0
        said: dict[tuple[str, str], tuple[float, ...]] = {}
        for found in read_perceptions(_thought(text)):
            said.setdefault((found.kind, found.target), found.value)
        return sum(_right(each, said.get((each.kind, each.target)), frame, limit(frame)) for each in wanted) / len(
            wanted
        )

    values = settle(decide, completions, examples)
    return Values((None if value == -1.0 else value for value in values), values.errors)


def _right(gold: Perception, value: tuple[float, ...] | None, frame: Frame, limit: float) -> bool:
    if value is None:
        return False
    if gold.kind == "position":
        return l1(*(convert(each, "unit", "pixels", frame) for each in (value, gold.value))) < limit
    if gold.kind == "orientation":
        return cosine(value, gold.value) > COSINE
    return abs(value[0] - gold.value[0]) <= SIZE * abs(gold.value[0]) + 1e-9


def _thought(text: str) -> str:
    return split_thought(text)[0]
