"""The section about the sweep in docs/performance.md; no number in it comes from elsewhere.

Writes the figures and docs/performance-tables.md as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from misc import sections
from misc.bench import tables
from misc.bench.cases import KINDS, LADDER, MB, SERVERS, USUAL, Case
from misc.bench.results import FAILED, FAST, Results, spread

PAGE = "performance.md"
TABLES_PAGE = "performance-tables.md"
FIGURES_FOLDER = "figures"
IN_SHORT = (*USUAL[:2], LADDER[-1])

HOW = """\
Each download is a web `GET` of the whole file from a real client node, which gets it from {servers}
storage servers on the same machine. It is timed from the request to the last byte, and its SHA-256
is compared with what was uploaded. Each begins cold: the node has never seen the file. Stock and
fast take turns; numbers are medians. The far wires are a proxy with a delay line and rates
(`misc/wan_pipe.py`, checked by `python3 misc/wan.py --check`), without packet loss and TCP's slow
start, both of which make a wire slower than shown here, for either downloader. Their TCP segments
have 1448 bytes as on an Ethernet: with loopback's 64 KiB, longer answers over new connections came
40 ms late, while the receiver's kernel kept its acknowledgement back. That costs this machine CPU:
100 MB at 50 ms take 1.06 to 1.09 times as long.
"""
ESTIMATES = """\
"~", and a hollow mark in a figure, is an estimate: {count} downloads were given up after
{least:.3g} to {most:.3g} s, and the seconds of each segment until then, or those of a smaller file
of the same kind, times the number of segments, make what is shown.
"""


def write(results: Results, docs: Path) -> None:
    """Write the section, the page of tables and the figures.

    :raise NoSectionError: the page has no place for it.
    """
    from misc.bench import plots  # only the ``bench`` extra has what this needs

    drawn = plots.draw_all(results, docs / FIGURES_FOLDER)
    (docs / TABLES_PAGE).write_text(tables.page(results), encoding="utf-8")
    sections.write(docs / PAGE, "sweep", section(results, drawn))


def section(results: Results, drawn: dict[str, str]) -> str:
    """The text of the section.

    :param drawn: the figures' file names and captions.
    """
    parts = [
        summary(results, results.cases()),
        f"Seconds, stock and fast, and how many times faster. All cases: [{TABLES_PAGE}]"
        f"({TABLES_PAGE}).\n",
        HOW.format(servers=SERVERS),
        estimate_words(results),
    ]
    for name, caption in drawn.items():
        parts.append(f"![{caption}]({FIGURES_FOLDER}/{name})\n\n{caption}\n")
    parts += [machines(results), spread_words(results), laws(results)]
    return "\n".join(part for part in parts if part)


def short_table(results: Results, chosen: Sequence[Case]) -> str:
    """For the terminal, at the end of a sweep."""
    width = max((len(str(case)) for case in chosen), default=0)
    lines = [f"{'':{width}}  {'stock, s':>10}{'fast, s':>10}{'times':>8}{'fallbacks':>11}"]
    for case in chosen:
        times = [tables.short_cell(results, case, kind) for kind in KINDS]
        fallbacks = sum(each.count("fallbacks") for each in results.measured(case, FAST))
        lines.append(
            f"{case!s:{width}}  {times[0]:>10}{times[1]:>10}"
            f"{tables.times_faster(results, case):>8}{fallbacks:11}"
        )
    return "\n".join(lines)


def summary(results: Results, cases: Sequence[Case]) -> str:
    """A line for each wire, transport and segment size: what people use, and the ladder's end."""
    rows = [["", *map(str, IN_SHORT)]]
    for title, chosen in tables.groups(cases):
        row = [title]
        for encoding in IN_SHORT:
            of_it = [
                case
                for case in chosen
                if case.file.encoding == encoding and results.measured(case, FAST)
            ]
            # 1 GB is there for its memory.
            known = [case for case in of_it if case.file.length <= 100 * MB] or of_it
            if not known:
                row.append(tables.NONE)
                continue
            case = max(known, key=lambda each: each.file.length)
            stock, fast = (tables.short_cell(results, case, kind) for kind in KINDS)
            times = tables.times_faster(results, case)
            row.append(f"{case.file.length / MB:g} MB: {stock}, {fast} ({times} x)")
        rows.append(row)
    return tables.table(rows)


def estimate_words(results: Results) -> str:
    """What the mark means; nothing if there is no estimate."""
    limits = spread(run.limit_s for run in results.runs if run.stopped is not None)
    if limits is None:
        return ""
    return ESTIMATES.format(count=limits.count, least=limits.low, most=limits.high)


# ---------------------------------------------------------------- what it was measured on


def machines(results: Results) -> str:
    """Each machine with its versions, and when."""
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
    return "".join(
        f"* {text}; measured {min(names)} to {max(names)}\n" for text, names in seen.items()
    )


def spread_words(results: Results) -> str:
    """How many downloads, how far they lie apart, and how many ran side by side."""
    widths = []
    for case in results.cases():
        for kind in KINDS:
            found = results.spread(case, kind, lambda measures: measures.seconds)
            if found is not None and found.count > 1:
                widths.append((found.high - found.low) / found.median)
    done = [run for run in results.runs if run.measures is not None]
    words = f"{len(done)} downloads came to their end."
    width = spread(widths)
    if width is not None:
        words += (
            f" From the least to the most time of a case it is {width.median:.0%} of its median"
            f" at the median of all cases, {width.high:.0%} at worst."
        )
    beside = [run for run in done if run.lanes > 1]
    busy = spread(run.busy for run in beside)
    if busy is not None:
        words += (
            f" {len(beside)} that waited for a slow wire ran side by side, each with a wire and"
            f" clients of its own; the machine was {busy.median:.0%} busy meanwhile at the median,"
            f" {busy.high:.0%} at most."
        )
    return words + "\n"


def laws(results: Results) -> str:
    """What must hold in each run, and where it did not."""
    measured = [
        run.measures for run in results.runs if run.kind == FAST and run.measures is not None
    ]
    broken = sum(each.count("recomputations") > each.count("changes") for each in measured)
    failed = sum(run.outcome == FAILED for run in results.runs)
    fallbacks = sum(each.count("fallbacks") for each in measured)
    hedges = sum(each.count("hedges") for each in measured)
    given_up = sum(run.kind == FAST and run.stopped is not None for run in results.runs)
    return (
        f"In {len(measured)} downloads with the plugin: {fallbacks} fallbacks to stock, {hedges}"
        f" hedges, {broken} with more recomputations than changes of the bitmaps, {given_up} given"
        f" up. {failed} runs failed, of either kind.\n"
    )
