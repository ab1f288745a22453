"""A far network between two loopback ports: delay, jitter, rates and mishaps.

Owns one listening port for each server and carries every connection to that
server's real port.  What it models, each way of each connection:

* a delay line: bytes leave in order, ``delay_s`` after they entered, however many
  are under way.  The first bytes of a connection wait one round trip more, as the
  TCP handshake would take it;
* jitter: each ``JITTER_UNIT_BYTES`` of a stream are late by up to ``jitter_s``,
  drawn from the seed, the server, the connection's number and the place in the
  stream, and never overtake each other.  So two runs see the same wire, however
  the kernel cuts the bytes;
* rates, server to client only: of a connection, of a server, of the downlink that
  all servers share.  Those who wait for the same rate are served in turn;
* back-pressure: at most ``QUEUE_BYTES`` wait for a rate and ``FLIGHT_BYTES`` are
  under way; beyond, the sender is not read from.

It does not model packet loss or TCP's slow start: a connection has its full
window from its first byte.  Loopback only.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Callable

from misc.wan_wire import DROP, SILENT, SLOW, Event, Limiter, Wire

HOST = "127.0.0.1"

JITTER_UNIT_BYTES = 16 << 10

# One direction of one connection: at 50 ms one way 80 MB/s, as a TCP window of
# 8 MiB gives, since an acknowledgement takes the other half of the round trip.
FLIGHT_BYTES = 4 << 20
QUEUE_BYTES = 128 << 10
SOCKET_BUFFER_BYTES = 256 << 10  # the kernel would grow it to 6 MB, a queue of seconds

# A rate is spent in slices of some milliseconds: shorter ones cost more timers,
# longer ones make a slow line deliver in lumps.
SLICE_S = 0.004
MIN_SLICE_BYTES = 1460
MAX_SLICE_BYTES = 64 << 10

# epoll waits whole milliseconds, rounded up: half of one early is right on average.
EARLY_S = 0.0005


@dataclass
class ServerState:
    """What is true of one server now."""

    number: int
    port: int
    limiter: Limiter = field(default_factory=Limiter)
    wire: Wire = field(default_factory=Wire)
    factor: float = 1.0
    silent: bool = False
    connections: int = 0  # under this wire so far; also the number of the next one
    # In the order they were made: a set's order would differ between runs.
    links: dict[Link, None] = field(default_factory=dict)


class Stream:
    """One direction of one connection: queue, rates, delay line."""

    def __init__(
        self,
        server: ServerState,
        limiters: Sequence[Limiter],
        not_before: float,
        on_finished: Callable[[], None],
    ) -> None:
        self.source: asyncio.Transport | None = None
        self.sink: asyncio.Transport | None = None
        self.is_finished = False
        self._server = server
        self._limiters = limiters
        self._on_finished = on_finished
        self._loop = asyncio.get_running_loop()
        self._random = random.Random()
        self._jitter_s = 0.0
        self._jitter_stop = 0  # the place in the stream up to which that jitter holds
        self._place = 0
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._flight: deque[tuple[float, bytes]] = deque()
        self._flying = 0
        self._last_due = not_before
        self._has_ended = False
        self._is_paused = False
        self._is_sink_full = False
        # One slice at a time asks for rates; those it has passed are not asked again.
        self._slice = b""
        self._passed = 0
        self._through = 0.0
        self._rate_timer: asyncio.TimerHandle | None = None
        self._flight_timer: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------ what happens to it

    def on_data(self, data: bytes) -> None:
        """The source sent something."""
        self._queue.append(data)
        self._queued += len(data)
        self._move()

    def on_end(self) -> None:
        """The source sends no more; the sink hears of it when all has arrived."""
        self._has_ended = True
        self._move()

    def on_sink(self, full: bool) -> None:
        """The sink's socket is full, or not any more."""
        self._is_sink_full = full
        if not full:
            self._move()

    def on_change(self) -> None:
        """The sink is there, or the server's state changed."""
        self._move()

    def seed(self, name: str) -> None:
        """Draw jitter from this seed from here on."""
        self._random.seed(name)
        self._place = self._jitter_stop = 0

    def close(self) -> None:
        """Forget everything under way."""
        for timer in (self._rate_timer, self._flight_timer):
            if timer is not None:
                timer.cancel()
        self._rate_timer = self._flight_timer = None
        self._queue.clear()
        self._flight.clear()
        self._queued = self._flying = 0
        self._slice = b""
        self._has_ended = False

    # ------------------------------------------------------------ moving

    def _move(self) -> None:
        while True:
            self._enter()
            self._leave()
            if self._rate_timer or not self._queued or self._flying >= FLIGHT_BYTES:
                break
        held = self._queued >= QUEUE_BYTES
        if self.source is not None and held != self._is_paused:
            self._is_paused = held
            if held:
                self.source.pause_reading()
            else:
                self.source.resume_reading()

    def _enter(self) -> None:
        """From the queue, through the rates, into the delay line."""
        if self._rate_timer is not None:
            return
        while (self._queued or self._slice) and self._flying < FLIGHT_BYTES:
            now = self._loop.time()
            if not self._slice:
                self._slice = self._take_slice()
                self._passed, self._through = 0, now
            while self._passed < len(self._limiters):
                limiter = self._limiters[self._passed]
                self._passed += 1
                factor = 1.0 if limiter.is_shared else self._server.factor
                start, through = limiter.book(len(self._slice) * factor, now)
                self._through = max(self._through, through)
                if start - EARLY_S > now:
                    self._rate_timer = self._loop.call_at(start - EARLY_S, self._on_rate)
                    return
            self._fly(self._slice)
            self._slice = b""

    def _take_slice(self) -> bytes:
        data = self._queue.popleft()
        rates = [limiter.rate for limiter in self._limiters if limiter.rate]
        limit = len(data)
        if rates:
            wanted = int(min(rates) * SLICE_S / self._server.factor)
            limit = max(MIN_SLICE_BYTES, min(wanted, MAX_SLICE_BYTES))
        if len(data) > limit:
            self._queue.appendleft(data[limit:])
            data = data[:limit]
        self._queued -= len(data)
        return data

    def _fly(self, data: bytes) -> None:
        self._place += len(data)
        delay_s = (self._server.wire.delay_s + self._next_jitter()) * self._server.factor
        self._last_due = max(self._last_due, self._through + delay_s)
        self._flight.append((self._last_due, data))
        self._flying += len(data)

    def _next_jitter(self) -> float:
        jitter_s = self._server.wire.jitter_s
        if not jitter_s:
            return 0.0
        while self._jitter_stop < self._place:
            self._jitter_stop += JITTER_UNIT_BYTES
            self._jitter_s = self._random.uniform(0.0, jitter_s)
        return self._jitter_s

    def _leave(self) -> None:
        """Out of the delay line, into the sink."""
        if self._flight_timer is not None or self.sink is None or self._server.silent:
            return
        soon = self._loop.time() + EARLY_S
        while self._flight and not self._is_sink_full:
            due, data = self._flight[0]
            if due > soon:
                self._flight_timer = self._loop.call_at(due - EARLY_S, self._on_due)
                return
            self._flight.popleft()
            self._flying -= len(data)
            self.sink.write(data)
        if self._has_ended and not (self._flight or self._queued or self._slice):
            self._has_ended, self.is_finished = False, True
            self.sink.write_eof()
            self._on_finished()

    def _on_rate(self) -> None:
        self._rate_timer = None
        self._move()

    def _on_due(self) -> None:
        self._flight_timer = None
        self._move()


