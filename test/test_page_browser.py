"""The download page in a real Chromium, on real nodes, while real downloads run.

Skipped, and it says so, where no browser is.
"""

from __future__ import annotations

import json
import re
import time

import allmydata

from . import pagedocs
from .browser import PHONE
from .gridcase import some_bytes
from .pagecase import MAP, TIMELINE, TWO_FRAMES, PageCase
from .pagestage import NAMES, SLOW

# A frame of ten thousand reads, on a machine that is busy with other tests; sixty frames
# a second would be 16.
FRAME_MS = 150.0
CROWD = 10_000
DOWNLOAD_S = 120.0


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
