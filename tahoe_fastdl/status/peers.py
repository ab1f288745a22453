"""What all downloads of a client came to, by server and together.

Plain counters and histograms that never grow with what is downloaded; a
server takes one :class:`Peer`, and at most ``MAX_PEERS`` are kept apart.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable
from weakref import ref

from attrs import define, field, frozen

from ..shell.recording import ServerFacts
from .text import clean, clean_reason

MAX_PEERS = 1024  # a node with more servers than that shows the first ones

# Of a read, in seconds: from a disk beside us to a server that counts as stalled.
LATENCY_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
# Of a whole download, in bytes a second: from a telephone line to what memory allows.
RATE_BOUNDS = (3e4, 1e5, 3e5, 1e6, 3e6, 1e7, 3e7, 1e8, 3e8, 1e9)


# How a download may end.
ENDS = ("done", "failed", "stopped", "fallback")


class Histogram:
    """How many values fell into each range; *bounds* are the upper ends, inclusive."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """One more."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def cumulated(self) -> list[tuple[float, int]]:
        """``(bound, how many up to it)``, the last bound infinite."""
        found, total = [], 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts):
            total += count
            found.append((bound, total))
        return found


@define
class Peer:
    """What came of one server, in all downloads."""

    name: str = ""
    serverid: str = ""
    transport: str = ""
    reads: int = 0
    received_bytes: int = 0
    errors: int = 0
    lies: int = 0
    hedged: int = 0  # its reads that others were asked for as well


@frozen
class Fallback:
    """When our own code broke, and how."""

    at: float  # unix seconds
    reason: str
    download: int


@define
class Totals:
    """Bytes and ends of all downloads since the node started."""

    received_bytes: int = 0
    delivered_bytes: int = 0
    wasted_bytes: int = 0
    ended: dict[str, int] = field(factory=lambda: dict.fromkeys(ENDS, 0))


class Peers:
    """See the module's docstring."""

    def __init__(self) -> None:
        self.by_number: dict[int, Peer] = {}
        self.totals = Totals()
        self.latency = Histogram(LATENCY_BOUNDS)
        self.rate = Histogram(RATE_BOUNDS)
        self.last_fallback: Fallback | None = None
        self._told: dict[int, ref[object]] = {}
        self._nobody = Peer()  # takes what is counted of servers beyond MAX_PEERS

    def of(self, server: int) -> Peer:
        """The record of a server, made when it is first heard of."""
        peer = self.by_number.get(server)
        if peer is None:
            if len(self.by_number) >= MAX_PEERS:
                return self._nobody
            peer = self.by_number[server] = Peer()
        return peer

    def know(self, server: int, whose: object, tell: Callable[[], ServerFacts]) -> None:
        """What a server says of itself changes when it announces itself anew, and then
        Tahoe makes another object for it."""
        told = self._told.get(server)
        if told is not None and told() is whose:
            return
        if server not in self.by_number and len(self.by_number) >= MAX_PEERS:
            return
        self._told[server] = ref(whose)
        facts, peer = tell(), self.of(server)
        peer.name = clean(facts.name)
        peer.serverid = clean(facts.serverid)
        peer.transport = facts.transport

    def name(self, server: int) -> str:
        """What to call a server."""
        return self.of(server).name or f"server {server}"

    def on_sent(self, server: int, late: tuple[int, ...]) -> None:
        """A read was sent, perhaps to make up for others' late ones."""
        self.of(server).reads += 1
        for number in late:
            self.of(number).hedged += 1

    def on_answered(
        self, server: int | None, length: int, is_wasted: bool, seconds: float | None
    ) -> None:
        """An answer came.  *server*, *seconds*: None if its read is not known any more."""
        if server is not None:
            self.of(server).received_bytes += length
        self.totals.received_bytes += length
        self.totals.wasted_bytes += length if is_wasted else 0
        if seconds is not None:
            self.latency.add(seconds)

    def on_fallback(self, download: int, reason: str) -> None:
        """Our own code broke."""
        self.last_fallback = Fallback(time.time(), clean_reason(reason), download)
