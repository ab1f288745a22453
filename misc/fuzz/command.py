"""The command: fuzz each target for a while, each in a process of its own.

libFuzzer, in which atheris runs Python, ends the process it runs in. What is interesting goes into
a folder of its own, made as short as may be; ``--keep`` takes some of the newest, which reach
deepest, into ``test/corpus``, which the tests replay.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from misc.fuzz import targets

DONE = re.compile(r"Done (\d+) runs in")
COVERAGE = re.compile(r"cov: (\d+) ft: (\d+)")
MOST_BYTES = 4096  # of one input
MOST_KEPT = 10  # of one run


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 1 if a law did not hold, 2 without atheris."""
    parser = argparse.ArgumentParser(
        prog="misc/fuzz", description="Fuzzes what reads the bytes of servers, with atheris."
    )
    parser.add_argument("target", nargs="*", choices=[[], *targets.TARGETS], help="default: all")
    parser.add_argument("--minutes", type=float, default=1.0, help="for each target (default 1)")
    parser.add_argument("--keep", action="store_true", help="add to test/corpus what is new")
    options = parser.parse_args(arguments)
    try:
        import atheris  # noqa: F401
    except ImportError:
        print("atheris is not to be had for this Python: use 3.11 to 3.13", file=sys.stderr)
        return 2
    names = options.target or list(targets.TARGETS)
    return max([_run(name, options.minutes * 60, options.keep) for name in names])


def _run(name: str, seconds: float, keep: bool) -> int:
    """Fuzz one target, say what came of it; 1 if it fell."""
    with tempfile.TemporaryDirectory(prefix="tahoe-fastdl-fuzz-") as found:
        corpus = targets.CORPUS / name
        limits = [f"-max_total_time={seconds:.0f}", f"-max_len={MOST_BYTES}", "-timeout=10"]
        said = _child(name, [*limits, f"-artifact_prefix={found}/fell-", found, str(corpus)])
        fell = sorted(Path(found).glob("fell-*"))
        runs, reached = DONE.search(said), COVERAGE.findall(said)
        print(
            f"{name}: {runs.group(1) if runs else '?'} inputs,"
            f" {reached[-1][0] if reached else '?'} places reached, {len(fell)} fell",
            flush=True,
        )
        for path in fell:
            print(said[-3000:], f"input: {path.read_bytes().hex()}", sep="\n")
        if keep and not fell:
            new = sorted(Path(found).iterdir(), key=lambda path: path.stat().st_mtime)
            for path in new[-MOST_KEPT:]:
                shutil.copy(path, corpus / path.name[:12])
        return 1 if fell or runs is None else 0


def _child(name: str, arguments: Sequence[str]) -> str:
    command = [sys.executable, str(Path(__file__).parent / "child.py"), name, *arguments]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.stdout
