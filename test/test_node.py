"""FastDownloadNode against the stock DownloadNode, on one grid: same bytes, same errors."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from allmydata.immutable import layout
from allmydata.immutable.downloader.common import BadCiphertextHashError, BadSegmentNumberError
from allmydata.immutable.downloader.node import DownloadNode
from allmydata.interfaces import DownloadStopped, NoSharesError, NotEnoughSharesError
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred

from tahoe_fastdl.node import FastDownloadNode

from .gridcase import FAST, STOCK, GridCase, Reader, some_bytes
from .shareedit import edit_share, fields_of, flip, forge_ciphertext_leaf, forge_ueb, share_of
from .spies import SpyRead


class Sizes(GridCase):
    """Every size at which something begins or ends, for every kind of encoding."""

    async def same_everywhere(self, data: bytes, k: int, n: int, segment: int) -> None:
        """Upload and compare whole reads and ranges with stock."""
        cap = await self.put(data, k, n, segment)
        size, what = len(data), (k, n, segment, len(data))
        found = await self.like_stock(cap, what=what)
        self.same(found, (data, None), what)
        node = self.node(cap)
        for start, length in (
            (0, 1),
            (size - 1, 1),
            (size - 1, None),
            (segment - 1, 2),
            (segment, segment),
            (size // 2, size),
            (size, 1),
            (size + 10, 5),
            (1, 0),
        ):
            stop = size if length is None else start + length
            expected = data[start:stop]
            self.same(await self.outcome(node, start, length), (expected, None), (what, start))
            self.same(await self.outcome(self.node(cap), start, length), (expected, None), what)
        self.assertIs(self.served_by(node), FastDownloadNode)

    async def boundaries(self, k: int, n: int, segment: int) -> None:
        """Sizes around the ends of one and two segments and around multiples of k."""
        real = -(-segment // k) * k
        sizes = {56, real - 1, real, real + 1, real + k - 1, real + k, real + k + 1}
        sizes |= {2 * real - k, 2 * real - 1, 2 * real, 2 * real + 1}
        for size in sorted(size for size in sizes if size >= 56):
            await self.same_everywhere(some_bytes(size, size), k, n, segment)
        self.no_fallbacks()

    async def test_three_of_ten(self) -> None:
        """The default encoding, segments of 102 bytes."""
        await self.boundaries(3, 10, 100)

    async def test_one_of_two(self) -> None:
        """Each share is the whole file."""
        await self.boundaries(1, 2, 64)

    async def test_all_of_five(self) -> None:
        """No share may be missing."""
        await self.boundaries(5, 5, 70)

    async def test_sixty_of_sixty(self) -> None:
        """Blocks of one or two bytes."""
        await self.boundaries(60, 60, 100)

    async def test_255_of_256(self) -> None:
        """The most shares Tahoe can make."""
        for size in (56, 255, 256, 511, 1021):
            await self.same_everywhere(some_bytes(size), 255, 256, 510)
        self.no_fallbacks()

    async def test_three_of_256(self) -> None:
        """Many shares, few needed."""
        await self.same_everywhere(some_bytes(1000), 3, 256, 300)
        self.no_fallbacks()

    async def test_segments_of_k_bytes(self) -> None:
        """The smallest segments there are, so hash trees larger than the file."""
        for size in (56, 57, 58, 59, 200):
            await self.same_everywhere(some_bytes(size), 3, 10, 1)
        self.no_fallbacks()

    async def test_one_segment_larger_than_the_file(self) -> None:
        """The usual small file."""
        for size in (56, 1000, 100_000):
            await self.same_everywhere(some_bytes(size), 3, 10, 1024 * 1024)
        self.no_fallbacks()

    async def test_many_segments(self) -> None:
        """Shares too large to be read whole, with a tail and without."""
        for size in (400_000, 100 * 4098, 100 * 4098 + 1):
            await self.same_everywhere(some_bytes(size), 3, 10, 4096)
        self.no_fallbacks()

    async def test_more_segments_than_a_page_of_hashes(self) -> None:
        """Ciphertext hash trees of more than one page, one and many segments beyond it."""
        for count, segment in ((1025, 300), (3000, 300), (5000, 30)):
            data = some_bytes(count * segment - 1)
            cap = await self.put(data, 3, 4, segment)
            spies = self.spy()
            node = self.node(cap)
            self.assertTrue(await self.read(node) == data)
            self.assertTrue(await self.read(node, 1024 * segment, 1) == data[1024 * segment :][:1])
            self.assertTrue(await self.read(self.node(cap), len(data) - 1) == data[-1:])
            self.assertLess(sum(len(spy.reads) for spy in spies), 150)
            for client in self.g.clients:
                client._servers = self.g.all_servers
        self.no_fallbacks()

    async def test_many_segments_of_secondary_shares_only(self) -> None:
        """The primary shares are lost, so every byte comes out of zfec."""
        data = some_bytes(300_000)
        cap = await self.put(data, 3, 10, 5000)
        self.delete_shares_numbered(cap, {0, 1, 2})
        self.same(await self.like_stock(cap), (data, None))
        self.no_fallbacks()

    async def test_version_two_shares(self) -> None:
        """Shares in the layout for large files, small and large ones."""
        self.patch(layout, "FORCE_V2", True)
        for size, segment in ((56, 1000), (1000, 100), (300_000, 4096), (300_000, 1 << 20)):
            await self.same_everywhere(some_bytes(size), 3, 10, segment)
        self.no_fallbacks()

    async def test_both_versions_in_one_file(self) -> None:
        """Shares of one file may differ in their layout."""
        data = some_bytes(200_000)
        cap = await self.put(data, 3, 4, 4096)
        self.delete_shares_numbered(cap, {0, 1})
        self.patch(layout, "FORCE_V2", True)
        await self.put(data, 3, 4, 4096)
        found = [(n, share_of(path)[3], path) for n, _server, path in self.find_uri_shares(cap)]
        for shnum, version, path in found:
            if (version == 1) != (shnum > 1):
                Path(path).unlink()
        versions = [share_of(path)[3] for path in self.paths(cap)]
        self.assertEqual(versions, [2, 2, 1, 1])
        self.same(await self.like_stock(cap), (data, None))
        self.no_fallbacks()

    async def test_verify_blocks(self) -> None:
        """With ``verify = blocks`` the bytes are the same."""
        self.enable({"verify": "blocks", "memory": "8 MiB"})
        await self.same_everywhere(some_bytes(300_000), 3, 10, 4096)
        await self.same_everywhere(some_bytes(1000), 3, 10, 100)
        self.no_fallbacks()

    async def test_file_larger_than_the_memory_limit(self) -> None:
        """A file of more than the budget comes whole, and the budget is kept."""
        self.enable({"memory": "4 MiB"})
        data = some_bytes(6_000_000)
        cap = await self.put(data, 3, 4, 128 * 1024)
        self.assertTrue(await self.read(self.node(cap)) == data)
        self.assertLessEqual(self.hub.budget.peak_bytes, 4 * 2**20)
        await self.turns(lambda: self.hub.budget.used_bytes == 0)
        self.no_fallbacks()

    async def test_one_segment_larger_than_the_memory_limit(self) -> None:
        """A single segment that does not fit is read all the same, as stock does."""
        self.enable({"memory": "4 MiB"})
        data = some_bytes(6_000_000)
        cap = await self.put(data, 3, 4, 8 * 2**20)
        self.assertTrue(await self.read(self.node(cap)) == data)
        self.no_fallbacks()


class Ranges(GridCase):
    """Reads of parts, one after another and at once."""

    async def test_random_ranges(self) -> None:
        """Any range, on a new node and on a used one, is what stock gives."""
        data = some_bytes(250_000)
        cap = await self.put(data, 3, 10, 3000)
        used = self.node(cap)
        chance = random.Random(1264)
        for _ in range(40):
            start = chance.randrange(len(data))
            size = chance.choice([1, 100, 2999, 3000, 3001, 40_000, 300_000])
            expected = data[start : start + size]
            self.same(await self.outcome(used, start, size), (expected, None), (start, size))
            self.same(await self.outcome(self.node(cap), start, size), (expected, None), start)
        self.no_fallbacks()

    async def test_many_overlapping_reads_at_once(self) -> None:
        """Twenty reads of one node at the same time all get their own bytes."""
        data = some_bytes(250_000)
        cap = await self.put(data, 3, 10, 3000)
        node = self.node(cap)
        chance = random.Random(1544)
        ranges = [
            (chance.randrange(len(data)), chance.choice([1, 5000, 60_000, 300_000]))
            for _ in range(20)
        ]
        reads = [Deferred.fromCoroutine(self.read(node, *each)) for each in ranges]
        for (start, size), text in zip(ranges, await gatherResults(reads)):
            self.assertTrue(text == data[start : start + size], (start, size))
        self.no_fallbacks()
        await self.turns(lambda: self.hub.budget.used_bytes == 0)

    async def test_two_caps_of_one_client_at_once(self) -> None:
        """Downloads that share the budget do not get in each other's way."""
        self.enable({"memory": "4 MiB"})
        texts = [some_bytes(1_500_000, seed) for seed in range(4)]
        caps = [await self.put(text, 3, 4, 128 * 1024) for text in texts]
        reads = [Deferred.fromCoroutine(self.read(self.node(cap))) for cap in caps]
        for text, expected in zip(await gatherResults(reads), texts):
            self.assertTrue(text == expected)
        await self.turns(lambda: self.hub.budget.used_bytes == 0)
        self.no_fallbacks()

    async def test_many_downloads_share_one_budget(self) -> None:
        """What twelve downloads hold at once does not grow with their number."""
        self.enable({"memory": "4 MiB"})
        texts = [some_bytes(1_500_000, seed) for seed in range(12)]
        caps = [await self.put(text, 3, 4, 128 * 1024) for text in texts]
        reads = [Deferred.fromCoroutine(self.read(self.node(cap))) for cap in caps]
        for text, expected in zip(await gatherResults(reads), texts):
            self.assertTrue(text == expected)
        self.assertLess(self.hub.budget.peak_bytes, 2 * 4 * 2**20)
        self.no_fallbacks()

    async def test_ciphertext_like_stock(self) -> None:
        """A reader below the decryption gets the ciphertext, also next to one above it."""
        data = some_bytes(100_000)
        cap = await self.put(data, 3, 10, 3000)
        fast, stock = self.node(cap), self.node(cap, STOCK)
        expected = await self.read(stock._cnode, 1234, 50_000)
        self.assertTrue(await self.read(fast._cnode, 1234, 50_000) == expected)
        both = [
            Deferred.fromCoroutine(self.read(fast._cnode, 1234, 50_000)),
            Deferred.fromCoroutine(self.read(fast, 1234, 50_000)),
        ]
        ciphertext, plaintext = await gatherResults(both)
        self.assertTrue(ciphertext == expected)
        self.assertTrue(plaintext == data[1234:51_234])
        self.no_fallbacks()

    async def test_reading_again_asks_no_server_who_has_shares(self) -> None:
        """A second read on the same node reuses shares and UEB."""
        data = some_bytes(250_000)
        cap = await self.put(data, 3, 10, 3000)
        spies = self.spy()
        node = self.node(cap)
        await self.read(node, 0, 3000)
        queries = sum(spy.queries for spy in spies)
        before = sum(len(spy.reads) for spy in spies)
        self.assertTrue(await self.read(node, 120_000, 3000) == data[120_000:123_000])
        self.assertEqual(sum(spy.queries for spy in spies), queries)
        self.assertLessEqual(sum(len(spy.reads) for spy in spies) - before, 2 * 3 + 1)


