"""Batches of one download: from the order to decode to the bytes a reader gets.

Owns what workers gave until the core drops it, and Tahoe's events of the segments in
it.  Decides nothing: the core says what is decoded, delivered and dropped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Set
from typing import Any

from allmydata.util.cputhreadpool import defer_to_thread
from twisted.internet import defer
from twisted.python.failure import Failure

from ..core import records as r
from ..core.geometry import Geometry
from .watcher import Watcher
from .worker import Decoded, decode_batch


class Batches:
    """See the module's docstring.

    Events go to *feed*, an error of our own, in a worker or behind it, to *on_broken*.
    """

    def __init__(
        self,
        feed: Callable[[r.Event], None],
        download_status: Any,
        on_broken: Callable[[Failure], None],
        watcher: Watcher | None,
    ) -> None:
        self._feed = feed
        self._status = download_status
        self._on_broken = on_broken
        self._watcher = watcher
        self._decoded: dict[int, Decoded] = {}
        self._segment_events: dict[int, list[tuple[int, Any]]] = {}
        self._running = True

    def report_to(self, download_status: Any) -> None:
        """Batches from now on are those of another download."""
        self._status = download_status

    def stop(self) -> None:
        """Forget all, and ignore what workers still give."""
        self._running = False
        self._decoded.clear()

    def decode(self, action: r.Decode, geometry: Geometry, readkeys: Set[bytes | None]) -> None:
        """Hand a batch to a worker; ``BatchDecoded`` follows.

        :param readkeys: of the readers there are; None: one that wants ciphertext.
        """
        started = time.time()
        events = []
        for segnum in range(action.first, action.stop):
            event = self._status.add_segment_request(segnum, started)
            event.activate(started)
            events.append((segnum, event))
        self._segment_events[action.batch] = events
        d = defer.ensureDeferred(
            defer_to_thread(
                decode_batch,
                action,
                geometry,
                frozenset(key for key in readkeys if key is not None),
                None in readkeys,
            )
        )
        d.addCallback(self._on_decoded, action, geometry, started)
        d.addErrback(self._on_broken)

    def _on_decoded(
        self, decoded: Decoded, action: r.Decode, geometry: Geometry, started: float
    ) -> None:
        if not self._running:
            return
        if self._watcher is not None:
            self._watcher.worked(
                decoded.began, decoded.spent(), action.first, action.stop, decoded.thread
            )
        self._tell_status(decoded, started)
        finished = time.time()
        for segnum, event in self._segment_events.pop(action.batch):
            if segnum in decoded.bad:
                event.error(finished)
            else:
                event.deliver(
                    finished,
                    geometry.segment_start(segnum),
                    geometry.segment_length(segnum),
                    decoded.decode_s,
                )
        self._decoded[action.batch] = decoded
        self._feed(r.BatchDecoded(action.batch, decoded.bad))

    def _tell_status(self, decoded: Decoded, started: float) -> None:
        """The three steps, under the names that Tahoe's timeline has for them."""
        hashing = started + decoded.decode_s
        self._status.add_misc_event("decode", started, hashing)
        self._status.add_misc_event("CThash", hashing, hashing + decoded.hash_s)
        if decoded.plaintexts:
            now = time.time()
            self._status.add_misc_event("AES", now - decoded.decrypt_s, now)

    def get(self, batch: int) -> Decoded | None:
        """What became of a batch; None: it is still in its worker, or was dropped."""
        return self._decoded.get(batch)

    def drop(self, batch: int) -> None:
        """No reader needs it any more."""
        self._decoded.pop(batch, None)
