"""Draws twenty pictures of coloured discs, and writes what is asked of them as records.

    python examples/my_task/draw.py

train/ gets fourteen and test/ six, each a folder of PNG files with records.json.
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

COLOURS = {"red": (173, 35, 35), "green": (29, 105, 20), "blue": (42, 75, 215)}
SIDE, RADIUS = 112, 9


def draw(rng: np.random.Generator) -> tuple[Image.Image, str, int]:
    """A picture of two to six discs that do not touch, the colour that is asked for, and how many have it."""
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
    for split, count in (("train", 14), ("test", 6)):
        (folder / split).mkdir(parents=True, exist_ok=True)
        records = []
        for i in range(count):
            image, asked, number = draw(rng)
            image.save(folder / split / f"{i:02d}.png")
            question = f"How many {asked} objects exist?"
            records.append({"id": f"{split}-{i}", "image": f"{i:02d}.png", "problem": question, "answer": str(number)})
        (folder / split / "records.json").write_text(json.dumps(records, indent=1) + "\n")
    print(f"{folder}: twenty pictures and their records")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "data")
