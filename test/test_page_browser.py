"""The download page in a real Chromium, on real nodes, while real downloads run.

Skipped, and it says so, where no browser is. With a folder named in
``TAHOE_FASTDL_PICTURES`` the pictures of docs/ are made there.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import allmydata
from twisted.trial.unittest import SynchronousTestCase

from . import pagedocs
from .browser import PHONE, Page
from .gridcase import some_bytes
from .pagestage import NAMES, PAGE, SLOW, the_stage

PICTURES = "TAHOE_FASTDL_PICTURES"

TIMELINE = "canvas.timeline"
MAP = "canvas.map"

# A frame of ten thousand reads, on a machine that is busy with other tests; sixty frames
# a second would be 16.
FRAME_MS = 150.0
CROWD = 10_000

DOWNLOAD_S = 120.0

TWO_FRAMES = "new Promise(d => requestAnimationFrame(() => requestAnimationFrame(() => d(1))))"


class PageCase(SynchronousTestCase):
    """Has a stage, and looks after the pages that a test opens."""

    def setUp(self) -> None:
        """Have nodes and a browser."""
        self.stage = the_stage()
        self.addCleanup(self.stage.heal)
        self._pages: list[Page] = []

    def open(self, client: str, path: str = "", **how: Any) -> Page:
        """A page of a client's, which is closed after the test and must have had no problem."""
        page = self.stage.open(self.stage.client(client), path, **how)
        self._pages.append(page)
        return page

    def open_document(self, document: pagedocs.Document, **how: Any) -> Page:
        """A page of one download, opened from a file."""
        page = self.open("page", "download?file", **how)
        self.choose(page, json.dumps(document))
        page.until("document.querySelector('.verdict-text')?.textContent")
        self.drawn(page)
        return page

    def choose(self, page: Page, content: str) -> None:
        """Choose a file with this content."""
        path = Path(self.mktemp()).absolute()
        path.write_text(content, encoding="utf-8")
        page.choose_files("#open-file", [path])

    def drawn(self, page: Page) -> dict[str, float]:
        """What the timeline shows, when it has drawn it."""
        page.until(f"document.querySelector('{TIMELINE}').dataset.bars")
        # What was asked for just now is drawn a frame later.
        page.eval(TWO_FRAMES)
        shown = page.eval(f"({{...document.querySelector('{TIMELINE}').dataset}})")
        return {name: float(value) for name, value in shown.items()}

    def no_problems(self) -> None:
        """Fail if a page had an error, or asked anybody but its node."""
        for page in self._pages:
            self.assertEqual(page.problems, [])
            origin = "/".join(str(page.eval("location.href")).split("/")[:3])
            for url in page.requests:
                self.assertTrue(url.startswith((origin, "blob:" + origin, "data:")), url)

    def tearDown(self) -> None:
        """Look at what the pages had to complain of."""
        try:
            self.no_problems()
        finally:
            for page in self._pages:
                page.close()

    def picture(self, page: Page, name: str, height: int | None = None) -> None:
        """Keep a picture for docs/, where that is asked for."""
        folder = os.environ.get(PICTURES)
        if folder:
            page.eval("window.scrollTo(0, 0)")
            page.screenshot(Path(folder) / f"page-{name}.png", height)

    def fits(self, page: Page) -> None:
        """Nothing of the page is wider than the window, once it has taken its place."""
        page.eval(TWO_FRAMES)
        wide = page.eval("document.scrollingElement.scrollWidth")
        self.assertLessEqual(wide, page.size[0])


