"""The section about the targets: what this project set out to reach, and what was measured.

The rows are those of the issue "As fast as the wire, at every k". Their own results
come from ``--targets``, in which stock runs to the end; what holds for every case
is checked against the sweep's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from misc import sections
from misc.bench import report, tables
from misc.bench.cases import (
    ENCODINGS,
    FAST,
    LADDER,
    LAN,
    MB,
    SEGMENTS,
    STOCK,
    USUAL,
    Case,
    Encoding,
    File,
)
from misc.bench.measure import PEAK
from misc.bench.results import Results
from misc.bench.study_rows import StudyRow
from misc.grid_client import FOOLSCAP, HTTP

FLAT = {FOOLSCAP: 1.15, HTTP: 1.4}
CLIENT_CPU_S = 0.42  # of 100 MB over Foolscap
LATER_S = 0.005  # a first byte may come so much later than stock's
READS = 60  # of the ticket's file
LINKS_PART = 0.95
BUDGET_BYTES = 64 << 20  # the default
MEMORY_BYTES = 3 * BUDGET_BYTES // 2  # the node's over idle
LINKS_WIRE = "5MB/s-a-server"
WORST = 8

OLD, NEW = SEGMENTS
SIXTY = LADDER[-1]
THREE, TWENTY = USUAL[:2]


@dataclass(frozen=True)
class Row:
    """A case, and how many times faster it should be."""

    case: Case
    least_times: float


def _row(size: float, encoding: Encoding, segment: int, transport: str, wire: str, x: float) -> Row:
    return Row(Case(File(int(size * MB), encoding, segment), transport, wire), x)


TICKET = _row(10, TWENTY, OLD, FOOLSCAP, LAN, 28)
ROWS = (
    _row(100, SIXTY, OLD, FOOLSCAP, LAN, 110),
    _row(100, TWENTY, OLD, FOOLSCAP, LAN, 36),
    _row(100, THREE, OLD, FOOLSCAP, LAN, 7),
    _row(100, SIXTY, NEW, FOOLSCAP, LAN, 14),
    _row(100, TWENTY, NEW, FOOLSCAP, LAN, 5.5),
    _row(100, THREE, NEW, FOOLSCAP, LAN, 2.1),
    TICKET,
    _row(100, SIXTY, NEW, HTTP, LAN, 55),
    _row(100, THREE, NEW, HTTP, LAN, 2.8),
    _row(10, SIXTY, OLD, HTTP, LAN, 280),
    _row(100, THREE, OLD, FOOLSCAP, "50ms", 50),
    _row(100, SIXTY, NEW, FOOLSCAP, "50ms", 14),
    _row(1, THREE, NEW, FOOLSCAP, "50ms", 1.0),
)


def write(results: Results, swept: Results, docs: Path, crowds: Sequence[StudyRow] = ()) -> None:
    """Write the section.

    :param crowds: what the studies of many files say.
    :raise NoSectionError: the page has no place for it.
    """
    sections.write(docs / report.PAGE, "targets", section(results, swept, crowds))


def section(results: Results, swept: Results, crowds: Sequence[StudyRow] = ()) -> str:
    """The text.

    :param results: of ``--targets``.
    :param swept: of the sweep, for what should hold in each case.
    :param crowds: what the studies of many files say.
    """
    parts = [
        _speed(results),
        "Seconds are medians, with least, most and number of runs. Stock ran to the end in each.\n",
        _others(results, swept, crowds),
        _flatness(results),
        _first_bytes(swept),
        report.machines(results),
        report.laws(results),
    ]
    return "\n".join(part for part in parts if part)


def _met(is_met: bool | None) -> str:
    return tables.NONE if is_met is None else "met" if is_met else "**not met**"


def _seconds(results: Results, case: Case, kind: str) -> float | None:
    found = results.spread(case, kind, lambda measures: measures.seconds)
    return None if found is None else found.median


def _speed(results: Results) -> str:
    rows = [["", "stock", "fast", "times faster", "wanted", ""]]
    for row in ROWS:
        stock, fast = (_seconds(results, row.case, kind) for kind in (STOCK, FAST))
        ratio = stock / fast if stock is not None and fast is not None else None
        rows.append(
            [
                str(row.case),
                tables.cell(results, row.case, STOCK),
                tables.cell(results, row.case, FAST),
                tables.NONE if ratio is None else f"{ratio:.1f}",
                f"{row.least_times:g}",
                # 1.0 is met by what rounds to it: both wait for two round trips.
                _met(None if ratio is None else round(ratio, 1) >= row.least_times),
            ]
        )
    return tables.table(rows)


# ---------------------------------------------------------------- the other targets


def _others(results: Results, swept: Results, crowds: Sequence[StudyRow]) -> str:
    rows = [["", "measured", "wanted", ""]]
    rows += _links(results)
    for transport, most in FLAT.items():
        times = {case: _seconds(results, case, FAST) for case in _flat_cases(transport)}
        known = [seconds for seconds in times.values() if seconds is not None]
        if known:
            part = "" if len(known) == len(times) else f" ({len(known)} of {len(times)} cases)"
            ratio = max(known) / min(known)
            title = f"slowest / fastest encoding, 100 MB, {transport}{part}"
            rows.append([title, f"{ratio:.2f}", f"<= {most:g}", _met(ratio <= most)])
    cpu = [
        found.median
        for case in _flat_cases(FOOLSCAP)
        if (found := results.spread(case, FAST, lambda measures: measures.client_cpu_s))
    ]
    if cpu:
        title = "client CPU seconds of 100 MB, foolscap, worst encoding"
        met = _met(max(cpu) <= CLIENT_CPU_S)
        rows.append([title, f"{max(cpu):.2f}", f"<= {CLIENT_CPU_S}", met])
    rows += _ticket(results) + _budget(results) + _memory(swept)
    rows += [[row.title, row.measured, row.wanted, _met(row.is_met)] for row in crowds]
    return tables.table(rows)


def _links(results: Results) -> list[list[str]]:
    """How much of the links is used where the links are the limit."""
    rows = []
    for case in results.cases():
        seconds = _seconds(results, case, FAST)
        if case.wire != LINKS_WIRE or seconds is None:
            continue
        part = case.file.length / seconds / case.links_rate
        title = f"of the links' {case.links_rate / MB:g} MB/s: {case}"
        rows.append([title, f"{part:.1%}", f"{LINKS_PART:.0%}", _met(part >= LINKS_PART)])
    return rows


def _ticket(results: Results) -> list[list[str]]:
    """Reads and recomputations of the ticket's file."""
    measured = results.measured(TICKET.case, FAST)
    reads = results.spread(TICKET.case, FAST, lambda measures: measures.reads)
    stock = results.spread(TICKET.case, STOCK, lambda measures: measures.reads)
    rows = []
    if reads is not None:
        beside = f" (stock {stock.median:.0f})" if stock is not None else ""
        met = _met(reads.median <= READS)
        rows.append(
            [f"reads of the ticket's file{beside}", f"{reads.median:g}", f"<= {READS}", met]
        )
    if measured:
        worst = max(measured, key=lambda each: each.count("recomputations"))
        plans, changes = worst.count("recomputations"), worst.count("changes")
        title = "its recomputations of bitmaps"
        rows.append([title, f"{plans}", f"<= {changes} changes", _met(plans <= changes)])
    return rows


