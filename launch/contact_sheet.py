"""Draws samples of a task on one PNG, each with its question, answer and chain of thought beneath the picture.

python launch/contact_sheet.py --task=visual_counting --domain=in --n=12 --out=sheet.png
python launch/contact_sheet.py --task=spatial_transformation --domain=left --columns=2 --out=sheet.png
"""

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags
from PIL import Image, ImageDraw, ImageFont

from rrft_jax.data.example import Example
from rrft_jax.tasks.registry import AUTO, get_task

_TASK = flags.DEFINE_string("task", AUTO, "Which task to draw: a name or my_task.py:TASK. auto: the first.")
_DOMAIN = flags.DEFINE_string("domain", "in", "Training distribution (in) or an out-of-domain twin: out, left, right.")
_SPLIT = flags.DEFINE_string("split", "train", "Name of the random stream.")
_N = flags.DEFINE_integer("n", 12, "How many samples.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the samples.", lower_bound=0)
_START = flags.DEFINE_integer("start", 0, "Index of the first sample.", lower_bound=0)
_SIZE = flags.DEFINE_integer("image_size", 112, "Pixels a side that the model sees.", lower_bound=28)
_SCALE = flags.DEFINE_integer("scale", 3, "Enlargement of each picture; its pixels stay visible.", lower_bound=1)
_COLUMNS = flags.DEFINE_integer("columns", 4, "Samples in a row.", lower_bound=1)
_HIDE = flags.DEFINE_boolean("hide_answers", False, "Print the question only, to try it oneself.")
_MARKS = flags.DEFINE_boolean("marks", False, "Draw the gold boxes and points of an example on its picture.")
_OUT = flags.DEFINE_string("out", "contact_sheet.png", "The PNG to write.")

MARGIN, FONT_SIZE, LINE = 10, 13, 17
MARK = (255, 0, 160)


def captions(example: Example, width: int, hide: bool) -> list[str]:
    """The lines under one picture, wrapped to `width` characters."""
    texts = [f"{example.id} ({example.metadata.get('question_type', '')})", "Q: " + example.problem]
    if not hide:
        texts += ["A: " + example.answer, "CoT: " + (example.cot or "none")]
    return [line for text in texts for part in text.split("\n") for line in textwrap.wrap(part, width)]


def sheet(
    examples: Sequence[Example], columns: int, scale: int, hide: bool = False, marks: bool = False
) -> Image.Image:
    """A grid of examples; every example shows its images side by side. marks: with their gold boxes and points."""
    font = ImageFont.load_default(FONT_SIZE)
    strips = [_strip(example, scale) for example in examples]
    for example, strip in zip(examples, strips, strict=True):
        if marks:
            _mark(example, strip, scale)
    cell = max(strip.width for strip in strips)
    letters = int(cell / font.getlength("n"))
    texts = [captions(example, letters, hide) for example in examples]
    starts = range(0, len(examples), columns)
    tall = [strip.height + LINE * (len(text) + 1) for strip, text in zip(strips, texts, strict=True)]
    heights = [max(tall[start : start + columns]) for start in starts]
    width = MARGIN + (cell + MARGIN) * min(columns, len(examples))
    page = Image.new("RGB", (width, MARGIN + sum(heights) + MARGIN * len(heights)), "white")
    draw, top = ImageDraw.Draw(page), MARGIN
    for start, height in zip(starts, heights, strict=True):
        for column, index in enumerate(range(start, min(start + columns, len(examples)))):
            left = MARGIN + column * (cell + MARGIN)
            page.paste(strips[index], (left, top))
            for row, line in enumerate(texts[index]):
                draw.text((left, top + strips[index].height + 4 + LINE * row), line, fill="black", font=font)
        top += height + MARGIN
    return page


def _strip(example: Example, scale: int) -> Image.Image:
    images = [Image.fromarray(image) for image in example.images]
    strip = Image.new("RGB", (sum(i.width for i in images) * scale, max(i.height for i in images) * scale), "white")
    left = 0
    for image in images:
        strip.paste(image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST), (left, 0))
        left += image.width * scale
    return strip


def _mark(example: Example, strip: Image.Image, scale: int) -> None:
    """Outlines metadata `box` and `boxes` and crosses `point`, which are in pixels of the first picture."""
    draw, known = ImageDraw.Draw(strip), example.metadata
    for x1, y1, x2, y2 in (*(known.get("boxes") or ()), *([known["box"]] if known.get("box") else ())):
        draw.rectangle((x1 * scale, y1 * scale, x2 * scale - 1, y2 * scale - 1), outline=MARK)
    if known.get("point"):
        x, y = (v * scale for v in known["point"])
        draw.line((x - 2 * scale, y, x + 2 * scale, y), fill=MARK, width=2)
        draw.line((x, y - 2 * scale, x, y + 2 * scale), fill=MARK, width=2)


def main(argv: Sequence[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}: every option is a --flag=value")
    task = get_task(_TASK.value, "--task")
    if task.make is None:
        sys.exit(f"--task={task.name} generates no examples")
    make = task.make
    numbers = range(_START.value, _START.value + _N.value)
    try:
        examples = [make(_SEED.value, number, _SPLIT.value, _DOMAIN.value, _SIZE.value) for number in numbers]
    except ValueError as error:
        sys.exit(f"--domain={_DOMAIN.value}: {error}")
    out = Path(_OUT.value)
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet(examples, _COLUMNS.value, _SCALE.value, _HIDE.value, _MARKS.value).save(out)
    print(f"wrote {out} with {len(examples)} samples")


if __name__ == "__main__":
    app.run(main)
