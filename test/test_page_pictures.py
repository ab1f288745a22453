"""The timeline and the map of the download page, in a real Chromium.

Skipped, and it says so, where no browser is.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from . import pagedocs
from .pagecase import MAP, TIMELINE, PageCase
from .pagestage import PAGE


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
