"""How long a download that was given up would have taken; how estimates are kept apart.

Pure. Stock fetches one segment after another, each like the one before, so the
time from the first segment to the last that came tells the time of each other.
Law: a measured value is never mixed with an estimate; a case has either.
"""

from __future__ import annotations

from dataclasses import dataclass

from misc.bench.cases import Case
from misc.bench.results import Results, Run, Spread

# With fewer segments delivered the rate of a smaller file of the same kind is trusted more:
# stock's second segment can take as long as four later ones.
ENOUGH_SEGMENTS = 8


@dataclass(frozen=True)
class Shown:
    """A number for a table or a figure."""

    spread: Spread
    is_estimate: bool = False

    @property
    def value(self) -> float:
        """What is compared."""
        return self.spread.median


def delivered_segments(run: Run) -> float:
    """How many segments came before it was given up."""
    assert run.stopped is not None
    return run.stopped.delivered_bytes / run.case.file.segment_bytes


def second_per_byte(run: Run) -> float | None:
    """Of the segments after the first, which waits for much else; None if no other came."""
    stopped = run.stopped
    assert stopped is not None
    others = stopped.delivered_bytes - run.case.file.segment_bytes
    return (stopped.last_byte_s - stopped.first_byte_s) / others if others > 0 else None


def source(results: Results, case: Case, kind: str) -> Run | None:
    """Whose rate tells how long a case would take; None if it was measured, or nothing is known.

    Its own run if enough of it came; else that of the family's with most segments.
    """
    if results.measured(case, kind):
        return None
    own = results.stopped(case, kind)
    if own and delivered_segments(own[-1]) >= ENOUGH_SEGMENTS:
        return own[-1]
    family = [
        run
        for run in results.of_family(case, kind)
        if run.stopped is not None
        and run.case.file.length <= case.file.length
        and second_per_byte(run) is not None
    ]
    return max(family, key=delivered_segments, default=None)


def estimated_s(results: Results, case: Case, kind: str) -> float | None:
    """What the whole download would take, in seconds."""
    run = source(results, case, kind)
    if run is None or run.stopped is None:
        return None
    rate = second_per_byte(run)
    if rate is None:
        return None
    own = [each.stopped for each in results.stopped(case, kind) if each.stopped is not None]
    first_byte_s = next(
        (each.first_byte_s for each in own if each.first_byte_s), run.stopped.first_byte_s
    )
    return first_byte_s + rate * max(0, case.file.length - case.file.segment_bytes)


def seconds(results: Results, case: Case, kind: str) -> Shown | None:
    """The time of a case: measured, or else estimated."""
    found = results.spread(case, kind, lambda measures: measures.seconds)
    if found is not None:
        return Shown(found)
    estimate = estimated_s(results, case, kind)
    if estimate is None:
        return None
    return Shown(Spread(estimate, estimate, estimate, 1), is_estimate=True)


def client_cpu_s(results: Results, case: Case, kind: str) -> Shown | None:
    """The same of the client's CPU time, by bytes delivered."""
    found = results.spread(case, kind, lambda measures: measures.client_cpu_s)
    if found is not None:
        return Shown(found)
    return _scaled(results, case, kind, "client_cpu_s")


def reads(results: Results, case: Case, kind: str) -> Shown | None:
    """The same of read messages."""
    found = results.spread(case, kind, lambda measures: measures.reads)
    if found is not None:
        return Shown(found)
    return _scaled(results, case, kind, "reads")


def _scaled(results: Results, case: Case, kind: str, name: str) -> Shown | None:
    run = source(results, case, kind)
    if run is None or run.stopped is None:
        return None
    spent = getattr(run.stopped, name)
    if not spent:
        return None
    value = spent * case.file.length / run.stopped.delivered_bytes
    return Shown(Spread(value, value, value, 1), is_estimate=True)