class Overview(PageCase):
    """/storage-plugins/tahoe-fastdl/."""

    def test_empty(self) -> None:
        """A node that has downloaded nothing says so, with its options and versions."""
        client = self.stage.client("page")
        client.stop()
        client.start()
        self.stage.grid.wait_connected(60.0, [client])
        page = self.open("page")
        text = page.text()
        self.assertIn("Nothing has been downloaded", text)
        self.assertIn("On:", text)
        self.assertRegex(text, rf"tahoe-fastdl \d.*Tahoe-LAFS {re.escape(allmydata.__version__)}")
        for gone in ("#running", "#recent"):
            self.assertTrue(page.eval(f"document.querySelector('{gone}').hidden"), gone)
        self.picture(page, "empty", 700)

    def test_off(self) -> None:
        """With a wrong option it says that it is off and which option is wrong, as text."""
        page = self.open("wrong")
        status = page.text(".status")
        self.assertIn("Off", status)
        self.assertIn("<i>lots</i>", status)
        self.assertEqual(page.eval("document.querySelectorAll('main i').length"), 0)

    def test_fills_while_a_download_runs(self) -> None:
        """A download turns up, gets on and ends in the list of recent ones, without a reload."""
        client = self.stage.client("page")
        self.stage.begin(client, self.stage.put(some_bytes(500_000, 8))).result(DOWNLOAD_S)
        cap = self.stage.put(some_bytes(12_000_000, 1))
        page = self.open("page")
        page.eval("window.neverReloaded = true")
        download = self.stage.begin(client, cap)
        progress = "document.querySelector('#running progress')?.value"
        page.until(f"{progress} > 0 && {progress} < 0.9")
        first = page.eval(progress)
        row = page.text("#running tbody")
        self.assertRegex(row, r"\d %")
        self.assertRegex(row, r"B/s")
        self.assertIn("3-of-5", row)
        self.picture(page, "overview", 900)
        page.until(f"{progress} > {first}")
        download.result(DOWNLOAD_S)
        number = self.stage.newest(client)
        page.until(f"document.querySelector('#recent tbody').innerText.includes('#{number}')")
        self.assertIn("done", page.text("#recent tbody tr"))
        self.assertTrue(page.eval("window.neverReloaded"))
        servers = page.text("#servers tbody")
        for name in NAMES:
            self.assertIn(name, servers)
        links = page.eval("[...document.querySelectorAll('#recent a')].map(a => a.href)")
        self.assertTrue(any(link.endswith(f"download?id={number}") for link in links), links)
        for link in links:
            self.assertEqual(page.eval(f"fetch({json.dumps(link)}).then(r => r.status)"), 200, link)

    def test_fallback_and_hostile_names(self) -> None:
        """A fallback is shown with its reason; names that mean harm are text like any other."""
        client = self.stage.client("broken")
        data = some_bytes(2_000_000, 2)
        self.assertTrue(client.get(self.stage.put(data)) == data)
        page = self.open("broken")
        page.until("!document.querySelector('.fallback').hidden")
        self.assertIn("<b>for a test</b>", page.text(".fallback"))
        self.assertIn("<img src=x", page.text("#servers"))
        harmful = "main img, main script, main b, main iframe"
        self.assertEqual(page.eval(f"document.querySelectorAll('{harmful}').length"), 0)
        self.assertNotIn("broken in", page.eval("document.title"))
        self.fits(page)
        self.picture(page, "fallback", 900)
        number = self.stage.newest(client)
        viewer = self.open("broken", f"download?id={number}")
        viewer.until("document.querySelector('.verdict-text')?.textContent")
        self.assertIn("Tahoe's own downloader went on", viewer.text(".verdict"))
        self.assertEqual(viewer.eval(f"document.querySelectorAll('{harmful}').length"), 0)
        self.assertNotIn("broken in", viewer.eval("document.title"))

    def test_rests_when_nobody_looks(self) -> None:
        """A page in a hidden tab asks nothing."""
        page = self.open("page")
        page.eval(
            "Object.defineProperty(document, 'hidden', {get: () => true});"
            "document.dispatchEvent(new Event('visibilitychange'))"
        )
        asked = len(page.requests)
        time.sleep(3.0)  # longer than the page rests when nothing runs
        self.assertEqual(len(page.requests), asked)

    def test_phone_and_dark(self) -> None:
        """At phone width nothing sticks out, and the dark theme is dark."""
        page = self.open("page", size=PHONE, dark=True)
        self.fits(page)
        colour = page.eval("getComputedStyle(document.body).backgroundColor")
        self.assertLess(sum(map(int, re.findall(r"\d+", colour)[:3])), 3 * 64)
        page.theme(dark=False)
        colour = page.eval("getComputedStyle(document.body).backgroundColor")
        self.assertGreater(sum(map(int, re.findall(r"\d+", colour)[:3])), 3 * 192)

    def test_screen_reader_basics(self) -> None:
        """One main landmark and one first heading, a language, tables with headers and captions."""
        for path in ("", "download?file"):
            page = self.open("page", path)
            for selector, count in (("main", 1), ("h1", 1), ("html[lang]", 1)):
                found = page.eval(f"document.querySelectorAll('{selector}').length")
                self.assertEqual(found, count, (path, selector))
            bare = (
                "[...document.querySelectorAll('table')].filter(t => !t.caption ||"
                " [...t.querySelectorAll('th')].some(h => !h.scope)).length"
            )
            self.assertEqual(page.eval(bare), 0)
            self.assertEqual(
                page.eval(
                    "[...document.querySelectorAll('input, select')].filter(e => !e.labels.length)"
                    ".length"
                ),
                0,
            )


