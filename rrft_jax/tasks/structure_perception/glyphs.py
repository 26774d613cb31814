"""The signs of a figure's labels as own bitmaps, so that a picture is the same on every machine.

Digits are drawn in cells of 2x2 pixels of the 112-pixel frame: 12 pixels high with strokes of 2 pixels. "1" is narrow,
so that three digits stay within 28 pixels, what one visual token sees.
"""

import numpy as np

CELL, ROWS = 2, 6
HEIGHT = CELL * ROWS
GAP = 2  # pixels between signs

_COARSE = {
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
    "n": ".... ###. #..# #..# #..# #..#",
    "k": "#... #..# #.#. ##.. #.#. #..#",
}
# Diagonals and a ring need single pixels; they stand on the line, the ring hangs from the top.
_FINE = {
    "x": "##....## ###..### .##..##. ..####.. ...##... ..####.. .##..##. ###..### ##....##",
    "y": "##....## ##....## .##..##. .##..##. ..####.. ..####.. ...##... ..##.... ####.... ###.....",
    "°": ".##. #..# #..# .##.",
}


def _bitmaps() -> dict[str, np.ndarray]:
    read = lambda rows: np.array([[c == "#" for c in row] for row in rows.split()])  # noqa: E731
    made = {sign: np.kron(read(rows), np.ones((CELL, CELL), bool)) for sign, rows in _COARSE.items()}
    for sign, rows in _FINE.items():
        drawn = read(rows)
        blank = HEIGHT - len(drawn)
        made[sign] = np.pad(drawn, ((0, blank) if sign == "°" else (blank, 0), (0, 0)))
    return made


BITMAPS = _bitmaps()


def width(text: str) -> int:
    """Pixels of the 112-pixel frame that a label takes."""
    return sum(BITMAPS[sign].shape[1] for sign in text) + GAP * (len(text) - 1)


def bitmap(text: str) -> np.ndarray:
    """bool[HEIGHT, width(text)]: where a label has ink."""
    gap = np.zeros((HEIGHT, GAP), bool)
    parts = [part for sign in text for part in (BITMAPS[sign], gap)]
    return np.concatenate(parts[:-1], axis=1)
