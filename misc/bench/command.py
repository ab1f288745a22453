"""The command line of the sweep."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from misc import sections
from misc.bench import advice, cases, crowds, machine, report, studies, study_rows, targets
from misc.bench.agenda import Limits
from misc.bench.cases import PRESETS, Case
from misc.bench.kept import read_lines
from misc.bench.measure import WrongBytesError
from misc.bench.progress import Progress, duration
from misc.bench.results import Results
from misc.bench.stage import Stage
from misc.bench.sweep import Sweep
from misc.command_line import Say, list_of, session
from misc.grid import GridError
from misc.wan import WanError

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results"
DOCS = HERE.parent.parent / "docs"

SWEEP_RESULTS = "sweep.jsonl"
RESULT_FILES = {"quick": "quick.jsonl", "targets": "targets.jsonl"}
SEEKS_RESULTS = "seeks.jsonl"
MEMORY_RESULTS = "memory.jsonl"
SMALL_FILES_RESULTS = "small-files.jsonl"
CROWD_RESULTS = "crowd.jsonl"
SECOND_READS_RESULTS = "second-reads.jsonl"

# By option: each makes a grid of its own.
STUDIES = {
    "seeks": (studies.seeks, SEEKS_RESULTS),
    "memory_study": (studies.memory, MEMORY_RESULTS),
    "small_files": (crowds.small_files, SMALL_FILES_RESULTS),
    "crowd": (crowds.crowd, CROWD_RESULTS),
    "second_reads": (studies.second_reads, SECOND_READS_RESULTS),
}

# Stock to the end, as often as it gets there in a minute, and twice at least.
LIMITS = {
    "quick": Limits(stock_s=20.0, far_stock_s=8.0),
    "targets": Limits(stock_s=900.0, far_stock_s=900.0, fast_s=300.0, repeat_s=60.0, least_runs=2),
}
QUICK_S = 140.0  # one download over its guess, and stopping the nodes, may still follow


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="misc/bench",
        description="Measures stock and fast downloads side by side. Without options: the full"
        " sweep, which takes about 90 minutes; stop it with Ctrl-C, and the same command goes on.",
    )
    preset = parser.add_mutually_exclusive_group()
    preset.add_argument("--quick", action="store_true", help="a few cases, within 3 minutes")
    preset.add_argument(
        "--standard", action="store_true", help="near: all; far: one size, fewer encodings"
    )
    preset.add_argument(
        "--targets",
        action="store_true",
        help="what this project set out to reach, stock to the end; about 25 minutes",
    )
    preset.add_argument(
        "--seeks", action="store_true", help="what seeks cost, for the advice; within 2 minutes"
    )
    preset.add_argument(
        "--memory-study",
        action="store_true",
        help="what a larger memory buys, for the advice; within 2 minutes",
    )
    preset.add_argument(
        "--small-files", action="store_true", help="1,000 files of 10 KB; within 3 minutes"
    )
    preset.add_argument(
        "--crowd", action="store_true", help="ten files of 100 MB at once; within 10 minutes"
    )
    preset.add_argument(
        "--second-reads", action="store_true", help="a file read again; within a minute"
    )
    grid = parser.add_argument_group("which cases (lists, separated by commas)")
    grid.add_argument("--sizes", type=list_of(cases.parse_size), help="1MB,10MB,100MB")
    grid.add_argument("--encodings", type=list_of(cases.parse_encoding), help="3-of-10,20-of-60")
    grid.add_argument("--segments", type=list_of(cases.parse_segment), help="128KiB,1MiB")
    grid.add_argument("--transports", type=list_of(cases.parse_transport), help="foolscap,http")
    grid.add_argument("--wires", type=list_of(cases.parse_wire), help=", ".join(cases.WIRES))
    grid.add_argument("--runs", type=int, help="downloads of each kind a case")
    parser.add_argument(
        "--stock-limit",
        type=float,
        metavar="SECONDS",
        help="give up stock's downloads that take longer, and estimate them (default"
        f" {Limits.stock_s:g}, far {Limits.far_stock_s:g})",
    )
    parser.add_argument(
        "--within", type=float, metavar="SECONDS", help="begin nothing that would end later"
    )
    parser.add_argument("--results", type=Path, help="the file of raw results to go on with")
    parser.add_argument(
        "--again", action="store_true", help="begin that file anew, as studies always do"
    )
    parser.add_argument("--plan", action="store_true", help="list the cases, measure nothing")
    parser.add_argument(
        "--report", action="store_true", help="measure nothing; write the report from the results"
    )
    parser.add_argument(
        "--docs", type=Path, default=DOCS, help="where the report goes (default docs/)"
    )
    return parser.parse_args(arguments)


def preset_of(options: argparse.Namespace) -> str:
    """The name of the preset; "full" when none is asked for."""
    return next((name for name in PRESETS if getattr(options, name, False)), "full")


def chosen_cases(options: argparse.Namespace) -> list[Case]:
    """The cases that the options name."""
    name = preset_of(options)
    fields = ("sizes", "encodings", "segments", "transports", "wires", "runs")
    given = {field: getattr(options, field) for field in fields if getattr(options, field)}
    blocks = PRESETS[name]
    if set(given) - {"runs"}:
        # A choice of cases is a choice within all combinations.
        blocks = blocks[:1] if name != "quick" else (replace(blocks[0], runs=1),)
    return cases.in_order(case for block in blocks for case in replace(block, **given).cases())


def chosen_limits(options: argparse.Namespace) -> Limits:
    """How long runs may take, and how often they are repeated."""
    limits = LIMITS.get(preset_of(options), Limits())
    if options.stock_limit:
        given_s = options.stock_limit
        limits = replace(limits, stock_s=given_s, far_stock_s=given_s)
    return limits


def sweep(options: argparse.Namespace, results: Results, chosen: Sequence[Case]) -> int:
    """Measure what is left; returns the exit status."""
    began = time.monotonic()
    began_at = session()
    within_s = options.within or (QUICK_S if options.quick else None)
    limits = chosen_limits(options)
    work = Sweep(chosen, results, began_at, limits, began + within_s if within_s else None)
    progress = Progress(len(work.left))
    progress.on_start(work.remaining_s())
    if not work.left:
        return 0
    results.add_session(began_at, machine.about())
    with tempfile.TemporaryDirectory(prefix="tahoe-fastdl-bench-") as directory:
        with Stage(Path(directory), progress.on_step) as stage:
            work.run(stage, progress)
    progress.say(f"over after {duration(time.monotonic() - began)}; results: {results.path.name}")
    if work.out_of_time:
        progress.say(f"no time was left for {len(work.out_of_time)} cases")
    for case in work.failed:
        progress.on_failure(str(case))
    return 1 if work.failed else 0


def write_report(options: argparse.Namespace, results: Results) -> None:
    """The section that belongs to these results; with the sweep's, the advice as well."""
    if options.targets:
        study_targets = [
            *study_rows.small_files(read_lines(RESULTS / SMALL_FILES_RESULTS)),
            *study_rows.crowd(read_lines(RESULTS / CROWD_RESULTS)),
            *study_rows.second_reads(read_lines(RESULTS / SECOND_READS_RESULTS)),
        ]
        swept = Results(RESULTS / SWEEP_RESULTS)
        targets.write(results, swept, options.docs, study_targets)
        return
    report.write(results, options.docs)
    seeks = read_lines(RESULTS / SEEKS_RESULTS)
    memory = read_lines(RESULTS / MEMORY_RESULTS)
    advice.write(results, seeks, memory, options.docs)


def study(measure: Callable[[Path, Say], None], path: Path) -> int:
    """One of the small studies, which always begin anew; returns the exit status."""
    try:
        measure(path, print)
    except (GridError, WanError, WrongBytesError) as problem:
        print(f"\nThe study failed: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    options = parse(arguments)
    for name, (measure, file_name) in STUDIES.items():
        if getattr(options, name):
            return study(measure, options.results or RESULTS / file_name)
    path = options.results or RESULTS / RESULT_FILES.get(preset_of(options), SWEEP_RESULTS)
    if options.again:
        path.unlink(missing_ok=True)
    results = Results(path)
    if options.report:
        try:
            write_report(options, results)
        except sections.NoSectionError as problem:
            print(f"There is no report: {problem}", file=sys.stderr)
            return 1
        return 0
    chosen = chosen_cases(options)
    if options.plan:
        for case in chosen:
            print(case)
        return 0
    try:
        status = sweep(options, results, chosen)
    except (GridError, WanError, WrongBytesError) as problem:
        print(f"\nThe sweep failed: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on", file=sys.stderr)
        return 130
    print(report.short_table(results, chosen))
    return status
