"""Whether the WAN pipe is what it says: pings and bulk data through it, asked and found.

A ping is one byte there and one back on a warm connection. A bulk transfer is
clocked between its first and its last byte, so that it says the rate alone.
Two connections a server and two servers show which rate is shared by whom. What
the machine does meanwhile can only make a ping longer, so the lower quartile of
many is compared; a transfer is tried again, since it too can only be slower.
"""

from __future__ import annotations

import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from misc.wan import Event, Wan, Wire

HOST = "127.0.0.1"
TOLERANCE = 0.05
PINGS = 24
TRIES = 3
BULK_S = 1.5  # long enough that a burst of 20 ms is 1.3 %
CHUNK_BYTES = 256 << 10
MB = 1_000_000


@dataclass(frozen=True)
class Finding:
    """One row of the table."""

    what: str
    asked: float
    found: float
    unit: str

    @property
    def is_good(self) -> bool:
        """Within the tolerance."""
        return abs(self.found - self.asked) <= TOLERANCE * self.asked


class Peer:
    """A server for the check: echoes a byte, or sends as many as an order of 8 bytes says."""

    def __init__(self) -> None:
        self._listener = socket.create_server((HOST, 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        chunk = bytes(CHUNK_BYTES)
        with connection:
            try:
                while order := connection.recv(8, socket.MSG_WAITALL):
                    left = int.from_bytes(order, "big")
                    if not left:
                        connection.sendall(b"!")
                    while left:
                        connection.sendall(chunk[:left])
                        left -= min(left, CHUNK_BYTES)
            except OSError:  # the pipe broke it off, as it may
                return


@contextmanager
def piped_peers(count: int) -> Iterator[Wan]:
    """So many servers behind a pipe."""
    peers = [Peer() for _ in range(count)]
    try:
        with Wan([peer.port for peer in peers]) as wan:
            yield wan
    finally:
        for peer in peers:
            peer.close()


def connect(port: int, timeout_s: float = 30.0) -> socket.socket:
    """A connection for ``ping`` and ``fetch``."""
    connection = socket.create_connection((HOST, port), timeout=timeout_s)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def ping(connection: socket.socket) -> float:
    """Seconds there and back.

    :raise OSError: it broke off, or nothing came in time.
    """
    began = time.perf_counter()
    connection.sendall(bytes(8))
    if not connection.recv(1):
        raise ConnectionResetError("the connection ended")
    return time.perf_counter() - began


def fetch(connection: socket.socket, length: int) -> tuple[float, float]:
    """When the first and the last of so many bytes came, by ``perf_counter``."""
    connection.sendall(length.to_bytes(8, "big"))
    left, first = length, 0.0
    while left:
        data = connection.recv(min(left, CHUNK_BYTES))
        if not data:
            raise ConnectionResetError("the connection ended")
        first = first or time.perf_counter()
        left -= len(data)
    return first, time.perf_counter()


def fetch_all(ports: list[int], length: int) -> float:
    """Bytes a second over all these connections together, each fetching so much."""
    found: list[tuple[float, float]] = []

    def one(port: int) -> None:
        with connect(port) as connection:
            ping(connection)
            found.append(fetch(connection, length))

    threads = [threading.Thread(target=one, args=(port,)) for port in ports]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(found) != len(ports):
        raise ConnectionResetError("a transfer broke off")
    seconds = max(last for _, last in found) - min(first for first, _ in found)
    return length * len(ports) / seconds


def check_pings(wan: Wan) -> Iterator[Finding]:
    """Round trips, without and with jitter."""
    for rtt_ms in (20, 50, 200):
        wan.use(Wire(delay_s=rtt_ms / 2000))
        with connect(wan.ports[0]) as connection:
            ping(connection)
            times = sorted(ping(connection) for _ in range(PINGS))
        yield Finding(f"round trip {rtt_ms} ms", rtt_ms, 1000 * times[len(times) // 4], "ms")
    wan.use(Wire(delay_s=0.02, jitter_s=0.02))
    # Each connection draws anew, and a ping lies within one draw each way. The sum of
    # two even draws is as often above its mean as below.
    times = []
    for _ in range(2 * PINGS):
        with connect(wan.ports[0]) as connection:
            ping(connection)
            times.append(ping(connection))
    median = 1000 * statistics.median(times)
    yield Finding("40 ms, jitter 0 to 20 ms each way", 60, median, "ms")


def check_rates(wan: Wan) -> Iterator[Finding]:
    """Each rate, with those who share it at work together."""
    one, two, four = [0], [0, 0], [0, 0, 1, 1]
    delay_s = 0.01
    cases = [
        ("1 MB/s a connection, 4 of them", four, 4 * MB, Wire(delay_s, connection_rate=MB)),
        ("1 MB/s a server, 1 connection", one, MB, Wire(delay_s, server_rate=MB)),
        ("10 MB/s a server, 2 connections", two, 10 * MB, Wire(delay_s, server_rate=10 * MB)),
        ("10 MB/s a server, 2 servers", four, 20 * MB, Wire(delay_s, server_rate=10 * MB)),
        ("2.5 MB/s downlink, 2 servers", four, 2.5 * MB, Wire(delay_s, downlink_rate=2.5 * MB)),
        # 4 MiB under way at 100 ms one way are 42 MB/s: a pipeline, not stop-and-wait.
        ("30 MB/s over 200 ms, 1 connection", one, 30 * MB, Wire(0.1, server_rate=30 * MB)),
    ]
    for what, servers, asked, wire in cases:
        wan.use(wire)
        length = int(asked * BULK_S / len(servers))
        found = 0.0
        for _ in range(TRIES):
            rate = fetch_all([wan.ports[server] for server in servers], length)
            found = max(found, rate)
            if abs(found - asked) <= TOLERANCE * asked:
                break
        yield Finding(what, asked / MB, found / MB, "MB/s")


def check_script(wan: Wan) -> Iterator[Finding]:
    """A server that becomes ten times slower, and its neighbour that does not."""
    wan.use(Wire(delay_s=0.01))
    wan.run_script([Event(0.0, 0, "slow", 10.0)])
    for server, asked in ((0, 200.0), (1, 20.0)):
        with connect(wan.ports[server]) as connection:
            ping(connection)
            times = sorted(ping(connection) for _ in range(PINGS))
        name = "server 0, 10 x slower" if server == 0 else "server 1 meanwhile"
        yield Finding(f"20 ms, {name}", asked, 1000 * times[len(times) // 4], "ms")


def show() -> int:
    """Print the table; returns the exit status."""
    good = True
    print(f"{'':38}{'asked':>10}{'found':>10}{'off by':>9}")
    with piped_peers(2) as wan:
        for check in (check_pings, check_rates, check_script):
            for row in check(wan):
                off = 100 * (row.found / row.asked - 1)
                verdict = "" if row.is_good else "  <-- more than 5 %"
                numbers = f"{row.asked:10.1f}{row.found:10.2f}{off:+8.1f}%"
                print(f"{row.what:38}{numbers} {row.unit}{verdict}", flush=True)
                good = good and row.is_good
    return 0 if good else 1
