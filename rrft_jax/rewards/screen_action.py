"""Actions on a screen (UI-Venus, arXiv 2508.10833, section 3.2): layout, type, coordinates and content.

Gold is metadata `action` in original pixels with the picture's `size`. The paper does not print its thresholds and
factors: they are options. Distances are shares of the picture's diagonal, or pixels.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rrft_jax.answers.actions import Action, read_action, read_published_action, split_reply
from rrft_jax.data.sizes import MAX_PIXELS, MIN_PIXELS, SIDE
from rrft_jax.rewards.coordinates import convert, frame_of
from rrft_jax.rewards.symbolic import settle
from rrft_jax.rewards.values import Values

if TYPE_CHECKING:
    from rrft_jax.data.example import Example

MEASURES = ("diagonal", "pixels")
READERS = {"tolerant": read_action, "published": read_published_action}
NEAR, FAR = 0.04, 0.14  # ours, in shares of the diagonal
REPORTS = ("Finished", "CallUser")  # whose text, where gold has none, is free


def action_format(
    completions: Sequence[str], examples: "Sequence[Example]", group_ids: Sequence[int], step: int
) -> Values:
    """1.0 where <think>...</think> and then <action>...</action> are there, else 0.0."""
    return Values(float(split_reply(text)[0]) for text in completions)


def action_type(
    completions: Sequence[str],
    examples: "Sequence[Example]",
    group_ids: Sequence[int],
    step: int,
    *,
    parser: str = "tolerant",
) -> Values:
    """1.0 where the action's name is that of the gold action, else 0.0. parser: tolerant, or published with its
    quirks."""
    return _score(completions, examples, parser, lambda said, gold, example: 1.0)


def action_coordinates(
    completions: Sequence[str],
    examples: "Sequence[Example]",
    group_ids: Sequence[int],
    step: int,
    *,
    coordinates: str = "thousandths",
    measure: str = "diagonal",
    near: float = NEAR,
    far: float = FAR,
    start: float = FAR,
    alpha: float = 1.0,
    beta: float = 1.0,
    parser: str = "tolerant",
    min_pixels: int = MIN_PIXELS,
    max_pixels: int = MAX_PIXELS,
    token_side: int = SIDE,
) -> Values:
    """Click and LongPress, with the distance d to the gold point: alpha for d < near, alpha / 2 for d < far. Drag: the
    mean of that over its two points. Scroll: 1.5 beta where both points are nearer than `start` and the directions are
    equal, beta for the start and the direction, beta / 2 for one of the two. 0.0 for another type, and where the gold
    action has no point.

    The direction of two points is that of the longer axis from start to end. Without gold points it is the word, and
    the right word earns 1.5 beta.
    """
    if measure not in MEASURES:
        raise ValueError(f"measure={measure!r}: choose one of {', '.join(MEASURES)}")

    def judge(said: Action, gold: Action, example: "Example") -> float:
        pixels = lambda point: point  # noqa: E731
        unit = 1.0
        if measure == "diagonal" or coordinates != "pixels":
            frame = frame_of(example, min_pixels, max_pixels, token_side)
            pixels = lambda point: convert(point, coordinates, "pixels", frame)  # noqa: E731
            unit = frame.diagonal if measure == "diagonal" else 1.0

        def distance(name: str) -> float:
            mine, its = said.point(name), gold.point(name)
            return math.dist(pixels(mine), its) / unit if mine and its else math.inf

        if gold.name in ("Click", "LongPress"):
            return alpha * _stepped(distance("box"), near, far)
        if gold.name == "Drag":
            return alpha * (_stepped(distance("start"), near, far) + _stepped(distance("end"), near, far)) / 2
        if gold.name == "Scroll":
            same = same_direction(said, gold, pixels)
            if not gold.point("start"):
                return 1.5 * beta * same
            starts = distance("start") < start
            if starts and same:
                return beta * (1.5 if distance("end") < start else 1.0)
            return 0.5 * beta * (starts or same)
        return 0.0

    return _score(completions, examples, parser, judge)


def action_content(
    completions: Sequence[str],
    examples: "Sequence[Example]",
    group_ids: Sequence[int],
    step: int,
    *,
    gamma: float = 1.0,
    f1: float = 0.5,
    parser: str = "tolerant",
) -> Values:
    """gamma where the F1 of the words of `content` is at least `f1`, of Launch where the app is the same; else 0.0, and
    0.0 where the gold action has neither."""

    def judge(said: Action, gold: Action, example: "Example") -> float:
        if "app" in gold.values:
            return gamma * (_words(said.values["app"]) == _words(gold.values["app"]))
        if "content" in gold.values:
            return gamma * (word_f1(said.values["content"], gold.values["content"]) >= f1)
        return 0.0

    return _score(completions, examples, parser, judge)


def action_step(
    completions: Sequence[str],
    examples: "Sequence[Example]",
    group_ids: Sequence[int],
    step: int,
    *,
    coordinates: str = "thousandths",
    parser: str = "tolerant",
    min_pixels: int = MIN_PIXELS,
    max_pixels: int = MAX_PIXELS,
    token_side: int = SIDE,
) -> Values:
    """Step success: 1.0 where the type is right, every gold point is met within FAR of the diagonal, a scroll's
    direction is right, and a text has F1 0.5 or more; else 0.0. The text of Finished and CallUser is free where gold
    has none. Where the record has the element's `box`, a click must lie in it instead."""

    def judge(said: Action, gold: Action, example: "Example") -> float:
        box = example.metadata.get("box")
        points = [(name, point) for name in ("box", "start", "end") if (point := gold.point(name))]
        frame = frame_of(example, min_pixels, max_pixels, token_side) if points else None
        pixels = lambda point: convert(point, coordinates, "pixels", frame) if frame else point  # noqa: E731
        if gold.name == "Scroll":
            return float(same_direction(said, gold, pixels))
        for name, point in points:
            x, y = pixels(said.point(name) or (math.inf, math.inf))
            if box is not None and name == "box":
                right = box[0] <= x <= box[2] and box[1] <= y <= box[3]
            else:
                right = frame is not None and math.dist((x, y), point) <= FAR * frame.diagonal
            if not right:
                return 0.0
        if "app" in gold.values:
            return float(_words(said.values["app"]) == _words(gold.values["app"]))
        if "content" not in gold.values or gold.name in REPORTS and not gold.values["content"]:
            return 1.0
        return float(word_f1(said.values["content"], gold.values["content"]) >= 0.5)

    return _score(completions, examples, parser, judge)


