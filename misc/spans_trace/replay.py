"""Calls all that a trace holds again, on the real classes, and times it.

A program is a trace made ready: functions and arguments, so that little but the calls
themselves happens while time is taken. What little does, is measured with the same
program of functions that do nothing, and subtracted.
"""

from __future__ import annotations

import gc
import operator
import statistics
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from allmydata.util.spans import DataSpans, Spans

from misc.bench.cases import File
from misc.spans_trace import operations
from misc.spans_trace.operations import CREATE, FUNCTION, Kind, Operation, Result
from misc.spans_trace.traces import Event, Group, Trace
from tahoe_fastdl.core import plan
from tahoe_fastdl.core.geometry import Geometry, mask_of
from tahoe_fastdl.core.ledger import Ledger
from tahoe_fastdl.core.rows import Rows
from tahoe_fastdl.core.share import Share

# The parts of a pass of stock's loop: what is there is used, then the desire is worked out
# and sent; or worked out in vain, for there was nothing to ask. A pass that neither used
# nor asked anything is one part.
SATISFACTION = "satisfaction"
DESIRE = "desire"
VAIN_DESIRE = "vain desire"
IDLE_PASS = "idle pass"
PASSES = (DESIRE, VAIN_DESIRE, IDLE_PASS)

MADE_SPANS = f"Spans.{CREATE}"
LOG_EVENTS = frozenset(("Spans.dump", "DataSpans.dump"))

MIN_RUNS, MAX_RUNS = 5, 101
# Of one program's runs together; longer only until MIN_RUNS were quiet.
ENOUGH_S, LIMIT_S = 1.5, 6.0
STOLEN = 0.02  # of a quiet run's wall time at most, by other processes

# Function; the object it is called on; another object as argument, or NONE; other
# arguments; where the result goes, or NONE. Objects are places in a table.
Call = tuple[Callable[..., Any], int, int, tuple[Any, ...], int]
NONE = -1


@dataclass
class Program:
    """What is to be called, by what began it."""

    make_objects: Callable[[], list[Any]]
    groups: list[tuple[str, list[Call]]] = field(default_factory=list)
    events: int = 0  # calls, but for those that belong to the replay


@dataclass(frozen=True)
class Timing:
    """Nanoseconds of a whole program: over its runs, and medians by what began it."""

    median: float
    low: float
    high: float
    runs: int
    by_begin: dict[str, float]


# ---------------------------------------------------------------- time


def run(program: Program, objects: list[Any]) -> dict[str, int]:
    """Call it all once; nanoseconds by what began it."""
    clock = time.perf_counter_ns
    spent: dict[str, int] = {}
    for begin, calls in program.groups:
        began = clock()
        for function, target, other, arguments, place in calls:
            if other >= 0:
                result = function(objects[target], objects[other])
            else:
                result = function(objects[target], *arguments)
            if place >= 0:
                objects[place] = result
        spent[begin] = spent.get(begin, 0) + clock() - began
    return spent


def timed(program: Program) -> Timing:
    """Call it all several times."""
    idle = _medians(_runs(_idling(program)))
    runs = _runs(program)
    median = _medians(runs)
    own = {begin: max(0.0, median[begin] - idle[begin]) for begin in median}
    overhead = sum(idle.values())
    totals = [max(0.0, sum(each.values()) - overhead) for each in runs]
    return Timing(statistics.median(totals), min(totals), max(totals), len(runs), own)


def _runs(program: Program) -> list[dict[str, int]]:
    """Several runs, of which those count in which nobody else took the core."""
    found: list[tuple[float, dict[str, int]]] = []
    began = time.monotonic()
    was_enabled = gc.isenabled()
    gc.disable()  # what is called makes no cycles, and the trace itself is large
    try:
        while True:
            objects = program.make_objects()
            cpu_ns, wall_ns = time.thread_time_ns(), time.perf_counter_ns()
            spent = run(program, objects)
            wall_ns = time.perf_counter_ns() - wall_ns
            found.append((1 - (time.thread_time_ns() - cpu_ns) / wall_ns, spent))
            quiet = sum(stolen <= STOLEN for stolen, _ in found)
            spent_s = time.monotonic() - began
            if quiet >= (MIN_RUNS if spent_s > ENOUGH_S else MAX_RUNS) or spent_s > LIMIT_S:
                break
    finally:
        if was_enabled:
            gc.enable()
    found.sort(key=lambda each: each[0])
    return [spent for _, spent in found[: max(quiet, MIN_RUNS)]]


def _medians(runs: list[dict[str, int]]) -> dict[str, float]:
    return {begin: statistics.median(each[begin] for each in runs) for begin in runs[0]}


def _idling(program: Program) -> Program:
    groups = [(begin, [(_nothing, *call[1:]) for call in calls]) for begin, calls in program.groups]
    length = len(program.make_objects())
    return Program(lambda: [None] * length, groups)


def _nothing(*_arguments: object) -> None:
    pass


# ---------------------------------------------------------------- from a trace


def geometry_of(file: File) -> Geometry:
    """Sizes of a file's shares."""
    needed, total = file.encoding.needed, file.encoding.total
    return Geometry.guess(file.length, needed, total, file.segment_bytes)


