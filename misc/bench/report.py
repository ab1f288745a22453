"""docs/performance.md out of the raw results; no number in it comes from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from misc.bench.cases import LADDER, MB, USUAL, WIRE_TITLES, WIRES, Case, Encoding, segment_title
from misc.bench.results import (
    FAILED,
    FAST,
    KINDS,
    OVER_LIMIT,
    SKIPPED,
    STOCK,
    Measures,
    Results,
    Spread,
    spread,
)

NONE = "-"
FIGURES_FOLDER = "figures"
IN_SHORT = (*USUAL[:2], LADDER[-1])

PREAMBLE = """\
# Performance

Written by `python3 misc/bench --report` from the raw results of a sweep; every number here comes
from them. Nothing is to be changed by hand.

Stock is Tahoe-LAFS's own downloader. Each download is a web `GET` of the whole file from a real
client node, which gets it from {servers} storage servers on the same machine. It is timed from the
request to the last byte, and its SHA-256 is compared with what was uploaded. Each begins cold: the
node has never seen the file. Stock and fast take turns (stock, fast, fast, stock, ...). Cells show
the median, and the least and the most where there are several runs. To repeat it:

    python3 misc/bench --quick       # some cases, within 3 minutes
    python3 misc/bench --standard    # what the figures need; stop and resume at will
    python3 misc/bench               # everything
    python3 misc/bench --report      # this page

The far wires are a proxy with a delay line and rates (`misc/wan_pipe.py`), checked by
`python3 misc/wan.py --check`. It has no packet loss and no TCP slow start, both of which make a
wire slower than shown here, for either downloader.
"""


def write(results: Results, docs: Path) -> None:
    """Write the page and its figures."""
    from misc.bench import plots  # only the ``bench`` extra has what this needs

    drawn = plots.draw_all(results, docs / FIGURES_FOLDER)
    (docs / "performance.md").write_text(page(results, drawn), encoding="utf-8")


def page(results: Results, drawn: dict[str, str]) -> str:
    """The text of docs/performance.md.

    :param drawn: the figures' file names and captions.
    """
    from misc.bench.stage import SERVERS  # needs Tahoe, which the rest here does not

    cases = results.cases()
    parts = [PREAMBLE.format(servers=SERVERS), _machines(results), _laws(results)]
    for name, caption in drawn.items():
        parts.append(f"![{caption}]({FIGURES_FOLDER}/{name})\n\n{caption}\n")
    parts += ["## In short\n", _summary(results, cases)]
    for title, chosen in _groups(cases):
        parts += [f"## {title}\n", _times(results, chosen)]
    parts.append("## What it costs\n")
    parts.append(
        "First byte and CPU in seconds, memory in MB over the idle client, reads in messages,"
        " fetched as a multiple of what was delivered; stock / fast. CPU is counted in ticks of"
        " 10 ms. Plans are recomputations of the shares' bitmaps, of changes to them. Each encoding"
        " with the largest file that was measured.\n"
    )
    for title, chosen in _groups(cases):
        parts += [f"### {title}\n", _costs(results, chosen)]
    return "\n".join(parts)


def short_table(results: Results, chosen: Sequence[Case]) -> str:
    """For the terminal, at the end of a sweep."""
    width = max((len(str(case)) for case in chosen), default=0)
    lines = [f"{'':{width}}  {'stock, s':>10}{'fast, s':>10}{'times':>7}{'fallbacks':>11}"]
    for case in chosen:
        times = [_cell(results, case, kind).partition(" (")[0] for kind in KINDS]
        fallbacks = sum(each.counters["fallbacks"] for each in results.measured(case, FAST))
        lines.append(
            f"{case!s:{width}}  {times[0]:>10}{times[1]:>10}"
            f"{_times_faster(results, case):>7}{fallbacks:11}"
        )
    return "\n".join(lines)


# ---------------------------------------------------------------- what it was measured on


def _machines(results: Results) -> str:
    used = {run.session for run in results.runs}
    seen: dict[str, list[str]] = {}
    for name, session in results.sessions.items():
        if name not in used:
            continue
        machine, versions = session["machine"], session["versions"]
        text = (
            f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_bytes'] / 1e9:.0f} GB,"
            f" {machine['system']}, Python {machine['python']}; "
            + ", ".join(f"{package} {version}" for package, version in versions.items())
            + f"; tahoe-fastdl {session['commit'] or 'not from a checkout'}"
            f" (sources {session['sources']})"
        )
        seen.setdefault(text, []).append(name)
    lines = [f"* {text}; measured {min(names)} to {max(names)}" for text, names in seen.items()]
    return "## Machine and spread\n\n" + "\n".join(lines) + "\n\n" + _spread_words(results)


def _spread_words(results: Results) -> str:
    widths = []
    for case in results.cases():
        for kind in KINDS:
            found = results.spread(case, kind, lambda measures: measures.seconds)
            if found is not None and found.count > 1:
                widths.append((found.high - found.low) / found.median)
    loads = spread(run.load for run in results.runs if run.measures is not None)
    words = f"{sum(run.measures is not None for run in results.runs)} downloads."
    width = spread(widths)
    if width is not None:
        words += (
            f" From the least to the most time of a case it is {width.median:.0%} of its median"
            f" at the median of all cases, {width.high:.0%} at worst."
        )
    if loads is not None:
        words += (
            f" The machine's load average before a download was {loads.median:.1f} at the median,"
            f" {loads.low:.1f} to {loads.high:.1f}; the nodes themselves are part of it."
        )
    return words + "\n"


def _laws(results: Results) -> str:
    counters = [
        run.measures.counters
        for run in results.runs
        if run.kind == FAST and run.measures is not None
    ]
    broken = sum(each["recomputations"] > each["changes"] for each in counters)
    failed = sum(run.outcome == FAILED for run in results.runs)
    return (
        f"Of {len(counters)} fast downloads {sum(each['fallbacks'] for each in counters)} fell"
        f" back to stock; {sum(each['hedges'] for each in counters)} hedged reads were sent in"
        f" all; {broken} made more plans than there were changes. {failed} downloads of either"
        " kind failed.\n"
    )


# ---------------------------------------------------------------- tables


def _groups(cases: Iterable[Case]) -> list[tuple[str, list[Case]]]:
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


def _table(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first row is its head, and whose first column is text."""
    head, *body = rows
    rule = [":--", *["--:"] * (len(head) - 1)]
    return "".join("| " + " | ".join(row) + " |\n" for row in (head, rule, *body))


