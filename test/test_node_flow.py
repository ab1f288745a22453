"""FastDownloadNode and its consumers: pauses, stops, leaving, shutting down."""

from __future__ import annotations

from typing import Any

from allmydata.interfaces import DownloadStopped
from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred

from .gridcase import FAST, STOCK, GridCase, Reader, some_bytes
from .spies import SpyRead


class FlowControl(GridCase):
    """Consumers that pause, resume and stop."""

    async def test_pausing_after_each_write(self) -> None:
        """A consumer that pauses in every write and resumes a turn later gets all in order."""
        data = some_bytes(3_000_000)
        cap = await self.put(data, 3, 10, 128 * 1024)

        def pause(reader: Reader) -> None:
            reader.producer.pauseProducing()
            reactor.callLater(0, reader.producer.resumeProducing)

        for which in (FAST, STOCK):
            text = await self.read(self.node(cap, which), reader=Reader(on_write=pause))
            self.assertTrue(text == data)
        self.no_fallbacks()

    async def test_nothing_is_written_while_paused(self) -> None:
        """A paused consumer gets nothing, memory stays bounded, and then the rest comes."""
        self.enable({"memory": "4 MiB"})
        data = some_bytes(6_000_000)
        cap = await self.put(data, 3, 4, 128 * 1024)
        spies = self.spy()
        reader = Reader(on_write=lambda reader: reader.producer.pauseProducing())
        d = Deferred.fromCoroutine(self.read(self.node(cap), reader=reader))
        await self.turns(lambda: reader.chunks)
        asked = -1
        while asked != sum(len(spy.reads) for spy in spies):  # until prefetching is over
            asked = sum(len(spy.reads) for spy in spies)
            turn = iter(range(50))
            await self.turns(lambda: next(turn, None) is None)  # noqa: B023 - awaited at once
        self.assertEqual(len(reader.chunks), 1)
        self.assertLessEqual(self.hub.budget.peak_bytes, 4 * 2**20)
        asked_bytes = sum(read.length for spy in spies for read in spy.reads)
        self.assertLess(asked_bytes, 5 * 2**20)
        reader._on_write = None
        reader.producer.resumeProducing()
        self.assertTrue(await d == data)
        self.no_fallbacks()

    async def test_paused_at_registration(self) -> None:
        """A consumer that pauses when the producer registers gets nothing until it resumes."""
        data = some_bytes(10_000)
        cap = await self.put(data, 3, 10, 3000)
        reader = Reader(on_register=lambda reader: reader.producer.pauseProducing())
        node = self.node(cap)
        d = Deferred.fromCoroutine(self.read(node, reader=reader))
        await self.read(node)
        self.assertEqual(reader.chunks, [])
        reader.producer.resumeProducing()
        self.assertTrue(await d == data)

    async def test_stopping_anywhere(self) -> None:
        """Stopping at registration, in a write or while paused is DownloadStopped, like stock."""
        data = some_bytes(300_000)
        cap = await self.put(data, 3, 10, 3000)

        def stop(reader: Reader) -> None:
            reader.producer.stopProducing()

        def pause_and_stop(reader: Reader) -> None:
            reader.producer.pauseProducing()
            reader.producer.stopProducing()

        for node in (self.node(cap), self.node(cap)):
            for hook in (stop, pause_and_stop):
                reader = Reader(on_write=hook)
                await self.assertFailure(node.read(reader, 0, None), DownloadStopped)
                self.assertEqual(len(reader.chunks), 1)
                self.assertEqual((reader.registered, reader.unregistered), (1, 1))
                reader = Reader(on_register=hook)
                await self.assertFailure(node.read(reader, 0, None), DownloadStopped)
                self.assertEqual(reader.chunks, [])
                self.assertEqual((reader.registered, reader.unregistered), (1, 1))
                self.assertTrue(await self.read(node) == data)
        stock = Reader(on_write=stop)
        await self.assertFailure(self.node(cap, STOCK).read(stock, 0, None), DownloadStopped)
        self.no_fallbacks()
        await self.turns(lambda: self.hub.budget.used_bytes == 0)

    async def test_stopping_twice(self) -> None:
        """A second ``stopProducing`` does nothing, nor do calls after the end."""
        cap = await self.put(some_bytes(10_000), 3, 10, 3000)

        def stop_twice(reader: Reader) -> None:
            reader.producer.stopProducing()
            reader.producer.stopProducing()

        node = self.node(cap)
        reader = Reader(on_write=stop_twice)
        await self.assertFailure(node.read(reader, 0, None), DownloadStopped)
        reader = Reader()
        await self.read(node, reader=reader)
        reader.producer.resumeProducing()
        reader.producer.pauseProducing()
        reader.producer.stopProducing()
        self.assertEqual((reader.registered, reader.unregistered), (1, 1))
        self.no_fallbacks()

    async def test_stopping_one_of_two_readers(self) -> None:
        """One reader's stop does not touch another on the same node."""
        data = some_bytes(300_000)
        cap = await self.put(data, 3, 10, 3000)
        node = self.node(cap)
        whole = Deferred.fromCoroutine(self.read(node))
        reader = Reader(on_write=lambda reader: reader.producer.stopProducing())
        await self.assertFailure(node.read(reader, 100_000, None), DownloadStopped)
        self.assertTrue(await whole == data)
        self.no_fallbacks()

    async def test_consumer_that_raises(self) -> None:
        """An error of the consumer's own fails its read with that error, like stock."""
        data = some_bytes(300_000)
        cap = await self.put(data, 3, 10, 3000)

        class Full(Exception):
            pass

        def fail(_reader: Reader) -> None:
            raise Full("disk full")

        for which in (STOCK, FAST):
            node = self.node(cap, which)
            reader = Reader(on_write=fail)
            await self.assertFailure(node.read(reader, 0, None), Full)
            self.assertEqual(len(reader.chunks), 1)
            self.assertEqual((reader.registered, reader.unregistered), (1, 1))
            self.assertTrue(await self.read(node) == data)
        self.flushLoggedErrors(Full)
        self.no_fallbacks()

    async def test_consumer_that_raises_at_registration(self) -> None:
        """An error in registerProducer reaches the caller and leaves the node usable."""
        data = some_bytes(10_000)
        cap = await self.put(data, 3, 10, 3000)

        class Closed(Exception):
            pass

        def fail(_reader: Reader) -> None:
            raise Closed("gone")

        for which in (STOCK, FAST):
            node = self.node(cap, which)
            with self.assertRaises(Closed):
                await node.read(Reader(on_register=fail), 0, None)
            self.assertTrue(await self.read(node) == data)
        self.no_fallbacks()


