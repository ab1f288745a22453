"""The page as a browser, a monitor and a stranger meet it: on a client's real web port."""

from __future__ import annotations

from pathlib import Path

from allmydata.storage.common import si_b2a
from allmydata.util import base32

from tahoe_fastdl import __version__

from .gridcase import Reader, some_bytes
from .metricscheck import parse
from .recordcheck import check_document, check_trace
from .webcase import WebCase


class Overview(WebCase):
    """The index, its document and its metrics."""

    async def test_empty(self) -> None:
        """Before the first download everything is there and says so."""
        document = await self.overview()
        self.assertEqual(document["format"], "tahoe-fastdl-overview")
        self.assertEqual((document["version"], document["plugin"]), (1, __version__))
        self.assertTrue(document["active"])
        self.assertIsNone(document["why_not"])
        self.assertIsNone(document["last_fallback"])
        self.assertEqual((document["downloads"], document["servers"]), ([], []))
        self.assertEqual(document["totals"]["downloads"], 0)
        page = await self.page()
        self.assertIn("Nothing was downloaded since the node started.", page.text)
        self.assertIn('<main id="overview" data-src="v1/overview.json">', page.text)
        self.assertEqual(page.header("content-type"), "text/html; charset=utf-8")
        parse((await self.page("metrics")).text)

    async def test_after_a_download(self) -> None:
        """A download is in the overview, on the page, and adds up in all of them."""
        data = some_bytes(400_000)
        cap = await self.put(data, 3, 6, 3000)
        self.assertTrue(await self.web_read(cap) == data)
        await self.quiet()
        document = await self.overview()
        (each,) = document["downloads"]
        self.assertEqual((each["state"], each["kind"], each["why"]), ("done", "fast", None))
        self.assertEqual((each["size"], each["k"], each["n"]), (len(data), 3, 6))
        self.assertEqual((each["segment_size"], each["num_segments"]), (3000, 134))
        self.assertEqual((each["wanted_bytes"], each["delivered_bytes"]), (len(data), len(data)))
        self.assertGreater(each["received_bytes"], len(data))
        self.assertLess(0, each["first_byte_s"])
        self.assertLess(each["first_byte_s"], each["seconds"])
        self.assertEqual((each["window_bytes"], each["left_s"]), (0, None))
        self.assertEqual(len(document["servers"]), 6)
        for key in ("reads", "bytes"):
            total = sum(server[key] for server in document["servers"])
            self.assertEqual(total, each["reads" if key == "reads" else "received_bytes"])
        self.assertEqual(document["totals"]["delivered_bytes"], len(data))
        page = (await self.page()).text
        self.assertIn(f'href="download?id={each["id"]}"', page)
        self.assertIn(each["storage_index"][:12], page)

    async def test_running(self) -> None:
        """A download that waits is shown as running, with what is out, and then as done."""
        data = some_bytes(5_000_000)  # in several pieces
        cap = await self.put(data, 3, 6, 30_000)
        node = self.node(cap)
        reader = Reader(on_write=lambda reader: reader.producer.pauseProducing())
        d = node.read(reader, 0, None)
        await self.turns(lambda: reader.chunks)
        reader.producer.resumeProducing()  # and it pauses on the next piece
        await self.turns(lambda: len(reader.chunks) > 1)
        (each,) = (await self.overview())["downloads"]
        self.assertEqual(each["state"], "running")
        self.assertLess(0, each["delivered_bytes"])
        document = (await self.page(f"v1/downloads/{each['id']}.json")).json()
        check_document(self, document)
        self.assertEqual([row[2] is None for row in document["pauses"]], [False, True])
        self.assertIn("tahoe_fastdl_downloads_running 1\n", (await self.page("metrics")).text)
        reader._on_write = None
        reader.producer.resumeProducing()
        await d
        await self.quiet()
        (each,) = (await self.overview())["downloads"]
        self.assertEqual((each["state"], each["delivered_bytes"]), ("done", len(data)))

    async def test_fallback(self) -> None:
        """The last fallback is told with its reason, in the overview and on the page."""
        data = some_bytes(300_000)
        cap = await self.put(data, 3, 6, 3000)
        node = self.node(cap)
        d = node.read(Reader(), 0, None)
        node._cnode._node._driver.feed(object())
        self.assertTrue((await d).text == data)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        document = await self.overview()
        (each,) = document["downloads"]
        self.assertEqual((each["kind"], each["state"]), ("fallback", "fallback"))
        last = document["last_fallback"]
        self.assertEqual(last["id"], each["id"])
        self.assertTrue(last["reason"].startswith("KeyError"), last)
        self.assertIn("KeyError", (await self.page()).text)
        self.assertIn("tahoe_fastdl_fallbacks_total 1\n", (await self.page("metrics")).text)

    async def test_failure(self) -> None:
        """A download that fails says why."""
        cap = await self.put(some_bytes(300_000), 3, 6, 3000)
        self.delete_shares_numbered(cap, set(range(1, 6)))
        await self.outcome(self.node(cap))
        (each,) = (await self.overview())["downloads"]
        self.assertEqual(each["state"], "failed")
        self.assertIn("NotEnoughShares", each["why"])

    async def test_lies_are_counted(self) -> None:
        """A server whose share is corrupt is told apart, and its bad blocks are in the map."""
        data = some_bytes(300_000)
        cap = await self.put(data, 3, 6, 3000)
        (path,) = self.paths(cap, {0})
        share = bytearray(Path(path).read_bytes())
        share[5000] ^= 1
        Path(path).write_bytes(bytes(share))
        self.same(await self.outcome(self.node(cap)), (data, None))
        await self.quiet()
        document = await self.overview()
        self.assertEqual(sum(server["lies"] for server in document["servers"]), 1)
        (each,) = document["downloads"]
        events = (await self.page(f"v1/downloads/{each['id']}.json")).json()
        bad = [row for row in events["map"] if row[4] == "bad"]
        self.assertEqual({events["shares"][row[1]]["shnum"] for row in bad}, {0})
        self.assertTrue(any("sh0" in text for _at, text in events["problems"]))

    async def test_without_a_recorder(self) -> None:
        """A download that nobody records has no watcher, and the page still works."""
        self.hub.recorder = None
        data = some_bytes(300_000)
        node = self.node(await self.put(data, 3, 6, 3000))
        d = node.read(Reader(), 0, None)
        driver = node._cnode._node._driver
        self.assertIsNone(driver.watcher)
        self.assertEqual(driver._receive, driver.core.receive)
        self.assertTrue((await d).text == data)
        document = await self.overview()
        self.assertEqual((document["downloads"], document["servers"]), ([], []))
        self.assertEqual(document["totals"]["downloads"], 1)
        await self.page()
        parse((await self.page("metrics")).text)

    async def test_one_node_that_reads_on(self) -> None:
        """What one file node reads is one download, also with pauses between its reads."""
        self.enable({"memory": "8 MiB", "remember": "0 s"})
        data = some_bytes(300_000)
        node = self.node(await self.put(data, 3, 6, 3000))
        for start in (0, 100_000, 200_000):
            await self.read(node, start, 50_000)
            await self.quiet()
        (each,) = (await self.overview())["downloads"]
        self.assertEqual((each["wanted_bytes"], each["delivered_bytes"]), (150_000, 150_000))
        self.assertEqual(each["state"], "done")

    async def test_a_segment(self) -> None:
        """Repair and verification read segments; what they get counts as delivered."""
        node = self.node(await self.put(some_bytes(300_000), 3, 6, 3000))
        d, _cancel = node._cnode.get_segment(7)
        await d
        await self.quiet()
        (each,) = (await self.overview())["downloads"]
        self.assertEqual((each["wanted_bytes"], each["delivered_bytes"]), (3000, 3000))
        self.assertEqual(each["state"], "done")

    async def test_read_again(self) -> None:
        """A reader that takes a parked download has one of its own, without a search."""
        data = some_bytes(300_000)
        cap = await self.put(data, 3, 6, 3000)
        await self.read(self.node(cap))
        await self.turns(lambda: len(self.hub.parking) == 1)
        await self.read(self.another_node(cap), 120_000, 6000)
        await self.quiet()
        second, first = (await self.overview())["downloads"]
        self.assertEqual((first["wanted_bytes"], second["wanted_bytes"]), (len(data), 6000))
        events = (await self.page(f"v1/downloads/{second['id']}.json")).json()
        self.assertEqual(events["dyhb"], [])
        self.assertEqual(len(events["reads"]), second["reads"])
        check_document(self, events)
        first_sample = dict(zip(events["columns"]["samples"], events["samples"][0]))
        self.assertEqual(first_sample["delivered_bytes"], 0)
        self.assertLess(first_sample["changes"], 50)  # not those of the download before


