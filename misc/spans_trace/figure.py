"""The figure: what an event and a segment cost, against k and against the segments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib import pyplot, ticker

from misc import svg
from misc.bench.cases import FAST, STOCK, File
from misc.spans_trace.results import BITMAPS, Cost, Costs, by_k, by_segments
from misc.svg import COLORS, NUMBERS, PANEL_INCHES

NAME = "spans-trace.svg"

# Title, kind whose colour it has, line, mark.
LINES: dict[str, tuple[str, str, Any, str]] = {
    STOCK: ("stock", STOCK, "-", "o"),
    BITMAPS: ("stock's events on our bitmaps", FAST, (0, (4, 2)), "s"),
    FAST: ("fast", FAST, "-", "o"),
}
# Label, value, whether on a logarithmic axis: powers of ten lie between segments.
VALUES: tuple[tuple[str, Callable[[Cost], float], bool], ...] = (
    ("microseconds an event", lambda cost: cost.us_an_event, False),
    ("microseconds a segment", lambda cost: cost.us_a_segment, True),
)


def draw(found: Costs, directory: Path) -> str:
    """Write the figure; its caption, or "" if there is too little to draw."""
    return svg.draw_all({NAME: _figure}, found, directory).get(NAME, "")


def _figure(found: Costs) -> svg.Drawn | None:
    ladder, lengths = by_k(found), by_segments(found)
    if len(ladder) < 2 or len(lengths) < 2:
        return None
    segments = found[ladder[0]][STOCK].segments
    width, height = PANEL_INCHES
    figure, grid = pyplot.subplots(
        2, 2, figsize=(2 * width + 0.6, 2 * height + 0.6), layout="constrained"
    )
    for column, (label, value, is_logarithmic) in enumerate(VALUES):
        upper, lower = grid[0][column], grid[1][column]
        _plot(upper, found, ladder, lambda file: file.encoding.needed, value)
        upper.set_title(f"{segments} segments", loc="left")
        upper.set_xlabel("k, shares that a segment needs")
        _plot(lower, found, lengths, lambda file: found[file][STOCK].segments, value)
        lower.set_title(str(lengths[0].encoding), loc="left")
        lower.set_xlabel("segments of the file")
        for axes in (upper, lower):
            _finish_y(axes, label, is_logarithmic)
    figure.suptitle("What bookkeeping costs a download", x=0.01, ha="left")
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    caption = (
        "What an event and a delivered segment cost, replayed: against k, and against segments."
    )
    return figure, caption


def _plot(
    axes: Any,
    found: Costs,
    files: Sequence[File],
    place: Callable[[File], int],
    value: Callable[[Cost], float],
) -> None:
    for replay, (label, kind, style, marker) in LINES.items():
        axes.plot(
            [place(file) for file in files],
            [value(found[file][replay]) for file in files],
            color=COLORS[kind],
            label=label,
            linestyle=style,
            marker=marker,
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(ticker.FixedLocator([place(file) for file in files]))
    axes.xaxis.set_major_formatter(NUMBERS)
    axes.xaxis.set_minor_locator(ticker.NullLocator())


def _finish_y(axes: Any, label: str, is_logarithmic: bool) -> None:
    axes.set_ylabel(label)
    if is_logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(NUMBERS)
        axes.yaxis.set_minor_locator(ticker.NullLocator())
    else:
        axes.set_ylim(bottom=0)
