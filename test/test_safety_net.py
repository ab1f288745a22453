"""An error of our own, at each stage of a download, costs nobody a byte.

Each test makes one of our functions raise once, where a download is at that stage, on
a real grid.  Whatever is open then goes on with the stock downloader from the byte that was
reached; that is counted once and logged once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from allmydata import uri
from allmydata.immutable.downloader.node import DownloadNode
from attrs import frozen
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from tahoe_fastdl import node as node_module
from tahoe_fastdl import seam
from tahoe_fastdl.core import covering
from tahoe_fastdl.core.books import Books
from tahoe_fastdl.core.covering import Covering
from tahoe_fastdl.core.download import Download
from tahoe_fastdl.core.geometry import Geometry
from tahoe_fastdl.core.intake import Intake
from tahoe_fastdl.core.ledger import Ledger
from tahoe_fastdl.core.metadata import Metadata
from tahoe_fastdl.core.opening import Opening
from tahoe_fastdl.core.proving import Proving
from tahoe_fastdl.core.rows import Rows
from tahoe_fastdl.core.scouting import Scouts
from tahoe_fastdl.core.share import Share
from tahoe_fastdl.core.window import Account
from tahoe_fastdl.node import FastDownloadNode
from tahoe_fastdl.shell import batches, worker
from tahoe_fastdl.shell.batches import Batches
from tahoe_fastdl.shell.delivery import Delivery
from tahoe_fastdl.shell.driver import Driver
from tahoe_fastdl.shell.finder import Finder
from tahoe_fastdl.shell.hub import Hub
from tahoe_fastdl.shell.parking import Parking
from tahoe_fastdl.shell.watcher import Watcher
from tahoe_fastdl.shell.wire import Wire

from .gridcase import STOCK, GridCase, Reader, some_bytes
from .shareedit import edit_share, fields_of, overwrite, share_of

SIZE = 3_000_000
RANGE = (123_456, 1_500_000)


class LawBrokenError(Exception):
    """What our own code is made to raise."""


@frozen
class Stage:
    """One of our functions, and at which of its calls it raises."""

    owner: Any
    name: str
    call: int = 1


STAGES = {
    "making_the_node": Stage(FastDownloadNode, "__init__"),
    "looking_for_a_parked_download": Stage(Parking, "take"),
    "making_the_driver": Stage(node_module, "Driver"),
    "making_the_core": Stage(Download, "__init__"),
    "numbering_a_reader": Stage(Driver, "new_reader"),
    "numbering_another_reader": Stage(Driver, "new_reader", 2),
    "making_the_delivery": Stage(node_module, "_ReadDelivery"),
    "joining": Stage(Hub, "on_reader_joining"),
    "the_first_event": Stage(Download, "receive"),
    "a_later_event": Stage(Download, "receive", 9),
    "searching": Stage(Finder, "find"),
    "asking_one_server": Stage(Finder, "_ask", 3),
    "an_answer_to_the_search": Stage(Finder, "_answered"),
    "the_last_answer_to_the_search": Stage(Finder, "_answered", 10),
    "scouting": Stage(Scouts, "scout"),
    "sending_a_scout": Stage(Scouts, "_send_scout", 2),
    "sending_a_read": Stage(Wire, "send"),
    "sending_a_late_read": Stage(Wire, "send", 6),
    "an_answer": Stage(Wire, "_answered"),
    "a_late_answer": Stage(Wire, "_answered", 6),
    "keeping_an_answer": Stage(Intake, "keep", 2),
    "seeking_the_ueb": Stage(Metadata, "seek_ueb"),
    "the_geometry": Stage(Geometry, "of"),
    "what_scouts_brought": Stage(Scouts, "convert"),
    "seeking_hashes": Stage(Opening, "seek_pages"),
    "entering_hashes": Stage(Metadata, "seek_page"),
    "admitting": Stage(Covering, "admit"),
    "how_much_to_admit": Stage(Covering, "_stripe"),
    "choosing_shares": Stage(covering, "choose_shares"),
    "covering": Stage(Covering, "cover"),
    "a_desire": Stage(Ledger, "desire", 5),
    "cutting_reads": Stage(covering, "cut_reads"),
    "reserving": Stage(Account, "reserve", 3),
    "releasing": Stage(Account, "release"),
    "noting_blocks": Stage(Rows, "on_blocks", 2),
    "keeping_blocks": Stage(Share, "keep_blocks", 2),
    "starting_a_worker": Stage(Proving, "_start"),
    "starting_another_worker": Stage(Proving, "_start", 2),
    "handing_to_a_worker": Stage(Batches, "decode"),
    "decoding": Stage(batches, "decode_batch"),
    "decoding_later": Stage(batches, "decode_batch", 2),
    "decrypting": Stage(worker, "crypt"),
    "a_decoded_batch": Stage(Batches, "_on_decoded"),
    "entering_a_batch": Stage(Proving, "finish", 2),
    "delivering": Stage(Driver, "_deliver"),
    "writing": Stage(Delivery, "take"),
    "writing_later": Stage(Delivery, "take", 2),
    "noting_what_was_delivered": Stage(FastDownloadNode, "_on_delivered"),
    "the_load": Stage(Hub, "cpu_busy", 2),
    "the_next_deadline": Stage(Download, "next_deadline", 2),
    "setting_the_timer": Stage(Driver, "_set_timer", 2),
    "adding_counters_up": Stage(Driver, "_account"),
    "waking_others": Stage(Hub, "wake_others"),
    "a_reader_leaving": Stage(FastDownloadNode, "_on_left"),
    "nobody_reads": Stage(FastDownloadNode, "_on_idle"),
    "parking": Stage(Parking, "put"),
}


class SafetyNet(GridCase):
    """Each stage of a download with 3-of-10."""

    timeout = 60

    def break_at(self, stage: Stage) -> list[int]:
        """From now on that call raises, once.  The list gets the number of it when it does."""
        real, calls, raised = getattr(stage.owner, stage.name), [0], list[int]()
        raw = vars(stage.owner).get(stage.name)

        def breaking(*arguments: Any, **named: Any) -> Any:
            calls[0] += 1
            if calls[0] == stage.call:
                raised.append(calls[0])
                raise LawBrokenError(stage.name)
            return real(*arguments, **named)

        is_bound = isinstance(raw, (classmethod, staticmethod))
        self.patch(stage.owner, stage.name, staticmethod(breaking) if is_bound else breaking)
        return raised

    def counted_and_logged_once(self, cap: bytes) -> None:
        """The fallback is in the counters and the log, once, without the cap."""
        self.assertEqual(self.hub.totals.get("fallbacks"), 1)
        logged = self.flushLoggedErrors(LawBrokenError)
        self.assertEqual(len(logged), 1)
        told = logged[0].getTraceback()
        for secret in (cap, uri.from_string(cap).key.hex().encode()):
            self.assertNotIn(secret.decode("ascii"), told)

    async def nothing_is_left(self) -> None:
        """All reserved bytes and slots are given back, and no timer of ours waits."""
        await self.turns(lambda: self.hub.budget.used_bytes == 0)
        self.assertEqual(self.hub.budget.promised_bytes, 0)
        for server in self.hub.servers.values():
            self.assertEqual((server.reads_in_flight, server.bytes_in_flight), (0, 0))
        timers = [call for call in reactor.getDelayedCalls() if "Driver" in str(call)]
        self.assertEqual(timers, [])

    async def survive(self, cap: bytes, data: bytes, stage: Stage, start: int, size: int) -> None:
        """One read that meets the error, another of the same node beside it, and two after it."""
        self.enable(dict(self.options))
        stop = min(start + size, len(data))
        node = self.node(cap)
        raised = self.break_at(stage)
        beside = Reader()
        first = Deferred.fromCoroutine(self.read(node, start, size))
        second = Deferred.fromCoroutine(self.read(node, 10, 500_000, beside))
        self.assertTrue(await first == data[start:stop])
        self.assertTrue(await second == data[10:500_010])
        await self.turns(lambda: raised)  # what comes after the last byte comes soon
        await self.turns(lambda: self.hub.totals.get("fallbacks"))
        self.counted_and_logged_once(cap)
        self.assertTrue(await self.read(node, start, size) == data[start:stop])
        self.assertTrue(await self.read(self.node(cap)) == data)
        self.assertEqual(self.hub.totals["fallbacks"], 1)
        await self.nothing_is_left()
        await self.turns(lambda: len(self.hub.parking) == 1)  # the last one's last turn

    async def survive_everywhere(self, stage: Stage) -> None:
        """A whole file, and a range of it."""
        data = some_bytes(SIZE)
        cap = await self.put(data, 3, 10, 128 * 1024)
        for start, size in ((0, SIZE), RANGE):
            await self.survive(cap, data, stage, start, size)

    async def test_choosing_a_node(self) -> None:
        """Before it is known which downloader a client wants, nothing can be counted."""
        data = some_bytes(300_000)
        cap = await self.put(data)
        node = self.node(cap)
        self.break_at(Stage(seam, "hub_for"))
        self.assertTrue(await self.read(node) == data)
        self.assertEqual(len(self.flushLoggedErrors(LawBrokenError)), 1)
        self.assertTrue(await self.read(self.node(cap)) == data)
        self.no_fallbacks()

    async def test_stock_that_cannot_be_made_either(self) -> None:
        """The request that meets it fails in its Deferred, and the next one is ours again."""
        data = some_bytes(300_000)
        cap = await self.put(data, 3, 10, 3000)
        requests: tuple[Callable[[Any], Deferred[Any]], ...] = (
            lambda node: node.read(Reader(), 0, None),
            lambda node: node._cnode.get_segment(1)[0],
            lambda node: node._cnode.get_segment_size(),
        )
        for request in requests:
            self.enable(dict(self.options))
            node = self.node(cap)
            self.break_at(Stage(node_module, "Driver"))
            self.break_at(Stage(DownloadNode, "__init__"))
            await self.assertFailure(request(node), LawBrokenError)
            self.counted_and_logged_once(cap)
            self.assertTrue(await self.read(node) == data)
            self.assertEqual(self.hub.totals["fallbacks"], 1)
            self.assertEqual(self.hub.totals["downloads"], 1)
            await self.nothing_is_left()

    async def test_stock_that_refuses_a_read(self) -> None:
        """If stock raises where it should return a Deferred, that costs this read and no other."""
        data = some_bytes(SIZE)
        cap = await self.put(data, 3, 10, 128 * 1024)
        node = self.node(cap)
        self.break_at(Stage(Download, "receive", 9))
        raised = self.break_at(Stage(DownloadNode, "read"))
        first = node.read(Reader(), 0, None)
        second = Deferred.fromCoroutine(self.read(node, 10, 500_000))
        await self.assertFailure(first, LawBrokenError)
        self.assertTrue(await second == data[10:500_010])
        self.assertTrue(raised)
        self.counted_and_logged_once(cap)
        await self.nothing_is_left()

    async def test_stock_that_refuses_a_segment(self) -> None:
        """The same of what asks for a segment: neither it nor what is behind it waits for ever."""
        data = some_bytes(SIZE)
        cap = await self.put(data, 3, 10, 128 * 1024)
        node = self.node(cap)._cnode
        self.break_at(Stage(Download, "receive", 9))
        raised = self.break_at(Stage(DownloadNode, "get_segment"))
        first, _cancel = node.get_segment(1)
        second, _cancel = node.get_segment(2)
        await self.assertFailure(first, LawBrokenError)
        theirs = await self.node(cap, STOCK)._cnode.get_segment(2)[0]
        self.assertEqual((await second)[:2], theirs[:2])
        self.assertTrue(raised)
        self.counted_and_logged_once(cap)
        await self.nothing_is_left()

    async def test_asking_for_a_segment(self) -> None:
        """What asks for a segment or for their size is left to stock like a read."""
        data = some_bytes(300_000)
        cap = await self.put(data, 3, 10, 3000)
        ciphertext = await self.read(self.node(cap, STOCK)._cnode)
        for is_first in (True, False):
            self.enable(dict(self.options))
            node = self.node(cap)._cnode
            raised = self.break_at(Stage(Driver, "new_reader", 1 if is_first else 2))
            segment, _cancel = node.get_segment(7)
            size = node.get_segment_size()
            self.assertEqual((await segment)[:2], (21_000, ciphertext[21_000:24_000]))
            self.assertEqual(await size, 3000)
            self.assertTrue(raised)
            self.counted_and_logged_once(cap)
            await self.nothing_is_left()

    async def test_taking_a_parked_download(self) -> None:
        """A parked download that cannot be taken over is stopped: nobody else would do it."""
        data = some_bytes(300_000)
        cap = await self.put(data, 3, 10, 3000)
        for stage in (Stage(Driver, "adopt"), Stage(Watcher, "adopt"), Stage(Driver, "is_usable")):
            self.enable(dict(self.options))
            await self.read(self.node(cap))
            await self.turns(lambda: len(self.hub.parking) == 1)
            (parked,) = self.hub.downloads
            raised = self.break_at(stage)
            self.assertTrue(await self.read(self.another_node(cap)) == data)
            self.assertTrue(raised)
            self.counted_and_logged_once(cap)
            self.assertNotIn(parked, self.hub.downloads)
            await self.nothing_is_left()

    async def test_breaking_while_parked(self) -> None:
        """A parked download that breaks costs its next reader nothing but a search."""
        data = some_bytes(300_000)
        cap = await self.put(data, 3, 10, 3000)
        self.enable(dict(self.options))
        await self.read(self.node(cap))
        await self.turns(lambda: len(self.hub.parking) == 1)
        (parked,) = self.hub.downloads
        assert isinstance(parked, Driver)
        parked.break_off(Failure(LawBrokenError("while parked")))
        self.assertTrue(await self.read(self.another_node(cap)) == data)
        self.counted_and_logged_once(cap)
        await self.nothing_is_left()

    async def test_resuming(self) -> None:
        """The error comes while the consumer resumes; it gets each byte once all the same."""
        data = some_bytes(SIZE)
        cap = await self.put(data, 3, 10, 128 * 1024)

        raised: list[list[int]] = []

        def resume(reader: Reader) -> None:
            if not raised:
                raised.append(self.break_at(Stage(Download, "receive")))
            reader.producer.resumeProducing()

        def pause(reader: Reader) -> None:
            reader.producer.pauseProducing()
            reactor.callLater(0, resume, reader)

        node = self.node(cap)
        reader = Reader(on_write=pause)
        self.assertTrue(await self.read(node, reader=reader) == data)
        self.assertEqual(raised, [[1]])
        self.counted_and_logged_once(cap)
        await self.nothing_is_left()

    async def test_inquest(self) -> None:
        """The error comes while a corrupt share is examined."""
        stages = (Stage(Proving, "_on_bad"), Stage(Proving, "_examine"), Stage(Books, "advise"))
        for seed, stage in enumerate(stages):
            self.enable(dict(self.options))
            data = some_bytes(300_000, seed)
            cap = await self.put(data, 3, 10, 3000)
            for path in self.paths(cap, {0, 1}):
                start, stop = fields_of(share_of(path))["blocks"]
                edit_share(path, overwrite(start, bytes(stop - start)))
            raised = self.break_at(stage)
            self.assertTrue(await self.read(self.node(cap)) == data, stage)
            self.assertTrue(raised)
            self.assertEqual(self.hub.totals.get("fallbacks"), 1)
            self.assertEqual(len(self.flushLoggedErrors(LawBrokenError)), 1)
            await self.nothing_is_left()

    async def test_stopping_what_is_broken(self) -> None:
        """If even stopping fails, that is logged as well, and stock goes on."""
        data = some_bytes(300_000)
        cap = await self.put(data, 3, 10, 3000)
        self.break_at(Stage(Proving, "_start"))
        self.break_at(Stage(Watcher, "stopped"))
        self.assertTrue(await self.read(self.node(cap)) == data)
        self.assertEqual(self.hub.totals.get("fallbacks"), 1)
        self.assertEqual(len(self.flushLoggedErrors(LawBrokenError)), 2)
        await self.nothing_is_left()

    async def test_recording(self) -> None:
        """An error while a download is recorded ends the recording, not the download."""
        data = some_bytes(300_000)
        cap = await self.put(data, 3, 10, 3000)
        for name in ("_begin", "_after"):
            self.break_at(Stage(Watcher, name))
            self.assertTrue(await self.read(self.node(cap)) == data)
            self.assertEqual(len(self.flushLoggedErrors(LawBrokenError)), 1)
        self.no_fallbacks()

    async def test_waking_one_that_breaks(self) -> None:
        """A download that breaks when another wakes it does not take that one along."""
        data = some_bytes(SIZE)
        cap = await self.put(data, 3, 10, 128 * 1024)
        other = await self.put(some_bytes(SIZE, 5), 3, 10, 128 * 1024)
        raised = self.break_at(Stage(Download, "wake"))
        both = [Deferred.fromCoroutine(self.read(self.node(each))) for each in (cap, other)]
        self.assertTrue(await both[0] == data)
        self.assertTrue(await both[1] == some_bytes(SIZE, 5))
        self.assertTrue(raised)
        self.counted_and_logged_once(cap)


def _test_of(stage: Stage) -> Callable[[SafetyNet], Awaitable[None]]:
    async def test(self: SafetyNet) -> None:
        await self.survive_everywhere(stage)

    return test


for _label, _stage in STAGES.items():
    setattr(SafetyNet, f"test_stage_{_label}", _test_of(_stage))
