"""What Tahoe's own status and counters say of a FastDownloadNode's reads."""

from __future__ import annotations

from typing import Any

from allmydata.immutable.downloader.node import DownloadNode
from allmydata.interfaces import NoSharesError, NotEnoughSharesError
from twisted.internet import reactor

from .gridcase import FAST, STOCK, GridCase, Reader, some_bytes
from .spies import SpyRead


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
