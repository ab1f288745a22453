"""The command line of the spans trace."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from misc import sections
from misc.bench import machine
from misc.bench.cases import FAST, KIB, STOCK, Encoding, File
from misc.bench.measure import WrongBytesError
from misc.command_line import Say, say_since_now, session
from misc.grid import GridError
from misc.spans_trace import report
from misc.spans_trace.measure import costs_of
from misc.spans_trace.record import record
from misc.spans_trace.results import BITMAPS, Results
from misc.spans_trace.traces import NoTraceError

MISC = Path(__file__).resolve().parent.parent
RESULTS = MISC / "results" / "spans_trace.jsonl"
QUICK_RESULTS = MISC / "results" / "spans_trace-quick.jsonl"
TRACES = MISC / "results" / "traces"
DOCS = MISC.parent / "docs"
PAGE = "performance.md"
SECTION = "trace"
FIGURES = "figures"

SEGMENT_BYTES = 128 * KIB  # as deployed files have, and the ticket's
# k = N, so that both downloaders use the same shares.
NEEDED = (3, 10, 20, 60)
SEGMENTS = (8, 80, 800)
# Stock takes some 3 ms a block, and its trace has some 65 events for each.
MOST_BLOCKS = 8000
QUICK_NEEDED = (3, 10, 20)
QUICK_SEGMENTS = (8, 32)


def several(text: str) -> list[int]:
    """An option's parser: positive numbers, separated by commas."""
    try:
        found = [int(each) for each in text.split(",")]
    except ValueError as problem:
        raise argparse.ArgumentTypeError(f"not numbers: {text}") from problem
    if min(found) < 1:
        raise argparse.ArgumentTypeError(f"not positive: {text}")
    return found


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="misc/spans_trace",
        description="Records what a stock and a fast client do to know what they have and want of"
        " each share, in real downloads; replays it, and shows what an event costs. About three"
        " minutes; with --quick half a minute.",
    )
    parser.add_argument("--quick", action="store_true", help="small files only; writes no page")
    parser.add_argument("--k", type=several, help="k of k-of-k (default 3,10,20,60)")
    parser.add_argument("--segments", type=several, help="segments a file (default 8,80,800)")
    parser.add_argument(
        "--most-blocks",
        type=int,
        default=MOST_BLOCKS,
        help="leave files out that have more, k times segments (default %(default)s)",
    )
    parser.add_argument(
        "--replay", action="store_true", help="record nothing; replay the traces there are"
    )
    parser.add_argument(
        "--report", action="store_true", help="measure nothing; write the section from the results"
    )
    parser.add_argument("--traces", type=Path, default=TRACES, help="the folder of traces")
    parser.add_argument("--results", type=Path, help="the file of raw results")
    parser.add_argument("--again", action="store_true", help="begin that file anew")
    parser.add_argument(
        "--docs",
        type=Path,
        help="where performance.md is (default docs/; with --quick or --results it is left alone)",
    )
    return parser.parse_args(arguments)


def files_of(options: argparse.Namespace) -> list[File]:
    """What is downloaded; one encoding after another, small files first."""
    needed = options.k or (QUICK_NEEDED if options.quick else NEEDED)
    segments = options.segments or (QUICK_SEGMENTS if options.quick else SEGMENTS)
    return [
        File(count * SEGMENT_BYTES, Encoding(k, k), SEGMENT_BYTES)
        for k in sorted(set(needed))
        for count in sorted(set(segments))
        if k * count <= options.most_blocks
    ]


def measure(options: argparse.Namespace, results: Results, say: Say) -> None:
    """Record, unless that is not wanted, and replay."""
    files = files_of(options)
    if not options.replay:
        with tempfile.TemporaryDirectory(prefix="tahoe-fastdl-trace-") as directory:
            record(files, Path(directory), options.traces, say)
    began_at = session()
    results.add_session(began_at, machine.about())
    for file in files:
        costs = {cost.replay: cost for cost in costs_of(file, options.traces, began_at)}
        for cost in costs.values():
            results.add(cost)
        words = ", ".join(
            f"{title} {costs[replay].us_a_segment:.1f}"
            for title, replay in (("stock", STOCK), ("on our bitmaps", BITMAPS), ("fast", FAST))
        )
        say(f"{file}: us a segment: {words}")


def write_section(options: argparse.Namespace, results: Results) -> str:
    """The section's text; also on the page, unless the results are a trial's.

    :raise sections.NoSectionError: the page has no place for it.
    """
    is_trial = options.quick or options.results is not None
    docs = options.docs or (None if is_trial else DOCS)
    if docs is None:
        return report.section(results)
    from misc.spans_trace import figure  # only the ``bench`` extra has what this needs

    is_drawn = bool(figure.draw(results.newest(), docs / FIGURES))
    text = report.section(results, f"{FIGURES}/{figure.NAME}" if is_drawn else "")
    sections.write(docs / PAGE, SECTION, text)
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    options = parse(arguments)
    say = say_since_now()
    path = options.results or (QUICK_RESULTS if options.quick else RESULTS)
    try:
        if options.again and not options.report:
            path.unlink(missing_ok=True)
        results = Results(path)
        if not options.report:
            measure(options, results, say)
        text = write_section(options, results)
    except (GridError, WrongBytesError, NoTraceError, sections.NoSectionError) as problem:
        print(f"\nThe trace failed: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    print(text)
    return 0
