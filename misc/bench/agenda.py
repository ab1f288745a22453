"""What is due: which run of which case, for how long, and how long all of it takes.

Pure: reads the results, measures nothing. Runs of a case take turns (stock, fast,
fast, stock, ...), so that whatever else the machine does falls on both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from misc.bench import estimates
from misc.bench.cases import FAST, KINDS, LAN, LANES, MB, STOCK, WIRES, Case
from misc.bench.estimates import ENOUGH_SEGMENTS
from misc.bench.results import Results, Run

# Of preparing a run and putting it away, and of an upload, beside their megabytes.
RUN_S = 0.3
UPLOAD_S = 2.0
UPLOAD_S_PER_MB = 0.04

LEAST_BYTES_FOR_LANES = 5 * MB
# What stock needs of a core for what comes through a wire; above, it runs alone.
HEAVY = 0.2
# Where that was not measured, k tells.
HEAVY_K = 10


@dataclass(frozen=True)
class Limits:
    """How long downloads may take, and how often they are repeated.

    A run that reaches its limit is given up; what came of it makes an estimate.
    """

    stock_s: float = 8.0
    far_stock_s: float = 3.5
    # Where a smaller file was given up already, which tells the rate: then the first
    # byte is what is to be measured.
    known_stock_s: float = 1.2
    fast_s: float = 200.0
    # Runs of a kind are repeated while all of them stay below this.
    repeat_s: float = 2.0
    least_runs: int = 1


def turns(runs: int) -> Iterator[tuple[str, int]]:
    """Which kind is next, and the number of its run."""
    for number in range(runs):
        for kind in KINDS if number % 2 == 0 else reversed(KINDS):
            yield kind, number


def _cpu_s_per_byte(run: Run) -> float | None:
    """Of the client; None if nothing came."""
    if run.measures is not None:
        return run.measures.client_cpu_s / run.case.file.length
    if run.stopped is not None and run.stopped.delivered_bytes:
        return run.stopped.client_cpu_s / run.stopped.delivered_bytes
    return None


class Agenda:
    """The cases, and what the results say of them."""

    def __init__(self, results: Results, limits: Limits) -> None:
        self._results = results
        self._limits = limits
        # How much longer things take here than guessed, from what was measured.
        self._guess_factor = 1.0

    # ------------------------------------------------------------ what is due

    def next(self, case: Case, kinds: Collection[str] = KINDS) -> tuple[str, int] | None:
        """The kind and number of the run that is due; None if there is none."""
        for kind, number in turns(case.runs):
            if kind in kinds and kind in case.kinds and self._is_due(case, kind, number):
                return kind, number
        return None

    def _is_due(self, case: Case, kind: str, number: int) -> bool:
        limit_s = self.limit_s(case, kind)
        if any(run.limit_s >= limit_s for run in self._results.stopped(case, kind)):
            return False
        if number in self._results.numbers(case, kind):
            return False
        times = [measures.seconds for measures in self._results.measured(case, kind)]
        return self._is_repeated(number, times)

    def _is_repeated(self, number: int, times: Sequence[float]) -> bool:
        if number < self._limits.least_runs or not times:
            return True
        return sum(times) + times[-1] <= self._limits.repeat_s

    def is_last(self, case: Case, kind: str, number: int, seconds: float) -> bool:
        """Whether no run of this kind follows the one that took so long."""
        times = [measures.seconds for measures in self._results.measured(case, kind)]
        return number + 1 >= case.runs or not self._is_repeated(number + 1, [*times, seconds])

    def limit_s(self, case: Case, kind: str) -> float:
        """When a run is given up."""
        if kind == FAST:
            return self._limits.fast_s
        limit_s = self._limits.stock_s if case.wire == LAN else self._limits.far_stock_s
        return min(limit_s, self._limits.known_stock_s) if self._is_known(case) else limit_s

    def _is_known(self, case: Case) -> bool:
        """Whether a smaller file was given up on stock, with enough of it to tell the rate."""
        return any(
            run.case.file.length < case.file.length
            and run.stopped is not None
            and estimates.delivered_segments(run) >= ENOUGH_SEGMENTS
            for run in self._results.of_family(case, STOCK)
        )

    def least_bytes(self, case: Case, kind: str) -> int:
        """What is worth to wait for beyond the limit: a rate, or at least the first byte."""
        if kind == FAST or self._is_known(case):
            return 1
        return int(ENOUGH_SEGMENTS * case.file.segment_bytes)

    # ------------------------------------------------------------ lanes

    def lane_kinds(self, case: Case) -> list[str]:
        """Which kinds of a case may run beside others, of those that take seconds."""
        if case.wire not in LANES or case.file.length < LEAST_BYTES_FOR_LANES:
            return []
        return [FAST] if self._is_heavy(case) else [STOCK, FAST]

    def _is_heavy(self, case: Case) -> bool:
        """Whether stock needs much CPU for the bytes that this wire lets through."""
        near = [
            each
            for run in self._results.of_family(case.on_wire(LAN), STOCK)
            if run.case.file.length > MB and (each := _cpu_s_per_byte(run)) is not None
        ]
        if not near:
            return case.file.encoding.needed > HEAVY_K
        # Stock has one segment under way, so one a round trip comes at most.
        most = case.file.segment_bytes / (2 * WIRES[case.wire].delay_s)
        return max(near) * min(most, case.links_rate) > HEAVY

    # ------------------------------------------------------------ how long it takes

    def expected_s(self, case: Case, kind: str) -> float:
        """Of one run, up to its limit."""
        limit_s = self.limit_s(case, kind)
        shown = estimates.seconds(self._results, case, kind)
        if shown is not None:
            return min(limit_s, shown.value)
        return min(limit_s, self._from_other_length(case, kind) or self._guess_s(case, kind))

    def _from_other_length(self, case: Case, kind: str) -> float | None:
        """A small file costs more a byte: of what it would be, half is taken."""
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

    @staticmethod
    def _guess_s(case: Case, kind: str) -> float:
        file, wire = case.file, WIRES[case.wire]
        fast_s = 0.1 + 0.01 * file.length / MB + 8 * wire.delay_s + file.length / case.links_rate
        if kind == FAST:
            return fast_s
        segments = -(-file.length // file.segment_bytes)
        each_s = 2 * wire.delay_s + 0.002 + 0.003 * file.encoding.needed
        return max(fast_s, segments * each_s)

    def rest_s(self, case: Case, kinds: Collection[str] = KINDS) -> float:
        """All runs of a case that are due."""
        total = 0.0
        for kind in case.kinds:
            if kind not in kinds or self.next(case, [kind]) is None:
                continue
            each_s = self.expected_s(case, kind)
            done = len(self._results.numbers(case, kind))
            repeated = int(self._limits.repeat_s / max(each_s, 0.01))
            runs = max(1, min(case.runs, max(self._limits.least_runs, repeated)) - done)
            if each_s >= self.limit_s(case, kind):
                runs = 1
            total += runs * (each_s + RUN_S)
        return self._guess_factor * total

    @staticmethod
    def upload_s(case: Case) -> float:
        """Of its file."""
        encoding = case.file.encoding
        return UPLOAD_S + UPLOAD_S_PER_MB * case.file.length / MB * encoding.total / encoding.needed

    def learn(self, guessed_s: float, took_s: float) -> None:
        """How well a case was guessed."""
        ratio = self._guess_factor * took_s / max(guessed_s, 0.1)
        self._guess_factor = 0.95 * self._guess_factor + 0.05 * min(5.0, ratio)
