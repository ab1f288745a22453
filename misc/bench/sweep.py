"""Goes through the cases, alone or on lanes side by side.

Owns the order, the deadline and the threads. First what needs the machine for
itself, file after file; then what waits for its wire, on lanes; then what proved
to need the machine after all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import replace

from misc.bench.agenda import Agenda, Limits
from misc.bench.cases import FAST, KINDS, LAN, LANES, STOCK, Case
from misc.bench.cpu import Busy
from misc.bench.measure import (
    Subject,
    WrongBytesError,
    is_at_rest,
    measure,
    with_reads,
    with_reads_so_far,
)
from misc.bench.progress import Progress
from misc.bench.results import FAILED, OK, OVER_LIMIT, Measures, Results, Run, Stopped
from misc.bench.stage import Lane, Stage
from misc.grid import GridError

# By segments * k, about a third of stock's reads, which its status page prints in some seconds.
LISTED_BLOCKS = 20_000
# A run on a lane counts only if the machine had this much to spare.
MOST_BUSY = 0.7
# With fewer cases than this, clients for lanes are not worth their start.
FEWEST_FOR_LANES = 8


class Sweep:
    """The cases that are due, and the clock.

    :param deadline: of ``time.monotonic()``; nothing is begun that would end after it.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        results: Results,
        session: str,
        limits: Limits,
        deadline: float | None = None,
    ) -> None:
        self._results = results
        self._session = session
        self._deadline = deadline
        self.agenda = Agenda(results, limits)
        self.left = [case for case in cases if self.agenda.next(case) is not None]
        self.out_of_time: list[Case] = []
        self.failed: list[Case] = []
        self._crowded: set[tuple[Case, str]] = set()  # were on a lane when the machine was busy
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._running = 0
        self._uploaded: set[object] = set()

    # ------------------------------------------------------------ how long it takes

    def remaining_s(self) -> float:
        """About how long the rest takes."""
        alone_s, of_wire = 0.0, dict.fromkeys(LANES, 0.0)
        for case in list(self.left):
            beside = self._lane_kinds(case) if self._has_lanes() else []
            alone_s += self.agenda.rest_s(case, set(KINDS) - set(beside))
            if beside:
                of_wire[case.wire] += self.agenda.rest_s(case, beside) / LANES[case.wire]
        files = {case.file: case for case in self.left if case.file not in self._uploaded}
        upload_s = sum(map(self.agenda.upload_s, files.values()))
        return alone_s + upload_s + max(of_wire.values())

    def _has_lanes(self) -> bool:
        return sum(bool(self._lane_kinds(case)) for case in self.left) >= FEWEST_FOR_LANES

    def _lane_kinds(self, case: Case) -> list[str]:
        kinds = self.agenda.lane_kinds(case)
        return [kind for kind in kinds if (case, kind) not in self._crowded]

    # ------------------------------------------------------------ doing it

    def run(self, stage: Stage, progress: Progress) -> None:
        """Measure all that is left, or as much as the deadline allows."""
        try:
            if self._has_lanes():
                alone = [case for case in self.left if not self._lane_kinds(case)]
                self._run_alone(alone, stage, progress)
                self._run_lanes(stage, progress)
            self._run_alone(list(self.left), stage, progress)
        finally:
            self._stopping.set()

    def _run_alone(self, cases: Sequence[Case], stage: Stage, progress: Progress) -> None:
        if not self._is_time_for(60.0 if self._has_lanes() else 10.0):
            self.out_of_time += cases
            return
        stage.open({(Lane(case.wire), case.transport) for case in cases})
        for case in cases:
            guessed_s = self.agenda.rest_s(case)
            upload_s = 0.0 if stage.files.has(case.file) else self.agenda.upload_s(case)
            if not self._is_time_for(guessed_s + upload_s):
                self._drop(case, self.out_of_time)
                continue
            self._upload(case, stage, progress)
            began = time.monotonic()
            self._run_case(case, Lane(case.wire), KINDS, stage, progress)
            self.agenda.learn(guessed_s, time.monotonic() - began)
            self._finish(case, progress)

    def _is_time_for(self, seconds: float) -> bool:
        return self._deadline is None or time.monotonic() + seconds <= self._deadline

    def _drop(self, case: Case, into: list[Case]) -> None:
        with self._lock:
            if case in self.left:
                self.left.remove(case)
                into.append(case)

    def _finish(self, case: Case, progress: Progress) -> None:
        """A case was gone through; unless something of it is left for later, it is over."""
        if self.agenda.next(case) is not None and case not in self.failed:
            return
        with self._lock:
            if case in self.left:
                self.left.remove(case)
            progress.on_case(case, self._results, len(self.left), self.remaining_s())

    def _upload(self, case: Case, stage: Stage, progress: Progress) -> None:
        if not stage.files.has(case.file):
            progress.on_step(f"uploading {case.file}")
            stage.files.upload(case.file)
            self._uploaded.add(case.file)

    # ------------------------------------------------------------ lanes

    def _run_lanes(self, stage: Stage, progress: Progress) -> None:
        cases = [case for case in self.left if self._lane_kinds(case)]
        for case in cases:
            if not self._is_time_for(self.agenda.upload_s(case)):
                return
            self._upload(case, stage, progress)
        lanes = [
            Lane(wire, number)
            for wire in sorted({case.wire for case in cases})
            for number in range(LANES[wire])
        ]
        progress.on_step(f"starting the clients of {len(lanes)} lanes")
        transports = {case.transport for case in cases}
        stage.open([(lane, transport) for lane in lanes for transport in transports])
        # The longest first, so that all lanes end at about the same time.
        queue = sorted(cases, key=self.agenda.rest_s, reverse=True)
        with ThreadPoolExecutor(len(lanes)) as threads:
            running = [
                threads.submit(self._run_lane, lane, queue, stage, progress) for lane in lanes
            ]
            try:
                done, _ = wait(running, return_when=FIRST_EXCEPTION)
                for each in done:
                    each.result()
            except BaseException:
                # Without its nodes, whatever still runs ends at once.
                self._stopping.set()
                stage.stop()
                raise

    def _run_lane(self, lane: Lane, queue: list[Case], stage: Stage, progress: Progress) -> None:
        while not self._stopping.is_set():
            with self._lock:
                case = next((each for each in queue if each.wire == lane.wire), None)
                if case is None:
                    return
                queue.remove(case)
            kinds = self._lane_kinds(case)
            if self._is_time_for(self.agenda.rest_s(case, kinds)):
                self._run_case(case, lane, kinds, stage, progress)
                self._finish(case, progress)

    # ------------------------------------------------------------ one case

    def _run_case(
        self,
        case: Case,
        lane: Lane,
        kinds: Collection[str],
        stage: Stage,
        progress: Progress,
    ) -> None:
        if self.agenda.next(case, kinds) is None:
            return
        cap, sha256 = stage.files.upload(case.file)
        pair = stage.prepare(case, lane)
        while not self._stopping.is_set() and (turn := self.agenda.next(case, kinds)) is not None:
            kind, number = turn
            progress.on_step(f"{kind}, run {number + 1}: {case}")
            try:
                run = self._measure(case, kind, number, pair[kind], stage, (cap, sha256))
            except (GridError, WrongBytesError) as problem:
                if self._stopping.is_set():
                    return
                progress.on_failure(f"{kind}, {case}: {problem}")
                run = Run(case, kind, number, FAILED, self._session)
                with self._lock:
                    self.failed.append(case)
            if run.lanes > 1 and run.busy > MOST_BUSY and run.outcome != FAILED:
                self._crowded.add((case, kind))
                kinds = [each for each in kinds if each != kind]
            else:
                self._results.add(run)
            if run.outcome == FAILED:
                return
            if not pair[kind].client.is_running():
                pair = stage.prepare(case, lane)
        stage.rest(lane, case.transport)

    def _measure(
        self,
        case: Case,
        kind: str,
        number: int,
        subject: Subject,
        stage: Stage,
        content: tuple[str, str],
    ) -> Run:
        """One run, and afterwards the client at rest, or ended."""
        limit_s = self.agenda.limit_s(case, kind)
        with self._lock:
            self._running += 1
            lanes = self._running
        busy = Busy()
        try:
            least_bytes = self.agenda.least_bytes(case, kind)
            found = measure(subject, stage.servers, *content, limit_s, least_bytes)
        finally:
            fraction = busy.fraction()
            with self._lock:
                lanes = max(lanes, self._running)
                self._running -= 1
        run = Run(case, kind, number, OK, self._session, lanes, fraction)
        if isinstance(found, Stopped):
            # What was asked for is still on its way, and the next download would find the line
            # full: of ours it may be much, of stock it is a segment.
            if kind == STOCK:
                time.sleep(case.drain_s)
            if kind == FAST or not is_at_rest(subject.client):
                subject.client.kill()
            elif case.wire == LAN and self._is_listed(case, found.delivered_bytes):
                found = with_reads_so_far(found, subject.client)
            return replace(run, outcome=OVER_LIMIT, stopped=found, limit_s=limit_s)
        if lanes > 1:
            found = replace(found, servers_cpu_s=None)
        return replace(run, measures=self._listed(case, kind, number, found, subject))

    def _listed(
        self, case: Case, kind: str, number: int, found: Measures, subject: Subject
    ) -> Measures:
        """With the number of reads: of ours once; of stock's after its last run, on the LAN.

        How many stock sends does not depend on the wire, and to list them costs seconds.
        """
        if kind == FAST and number:
            return found
        if kind == STOCK and not (
            case.wire == LAN
            and self.agenda.is_last(case, kind, number, found.seconds)
            and self._is_listed(case, case.file.length)
        ):
            return found
        return with_reads(found, subject.client)

    @staticmethod
    def _is_listed(case: Case, length: int) -> bool:
        return length / case.file.segment_bytes * case.file.encoding.needed <= LISTED_BLOCKS
