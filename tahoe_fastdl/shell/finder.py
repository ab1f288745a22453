"""Which server holds which share: ask all of them at once (DYHB).

Stock asks ten at a time and waits 10 s for each that is silent.  A server
that is not connected, raises or answers nonsense is passed over.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from allmydata.util import log
from twisted.internet import defer
from twisted.python.failure import Failure

from ..core import records as r
from .facts import server_name
from .hub import Hub
from .receiving import piece_bytes, take_in
from .watcher import Watcher
from .wire import RemoteShare, Wire

Tell = Callable[["list[int] | None"], None]


def _tell_nobody(_shnums: list[int] | None) -> None:
    """Where nobody records."""


class Finder:
    """Searches for the shares of one file."""

    def __init__(
        self,
        hub: Hub,
        storage_broker: Any,
        storage_index: bytes,
        total_shares: int,
        download_status: Any,
        wire: Wire,
        feed: Callable[[r.Event], None],
        on_broken: Callable[[Failure], None],
        watcher: Watcher | None,
    ) -> None:
        """
        :param wire: is told of each share that is found.
        :param feed: gets the events.
        :param on_broken: gets an error of our own while an answer is taken.
        """
        self._hub = hub
        self._broker = storage_broker
        self._storage_index = storage_index
        self._total_shares = total_shares
        self._status = download_status
        self._wire = wire
        self._feed = feed
        self._on_broken = on_broken
        self._watcher = watcher
        self._running = True
        self._next_share = 0
        self._waiting = 0  # of the newest search; answers of an older one count as well
        self._servers_asked = 1  # in the newest search

    def report_to(self, download_status: Any) -> None:
        """Questions from now on are those of another download."""
        self._status = download_status

    def stop(self) -> None:
        """Ignore answers that still come."""
        self._running = False

    def find(self) -> None:
        """Ask every connected server; ``SearchEnded`` follows when all have answered."""
        servers = list(self._broker.get_servers_for_psi(self._storage_index))
        self._servers_asked = max(1, len(servers))
        # One more than are asked, so that answers in this very turn do not end it.
        self._waiting += len(servers) + 1
        for server in servers:
            self._ask(server)
        self._done()

    def _ask(self, server: Any) -> None:
        began, started = time.monotonic(), time.time()
        event = self._status.add_dyhb_request(server, started)
        tell = self._watcher.asked(server) if self._watcher is not None else _tell_nobody
        storage_server = server.get_storage_server()
        if storage_server is None:
            d = defer.fail(Failure(ConnectionError("not connected")))
        else:
            d = defer.maybeDeferred(storage_server.get_buckets, self._storage_index)
        d.addCallbacks(
            self._answered,
            self._failed,
            callbackArgs=(server, event, tell, began),
            errbackArgs=(server, event, tell),
        )
        d.addErrback(self._on_broken)

    def _done(self) -> None:
        self._waiting -= 1
        if self._waiting == 0 and self._running:
            self._feed(r.SearchEnded())

    def _answered(self, buckets: Any, server: Any, event: Any, tell: Tell, began: float) -> None:
        if not self._running:
            return
        if not isinstance(buckets, dict):
            wrong = TypeError(f"get_buckets gave {type(buckets).__name__}")
            self._failed(Failure(wrong), server, event, tell)
            return
        found, strange = [], []
        for shnum, bucket in buckets.items():
            # bool is an int, and a share number >= N cannot be decoded
            if (
                type(shnum) is int
                and 0 <= shnum < self._total_shares
                and hasattr(bucket, "callRemote")
            ):
                self._next_share += 1
                self._wire.add(self._next_share, RemoteShare(server, bucket, shnum))
                self._status.add_known_share(server, shnum)
                found.append((self._next_share, shnum))
            else:
                strange.append(shnum)
        if found:
            length = piece_bytes(self._hub.settings.memory, self._servers_asked)
            take_in(next(iter(buckets.values())), length)
        if strange:
            log.msg(
                format="fastdl: %(server)s claims share %(shnum)s of %(total)d, passed over"
                " with %(more)d others",
                server=server_name(server),
                shnum=repr(strange[0])[:40],
                total=self._total_shares,
                more=len(strange) - 1,
                level=log.UNUSUAL,
                facility="tahoe.fastdl",
            )
        shnums = sorted(shnum for _share, shnum in found)
        event.finished(shnums, time.time())
        tell(shnums)
        self._feed(
            r.ServerAnswered(self._hub.server_id(server), time.monotonic() - began, tuple(found))
        )
        self._done()

    def _failed(self, failure: Failure, server: Any, event: Any, tell: Tell) -> None:
        if not self._running:
            return
        event.error(time.time())
        tell(None)
        log.msg(
            format="fastdl: %(server)s cannot say which shares it has: %(why)s",
            server=server_name(server),
            why=failure.getErrorMessage()[:200],
            level=log.UNUSUAL,
            facility="tahoe.fastdl",
        )
        self._done()
