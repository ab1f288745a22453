"""The downloads of one client: those that run, the last ones, and what all came to.

Implements ``shell.recording.Recorder``.  Memory: at most ``KEPT`` records with
full tables, 2 MiB each; when so many run at a time, further ones get small
tables, and the oldest that is over goes first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from ..core.watching import Standing
from ..shell.recording import FileFacts, ServerFacts
from .peers import Peers
from .record import FULL, SMALL, Record

KEPT = 50


class Journal:
    """See the module's docstring."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.peers = Peers()
        self._records: dict[int, Record] = {}
        self._last = 0

    def begin(self, facts: FileFacts, look: Callable[[], Standing]) -> Record:
        """As in ``Recorder``."""
        self._last += 1
        self._make_room()
        full = sum(record.capacity is FULL for record in self._records.values())
        capacity = FULL if full < KEPT else SMALL
        record = Record(self._last, facts, look, self.peers, capacity, self._on_over, self._clock)
        self._records[record.id] = record
        return record

    def _make_room(self) -> None:
        over = [record for record in self._records.values() if record.seconds is not None]
        for record in over[: max(0, len(self._records) - KEPT + 1)]:
            del self._records[record.id]

    def know(self, server: int, whose: object, tell: Callable[[], ServerFacts]) -> None:
        """As in ``Recorder``."""
        self.peers.know(server, whose, tell)

    def _on_over(self, record: Record) -> None:
        """Counted once, also if its node reads on later: most never do."""
        if record.is_counted:
            return
        record.is_counted = True
        self.peers.totals.ended[record.state] += 1
        seconds, delivered = record.seconds, record.tally.delivered_bytes
        if record.state == "done" and delivered and seconds:
            self.peers.rate.add(delivered / seconds)

    def get(self, number: int) -> Record | None:
        """The download of this number, if it is still kept."""
        return self._records.get(number)

    def __iter__(self) -> Iterator[Record]:
        """Those that run first, then the others, the newest first of each."""
        newest = sorted(self._records.values(), key=lambda record: -record.id)
        yield from (record for record in newest if record.seconds is None)
        yield from (record for record in newest if record.seconds is not None)
