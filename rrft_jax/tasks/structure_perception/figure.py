"""A figure as a value, polylines and labels in a frame of 112 pixels, and how it is drawn."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from rrft_jax.tasks.structure_perception.glyphs import HEIGHT, bitmap, width

FRAME = 112
TOKEN = 28  # pixels a side of what one visual token sees at FRAME
SAMPLES = 4  # sub-pixels a side
Point = tuple[float, float]  # x to the right, y down, pixels of the frame


@dataclass(frozen=True)
class Label:
    """text, the centre of its box, and its part in the figure ("apex"), or "" where all labels play the same part."""

    text: str
    x: float
    y: float
    role: str = ""

    @property
    def box(self) -> tuple[float, float, float, float]:
        """left, top, right, bottom."""
        w = width(self.text) / 2
        return self.x - w, self.y - HEIGHT / 2, self.x + w, self.y + HEIGHT / 2

    @property
    def cell(self) -> tuple[int, int]:
        """Row and column of the visual token that holds the centre: the order in which labels are read."""
        return int(self.y // TOKEN), int(self.x // TOKEN)

    def spoken(self) -> str:
        """The label as words: "40", "x base"; a degree sign is not spoken."""
        return f"{self.text.rstrip('°')} {self.role}".strip()


@dataclass(frozen=True)
class Style:
    """Colours and the thickness of the lines in pixels of the frame; fill None leaves areas empty."""

    line: tuple[int, int, int]
    ink: tuple[int, int, int]
    fill: tuple[int, int, int] | None
    thickness: float


STYLES = {
    "in": Style((30, 80, 190), (0, 0, 0), None, 2.0),
    "out": Style((90, 90, 90), (20, 20, 20), (232, 232, 232), 2.0),
}


@dataclass(frozen=True)
class Figure:
    """name: the word that opens its description. lines: polylines. labels. area: what a style may fill, or ()."""

    name: str
    lines: tuple[tuple[Point, ...], ...]
    labels: tuple[Label, ...]
    area: tuple[Point, ...] = ()

    def listing(self) -> str:
        """The description: the name, then the labels in their order."""
        return f"{self.name}: {', '.join(label.spoken() for label in self.labels)}."


def render(figure: Figure, style: Style, size: int) -> np.ndarray:
    """uint8[size, size, 3], the frame scaled to `size` pixels a side."""
    scale = SAMPLES * size / FRAME
    page = Image.new("RGB", (SAMPLES * size, SAMPLES * size), "white")
    draw = ImageDraw.Draw(page)
    at = lambda points: [(x * scale, y * scale) for x, y in points]  # noqa: E731
    if style.fill and figure.area:
        draw.polygon(at(figure.area), fill=style.fill)
    thick = style.thickness * scale
    for line in figure.lines:
        draw.line(at(line), fill=style.line, width=round(thick), joint="curve")
        for x, y in (at(line)[0], at(line)[-1]):  # round ends, so that lines that meet leave no notch
            draw.ellipse((x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2), fill=style.line)
    for label in figure.labels:
        left, top, right, bottom = (round(edge * scale) for edge in label.box)
        mask = Image.fromarray(255 * bitmap(label.text).astype(np.uint8))
        page.paste(style.ink, (left, top), mask.resize((right - left, bottom - top), Image.Resampling.NEAREST))
    return np.asarray(page.reduce(SAMPLES))
