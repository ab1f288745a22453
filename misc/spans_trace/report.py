"""The section "trace" of docs/performance.md; every number in it comes from the results."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Callable, Iterable, Sequence

from misc.bench.cases import FAST, STOCK, File, segment_title
from misc.bench.tables import table
from misc.spans_trace import operations
from misc.spans_trace.replay import IDLE_PASS, PASSES, VAIN_DESIRE
from misc.spans_trace.results import (
    BITMAPS,
    REPLAYS,
    SILENT,
    Cost,
    Costs,
    Results,
    by_k,
    by_segments,
)

WIDTH = 100
# What grows by less is called steady: runs differ by as much.
STEADY = 1.3

INTRODUCTION = """\
`python3 misc/spans_trace` lets a stock and a fast client download the same files over Foolscap on
loopback, with every call noted that changes or asks what a share has, what is wanted and what is on
its way: of Tahoe's `Spans` and `DataSpans` in one, of our `Ledger`, `Share` and `Rows` in the
other. The notes, without any data, are then replayed alone in one process, on the same classes,
with data of the same lengths; what the replay itself takes is subtracted, and medians are shown.
*On our bitmaps* are stock's own events once more, in the same order, with each byte range made into
a mask of the blocks and hashes in it and given to our `Ledger`. Hash trees, decoding and the
network are in none of them. An event is one call; a plain read of a field is none. `Spans` print
themselves into log messages that are dropped: the time with and without these is shown.
"""


def section(results: Results, figure_path: str = "") -> str:
    """The whole section.

    :param figure_path: of the figure, as seen from the page; "" for none.
    """
    found = results.newest()
    if not found:
        return INTRODUCTION + "\nNothing was replayed yet."
    parts = [INTRODUCTION, _measured_on(results, found)]
    if figure_path:
        parts.append(f"![What an event and a segment cost against k and segments]({figure_path})\n")
    parts += [_costs(found), _counts(found), reading(found)]
    return "\n".join(parts)


def _measured_on(results: Results, found: Costs) -> str:
    used = {cost.session for costs in found.values() for cost in costs.values()}
    seen: dict[str, None] = {}
    for name, session in results.sessions.items():
        if name in used:
            machine, versions = session["machine"], session["versions"]
            text = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
            seen[
                f"Replayed on {machine['cpu']}, {machine['system']}, Python {machine['python']};"
                f" {text}."
            ] = None
    widths = [
        (cost.high_ns - cost.low_ns) / cost.ns
        for costs in found.values()
        for cost in costs.values()
    ]
    runs = [cost.runs for costs in found.values() for cost in costs.values()]
    spread = (
        f"Each replay ran {min(runs)} to {max(runs)} times; from the least to the most it is"
        f" {statistics.median(widths):.0%} of the median, at the median of replays."
    )
    return _wrapped([*seen, spread]) + "\n"


def _wrapped(sentences: Iterable[str]) -> str:
    text = " ".join(sentences)
    return textwrap.fill(text, WIDTH, break_on_hyphens=False, break_long_words=False)


# ---------------------------------------------------------------- tables


def _title(file: File, found: Costs) -> list[str]:
    """Encoding and segments; the segments' size only where it differs."""
    cells = [str(file.encoding), f"{found[file][STOCK].segments:,}"]
    if len({each.segment_bytes for each in found}) > 1:
        cells[0] += f", {segment_title(file.segment_bytes)}"
    return cells


def _costs(found: Costs) -> str:
    head = ["", "segments", "events a segment: stock", "fast"]
    head += ["us an event: stock", "on our bitmaps", "fast"]
    head += ["us a segment: stock", "without log text", "on our bitmaps", "fast"]
    head += ["us a MB: stock", "on our bitmaps", "fast"]
    rows = [head]
    for file, costs in found.items():
        stock, _silent, bitmaps, fast = (costs[replay] for replay in REPLAYS)
        row = _title(file, found)
        row += [f"{cost.events_a_segment:,.1f}" for cost in (stock, fast)]
        row += [f"{cost.us_an_event:.2f}" for cost in (stock, bitmaps, fast)]
        row += [_number(costs[replay].us_a_segment) for replay in REPLAYS]
        row += [_number(cost.us_a_megabyte) for cost in (stock, bitmaps, fast)]
        rows.append(row)
    return table(rows)


def _counts(found: Costs) -> str:
    head = ["", "segments", "stock: passes", "desires in vain", "their time"]
    head += ["passes that found nothing", "their time"]
    head += ["fast: plans", "desire looked at", "changes", "recomputations"]
    head += ["on our bitmaps: bits a mask", "compared with stock", "different"]
    rows = [head]
    for file, costs in found.items():
        stock, bitmaps, fast = costs[STOCK], costs[BITMAPS], costs[FAST]
        row = _title(file, found)
        row += [f"{stock.count(*PASSES):,}"]
        for begin in (VAIN_DESIRE, IDLE_PASS):
            row += [f"{stock.count(begin):,}", f"{stock.part(begin):.0%}"]
        row += [f"{fast.count(operations.PLAN):,}"]
        row += [f"{each:,}" for each in (fast.asked, fast.changes, fast.recomputations)]
        row += [f"{each:,}" for each in (bitmaps.units, bitmaps.checked, bitmaps.differences)]
        rows.append(row)
    return table(rows)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


