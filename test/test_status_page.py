"""The page as a browser, a monitor and a stranger meet it: on a client's real web port."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import treq
from allmydata.storage.common import si_b2a
from allmydata.util import base32
from twisted.web.error import FlattenerError
from twisted.web.http_headers import Headers
from twisted.web.template import Element, TagLoader, tags

from tahoe_fastdl import __version__
from tahoe_fastdl.settings import PLUGIN_NAME
from tahoe_fastdl.status.shells import render
from tahoe_fastdl.status.web import HEADERS, StaticFiles

from .gridcase import FAST, GridCase, Reader, some_bytes
from .metricscheck import parse
from .test_status_record import check_document, check_trace

PAGE = f"/storage-plugins/{PLUGIN_NAME}/"
HOSTILE = "<script>alert(1)</script>\"'&\u202e\x00\n\\ {}"


class Answer:
    """An answer of the web port."""

    def __init__(self, response: Any, body: bytes) -> None:
        self.code: int = response.code
        self.body = body
        self._headers = response.headers

    @property
    def text(self) -> str:
        """The body of what is text."""
        return self.body.decode("utf-8")

    def header(self, name: str) -> str | None:
        """The only header of this name, or None."""
        found = self._headers.getRawHeaders(name, [])
        assert len(found) < 2, found
        return str(found[0]) if found else None

    def json(self) -> Any:
        """The document."""
        return json.loads(self.text)


class WebCase(GridCase):
    """A grid whose fast client is asked through its web port."""

    servers = 6

    def setUp(self) -> Any:
        """Enable the plugin before the web port looks for its page."""
        done = super().setUp()
        client = self.g.clients[FAST]
        broker = client.storage_broker
        broker.node_config = client.config
        resources = broker_resources(client.config)
        client.get_client_storage_plugin_web_resources = lambda: resources
        return done

    async def ask(
        self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """A request to the fast client's web port, which follows nowhere."""
        response = await treq.request(
            method,
            self.client_baseurls[FAST].rstrip("/") + path,
            headers=Headers({name: [value] for name, value in (headers or {}).items()}),
            persistent=False,
            allow_redirects=False,
        )
        return Answer(response, await treq.content(response))

    async def page(self, path: str = "") -> Answer:
        """Something of ours, which must be there and carry its headers."""
        answer = await self.ask(PAGE + path)
        self.assertEqual(answer.code, 200, (path, answer.text[:300]))
        self.check_headers(answer)
        return answer

    def check_headers(self, answer: Answer) -> None:
        """Fail unless an answer carries what each of ours must."""
        for name, value in HEADERS.items():
            if name == b"cache-control" and answer.header("etag"):
                continue
            self.assertEqual(answer.header(name.decode()), value.decode(), name)

    async def overview(self) -> Any:
        """The document of the overview."""
        return (await self.page("v1/overview.json")).json()

    async def web_read(self, cap: bytes) -> bytes:
        """Read a file through the web port, as people do."""
        answer = await self.ask("/uri/" + quote(cap.decode(), safe=""))
        self.assertEqual(answer.code, 200)
        return answer.body

    async def quiet(self) -> None:
        """Let downloads come to their end."""
        await self.turns(lambda: all(r.seconds is not None for r in self.recorded()))

    def recorded(self) -> Any:
        """The journal of the fast client."""
        return list(self.hub.recorder)  # type: ignore[call-overload]  # it is a Journal


def broker_resources(config: Any) -> dict[str, Any]:
    """What Tahoe's own storage broker mounts for a client that enabled us."""
    from .gridcase import broker_of

    broker = broker_of(f"[client]\nstorage.plugins = {PLUGIN_NAME}\n")
    resources: dict[str, Any] = broker.get_client_storage_plugin_web_resources(config)
    return resources


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


