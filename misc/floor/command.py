"""The command line: the floor, or the comparison."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from misc import sections
from misc.bench import cases, machine
from misc.bench.cases import LAN, MB, SEGMENTS, TRANSPORTS, Case, Encoding, File
from misc.bench.measure import WrongBytesError
from misc.command_line import list_of, one, say_since_now, session
from misc.floor import comparison, measure, others, parts, programs, report
from misc.floor.lines import Lines
from misc.grid import GridError
from misc.wan import WanError

CHECKOUT = Path(__file__).resolve().parent.parent.parent
RESULTS = CHECKOUT / "misc" / "results"
PAGE = CHECKOUT / "docs" / "performance.md"

ENCODINGS = (Encoding(3, 10), Encoding(20, 60), Encoding(60, 60))
STOCK_LIMIT_S = 20.0


@dataclass(frozen=True)
class Kind:
    """One of the two things this command does."""

    section: str
    results: str
    segments: Sequence[int]
    write: Callable[[Lines], str]


FLOOR = Kind("floor", "floor.jsonl", SEGMENTS, report.section)
# The other downloaders have no segments: one size is enough unless more are asked for.
OTHERS = Kind("comparison", "others.jsonl", SEGMENTS[1:], comparison.section)


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="misc/floor",
        description="Measures what no download can do without, each part by itself, and how near"
        " real downloads come; about 5 minutes. Goes on with the results there are.",
    )
    parser.add_argument(
        "--others",
        action="store_true",
        help="instead: real downloads beside curl and aria2; about 2 minutes a wire",
    )
    parser.add_argument("--size", type=one(cases.parse_size), default=100 * MB, help="100MB")
    parser.add_argument(
        "--encodings",
        type=list_of(cases.parse_encoding),
        default=ENCODINGS,
        help="a list; " + ",".join(map(str, ENCODINGS)),
    )
    parser.add_argument("--segments", type=list_of(cases.parse_segment), help="128KiB,1MiB")
    parser.add_argument(
        "--transports",
        type=list_of(cases.parse_transport),
        default=TRANSPORTS,
        help=",".join(TRANSPORTS),
    )
    parser.add_argument(
        "--wires",
        type=list_of(cases.parse_wire),
        default=[LAN],
        help=f"with --others only; of {', '.join(cases.WIRES)}",
    )
    parser.add_argument("--runs", type=int, default=3, help="of each part (default 3)")
    parser.add_argument(
        "--stock-limit",
        type=float,
        default=STOCK_LIMIT_S,
        metavar="SECONDS",
        help=f"measure stock, once, where it should take less (default {STOCK_LIMIT_S:.0f})",
    )
    parser.add_argument(
        "--span",
        type=one(cases.parse_segment),
        default=parts.SPAN_BYTES,
        help="length of one bulk read, in KiB (default 4MiB)",
    )
    parser.add_argument("--results", type=Path, help="the file of raw results to go on with")
    parser.add_argument("--again", action="store_true", help="begin that file anew")
    parser.add_argument(
        "--report", action="store_true", help="measure nothing; write the section from the results"
    )
    parser.add_argument("--page", type=Path, default=PAGE, help="default docs/performance.md")
    options = parser.parse_args(arguments)
    if options.runs < 1:
        parser.error("--runs: at least 1")
    if not options.others and options.wires != [LAN]:
        parser.error("--wires goes with --others")
    return options


def chosen_cases(options: argparse.Namespace, kind: Kind) -> list[Case]:
    """Files one after another; each over all transports and wires."""
    return [
        Case(File(options.size, encoding, segment_bytes), transport, wire, options.runs)
        for segment_bytes in options.segments or kind.segments
        for encoding in options.encodings
        for wire in options.wires
        for transport in options.transports
    ]


def run(options: argparse.Namespace, lines: Lines, chosen: Sequence[Case]) -> None:
    """Measure what is left."""
    began_at = session()
    about = machine.about()

    say = say_since_now()
    work: measure.Floor | others.Comparison
    with tempfile.TemporaryDirectory(prefix="tahoe-fastdl-floor-") as directory:
        place, limit_s = Path(directory), options.stock_limit
        if options.others:
            about["programs"] = programs.versions()
            work = others.Comparison(place, lines, began_at, limit_s, say)
        else:
            work = measure.Floor(place, lines, began_at, limit_s, options.span, say)
        if any(next(work.due(case), None) for case in chosen):
            lines.add_session(began_at, about)
            work.run(chosen)
    say(f"over; results: {lines.path.name}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    options = parse_options(arguments)
    kind = OTHERS if options.others else FLOOR
    path = options.results or RESULTS / kind.results
    if options.again:
        path.unlink(missing_ok=True)
    lines = Lines(path)
    try:
        if not options.report:
            run(options, lines, chosen_cases(options, kind))
        text = kind.write(lines)
        sections.write(options.page, kind.section, text)
    except (
        GridError,
        WanError,
        WrongBytesError,
        others.ProgramError,
        sections.NoSectionError,
    ) as problem:
        print(f"\nFailed: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on", file=sys.stderr)
        return 130
    print(text)
    return 0
