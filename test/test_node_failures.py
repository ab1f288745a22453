"""FastDownloadNode where shares lack or lie, and where our own code breaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from allmydata.immutable.downloader.common import BadCiphertextHashError
from allmydata.interfaces import DownloadStopped, NoSharesError, NotEnoughSharesError
from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred

from tahoe_fastdl.node import FastDownloadNode

from .gridcase import FAST, STOCK, GridCase, Reader, some_bytes
from .shareedit import edit_share, fields_of, flip, forge_ciphertext_leaf, forge_ueb, share_of
from .spies import SpyRead


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
