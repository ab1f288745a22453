"""How much of what a server sends is taken in at a time.

Twisted receives 64 KiB of a connection and goes round all others before it comes
back, for each connection of every node.  Bulk data costs less in larger pieces:
100 MB over Foolscap on loopback took 0.85 of the time and 0.82 of the client's
CPU with 1 MiB, 0.92 and 0.89 with 512 KiB (3-of-10 and 60-of-60, 36 interleaved
runs each, on three nodes each).  TLS keeps a buffer of a third more than the
longest piece as long as the connection lasts, so all connections together get a
part of the operator's ``memory``.

Only connections over Foolscap: one to a server.  Those over HTTP, of which there
may be ten, belong to a pool that does not show them.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.tcp import Connection

MAX_PIECE_BYTES = 1024 * 1024
MEMORY_PART = 8


def piece_bytes(memory: int, servers: int) -> int:
    """How much to take in at a time of each of so many servers, both at least 1."""
    return min(MAX_PIECE_BYTES, memory // MEMORY_PART // servers)


def take_in(bucket: Any, length: int) -> None:
    """Let the connection over which the answers of *bucket* come take in *length* bytes at a
    time, if it is one over Foolscap and takes less."""
    broker = getattr(getattr(bucket, "tracker", None), "broker", None)
    transport = getattr(broker, "transport", None)
    if isinstance(transport, Connection) and transport.bufferSize < length:
        transport.bufferSize = length
