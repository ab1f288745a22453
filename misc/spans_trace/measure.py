"""Times the replays of one file's traces."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from misc.bench.cases import FAST, STOCK, File
from misc.spans_trace import replay, traces
from misc.spans_trace.replay import LOG_EVENTS, Program
from misc.spans_trace.results import BITMAPS, SILENT, Cost
from misc.spans_trace.translate import translate
from tahoe_fastdl.core.ledger import Ledger


def costs_of(file: File, kept: Path, session: str) -> list[Cost]:
    """All replays of a file.

    :param kept: where the traces are.
    :raise NoTraceError: one of the two is not there.
    """
    fast = traces.load(kept, file, FAST)
    found = [cost_of(file, FAST, replay.program_of(fast), session, fast.names()["Ledger.desire"])]
    del fast  # the other is large
    stock = traces.load(kept, file, STOCK)
    found.append(cost_of(file, STOCK, replay.program_of(stock), session))
    found.append(cost_of(file, SILENT, replay.program_of(stock, LOG_EVENTS), session))
    made = translate(stock)
    found.append(
        cost_of(
            file,
            BITMAPS,
            made.program,
            session,
            stock.names()["Spans.__iter__"],
            made.units,
            made.checked,
            made.differences,
        )
    )
    return found


def cost_of(
    file: File,
    name: str,
    program: Program,
    session: str,
    asked: int = 0,
    units: int = 0,
    checked: int = 0,
    differences: int = 0,
) -> Cost:
    """Time one program, and run it once more for what its ledgers count."""
    timing = replay.timed(program)
    objects = program.make_objects()
    replay.run(program, objects)
    ledgers = [each for each in objects if isinstance(each, Ledger)]
    return Cost(
        file=file,
        replay=name,
        events=program.events,
        groups=dict(Counter(begin for begin, _ in program.groups)),
        ns=timing.median,
        low_ns=timing.low,
        high_ns=timing.high,
        runs=timing.runs,
        ns_by_begin=timing.by_begin,
        asked=asked,
        changes=sum(ledger.changes for ledger in ledgers),
        recomputations=sum(ledger.recomputations for ledger in ledgers),
        units=units,
        checked=checked,
        differences=differences,
        session=session,
    )
