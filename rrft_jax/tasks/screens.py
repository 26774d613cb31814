"""Rendered screens: buttons, fields, list items and icons in a column of rows, each with its exact box in pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

COLOURS = {
    "red": (205, 40, 40), "blue": (40, 80, 215), "green": (30, 140, 50), "orange": (235, 140, 20),
    "purple": (140, 50, 190), "gray": (120, 120, 124),
}  # fmt: skip
ICONS = ("star", "circle", "cross", "arrow", "square")
UNIT = 112  # a screen is laid out on a square of this many units a side


@dataclass(frozen=True)
class Element:
    """kind: button, field, item, icon, title, text. label: what it says, or an icon's shape. box: x1, y1, x2, y2 in
    units. marked: a field that has the cursor."""

    kind: str
    label: str
    box: tuple[int, int, int, int]
    colour: str = "gray"
    value: str = ""
    marked: bool = False

    @property
    def centre(self) -> tuple[float, float]:
        x1, y1, x2, y2 = self.box
        return (x1 + x2) / 2, (y1 + y2) / 2


def draw_screen(elements: Sequence[Element], size: int = UNIT) -> np.ndarray:
    """uint8[size, size, 3]: the screen."""
    scale = size / UNIT
    page = Image.new("RGB", (size, size), (247, 247, 250))
    pen = ImageDraw.Draw(page)
    for element in elements:
        x1, y1, x2, y2 = (round(v * scale) for v in element.box)
        edges = (x1, y1, x2 - 1, y2 - 1)
        ink, middle = COLOURS[element.colour], ((x1 + x2) / 2, (y1 + y2) / 2)
        font = _font(max(7, round(10 * scale)))
        if element.kind == "button":
            pen.rounded_rectangle(edges, radius=round(3 * scale), fill=ink)
            pen.text(middle, element.label, "white", font, anchor="mm")
        elif element.kind == "field":
            pen.rectangle(edges, fill="white", outline=(40, 80, 215) if element.marked else (150, 150, 155))
            shown = element.value + ("|" if element.marked else "")
            text = shown if shown.strip("|") or element.marked else element.label
            left = (x1 + 3 * scale, middle[1])
            pen.text(left, text, (20, 20, 20) if shown else (150, 150, 155), font, anchor="lm")
        elif element.kind == "item":
            pen.rectangle(edges, fill="white", outline=(225, 225, 228))
            pen.text((x1 + 3 * scale, middle[1]), element.label, (20, 20, 20), font, anchor="lm")
        elif element.kind == "icon":
            _icon(pen, element.label, edges, ink)
        else:
            pen.text((x1, middle[1]), element.label, (20, 20, 20), font, anchor="lm")
    return np.asarray(page)


def pixels(box: Sequence[int], size: int) -> list[int]:
    """A box of units in pixels of a screen of that size."""
    return [round(v * size / UNIT) for v in box]


def _icon(pen: ImageDraw.ImageDraw, shape: str, edges: tuple[int, int, int, int], ink: tuple[int, int, int]) -> None:
    x1, y1, x2, y2 = edges
    mx, my, w, h = (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
    if shape == "circle":
        pen.ellipse(edges, fill=ink)
    elif shape == "square":
        pen.rectangle(edges, fill=ink)
    elif shape == "cross":
        pen.line((x1, y1, x2, y2), fill=ink, width=max(2, round(w / 5)))
        pen.line((x1, y2, x2, y1), fill=ink, width=max(2, round(w / 5)))
    elif shape == "arrow":
        pen.polygon([(x1, my - h / 6), (mx, my - h / 6), (mx, y1), (x2, my), (mx, y2), (mx, my + h / 6),
                     (x1, my + h / 6)], fill=ink)  # fmt: skip
    else:
        turns = np.pi * (np.arange(10) / 5 - 0.5)
        reach = np.where(np.arange(10) % 2, 0.42, 1.0)
        points = [(mx + w / 2 * r * np.cos(t), my + h / 2 * r * np.sin(t)) for t, r in zip(turns, reach, strict=True)]
        pen.polygon([(float(x), float(y)) for x, y in points], fill=ink)


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
