"""Runs everything that can be checked, and counts.

``python3 test/run.py`` needs nothing prepared: it makes the checkout's private
environment, then runs ruff, mypy, each module ``test/test_*.py`` and Tahoe's own
tests with our downloader in place. Its last line is ``N passed, N failed``; the
exit status is 0 only if nothing failed and something passed.

    python3 test/run.py test.test_ledger             one module, class or method
    python3 test/run.py lint types                   steps by name
    python3 test/run.py allmydata.test.test_download one of Tahoe's, on our downloader

The tests see the *installed* package. The checkout has a ``tahoe_fastdl/`` too,
and with its root on the module path, as trial would have it, nothing would show
that a module is missing from the installation, or that Twisted does not find the
drop-in. So the tests get a folder of links to all of the checkout but the
package and the drop-in; there ``test`` and ``misc`` are found, and nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
HERE = ROOT / "test"
SHARED = ROOT.parent / "shared"

# Appended: everything but ``misc`` comes from the environment.
sys.path.append(str(ROOT))

from misc import bootstrap  # noqa: E402 - the path had to be set first

STEPS = ("lint", "types", "trial", "upstream")
UPSTREAM_PREFIX = "allmydata."

# Wall-clock limits; a step that is over its limit is killed, and has failed.
LINT_LIMIT_S = 120.0
TYPES_LIMIT_S = 600.0
MODULE_LIMIT_S = 900.0
UPSTREAM_LIMIT_S = 1800.0

# Not linked into the tests' view of the checkout.
INSTALLED = ("tahoe_fastdl", "twisted")

OK, SKIPPED, FAILED = "ok", "skipped", "failed"


@dataclass
class Tally:
    """What became of the tests so far."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, name: str, outcome: str, detail: str = "") -> None:
        """Count one test; say at once why it failed."""
        if outcome == OK:
            self.passed += 1
        elif outcome == SKIPPED:
            self.skipped += 1
        else:
            self.failed += 1
            self.failures.append(name)
            print(f"FAILED {name}\n{_indented(detail)}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "what", nargs="*", help=f"a step ({', '.join(STEPS)}) or a trial id; default: every step"
    )
    parser.add_argument(
        "--in-place",
        action="store_true",
        help="use the running Python's environment, which has tahoe-fastdl[test] installed",
    )
    options = parser.parse_args(arguments)
    if not options.in_place:
        bootstrap.enter("test")
    tally = Tally()
    began = time.monotonic()
    # Killed from outside, it still ends its children.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        with _scratch(tally) as scratch:
            run_all(options.what or STEPS, scratch, tally)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    if tally.failures:
        print("\nfailed:", *tally.failures, sep="\n  ")
    print(f"\n{tally.skipped} skipped; {time.monotonic() - began:.0f} s in all")
    print(f"{tally.passed} passed, {tally.failed} failed", flush=True)
    return 0 if tally.passed and not tally.failed else 1


def run_all(what: Sequence[str], scratch: Path, tally: Tally) -> None:
    """Run steps and trial ids, steps in their own order first."""
    if "lint" in what:
        ruff = [sys.executable, "-m", "ruff", "check", "--output-format=concise", "."]
        run_tool("lint", ruff, LINT_LIMIT_S, tally)
    if "types" in what:
        run_tool("types", [sys.executable, "-m", "mypy"], TYPES_LIMIT_S, tally)
    view = _link_checkout(scratch / "view")
    if "trial" in what:
        modules = _own_modules()
        if not modules:
            tally.add("trial", FAILED, "there is no test/test_*.py")
        for module in modules:
            run_trial("own", module, [module], scratch, view, tally)
    if "upstream" in what:
        if (SHARED / "run_upstream.py").is_file():
            run_shared_upstream(scratch, tally)
        else:
            run_upstream(_upstream_ids(), scratch, view, tally)
    ids = [each for each in what if each not in STEPS]
    run_upstream([each for each in ids if each.startswith(UPSTREAM_PREFIX)], scratch, view, tally)
    own = [each for each in ids if not each.startswith(UPSTREAM_PREFIX)]
    if own:
        run_trial("own", own[0], own, scratch, view, tally)


# ---------------------------------------------------------------- the steps


def run_tool(name: str, command: Sequence[str], limit_s: float, tally: Tally) -> None:
    """A check of the sources: one passed or one failed."""
    _head(name)
    status = _run(command, ROOT, limit_s)
    tally.add(name, OK if status == 0 else FAILED, _why(status, limit_s))


def run_trial(
    mode: str, name: str, ids: Sequence[str], scratch: Path, view: Path, tally: Tally
) -> dict[str, Any]:
    """Run trial ids in a process of their own.

    :param mode: "own", or "upstream" for Tahoe's tests on our downloader.
    :return: the last record of :mod:`test.harness`; empty if it did not get so far.
    """
    _head(name)
    began = time.monotonic()
    # Where the tests run, and what they leave behind; kept if one fails.
    workplace = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=scratch))
    results = workplace / "results.jsonl"
    command = [sys.executable, str(HERE / "harness.py"), str(results), str(view), mode, *ids]
    output = workplace / "output.txt"
    status = _run(command, workplace, MODULE_LIMIT_S, output)
    plan, found, end = _read_results(results)
    own = Tally()
    if not plan:
        own.add(name, FAILED, f"no test was run: {_why(status, MODULE_LIMIT_S)}\n{_tail(output)}")
    for test_id, (outcome, detail) in found.items():
        own.add(test_id, outcome, detail)
    for test_id in plan:
        if test_id not in found:
            own.add(test_id, FAILED, f"it did not end: {_why(status, MODULE_LIMIT_S)}")
    if plan and not own.failed and status != 0:
        own.add(f"{name} (the run)", FAILED, f"{_why(status, MODULE_LIMIT_S)}\n{_tail(output)}")
    print(
        f"{name}: {own.passed} passed, {own.failed} failed, {own.skipped} skipped"
        f" ({time.monotonic() - began:.1f} s)",
        flush=True,
    )
    if not own.failed:
        shutil.rmtree(workplace, ignore_errors=True)
    _merge(own, tally)
    return end


