"""The page against strangers: hostile names, methods, paths; and Tahoe's own pages beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from twisted.web.error import FlattenerError
from twisted.web.template import Element, TagLoader, tags

from tahoe_fastdl.settings import PLUGIN_NAME
from tahoe_fastdl.status.shells import render
from tahoe_fastdl.status.web import StaticFiles

from .gridcase import FAST, some_bytes
from .metricscheck import parse
from .recordcheck import check_trace
from .webcase import HOSTILE, PAGE, WebCase


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
