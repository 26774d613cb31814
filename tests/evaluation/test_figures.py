"""Figures: what is said where they cannot be drawn, and one colour for a label in every panel."""

import importlib.util
import re

import numpy as np
import pytest

from rrft_jax.evaluation.figures import Line, check_installed, panels


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    check_installed()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install .* -e '\.\[plots\]'"):
        check_installed()


def test_a_label_has_one_colour_in_every_panel_and_one_place_in_the_legend():
    x = np.arange(40.0)  # no markers, so that a line is one path
    line = lambda label, y: Line(label, x, x * y, x * y, x * y)  # noqa: E731
    svg = panels("title", {"one": [line("a", 1), line("b", 2)], "two": [line("b", 3)]})
    strokes = re.findall(r"stroke: (#\w{6}); stroke-width: 1\.5; stroke-linecap: square", svg)
    a, b = "#1f77b4", "#ff7f0e"  # the first two of matplotlib's cycle
    assert [s for s in strokes if s in (a, b)] == [a, b, b, a, b]  # three lines, then the legend's two
