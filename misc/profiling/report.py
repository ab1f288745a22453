"""The tables: for the terminal, and the section of docs/performance.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from misc.bench.cases import File
from misc.bench.results import FAST, KINDS, STOCK
from misc.grid_client import FOOLSCAP, HTTP
from misc.profiling import stats
from misc.profiling.reading import TICKET, read
from misc.profiling.results import Profile, Results, RowCost
from misc.profiling.rows import ROWS, Row, short_names
from misc.profiling.stats import Stats

NONE = "-"
LISTED = 10
# Busy seconds are wall time: so much more of them than of CPU was not the thread's own.
DISTURBED = 1.3
MIN_LAYER = 0.01  # of the busy seconds of either kind

INTRODUCTION = """\
`python3 misc/profiling` runs a stock and a fast client under `tahoe run NODEDIR --nodaemon
--profile=F --profiler=cprofile --savestats`, lets each download the file once from six servers on
loopback, and subtracts a second profile of the same kind of node that did all but that: started,
connected, read a small file, and stopped. It refuses to run with deferred debugging on, which in
the ticket's first profile was a quarter of the time. `--size`, `--encoding`, `--segment` and
`--transport` choose another download, `--top N` lists more functions; the files for KCachegrind
go to `misc/results/callgrind/`.

How to read it. Seconds are wall time under the profiler, which slows Python code down and compiled
code hardly at all: they are good for shares, and the sweep is there for speeds. Own is without,
cumulative with the functions called. The profiler sees the reactor's thread only; what worker
threads do is the difference between the two CPU figures. Where that thread was busy for longer than
its CPU time, it was kept waiting: by workers that held the interpreter, or by other processes. The
reactor's wait is the wall time less all that the thread did, since the difference of two idling
nodes would say nothing. A coroutine is counted each time it goes on. The ticket's figures are of
Tahoe-LAFS 1.8 on a machine of 2010, for the same file."""


def section(results: Results) -> str:
    """The whole section.

    Of each file and transport the newest profile of each kind is shown, the ticket's first.
    """
    found = results.newest()
    if not found:
        return INTRODUCTION + "\n\nNothing was profiled yet."
    parts = [INTRODUCTION, _measured_on(results, found.values())]
    for (file, transport), by_kind in sorted(found.items(), key=lambda item: _order(*item[0])):
        is_tickets = (file, transport) == (TICKET, FOOLSCAP)
        parts += [
            f"### {title_of(file, transport)}",
            _summary(by_kind),
            _rows(by_kind, with_ticket=is_tickets),
        ]
        if by_kind.keys() == set(KINDS):
            parts.append(read(by_kind[STOCK], by_kind[FAST]))
        parts.append(_layers(by_kind))
        if FAST in by_kind:
            parts.append(_top(by_kind[FAST]))
    return "\n\n".join(part for part in parts if part)


def title_of(file: File, transport: str) -> str:
    """A heading."""
    return f"{file}, over {'HTTP' if transport == HTTP else transport.capitalize()}"


def _order(file: File, transport: str) -> tuple[bool, int, int, int, str]:
    return file != TICKET, file.length, file.encoding.needed, file.segment_bytes, transport


def _measured_on(results: Results, shown: Iterable[Mapping[str, Profile]]) -> str:
    used = {profile.session for by_kind in shown for profile in by_kind.values()}
    seen: dict[str, None] = {}
    for name, session in results.sessions.items():
        if name in used:
            machine, versions = session["machine"], session["versions"]
            text = ", ".join(
                f"{package} {version}" for package, version in sorted(versions.items())
            )
            seen[
                f"Measured on {machine['cpu']}, {machine['cores']} cores, {machine['system']},"
                f" Python {machine['python']}; {text}."
            ] = None
    return "\n".join(seen)


# ---------------------------------------------------------------- tables for the page


def _summary(by_kind: Mapping[str, Profile]) -> str:
    lines = [
        "| | wall, s | reactor thread busy, s | its CPU, s | CPU of all threads, s"
        " | reads | function calls |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind in KINDS:
        if kind in by_kind:
            each = by_kind[kind]
            lines.append(
                f"| {kind} | {each.wall_s:.2f} | {each.busy_s:.2f} | {each.main_cpu_s:.2f}"
                f" | {each.cpu_s:.2f} | {each.reads:,} | {each.calls:,} |"
            )
    return "\n".join(lines)


def _rows(by_kind: Mapping[str, Profile], with_ticket: bool) -> str:
    head = ["", *(["ticket: calls", "cumulative, s"] if with_ticket else [])]
    for kind in KINDS:
        if kind in by_kind:
            head += [f"{kind}: calls", "own, s", "cumulative, s"]
    lines = [_line(head), "|" + "---|" * len(head)]
    for row in _shown_rows(by_kind):
        cells = [f"{row.title}{_functions(row)}"]
        if with_ticket:
            cells += [
                _number(row.ticket_calls),
                NONE if row.ticket_s is None else f"{row.ticket_s}",
            ]
        for kind in KINDS:
            if kind in by_kind:
                cells += _cells(by_kind[kind].row(row.title))
        lines.append(_line(cells))
    return "\n".join(lines)


def _shown_rows(by_kind: Mapping[str, Profile]) -> list[Row]:
    return [row for row in ROWS if any(each.row(row.title).calls for each in by_kind.values())]


def _functions(row: Row) -> str:
    if not row.stock and not row.fast and not row.both:
        return ""
    here = [short_names(row.both)] if row.both else []
    if row.stock or row.fast:
        here.append(f"{short_names(row.stock) or NONE} / {short_names(row.fast) or NONE}")
    return ": " + "; ".join(here)


def _layers(by_kind: Mapping[str, Profile]) -> str:
    kinds = [kind for kind in KINDS if kind in by_kind]
    names = {
        name: None
        for kind in kinds
        for name, seconds in by_kind[kind].layers.items()
        if seconds >= MIN_LAYER * by_kind[kind].busy_s
    }
    lines = [_line(["own seconds, by whose code", *kinds]), "|" + "---|" * (1 + len(kinds))]
    for name in names:
        seconds = [by_kind[kind].layers.get(name, 0.0) for kind in kinds]
        lines.append(_line([name, *(f"{each:.3f}" for each in seconds)]))
    return "\n".join(lines)


def _top(profile: Profile) -> str:
    lines = [
        _line([f"{profile.kind}: most own time", "calls", "own, s", "cumulative, s"]),
        "|---|---|---|---|",
    ]
    lines += [_line([f"`{row.title}`", *_cells(row)]) for row in profile.top[:LISTED]]
    return "\n".join(lines)


def _cells(row: RowCost) -> list[str]:
    if not row.calls:
        return ["0", NONE, NONE]
    return [_number(row.calls), f"{row.own_s:.3f}", f"{row.cumulative_s:.3f}"]


def _number(number: int | None) -> str:
    return NONE if number is None else f"{number:,}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


# ---------------------------------------------------------------- tables for the terminal


def table(by_kind: Mapping[str, Profile]) -> str:
    """The ticket's table for what was just profiled."""
    kinds = [kind for kind in KINDS if kind in by_kind]
    with_ticket = any(each.case == (TICKET, FOOLSCAP) for each in by_kind.values())
    tickets = "{:>9}{:>9}" if with_ticket else ""
    lines = [
        f"{'':28}" + tickets.format("1.8", "") + "".join(f"{kind:>12}{'':18}" for kind in kinds),
        f"{'':28}" + tickets.format("calls", "cumul.") + f"{'calls':>12}{'own':>9}{'cumul.':>9}"
        * len(kinds),
    ]  # fmt: skip
    for row in _shown_rows(by_kind):
        seconds = NONE if row.ticket_s is None else f"{row.ticket_s:.1f}"
        line = f"{row.title:28}" + tickets.format(_number(row.ticket_calls), seconds)
        for kind in kinds:
            calls, own, cumulative = _cells(by_kind[kind].row(row.title))
            line += f"{calls:>12}{own:>9}{cumulative:>9}"
        lines.append(line)
    for kind in kinds:
        each = by_kind[kind]
        lines.append(
            f"\n{kind}: wall {each.wall_s:.2f} s, reactor thread busy {each.busy_s:.2f} s;"
            f" CPU {each.main_cpu_s:.2f} s there, {each.cpu_s:.2f} s in all threads"
        )
        if each.busy_s > DISTURBED * each.main_cpu_s + 0.1:
            lines.append("  other processes or its own workers kept that thread waiting meanwhile")
        shares = (
            f"{name} {seconds:.2f}" for name, seconds in each.layers.items() if seconds > 0.01
        )
        lines.append(f"  own seconds: {', '.join(shares)}")
    return "\n".join(lines)


def top_table(profile: Profile, found: Stats, count: int) -> str:
    """The functions with most own time."""
    lines = [f"{profile.kind:70}{'calls':>12}{'own':>9}{'cumul.':>9}"]
    for name, cost in stats.top(found, count):
        lines.append(f"{name[:69]:70}{cost.calls:12,}{cost.own_s:9.3f}{cost.cumulative_s:9.3f}")
    return "\n".join(lines)