def _summary(results: Results, cases: Sequence[Case]) -> str:
    """A line for each of the tables below: what people use, and the ladder's end."""
    rows = [["seconds, stock and fast", *map(str, IN_SHORT)]]
    for title, chosen in _groups(cases):
        largest = _largest_of_each(results, chosen)
        row = [title]
        for encoding in IN_SHORT:
            case = largest.get(encoding)
            if case is None:
                row.append(NONE)
                continue
            stock, fast = (_cell(results, case, kind).partition(" (")[0] for kind in KINDS)
            times = _times_faster(results, case)
            row.append(f"{case.file.length / MB:g} MB: {stock}, {fast} ({times} x)")
        rows.append(row)
    return _table(rows)


def _largest_of_each(results: Results, cases: Iterable[Case]) -> dict[Encoding, Case]:
    """The largest file of each encoding that fast was measured with, and stock if it can be."""
    found: dict[Encoding, Case] = {}
    for case in sorted(
        (case for case in cases if results.measured(case, FAST)),
        key=lambda case: (bool(results.measured(case, STOCK)), case.file.length),
    ):
        found[case.file.encoding] = case
    return dict(sorted(found.items()))


def _times(results: Results, cases: Sequence[Case]) -> str:
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
                row += [_cell(results, case, STOCK), _cell(results, case, FAST)]
                row.append(_times_faster(results, case))
        rows.append(row)
    return _table(rows) + _given_up_words(results, cases)


def _cell(results: Results, case: Case, kind: str) -> str:
    found = results.spread(case, kind, lambda measures: measures.seconds)
    if found is None:
        limits = [run.limit_s for run in results.of(case, kind) if run.limit_s]
        return f"> {limits[-1]:.0f}" if limits else NONE
    if found.count == 1:
        return f"{found.median:.2f}"
    return f"{found.median:.2f} ({found.low:.2f}-{found.high:.2f})"


def _times_faster(results: Results, case: Case) -> str:
    stock, fast = (results.spread(case, kind, lambda measures: measures.seconds) for kind in KINDS)
    if stock is not None and fast is not None:
        return f"{stock.median / fast.median:.1f}"
    limits = [run.limit_s for run in results.of(case, STOCK) if run.limit_s]
    if fast is not None and limits:
        return f"> {limits[-1] / fast.median:.0f}"
    return NONE


def _given_up_words(results: Results, cases: Sequence[Case]) -> str:
    """Which cells are not what they seem: stopped, not tried, or measured once."""
    runs = [run for case in cases for kind in KINDS for run in results.of(case, kind)]
    stopped = sum(run.outcome == OVER_LIMIT for run in runs)
    skipped = sum(run.outcome == SKIPPED for run in runs)
    once = sum(
        len(results.measured(case, STOCK)) == 1 < len(results.measured(case, FAST))
        for case in cases
    )
    words = []
    if stopped:
        words.append(f"{stopped} marked > were stopped at their limit")
    if skipped:
        words.append(f"{skipped} marked > were not tried, going by the smaller file")
    if once:
        words.append(f"{once} where stock takes long were measured once on stock")
    return f"\n{'; '.join(words)}.\n" if words else ""


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


def _costs(results: Results, cases: Sequence[Case]) -> str:
    rows = [["", *(cost.title for cost in COSTS), "plans of changes", *COUNTERS]]
    for case in _largest_of_each(results, cases).values():
        row = [f"{case.file.encoding}, {case.file.length / MB:g} MB"]
        row += [_cost_cell(results, case, cost) for cost in COSTS]
        counted = [measures.counters for measures in results.measured(case, FAST)]
        plans, changes = (
            _number(spread(each[name] for each in counted), ".0f")
            for name in ("recomputations", "changes")
        )
        row.append(f"{plans} of {changes}")
        row += [str(sum(each[name] for each in counted)) for name in COUNTERS]
        rows.append(row)
    return _table(rows)


def _cost_cell(results: Results, case: Case, cost: Cost) -> str:
    return " / ".join(
        _number(results.spread(case, kind, lambda measures: cost.value(measures, case)), cost.form)
        for kind in KINDS
    )


def _number(found: Spread | None, form: str) -> str:
    return NONE if found is None else format(found.median, form)