class End(asyncio.Protocol):
    """One socket of a link: what it receives goes into ``inward``, ``outward`` writes to it."""

    def __init__(self, link: Link, inward: Stream, outward: Stream) -> None:
        self._link = link
        self._inward = inward
        self._outward = outward

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As ``asyncio.Protocol``."""
        assert isinstance(transport, asyncio.Transport)
        self._inward.source = self._outward.sink = transport
        self._link.transports.append(transport)
        self._outward.on_change()

    def data_received(self, data: bytes) -> None:
        """As ``asyncio.Protocol``."""
        self._inward.on_data(data)

    def eof_received(self) -> bool:
        """As ``asyncio.Protocol``; the other direction may go on."""
        self._inward.on_end()
        return True

    def pause_writing(self) -> None:
        """As ``asyncio.Protocol``."""
        self._outward.on_sink(True)

    def resume_writing(self) -> None:
        """As ``asyncio.Protocol``."""
        self._outward.on_sink(False)

    def connection_lost(self, exc: Exception | None) -> None:
        """As ``asyncio.Protocol``: one end without the other is of no use."""
        self._link.close()


class Link:
    """One connection through the pipe: two sockets, two streams."""

    def __init__(self, server: ServerState, downlink: Limiter) -> None:
        now = asyncio.get_running_loop().time()
        # What the client sends cannot be there before the handshake is over.
        handshake_over = now + 2 * server.wire.delay_s * server.factor
        self._server = server
        self._limiter = Limiter()
        self._up = Stream(server, [], handshake_over, self._on_finished)
        limiters = [self._limiter, server.limiter, downlink]
        self._down = Stream(server, limiters, now, self._on_finished)
        self.transports: list[asyncio.Transport] = []
        self._connecting: asyncio.Task[None] | None = None
        server.links[self] = None
        self.on_wire()

    def client_end(self) -> End:
        """The protocol of the accepted socket; the other is connected meanwhile."""
        self._connecting = asyncio.ensure_future(self._connect())
        return End(self, self._up, self._down)

    def on_wire(self) -> None:
        """The wire is another one."""
        server = self._server
        self._limiter.set_rate(server.wire.connection_rate)
        name = f"{server.wire.seed} {server.number} {server.connections}"
        server.connections += 1
        self._up.seed(f"{name} up")
        self._down.seed(f"{name} down")

    def on_change(self) -> None:
        """The server's state changed."""
        self._up.on_change()
        self._down.on_change()

    def close(self) -> None:
        """Break both sockets off at once."""
        self._server.links.pop(self, None)
        self._up.close()
        self._down.close()
        if self._connecting is not None:
            self._connecting.cancel()
        for transport in self.transports:
            transport.abort()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        sock = socket.socket()
        try:
            sock.setblocking(False)
            _bound_buffers(sock)
            await loop.sock_connect(sock, (HOST, self._server.port))
            await loop.create_connection(lambda: End(self, self._down, self._up), sock=sock)
        except OSError:  # the server is not up; the client is told by the end of its own
            sock.close()
            self.close()
        except asyncio.CancelledError:
            sock.close()
            raise

    def _on_finished(self) -> None:
        if self._up.is_finished and self._down.is_finished:
            for transport in self.transports:
                transport.close()


