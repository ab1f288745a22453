"""What every test of the page in a browser needs: nodes, a browser, and an eye on its pages.

With a folder named in ``TAHOE_FASTDL_PICTURES`` the pictures of docs/ are made there.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from . import pagedocs
from .browser import Page
from .pagestage import the_stage

PICTURES = "TAHOE_FASTDL_PICTURES"
TIMELINE = "canvas.timeline"
MAP = "canvas.map"
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
