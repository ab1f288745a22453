"""Storage servers that answer as a test says, and keep what they were asked.

A :class:`SpyServer` stands before a server of Tahoe's in-process grid and is
honest until told otherwise: each of its two policies is handed a function that
makes the true call, and whatever it returns or raises is the answer.  Waiting
answers are Deferreds that the test fires, or never does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from allmydata.interfaces import IServer
from attrs import define, field, frozen
from twisted.internet.defer import Deferred, maybeDeferred
from zope.interface import implementer

Ask = Callable[[], "Deferred[Any]"]
BucketsPolicy = Callable[[Ask], Any]


@frozen
class SpyRead:
    """A read that a server was asked for."""

    shnum: Any
    start: int
    length: int


ReadPolicy = Callable[[SpyRead, Ask], Any]


def honest_buckets(ask: Ask) -> Any:
    """What the server holds."""
    return ask()


def honest_read(_read: SpyRead, ask: Ask) -> Any:
    """What the share holds."""
    return ask()


@define(eq=False)
class SpyBucket:
    """A share as its reader sees it."""

    server: SpyServer
    shnum: Any
    real: Any

    def callRemote(self, method: str, *arguments: Any) -> Any:
        """Note the call; policies answer reads, advice goes through."""

        def ask() -> Deferred[Any]:
            d: Deferred[Any] = self.real.callRemote(method, *arguments)
            return d

        if method == "read":
            read = SpyRead(self.shnum, *arguments)
            self.server.reads.append(read)
            return self.server.answer_read(read, ask)
        assert method == "advise_corrupt_share", method
        self.server.advice.append((self.shnum, arguments[0]))
        return self.server.answer_advice(ask)


@define(eq=False)
class SpyStorage:
    """The storage server behind a :class:`SpyServer`."""

    server: SpyServer
    real: Any

    def get_buckets(self, storage_index: bytes) -> Any:
        """Note the query; the policy answers it."""
        self.server.queries += 1

        def wrap(buckets: dict[int, Any]) -> dict[Any, Any]:
            return {shnum: SpyBucket(self.server, shnum, real) for shnum, real in buckets.items()}

        def ask() -> Deferred[Any]:
            d: Deferred[Any] = maybeDeferred(self.real.get_buckets, storage_index)
            return d.addCallback(wrap)

        return self.server.answer_buckets(ask)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


@implementer(IServer)
@define(eq=False)
class SpyServer:
    """See the module's docstring."""

    real: Any
    is_connected: bool = True
    answer_buckets: BucketsPolicy = honest_buckets
    answer_read: ReadPolicy = honest_read
    answer_advice: BucketsPolicy = honest_buckets
    queries: int = 0
    reads: list[SpyRead] = field(factory=list)
    advice: list[tuple[Any, bytes]] = field(factory=list)

    def get_storage_server(self) -> SpyStorage | None:
        """As ``IServer``: None when not connected."""
        return SpyStorage(self, self.real.get_storage_server()) if self.is_connected else None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def __copy__(self) -> SpyServer:
        return self

    def __deepcopy__(self, _memo: Any) -> SpyServer:
        return self


def spy_on(clients: Iterable[Any]) -> list[SpyServer]:
    """Put a spy before each server of an in-process grid, for these clients.

    :return: in the order of the server ids.
    """
    everyone = list(clients)
    spies = [SpyServer(s) for s in sorted(everyone[0]._servers, key=lambda s: s.get_serverid())]
    for client in everyone:
        client._servers = frozenset(spies)
    return spies
