"""The section with advice to users, computed from the sweep and the two studies."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from misc import sections
from misc.bench import report, tables
from misc.bench.cases import (
    FAST,
    KINDS,
    LAN,
    MB,
    SEGMENTS,
    WIRE_TITLES,
    WIRES,
    Encoding,
    segment_title,
)
from misc.bench.results import Results
from misc.bench.studies import MEMORIES, SEEKS

PLACES = {
    "a LAN": LAN,
    "a home line": "2.5MB/s-in-all",
    "servers on slow lines": "1MB/s-a-server",
    "a far grid": "200ms",
}
LENGTH = 100 * MB
# What is so near to the best is as good: runs of one case differ by as much.
AS_GOOD = 1.1
# Budgets differ by less, so more of it must be worth it.
MEMORY_AS_GOOD = 1.05

Line = dict[str, Any]


def write(results: Results, seeks: Sequence[Line], memory: Sequence[Line], docs: Path) -> None:
    """Write the section.

    :raise NoSectionError: the page has no place for it.
    """
    sections.write(docs / report.PAGE, "advice", section(results, seeks, memory))


def section(results: Results, seeks: Sequence[Line], memory: Sequence[Line]) -> str:
    """The text; of what was not measured nothing is said."""
    return "\n".join(filter(None, [_choices(results, memory), _seeks(seeks), _memory(memory)]))


# ---------------------------------------------------------------- what to choose


def _choices(results: Results, memory: Sequence[Line]) -> str:
    head = ["from", "segment size", "k", "`memory`", "seconds of 100 MB, by segment size"]
    rows = [head]
    for place, wire in PLACES.items():
        times = _times(results, wire)
        if not times:
            continue
        best = {
            segment: statistics.median(s for (_, each), s in times.items() if each == segment)
            for segment in sorted({segment for _, segment in times})
        }
        good = [s for s, seconds in best.items() if seconds <= AS_GOOD * min(best.values())]
        # A smaller segment costs a seeking reader less.
        segment_bytes = min(good)
        of_it = {enc: s for (enc, each), s in times.items() if each == segment_bytes}
        quickest = min(of_it.values())
        fine = sorted({enc.needed for enc, s in of_it.items() if s <= AS_GOOD * quickest})
        all_fine = len(fine) == len({enc.needed for enc in of_it})
        rows.append(
            [
                f"{place} ({WIRE_TITLES[wire]})",
                segment_title(segment_bytes),
                "any" if all_fine else ", ".join(map(str, fine)),
                _enough_memory(memory, wire),
                ", ".join(f"{segment_title(s)}: {t:.2f}" for s, t in best.items()),
            ]
        )
    if len(rows) == 1:
        return ""
    return tables.table(rows) + (
        "\nOf fast's times over Foolscap and HTTP at each encoding of the sweep: the smallest"
        f" segment size within {AS_GOOD - 1:.0%} of the quickest at the median of encodings, each k"
        f" within {AS_GOOD - 1:.0%} of the quickest at that size, and the smallest `memory` within"
        f" {MEMORY_AS_GOOD - 1:.0%} of the quickest.\n"
    )


def _times(results: Results, wire: str) -> dict[tuple[Encoding, int], float]:
    """Fast's seconds by encoding and segment size, the mean over both transports."""
    found: dict[tuple[Encoding, int], list[float]] = {}
    for case in results.cases():
        if case.wire != wire or case.file.length != LENGTH:
            continue
        seconds = results.spread(case, FAST, lambda measures: measures.seconds)
        if seconds is not None:
            key = (case.file.encoding, case.file.segment_bytes)
            found.setdefault(key, []).append(seconds.median)
    return {key: statistics.mean(seconds) for key, seconds in found.items()}


def _enough_memory(memory: Sequence[Line], wire: str) -> str:
    """The smallest budget that is as good as any, for files of 3-of-10."""
    times = {budget: _median(memory, wire=wire, memory=budget) for budget in MEMORIES}
    known = {budget: seconds for budget, seconds in times.items() if seconds is not None}
    if not known:
        return tables.NONE
    least = min(known.values())
    return next(b for b, seconds in known.items() if seconds <= MEMORY_AS_GOOD * least)


# ---------------------------------------------------------------- the studies


def _median(lines: Sequence[Line], what: str = "seconds", **wanted: Any) -> float | None:
    found = [
        float(line[what])
        for line in lines
        if all(line.get(name) == value for name, value in wanted.items())
    ]
    return statistics.median(found) if found else None


def _seeks(lines: Sequence[Line]) -> str:
    """What larger segments cost a seeking reader."""
    columns = [(segment, kind) for segment in SEGMENTS for kind in KINDS]
    head = ["ms for 4 KiB anywhere"]
    head += [f"{segment_title(segment)}, {kind}" for segment, kind in columns]
    rows = _by_wire(
        lines,
        lambda wire: [_median(lines, wire=wire, segment_bytes=s, kind=k) for s, k in columns],
        1000,
        ".0f",
    )
    if not rows:
        return ""
    return tables.table([head, *rows]) + (
        f"\nMedians of {SEEKS} reads at random places of a 100 MB file, 3-of-10, over Foolscap. A"
        " whole segment is fetched and checked for each, so large segments cost a seeking reader.\n"
    )


def _memory(lines: Sequence[Line]) -> str:
    """What a larger budget buys."""
    columns = [(segment, budget) for segment in SEGMENTS for budget in MEMORIES]
    head = ["seconds of 100 MB"]
    head += [f"{segment_title(segment)}, `memory` {budget}" for segment, budget in columns]
    rows = _by_wire(
        lines,
        lambda wire: [_median(lines, wire=wire, segment_bytes=s, memory=b) for s, b in columns],
        1,
        ".2f",
    )
    return tables.table([head, *rows]) + "\n3-of-10 over Foolscap, fast.\n" if rows else ""


def _by_wire(
    lines: Sequence[Line],
    values: Callable[[str], list[float | None]],
    unit: float,
    form: str,
) -> list[list[str]]:
    wires = {line["wire"] for line in lines}
    return [
        [
            WIRE_TITLES[wire],
            *(tables.NONE if each is None else format(each * unit, form) for each in values(wire)),
        ]
        for wire in WIRES
        if wire in wires
    ]
