"""Runs trial tests in this process and writes what became of each.

A command of :mod:`test.run`'s, which starts one such process for each test
module, so that a hang, a crash or a thread left behind costs one module. What is
written, a JSON object a line, is read as far as it goes:

* ``{"plan": [ids]}`` first: a test of the plan that has no result was lost;
* ``{"id": ..., "outcome": "ok" | "skipped" | "failed", "detail": ...}``;
* ``{"end": true, ...}`` last, with what :mod:`test.upstream` counted.

The arguments: the file to write, the folder to put first on the module path, the
mode ("own" or "upstream"), and trial ids.
"""

from __future__ import annotations

import json
import os
import sys
import unittest
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

OK, SKIPPED, FAILED = "ok", "skipped", "failed"
WORST_FIRST = (FAILED, SKIPPED, OK)

DETAIL_CHARACTERS = 6000


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit status."""
    results_path, module_folder, mode, *ids = arguments
    # In place of this script's own folder.  ``test`` is also a package of
    # Python's, which must not come first.
    sys.path[0] = module_folder
    # Tahoe's own tests ask for this profile: no deadlines, no health checks.
    os.environ.setdefault("TAHOE_LAFS_HYPOTHESIS_PROFILE", "ci")

    # Importing trial before the reactor is chosen is harmless; doing so at the
    # head of this file would put this script's folder first for its imports.
    from twisted.trial import runner

    counted: dict[str, Any] = {}
    if mode == "upstream":
        from test import upstream

        counted = upstream.prepare()
    suite = runner.TestLoader().loadByNames(ids, recurse=True)
    tests = list({test.id(): test for test in _each(suite)}.values())
    with open(results_path, "w", encoding="utf-8") as out:
        _write(out, {"plan": [test.id() for test in tests]})
        result = runner.TrialRunner(
            _reporter(out),
            stream=sys.stdout,
            logfile="test.log",
            workingDirectory="_trial_temp",
        ).run(runner.TestLoader().suiteFactory(tests))
        _write(out, {"end": True, **counted})
    return 0 if result.wasSuccessful() else 1


def _each(suite: Any) -> Iterator[Any]:
    if isinstance(suite, unittest.TestSuite) or hasattr(suite, "_tests"):
        for test in suite:
            yield from _each(test)
    else:
        yield suite


def _write(out: TextIO, record: dict[str, Any]) -> None:
    out.write(json.dumps(record) + "\n")
    out.flush()


def _reporter(out: TextIO) -> Any:
    """A trial reporter class that writes to ``out``."""
    from twisted.python.failure import Failure
    from twisted.trial import reporter

    class Recorder(reporter.Reporter):
        """Keeps each test's worst outcome and writes it when the test has stopped.

        A test can have several: an error of its own, and another for what it
        left in the reactor.  What is reported outside any test, as a module that
        cannot be imported is, is written at once.
        """

        def __init__(self, *arguments: Any, **keywords: Any) -> None:
            super().__init__(*arguments, **keywords)
            self._running = ""
            self._outcome = ""
            self._details: list[str] = []

        def startTest(self, test: Any) -> None:
            super().startTest(test)
            self._running, self._outcome, self._details = test.id(), "", []

        def stopTest(self, test: Any) -> None:
            super().stopTest(test)
            outcome = self._outcome or FAILED
            self._put(self._running, outcome, "\n".join(self._details) or "it reported nothing")
            self._running = ""

        def _note(self, test: Any, outcome: str, detail: object = "") -> None:
            text = _as_text(detail)
            if test.id() != self._running:
                self._put(test.id(), outcome, text)
                return
            known = [self._outcome] if self._outcome else []
            self._outcome = min([outcome, *known], key=WORST_FIRST.index)
            if text:
                self._details.append(text)

        def _put(self, test_id: str, outcome: str, detail: str) -> None:
            shown = "" if outcome == OK else detail[-DETAIL_CHARACTERS:]
            _write(out, {"id": test_id, "outcome": outcome, "detail": shown})

        def addSuccess(self, test: Any) -> None:
            super().addSuccess(test)
            self._note(test, OK)

        def addError(self, test: Any, error: Any) -> None:
            super().addError(test, error)
            self._note(test, FAILED, error)

        def addFailure(self, test: Any, fail: Any) -> None:
            super().addFailure(test, fail)
            self._note(test, FAILED, fail)

        def addSkip(self, test: Any, reason: str) -> None:
            super().addSkip(test, reason)
            self._note(test, SKIPPED, reason)

        def addExpectedFailure(self, test: Any, error: Any, todo: Any = None) -> None:
            super().addExpectedFailure(test, error, todo)
            self._note(test, OK)

        def addUnexpectedSuccess(self, test: Any, todo: Any = None) -> None:
            super().addUnexpectedSuccess(test, todo)
            self._note(test, FAILED, "it was expected to fail")

        def done(self) -> None:
            """Nothing: the parent sums up."""

    def _as_text(detail: object) -> str:
        if isinstance(detail, tuple):
            detail = Failure(detail[1], detail[0], detail[2])
        return detail.getTraceback() if isinstance(detail, Failure) else str(detail)

    return Recorder


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # Not an ordinary exit: that would wait for threads that a test left behind.
    os._exit(status)
