"""The letters of a figure's labels as own bitmaps, so that a picture is the same on every machine.

A glyph is 6 cells high and at most 4 wide, and every cell is 2x2 pixels of the 112-pixel frame: 12-pixel digits with
2-pixel strokes. "1" and the marks are narrow, so that three digits stay within 28 pixels, what one visual token sees.
"""

import numpy as np

CELL, ROWS = 2, 6
HEIGHT = CELL * ROWS
GAP = 2  # pixels between glyphs

_ROWS = {
    "0": ".##. #..# #..# #..# #..# .##.",
    "1": ".#. ##. .#. .#. .#. ###",
    "2": "###. ...# ...# .##. #... ####",
    "3": "###. ...# .##. ...# ...# ###.",
    "4": "#..# #..# #..# #### ...# ...#",
    "5": "#### #... ###. ...# ...# ###.",
    "6": ".##. #... ###. #..# #..# .##.",
    "7": "#### ...# ..#. ..#. .#.. .#..",
    "8": ".##. #..# .##. #..# #..# .##.",
    "9": ".##. #..# #..# .### ...# .##.",
    ".": ". . . . . #",
    "°": "## ## .. .. .. ..",
    "x": ".... #..# #..# .##. #..# #..#",
    "y": "#..# #..# #..# .### ...# .##.",
    "n": ".... ###. #..# #..# #..# #..#",
    "k": "#... #..# #.#. ##.. #.#. #..#",
}
BITMAPS = {sign: np.array([[c == "#" for c in row] for row in rows.split()]) for sign, rows in _ROWS.items()}


def width(text: str) -> int:
    """Pixels of the 112-pixel frame that a label takes."""
    return sum(CELL * BITMAPS[sign].shape[1] for sign in text) + GAP * (len(text) - 1)


def cells(text: str) -> list[tuple[int, int]]:
    """The inked cells of a label as (x, y) pixels of their top left corners, from the label's own top left."""
    found, left = [], 0
    for sign in text:
        bitmap = BITMAPS[sign]
        found += [(left + CELL * int(x), CELL * int(y)) for y, x in np.argwhere(bitmap)]
        left += CELL * bitmap.shape[1] + GAP
    return found
