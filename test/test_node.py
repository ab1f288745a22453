"""FastDownloadNode against the stock DownloadNode, on one grid: same bytes, same errors."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from allmydata.immutable import layout
from allmydata.immutable.downloader.common import BadSegmentNumberError
from allmydata.interfaces import NoSharesError
from twisted.internet.defer import Deferred, gatherResults

from tahoe_fastdl.node import FastDownloadNode

from .gridcase import FAST, STOCK, GridCase, some_bytes
from .shareedit import share_of


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
