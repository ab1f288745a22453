"""What the studies say: a row for each target, and a summary of the small files.

Pure. Takes the lines that ``crowds`` and ``studies`` kept; of what was not measured
nothing is said.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from misc.bench.cases import FAST, MB, STOCK, TRANSPORTS
from misc.bench.kept import Line

AT_ONCE = "at once"
IN_TURN = "in turn"
WAYS = (IN_TURN, AT_ONCE)

# As wanted.
SMALL_RATIO = 1.0
CROWD_RATIO = 1.05
FAIRNESS = 1.5
OVER_IDLE = 1.5  # times the option ``memory``
ROUND_TRIPS = 1.2  # one, and what servers and clients need


@dataclass(frozen=True)
class StudyRow:
    """A target and what was measured."""

    title: str
    measured: str
    wanted: str
    is_met: bool


# ---------------------------------------------------------------- second reads


def second_reads(lines: Sequence[Line]) -> list[StudyRow]:
    """How many round trips go by before the first byte of a file that was read before.

    That is by how much later it comes from afar than on loopback: the node's own
    milliseconds, and the sending of a segment, are the same in both.
    """
    rows = []
    for transport in TRANSPORTS:
        here = [line for line in lines if line["transport"] == transport and line.get("number")]
        trips: dict[str, float] = {}
        seconds = ""
        for kind in (STOCK, FAST):
            by_distance: dict[float, list[float]] = {}
            for line in here:
                if line["kind"] == kind:
                    by_distance.setdefault(line.get("round_trip_s", 0.0), []).append(
                        line["first_byte_s"]
                    )
            if len(by_distance) == 2:
                (near_s, near), (far_s, far) = (
                    (distance, statistics.median(found))
                    for distance, found in sorted(by_distance.items())
                )
                trips[kind] = (far - near) / (far_s - near_s)
                seconds = f"{far * 1000:.0f} ms, {near * 1000:.0f} on loopback"
        if FAST in trips:
            beside = f" (stock {trips[STOCK]:.2f})" if STOCK in trips else ""
            rows.append(
                StudyRow(
                    f"first byte of a second read, round trips{beside}, {transport}",
                    f"{trips[FAST]:.2f} ({seconds})",
                    f"<= {ROUND_TRIPS}",
                    trips[FAST] <= ROUND_TRIPS,
                )
            )
    return rows


# ---------------------------------------------------------------- small files


def small_files(lines: Sequence[Line]) -> list[StudyRow]:
    """Fast against stock, in all and of the slowest ones."""
    rows = []
    for transport in TRANSPORTS:
        stock, fast = (_seconds(lines, transport, kind) for kind in (STOCK, FAST))
        if not stock or len(stock) != len(fast):
            continue
        for what, measure in SMALL_MEASURES:
            ratio = measure(fast) / measure(stock)
            rows.append(
                StudyRow(
                    f"{len(fast):,} files of 10 KB, {what}, fast / stock, {transport}",
                    f"{ratio:.2f} ({measure(fast):.3g} / {measure(stock):.3g} s)",
                    f"<= {SMALL_RATIO:.2f}",
                    ratio <= SMALL_RATIO,
                )
            )
    return rows


def small_summary(lines: Sequence[Line]) -> list[str]:
    """A line of text for each transport and kind."""
    said = []
    for transport in TRANSPORTS:
        for kind in (STOCK, FAST):
            seconds = _seconds(lines, transport, kind)
            if not seconds:
                continue
            points = ", ".join(
                f"{percent}% {percentile(seconds, percent) * 1000:.1f} ms"
                for percent in (50, 95, 99)
            )
            said.append(f"{transport}, {kind}: {sum(seconds):.2f} s in all, {points}")
    return said


def percentile(values: Iterable[float], percent: int) -> float:
    """The least of the values that so many percent do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def _99th(seconds: Sequence[float]) -> float:
    return percentile(seconds, 99)


SMALL_MEASURES: tuple[tuple[str, Callable[[Sequence[float]], float]], ...] = (
    ("total", sum),
    ("99th percentile", _99th),
)


def _seconds(lines: Sequence[Line], transport: str, kind: str) -> list[float]:
    wanted = (transport, kind)
    return [line["seconds"] for line in lines if (line["transport"], line["kind"]) == wanted]


# ---------------------------------------------------------------- a crowd


def crowd(lines: Sequence[Line]) -> list[StudyRow]:
    """What fast's downloads at once cost: time, fairness and memory."""
    rows = []
    for transport in TRANSPORTS:
        stock = _ratio([line for line in lines if _is_of(line, transport, STOCK)])
        of_fast = [line for line in lines if _is_of(line, transport, FAST)]
        for memory in dict.fromkeys(line["memory"] for line in of_fast):
            chosen = [line for line in of_fast if line["memory"] == memory]
            rows += _of_memory(chosen, f"{transport}, memory = {memory}", stock)
    return rows


def _of_memory(lines: Sequence[Line], where: str, stock: float | None) -> list[StudyRow]:
    at_once = [line for line in lines if line["way"] == AT_ONCE]
    ratio = _ratio(lines)
    if ratio is None:
        return []
    first = at_once[0]
    files = f"{len(first['seconds'])} x {first['length'] / MB:g} MB"
    beside = "" if stock is None else f" (stock {stock:.2f})"
    fairness = max(max(line["seconds"]) / min(line["seconds"]) for line in at_once)
    option_bytes = first["memory_option_bytes"]
    used = max(line["memory_peak_bytes"] for line in lines)
    over_idle = max(line.get("memory_over_idle_bytes", 0) for line in at_once)
    most_over_idle = OVER_IDLE * option_bytes
    return [
        StudyRow(
            f"{files} at once / one after another{beside}, {where}",
            f"{ratio:.2f}",
            f"<= {CROWD_RATIO}",
            ratio <= CROWD_RATIO,
        ),
        StudyRow(
            f"slowest / fastest of {files} at once, {where}",
            f"{fairness:.2f}",
            f"<= {FAIRNESS}",
            fairness <= FAIRNESS,
        ),
        StudyRow(
            f"requested, received and decoded bytes, peak, {where}",
            f"{used / MB:.1f} MB",
            f"<= {option_bytes / MB:.1f} MB",
            used <= option_bytes,
        ),
        StudyRow(
            f"node's memory over idle, {files} at once, {where}",
            f"{over_idle / MB:.1f} MB",
            f"<= {most_over_idle / MB:.1f} MB",
            over_idle <= most_over_idle,
        ),
    ]


def _is_of(line: Line, transport: str, kind: str) -> bool:
    return bool(line["transport"] == transport and line["kind"] == kind)


def _ratio(lines: Sequence[Line]) -> float | None:
    """At once by in turn, of the medians; None if one of them was not measured."""
    walls: dict[str, list[float]] = {
        way: [line["wall_s"] for line in lines if line["way"] == way] for way in (AT_ONCE, IN_TURN)
    }
    if not all(walls.values()):
        return None
    return statistics.median(walls[AT_ONCE]) / statistics.median(walls[IN_TURN])