class Viewer(PageCase):
    """The page of one download."""

    def download_with_slow_server(self) -> int:
        """A file that needs all five servers, of which one is slow; returns its number."""
        cap = self.stage.put(some_bytes(3_000_000, 3), "wide")
        client = self.stage.client("page")
        self.stage.slow_down(SLOW, 12.0, at_s=1.0)
        self.stage.begin(client, cap).result(DOWNLOAD_S)
        self.stage.heal()
        return self.stage.newest(client)

    def test_names_the_server_that_held_it_up(self) -> None:
        """Of a download with one slow server, the first sentence names that server."""
        number = self.download_with_slow_server()
        page = self.open("page", f"download?id={number}")
        page.until("document.querySelector('.verdict-text')?.textContent")
        self.assertTrue(page.text(".verdict-text").startswith(f"{SLOW} "), page.text(".verdict"))
        shown = self.drawn(page)
        self.assertGreater(shown["bars"], 10)
        self.assertIn(SLOW, page.text(".panel table"))
        self.picture(page, "slow-server", 1250)
        left, top, width, height = page.box(TIMELINE)
        page.wheel(left + width * 0.35, top + height * 0.6, -5)
        self.drawn(page)
        self.picture(page, "zoomed", 1250)
        page.resize(PHONE)
        self.fits(page)
        page.theme(dark=True)
        self.drawn(page)
        self.picture(page, "phone-dark", 1400)

    def test_names_a_server_that_fell_silent(self) -> None:
        """Of a download in which one server stopped answering, it names that server, and its reads
        and those that made up for them look different.
        """
        cap = self.stage.put(some_bytes(9_000_000, 9))
        silent = self.stage.holder(cap, 0)
        client = self.stage.client("page")
        self.stage.silence(silent, at_s=1.5)
        self.stage.begin(client, cap).result(DOWNLOAD_S)
        self.stage.heal()
        page = self.open("page", f"download?id={self.stage.newest(client)}")
        page.until("document.querySelector('.verdict-text')?.textContent")
        self.assertIn(silent, page.text(".verdict-text"))
        self.assertRegex(page.text(".panel table"), f"{silent}.*")
        self.drawn(page)
        self.picture(page, "silent-server", 1250)

    def test_fills_while_the_download_runs(self) -> None:
        """Bars and the map's blocks become more while the download runs, and end with it."""
        cap = self.stage.put(some_bytes(12_000_000, 4))
        client = self.stage.client("page")
        download = self.stage.begin(client, cap)
        overview = self.open("page")
        overview.until("document.querySelector('#running tbody a')")
        number = self.stage.newest(client)
        page = self.open("page", f"download?id={number}")
        have = f"Number(document.querySelector('{MAP}')?.dataset.have)"
        page.until(f"{have} > 0")
        first, bars = page.eval(have), self.drawn(page)["bars"]
        page.until(f"{have} > {first}")
        download.result(DOWNLOAD_S)
        page.until("document.querySelector('.facts dd').textContent === 'done'")
        self.assertGreater(self.drawn(page)["bars"], bars)
        # Three blocks of each segment, and perhaps a hedge's.
        self.assertGreaterEqual(page.eval(have), 3 * (12_000_000 // (64 * 1024)))

    def test_opens_tahoes_own_record_beside_it(self) -> None:
        """The node's own record of a stock download opens beside a download of ours."""
        client = self.stage.client("page")
        data = some_bytes(500_000, 5)
        self.stage.begin(client, self.stage.put(data)).result(DOWNLOAD_S)
        number = self.stage.newest(client)
        page = self.open("page", f"download?id={number}")
        page.until("document.querySelector('#beside').options.length > 2")
        keys = page.eval("[...document.querySelector('#beside').options].map(o => o.value)")
        stock = next(key for key in keys if key.startswith("stock-"))
        page.eval(
            f"(s => {{ s.value = '{stock}'; s.dispatchEvent(new Event('change')) }})"
            "(document.querySelector('#beside'))"
        )
        page.until("document.querySelectorAll('.panel .verdict-text').length === 2")
        page.until("[...document.querySelectorAll('.verdict-text')].every(e => e.textContent)")
        self.assertIn("Side by side", page.text())
        self.assertIn(f"beside={stock}", page.eval("location.href"))
        self.fits(page)
        page.resize((1600, 900))
        self.fits(page)
        self.picture(page, "beside", 1500)

    def test_stock_download_of_a_node(self) -> None:
        """What Tahoe's own downloader did opens alone, with its reads as bars."""
        client = self.stage.client("wrong")  # where the plugin is off
        client.get(self.stage.put(some_bytes(500_000, 6)))
        numbers = sorted(client._downloads())
        page = self.open("wrong", f"download?stock={numbers[-1]}")
        page.until("document.querySelector('.verdict-text')?.textContent")
        self.assertIn("what Tahoe recorded", page.text(".facts"))
        self.assertGreater(self.drawn(page)["bars"], 5)
        self.assertIn("waited", page.text(".panel").lower())

    def test_saved_and_opened_again(self) -> None:
        """A saved download opens as it was; the trace export is one that Perfetto reads."""
        client = self.stage.client("page")
        self.stage.begin(client, self.stage.put(some_bytes(500_000, 7))).result(DOWNLOAD_S)
        number = self.stage.newest(client)
        page = self.open("page", f"download?id={number}")
        page.until("document.querySelector('.verdict-text')?.textContent")
        verdict, bars = page.text(".verdict"), self.drawn(page)["bars"]
        links = page.eval("[...document.querySelectorAll('.links a')].map(a => a.href)")
        saved, trace = (
            page.eval(f"fetch({json.dumps(link)}).then(r => r.text())") for link in links
        )
        self.assertTrue(json.loads(trace)["traceEvents"])
        again = self.open("page", "download?file")
        self.assertIn("Open a download", again.text(".empty"))
        self.choose(again, saved)
        again.until("document.querySelector('.verdict-text')?.textContent")
        self.assertEqual(again.text(".verdict"), verdict)
        self.assertEqual(self.drawn(again)["bars"], bars)

    def test_unknown_download(self) -> None:
        """A download that is not known (any more) is a clear word, not an empty page."""
        page = self.open("page", "download?id=999999")
        page.until("document.querySelector('.panel .problem:not([hidden])')")
        self.assertIn("does not know this download", page.text(".panel .problem"))
        page.problems.clear()  # the browser notes the 404 itself


class Timeline(PageCase):
    """Zoom, pan, tooltips, keyboard: on a saved download."""

    def setUp(self) -> None:
        """A page with the timeline of a slow server's download."""
        super().setUp()
        self.page = self.open_document(pagedocs.slow_server())
        self.whole = self.drawn(self.page)
        # Of the plot, without the names at its left.
        left, top, width, height = self.page.box(TIMELINE)
        self.left, self.width = left + 150, width - 160
        self.top, self.height = top, height

    def test_wheel_zooms_at_the_pointer(self) -> None:
        """The moment under the pointer stays there; turning back shows everything again."""
        x, y = self.left + 0.25 * self.width, self.top + 100
        end = self.whole["to"]
        self.page.wheel(x, y, -5)
        shown = self.drawn(self.page)
        span = shown["to"] - shown["from"]
        self.assertLess(span, 0.8 * end)
        self.assertApproximates(shown["from"] + 0.25 * span, 0.25 * end, 0.01 * end)
        self.page.wheel(x, y, 30)
        shown = self.drawn(self.page)
        self.assertEqual((shown["from"], shown["to"]), (0, end))

    def test_drag_moves(self) -> None:
        """Dragging to the left shows what is later, as far as there is something."""
        self.page.eval(f"document.querySelector('{TIMELINE}').focus()")
        self.page.key("+")
        self.page.key("+")
        before = self.drawn(self.page)
        y = self.top + 100
        self.page.drag(self.left + 300, y, self.left + 200, y)
        after = self.drawn(self.page)
        span = before["to"] - before["from"]
        self.assertApproximates(after["to"] - after["from"], span, 1e-6)
        self.assertApproximates(
            after["from"] - before["from"], span * 100 / self.width, 0.02 * span
        )

    def test_keyboard(self) -> None:
        """Plus, minus, arrows and Home do what the help says."""
        self.page.eval(f"document.querySelector('{TIMELINE}').focus()")
        self.page.key("+")
        closer = self.drawn(self.page)
        self.assertLess(closer["to"] - closer["from"], self.whole["to"])
        self.page.key("ArrowRight")
        later = self.drawn(self.page)
        self.assertGreater(later["from"], closer["from"])
        self.page.key("ArrowLeft")
        self.assertApproximates(self.drawn(self.page)["from"], closer["from"], 1e-6)
        self.page.key("Home")
        shown = self.drawn(self.page)
        self.assertEqual((shown["from"], shown["to"]), (0, self.whole["to"]))

    def test_tooltip_and_spoken_read(self) -> None:
        """Pointing at a bar tells of its read; so do the arrow keys, also aloud."""
        self.page.eval(f"document.querySelector('{TIMELINE}').focus()")
        self.page.key("ArrowDown")
        said = self.page.eval("document.querySelector('.timeline-box [aria-live]').textContent")
        self.assertRegex(said, r"share \d, segments \d")
        tip = self.page.text(".timeline-box .tip")
        self.assertRegex(tip, r"(?s)north.*share 0, segments 0–1.*answered at")
        # The slow server's lane is the fourth from the top; its bars fill it.
        self.page.key("Escape")
        hits = []
        for step in range(200, int(self.height), 6):
            self.page.mouse("mouseMoved", self.left + 0.2 * self.width, self.top + step)
            text = self.page.text(".timeline-box .tip:not([hidden])")
            hits.append(text)
        late = [text for text in hits if "south" in text and "late" in text]
        self.assertTrue(late, hits)

    def test_map_follows_the_moment(self) -> None:
        """The map is as it was at the pointer's moment; the slider does the same by keyboard."""
        have = f"Number(document.querySelector('{MAP}').dataset.have)"
        self.assertEqual(self.page.eval(have), 3 * pagedocs.SEGMENTS)
        self.page.mouse("mouseMoved", self.left + 0.3 * self.width, self.top + 100)
        some = self.page.eval(have)
        self.assertGreater(some, 0)
        self.assertLess(some, 3 * pagedocs.SEGMENTS)
        self.page.mouse("mouseMoved", 5, 5)
        self.assertEqual(self.page.eval(have), 3 * pagedocs.SEGMENTS)
        self.page.eval(
            "(s => { s.value = 0; s.dispatchEvent(new Event('input')) })"
            "(document.querySelector('input[type=range]'))"
        )
        self.assertEqual(self.page.eval(have), 0)

    def test_table_row_shows_its_read(self) -> None:
        """A row of the slowest reads leads to its bar."""
        self.page.eval("[...document.querySelectorAll('td button')][0].click()")
        shown = self.drawn(self.page)
        self.assertLess(shown["to"] - shown["from"], self.whole["to"])
        self.assertIn("south", self.page.text(".timeline-box .tip"))


class Files(PageCase):
    """Files that are opened."""

    def test_damaged_files(self) -> None:
        """What is no download of ours is refused with a word of what is wrong."""
        page = self.open("page", "download?file")
        for name, (content, word) in pagedocs.damaged().items():
            self.choose(page, content)
            said = "document.querySelector('main > .problem').textContent"
            page.until(f"{said}.includes({json.dumps(word)})")
            self.assertEqual(page.eval("document.querySelectorAll('.panel').length"), 0, name)

    def test_hostile_file(self) -> None:
        """Names and notes that mean harm are text; a name that is too long is cut."""
        page = self.open_document(pagedocs.hostile())
        harmful = "main img, main script, main iframe"
        self.assertEqual(page.eval(f"document.querySelectorAll('{harmful}').length"), 0)
        self.assertIn("<img src=x", page.text(".panel"))
        self.assertNotIn("\u202e", page.text(".panel"))
        self.assertNotIn("x" * 200, page.text(".panel table"))
        self.assertNotIn("broken in", page.eval("document.title"))
        self.fits(page)

    def test_dropped_file(self) -> None:
        """A file that is dropped on the page opens."""
        page = self.open("page", "download?file")
        content = json.dumps(json.dumps(pagedocs.hedged()))
        page.eval(
            "(() => { const data = new DataTransfer();"
            f" data.items.add(new File([{content}], 'saved.json'));"
            " document.body.dispatchEvent(new DragEvent('drop',"
            " {dataTransfer: data, bubbles: true, cancelable: true})); })()"
        )
        page.until("document.querySelector('.verdict-text')?.textContent")
        self.assertTrue(page.text(".verdict-text").startswith("east "), page.text(".verdict"))

    def test_second_file_beside(self) -> None:
        """A second file opens beside the first, on the same time axis, and is compared."""
        page = self.open_document(pagedocs.slow_server())
        page.eval("(s => { s.value = 'file'; })(document.querySelector('#beside'))")
        self.choose(page, json.dumps(pagedocs.even()))
        page.until("document.querySelectorAll('.panel').length === 2")
        page.until("[...document.querySelectorAll('.verdict-text')].every(e => e.textContent)")
        page.eval(TWO_FRAMES)
        ends = page.eval(f"[...document.querySelectorAll('{TIMELINE}')].map(c => c.dataset.to)")
        self.assertEqual(len(set(ends)), 1)
        compared = page.text(".panels").join(page.text("table"))
        self.assertIn("south held up", compared)
        self.assertIn("Nothing held it up", compared)

    def test_ten_thousand_reads_are_fluid(self) -> None:
        """With ten thousand reads a frame is drawn in time, all of them or some."""
        page = self.open_document(pagedocs.crowded(CROWD))
        shown = self.drawn(page)
        self.assertEqual(shown["bars"], CROWD)
        times = [shown["drawMs"]]
        page.eval(f"document.querySelector('{TIMELINE}').focus()")
        for key in "++++--++":
            page.key(key)
            times.append(self.drawn(page)["drawMs"])
        self.assertLess(sorted(times)[len(times) // 2], FRAME_MS, times)


class Pure(PageCase):
    """The modules without a page: they decide what the page says."""

    def setUp(self) -> None:
        """Any page will do, to load the modules from."""
        super().setUp()
        self.page = self.open("page", "download?file")

    def call(self, module: str, expression: str, **values: Any) -> Any:
        """An expression of a module ``m``, with these values."""
        names = ", ".join(values)
        arguments = ", ".join(json.dumps(value) for value in values.values())
        return self.page.eval(
            f"import('/{PAGE}static/{module}.js')"
            f".then(m => (({names}) => {expression})({arguments}))"
        )

    def verdict(self, document: pagedocs.Document) -> dict[str, Any]:
        """What the page says of a download."""
        found: dict[str, Any] = self.page.eval(
            f"Promise.all([import('/{PAGE}static/verdict.js'), import('/{PAGE}static/model.js')])"
            f".then(([v, m]) => v.verdict(m.readDocument({json.dumps(document)})))"
        )
        return found

    def test_verdicts(self) -> None:
        """Each story ends with the name of the one who is to blame, and with nobody else's."""
        stories: list[tuple[Callable[[], pagedocs.Document], str, str | None, float]] = [
            (pagedocs.even, "nothing", None, 0.0),
            (pagedocs.slow_server, "server", "south", 3.2),
            (pagedocs.hedged, "server", "east", 1.0),
            (pagedocs.failing, "server", "north", 0.8),
            (pagedocs.waiting, "server", "north", 2.0),
            (pagedocs.paused, "reader", None, 0.0),
        ]
        for make, kind, name, held in stories:
            found = self.verdict(make())
            self.assertEqual(found["kind"], kind, (make.__name__, found["text"]))
            named = None if found["server"] is None else pagedocs.NAMES[found["server"]]
            self.assertEqual(named, name, make.__name__)
            if name is not None:
                self.assertTrue(found["text"].startswith(f"{name} "), found["text"])
                own = found["facts"][found["server"]]["held"]
                self.assertApproximates(own, held, 0.01)
            for other in set(pagedocs.NAMES) - {name}:
                self.assertNotIn(other, found["text"])

    def test_nobody_waits_longer_than_the_download_took(self) -> None:
        """What a server is charged with never overlaps itself."""
        for make in (pagedocs.slow_server, pagedocs.hedged, pagedocs.failing, pagedocs.waiting):
            document = make()
            for fact in self.verdict(document)["facts"]:
                self.assertLessEqual(fact["held"], document["now_s"] + 1e-6)
                spans = fact["waits"]
                self.assertEqual(spans, sorted(spans))
                for (_, stop), (start, _) in zip(spans, spans[1:]):
                    self.assertLessEqual(stop, start)

    def test_stock_record(self) -> None:
        """Tahoe's record tells who was slow; its longest reads are the blocks."""
        found = self.call("stock", "m.convertStock(value, 3, 0)", value=pagedocs.stock_events())
        summary = found["summary"]
        self.assertEqual(summary["kind"], "stock")
        self.assertEqual(summary["size"], 2 * pagedocs.SEGMENT)
        self.assertEqual(summary["seconds"], 2.0)
        self.assertEqual(summary["delivered_bytes"], 2 * pagedocs.SEGMENT)
        kinds = [read[1] for read in found["reads"]]
        self.assertEqual(kinds, ["metadata", "blocks", "blocks", "blocks", "blocks"])
        self.assertEqual([read[4] for read in found["reads"]], [0, 0, 0, 1, 1])
        self.assertEqual([each[0] for each in found["work"]], ["decode", "decrypt"])
        self.assertEqual(found["samples"][-1][6:], [1, 1])
        self.assertTrue(self.verdict(found)["text"].startswith("sluggish "))

    def test_time_scale(self) -> None:
        """Zooming keeps its moment, nothing outside the download is shown, ticks are round."""
        found = self.call(
            "scale",
            "(() => { const s = new m.TimeScale(10); const seen = [];"
            " s.zoomAt(4, 0.5); seen.push([s.from, s.to, s.timeOf(s.xOf(4, 800), 800)]);"
            " s.pan(100); seen.push([s.from, s.to]);"
            " s.zoomAt(10, 0); seen.push([s.from, s.to]);"
            " s.zoomAt(5, 1e9); seen.push([s.from, s.to, s.isWhole]);"
            " s.setEnd(20); seen.push([s.from, s.to]);"
            " seen.push(s.ticks(900).times); return seen; })()",
        )
        self.assertEqual(found[0], [2, 7, 4])
        self.assertEqual(found[1], [5, 10])
        self.assertApproximates(found[2][1] - found[2][0], 1e-4, 1e-9)
        self.assertEqual(found[3], [0, 10, True])
        self.assertEqual(found[4], [0, 20])
        self.assertEqual(found[5], [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20])

    def test_block_map_goes_back(self) -> None:
        """Going back in time shows what going there first would have shown."""
        found = self.page.eval(
            f"Promise.all([import('/{PAGE}static/blockmap.js'), import('/{PAGE}static/model.js')])"
            f".then(([b, m]) => {{ const d = m.readDocument({json.dumps(pagedocs.hedged())});"
            " const map = new b.BlockMap(d);"
            " const see = t => { map.moveTo(t); return [...map.counts] };"
            " return [see(0.5), see(9), see(0.5), see(0)]; })"
        )
        self.assertEqual(found[0], found[2])
        self.assertNotEqual(found[0], found[1])
        self.assertEqual(found[3][0], pagedocs.SEGMENTS * len(pagedocs.NAMES))
        for counts in found:
            self.assertEqual(sum(counts), pagedocs.SEGMENTS * len(pagedocs.NAMES))

    def test_numbers_as_text(self) -> None:
        """Sizes, rates and times are short and say their unit."""
        for call, text in (
            ("bytes(0)", "0 B"),
            ("bytes(999)", "999 B"),
            ("bytes(999999)", "1.00 MB"),
            ("rate(1234567)", "1.23 MB/s"),
            ("seconds(0)", "0 s"),
            ("seconds(0.000012)", "12 µs"),
            ("seconds(0.0123)", "12.3 ms"),
            ("seconds(125)", "2 min 5 s"),
            ("seconds(null)", "–"),
            ("count(1234567)", "1,234,567"),
            ("tidy('a\\u202eb\\nc')", "a·b·c"),
        ):
            self.assertEqual(self.call("format", f"m.{call}"), text, call)
