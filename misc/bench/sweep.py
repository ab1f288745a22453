"""Goes through the cases: what is due, in which turn, and when it is over.

Owns the order and the limits. Runs of a case are interleaved (stock, fast, fast,
stock, ...), so that whatever else the machine does falls on both.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence

from misc.bench.cases import LAN, MB, Case
from misc.bench.measure import OverLimitError, Subject, WrongBytesError, measure, with_reads
from misc.bench.progress import Progress
from misc.bench.results import (
    FAILED,
    FAST,
    KINDS,
    OK,
    OVER_LIMIT,
    SKIPPED,
    STOCK,
    Measures,
    Results,
    Run,
)
from misc.bench.stage import Stage
from misc.grid import GridError

# A case that takes stock a third of its limit is measured once.
ONCE_PART = 1 / 3
# Of a download, and again of its upload and of starting clients: until there is better to go by.
GUESS_S = 3.0
SET_UP_S = 6.0
# By segments * k, about a third of stock's reads: its status page prints 46,000 of them in
# some seconds, and is not asked for many more.
LISTED_BLOCKS = 60_000


def schedule(runs: int) -> Iterator[tuple[str, int]]:
    """Which kind is next, and the number of its run."""
    for number in range(runs):
        for kind in KINDS if number % 2 == 0 else reversed(KINDS):
            yield kind, number


class Sweep:
    """The cases that are due, and the clock.

    :param stock_limit_s: of one download; beyond, a case is given up.
    :param deadline: of ``time.monotonic()``; nothing is begun that would end after it.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        results: Results,
        session: str,
        stock_limit_s: float,
        deadline: float | None = None,
    ) -> None:
        self._results = results
        self._session = session
        self._stock_limit_s = stock_limit_s
        self._deadline = deadline
        self.left = [case for case in cases if self._next(case) is not None]
        self.out_of_time: list[Case] = []
        self.failed: list[Case] = []
        # How much longer things take here than guessed, from what was measured.
        self._guess_factor = 1.0

    # ------------------------------------------------------------ what is due

    def _next(self, case: Case) -> tuple[str, int] | None:
        return next(self._due(case), None)

    def _due(self, case: Case) -> Iterator[tuple[str, int]]:
        for kind, number in schedule(case.runs):
            if self._results.is_given_up(case, kind, self._stock_limit_s):
                continue
            if number in self._results.numbers(case, kind):
                continue
            if kind == STOCK and number and self.is_once(case):
                continue
            yield kind, number

    def is_once(self, case: Case) -> bool:
        """Whether stock takes so long that one run must do."""
        return any(map(self._is_long, self._results.measured(case, STOCK)))

    def _is_long(self, measures: Measures) -> bool:
        return measures.seconds > ONCE_PART * self._stock_limit_s

    def expected_s(self, case: Case, kind: str) -> float | None:
        """From the same case of another length; None when there is none.

        A small file costs more a byte, so what is guessed from one is too much
        rather than too little: half of it is taken.
        """
        found = [
            (run.case.file.length, run.measures.seconds)
            for run in self._results.of_family(case, kind)
            if run.measures is not None
        ]
        if not found:
            return None
        length, seconds = min(found, key=lambda each: abs(each[0] - case.file.length))
        ratio = case.file.length / length
        return seconds * (1 + (ratio - 1) / 2 if ratio > 1 and length < 5 * MB else ratio)

    def remaining_s(self) -> float:
        """About how long the rest takes."""
        total, files = 0.0, set()
        for case in self.left:
            total += self._rest_of(case)
            files.add(case.file)
        return self._guess_factor * (total + SET_UP_S * len(files))

    def _rest_of(self, case: Case) -> float:
        total = 0.0 if case.wire == LAN else SET_UP_S
        for kind, _ in self._due(case):
            expected = self.expected_s(case, kind)
            if expected is None:
                expected = GUESS_S * (1 + case.file.length / MB / 10)
            total += min(expected, self._stock_limit_s)
        return total

    # ------------------------------------------------------------ doing it

    def run(self, stage: Stage, progress: Progress) -> None:
        """Measure all that is left, or as much as the deadline allows."""
        group: tuple[object, object] | None = None
        while self.left:
            case = self.left[0]
            if self._deadline is not None:
                upload_s = SET_UP_S if group is None else 0.0
                if time.monotonic() + self._rest_of(case) + upload_s > self._deadline:
                    self.out_of_time.append(self.left.pop(0))
                    continue
            if group not in (None, (case.file.encoding, case.file.segment_bytes)):
                stage.forget_files()
            group = (case.file.encoding, case.file.segment_bytes)
            guessed, began = self._rest_of(case), time.monotonic()
            self._run_case(stage, case, progress)
            self.left.pop(0)
            self._learn(guessed, time.monotonic() - began)
            progress.on_case(case, self._results, len(self.left), self.remaining_s())

    def _learn(self, guessed_s: float, took_s: float) -> None:
        self._guess_factor = 0.9 * self._guess_factor + 0.1 * min(5.0, took_s / max(guessed_s, 0.1))

    def _run_case(self, stage: Stage, case: Case, progress: Progress) -> None:
        self._skip_if_hopeless(case)
        if self._next(case) is None:
            return
        progress.on_step(f"uploading {case.file}")
        cap, sha256 = stage.upload(case.file)
        pair = stage.prepare(case)
        while (turn := self._next(case)) is not None:
            kind, number = turn
            progress.on_step(f"{kind}, run {number + 1}: {case}")
            load = os.getloadavg()[0]
            try:
                limit_s = self._stock_limit_s
                measures = measure(pair[kind], stage.servers, cap, sha256, limit_s)
                if self._is_listed(case, kind, number, measures):
                    measures = self._listed(measures, pair[kind], progress)
                run = Run(case, kind, number, OK, self._session, load, measures)
            except OverLimitError:
                run = Run(case, kind, number, OVER_LIMIT, self._session, load, limit_s=limit_s)
            except (GridError, WrongBytesError) as problem:
                progress.on_failure(f"{kind}, {case}: {problem}")
                run = Run(case, kind, number, FAILED, self._session, load)
            self._results.add(run)
            if not pair[kind].client.is_running():
                pair = stage.prepare(case)
            if run.outcome == FAILED:
                self.failed.append(case)
                return

    def _listed(self, measures: Measures, subject: Subject, progress: Progress) -> Measures:
        try:
            return with_reads(measures, subject.client)
        except GridError as problem:
            # The download itself is measured; a node that is busy printing is of no more use.
            progress.say(f"the reads were not listed: {problem}")
            subject.client.stop()
            return measures

    def _skip_if_hopeless(self, case: Case) -> None:
        limit_s = self._stock_limit_s
        known = self._results.is_given_up(case, STOCK, limit_s)
        if known or self._results.measured(case, STOCK):
            return
        expected = self.expected_s(case, STOCK)
        given_up = any(
            run.is_given_up(limit_s) and run.case.file.length < case.file.length
            for run in self._results.of_family(case, STOCK)
        )
        if given_up or (expected is not None and expected > limit_s):
            run = Run(
                case,
                STOCK,
                0,
                SKIPPED,
                self._session,
                limit_s=limit_s,
                expected_s=expected or 0.0,
            )
            self._results.add(run)

    def _is_listed(self, case: Case, kind: str, number: int, measures: Measures) -> bool:
        """Ours sends few reads; stock's are counted once, after its last run of a case."""
        if kind == FAST:
            return True
        segments = -(-case.file.length // case.file.segment_bytes)
        is_last = number == case.runs - 1 or self._is_long(measures)
        return is_last and segments * case.file.encoding.needed <= LISTED_BLOCKS