class Segments(GridCase):
    """get_segment and get_segsize, which the repairer and others use."""

    async def test_every_segment_like_stock(self) -> None:
        """Position and ciphertext of each segment, the tail too, are stock's."""
        cap = await self.put(some_bytes(10_000), 3, 10, 3000)
        fast, stock = self.node(cap)._cnode, self.node(cap, STOCK)._cnode
        for segnum in (2, 0, 3, 1):
            ours, _cancel = fast.get_segment(segnum)
            theirs, _cancel = stock.get_segment(segnum)
            self.assertEqual((await ours)[:2], (await theirs)[:2])
        self.no_fallbacks()

    async def test_segment_number_too_large(self) -> None:
        """A segment past the end is BadSegmentNumberError, on a new node and a used one."""
        cap = await self.put(some_bytes(10_000), 3, 10, 3000)
        for which in (FAST, STOCK):
            node = self.node(cap, which)._cnode
            for segnum in (4, 4, 10**6):
                d, _cancel = node.get_segment(segnum)
                await self.assertFailure(d, BadSegmentNumberError)
            d, _cancel = node.get_segment(3)
            self.assertEqual((await d)[0], 9000)

    async def test_segment_size_like_stock(self) -> None:
        """The segment size is the real one, at once and again."""
        for size, segment in ((10_000, 3000), (10_000, 1 << 20), (56, 100)):
            cap = await self.put(some_bytes(size), 3, 10, segment)
            expected = await self.node(cap, STOCK)._cnode.get_segment_size()
            node = self.node(cap)._cnode
            self.assertEqual(await node.get_segment_size(), expected)
            self.assertEqual(await node.get_segment_size(), expected)
        self.no_fallbacks()

    async def test_segment_size_of_a_lost_file(self) -> None:
        """Without shares the segment size fails like stock, and the repairer does not wait."""
        cap = await self.put(some_bytes(10_000))
        self.delete_shares_numbered(cap, set(range(10)))
        for which in (FAST, STOCK):
            node = self.node(cap, which)._cnode
            await self.assertFailure(node.get_segment_size(), NoSharesError)

    async def test_cancelled_segment_stays_silent(self) -> None:
        """After ``cancel()`` the Deferred never fires, others do, and cancel may be repeated."""
        cap = await self.put(some_bytes(10_000), 3, 10, 3000)
        node = self.node(cap)._cnode
        silent, cancel = node.get_segment(1)
        fired: list[Any] = []
        silent.addBoth(fired.append)
        wanted, _cancel = node.get_segment(1)
        cancel.cancel()
        cancel.cancel()
        self.assertEqual((await wanted)[0], 3000)
        self.assertEqual(fired, [])
        alone, cancel = node.get_segment(2)
        alone.addBoth(fired.append)
        cancel.cancel()
        d, _cancel = node.get_segment(3)
        await d
        self.assertEqual(fired, [])
        self.no_fallbacks()

    async def test_repair_through_our_node(self) -> None:
        """check_and_repair downloads with us and brings the lost shares back."""
        from allmydata.monitor import Monitor

        data = some_bytes(100_000)
        cap = await self.put(data, 3, 10, 3000)
        self.delete_shares_numbered(cap, {0, 1, 5, 9})
        node = self.node(cap)
        results = await node.check_and_repair(Monitor())
        self.assertTrue(results.get_repair_successful())
        self.assertEqual({shnum for shnum, _, _ in self.find_uri_shares(cap)}, set(range(10)))
        self.assertIs(self.served_by(node), FastDownloadNode)
        self.delete_shares_numbered(cap, {2, 3, 4, 6, 7, 8})
        self.same(await self.like_stock(cap), (data, None))
        self.no_fallbacks()


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


