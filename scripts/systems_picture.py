"""Held-out pictures with gold places (magenta) and the places that answers gave before and after a run (red, green).

    python scripts/systems_picture.py workdirs/systems/grounding-grpo-seed1 docs/results/systems/grounding.png

Reads what the run kept of its first and last evaluation (config.log.held_out_prompts). Shown are answers that became
right in the run, then others that it changed. Names and actions without a place stand under the picture alone.
"""

import json
import textwrap
from pathlib import Path

import numpy as np
from absl import app
from PIL import Image, ImageDraw, ImageFont
from systems_failures import kinds

from rrft_jax.answers.actions import read_action, split_reply
from rrft_jax.answers.detections import read_detections
from rrft_jax.answers.tags import extract_answer
from rrft_jax.data.example import Example
from rrft_jax.rewards.boxes import read_boxes
from rrft_jax.rewards.points import read_points
from rrft_jax.run.workdir import stored_config
from rrft_jax.tasks.registry import get_task

SCALE, SHOWN, LINE, MARGIN = 2, 6, 13, 8
GOLD, BEFORE, AFTER = (255, 0, 160), (225, 40, 40), (20, 160, 60)


def places(task: str, text: str) -> list[tuple[float, ...]]:
    """Boxes and points of an answer, in shares of the sides."""
    if task == "detection":
        return [tuple(v / 1000 for v in each.position) for each in read_detections(text) or ()]
    if task == "ui_navigation":
        action = read_action(split_reply(text)[1] or text)
        values = action.values.values() if action else ()
        return [tuple(v / 1000 for v in value) for value in values if isinstance(value, tuple) and value]
    answer = extract_answer(text)
    said = answer.text if answer else ""
    if task == "spatial_referring":
        return read_points(said)[:1]
    return [tuple(v / 1000 for v in box) for box in read_boxes(said)]


def draw(pen: ImageDraw.ImageDraw, place: tuple[float, ...], width: int, height: int, ink: tuple) -> None:
    """A box as its outline, a point as a cross."""
    sides = (width, height)
    flat = [v * sides[i % 2] for i, v in enumerate(place)]
    if len(flat) == 4:
        x1, x2, y1, y2 = *sorted(flat[::2]), *sorted(flat[1::2])
        pen.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=ink, width=2)
    else:
        x, y = flat
        pen.line((x - 7, y - 7, x + 7, y + 7), fill=ink, width=3)
        pen.line((x - 7, y + 7, x + 7, y - 7), fill=ink, width=3)


def cell(task: str, example: Example, texts: tuple[str, str], found: tuple[str, str]) -> Image.Image:
    """The picture of an example with its places, and both answers in words beneath it."""
    font = ImageFont.load_default(10)
    picture = Image.fromarray(example.images[0])
    picture = picture.resize((picture.width * SCALE, picture.height * SCALE), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture)
    for text, ink in ((f"<answer>{example.answer}</answer>", GOLD), (texts[0], BEFORE), (texts[1], AFTER)):
        for place in places(task, text if task != "ui_navigation" or text in texts else example.answer):
            draw(pen, place, *picture.size, ink)
    said = [(example.problem.split("\n")[0], (0, 0, 0)), *zip(map(_short, texts, found), (BEFORE, AFTER), strict=True)]
    lines = [(line, ink) for text, ink in said for line in textwrap.wrap(text, 40)[:3]]
    page = Image.new("RGB", (picture.width, picture.height + LINE * len(lines) + 4), "white")
    page.paste(picture, (0, 0))
    for row, (line, ink) in enumerate(lines):
        ImageDraw.Draw(page).text((2, picture.height + 2 + LINE * row), line, fill=ink, font=font)
    return page


def _short(text: str, kind: str) -> str:
    answer = extract_answer(text)
    return f"{kind}: {(split_reply(text)[1] or (answer.text if answer else text)).strip()}"


def rows(workdir: Path, step: int) -> dict[str, str]:
    file = workdir / "held_out" / f"step_{step:06d}" / "groups.jsonl"
    lines = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return {line["example_id"]: line["completions"][0] for line in lines if line["task"] == "eval"}


def main(argv: list[str]) -> None:
    if len(argv) != 3:
        raise app.UsageError("give a finished workdir and the picture to write")
    workdir, out = Path(argv[1]), Path(argv[2])
    config = stored_config(workdir)
    task = get_task(config.task)
    before, after = rows(workdir, 0), rows(workdir, config.train.steps)
    made = [task.make(0, i, "val", "in") for i in range(len(before))]
    kept = [e for e in made if e.id in before and e.id in after]
    pairs = [tuple(kinds(task.name, [answers[e.id]], [e])[0] for answers in (before, after)) for e in kept]
    order = sorted(range(len(kept)), key=lambda i: (pairs[i][1] != "right", pairs[i][0] == "right", i))
    wrong = [i for i in order if pairs[i][1] != "right"][:2]
    chosen = [*[i for i in order if i not in wrong][: SHOWN - len(wrong)], *wrong]
    cells = [cell(task.name, kept[i], (before[kept[i].id], after[kept[i].id]), pairs[i]) for i in chosen]
    width, height = max(c.width for c in cells) + MARGIN, max(c.height for c in cells) + MARGIN
    page = Image.new("RGB", (width * 3 + MARGIN, height * -(-len(cells) // 3) + MARGIN), "white")
    for place, each in enumerate(cells):
        page.paste(each, (MARGIN + width * (place % 3), MARGIN + height * (place // 3)))
    page.save(out, optimize=True)
    print(f"{out}: {out.stat().st_size / 1000:.0f} kB, {np.mean([p[1] == 'right' for p in pairs]):.3f} right after")


if __name__ == "__main__":
    app.run(main)