def run_upstream(ids: Sequence[str], scratch: Path, view: Path, tally: Tally) -> None:
    """Tahoe's own tests, with our downloader and without ``shared``."""
    by_module: dict[str, list[str]] = {}
    for test_id in ids:
        by_module.setdefault(_module_of(test_id), []).append(test_id)
    for module, module_ids in by_module.items():
        end = run_trial("upstream", module, module_ids, scratch, view, tally)
        stock, ours = int(end.get("stock_nodes", 0)), int(end.get("our_nodes", 0))
        print(f"{module}: {ours} download nodes of ours, {stock} of the stock downloader's")
        if end and (stock or not ours):
            tally.add(f"{module} (which downloader)", FAILED, "the stock downloader was used")


def run_shared_upstream(scratch: Path, tally: Tally) -> None:
    """The same through the runner beside the checkout, where there is one."""
    _head("upstream")
    answer = scratch / "upstream.json"
    command = [
        sys.executable,
        str(SHARED / "run_upstream.py"),
        str(SHARED / "upstream-public.txt"),
        *("--install", "tahoe_fastdl:install"),
        *("--json", str(answer)),
    ]
    # It puts its working directory first on the module path.
    empty = scratch / "upstream"
    empty.mkdir()
    status = _run(command, empty, UPSTREAM_LIMIT_S)
    own = Tally()
    try:
        tests = json.loads(answer.read_text(encoding="utf-8"))["tests"]
    except (OSError, ValueError, KeyError):
        tests = {}
    for test_id, test in tests.items():
        good = {"ok": OK, "xfail": OK, "skip": SKIPPED}
        own.add(test_id, good.get(test["outcome"], FAILED), test["detail"])
    if not own.passed or (status != 0 and not own.failed):
        own.add("upstream (the run)", FAILED, _why(status, UPSTREAM_LIMIT_S))
    _merge(own, tally)


# ---------------------------------------------------------------- what there is to run


def _own_modules() -> list[str]:
    paths = sorted(HERE.rglob("test_*.py"))
    return [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]


def _upstream_ids() -> list[str]:
    lines = (HERE / "upstream-ids.txt").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _module_of(test_id: str) -> str:
    """The module of one of Tahoe's tests: all of them are named ``test_*``."""
    parts = test_id.split(".")
    for count, part in enumerate(parts, 1):
        if part.startswith("test_"):
            return ".".join(parts[:count])
    return test_id


def _link_checkout(view: Path) -> Path:
    view.mkdir()
    for path in ROOT.iterdir():
        if path.name not in INSTALLED and not path.name.startswith("."):
            (view / path.name).symlink_to(path, target_is_directory=path.is_dir())
    return view


# ---------------------------------------------------------------- processes and their answers


def _run(
    command: Sequence[str], directory: Path, limit_s: float, output: Path | None = None
) -> int | None:
    """Run a command with all it starts; None when it had to be killed."""
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(open(output, "wb")) if output else None
        process = subprocess.Popen(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT if out else None,
            start_new_session=True,
        )
        try:
            return process.wait(timeout=limit_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            # What it left running too.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _read_results(
    path: Path,
) -> tuple[list[str], dict[str, tuple[str, str]], dict[str, Any]]:
    """The plan, the outcome and detail of each test, and the last record."""
    plan: list[str] = []
    found: dict[str, tuple[str, str]] = {}
    end: dict[str, Any] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
            except ValueError:  # killed while it wrote
                continue
            if "plan" in record:
                plan = record["plan"]
            elif "end" in record:
                end = record
            else:
                found[record["id"]] = (record["outcome"], record["detail"])
    return plan, found, end


def _merge(part: Tally, whole: Tally) -> None:
    whole.passed += part.passed
    whole.failed += part.failed
    whole.skipped += part.skipped
    whole.failures += part.failures


def _why(status: int | None, limit_s: float) -> str:
    return f"killed after {limit_s:.0f} s" if status is None else f"exit status {status}"


def _tail(path: Path, lines: int = 40) -> str:
    try:
        return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _head(name: str) -> None:
    print(f"--- {name}", flush=True)


@contextlib.contextmanager
def _scratch(tally: Tally) -> Iterator[Path]:
    """A folder for this run; left, and named, if a test failed: trial's logs are in it."""
    scratch = Path(tempfile.mkdtemp(prefix="tahoe-fastdl-test-"))
    try:
        yield scratch
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    if tally.failed:
        print(f"\nlogs of what failed are in {scratch}")
    else:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
