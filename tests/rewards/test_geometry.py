"""Boxes, points and the conventions of coordinates: against hand-worked values, transformers, brute force, any text."""

import itertools
import math
import random
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrft_jax.answers.actions import ACTIONS, Action, read_action, read_published_action, split_reply, write_action
from rrft_jax.answers.detections import read_detections, read_published_detections
from rrft_jax.answers.perceptions import read_perceptions
from rrft_jax.data.example import Example
from rrft_jax.rewards.boxes import Box, as_box, giou, iou, iou_table, match, read_boxes
from rrft_jax.rewards.coordinates import CONVENTIONS, convert, frame, rewrite, size_of, written
from rrft_jax.rewards.points import Region, mask_share, read_points, text_points
from rrft_jax.rewards.screen_box import in_box
from rrft_jax.tasks.ui_navigation.generator import rewritten
from tests.rewards.hostile import hostile_texts
from tests.timing import within

PARSERS = (
    read_detections, read_published_detections, read_action, read_published_action, split_reply, read_perceptions,
    read_boxes, read_points, lambda text: text_points(text, 640, 480),
    lambda text: rewrite(text, "resized", "unit", frame(640, 480)),
    lambda text: rewritten(text, "resized", frame(640, 480)),
)  # fmt: skip
UNITS = [
    "{'Position': [1, 2, 3, 4], 'Confidence': 0.5}, ", "[", "{", "(", "((1,2),", "[1,", "1", "9,", "'", '"', "}, ", "]",
    "Click(box=(1, 2))", "Type(content='a, \"b\"\n')", "<answer>", "<answer>[", "</answer>", "<action>", "</action>",
    "[Position] [cup]: [(0.1, 0.2)]\n", "[Size] [", " ", "\n", "[1, 2, 3, 4]", "(1, 2), (3, 4)", "(1.", "-", "NaN, ",
    "Infinity", "position: [", "confidence: ", "\\", "é", "٣", "(٣, ٤)",
]  # fmt: skip
TEXT_S = 0.5  # of processor time; 0.03 s is the worst seen


def everything(text):
    for parser in PARSERS:
        within(TEXT_S, parser, text)


def broken(seed, count):
    """Hostile texts, pieces of answers in disorder, and random bytes."""
    draw = random.Random(seed)
    for text in hostile_texts(seed, count):
        kind = draw.random()
        if kind < 0.4:
            text = "".join(draw.choice(UNITS) for _ in range(draw.randint(0, 30)))
        elif kind < 0.7:
            text = draw.randbytes(draw.randint(0, 200)).decode("latin-1" if kind < 0.5 else "utf-8", "replace")
        yield text if draw.random() < 0.5 else f"<answer>{text}</answer>"


