"""Draws twenty pictures of coloured discs, and writes what is asked of them as records, one a line.

    python examples/my_task/draw.py

data/ gets train.jsonl with fourteen records, test.jsonl with six, and the pictures in images/.
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

COLOURS = {"red": (173, 35, 35), "green": (29, 105, 20), "blue": (42, 75, 215)}
SIDE, RADIUS = 112, 9


def draw(rng: np.random.Generator) -> tuple[Image.Image, str, int]:
    """A picture of two to six discs that do not touch, the colour that is asked for, and how many discs have it."""
    image = Image.new("RGB", (SIDE, SIDE), (160, 160, 160))
    pen, cells = ImageDraw.Draw(image), rng.permutation(16)[: rng.integers(2, 7)]
    names = [str(name) for name in rng.choice(list(COLOURS), len(cells))]
    for cell, name in zip(cells, names, strict=True):
        x, y = 14 + 28 * (cell % 4), 14 + 28 * (cell // 4)
        pen.ellipse((x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS), COLOURS[name])
    asked = str(rng.choice(names))
    return image, asked, names.count(asked)


def main(folder: Path) -> None:
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for split, count in (("train", 14), ("test", 6)):
        lines = []
        for i in range(count):
            image, asked, number = draw(rng)
            name = f"{split}-{i}"
            image.save(folder / "images" / f"{name}.png")
            question = f"How many {asked} objects exist?"
            record = {"id": name, "image": f"{name}.png", "problem": question, "answer": str(number)}
            lines.append(json.dumps(record) + "\n")
        (folder / f"{split}.jsonl").write_text("".join(lines))
    print(f"{folder}: twenty pictures and their records")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "data")
