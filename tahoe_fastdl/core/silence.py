"""Servers that owe answers and say nothing.

Pure.  Lateness is of one read and by what was known when it was sent; silence is of a
server, by what it and the others have said since.  A server that falls silent is found
out before its reads are late one by one, and gives none of them.
"""

from __future__ import annotations

import heapq
import math
from statistics import median_low
from typing import TYPE_CHECKING

from .servers import CAUTIOUS_RATE, LATE_FLOOR_S, Server

if TYPE_CHECKING:
    from .reads import Read

# Servers are looked at together, so often at most: each look alone would wake the node.
TICK_S = 0.05


class SilenceWatch:
    """Looks at each server from time to time while a download awaits something of it."""

    def __init__(self, servers: dict[int, Server]) -> None:
        self._servers = servers
        self._awaited: dict[int, dict[int, Read]] = {}
        self._looks: list[tuple[float, int]] = []  # when at which server
        self._watched: set[int] = set()  # those in that
        self.unknown_rate = CAUTIOUS_RATE  # what to expect of who has not shown its rate

    def begin(self, read: Read, now: float) -> None:
        """An answer is awaited from now on."""
        number = read.share.server
        self._awaited.setdefault(number, {})[read.id] = read
        if number not in self._watched:
            self._look(number, now + LATE_FLOOR_S)

    def end(self, read: Read) -> None:
        """It is awaited no longer."""
        reads = self._awaited[read.share.server]
        del reads[read.id]
        if not reads:
            del self._awaited[read.share.server]

    def _look(self, number: int, when: float) -> None:
        self._watched.add(number)
        tick = math.ceil(when / TICK_S) * TICK_S
        heapq.heappush(self._looks, (max(tick, when), number))

    def next_look(self) -> float | None:
        """When the next server has to be looked at."""
        while self._looks and self._looks[0][1] not in self._awaited:
            self._watched.remove(heapq.heappop(self._looks)[1])
        return self._looks[0][0] if self._looks else None

    def take_silent(self, now: float) -> list[Read]:
        """Look at the server whose turn it is.

        :return: the reads that are awaited of it, if it has been silent for too long.
        """
        _when, number = heapq.heappop(self._looks)
        self._watched.remove(number)
        silent_at = self._silent_at(number)
        if silent_at <= now and not self._is_line_silent(number, now):
            return list(self._awaited[number].values())
        # what others answer until then may change our mind, to either side
        soon = now + LATE_FLOOR_S
        self._look(number, min(silent_at, soon) if silent_at > now else soon)
        return []

    def _oldest(self, number: int) -> float:
        """When the oldest read that is awaited was sent."""
        return min(read.sending.at for read in self._awaited[number].values())

    def _silent_at(self, number: int) -> float:
        """When the server counts as silent if it says nothing any more."""
        server, lengths = self._servers[number], [r.length for r in self._awaited[number].values()]
        since = max(server.answered_at, self._oldest(number))
        paces = [
            other.pace
            for other in self._servers.values()
            if other is not server and other.pace is not None and other.answered_at > since
        ]
        pace = median_low(paces) if paces else None
        # what other downloads asked for may come first
        next_length = max(lengths) + server.bytes_in_flight - sum(lengths)
        return since + server.silent_s(next_length, self.unknown_rate, pace)

    def _is_line_silent(self, number: int, now: float) -> bool:
        """Whether most servers that may answer say nothing: then it is the line to them, and
        to ask others as well would make it worse."""
        since = self._oldest(number)
        silent = sum(self._silent_at(other) <= now for other in self._awaited)
        answering = {n for n, server in self._servers.items() if server.answered_at >= since}
        return 2 * silent > len(answering.union(self._awaited))
