"""What the downloads of one client share: budget, server records, counters.

Owns no Tahoe objects but the servers' ids.  One hub a storage broker, or one
for the whole process under ``install()``.
"""

from __future__ import annotations

import time
from typing import Protocol
from weakref import WeakSet

from ..core.download import Download
from ..core.geometry import Geometry
from ..core.metadata import COMMON_SEGMENT_SIZES
from ..core.servers import Server
from ..core.window import Budget
from ..settings import Settings
from .parking import Parking
from .recording import Recorder

# Tahoe's HTTP pool keeps 10 connections to a server; each request beyond
# them opens one more and pays a TLS handshake for it.
HTTP_READS_A_SERVER = 10

CPU_SAMPLE_S = 0.05  # shorter samples say more about the scheduler than about load


class Neighbour(Protocol):
    """A download that may wait for room or for a slot, and what can be told of it."""

    core: Download

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for a server that does not answer, because no share is spare."""

    def wake(self) -> None:
        """Another download's turn is over."""


class Hub:
    """Shared state; see the module's docstring."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.budget = Budget(settings.memory)
        self.servers: dict[int, Server] = {}
        self.downloads: WeakSet[Neighbour] = WeakSet()
        self.parking = Parking(settings.remember)
        self.totals: dict[str, int] = {}
        self.recorder: Recorder | None = None  # of downloads that begin from now on
        self.segment_size_hint = COMMON_SEGMENT_SIZES[0]
        self._ids: dict[bytes, int] = {}
        self._sampled = (time.monotonic(), time.process_time())
        self._busy = 1.0

    def server_id(self, server: object) -> int:
        """The number of an ``IServer``, the same as long as its server id is."""
        key: bytes = server.get_serverid()  # type: ignore[attr-defined]  # IServer is untyped
        number = self._ids.get(key)
        if number is None:
            number = self._ids[key] = len(self._ids)
        # Not at the top: a Tahoe too old to have it imports this module too, to say so.
        from allmydata.storage_client import HTTPNativeStorageServer

        limit = HTTP_READS_A_SERVER if isinstance(server, HTTPNativeStorageServer) else 0
        if number not in self.servers:
            self.servers[number] = Server(limit)
        self.servers[number].max_reads = limit
        return number

    def cpu_busy(self) -> float:
        """The part of a core this process used of late, 0 to 1 (threads may make it more)."""
        wall = time.monotonic()
        passed = wall - self._sampled[0]
        if passed >= CPU_SAMPLE_S:
            cpu = time.process_time()
            self._busy = (cpu - self._sampled[1]) / passed
            self._sampled = (wall, cpu)
        return self._busy

    def learn_segment_size(self, geometry: Geometry) -> None:
        """What the next file's encoder probably used: see ``Geometry.expect_of_next``."""
        self.segment_size_hint = geometry.expect_of_next(
            self.segment_size_hint, COMMON_SEGMENT_SIZES
        )

    def on_reader_joining(self) -> None:
        """How idle we were while there was no reader says nothing of the load."""
        if self.budget.is_idle:
            self._sampled = (time.monotonic(), time.process_time())
            self._busy = 1.0

    def wake_others(self, who: Neighbour) -> None:
        """*who* may have freed room or slots, or left a line: those who come next look again."""
        for download in list(self.downloads):
            if download is not who:
                download.wake()

    def count(self, name: str, number: int = 1) -> None:
        """Add to a total that the status page shows."""
        self.totals[name] = self.totals.get(name, 0) + number

    def gauges(self) -> dict[str, int]:
        """What goes on now, for ``counters.json``."""
        downloads = list(self.downloads)
        return {
            "downloads_active": sum(bool(download.core.readers) for download in downloads),
            "downloads_waiting": sum(download.is_waiting for download in downloads),
            "downloads_parked": len(self.parking),
            "reads_in_flight": sum(download.core.reads_in_flight() for download in downloads),
        }
