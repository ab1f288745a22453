"""Bounded tables of numbers: what the recorder keeps of a download's events.

A row is packed into a ``bytearray``, a tenth of what tuples of Python numbers
take and one call to write.  Laws, of every table: it never holds more than
its capacity; ``left_out`` plus the rows it gives is the number of rows that it
was offered; nothing is computed before somebody asks, but for a thinning now
and then, whose cost is spread over half a table of rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from struct import Struct
from typing import Any

Row = tuple[Any, ...]


@cache
def _struct_of(layout: str) -> Struct:
    """Made once: a download begins in less time than it takes to make six."""
    return Struct(layout)


class SpreadTable:
    """Rows as they come: the first ones, and of the rest every so many-th.

    When it is full every second row after the first ones goes, and from then
    on only every second one of those that come is kept.  The newest row is
    always there, so that what is shown ends where the download does.
    """

    def __init__(self, layout: str, capacity: int, head: int = 0) -> None:
        """
        :param layout: of a row, as in ``struct`` without the byte order.
        :param head: how many of the first rows stay whatever comes.
        """
        assert capacity - head >= 4
        self._struct = _struct_of("=" + layout)
        self._capacity = capacity
        self._head = head
        self._rows = bytearray()
        self._stride = 1
        self._newest: Row | None = None  # if it was passed over
        self.offered = 0

    def add(self, *row: Any) -> None:
        """One more row, in order of time."""
        place = self.offered - self._head
        self.offered += 1
        if place > 0 and place % self._stride:
            self._newest = row
            return
        if len(self._rows) == self._capacity * self._struct.size:
            self._thin()
            if place % self._stride:
                self._newest = row
                return
        self._newest = None
        self._rows += self._struct.pack(*row)

    def _thin(self) -> None:
        size, rows = self._struct.size, self._rows
        kept = rows[: self._head * size]
        for start in range(self._head * size, len(rows), 2 * size):
            kept += rows[start : start + size]
        self._rows = kept
        self._stride *= 2

    def rows(self) -> Iterator[Row]:
        """What is kept, in the order it came."""
        yield from self._struct.iter_unpack(self._rows)
        if self._newest is not None:
            # packed and unpacked, so that it looks like the others
            yield self._struct.unpack(self._struct.pack(*self._newest))

    @property
    def left_out(self) -> int:
        """How many rows it was offered and does not give."""
        given = len(self._rows) // self._struct.size + (self._newest is not None)
        return self.offered - given


# What a row of reads holds: ordinal, share, kind, start, length, first segment, stop
# segment, sent, done, state, flags.
_READ = Struct("=IiBqqiiddBB")
_ORDINAL, _FLAGS, _STATE = Struct("=I"), _READ.size - 1, _READ.size - 2
# Parts of it: the share comes second, the segments before the last four columns.
_SHARE, _BLOCKS, _TAIL = Struct("=i"), Struct("=ii"), Struct("=ddBB")
_TAIL_AT = _READ.size - _TAIL.size
_BLOCKS_AT = _TAIL_AT - _BLOCKS.size
OPEN, DONE, FAILED, ABANDONED = range(4)
HEDGE, LATE, STALLED, WASTED = 1, 2, 4, 8

MAX_OPEN = 1024  # a read beyond these is counted and not kept


class ReadTable:
    """The reads of a download, each entered when it is sent and changed when it ends.

    When it is full, reads that tell nothing of their own go first: those that
    ended well and in time, all but the first ones and every so many-th of the
    rest.  Late, failed, wasted and hedging ones follow only when these alone
    fill half of the table; open ones, an eighth of it at most, stay.
    """

    def __init__(self, capacity: int, head: int) -> None:
        """:param head: how many of the first reads stay whatever comes."""
        self._max_open = min(MAX_OPEN, capacity // 8)
        assert 1 <= head <= capacity // 8
        self._capacity = capacity
        self._head = head
        self._rows = bytearray()
        self._places: dict[int, int] = {}  # open reads: number -> where in _rows
        self._stride = self._told_stride = 1
        self.offered = 0

    def __len__(self) -> int:
        return len(self._rows) // _READ.size

    @property
    def left_out(self) -> int:
        """How many reads were entered and are not here."""
        return self.offered - len(self)

    def send(
        self,
        read: int,
        share: int,
        kind: int,
        start: int,
        length: int,
        blocks: tuple[int, int],
        sent: float,
        flags: int,
    ) -> None:
        """Enter a read.  *blocks* are its segments ``(first, stop)``, or ``(-1, -1)``."""
        ordinal = self.offered
        self.offered += 1
        if len(self._places) >= self._max_open:
            return
        if len(self) >= self._capacity:
            self._thin()
        self._places[read] = len(self._rows)
        self._rows += _READ.pack(
            ordinal & 0xFFFFFFFF, share, kind, start, length, *blocks, sent, -1.0, OPEN, flags
        )

    def get(self, read: int) -> Row | None:
        """The columns of an open read, without its ordinal."""
        place = self._places.get(read)
        return None if place is None else _READ.unpack_from(self._rows, place)[1:]

    def flag(self, read: int, flags: int) -> None:
        """More is known of an open read."""
        place = self._places.get(read)
        if place is not None:
            self._rows[place + _FLAGS] |= flags

    def give_up(self, read: int) -> None:
        """Nobody waits for it any more; its answer may come all the same."""
        place = self._places.get(read)
        if place is not None:
            self._rows[place + _STATE] = ABANDONED

    def give_up_all(self) -> None:
        """Nobody waits for any of them."""
        for place in self._places.values():
            self._rows[place + _STATE] = ABANDONED

    def set_open_blocks(self, read: int, blocks: tuple[int, int]) -> None:
        """It is known by now which segments an open read is for."""
        place = self._places.get(read)
        if place is not None:
            _BLOCKS.pack_into(self._rows, place + _BLOCKS_AT, *blocks)

    def end(self, read: int, done: float, state: int, flags: int) -> tuple[int, float] | None:
        """It ended.

        :return: its share and when it was sent; None: it is not here.
        """
        place = self._places.pop(read, None)
        if place is None:
            return None
        rows = self._rows
        sent, _done, before, flagged = _TAIL.unpack_from(rows, place + _TAIL_AT)
        if before == ABANDONED:
            state = ABANDONED
        _TAIL.pack_into(rows, place + _TAIL_AT, sent, done, state, flagged | flags)
        (share,) = _SHARE.unpack_from(rows, place + _ORDINAL.size)
        return share, sent

    def set_blocks(self, kind: int, blocks: dict[int, tuple[int, int]]) -> None:
        """Reads of this kind that ended without known segments brought these, by share."""
        for index, row in enumerate(_READ.iter_unpack(bytes(self._rows))):
            if row[2] == kind and row[5] < 0 and row[9] == DONE and row[1] in blocks:
                place = index * _READ.size
                _READ.pack_into(self._rows, place, *row[:5], *blocks[row[1]], *row[7:])

    def _thin(self) -> None:
        """Make room for a quarter of the table at least.

        That ends: beside half a table of telling ones, an eighth of first and an
        eighth of open ones there are others to go as long as more than three
        quarters are full; and if more are telling some of them can go.
        """
        self._drop()  # of what came since the last time
        while 4 * len(self) > 3 * self._capacity:
            told = sum(self._is_telling(place) for place in range(0, len(self._rows), _READ.size))
            if 2 * told > self._capacity:
                self._told_stride *= 2
            else:
                self._stride *= 2
            self._drop()

    def _is_telling(self, place: int) -> bool:
        return bool(self._rows[place + _FLAGS]) or self._rows[place + _STATE] in (FAILED, ABANDONED)

    def _drop(self) -> None:
        open_at = {place: read for read, place in self._places.items()}
        kept = bytearray()
        for place in range(0, len(self._rows), _READ.size):
            (ordinal,) = _ORDINAL.unpack_from(self._rows, place)
            stride = self._told_stride if self._is_telling(place) else self._stride
            read = open_at.get(place)
            if read is None and ordinal >= self._head and ordinal % stride:
                continue
            if read is not None:
                self._places[read] = len(kept)
            kept += self._rows[place : place + _READ.size]
        self._rows = kept

    def rows(self) -> Iterator[Row]:
        """What is kept, in order of sending, without the ordinals."""
        for row in _READ.iter_unpack(bytes(self._rows)):
            yield row[1:]
