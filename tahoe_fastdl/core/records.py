"""Events that go into a download and actions that come out: frozen records.

Reader, share, server, read and batch are named by numbers the assembler or
the shell hands out; positions and lengths are bytes.
"""

from __future__ import annotations

from typing import Union

from attrs import frozen

# -- events -------------------------------------------------------------------


@frozen
class ReaderJoined:
    """Somebody wants file bytes ``[start, stop)``, start < stop <= file size."""

    reader: int
    start: int
    stop: int


@frozen
class SegmentAsked:
    """Somebody wants one whole segment, whatever the segment size turns out to be."""

    reader: int
    segnum: int


@frozen
class SegmentSizeAsked:
    """Somebody wants to know the segment size."""

    reader: int


@frozen
class ReaderDelivered:
    """The reader's consumer has everything before *position*."""

    reader: int
    position: int


@frozen
class ReaderLeft:
    """The reader is gone: done, stopped or cancelled."""

    reader: int


@frozen
class ServerAnswered:
    """A server told which shares it holds: ``(share, shnum)`` pairs."""

    server: int
    seconds: float
    shares: tuple[tuple[int, int], ...]


@frozen
class SearchEnded:
    """Every server was asked and has answered or failed."""


@frozen
class ReadAnswered:
    """A read's bytes, at most as many as were asked for."""

    read: int
    data: bytes


@frozen
class ReadFailed:
    """A read that will bring nothing.  *reason* is for people; no secrets in it."""

    read: int
    reason: str


@frozen
class BatchDecoded:
    """A batch left the worker; *bad* are the segments whose hash did not match."""

    batch: int
    bad: tuple[int, ...]


@frozen
class TurnEnded:
    """The reactor turn is over: plan, if something changed."""

    cpu_busy: float  # part of a core this process used of late, 0..1


@frozen
class TimePassed:
    """A deadline that ``next_deadline`` named has come."""


Event = Union[
    ReaderJoined,
    SegmentAsked,
    SegmentSizeAsked,
    ReaderDelivered,
    ReaderLeft,
    ServerAnswered,
    SearchEnded,
    ReadAnswered,
    ReadFailed,
    BatchDecoded,
    TurnEnded,
    TimePassed,
]

# -- actions ------------------------------------------------------------------


@frozen
class FindShares:
    """Ask all servers which shares they hold."""


@frozen
class SendRead:
    """Ask *share* for ``[start, start + length)``."""

    read: int
    share: int
    start: int
    length: int


@frozen
class Source:
    """One share's blocks of a batch, lying side by side."""

    shnum: int
    blocks: memoryview


@frozen
class Decode:
    """Decode segments ``[first, stop)`` from k sources and check each against its hash.

    ``sources`` have distinct shnums and equal lengths; ``hashes`` are the
    proved ciphertext leaves, one a segment.
    """

    batch: int
    first: int
    stop: int
    sources: tuple[Source, ...]
    hashes: tuple[bytes, ...]


@frozen
class Deliver:
    """Give file bytes ``[start, stop)`` of a decoded batch to a reader."""

    reader: int
    batch: int
    start: int
    stop: int


@frozen
class DropBatch:
    """No reader needs the decoded batch any more."""

    batch: int


@frozen
class ReaderResolved:
    """A segment reader's range is known: file bytes ``[start, stop)``."""

    reader: int
    start: int
    stop: int


@frozen
class TellSegmentSize:
    """Answer to ``SegmentSizeAsked``."""

    reader: int
    segment_size: int


@frozen
class AdviseCorrupt:
    """Tell the share's server that ``[start, stop)`` of it is corrupt."""

    share: int
    start: int
    stop: int
    reason: str


@frozen
class FailReader:
    """The reader cannot be served; what was delivered stays delivered."""

    reader: int
    error: Exception


Action = Union[
    FindShares,
    SendRead,
    Decode,
    Deliver,
    DropBatch,
    ReaderResolved,
    TellSegmentSize,
    AdviseCorrupt,
    FailReader,
]