def test_no_text_is_too_much():
    for unit in UNITS:
        for wrap in ("{}", "<answer>{}</answer>", "<answer>{}", "Type(content='{}')"):
            everything(wrap.format(unit * (20_000 // len(unit))))
    everything("[" * 100_000 + "]" * 100_000)
    everything("<answer>" + '{"a":' * 50_000 + "</answer>")
    many = ", ".join(f"{{'Position': [{i}, {i}, {i + 9}, {i + 9}], 'Confidence': 0.5}}" for i in range(10_000))
    assert len(read_detections(f"<answer>[{many}]</answer>")) == 10_000
    assert len(read_published_detections(f"<answer>[{many}]</answer>")) == 10_000


def test_10_000_texts():
    for text in broken(6, 10_000):
        everything(text)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.text(max_size=200) | st.lists(st.sampled_from(UNITS), max_size=12).map("".join))
def test_any_text(text):
    everything(text)


def test_hand_worked_overlaps():
    a, b = Box(0, 0, 10, 10), Box(5, 0, 15, 10)
    assert iou(a, b) == pytest.approx(1 / 3) and giou(a, b) == pytest.approx(1 / 3)
    far = Box(20, 0, 30, 10)  # the enclosing box is 30 x 10, of which 10 x 10 is in neither
    assert iou(a, far) == 0.0 and giou(a, far) == pytest.approx(-1 / 3)
    for none in (Box(10, 10, 0, 0), Box(5, 5, 5, 9), Box(math.nan, 0, 1, 1), Box(0, 0, math.inf, 1)):
        assert iou(a, none) == iou(none, none) == 0.0 and giou(a, none) == -1.0
    assert as_box([1, 2, 3, float("nan")]) is as_box([1, 2, 3]) is as_box("1234") is as_box([1, 2, 3, True]) is None


SIDE = st.integers(-20, 40)
BOX = st.tuples(SIDE, SIDE, SIDE, SIDE).map(lambda v: Box(*map(float, v)))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(BOX, max_size=6), st.lists(BOX, max_size=6))
def test_tables_count_pixels_and_matches_take_each_gold_once(boxes, gold):
    def pixels(box):
        rows = np.arange(-20, 40)
        inside = lambda low, high: (rows >= low) & (rows < high)  # noqa: E731
        return inside(box.y1, box.y2)[:, None] & inside(box.x1, box.x2)[None]

    table = iou_table(boxes, gold)
    for (i, a), (j, b) in itertools.product(enumerate(boxes), enumerate(gold)):
        union = (pixels(a) | pixels(b)).sum() if a.area and b.area else 0
        counted = (pixels(a) & pixels(b)).sum() / union if union else 0.0
        assert table[i, j] == pytest.approx(counted) == pytest.approx(iou(a, b))
        assert -1.0 <= giou(a, b) <= iou(a, b) + 1e-9
    found = match(boxes, gold)
    assert len(found) == len(boxes) and sum(value > 0 for value in found) <= len(gold)
    assert all(value == 0.0 or value > 0.5 for value in found)


def test_10_000_boxes_are_matched_soon():
    rng = np.random.default_rng(0)
    boxes = [Box(x, y, x + 20, y + 20) for x, y in rng.uniform(0, 900, (10_000, 2)).tolist()]
    assert sum(value > 0 for value in within(5, match, boxes, boxes[:200])) >= 150


@pytest.mark.parametrize("source", CONVENTIONS)
@pytest.mark.parametrize("target", CONVENTIONS)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    size=st.tuples(st.integers(28, 4000), st.integers(28, 4000)), corner=st.tuples(*[st.floats(0, 1)] * 4),
    limits=st.sampled_from([(3136, 12_845_056), (3136, 12_544), (2_000_000, 4_800_000)]),
    side=st.sampled_from([28, 32]),
)  # fmt: skip
def test_every_pair_of_conventions(source, target, size, corner, limits, side):
    """Independently: the share of each side, times that side as the convention counts it."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    width, height = size
    if max(size) / min(size) > 200:
        return
    seen = frame(width, height, *limits, side)
    high, wide = smart_resize(height, width, side, *limits)
    sides = {"pixels": (width, height), "resized": (wide, high), "thousandths": (1000, 1000), "unit": (1, 1)}
    says = {name: [share * sides[name][place % 2] for place, share in enumerate(corner)] for name in CONVENTIONS}
    assert convert(says[source], source, target, seen) == pytest.approx(says[target], rel=1e-9, abs=1e-9)
    back = convert(convert(says[source], source, target, seen), target, source, seen)
    assert back == pytest.approx(says[source], rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("size", [None, [640], [6, 4, 3], ["640", "480"], [640, True], [640, math.nan], [0, 480]])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(ValueError, match=r"give the picture's \[width, height\] in pixels"):
        size_of(Example("e", "t", "?", "", metadata={"size": size}))


def test_places_in_a_text_are_rewritten_and_the_place_that_says_there_is_none_is_not():
    text = "from [0, 240] to (640, 480), or [-1, -1]; (-1, 48, 64, 96)"
    said = "from [0.0, 500.0] to (1000.0, 1000.0), or [-1, -1]; (-1.5625, 100.0, 100.0, 200.0)"
    assert re.sub(r"(\.\d+?)0+\b", r"\1", rewrite(text, "pixels", "thousandths", frame(640, 480))) == said


def test_rewards_of_screens_read_resized_pixels_by_the_side_of_a_visual_token():
    """A picture of 100x100 is one of 96x96 to a processor with tokens of 32 pixels, and of 112x112 with 28."""
    example = Example("e", "ui_grounding", "?", "", metadata={"size": [100, 100], "box": [91, 91, 99, 99]})
    for side, middle in ((32, 91.2), (28, 106.4)):
        limits = {"coordinates": "resized", "min_pixels": 56, "max_pixels": 10**6, "token_side": side}
        assert in_box([f"[{middle}, {middle}]", "[98.7, 98.7]"], [example] * 2, [0, 0], 0, **limits) == [1, 0]


def test_coordinates_as_they_are_written():
    assert written((0.5, 10.49, 99.5), "pixels") == ("1", "10", "100")
    assert written((0.34149, 1), "unit") == ("0.341", "1.000")
    with pytest.raises(ValueError, match="coordinates='percent': choose one of pixels, resized"):
        convert((1, 2), "percent", "pixels", frame(100, 100))
    with pytest.raises(ValueError, match="0x10 pixels has no area"):
        frame(0, 10)


def test_masks():
    mask = np.zeros((48, 64), bool)
    mask[10:20, 10:30] = True
    assert mask_share([], mask) is None
    assert mask_share([Region(10, 10), Region(29, 19), Region(30, 19), Region(-1, 10), Region(1e9, 5)], mask) == 0.4
    assert mask_share([Region(0, 10, 40, 20, True)], mask) == 0.5
    assert mask_share([Region(50, 40, 10**6, 10**6, True)], mask) == 0.0
    whole = np.ones((48, 64), bool)  # beyond the border nothing is right, where an index below 0 would wrap around
    assert mask_share([Region(0, 0)], whole) == 1.0
    assert [mask_share([Region(*at)], whole) for at in ((-0.5, 9), (9, -0.5), (64, 9), (9, 48))] == [0.0] * 4
    assert mask_share([Region(-9, -9, 32, 24, True), Region(-9, -9, 0, 9, True)], whole) == 1.0
    assert text_points("(1, 2, 3, 4) (1,) (1, 2, 3) (0.5, 0.25)", 64, 48) == [Region(1, 2, 3, 4, True), Region(32, 12)]


POINT = st.tuples(st.integers(0, 3000), st.integers(0, 3000)).map(lambda p: tuple(map(float, p)))
WORDS = st.text("ab'\",()= \n\té", max_size=20).map(str.strip)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.sampled_from(list(ACTIONS)), POINT, POINT, WORDS)
def test_an_action_comes_back_as_it_was_written(name, first, second, words):
    points, texts = ACTIONS[name]
    values = dict(zip(points, (first, second), strict=False))
    values |= dict.fromkeys(texts, "")
    if name == "Scroll":
        values["direction"] = "up"
    elif texts:
        values[texts[0]] = words
    action = Action(name, values)
    text = f"<think>go</think><action>{write_action(action)}</action>"
    assert split_reply(text) == (True, write_action(action))
    if not (texts and name != "Scroll" and not words):  # an empty text is not written
        assert read_action(split_reply(text)[1]) == action
