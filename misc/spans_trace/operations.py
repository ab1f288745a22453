"""Which calls are events, and how their arguments stand in a trace.

Pure. An event is a call, from outside, of a class that knows what a share has and what
is wanted of it: stock's ``Spans`` and ``DataSpans``, our ``Ledger``, ``Share`` and
``Rows`` with the functions that cut masks into runs. Calls that these make among
themselves are part of the event. Not events, for either: plain reads of a field, and
hash trees.

A trace has one JSON value a line. Objects are *markers* and say what begins:
``{"begin": "pass", "file": 1, ...}``. Arrays are events, ``[name, object, argument...,
result]``: objects are numbers, a mask is its runs ``[first, stop, first, stop, ...]``,
and of data there is only the length. The result is there if ``Operation.result`` is.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What an argument is."""

    NUMBER = "number"
    PAIR = "pair"  # start and length
    MASK = "mask"
    DATA = "data"
    OBJECT = "object"  # the only argument, if there is one
    OBJECTS = "objects"
    GEOMETRY = "geometry"  # of the file; nothing in the trace


class Result(Enum):
    """What of the result is in the trace."""

    NOTHING = "nothing"
    OBJECT = "object"
    HIT = "hit"  # whether there was one
    LEDGER = "ledger"  # of the share that was made


# The class of events that are calls of a function.
FUNCTION = ""
CREATE = "__init__"


@dataclass(frozen=True)
class Operation:
    """One name of an event."""

    owner: str
    method: str
    kinds: tuple[Kind, ...] = ()
    result: Result = Result.NOTHING

    @property
    def name(self) -> str:
        """As in the trace."""
        return f"{self.owner}.{self.method}" if self.owner else self.method


_RANGE = (Kind.NUMBER, Kind.NUMBER)
_OTHER = (Kind.OBJECT,)
_MASK = (Kind.MASK,)

SPANS = (
    Operation("Spans", CREATE),
    Operation("Spans", "add", _RANGE),
    Operation("Spans", "remove", _RANGE),
    Operation("Spans", "dump"),
    Operation("Spans", "len"),
    Operation("Spans", "__bool__"),
    Operation("Spans", "__iter__"),
    Operation("Spans", "__contains__", (Kind.PAIR,)),
    Operation("Spans", "__add__", _OTHER, Result.OBJECT),
    Operation("Spans", "__sub__", _OTHER, Result.OBJECT),
    Operation("Spans", "__and__", _OTHER, Result.OBJECT),
    Operation("Spans", "__iadd__", _OTHER),
    Operation("Spans", "__isub__", _OTHER),
)
DATA_SPANS = (
    Operation("DataSpans", CREATE),
    Operation("DataSpans", "add", (Kind.NUMBER, Kind.DATA)),
    Operation("DataSpans", "remove", _RANGE),
    Operation("DataSpans", "get", _RANGE, Result.HIT),
    Operation("DataSpans", "pop", _RANGE, Result.HIT),
    Operation("DataSpans", "get_spans", (), Result.OBJECT),
    Operation("DataSpans", "dump"),
    Operation("DataSpans", "len"),
    Operation("DataSpans", "__bool__"),
)
LEDGER = (
    Operation("Ledger", "desire"),
    Operation("Ledger", "on_wanted", _MASK),
    Operation("Ledger", "on_unwanted", _MASK),
    Operation("Ledger", "on_asked", _MASK),
    Operation("Ledger", "on_answered", _MASK),
    Operation("Ledger", "on_lost", _MASK),
    Operation("Ledger", "on_refused", _MASK),
    Operation("Ledger", "on_forgiven"),
)
SHARE = (
    Operation("Share", CREATE, (Kind.NUMBER, Kind.NUMBER, Kind.NUMBER), Result.LEDGER),
    Operation("Share", "forgive"),
    Operation("Share", "rest"),
    Operation("Share", "keep_fragment", (Kind.NUMBER, Kind.NUMBER, Kind.DATA)),
    Operation("Share", "fragments"),
    Operation("Share", "drop_fragments"),
    Operation("Share", "peek", _RANGE),
    Operation("Share", "was_asked", _RANGE),
    Operation("Share", "assigned"),
    Operation("Share", "expected"),
    Operation("Share", "potential"),
    Operation(
        "Share",
        "keep_blocks",
        (Kind.GEOMETRY, Kind.NUMBER, Kind.NUMBER, Kind.DATA, Kind.MASK, Kind.NUMBER),
    ),
    Operation("Share", "block_run", _RANGE),
    Operation("Share", "blocks", (Kind.GEOMETRY, Kind.NUMBER, Kind.NUMBER)),
    Operation("Share", "use_up", _MASK),
)
ROWS = (
    Operation("Rows", CREATE, (Kind.NUMBER,)),
    Operation("Rows", "admit", _MASK),
    Operation("Rows", "on_blocks", (Kind.NUMBER, Kind.MASK)),
    Operation("Rows", "recount", (Kind.MASK, Kind.OBJECTS)),
    Operation("Rows", "forget_counts", _MASK),
    Operation("Rows", "finish", _MASK),
    Operation("Rows", "uncover", _MASK),
)
CUTS = (
    Operation(FUNCTION, "runs_of", _MASK),
    Operation(FUNCTION, "count_bits", _MASK),
    Operation(FUNCTION, "cut_reads", (Kind.MASK, Kind.NUMBER, Kind.NUMBER)),
)

OPERATIONS = {
    operation.name: operation for operation in (*SPANS, *DATA_SPANS, *LEDGER, *SHARE, *ROWS, *CUTS)
}

# What begins, in markers. For stock:
FILE = "file"
SHARE_FOUND = "share"
PASS = "pass"
ANSWER = "answer"
# For fast each event that the core takes, by its name; this one makes a plan:
PLAN = "TurnEnded"
