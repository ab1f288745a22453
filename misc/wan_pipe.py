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
* segments: both ends send ``SEGMENT_BYTES`` at most in one, as on an Ethernet.  In the
  64 KiB that loopback has, one fills a new connection's window, and its receiver, who
  would answer two of them at once, says only 40 ms later that there is room again;
* back-pressure: at most ``QUEUE_BYTES`` wait for a rate and ``FLIGHT_BYTES`` are
  under way; beyond, the sender is not read from.

It does not model packet loss or TCP's slow start: a connection has its full
window from its first byte.  Loopback only.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Callable

from misc.wan_stream import Stream, Weather
from misc.wan_wire import DROP, SILENT, SLOW, Event, Limiter, Wire

HOST = "127.0.0.1"

SOCKET_BUFFER_BYTES = 256 << 10  # the kernel would grow it to 6 MB, a queue of seconds
SEGMENT_BYTES = 1448


@dataclass
class ServerState:
    """What is true of one server now."""

    number: int
    port: int
    limiter: Limiter = field(default_factory=Limiter)
    weather: Weather = field(default_factory=Weather)
    connections: int = 0  # under this wire so far; also the number of the next one
    # In the order they were made: a set's order would differ between runs.
    links: dict[Link, None] = field(default_factory=dict)


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
        handshake_over = now + 2 * server.weather.wire.delay_s * server.weather.factor
        self._server = server
        self._limiter = Limiter()
        self._up = Stream(server.weather, [], handshake_over, self._on_finished)
        limiters = [self._limiter, server.limiter, downlink]
        self._down = Stream(server.weather, limiters, now, self._on_finished)
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
        server, wire = self._server, self._server.weather.wire
        self._limiter.set_rate(wire.connection_rate)
        name = f"{wire.seed} {server.number} {server.connections}"
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
            _be_a_wire(sock)
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
            _be_a_wire(sock)  # accepted sockets inherit it
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
            server.weather.on_wire(wire)
            server.limiter.set_rate(wire.server_rate)
            server.connections = 0
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
        server.weather.factor = event.factor if event.kind == SLOW else 1.0
        server.weather.silent = event.kind == SILENT
        for link in list(server.links):
            link.on_change()

    def _factory(self, server: ServerState) -> Callable[[], asyncio.Protocol]:
        return lambda: Link(server, self._downlink).client_end()


def _be_a_wire(sock: socket.socket) -> None:
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER_BYTES)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
