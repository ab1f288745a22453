"""Downloads that nobody reads, kept for the next reader of the same file.

A web request makes a node of its own for a file, so what one has learned
(places of shares, UEB, hashes) would be lost for the next, and each range that
a player asks for would begin with a search.  A download that is parked here
and taken again costs its reader one round trip.

Laws: what is parked is clean (``Download.is_worth_keeping``), is forgotten
after a while, and all of it together is bounded.  No timer: what is too
old goes when the next one comes.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from .driver import Driver

MAX_PARKED_FILES = 32
# So many more before some go.  With each goes a message to a server for each share, and ten
# in a row delay the next small file by 3 ms: one file at a time made 1,000 of 10 KB take 1.04
# times as long as with stock, four at a time 1.00.
FORGOTTEN_AT_ONCE = 4
# What is kept of a file grows with its segments: a hash of 32 bytes and 80
# more of Python's for each, so all that is parked holds at most 4 MB.
MAX_PARKED_SEGMENTS = 32768


@frozen
class _Place:
    driver: Driver
    since: float
    segments: int


class Parking:
    """The parked downloads of one client, the least recently used first.

    :param keep_s: how long one may stay, in seconds; with 0 none should be put here.
    """

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._places: OrderedDict[bytes, _Place] = OrderedDict()

    def __len__(self) -> int:
        return len(self._places)

    @property
    def is_open(self) -> bool:
        """Whether any may stay."""
        return self._keep_s > 0

    def put(self, driver: Driver, now: float) -> None:
        """Keep *driver*, which has no readers; others may have to go for it.

        :param now: monotonic seconds.
        """
        geometry = driver.core.geometry
        assert geometry is not None
        older = self._places.pop(driver.key, None)
        if older is not None:
            older.driver.stop()
        self._places[driver.key] = _Place(driver, now, geometry.num_segments)
        if self._has_too_much(now, MAX_PARKED_FILES + FORGOTTEN_AT_ONCE - 1):
            while self._places and self._has_too_much(now, MAX_PARKED_FILES):
                self._places.popitem(last=False)[1].driver.stop()

    def _has_too_much(self, now: float, most_files: int) -> bool:
        places = self._places.values()
        return (
            next(iter(places)).since + self._keep_s < now
            or len(places) > most_files
            or sum(place.segments for place in places) > MAX_PARKED_SEGMENTS
        )

    def take(self, key: bytes, broker: Any, now: float) -> Driver | None:
        """The download of this file, if it is parked, not too old, and its servers are there."""
        place = self._places.pop(key, None)
        if place is None:
            return None
        is_good = False
        try:
            is_good = place.since + self._keep_s >= now and place.driver.is_usable(broker)
        finally:  # also if that breaks: nobody else has it now
            if not is_good:
                place.driver.stop()
        return place.driver if is_good else None

    def stop(self) -> None:
        """The client shuts down: forget all."""
        places, self._places = self._places, OrderedDict()
        for place in places.values():
            place.driver.stop()
