"""The command line of the simulator."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from misc import sections
from misc.bench.kept import Kept, read_lines
from misc.bench.progress import duration
from misc.command_line import Say, say_since_now
from misc.simulator import calibration, report, studies
from misc.simulator.worlds import Setting, simulate

MISC = Path(__file__).resolve().parent.parent
RESULTS = MISC / "results" / "simulator.jsonl"
QUICK_RESULTS = MISC / "results" / "simulator-quick.jsonl"
SWEEP = MISC / "results" / "sweep.jsonl"
DOCS = MISC.parent / "docs"
PAGE = "reliability.md"
SECTION = "simulation"
FIGURES = "figures"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="misc/simulator",
        description="Drives the plugin's core in virtual time against thousands of imaginary"
        " servers, and shows how long downloads take at worst, what hedges cost, and how a thousand"
        " downloads share a client. Less than ten minutes; with --quick less than one.",
    )
    parser.add_argument("--quick", action="store_true", help="few downloads; writes no page")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default %(default)s)")
    parser.add_argument("--sweep", type=Path, default=SWEEP, help="the sweep's raw results")
    parser.add_argument(
        "--report", action="store_true", help="simulate nothing; write the section from the results"
    )
    parser.add_argument("--results", type=Path, help="the file of raw results")
    parser.add_argument(
        "--docs",
        type=Path,
        help="where reliability.md is (default docs/; with --quick or --results it is left alone)",
    )
    return parser.parse_args(arguments)


def found_lines(setting: Setting) -> dict[str, Any]:
    """Simulate a setting; its line of the results."""
    return simulate(setting).as_line(setting)


def simulated(chosen: Sequence[Setting], jobs: int) -> Iterator[dict[str, Any]]:
    """The lines, in the order of the settings, however many processes there are."""
    if jobs == 1:
        yield from map(found_lines, chosen)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(found_lines, chosen)


def run(
    chosen: Sequence[Setting],
    path: Path,
    say: Say,
    jobs: int = 1,
    sweep: Path | None = None,
) -> None:
    """Simulate all settings, and write each line when it is there.

    :param sweep: the sweep's raw results, to be compared with.
    """
    kept = Kept(path)
    if sweep is not None and sweep.exists():
        say("the sweep's slow wires")
        add_all(kept, (each.as_line() for each in calibration.compare_all(sweep)))
    whole = studies.total_weight(chosen)
    say(f"{len(chosen)} settings, about {duration(whole / jobs)}")
    done, began = 0.0, time.monotonic()
    for number, (setting, line) in enumerate(zip(chosen, simulated(chosen, jobs)), 1):
        kept.add(**line)
        done += studies.weight(setting)
        left_s = (time.monotonic() - began) * (whole - done) / done
        say(f"[{number}/{len(chosen)}, {duration(left_s)} more] {setting}: {summary(line)}")


def add_all(kept: Kept, lines: Iterable[dict[str, Any]]) -> None:
    """Keep them."""
    for line in lines:
        kept.add(**line)


def summary(line: dict[str, Any]) -> str:
    """What a person who waits wants to see of it."""
    middle, slow = (report.percentile(line, part) for part in (0.5, 0.99))
    if middle is None or slow is None:
        return f"{line['failed'] + line['hung']} did not end"
    return f"p50 {middle:.2f} s, p99 {slow:.2f} s, {report.fetched(line):.3f} fetched"


def write_section(options: argparse.Namespace, path: Path) -> str:
    """The section's text; also on the page, unless the results are a trial's.

    :raise sections.NoSectionError: the page has no place for it.
    """
    lines = read_lines(path)
    is_trial = options.quick or options.results is not None
    docs = options.docs or (None if is_trial else DOCS)
    if docs is None:
        return report.section(lines, {})
    from misc.simulator import figures  # matplotlib, which nothing else here needs

    drawn = figures.draw_all(lines, docs / FIGURES)
    text = report.section(lines, {f"{FIGURES}/{name}": drawn[name] for name in drawn})
    sections.write(docs / PAGE, SECTION, text)
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    options = parse(arguments)
    say = say_since_now()
    path = options.results or (QUICK_RESULTS if options.quick else RESULTS)
    try:
        if not options.report:
            run(studies.settings(options.quick), path, say, options.jobs, options.sweep)
        text = write_section(options, path)
    except sections.NoSectionError as problem:
        print(f"\nThe simulation failed: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    print(text)
    return 0
