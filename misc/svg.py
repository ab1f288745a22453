"""The figures' files: one look for all, and the same bytes from the same results.

Importing it needs matplotlib, which only the ``bench`` extra brings.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import matplotlib

matplotlib.use("svg")

from matplotlib import pyplot, ticker

from misc.bench.cases import FAST, STOCK

COLORS = {STOCK: "#c2410c", FAST: "#1d4ed8"}

PANEL_INCHES = (2.9, 2.5)

NUMBERS = ticker.FuncFormatter(lambda value, _: f"{value:g}")

STYLE: Any = {  # of rcParams' many keys
    "axes.edgecolor": "#666666",
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9,
    "axes.labelsize": 8,
    "figure.titlesize": 11,
    "font.family": "sans-serif",
    "font.size": 8,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 3.5,
    "svg.fonttype": "none",  # text stays text: smaller, and found by a search
    "svg.hashsalt": "tahoe-fastdl",  # the same results give the same file
}

Source = TypeVar("Source")
Drawn = tuple[Any, str]  # the figure, its caption


def draw_all(
    figures: Mapping[str, Callable[[Source], Drawn | None]],
    source: Source,
    directory: Path,
    is_rounded: bool = False,
) -> dict[str, str]:
    """Write those that there are results for; their file names, with a caption each.

    :param figures: by file name, what draws each; it gives None if there is too little to draw.
    :param is_rounded: write no place finer than a hundredth of a point: about half the bytes.
    """
    directory.mkdir(parents=True, exist_ok=True)
    captions = {}
    with matplotlib.rc_context(STYLE):
        for name, draw in figures.items():
            drawn = draw(source)
            if drawn is None:
                continue
            figure, captions[name] = drawn
            (directory / name).write_text(_svg_of(figure, is_rounded), encoding="utf-8")
    return captions


def _svg_of(figure: Any, is_rounded: bool) -> str:
    """The figure's text, without a date and indents; closes the figure."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    svg = text.getvalue()
    if is_rounded:
        svg = re.sub(r"\d+\.\d{3,}", lambda found: f"{float(found.group()):.2f}", svg)
    return "".join(line.strip() + "\n" for line in svg.splitlines() if line.strip())
