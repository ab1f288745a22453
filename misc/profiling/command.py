"""The command line of the profile."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from misc import sections
from misc.bench import cases, machine
from misc.bench.cases import File
from misc.bench.measure import WrongBytesError
from misc.bench.results import KINDS
from misc.command_line import one, say_since_now, session
from misc.grid import GridError
from misc.grid_client import FOOLSCAP
from misc.profiling import callgrind, debugging, report
from misc.profiling.measure import Stage
from misc.profiling.reading import TICKET
from misc.profiling.results import Profile, Results

MISC = Path(__file__).resolve().parent.parent
RESULTS = MISC / "results" / "profile.jsonl"
CALLGRIND = MISC / "results" / "callgrind"
DOCS = MISC.parent / "docs"
PAGE = "performance.md"
SECTION = "profile"

TOP = 25

REFUSED = 2


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="misc/profiling",
        description="Profiles one download with the stock and one with the fast downloader, each"
        " in a real node under twistd's profiler, and prints the table of ticket #1264 for both."
        " Without options: the ticket's file, in about a minute.",
    )
    file = parser.add_argument_group("the file")
    file.add_argument("--size", type=one(cases.parse_size), default=TICKET.length)
    file.add_argument("--encoding", type=one(cases.parse_encoding), default=TICKET.encoding)
    file.add_argument("--segment", type=one(cases.parse_segment), default=TICKET.segment_bytes)
    parser.add_argument("--transport", type=one(cases.parse_transport), default=FOOLSCAP)
    parser.add_argument("--only", choices=KINDS, help="profile one kind only")
    parser.add_argument(
        "--top", type=int, default=TOP, help="functions by own time to list (default %(default)s)"
    )
    parser.add_argument(
        "--callgrind",
        type=Path,
        metavar="DIRECTORY",
        default=CALLGRIND,
        help="where KCachegrind's files go (default misc/results/callgrind/)",
    )
    parser.add_argument(
        "--twistd",
        action="append",
        default=[],
        metavar="OPTION",
        help="one more option for twistd, as in --twistd=--reactor=select",
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file of raw results")
    parser.add_argument("--again", action="store_true", help="begin that file anew")
    parser.add_argument(
        "--report", action="store_true", help="measure nothing; write the section from the results"
    )
    parser.add_argument(
        "--docs",
        type=Path,
        help="where performance.md is (default docs/; with --results of your own it is left alone)",
    )
    return parser.parse_args(arguments)


def measure(options: argparse.Namespace, results: Results) -> dict[str, Profile]:
    """Profile each kind that is wanted, keep it and export it."""
    file = File(options.size, options.encoding, options.segment)
    began_at = session()
    results.add_session(began_at, {**machine.about(), "twistd": options.twistd})
    found: dict[str, Profile] = {}
    say = say_since_now()
    with tempfile.TemporaryDirectory(prefix="tahoe-fastdl-profile-") as directory:
        with Stage(Path(directory), file, options.transport, options.twistd, say) as stage:
            for kind in [options.only] if options.only else KINDS:
                profile, kept = stage.profile(kind, began_at)
                results.add(profile)
                found[kind] = profile
                callgrind.write(kept, options.callgrind / f"{kind}.callgrind")
                print(f"\n{report.top_table(profile, kept, options.top)}\n", flush=True)
    return found


def write_section(options: argparse.Namespace, results: Results) -> None:
    """Fill the page's section, unless the results are a trial's and no page was named.

    :raise sections.NoSectionError: the page has none.
    """
    docs = options.docs or (DOCS if options.results == RESULTS else None)
    if docs is not None:
        sections.write(docs / PAGE, SECTION, report.section(results))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status, which is 2 if it refused to profile."""
    options = parse(arguments)
    try:
        if options.report:
            write_section(options, Results(options.results))
            return 0
        debugging.check_options(options.twistd)
        debugging.check_environment()
        callgrind.check()
        if options.again:
            options.results.unlink(missing_ok=True)
        results = Results(options.results)
        found = measure(options, results)
        write_section(options, results)
    except debugging.RefusedError as problem:
        print(f"refused: {problem}", file=sys.stderr)
        return REFUSED
    except (
        GridError,
        WrongBytesError,
        callgrind.NoConverterError,
        sections.NoSectionError,
    ) as problem:
        print(f"\nThe profile failed: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    print(report.table(found))
    return 0