def program_of(trace: Trace, without: Collection[str] = ()) -> Program:
    """The program that repeats a trace.

    :param without: names of events that are left out.
    """
    places = _places(trace)
    length = max(places.values(), default=0) + 1
    program = Program(lambda: [None] * length)
    geometry = geometry_of(trace.file)
    for group in trace.groups:
        for begin, events in _parts(group):
            calls: list[Call] = []
            for event in events:
                if event.name not in without:
                    calls += _calls(event, places, geometry)
                    program.events += 1
            program.groups.append((begin, calls))
    return program


def _parts(group: Group) -> list[tuple[str, list[Event]]]:
    """A group as one, but a pass of stock's loop in two: it makes spans only to desire."""
    begin = begin_of(group)
    if begin not in (DESIRE, VAIN_DESIRE):
        return [(begin, group.events)]
    made = [event.name == MADE_SPANS for event in group.events]
    half = made.index(True) if True in made else len(made)
    return [(SATISFACTION, group.events[:half]), (begin, group.events[half:])]


def begin_of(group: Group) -> str:
    """What began it; for a pass of stock's loop, what came of it."""
    if group.begin != operations.PASS:
        return group.begin
    made = {event.target for event in group.events if event.name == MADE_SPANS}
    # Of the spans that a pass did not make, only those of what is pending are added to.
    if any(event.name == "Spans.add" and event.target not in made for event in group.events):
        return DESIRE
    if any(
        (event.name == "DataSpans.pop" and event.result)
        or event.name in ("DataSpans.remove", f"DataSpans.{CREATE}")
        for event in group.events
    ):
        return VAIN_DESIRE
    return IDLE_PASS


def _objects_of(event: Event) -> list[int]:
    found = [event.target] if event.target else []
    if Kind.OBJECT in event.operation.kinds:
        found.append(event.arguments[0])
    if event.operation.result in (Result.OBJECT, Result.LEDGER):
        found.append(event.result)
    return found


def _places(trace: Trace) -> dict[int, int]:
    """A place for each object. What is made and used in one go frees its place after it,
    as the download did: else memory would grow and with it the time of everything."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for index, group in enumerate(trace.groups):
        for event in group.events:
            for number in _objects_of(event):
                first.setdefault(number, index)
                last[number] = index
    lasting = [number for number in first if first[number] != last[number]]
    places = {number: 1 + index for index, number in enumerate(lasting)}
    base = 1 + len(lasting)  # place 0 is nobody's
    taken: dict[int, int] = {}
    for number, index in first.items():
        if number not in places:
            places[number] = base + taken.get(index, 0)
            taken[index] = taken.get(index, 0) + 1
    return places


def _calls(event: Event, places: dict[int, int], geometry: Geometry) -> list[Call]:
    operation = event.operation
    target = places.get(event.target, 0)
    if operation.method == CREATE:
        calls = [(CREATORS[operation.owner], 0, NONE, _arguments(event, geometry), target)]
        if operation.result is Result.LEDGER:
            ledger = operator.attrgetter("ledger")
            calls.append((ledger, target, NONE, (), places[event.result]))
        return calls
    place = places[event.result] if operation.result is Result.OBJECT else NONE
    if operation.kinds == (Kind.OBJECT,):
        return [(FUNCTIONS[operation.name], target, places[event.arguments[0]], (), place)]
    arguments = _arguments(event, geometry)
    if Kind.OBJECTS in operation.kinds:
        # Only Rows.recount, which no sound download calls: it counts for no shares.
        arguments = (arguments[0], ())
    return [(FUNCTIONS[operation.name], target, NONE, arguments, place)]


_cache: dict[int, bytes] = {}


def _data(length: int) -> bytes:
    """As many zeros; the same object for the same length."""
    return _cache.setdefault(length, bytes(length))


def _arguments(event: Event, geometry: Geometry) -> tuple[Any, ...]:
    found: list[Any] = []
    for kind, value in zip(event.operation.kinds, event.arguments):
        if kind is Kind.MASK:
            found.append(mask_of_runs(value))
        elif kind is Kind.DATA:
            data = _data(value)
            found.append(memoryview(data) if event.name == "Share.keep_blocks" else data)
        elif kind is Kind.GEOMETRY:
            found.append(geometry)
        elif kind is Kind.PAIR:
            found.append(tuple(value))
        else:
            found.append(value)
    return tuple(found)


def mask_of_runs(ends: list[int]) -> int:
    """The mask of ``[first, stop, first, stop, ...]``."""
    return sum(mask_of(first, stop) for first, stop in zip(ends[::2], ends[1::2]))


CREATORS: dict[str, Callable[..., Any]] = {
    "Spans": lambda _none: Spans(),
    "DataSpans": lambda _none: DataSpans(),
    "Share": lambda _none, *arguments: Share(*arguments),
    "Rows": lambda _none, needed: Rows(needed),
}


def _function(operation: Operation) -> Callable[..., Any]:
    if operation.owner == FUNCTION:
        of_plan: Callable[..., Any] = getattr(plan, operation.method)
        if operation.method == "count_bits":
            return lambda _none, mask: of_plan(mask)
        return lambda _none, *arguments: list(of_plan(*arguments))
    if operation.name == "Spans.__iter__":
        return list
    function: Callable[..., Any] = getattr(OWNERS[operation.owner], operation.method)
    return function


OWNERS: dict[str, type] = {
    "Spans": Spans,
    "DataSpans": DataSpans,
    "Ledger": Ledger,
    "Share": Share,
    "Rows": Rows,
}
FUNCTIONS = {
    name: _function(operation)
    for name, operation in operations.OPERATIONS.items()
    if operation.method != CREATE
}
