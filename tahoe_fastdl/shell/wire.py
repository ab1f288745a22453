"""Shares on their servers: remote reads, answers checked, corruption told.

``IStorageServer`` hides the transport: a bucket's ``callRemote("read", start,
length)`` goes over Foolscap or HTTP alike.  A read cannot be taken back; after
:meth:`Wire.stop` answers are dropped in silence.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from allmydata.util import log
from attrs import frozen
from twisted.internet import defer
from twisted.python.failure import Failure

from ..core import records as r
from .facts import server_name


@frozen
class RemoteShare:
    """One share on one server, as Tahoe names them."""

    server: Any  # IServer
    bucket: Any  # RIBucketReader, or what stands for it over HTTP
    shnum: int


class Wire:
    """Sends the reads of one download.

    Events go to *feed*, an error of our own while an answer is taken to *on_broken*.
    """

    def __init__(
        self,
        feed: Callable[[r.Event], None],
        download_status: Any,
        on_broken: Callable[[Failure], None],
    ) -> None:
        self._feed = feed
        self._on_broken = on_broken
        self._status = download_status
        self._shares: dict[int, RemoteShare] = {}
        self._running = True

    def report_to(self, download_status: Any) -> None:
        """Reads from now on are those of another download."""
        self._status = download_status

    def is_connected(self) -> bool:
        """Whether the servers of all shares can be asked now, as far as the node knows."""
        servers = {id(remote.server): remote.server for remote in self._shares.values()}
        return all(server.get_storage_server() is not None for server in servers.values())

    def add(self, share: int, remote: RemoteShare) -> None:
        """From now on *share* names this one."""
        self._shares[share] = remote

    def name_of(self, share: int) -> str:
        """What people call a share: its number and its server's name."""
        remote = self._shares[share]
        return f"sh{remote.shnum} on {server_name(remote.server)}"

    def stop(self) -> None:
        """Send nothing more and ignore what still comes.

        The references go at once: the garbage collector would find those of some hundred
        files together, and Foolscap tells each server of each, in one go of half a second.
        """
        self._running = False
        self._shares.clear()

    def send(self, action: r.SendRead) -> None:
        """Carry out a read; exactly one ``ReadAnswered`` or ``ReadFailed`` follows."""
        if not self._running:
            return
        remote = self._shares[action.share]
        event = self._status.add_block_request(
            remote.server, remote.shnum, action.start, action.length, time.time()
        )
        d = defer.maybeDeferred(remote.bucket.callRemote, "read", action.start, action.length)
        d.addCallbacks(
            self._answered, self._failed, callbackArgs=(action, event), errbackArgs=(action, event)
        )
        d.addErrback(self._on_broken)

    def _answered(self, data: Any, action: r.SendRead, event: Any) -> None:
        if not self._running:
            return
        if not isinstance(data, bytes) or len(data) > action.length:
            event.error(time.time())
            what = f"{len(data)} bytes" if isinstance(data, bytes) else type(data).__name__
            self._feed(
                r.ReadFailed(
                    action.read, f"WrongAnswer: {what} where at most {action.length} bytes belong"
                )
            )
            return
        event.finished(len(data), time.time())
        self._feed(r.ReadAnswered(action.read, data))

    def _failed(self, failure: Failure, action: r.SendRead, event: Any) -> None:
        if not self._running:
            return
        event.error(time.time())
        remote = self._shares[action.share]
        log.msg(
            format="fastdl: read of sh%(shnum)d on %(server)s failed: %(why)s",
            shnum=remote.shnum,
            server=server_name(remote.server),
            why=failure.getErrorMessage()[:200],
            level=log.UNUSUAL,
            facility="tahoe.fastdl",
        )
        self._feed(r.ReadFailed(action.read, str(failure)[:500]))

    def advise_corrupt(self, action: r.AdviseCorrupt) -> None:
        """Tell a share's server which bytes are bad."""
        if not self._running:
            return
        remote = self._shares[action.share]
        reason = f"corruption in share[{action.start}-{action.stop}): {action.reason}"
        log.msg(
            format="fastdl: %(reason)s, sh%(shnum)d on %(server)s",
            reason=reason,
            shnum=remote.shnum,
            server=server_name(remote.server),
            level=log.UNUSUAL,
            facility="tahoe.fastdl",
        )
        self._status.add_problem(f"{self.name_of(action.share)}: {reason}")
        d = defer.maybeDeferred(
            remote.bucket.callRemote, "advise_corrupt_share", reason.encode("utf-8")
        )
        d.addErrback(
            lambda failure: log.msg(
                format="fastdl: %(server)s did not take the report of corruption: %(why)s",
                server=server_name(remote.server),
                why=failure.getErrorMessage()[:200],
                level=log.UNUSUAL,
                facility="tahoe.fastdl",
            )
        )