def grounded(text: str, example: "Example") -> float | None:
    """Grounding of one step: 1.0 where the point of a click or a long press lies in the element's box (`box` or
    `element`) or within 0.14 of gold in shares of the sides, the rule of AndroidInTheWild and GUI-Odyssey, else 0.0,
    whichever of the two is said. None where the gold action is neither. In thousandths."""
    gold = gold_action(example)
    point = gold.point("box")
    if point is None:
        return None
    said, frame = said_action(text), frame_of(example)
    mine = said.point("box") if said else None
    if mine is None:
        return 0.0
    x, y = convert(mine, "thousandths", "pixels", frame)
    box = example.metadata.get("box") or example.metadata.get("element")
    inside = box is not None and box[0] <= x <= box[2] and box[1] <= y <= box[3]
    return float(inside or math.hypot((x - point[0]) / frame.width, (y - point[1]) / frame.height) <= FAR)


def gold_action(example: "Example") -> Action:
    """The gold action, its points in original pixels. ValueError where the record has none that can be read."""
    action = read_action(str(example.metadata.get("action", "")))
    if action is None:
        raise ValueError(
            f"example {example.id}: action is {example.metadata.get('action')!r:.80}; give one such as "
            "Click(box=(868, 398)), in pixels of the picture"
        )
    return action


def said_action(text: str, parser: str = "tolerant") -> Action | None:
    """The action of a completion; None where it gives none."""
    if parser not in READERS:
        raise ValueError(f"parser={parser!r}: choose one of {', '.join(READERS)}")
    return READERS[parser](split_reply(text)[1])


def same_direction(said: Action, gold: Action, pixels: Callable[[Sequence[float]], Sequence[float]]) -> bool:
    """Whether two scrolls go the same way: by their points, or where gold has only a word by the words."""
    if not gold.point("start"):
        return said.values.get("direction", "") == gold.values.get("direction", "") != ""
    return direction(said, pixels) == direction(gold) != ""


def direction(action: Action, pixels: Callable[[Sequence[float]], Sequence[float]] = lambda point: point) -> str:
    """Where a scroll goes on the screen: of its points, the sign and name of the axis along which it goes further in
    pixels; else its word. pixels: converts its points."""
    start, end = action.point("start"), action.point("end")
    if not (start and end):
        return action.values.get("direction", "")
    (x1, y1), (x2, y2) = pixels(start), pixels(end)
    dx, dy = x2 - x1, y2 - y1
    if not dx and not dy:
        return ""
    return ("+x" if dx > 0 else "-x") if abs(dx) > abs(dy) else ("+y" if dy > 0 else "-y")


def word_f1(said: str, gold: str) -> float:
    """F1 of the words of two texts, each as often as it stands there; 1.0 for two texts without words."""
    mine, its = Counter(_words(said)), Counter(_words(gold))
    if not mine and not its:
        return 1.0
    return 2 * (mine & its).total() / (mine.total() + its.total())


def _words(text: str) -> list[str]:
    return text.casefold().split()


def _stepped(distance: float, near: float, far: float) -> float:
    return 1.0 if distance < near else 0.5 if distance < far else 0.0


def _score(
    completions: Sequence[str],
    examples: "Sequence[Example]",
    parser: str,
    judge: Callable[[Action, Action, "Example"], float],
) -> Values:
    def decide(text: str, example: "Example") -> float:
        gold, mine = gold_action(example), said_action(text, parser)
        return float(judge(mine, gold, example)) if mine and mine.name == gold.name else 0.0

    values = settle(decide, completions, examples)
    return Values(values, values.errors, [i for i, text in enumerate(completions) if said_action(text, parser) is None])
