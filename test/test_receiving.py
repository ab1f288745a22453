"""How much is taken in at a time, on connections of Foolscap's own."""

from __future__ import annotations

from typing import Any

from foolscap.api import Referenceable, Tub, flushEventualQueue
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.tcp import Connection
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tahoe_fastdl.settings import MAX_MEMORY_BYTES, MIN_MEMORY_BYTES
from tahoe_fastdl.shell.receiving import MAX_PIECE_BYTES, MEMORY_PART, piece_bytes, take_in

ANSWER = bytes(range(256)) * 40_000  # some ten pieces


class Share(Referenceable):
    """What a server would hold."""

    def remote_read(self) -> bytes:
        """All of it."""
        return ANSWER


class Pieces(SynchronousTestCase):
    """piece_bytes."""

    @given(st.integers(MIN_MEMORY_BYTES, MAX_MEMORY_BYTES), st.integers(1, 1000))
    def test_all_connections_together(self, memory: int, servers: int) -> None:
        """The connections to all servers hold a part of the memory, each no more than a piece."""
        length = piece_bytes(memory, servers)
        self.assertLessEqual(length * servers * MEMORY_PART, memory)
        self.assertLessEqual(length, MAX_PIECE_BYTES)
        if servers * MEMORY_PART * MAX_PIECE_BYTES <= memory:
            self.assertEqual(length, MAX_PIECE_BYTES)


class Connections(TestCase):
    """take_in."""

    async def connect(self) -> Any:
        """A reference to a share, over a connection between two tubs."""
        server, client = Tub(), Tub()
        for tub in (server, client):
            tub.startService()
            self.addCleanup(flushEventualQueue)
            self.addCleanup(tub.stopService)
        port = server.listenOn("tcp:0:interface=127.0.0.1")
        server.setLocation(f"127.0.0.1:{port.getPortnum()}")
        return await client.getReference(server.registerReference(Share()))

    async def test_a_connection_takes_more(self) -> None:
        """What was set is what the connection receives at a time, and a long answer is whole."""
        share = await self.connect()
        transport = share.tracker.broker.transport
        lengths = []

        class Spy:
            """The socket, and how much was asked of it."""

            def __init__(self, real: Any) -> None:
                self._real = real

            def recv(self, length: int) -> bytes:
                lengths.append(length)
                data: bytes = self._real.recv(length)
                return data

            def __getattr__(self, name: str) -> Any:
                return getattr(self._real, name)

        take_in(share, 300_000)
        transport.socket = Spy(transport.socket)
        self.assertEqual(await share.callRemote("read"), ANSWER)
        transport.socket = transport.socket._real
        self.assertEqual(set(lengths), {300_000})

    async def test_never_less(self) -> None:
        """A connection that takes more already is left alone."""
        share = await self.connect()
        transport = share.tracker.broker.transport
        for length in (1000, Connection.bufferSize, 200_000, 100_000):
            take_in(share, length)
        self.assertEqual(transport.bufferSize, 200_000)
        self.assertEqual(Connection.bufferSize, 65_536)

    async def test_a_connection_that_is_gone(self) -> None:
        """One that was lost meanwhile is no error."""
        share = await self.connect()
        gone: Deferred[None] = Deferred()
        share.notifyOnDisconnect(gone.callback, None)
        share.tracker.broker.transport.loseConnection()
        await gone
        take_in(share, 200_000)

    def test_what_is_no_reference(self) -> None:
        """A bucket of another transport, or nonsense from a server, is left alone."""
        for strange in (None, b"bucket", object(), Share()):
            take_in(strange, 200_000)