class Shutdown(GridCase):
    """What is left when the client stops."""

    def our_delayed_calls(self) -> list[Any]:
        """Timers of ours in the reactor."""
        calls: list[Any] = list(reactor.getDelayedCalls())
        return [call for call in calls if call.func.__module__.startswith("tahoe_fastdl")]

    async def test_stop_in_mid_file_leaves_nothing(self) -> None:
        """After shutdown: no timer, no remote call, no byte, and Deferreds stay silent."""
        cap = await self.put(some_bytes(3_000_000), 3, 10, 128 * 1024)
        spies = self.spy()
        held: list[Deferred[None]] = []

        def hold_late(read: SpyRead, ask: Any) -> Any:
            if not 200_000 < read.start < 1_000_000:
                return ask()
            held.append(Deferred())
            return held[-1].addCallback(lambda _: ask())

        for spy in spies:
            spy.answer_read = hold_late
        node = self.node(cap)
        fired: list[Any] = []
        reader = Reader()
        node.read(reader, 0, None).addBoth(fired.append)
        segment, _cancel = node._cnode.get_segment(20)
        segment.addBoth(fired.append)
        await self.turns(lambda: len(held) > 3 and reader.chunks)
        self.assertNotEqual(self.our_delayed_calls(), [])
        await maybeDeferred(self.g.clients[FAST].terminator.disownServiceParent)
        self.assertEqual(self.our_delayed_calls(), [])
        reads, chunks = sum(len(spy.reads) for spy in spies), len(reader.chunks)
        for each in held:
            each.callback(None)
        turn = iter(range(50))
        await self.turns(lambda: next(turn, None) is None)
        self.assertEqual(sum(len(spy.reads) for spy in spies), reads)
        self.assertEqual(len(reader.chunks), chunks)
        self.assertEqual(fired, [])
        self.assertEqual(self.our_delayed_calls(), [])
        await self.turns(lambda: self.hub.budget.used_bytes == 0)
        self.no_fallbacks()

    async def test_stop_while_searching_sends_no_read(self) -> None:
        """Answers to the search that come after shutdown lead to nothing."""
        cap = await self.put(some_bytes(100_000))
        spies = self.spy()
        gate: Deferred[None] = Deferred()
        for spy in spies:
            spy.answer_buckets = lambda ask: _after(gate, ask)
        node = self.node(cap)
        fired: list[Any] = []
        node.read(Reader(), 0, None).addBoth(fired.append)
        self.assertEqual(sum(spy.queries for spy in spies), 10)
        await maybeDeferred(self.g.clients[FAST].terminator.disownServiceParent)
        gate.callback(None)
        turn = iter(range(50))
        await self.turns(lambda: next(turn, None) is None)
        self.assertEqual([spy.reads for spy in spies], [[]] * 10)
        self.assertEqual(fired, [])
        self.assertEqual(self.our_delayed_calls(), [])

    async def test_finished_reads_leave_no_timer(self) -> None:
        """Between reads a node has nothing in the reactor."""
        cap = await self.put(some_bytes(100_000), 3, 10, 3000)
        await self.read(self.node(cap))
        await self.turns(lambda: not self.our_delayed_calls())
        await self.assertFailure(
            self.node(cap).read(Reader(lambda r: r.producer.stopProducing()), 0, None),
            DownloadStopped,
        )
        await self.turns(lambda: not self.our_delayed_calls())

    async def test_stopping_twice(self) -> None:
        """``stop()`` may be called again, and on a node that was never read from."""
        cap = await self.put(some_bytes(10_000))
        node = self.node(cap)
        await self.read(node)
        node._cnode._node.stop()
        node._cnode._node.stop()
        unread = self.node(cap)
        unread._cnode._maybe_create_download_node()
        unread._cnode._node.stop()
        self.no_fallbacks()


def _after(gate: Deferred[None], ask: Any) -> Deferred[Any]:
    d: Deferred[Any] = Deferred()
    gate.addCallback(lambda _: ask().chainDeferred(d) and None)
    return d
