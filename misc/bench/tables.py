"""Tables of the results, as text: one cell, one table, and the page with all of them.

Law: an estimate carries its mark wherever it is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from misc.bench import estimates
from misc.bench.cases import MB, WIRE_TITLES, WIRES, Case, Encoding, segment_title
from misc.bench.estimates import Shown
from misc.bench.results import FAST, KINDS, STOCK, Measures, Results, Spread, spread

NONE = "-"
ABOUT = "~ "

INTRODUCTION = """\
# All results of the sweep

Written by `python3 misc/bench --report`; what is measured, and how, stands on the
[page about performance](performance.md). Seconds are medians, with the least, the most and the
number of runs where there are several. "~" marks an estimate: the download was given up, and its
rate until then, or that of a smaller file of the same kind, tells the rest. ">" marks one that was
given up before its rate was known.
"""


def page(results: Results) -> str:
    """The text of docs/performance-tables.md."""
    parts = [INTRODUCTION]
    for title, chosen in groups(results.cases()):
        parts += [f"## {title}\n", times(results, chosen)]
    parts.append(
        "## What it costs\n\n"
        "First byte and CPU in seconds, memory in MB over the idle client, reads in messages,"
        " fetched as a multiple of what was delivered; stock / fast. CPU is counted in ticks of"
        " 10 ms. Plans are recomputations of the shares' bitmaps, of changes to them. Each encoding"
        " with the largest file that was measured on both.\n"
    )
    for title, chosen in groups(results.cases()):
        parts += [f"### {title}\n", costs(results, chosen)]
    return "\n".join(parts)


# ---------------------------------------------------------------- cells


def table(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first row is its head, and whose first column is text."""
    head, *body = rows
    rule = [":--", *["--:"] * (len(head) - 1)]
    return "".join("| " + " | ".join(row) + " |\n" for row in (head, rule, *body))


def short(shown: Shown | None, form: str = "") -> str:
    """The median, marked if it is an estimate."""
    if shown is None:
        return NONE
    text = format(shown.value, form) if form else three_digits(shown.value)
    return ABOUT + text if shown.is_estimate else text


def three_digits(value: float) -> str:
    """``0.123``, ``1.23``, ``12.3``, ``123``, ``1234``."""
    decimals = 3 if value < 0.1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{decimals}f}"


def short_cell(results: Results, case: Case, kind: str) -> str:
    """The seconds of a case; how long was waited if nothing is known."""
    shown = estimates.seconds(results, case, kind)
    if shown is None:
        limits = [run.limit_s for run in results.of(case, kind) if run.limit_s]
        return f"> {limits[-1]:.0f}" if limits else NONE
    return short(shown)


def cell(results: Results, case: Case, kind: str) -> str:
    """The same, with its spread."""
    text = short_cell(results, case, kind)
    shown = estimates.seconds(results, case, kind)
    if shown is None or shown.spread.count == 1:
        return text
    low, high = three_digits(shown.spread.low), three_digits(shown.spread.high)
    return f"{text} ({low}-{high}, {shown.spread.count})"


def times_faster(results: Results, case: Case) -> str:
    """Stock / fast."""
    stock, fast = (estimates.seconds(results, case, kind) for kind in (STOCK, FAST))
    if fast is None:
        return NONE
    if stock is not None:
        ratio = stock.value / fast.value
        return ("~ " if stock.is_estimate else "") + f"{ratio:.{0 if ratio >= 20 else 1}f}"
    limits = [run.limit_s for run in results.of(case, STOCK) if run.limit_s]
    return f"> {limits[-1] / fast.value:.0f}" if limits else NONE


# ---------------------------------------------------------------- tables of cases


def groups(cases: Iterable[Case]) -> list[tuple[str, list[Case]]]:
    """One table for each wire, transport and segment size."""
    found: dict[tuple[int, str, int], list[Case]] = {}
    wires = list(WIRES)
    for case in cases:
        key = (wires.index(case.wire), case.transport, case.file.segment_bytes)
        found.setdefault(key, []).append(case)
    return [
        (
            f"{WIRE_TITLES[wires[wire]]}, {transport}, {segment_title(segment_bytes)} segments",
            chosen,
        )
        for (wire, transport, segment_bytes), chosen in sorted(found.items())
    ]


def times(results: Results, cases: Sequence[Case]) -> str:
    """Seconds by encoding and size."""
    sizes = sorted({case.file.length for case in cases})
    by_place = {(case.file.encoding, case.file.length): case for case in cases}
    head = ["seconds"]
    for size in sizes:
        head += [f"{size / MB:g} MB stock", "fast", "times faster"]
    rows = [head]
    for encoding in sorted({case.file.encoding for case in cases}):
        row = [str(encoding)]
        for size in sizes:
            case = by_place.get((encoding, size))
            if case is None:
                row += [NONE] * 3
            else:
                row += [cell(results, case, STOCK), cell(results, case, FAST)]
                row.append(times_faster(results, case))
        rows.append(row)
    return table(rows)


def largest_of_each(results: Results, cases: Iterable[Case]) -> dict[Encoding, Case]:
    """The largest file of each encoding that fast was measured with, and stock if it can be."""
    found: dict[Encoding, Case] = {}
    for case in sorted(
        (case for case in cases if results.measured(case, FAST)),
        key=lambda case: (bool(results.measured(case, STOCK)), case.file.length),
    ):
        found[case.file.encoding] = case
    return dict(sorted(found.items()))


# ---------------------------------------------------------------- costs


def _fetched(measures: Measures, case: Case) -> float | None:
    if measures.fetched_bytes is None:
        return None
    return measures.fetched_bytes / case.file.length


@dataclass(frozen=True)
class Cost:
    """A column of the tables of costs."""

    title: str
    value: Callable[[Measures, Case], float | None]
    form: str


COSTS = (
    Cost("MB/s", lambda measures, case: case.file.length / MB / measures.seconds, ".1f"),
    Cost("first byte", lambda measures, _: measures.first_byte_s, ".3f"),
    Cost("client CPU", lambda measures, _: measures.client_cpu_s, ".2f"),
    Cost("servers' CPU", lambda measures, _: measures.servers_cpu_s, ".2f"),
    Cost("memory", lambda measures, _: measures.memory_bytes / MB, ".1f"),
    Cost("reads", lambda measures, _: measures.reads, ".0f"),
    Cost("fetched", _fetched, ".3f"),
)
COUNTERS = ("hedges", "fallbacks")


def costs(results: Results, cases: Sequence[Case]) -> str:
    """What downloads cost, by encoding."""
    rows = [["", *(cost.title for cost in COSTS), "plans of changes", *COUNTERS]]
    for case in largest_of_each(results, cases).values():
        row = [f"{case.file.encoding}, {case.file.length / MB:g} MB"]
        row += [_cost_cell(results, case, cost) for cost in COSTS]
        counted = results.measured(case, FAST)
        plans, changes = (
            _number(spread(each.count(name) for each in counted), ".0f")
            for name in ("recomputations", "changes")
        )
        row.append(f"{plans} of {changes}")
        row += [str(sum(each.count(name) for each in counted)) for name in COUNTERS]
        rows.append(row)
    return table(rows)


def _cost_cell(results: Results, case: Case, cost: Cost) -> str:
    return " / ".join(
        _number(results.spread(case, kind, lambda measures: cost.value(measures, case)), cost.form)
        for kind in KINDS
    )


def _number(found: Spread | None, form: str) -> str:
    return NONE if found is None else format(found.median, form)
