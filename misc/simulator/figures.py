"""The figures of the simulation, drawn from its results alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import pyplot

from misc import svg
from misc.bench.cases import MB, segment_title
from misc.simulator import policies
from misc.simulator.report import Group, Line, fetched, percentile
from misc.simulator.studies import CROWD, HEDGES, LATE, TAILS
from misc.svg import COLORS, NUMBERS, PANEL_INCHES

TAIL_TROUBLE = "pauses"
LINE_COLORS = {
    policies.STOCK.name: COLORS["stock"],
    policies.PATIENT.name: "#6b7280",
    policies.FAST.name: COLORS["fast"],
}
POINTS = 300  # of a curve; more only make the file larger


def draw_all(lines: Sequence[Line], directory: Path) -> dict[str, str]:
    """Write those that there are results for; their file names, with what they show."""
    return svg.draw_all(FIGURES, lines, directory)


def _panels(count: int) -> tuple[Any, Sequence[Any]]:
    width, height = PANEL_INCHES
    figure, axes = pyplot.subplots(
        1, count, figsize=(count * width + 0.4, height + 0.6), layout="constrained", squeeze=False
    )
    return figure, list(axes[0])


def thinned(times: Sequence[float]) -> list[int]:
    """Places of a sorted list that show its whole course, the last ones all."""
    count = len(times)
    step = max(1, count // POINTS)
    return sorted({*range(0, count, step), *range(max(0, count - POINTS // 3), count)})


def tails(lines: Sequence[Line]) -> tuple[Any, str] | None:
    """Which part of the downloads take longer than a time."""
    chosen = [
        line for line in Group.of(lines, TAILS).lines
        if line["trouble"] == TAIL_TROUBLE and line.get("seconds")
    ]  # fmt: skip
    encodings = sorted({(line["needed"], line["total"]) for line in chosen})
    if not encodings:
        return None
    figure, panels = _panels(len(encodings))
    for axes, encoding in zip(panels, encodings):
        for line in chosen:
            if (line["needed"], line["total"]) != encoding:
                continue
            times, count = line["seconds"], line["count"]
            places = thinned(times)
            axes.plot(
                [times[place] for place in places],
                [1 - place / count for place in places],
                color=LINE_COLORS[line["policy"]],
                label=line["policy"],
                drawstyle="steps-post",
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.xaxis.set_major_formatter(NUMBERS)
        axes.yaxis.set_major_formatter(NUMBERS)
        axes.set_title(f"{encoding[0]}-of-{encoding[1]}", loc="left")
        axes.set_xlabel("seconds")
    panels[0].set_ylabel("part that takes longer")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    figure.suptitle("How long a download takes when servers pause", x=0.01, ha="left")
    return figure, "The part of downloads that take longer than a time, when servers pause."


def constants(lines: Sequence[Line]) -> tuple[Any, str] | None:
    """p99 and cost against each constant."""
    studies = ((LATE, "late_factor", "LATE_FACTOR"), (HEDGES, "hedge_part", "HEDGE_PART"))
    if not all(Group.of(lines, study).lines for study, _, _ in studies):
        return None
    values: tuple[tuple[str, Callable[[Line], float | None]], ...] = (
        ("p99, seconds", lambda line: percentile(line, 0.99)),
        ("asked for, of what is delivered", fetched),
    )
    figure, panels = _panels(4)
    places = [(study, value) for study in studies for value in values]
    for axes, ((study, name, title), (label, value)) in zip(panels, places):
        group = Group.of(lines, study).lines
        for encoding in sorted({(line["needed"], line["total"]) for line in group}):
            here = [line for line in group if (line["needed"], line["total"]) == encoding]
            axes.plot(
                [line.get(name, 0.0) for line in here],
                [value(line) for line in here],
                label=f"{encoding[0]}-of-{encoding[1]}",
                marker="o" if encoding[0] < 10 else "s",
            )
        axes.set_xlabel(title)
        axes.set_title(label, loc="left")
        axes.set_ylim(bottom=0 if "p99" in label else None)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    figure.suptitle("When a read is late, and what hedges may cost", x=0.01, ha="left")
    return figure, "The slowest hundredth, and bytes asked for, against the core's constants."


def crowd(lines: Sequence[Line]) -> tuple[Any, str] | None:
    """How many of a crowd are done by when."""
    chosen = [line for line in Group.of(lines, CROWD).lines if line.get("seconds")]
    if not chosen:
        return None
    figure, (axes,) = _panels(1)
    for line, style in zip(chosen, ("-", (0, (4, 2)))):
        times = line["seconds"]
        size = f"{line['length'] / MB:g} MB, {segment_title(line['segment_bytes'])}"
        axes.plot(
            times,
            [(place + 1) / line["count"] for place in range(len(times))],
            color=COLORS["fast"],
            label=size,
            linestyle=style,
        )
    axes.set_xlabel("seconds from its own request")
    axes.set_ylabel("part of the downloads")
    axes.set_ylim(0, 1)
    axes.set_xlim(left=0)
    axes.legend()
    axes.set_title(f"{chosen[0]['count']} at once", loc="left")
    return figure, "Which part of a crowd's downloads are done by when."


FIGURES: Mapping[str, Callable[[Sequence[Line]], tuple[Any, str] | None]] = {
    "simulation-tails.svg": tails,
    "simulation-constants.svg": constants,
    "simulation-crowd.svg": crowd,
}
