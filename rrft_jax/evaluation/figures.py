"""Line figures as SVG text, the same bytes for the same numbers."""

import importlib.util
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Line:
    """label; x, y float[N]; low, high float[N]: a band around y."""

    label: str
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray
    high: np.ndarray


def check_installed() -> None:
    """ValueError without matplotlib, which the extra `plots` brings: to be told before hours of training, not after."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ValueError("figures need matplotlib: pip install -c requirements.lock -e '.[plots]'")


def panels(title: str, content: Mapping[str, Sequence[Line]]) -> str:
    """One panel per entry, side by side, at most three a row. Needs matplotlib (`check_installed`)."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    columns = min(3, len(content))
    rows = -(-len(content) // columns)
    # hashsalt and no date: or the ids and the header of the file would differ from run to run.
    with matplotlib.rc_context({"svg.hashsalt": "rrft_jax", "font.size": 8, "axes.grid": True, "grid.alpha": 0.3}):
        figure = Figure(figsize=(4 * columns, 2.8 * rows), layout="constrained")
        figure.suptitle(title)
        colours: dict[str, str] = {}  # of a label, the same in every panel
        for number, (name, lines) in enumerate(content.items()):
            axes = figure.add_subplot(rows, columns, number + 1, title=name)
            for line in lines:
                colour = colours.setdefault(line.label, f"C{len(colours)}")
                axes.plot(line.x, line.y, color=colour, marker="." if len(line.x) < 30 else None)
                axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.15, linewidth=0)
        lines = [Line2D([], [], color=colour, label=label) for label, colour in colours.items()]
        figure.legend(handles=lines, loc="outside lower center", ncols=4)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()