class Pipe:
    """The listening ports of all servers, and the wire they share."""

    def __init__(self, server_ports: Sequence[int]) -> None:
        self.wire = Wire()
        self.servers = [ServerState(number, port) for number, port in enumerate(server_ports)]
        self._downlink = Limiter(is_shared=True)
        self._script: list[asyncio.TimerHandle] = []

    async def listen(self) -> list[int]:
        """Open a port for each server, in their order."""
        loop = asyncio.get_running_loop()
        ports = []
        for server in self.servers:
            sock = socket.socket()
            _bound_buffers(sock)  # accepted sockets inherit it
            sock.bind((HOST, 0))
            ports.append(int(sock.getsockname()[1]))
            await loop.create_server(self._factory(server), sock=sock, backlog=512)
        return ports

    def use(self, wire: Wire) -> None:
        """Be another wire from now on, also for the connections there are; ends the script."""
        self._end_script()
        self.wire = wire
        self._downlink.set_rate(wire.downlink_rate)
        for server in self.servers:
            server.wire = wire
            server.limiter.set_rate(wire.server_rate)
            server.factor, server.silent, server.connections = 1.0, False, 0
            for link in list(server.links):
                link.on_wire()
                link.on_change()

    def run_script(self, events: Sequence[Event]) -> None:
        """Let these happen, counted from now, in place of what an earlier script still had to do.

        :raise ValueError: an event cannot happen on this wire.
        """
        for event in events:
            if event.server >= len(self.servers):
                raise ValueError(f"there is no server {event.server}")
            if event.kind == SLOW and not (self.wire.delay_s or any(self.wire.rates)):
                raise ValueError("a wire without delay and rates cannot be slower")
        self._end_script()
        loop = asyncio.get_running_loop()
        self._script = [loop.call_later(each.at_s, self._happen, each) for each in events]

    def _end_script(self) -> None:
        for timer in self._script:
            timer.cancel()
        self._script = []

    def _happen(self, event: Event) -> None:
        server = self.servers[event.server]
        if event.kind == DROP:
            for link in list(server.links):
                link.close()
            return
        server.factor = event.factor if event.kind == SLOW else 1.0
        server.silent = event.kind == SILENT
        for link in list(server.links):
            link.on_change()

    def _factory(self, server: ServerState) -> Callable[[], asyncio.Protocol]:
        return lambda: Link(server, self._downlink).client_end()


def _bound_buffers(sock: socket.socket) -> None:
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER_BYTES)