class OneDownload(WebCase):
    """The documents of one download."""

    async def read_one(self) -> int:
        """The number of a finished download."""
        data = some_bytes(400_000)
        self.cap = await self.put(data, 3, 6, 3000)
        await self.web_read(self.cap)
        await self.quiet()
        (each,) = (await self.overview())["downloads"]
        return int(each["id"])

    async def test_document(self) -> None:
        """It has the documented columns, and its rows add up to its summary."""
        number = await self.read_one()
        document = (await self.page(f"v1/downloads/{number}.json")).json()
        check_document(self, document)
        summary = document["summary"]
        self.assertEqual(len(document["reads"]), summary["reads"])
        self.assertEqual(set(document["thinned"].values()), {0})
        self.assertEqual(len(document["dyhb"]), 6)
        self.assertEqual({row[4] for row in document["dyhb"]}, {"ok"})
        delivered = sum(stop - start for _reader, _at, start, stop in document["deliveries"])
        self.assertEqual(delivered, summary["delivered_bytes"])
        covered = {s for row in document["work"] if row[0] == "decode" for s in range(*row[3:5])}
        self.assertEqual(covered, set(range(summary["num_segments"])))
        had = [0] * summary["num_segments"]
        for _at, _share, first, stop, state in document["map"]:
            for segment in range(first, stop) if state == "have" else ():
                had[segment] += 1
        self.assertGreaterEqual(min(had), 3)
        last = document["samples"][-1]
        self.assertEqual(last[1], summary["delivered_bytes"])
        self.assertEqual(last[3:5], [0, 0])  # nothing is asked for or held any more

    async def test_trace(self) -> None:
        """Perfetto's document has every read, DYHB and piece of work."""
        number = await self.read_one()
        document = (await self.page(f"v1/downloads/{number}.json")).json()
        trace = (await self.page(f"v1/downloads/{number}.trace.json")).json()
        check_trace(self, document)
        kinds = [event.get("cat") for event in trace["traceEvents"] if event["ph"] == "X"]
        for kind, rows in (("read", "reads"), ("dyhb", "dyhb"), ("work", "work")):
            self.assertEqual(kinds.count(kind), len(document[rows]))

    async def test_saved(self) -> None:
        """With save=1 a browser saves the same document under a name of its own."""
        number = await self.read_one()
        shown = await self.page(f"v1/downloads/{number}.json")
        saved = await self.page(f"v1/downloads/{number}.json?save=1")
        self.assertIsNone(shown.header("content-disposition"))
        self.assertEqual(
            saved.header("content-disposition"),
            f'attachment; filename="tahoe-fastdl-download-{number}.json"',
        )
        self.assertEqual(shown.json(), saved.json())

    async def test_shell(self) -> None:
        """The viewer's page names its document, and shows tables to who has no script."""
        number = await self.read_one()
        page = (await self.page(f"download?id={number}")).text
        self.assertIn(f'<main id="viewer" data-src="v1/downloads/{number}.json">', page)
        self.assertIn("slowest read", page)
        empty = (await self.page("download?file")).text
        self.assertIn('<main id="viewer">', empty)

    async def test_nothing_secret(self) -> None:
        """No address tells a cap, a key, a hash or a byte of the file."""
        number = await self.read_one()
        _uri, _chk, key, ueb_hash, *_rest = self.cap.split(b":")
        node = self.node(self.cap)
        secrets = (b"URI:", key, ueb_hash, base32.a2b(key).hex().encode(), some_bytes(16))
        for path in (
            "", f"download?id={number}", "v1/overview.json", f"v1/downloads/{number}.json",
            f"v1/downloads/{number}.trace.json", "metrics", "counters.json",
        ):  # fmt: skip
            body = (await self.page(path)).body
            for secret in secrets:
                self.assertNotIn(secret, body, path)
        document = (await self.page(f"v1/downloads/{number}.json")).json()
        index = si_b2a(node.get_storage_index()).decode()
        self.assertEqual(document["summary"]["storage_index"], index)
