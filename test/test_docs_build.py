"""Sphinx builds the docs without a warning, and what they name is there."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup
from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
# Every page of prose, built by Sphinx or read as it is.
PAGES = sorted(
    [*DOCS.glob("*.rst"), *DOCS.glob("*.md"), ROOT / "README.rst", *ROOT.glob("CONTRIBUTING.rst")]
)


class Build(SynchronousTestCase):
    """The pages as a browser gets them."""

    built: Path | None = None  # by the first test that wants them

    def build(self) -> Path:
        """The folder of pages, built once."""
        cls = type(self)
        if cls.built is None:
            cls.built = Path(tempfile.mkdtemp(dir=".")).resolve()
            command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q"]
            done = subprocess.run(
                [*command, "-b", "html", str(DOCS), str(cls.built)],
                check=False,
                capture_output=True,
                text=True,
                timeout=300,
            )
            self.assertEqual((done.returncode, done.stderr), (0, ""))
        return cls.built

    def test_every_page(self) -> None:
        """It builds with every warning an error, and each page is reached from the first."""
        built = self.build()
        for page in (*DOCS.glob("*.rst"), *DOCS.glob("*.md")):
            self.assertTrue((built / f"{page.stem}.html").is_file(), page.name)

    def test_links(self) -> None:
        """Each link and picture leads to a page, a place in one or a file that is there."""
        built = self.build()
        soups = {
            page.name: BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
            for page in built.glob("*.html")
        }
        places = {name: _ids(soup) for name, soup in soups.items()}
        followed = 0
        for name, soup in soups.items():
            targets = [str(each["href"]) for each in soup.select("div.body a[href]")]
            targets += [str(each["src"]) for each in soup.select("div.body img[src]")]
            for target in targets:
                url = urlsplit(target)
                if url.scheme or url.netloc:
                    continue
                page = unquote(url.path) or name
                self.assertTrue((built / page).is_file(), f"{name}: {target}")
                if url.fragment and page in places:
                    self.assertIn(unquote(url.fragment), places[page], f"{name}: {target}")
                followed += 1
        self.assertGreater(followed, 50)


def _ids(soup: BeautifulSoup) -> set[str]:
    """The places in a page that a link can name."""
    return {str(each["id"]) for each in soup.find_all(id=True)}


class Named(SynchronousTestCase):
    """What the prose names."""

    def test_commands(self) -> None:
        """Each ``python3 misc/...`` or ``python3 test/...`` is there to be run."""
        named = 0
        for page in PAGES:
            for path in re.findall(r"python3 ((?:misc|test)/[\w/.]+\w)", page.read_text("utf-8")):
                place = ROOT / path
                runnable = place.is_file() or (place / "__main__.py").is_file()
                self.assertTrue(runnable, f"{page.name}: {path}")
                named += 1
        self.assertGreater(named, 10)

    def test_files(self) -> None:
        """Each link of README.rst into the project leads to a file."""
        text = (ROOT / "README.rst").read_text(encoding="utf-8")
        links = re.findall(r"<([\w./-]+)>`_", text) + re.findall(r"image:: (\S+)", text)
        self.assertGreater(len(links), 5)
        for link in links:
            self.assertTrue((ROOT / link).is_file(), link)


class Contributing(SynchronousTestCase):
    """CONTRIBUTING.rst."""

    def setUp(self) -> None:
        self.text = (ROOT / "CONTRIBUTING.rst").read_text(encoding="utf-8")

    def test_map(self) -> None:
        """Each module has a row in the map and no other file has; each test named there exists."""
        table = self.text.split("Where is what\n---")[1].split("\nTwisted's drop-in")[0]
        modules = re.findall(r"^\S.*?  +``([\w/]+\.py)``", table, re.MULTILINE)
        package = ROOT / "tahoe_fastdl"
        found = [path.relative_to(package).as_posix() for path in package.rglob("*.py")]
        self.assertEqual(sorted(modules), sorted(found))
        tests = set(re.findall(r"``(test_\w+\.py)``", table))
        self.assertEqual({name for name in tests if not (ROOT / "test" / name).is_file()}, set())

    def test_files(self) -> None:
        """Each file and folder of ours that it names is there."""
        places = "docs|misc|test|tahoe_fastdl|twisted"
        named = re.findall(rf"(?<![\w/])((?:{places})/[\w/.-]*\w)", self.text)
        self.assertGreater(len(named), 10)
        self.assertEqual([path for path in named if not (ROOT / path).exists()], [])

    def test_tests(self) -> None:
        """Each test that a command runs is there."""
        for name in set(re.findall(r"\btest\.(test_[\w.]+)", self.text)):
            module, *path = name.split(".")
            source = (ROOT / "test" / f"{module}.py").read_text(encoding="utf-8")
            for part in path:
                self.assertRegex(source, rf"(class|def) {part}\b")


class FirstPage(SynchronousTestCase):
    """docs/index.rst and what was measured."""

    def test_figures(self) -> None:
        """The times in its table are those of docs/performance.md."""
        index = (DOCS / "index.rst").read_text(encoding="utf-8")
        table = index.split("\nwire, segment size", 1)[1].split("\n\n", 1)[0]
        rows = [re.split(r"  +", line) for line in table.splitlines()[2:-1]]
        self.assertGreater(len(rows), 3)
        for wire, *quoted in rows:
            self.assertEqual(quoted, _sweep(*wire.rsplit(", ", 1)), wire)


def _sweep(wire: str, segments: str) -> list[str]:
    """Stock and fast, 3-of-10 and 20-of-60, as the sweep measured them over Foolscap."""
    page = (DOCS / "performance.md").read_text(encoding="utf-8")
    row = page.split(f"| {wire}, foolscap, {segments} |", 1)[1].split("\n", 1)[0]
    cells = [re.match(r" 100 MB: (~? ?[\d.]+), (~? ?[\d.]+) ", cell) for cell in row.split("|")]
    return [text for cell in cells[:2] if cell for text in cell.groups()]
