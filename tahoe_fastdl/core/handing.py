"""Decoded batches on their way to readers.

Pure.  A batch is held, and its bytes stay reserved, until each reader that was
given some of it says that its consumer took them, or goes.
"""

from __future__ import annotations

from . import records as r
from .books import Books
from .geometry import mask_of
from .plan import runs_of
from .readers import Held, Reader


class Handing:
    """The part of a download that gives away what was proved."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._held: dict[int, Held] = {}  # by batch

    def reset(self) -> None:
        """Nobody reads any more."""
        self._held.clear()

    def hand_out(self, batch: int, good: int, reserved_bytes: int, coming: int, now: float) -> None:
        """Offer the segments *good* of *batch* to all readers.

        :param coming: segments that were in the window when the batch came.
        """
        books = self._books
        held = Held(reserved_bytes, now)
        for reader in books.readers.values():
            self._hand_over(batch, held, reader, good, coming)
        if held.waiting:
            self._held[batch] = held
            self._note_oldest()
        else:
            self._drop(batch, held)

    def _hand_over(self, batch: int, held: Held, reader: Reader, good: int, coming: int) -> None:
        """Give a reader what it needs of a batch, unless it is far behind or pauses.

        Bytes that it cannot take before others that nobody has asked for yet
        would fill the budget and never leave it; it fetches them again when it
        gets there.
        """
        books, geometry = self._books, self._books.geometry
        for first, stop in runs_of(reader.todo & good):
            if reader.todo & mask_of(0, first) & ~coming or books.has_its_part(reader):
                return
            reader.todo &= ~mask_of(first, stop)
            assert reader.start is not None and reader.stop is not None
            start = max(reader.start, geometry.segment_start(first))
            end = min(reader.stop, geometry.segment_start(stop))
            if reader.id not in held.waiting:
                reader.held_bytes += held.reserved_bytes
            held.waiting[reader.id] = end
            books.out.append(r.Deliver(reader.id, batch, start, end))

    def on_delivered(self, reader: Reader) -> None:
        """The consumer took all before ``reader.position``."""
        for batch, held in list(self._held.items()):
            if held.waiting.get(reader.id, reader.position + 1) <= reader.position:
                self._let_go(batch, held, reader)

    def on_left(self, reader: Reader) -> None:
        """It takes nothing more."""
        for batch, held in list(self._held.items()):
            if reader.id in held.waiting:
                self._let_go(batch, held, reader)

    def _let_go(self, batch: int, held: Held, reader: Reader) -> None:
        del held.waiting[reader.id]
        reader.held_bytes -= held.reserved_bytes
        if not held.waiting:
            del self._held[batch]
            self._note_oldest()
            self._drop(batch, held)

    def _note_oldest(self) -> None:
        since = (held.since for held in self._held.values())
        self._books.turns.account.held_since = next(since, float("inf"))

    def _drop(self, batch: int, held: Held) -> None:
        self._books.release(held.reserved_bytes)
        self._books.out.append(r.DropBatch(batch))
