"""The figures of docs/performance.md, drawn from the raw results alone.

Time and memory are on logarithmic axes: stock and fast lie up to three powers of
ten apart. Lines join the encodings with N = k, as the ticket's plots did; where
those were not measured, whatever was. Hollow marks are estimates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib import pyplot, ticker

from misc import svg
from misc.bench import estimates
from misc.bench.cases import LAN, MB, WIRE_TITLES, WIRES, Case, segment_title
from misc.bench.estimates import Shown
from misc.bench.results import KINDS, STOCK, Results
from misc.grid_client import FOOLSCAP, HTTP
from misc.svg import COLORS, NUMBERS, PANEL_INCHES

STYLES = {FOOLSCAP: "-", HTTP: (0, (4, 2))}
MARKERS = {FOOLSCAP: "o", HTTP: "s"}

Value = Callable[[Results, Case, str], "Shown | None"]


def draw_all(results: Results, directory: Path) -> dict[str, str]:
    """Write every figure that there are results for; their file names, with a caption each."""
    return svg.draw_all(FIGURES, results, directory, is_rounded=True)


# ---------------------------------------------------------------- lines


def _ladder(cases: Sequence[Case]) -> list[Case]:
    """Those with N = k if they make a line, else all; by k."""
    ladder = [case for case in cases if case.file.encoding.needed == case.file.encoding.total]
    chosen = ladder if len({case.file.encoding for case in ladder}) > 2 else list(cases)
    return sorted(chosen, key=lambda case: case.file.encoding)


def _plot(axes: Any, results: Results, cases: Sequence[Case], value: Value) -> None:
    """Lines of both kinds and all transports; bars from the least to the most."""
    for transport in (FOOLSCAP, HTTP):
        chosen = _ladder([case for case in cases if case.transport == transport])
        for kind in KINDS:
            points = [
                (case.file.encoding.needed, shown)
                for case in chosen
                if (shown := value(results, case, kind)) is not None
            ]
            if not points:
                continue
            # All bars as one broken line: errorbar() would write a path for each.
            gap = float("nan")
            axes.plot(
                [x for k, _ in points for x in (k, k, gap)],
                [y for _, shown in points for y in (shown.spread.low, shown.spread.high, gap)],
                color=COLORS[kind],
                linewidth=0.8,
            )
            axes.plot(
                [k for k, _ in points],
                [shown.value for _, shown in points],
                color=COLORS[kind],
                label=f"{kind}, {transport}",
                linestyle=STYLES[transport],
                marker=MARKERS[transport],
            )
            hollow = [(k, shown.value) for k, shown in points if shown.is_estimate]
            axes.plot(
                [k for k, _ in hollow],
                [y for _, y in hollow],
                color=COLORS[kind],
                linestyle="none",
                marker=MARKERS[transport],
                markerfacecolor="white",
            )


def _finish_axes(axes: Any, title: str, is_logarithmic: bool = True) -> None:
    axes.set_title(title, loc="left")
    axes.set_xlabel("k, shares that a segment needs")
    axes.set_xlim(left=0)
    if is_logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(NUMBERS)
        axes.yaxis.set_minor_locator(ticker.NullLocator())
    else:
        axes.set_ylim(bottom=0)


def _finish(figure: Any, title: str) -> None:
    """One title and one legend for all panels."""
    found: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels()):
            found.setdefault(label, handle)
    figure.suptitle(title, x=0.01, ha="left")
    figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=len(found))


def _panels(columns: int, rows: int = 1, share_y: bool = False) -> Any:
    width, height = PANEL_INCHES
    return pyplot.subplots(
        rows,
        columns,
        figsize=(width * columns, height * rows + 0.6),
        layout="constrained",
        sharey=share_y,
        squeeze=False,
    )


# ---------------------------------------------------------------- figures


def _near(results: Results) -> list[Case]:
    return [case for case in results.cases() if case.wire == LAN]


def _largest(results: Results, cases: Sequence[Case]) -> list[Case]:
    """Of the size for which stock has most points to show; of equals, the larger."""
    points: dict[int, int] = {}
    for case in cases:
        is_shown = bool(results.measured(case, STOCK))
        points[case.file.length] = points.get(case.file.length, 0) + is_shown
    if not points:
        return []
    size = max(points, key=lambda length: (points[length], length))
    return [case for case in cases if case.file.length == size]


def draw_times(results: Results) -> Any:
    """k against time, one panel a size; a row of panels for each segment size."""
    cases = _near(results)
    # A size that was measured with one encoding only is no line.
    sizes = [
        size
        for size in sorted({case.file.length for case in cases})
        if len({case.file.encoding for case in cases if case.file.length == size}) > 1
    ]
    segments = sorted({case.file.segment_bytes for case in cases if case.file.length in sizes})
    if not sizes:
        return None
    figure, grid = _panels(len(sizes), len(segments))
    for row, segment_bytes in enumerate(segments):
        for column, size in enumerate(sizes):
            axes = grid[row][column]
            chosen = [
                case
                for case in cases
                if case.file.length == size and case.file.segment_bytes == segment_bytes
            ]
            _plot(axes, results, chosen, estimates.seconds)
            _finish_axes(axes, f"{size / MB:g} MB, {segment_title(segment_bytes)} segments")
        grid[row][0].set_ylabel("seconds")
    _finish(figure, "Time of a download, nodes on one machine")
    return figure, "Time of a whole download against k, on loopback; bars from least to most."


def draw_wires(results: Results) -> Any:
    """k against time through the far wires, one panel a wire."""
    far = [case for case in results.cases() if case.wire != LAN]
    if not far:
        return None
    segment_bytes = min(case.file.segment_bytes for case in far)
    far = [case for case in far if case.file.segment_bytes == segment_bytes]
    far = _largest(results, far)
    wires = [wire for wire in WIRES if any(case.wire == wire for case in far)]
    columns = min(3, len(wires))
    figure, grid = _panels(columns, -(-len(wires) // columns))
    flat = [axes for row in grid for axes in row]
    for axes, wire in zip(flat, wires):
        _plot(axes, results, [case for case in far if case.wire == wire], estimates.seconds)
        _finish_axes(axes, WIRE_TITLES[wire], is_logarithmic=False)
        axes.set_ylabel("seconds")
    for axes in flat[len(wires) :]:
        axes.remove()
    title = f"{far[0].file.length / MB:g} MB, {segment_title(segment_bytes)} segments, from afar"
    _finish(figure, title)
    return figure, "The same through slow wires."


def _draw_costs(
    results: Results, title: str, caption: str, panels: Sequence[tuple[str, Value]]
) -> Any:
    cases = _near(results)
    if not cases:
        return None
    segments = sorted({case.file.segment_bytes for case in cases})
    cases = _largest(results, cases)
    figure, grid = _panels(len(panels) * len(segments))
    column = 0
    for label, value in panels:
        for segment_bytes in segments:
            axes = grid[0][column]
            chosen = [case for case in cases if case.file.segment_bytes == segment_bytes]
            _plot(axes, results, chosen, value)
            _finish_axes(axes, f"{segment_title(segment_bytes)} segments")
            axes.set_ylabel(label)
            column += 1
    _finish(figure, f"{title}, {cases[0].file.length / MB:g} MB")
    return figure, caption


def _memory(results: Results, case: Case, kind: str) -> Shown | None:
    """Only of whole downloads: one that was given up may not have come to its peak."""
    found = results.spread(case, kind, lambda measures: max(0.1, measures.memory_bytes / MB))
    return None if found is None else Shown(found)


def draw_costs(results: Results) -> Any:
    """Memory and CPU of the client against k."""
    return _draw_costs(
        results,
        "What a download costs the client",
        "The client's peak memory over its idle size, and its CPU time, against k.",
        (
            ("MB over idle", _memory),
            ("CPU seconds", estimates.client_cpu_s),
        ),
    )


def draw_reads(results: Results) -> Any:
    """Read messages against k."""
    return _draw_costs(
        results,
        "Read messages of a download",
        "How many read messages a download sends, against k.",
        (("read messages", estimates.reads),),
    )


FIGURES: dict[str, Callable[[Results], Any]] = {
    "time-k.svg": draw_times,
    "time-k-wires.svg": draw_wires,
    "cost-k.svg": draw_costs,
    "reads-k.svg": draw_reads,
}
