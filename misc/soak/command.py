"""The command line of the soak."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from misc import sections
from misc.command_line import say_since_now
from misc.grid import GridError
from misc.soak import report
from misc.soak.stage import Order, soak

MISC = Path(__file__).resolve().parent.parent
RESULTS = MISC / "results" / "soak.jsonl"
PAGE = MISC.parent / "docs" / "reliability.md"
SECTION = "soak"

MINUTES, READERS, PARTS = 30.0, 20, 10


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="misc/soak",
        description="Lets readers download at random from servers that keep dying and returning,"
        " checks every byte, and looks at what is left when all is quiet.",
    )
    parser.add_argument("--minutes", type=float, default=MINUTES, help="default %(default)s")
    parser.add_argument("--readers", type=int, default=READERS, help="default %(default)s")
    parser.add_argument(
        "--parts",
        type=int,
        default=PARTS,
        help="after each the clients are looked at (default %(default)s)",
    )
    parser.add_argument("--seed", default="1", help="of files, reads and troubles")
    parser.add_argument(
        "--results", type=Path, help="the file of raw results; with it no page is written"
    )
    parser.add_argument(
        "--report", action="store_true", help="run nothing; write the section from the results"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    options = parse(arguments)
    say = say_since_now()
    path = options.results or RESULTS
    try:
        if not options.report:
            order = Order(60 * options.minutes, options.readers, options.parts, options.seed)
            kept = report.Kept(path)
            with tempfile.TemporaryDirectory(prefix="tahoe-fastdl-soak-") as directory:
                kept.add_whole(soak(order, Path(directory), say, kept.add_part))
        found = report.read(path)
        if found is None:
            print("there is no soak that came to its end", file=sys.stderr)
            return 1
        text = report.section(*found)
        if options.results is None:
            sections.write(PAGE, SECTION, text)
    except (GridError, sections.NoSectionError) as problem:
        print(f"\nThe soak failed: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    print(f"\n{text}")
    wrong = found[0].problems()
    print(*wrong, sep="\n", file=sys.stderr)
    return 1 if wrong else 0