class Failures(GridCase):
    """Files that cannot be had, and what works again afterwards."""

    async def test_no_shares(self) -> None:
        """No share anywhere is NoSharesError; once they are back the same node reads."""
        data = some_bytes(100_000)
        cap = await self.put(data, 3, 10, 3000)
        shares = self.copy_shares(cap)
        self.delete_shares_numbered(cap, set(range(10)))
        _bytes, error = await self.like_stock(cap)
        self.assertIs(error, NoSharesError)
        node = self.node(cap)
        self.same(await self.outcome(node), (b"", NoSharesError))
        self.restore_all_shares(shares)
        self.same(await self.outcome(node), (data, None))
        self.no_fallbacks()

    async def test_too_few_shares(self) -> None:
        """One share too few is NotEnoughSharesError; the same node recovers."""
        data = some_bytes(100_000)
        cap = await self.put(data, 3, 10, 3000)
        shares = self.copy_shares(cap)
        self.delete_shares_numbered(cap, set(range(2, 10)))
        _bytes, error = await self.like_stock(cap)
        self.assertIs(error, NotEnoughSharesError)
        node = self.node(cap)
        self.same(await self.outcome(node), (b"", NotEnoughSharesError))
        self.restore_all_shares(shares)
        self.same(await self.outcome(node), (data, None))
        self.no_fallbacks()

    async def test_ciphertext_hash_failure(self) -> None:
        """A lying uploader is BadCiphertextHashError, and the node goes on working."""
        data = some_bytes(100_000)
        cap = await self.put(data, 3, 10, 3000)
        forged = forge_ciphertext_leaf(cap, self.paths(cap), 5)
        found = await self.like_stock(forged)
        self.same(found, (data[:15_000], BadCiphertextHashError))
        node = self.node(forged)
        for _ in range(2):
            self.same(await self.outcome(node), (data[:15_000], BadCiphertextHashError))
            self.same(await self.outcome(node, 18_000), (data[18_000:], None))
            self.same(await self.outcome(node, 15_001, 10), (b"", BadCiphertextHashError))
        d, _cancel = node._cnode.get_segment(5)
        await self.assertFailure(d, BadCiphertextHashError)
        d, _cancel = node._cnode.get_segment(6)
        self.assertEqual((await d)[0], 18_000)
        self.no_fallbacks()

    async def test_ciphertext_hash_failure_of_a_small_file(self) -> None:
        """The same for shares that are read whole."""
        data = some_bytes(1000)
        cap = await self.put(data, 3, 10, 300)
        forged = forge_ciphertext_leaf(cap, self.paths(cap), 1)
        found = await self.like_stock(forged)
        self.same(found, (data[:300], BadCiphertextHashError))
        node = self.node(forged)
        for _ in range(2):
            self.same(await self.outcome(node), (data[:300], BadCiphertextHashError))
            self.same(await self.outcome(node, 600), (data[600:], None))
        self.no_fallbacks()

    def lose_segment(self, cap: bytes, segnum: int) -> None:
        """Spoil one block of 1000 bytes in two of four shares."""
        for path in self.paths(cap, {0, 3}):
            start, _stop = fields_of(share_of(path))["blocks"]
            edit_share(path, flip(start + segnum * 1000 + 7))

    async def test_segment_lost_in_the_middle(self) -> None:
        """What comes before a lost segment is delivered, then the read fails like stock."""
        data = some_bytes(300_000)
        cap = await self.put(data, 3, 4, 3000)
        self.lose_segment(cap, 50)
        found = await self.like_stock(cap)
        self.same(found, (data[:150_000], NotEnoughSharesError))
        self.same(
            await self.outcome(self.node(cap), 140_000, 20_000),
            (data[140_000:150_000], NotEnoughSharesError),
        )
        node = self.node(cap)
        self.same(await self.outcome(node), (data[:150_000], NotEnoughSharesError))
        self.same(await self.outcome(node, 153_000), (data[153_000:], None))
        self.same(await self.outcome(node, 0, 150_000), (data[:150_000], None))
        self.no_fallbacks()

    async def test_segment_zero_lost(self) -> None:
        """A range that avoids a lost segment 0 is delivered, also by a new node."""
        data = some_bytes(300_000)
        cap = await self.put(data, 3, 4, 3000)
        self.lose_segment(cap, 0)
        self.same(await self.outcome(self.node(cap), 3000), (data[3000:], None))
        self.same(await self.outcome(self.node(cap), 200_000, 10), (data[200_000:200_010], None))
        self.same(await self.outcome(self.node(cap)), (b"", NotEnoughSharesError))
        self.no_fallbacks()

    async def test_lost_segment_comes_back(self) -> None:
        """A node that failed on bad blocks reads them once the shares are good again."""
        data = some_bytes(300_000)
        cap = await self.put(data, 3, 4, 3000)
        shares = self.copy_shares(cap)
        self.lose_segment(cap, 50)
        node = self.node(cap)
        self.same(await self.outcome(node), (data[:150_000], NotEnoughSharesError))
        self.restore_all_shares(shares)
        self.same(await self.outcome(node), (data, None))
        self.no_fallbacks()

    async def test_recovers_after_servers_broke(self) -> None:
        """A node that failed because servers raised reads again when they answer."""
        data = some_bytes(300_000)
        cap = await self.put(data, 3, 10, 3000)
        spies = self.spy()

        def broken(_read: SpyRead, _ask: Any) -> Any:
            raise ConnectionError("broken")

        for spy in spies[2:]:
            spy.answer_read = broken
        node = self.node(cap)
        _text, error = await self.outcome(node)
        self.assertIs(error, NotEnoughSharesError)
        for spy in spies[2:]:
            spy.answer_read = lambda _read, ask: ask()
        self.same(await self.outcome(node), (data, None))
        self.no_fallbacks()

    async def test_malformed_authentic_uebs(self) -> None:
        """An uploader's senseless UEB is a named error, not a traceback, and not a wait."""
        data = some_bytes(1000)
        size = b"segment_size:3:300,"
        changes = (
            (size, b"segment_sizf:3:300,"),
            (size, b"segment_size:3:3x0,"),
            (size, b"segment_size:1:0,"),
            (size, b"segment_size:3:301,"),
            (size, b"segment_size:99:300,"),
            (b"crypttext_root_hash:32:", b"crypttext_root_hash:31:"),
            (b"share_root_hash:32:", b"share_root_hesh:32:"),
            (b":", b";"),
        )
        for old, new in changes:
            cap = await self.put(data, 3, 4, 300)
            forged = forge_ueb(cap, self.paths(cap), lambda ueb: ueb.replace(old, new))  # noqa: B023
            self.same(await self.outcome(self.node(forged)), (b"", NoSharesError), new)
            for path in self.paths(cap):
                Path(path).unlink()
        self.no_fallbacks()