class Strangers(WebCase):
    """Hostile names, wrong addresses, other methods."""

    async def test_hostile_nicknames(self) -> None:
        """What a server calls itself is text, wherever it is shown."""
        for server in self.spy():
            server.real.get_nickname = lambda: HOSTILE * 20
        cap = await self.put(some_bytes(100_000), 3, 6, 3000)
        await self.web_read(cap)
        await self.quiet()
        (each,) = (await self.overview())["downloads"]
        for path in ("", f"download?id={each['id']}"):
            body = (await self.page(path)).text
            self.assertNotIn("<script>alert", body)
            self.assertIn("&lt;script&gt;alert", body)
        document = await self.overview()
        for server in document["servers"]:
            self.assertTrue(server["name"].startswith("<script>alert(1)</script>"))
            self.assertLessEqual(len(server["name"]), 64)
            self.assertNotRegex(server["name"], "[\x00-\x1f\u202e]")
        families = parse((await self.page("metrics")).text)
        names = {
            labels["server"] for _n, labels, _v in families["tahoe_fastdl_server_reads"].samples
        }
        self.assertEqual(names, {server["name"] for server in document["servers"]})
        check_trace(self, (await self.page(f"v1/downloads/{each['id']}.json")).json())

    async def test_unknown_addresses(self) -> None:
        """What is not there is 404 in JSON, with all headers."""
        for path in (
            "v1/downloads/1.json", "v1/downloads/0", "v1/downloads/1.trace.json", "v1/", "v2/x",
            "v1/downloads/" + "9" * 40 + ".json", "static/", "static/nothing.js",
            "static/..%2Fpage.py", "static/%2e%2e/page.py", "nothing", "metrics/more",
        ):  # fmt: skip
            answer = await self.ask(PAGE + path)
            self.assertEqual(answer.code, 404, path)
            self.assertEqual(answer.json(), {"error": "not found"})
            self.check_headers(answer)
        answer = await self.ask(PAGE + "download?id=77")
        self.assertEqual(answer.code, 404)
        self.check_headers(answer)

    async def test_only_reading(self) -> None:
        """Nothing but GET and HEAD; HEAD says what GET would."""
        for path in ("", "v1/overview.json", "metrics", "counters.json", "download", "nothing"):
            for method in ("POST", "PUT", "DELETE", "OPTIONS"):
                answer = await self.ask(PAGE + path, method)
                self.assertEqual(answer.code, 405, (method, path))
                self.assertEqual(answer.header("allow"), "GET, HEAD")
                self.check_headers(answer)
            head, get = await self.ask(PAGE + path, "HEAD"), await self.ask(PAGE + path)
            self.assertEqual((head.code, head.body), (get.code, b""))
            self.assertEqual(head.header("content-type"), get.header("content-type"))
            self.check_headers(head)

    async def test_without_the_slash(self) -> None:
        """Links are relative, so who leaves the last slash out is sent there."""
        answer = await self.ask(PAGE[:-1])
        self.assertEqual((answer.code, answer.header("location")), (302, f"{PLUGIN_NAME}/"))
        self.check_headers(answer)

    async def test_an_error_of_ours(self) -> None:
        """A page that cannot be made is 500 without detail, with all headers, and logged."""
        await self.read(self.node(await self.put(some_bytes(1000))))
        self.hub.budget.total_bytes = object()  # type: ignore[assignment]
        answer = await self.ask(PAGE + "v1/overview.json")
        self.assertEqual(answer.code, 500)
        self.assertEqual(answer.json(), {"error": "internal error, see the node's log"})
        self.check_headers(answer)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)


class Static(WebCase):
    """Files of the page."""

    def files(self) -> StaticFiles:
        """A directory with one script, one style and other things."""
        directory = Path(self.mktemp())
        (directory / "sub.js").mkdir(parents=True)
        for name in ("a.js", "b.css", "c.html", ".js", "d.js.map"):
            (directory / name).write_text(name)
        return StaticFiles(directory)

    async def test_listing(self) -> None:
        """Only files of the two kinds are there, each with its type."""
        resources = self.g.clients[FAST].get_client_storage_plugin_web_resources()
        resources[PLUGIN_NAME].putChild(b"static", self.files())
        for name, kind in (("a.js", "text/javascript"), ("b.css", "text/css")):
            answer = await self.page(f"static/{name}")
            self.assertEqual(answer.text, name)
            self.assertEqual(answer.header("content-type"), f"{kind}; charset=utf-8")
            self.assertEqual(answer.header("cache-control"), "no-cache")
            again = await self.ask(
                PAGE + f"static/{name}", headers={"If-None-Match": answer.header("etag") or ""}
            )
            self.assertEqual((again.code, again.body), (304, b""))
            self.check_headers(again)
        for name in ("c.html", ".js", "d.js.map", "sub.js", "sub.js/a.js"):
            self.assertEqual((await self.ask(PAGE + f"static/{name}")).code, 404, name)

    async def test_everything_a_page_names(self) -> None:
        """Each script and style that a shell names is there, and nothing is inline."""
        for path in ("", "download?file"):
            text = (await self.page(path)).text
            for name in re.findall(r'(?:src|href)="(static/[^"]+)"', text):
                await self.page(name)
            self.assertNotRegex(text, r"(?i)<style|style=| on[a-z]+=|<script(?![^>]*src=)")

    def test_elements_that_fail(self) -> None:
        """An error while a page is rendered is raised, not shown."""

        class Fails(Element):
            loader = TagLoader(tags.p(render="nothing"))

        self.assertRaises(FlattenerError, render, Fails())


class TahoesOwnPages(WebCase):
    """What Tahoe itself shows of downloads while we do them."""

    options: ClassVar[Mapping[str, str]] = {"memory": "8 MiB", "remember": "60 s"}

    async def own_pages(self, number: int) -> Any:
        """The event_json of a download, after a look at all pages that show it."""
        for path in ("/status", f"/status/down-{number}", "/statistics"):
            answer = await self.ask(path)
            if answer.code in (301, 302):
                answer = await self.ask(path + "/")
            self.assertEqual(answer.code, 200, path)
        answer = await self.ask(f"/status/down-{number}/event_json")
        self.assertEqual(answer.code, 200, answer.text[:500])
        return answer.json()

    async def test_first_and_second_read(self) -> None:
        """They are right for a download with a search and for one that took a parked one's."""
        data = some_bytes(300_000)
        cap = await self.put(data, 3, 6, 3000)
        history = self.g.clients[FAST].history
        for _time in range(2):
            self.assertTrue(await self.web_read(cap) == data)
            await self.turns(lambda: len(self.hub.parking) == 1)
            status = max(history.list_all_download_statuses(), key=lambda s: s.get_counter())
            events = await self.own_pages(status.get_counter())
            self.assertTrue(events["block"])
            self.assertTrue(all(event["success"] for event in events["block"]))
            self.assertTrue(all(event["success"] for event in events["segment"]))
            self.assertEqual(sum(event["bytes_returned"] for event in events["read"]), len(data))
