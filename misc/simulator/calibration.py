"""The simulator held against the sweep: the same downloads, simulated and measured.

Taken are the runs over Foolscap on wires that are slower than loopback. Their times
went into no constant of the simulator: a wire's delay and rates are what the sweep
asked of its pipe, and what a message and a byte cost was fitted to loopback runs. A
run of stock that was given up is compared by the time at which it had delivered as
much as it did deliver.
"""

from __future__ import annotations

import random
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from misc.bench.cases import LAN, SERVERS, WIRES, Case
from misc.bench.results import FAST, KINDS, STOCK, Results
from misc.grid_client import FOOLSCAP
from misc.simulator.client import Client, FastDownload
from misc.simulator.stock import StockDownload
from misc.simulator.wire import Server, ServerSpec, Trouble
from misc.simulator.zero_file import file_of
from misc.wan_stream import FLIGHT_BYTES

STUDY = "calibration"
TOLERANCE = 0.20
LOOPBACK_RATE = 1e9
LEAST_SEGMENTS = 2  # of a run that was given up; fewer say nothing of its pace


@dataclass(frozen=True)
class Compared:
    """One case and kind. ``part``: whether it is about a download that was given up."""

    case: Case
    kind: str
    measured_s: float
    simulated_s: float
    runs: int
    part: bool = False

    @property
    def ratio(self) -> float:
        """Simulated / measured."""
        return self.simulated_s / self.measured_s

    @property
    def is_near(self) -> bool:
        """Within the tolerance."""
        return abs(self.ratio - 1) <= TOLERANCE

    def as_line(self) -> dict[str, Any]:
        """For the file of results."""
        file = self.case.file
        return {
            "study": STUDY,
            "policy": self.kind,
            "length": file.length,
            "needed": file.encoding.needed,
            "total": file.encoding.total,
            "segment_bytes": file.segment_bytes,
            "wire": self.case.wire,
            "measured_s": self.measured_s,
            "simulated_s": self.simulated_s,
            "runs": self.runs,
            "part": self.part,
        }


def run_case(case: Case, kind: str, segments: int | None = None) -> FastDownload | StockDownload:
    """A download of the sweep, simulated: six servers, shares dealt out in turn.

    :param segments: stop when stock has delivered so many; None: at the end.
    """
    wire, file = WIRES[case.wire], case.file
    client = Client.behind(wire.downlink_rate)
    encoding = file.encoding
    # The pipe has a window, as TCP has: so many bytes of a connection are under way at most.
    rate = min(wire.server_rate or LOOPBACK_RATE, FLIGHT_BYTES / wire.delay_s)
    spec = ServerSpec(2 * wire.delay_s, rate)
    placed = []
    for number in range(min(SERVERS, encoding.total)):
        server = Server(spec, Trouble(), random.Random(0), client.timeline, client.downlink)
        shnums = tuple(range(number, encoding.total, SERVERS))
        placed.append((number, server, shnums))
    zero_file = file_of(file.length, encoding.needed, encoding.total, file.segment_bytes)
    download: FastDownload | StockDownload
    if kind == FAST:
        download = FastDownload(client, zero_file, placed)
    else:
        download = StockDownload(client, zero_file, placed)
    download.start()
    if isinstance(download, StockDownload) and segments is not None:
        delivered_s = download.delivered_s
        client.timeline.run(lambda: len(delivered_s) >= segments)
    else:
        client.timeline.run(lambda: download.outcome is not None)
    return download


def compare_all(sweep: Path) -> list[Compared]:
    """Every case of the sweep that is far and was measured, on each kind."""
    results = Results(sweep)
    cases = [case for case in results.cases() if case.wire != LAN and case.transport == FOOLSCAP]
    cases.sort(
        key=lambda case: (
            list(WIRES).index(case.wire),
            case.file.segment_bytes,
            case.file.length,
            case.file.encoding,
        )
    )
    found = (compare(results, case, kind) for case in cases for kind in KINDS)
    return [compared for compared in found if compared is not None]


def compare(results: Results, case: Case, kind: str) -> Compared | None:
    """One case; None if there is nothing to compare it with."""
    measured = [measures.seconds for measures in results.measured(case, kind)]
    if measured:
        outcome = run_case(case, kind).outcome
        assert outcome is not None and not outcome.failed
        return Compared(case, kind, statistics.median(measured), outcome.seconds, len(measured))
    if kind != STOCK:
        return None
    stopped = [run.stopped for run in results.stopped(case, kind) if run.stopped is not None]
    segments = [each.delivered_bytes // case.file.segment_bytes for each in stopped]
    if not stopped or segments[-1] < LEAST_SEGMENTS:
        return None
    download = run_case(case, kind, segments[-1])
    assert isinstance(download, StockDownload)
    simulated_s = download.delivered_s[segments[-1] - 1]
    return Compared(case, kind, stopped[-1].last_byte_s, simulated_s, 1, part=True)