class Fallback(GridCase):
    """When our own code breaks, stock finishes the read."""

    def break_core(self, node: Any) -> None:
        """Feed the core something it cannot know."""
        node._cnode._node._driver.feed(object())

    async def test_read_goes_on_from_the_byte_reached(self) -> None:
        """A reader gets each byte once, and the fallback is counted and logged."""
        data = some_bytes(3_000_000)
        cap = await self.put(data, 3, 10, 128 * 1024)
        node = self.node(cap)
        broke: list[int] = []

        def break_and_resume(reader: Reader) -> None:
            self.break_core(node)
            reader.producer.resumeProducing()

        def break_once(reader: Reader) -> None:
            if not broke and len(reader.text) > 500_000:
                broke.append(len(reader.text))
                reader.producer.pauseProducing()  # else all the rest may come in this very turn
                reactor.callLater(0, break_and_resume, reader)

        text = await self.read(node, 1000, 2_900_000, Reader(on_write=break_once))
        self.assertTrue(text == data[1000:2_901_000])
        self.assertTrue(broke)
        self.assertEqual(self.hub.totals["fallbacks"], 1)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        await self.turns(lambda: self.hub.budget.used_bytes == 0)
        self.assertTrue(await self.read(node) == data)
        self.assertEqual(self.hub.totals["fallbacks"], 1)

    async def test_everything_open_goes_on(self) -> None:
        """Reads of plaintext and ciphertext, a segment and the segment size all finish."""
        data = some_bytes(300_000)
        cap = await self.put(data, 3, 10, 3000)
        ciphertext = await self.read(self.node(cap, STOCK)._cnode)
        node = self.node(cap)
        whole = Deferred.fromCoroutine(self.read(node))
        part = Deferred.fromCoroutine(self.read(node, 12_345, 6789))
        below = Deferred.fromCoroutine(self.read(node._cnode, 5))
        segment, _cancel = node._cnode.get_segment(7)
        silent, cancel = node._cnode.get_segment(8)
        fired: list[Any] = []
        silent.addBoth(fired.append)
        size = node._cnode.get_segment_size()
        self.break_core(node)
        cancel.cancel()
        self.assertTrue(await whole == data)
        self.assertTrue(await part == data[12_345 : 12_345 + 6789])
        self.assertTrue(await below == ciphertext[5:])
        self.assertEqual((await segment)[:2], (21_000, ciphertext[21_000:24_000]))
        self.assertEqual(await size, 3000)
        self.assertEqual(fired, [])
        self.assertEqual(self.hub.totals["fallbacks"], 1)
        self.flushLoggedErrors(KeyError)

    async def test_flow_control_after_the_fallback(self) -> None:
        """Pause, resume and stop reach the stock producer."""
        data = some_bytes(300_000)
        cap = await self.put(data, 3, 10, 3000)

        def pause(reader: Reader) -> None:
            reader.producer.pauseProducing()
            reactor.callLater(0, reader.producer.resumeProducing)

        node = self.node(cap)
        d = Deferred.fromCoroutine(self.read(node, reader=Reader(on_write=pause)))
        self.break_core(node)
        self.assertTrue(await d == data)
        node = self.node(cap)
        reader = Reader(on_write=lambda reader: reader.producer.stopProducing())
        d = node.read(reader, 0, None)
        self.break_core(node)
        await self.assertFailure(d, DownloadStopped)
        self.assertEqual((reader.registered, reader.unregistered), (1, 1))
        reader.producer.stopProducing()
        paused = Reader(on_register=lambda reader: reader.producer.pauseProducing())
        node = self.node(cap)
        d = node.read(paused, 0, None)
        self.break_core(node)
        await self.read(node, 0, 10)
        self.assertEqual(paused.chunks, [])
        paused.producer.stopProducing()
        await self.assertFailure(d, DownloadStopped)
        self.flushLoggedErrors(KeyError)

    async def test_errors_after_the_fallback(self) -> None:
        """Stock's own error reaches the reader."""
        cap = await self.put(some_bytes(300_000), 3, 10, 3000)
        self.delete_shares_numbered(cap, set(range(2, 10)))
        node = self.node(cap)
        d = node.read(Reader(), 0, None)
        self.break_core(node)
        await self.assertFailure(d, NotEnoughSharesError)
        self.flushLoggedErrors(KeyError)

    async def test_no_stock_to_fall_back_on(self) -> None:
        """If stock cannot be made either the requests fail, and the next one tries again."""
        data = some_bytes(300_000)
        cap = await self.put(data, 3, 10, 3000)
        node = self.node(cap)
        fast = self.node(cap)._cnode
        fast._maybe_create_download_node()

        def cannot(*_arguments: Any) -> Any:
            raise MemoryError("no room for hash trees")

        node._cnode._download_status = fast._download_status
        node._cnode._node = FastDownloadNode(
            node.get_verify_cap(), self.g.clients[FAST].storage_broker, None, None, None,
            fast._download_status, self.hub, cannot,
        )  # fmt: skip
        whole = node.read(Reader(), 0, None)
        segment, _cancel = node._cnode.get_segment(1)
        size = node._cnode.get_segment_size()
        self.break_core(node)
        for d in (whole, segment, size):
            await self.assertFailure(d, MemoryError)
        self.same(await self.outcome(node), (data, None))
        self.flushLoggedErrors(KeyError)

    async def test_shutdown_after_the_fallback(self) -> None:
        """Stopping the client stops the stock node that took over."""
        cap = await self.put(some_bytes(300_000), 3, 10, 3000)
        spies = self.spy()
        node = self.node(cap)
        fired: list[Any] = []
        node.read(Reader(), 0, None).addBoth(fired.append)
        self.break_core(node)
        await maybeDeferred(self.g.clients[FAST].terminator.disownServiceParent)
        reads = sum(len(spy.reads) for spy in spies)
        turn = iter(range(50))
        await self.turns(lambda: next(turn, None) is None)
        self.assertEqual(sum(len(spy.reads) for spy in spies), reads)
        self.assertEqual(fired, [])
        self.flushLoggedErrors(KeyError)

    async def test_slots_come_back(self) -> None:
        """Reads that were under way when our code broke do not count as such for ever."""
        cap = await self.put(some_bytes(300_000), 3, 10, 3000)
        spies = self.spy()
        for spy in spies:
            spy.answer_read = lambda _read, _ask: Deferred()
        node = self.node(cap)
        node.read(Reader(), 0, None)
        servers = self.hub.servers.values()
        await self.turns(lambda: sum(server.reads_in_flight for server in servers) >= 3)
        self.break_core(node)
        self.assertEqual(sum(server.reads_in_flight for server in servers), 0)
        self.assertEqual(sum(server.bytes_in_flight for server in servers), 0)
        self.flushLoggedErrors(KeyError)

    async def test_nothing_open(self) -> None:
        """A node that breaks between reads serves the next one with stock."""
        data = some_bytes(300_000)
        cap = await self.put(data, 3, 10, 3000)
        node = self.node(cap)
        await self.read(node, 0, 10)
        self.break_core(node)
        self.assertTrue(await self.read(node) == data)
        self.assertEqual(self.hub.totals["fallbacks"], 1)
        self.flushLoggedErrors(KeyError)