def _budget(results: Results) -> list[list[str]]:
    """The most that was requested, received and decoded at a time, whatever the encoding."""
    rows = []
    for transport in (FOOLSCAP, HTTP):
        cases = [case for case in results.cases() if case.transport == transport]
        peaks = [run.count(PEAK) for case in cases for run in results.measured(case, FAST)]
        if any(peaks):
            title = f"requested, received and decoded bytes, peak, every encoding, {transport}"
            peak, most = f"{max(peaks) / MB:.1f} MB", f"<= {BUDGET_BYTES / MB:.1f} MB"
            rows.append([title, peak, most, _met(max(peaks) <= BUDGET_BYTES)])
    return rows


def _memory(swept: Results) -> list[list[str]]:
    rows = []
    for transport in (FOOLSCAP, HTTP):
        for size in (100, 1000):
            case = Case(File(size * MB, THREE, NEW), transport, LAN)
            found = swept.spread(case, FAST, lambda measures: measures.memory_bytes)
            if found is None:
                continue
            title = f"memory over idle, {case.file}, {transport}"
            peak, most = f"{found.high / MB:.0f} MB", f"<= {MEMORY_BYTES / MB:.0f} MB"
            rows.append([title, peak, most, _met(found.high <= MEMORY_BYTES)])
    return rows