# ---------------------------------------------------------------- reading


def _from_to(values: Sequence[float], form: str = "{:.1f}") -> str:
    low, high = form.format(min(values)), form.format(max(values))
    return low if low == high else f"{low} to {high}"


def _growth(found: Costs, files: Sequence[File], replay: str, of: Callable[[Cost], float]) -> float:
    """From the first file to the last."""
    return of(found[files[-1]][replay]) / of(found[files[0]][replay])


def _event(cost: Cost) -> float:
    return cost.us_an_event


def _segment(cost: Cost) -> float:
    return cost.us_a_segment


def reading(found: Costs) -> str:
    """A few sentences on the tables."""
    ratios = [costs[STOCK].ns / costs[FAST].ns for costs in found.values()]
    structure = [costs[STOCK].ns / costs[BITMAPS].ns for costs in found.values()]
    fewer = [costs[BITMAPS].ns / costs[FAST].ns for costs in found.values()]
    silent = [1 - costs[SILENT].ns / costs[STOCK].ns for costs in found.values()]
    sentences = [
        f"For the same file stock's bookkeeping takes {_from_to(ratios, '{:.0f}')} times as long as"
        " ours.",
        f"Its own events are {_from_to(structure)} times quicker on our bitmaps than on spans; the"
        f" other {_from_to(fewer)} times are those events that we do not have, since a run of"
        " blocks is asked for, received and used up as one mask.",
        f"Text for log messages makes {_from_to([100 * each for each in silent], '{:.0f}')} % of"
        " stock's time.",
    ]
    ladder, lengths = by_k(found), by_segments(found)
    if len(ladder) > 1:
        sentences.append(_of_k(found, ladder))
    if len(lengths) > 1:
        sentences += _of_segments(found, lengths)
    sentences += _of_passes(found)
    return _wrapped(sentences)


def _of_k(found: Costs, files: Sequence[File]) -> str:
    first, last = files[0], files[-1]
    return (
        f"From k={first.encoding.needed} to k={last.encoding.needed} a segment becomes"
        f" {_growth(found, files, STOCK, _segment):.0f} times as dear for stock, from"
        f" {_number(found[first][STOCK].us_a_segment)} to"
        f" {_number(found[last][STOCK].us_a_segment)} us, and"
        f" {_growth(found, files, FAST, _segment):.0f} times for fast, from"
        f" {_number(found[first][FAST].us_a_segment)} to"
        f" {_number(found[last][FAST].us_a_segment)} us; both do something for each share, stock"
        " for each block of it."
    )


def _of_segments(found: Costs, files: Sequence[File]) -> list[str]:
    first, last = files[0], files[-1]
    why = (
        ", for the share drops all it has received after each block, so that its spans never grow"
        " long (#1170)"
        if _growth(found, files, STOCK, _event) < STEADY
        else ""
    )
    ours = _growth(found, files, FAST, _segment)
    longer = found[last][BITMAPS].units / found[first][BITMAPS].units
    return [
        f"From {found[first][STOCK].segments} to {found[last][STOCK].segments} segments at"
        f" {first.encoding} an event of stock's goes from {found[first][STOCK].us_an_event:.2f} to"
        f" {found[last][STOCK].us_an_event:.2f} us{why}; on our bitmaps it goes from"
        f" {found[first][BITMAPS].us_an_event:.2f} to {found[last][BITMAPS].us_an_event:.2f} us,"
        f" with masks {longer:.0f} times as long.",
        f"A segment costs fast {_number(found[first][FAST].us_a_segment)} us in the short file and"
        f" {_number(found[last][FAST].us_a_segment)} us in the long one"
        + (
            ": what is done once for a file, or for a run of segments, outweighs the longer masks."
            if ours < 1
            else "."
        ),
    ]


def _of_passes(found: Costs) -> list[str]:
    stock = [costs[STOCK] for costs in found.values()]
    fast = [costs[FAST] for costs in found.values()]
    passes = sum(cost.count(*PASSES) for cost in stock)
    vain, idle = (sum(cost.count(each) for cost in stock) for each in (VAIN_DESIRE, IDLE_PASS))
    vain_ns, idle_ns = (
        sum(cost.ns_by_begin.get(each, 0.0) for cost in stock) for each in (VAIN_DESIRE, IDLE_PASS)
    )
    total = sum(cost.ns for cost in stock)
    redundant = (
        f"{idle:,} more found nothing at all to do ({idle_ns / total:.1%})"
        if idle
        else "none was wholly redundant, as those of the ticket were, since this Tahoe looks at all"
        " answers of one reactor turn in one pass"
    )
    return [
        f"Of {passes:,} passes of stock's loop {vain:,} used what had come and then worked out a"
        f" desire in vain, in {vain_ns / total:.0%} of its time; {redundant}.",
        f"Our desires were looked at {sum(cost.asked for cost in fast):,} times and recomputed"
        f" {sum(cost.recomputations for cost in fast):,} times, after"
        f" {sum(cost.changes for cost in fast):,} changes.",
    ]