class Status(GridCase):
    """Tahoe's own download status, which its web page shows."""

    async def test_events_of_a_read(self) -> None:
        """Searches, reads, segments and the read itself are there, with true figures."""
        data = some_bytes(300_000)
        cap = await self.put(data, 3, 10, 3000)
        spies = self.spy()
        node = self.node(cap)
        await self.read(node, 30_000, 60_000)
        status: Any = node._cnode._download_status
        self.assertEqual(len(status.dyhb_requests), 10)
        for event in status.dyhb_requests:
            self.assertTrue(event["success"])
            self.assertGreaterEqual(event["finish_time"], event["start_time"])
        self.assertEqual(
            {shnum for event in status.dyhb_requests for shnum in event["response_shnums"]},
            set(range(10)),
        )
        sent = sorted((read.shnum, read.start, read.length) for spy in spies for read in spy.reads)
        told = [(e["shnum"], e["start"], e["length"]) for e in status.block_requests]
        self.assertEqual(sorted(told), sent)
        for event in status.block_requests:
            self.assertTrue(event["success"])
            self.assertGreaterEqual(event["finish_time"], event["start_time"])
            self.assertLessEqual(event["response_length"], event["length"])
        segments = {e["segment_number"]: e for e in status.segment_events}
        self.assertLessEqual(set(range(10, 30)), set(segments))
        for segnum, event in segments.items():
            self.assertTrue(event["success"])
            self.assertEqual(event["segment_start"], segnum * 3000)
            self.assertEqual(event["segment_length"], 3000)
            self.assertGreaterEqual(event["finish_time"], event["active_time"])
        (read,) = status.read_events
        self.assertEqual((read["start"], read["length"]), (30_000, 60_000))
        self.assertEqual(read["bytes_returned"], 60_000)
        self.assertIsNotNone(read["finish_time"])
        self.assertGreater(read["decrypt_time"], 0)
        self.assertTrue(status.misc_events)
        self.assertFalse(status.get_active())
        self.assertEqual(status.get_progress(), 1.0)

    async def test_events_of_failures(self) -> None:
        """A read that failed is finished; a server that raised and bad shares are told of."""
        data = some_bytes(300_000)
        cap = await self.put(data, 3, 4, 3000)
        spies = self.spy()
        holders = [spy for spy in spies if self.holds(spy, cap)]

        def broken(_read: SpyRead, _ask: Any) -> Any:
            raise ConnectionError("broken")

        for spy in holders[:2]:
            spy.answer_read = broken
        for spy in spies:
            if spy not in holders:
                spy.is_connected = False
        node = self.node(cap)
        _text, error = await self.outcome(node)
        self.assertIn(error, (NotEnoughSharesError, NoSharesError))
        status: Any = node._cnode._download_status
        self.assertFalse(status.get_active())
        self.assertTrue(any(not event["success"] for event in status.block_requests))
        self.assertTrue(any(not event["success"] for event in status.dyhb_requests))
        self.assertTrue(all(event["finish_time"] for event in status.block_requests))
        self.assertTrue(all(event["finish_time"] for event in status.read_events))

    def holds(self, spy: Any, cap: bytes) -> bool:
        """Whether this server has a share."""
        return any(server == spy.get_serverid() for _s, server, _p in self.find_uri_shares(cap))

    async def test_active_while_reading(self) -> None:
        """A read in progress shows as active, with the bytes delivered so far."""
        data = some_bytes(3_000_000)
        cap = await self.put(data, 3, 10, 128 * 1024)
        node = self.node(cap)
        seen: list[tuple[bool, float]] = []

        def look(_reader: Reader) -> None:
            status = node._cnode._download_status
            seen.append((status.get_active(), status.read_events[0]["bytes_returned"]))

        await self.read(node, reader=Reader(on_write=look))
        self.assertTrue(all(active for active, _bytes in seen))
        delivered = [count for _active, count in seen]
        self.assertEqual(delivered, sorted(delivered))
        self.assertLess(0, delivered[-1])
        self.assertLess(delivered[-1], len(data))

    async def test_paused_time_is_counted(self) -> None:
        """A pause shows in the read event."""
        cap = await self.put(some_bytes(300_000), 3, 10, 3000)
        node = self.node(cap)

        def pause(reader: Reader) -> None:
            reader.producer.pauseProducing()
            reactor.callLater(0, reader.producer.resumeProducing)

        await self.read(node, reader=Reader(on_write=pause))
        self.assertGreater(node._cnode._download_status.read_events[0]["paused_time"], 0)

    async def test_stats_counters_like_stock(self) -> None:
        """Tahoe's download counters move as they do with stock."""
        cap = await self.put(some_bytes(10_000), 3, 10, 3000)
        moved = []
        for which in (FAST, STOCK):
            provider = self.g.clients[which].stats_provider
            before = dict(provider.get_stats()["counters"])
            node = self.node(cap, which)
            await self.read(node, 5, 100)
            await self.read(node, 10_000, 100)
            after = provider.get_stats()["counters"]
            moved.append(
                {
                    name: after[name] - before.get(name, 0)
                    for name in ("downloader.files_downloaded", "downloader.bytes_downloaded")
                }
            )
        self.assertEqual(moved[0], moved[1])
        self.assertEqual(moved[0]["downloader.bytes_downloaded"], 100)

    async def test_stock_client_is_stock(self) -> None:
        """The client that is not enabled downloads with Tahoe's own class."""
        cap = await self.put(some_bytes(10_000))
        node = self.node(cap, STOCK)
        await self.read(node)
        self.assertIs(self.served_by(node), DownloadNode)