# ---------------------------------------------------------------- all encodings


def _flat_cases(transport: str) -> list[Case]:
    return [
        Case(File(100 * MB, encoding, segment), transport, LAN)
        for segment in SEGMENTS
        for encoding in ENCODINGS
    ]


def _flatness(results: Results) -> str:
    """Each encoding's time and CPU; nothing if there is none."""
    columns = [(transport, segment) for transport in (FOOLSCAP, HTTP) for segment in SEGMENTS]
    head = ["100 MB, seconds (client CPU)"]
    head += [f"{transport}, {segment >> 10} KiB" for transport, segment in columns]
    rows = [head]
    for encoding in ENCODINGS:
        row = [str(encoding)]
        for transport, segment in columns:
            case = Case(File(100 * MB, encoding, segment), transport, LAN)
            seconds = _seconds(results, case, FAST)
            cpu = results.spread(case, FAST, lambda measures: measures.client_cpu_s)
            known = seconds is not None and cpu is not None
            row.append(f"{seconds:.2f} ({cpu.median:.2f})" if known and cpu else tables.NONE)
        if set(row[1:]) != {tables.NONE}:
            rows.append(row)
    return tables.table(rows) if len(rows) > 1 else ""


# ---------------------------------------------------------------- first bytes


def first_byte_s(results: Results, case: Case, kind: str) -> float | None:
    """The median; also of downloads that were given up later."""
    found = [measures.first_byte_s for measures in results.measured(case, kind)]
    found += [
        run.stopped.first_byte_s
        for run in results.stopped(case, kind)
        if run.stopped is not None and run.stopped.first_byte_s
    ]
    return sorted(found)[len(found) // 2] if found else None


def _first_bytes(swept: Results) -> str:
    later: list[tuple[float, Case]] = []
    for case in swept.cases():
        stock, fast = (first_byte_s(swept, case, kind) for kind in (STOCK, FAST))
        if stock is not None and fast is not None:
            later.append((fast - stock, case))
    if not later:
        return ""
    late = [each for each in later if each[0] > LATER_S]
    words = (
        f"First byte: in {len(late)} of the sweep's {len(later)} cases fast's came more than"
        f" {LATER_S * 1000:.0f} ms after stock's (wanted: in none); the latest:\n\n"
    )
    return words + _worst(swept, sorted(late, key=lambda each: -each[0])[:WORST])


def _worst(swept: Results, late: Sequence[tuple[float, Case]]) -> str:
    rows = [["", "stock", "fast", "ms later", "runs"]]
    for by_s, case in late:
        stock, fast = (first_byte_s(swept, case, kind) or 0.0 for kind in (STOCK, FAST))
        runs = "/".join(str(len(swept.of(case, kind))) for kind in (STOCK, FAST))
        rows.append([str(case), f"{stock:.3f}", f"{fast:.3f}", f"{by_s * 1000:.0f}", runs])
    return tables.table(rows) if late else ""
