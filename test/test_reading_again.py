"""What is remembered: of a file that is read again, as by each web request, and for others."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import ClassVar

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred

from .gridcase import FAST, GridCase, some_bytes


class ReadingAgain(GridCase):
    """What the node before has learned is used; what went wrong is not."""

    async def first_read(self, cap: bytes) -> None:
        """Read the file with a node that nobody uses any more afterwards."""
        await self.read(self.node(cap))
        await self.turns(lambda: len(self.hub.parking) == 1)

    async def test_one_round_trip(self) -> None:
        """Another node asks no server for shares, and each share once for its blocks."""
        data = some_bytes(250_000)
        cap = await self.put(data, 3, 10, 3000)
        spies = self.spy()
        await self.first_read(cap)
        queries = sum(spy.queries for spy in spies)
        before = sum(len(spy.reads) for spy in spies)
        node = self.another_node(cap)
        self.assertTrue(await self.read(node, 120_000, 3000) == data[120_000:123_000])
        self.assertEqual(sum(spy.queries for spy in spies), queries)
        self.assertEqual(sum(len(spy.reads) for spy in spies) - before, 3)
        self.no_fallbacks()

    async def test_both_at_once(self) -> None:
        """Two nodes that read at the same time do not share a download."""
        data = some_bytes(250_000)
        cap = await self.put(data, 3, 10, 3000)
        await self.first_read(cap)
        both = [Deferred.fromCoroutine(self.read(self.another_node(cap))) for _ in range(2)]
        for text in await gatherResults(both):
            self.assertTrue(text == data)
        await self.turns(lambda: len(self.hub.parking) == 1)
        self.no_fallbacks()

    async def test_shares_gone_meanwhile(self) -> None:
        """Shares that were deleted since are looked for anew."""
        data = some_bytes(250_000)
        cap = await self.put(data, 3, 10, 3000)
        await self.first_read(cap)
        for path in self.paths(cap, set(range(5))):
            os.unlink(path)
        self.same(await self.outcome(self.another_node(cap)), (data, None))
        self.no_fallbacks()

    async def test_server_gone_meanwhile(self) -> None:
        """When one of the servers is not connected any more the others are asked anew."""
        data = some_bytes(250_000)
        cap = await self.put(data, 3, 10, 3000)
        spies = self.spy()
        await self.first_read(cap)
        queries = sum(spy.queries for spy in spies)
        spies[0].is_connected = False
        self.same(await self.outcome(self.another_node(cap)), (data, None))
        self.assertGreater(sum(spy.queries for spy in spies), queries)
        self.no_fallbacks()

    async def test_damaged_is_not_kept(self) -> None:
        """After a read that met a corrupt share the next node begins from nothing."""
        data = some_bytes(250_000)
        cap = await self.put(data, 3, 3, 3000)
        path = self.paths(cap, {0})[0]
        with open(path, "r+b") as handle:
            handle.seek(12 + 36 + 100)
            handle.write(b"corrupt")
        await self.outcome(self.another_node(cap))
        turn = iter(range(20))
        await self.turns(lambda: next(turn, None) is None)
        self.assertEqual(len(self.hub.parking), 0)

    async def test_shutdown(self) -> None:
        """When the client stops nothing is kept."""
        cap = await self.put(some_bytes(250_000), 3, 10, 3000)
        await self.first_read(cap)
        await maybeDeferred(self.g.clients[FAST].terminator.disownServiceParent)
        self.assertEqual(len(self.hub.parking), 0)


class Forgetting(GridCase):
    """A node whose operator wants nothing kept."""

    options: ClassVar[Mapping[str, str]] = {**GridCase.options, "remember": "0 s"}

    async def test_searched_again(self) -> None:
        """Another node of the file asks the servers for shares again."""
        data = some_bytes(250_000)
        cap = await self.put(data, 3, 10, 3000)
        spies = self.spy()
        self.assertTrue(await self.read(self.node(cap)) == data)
        queries = sum(spy.queries for spy in spies)
        self.assertTrue(await self.read(self.another_node(cap)) == data)
        self.assertEqual(sum(spy.queries for spy in spies), 2 * queries)
        self.assertEqual(len(self.hub.parking), 0)
        self.no_fallbacks()


class OtherFiles(GridCase):
    """What is learned of one file for the others."""

    async def test_segment_size(self) -> None:
        """The segment size of the next file is guessed from the last that had several."""
        expected = self.hub.segment_size_hint
        for size, segment, hint in ((2000, 128 * 1024, expected), (20_000, 3000, 3000)):
            data = some_bytes(size)
            cap = await self.put(data, 3, 10, segment)
            self.assertTrue(await self.read(self.node(cap)) == data)
            self.assertEqual(self.hub.segment_size_hint, hint)
