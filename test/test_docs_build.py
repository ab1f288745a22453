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
        gone = [path for path in named if not (ROOT / path).exists()]
        self.assertEqual([path for path in gone if not path.startswith("docs/_build")], [])

    def test_tests(self) -> None:
        """Each test that a command runs is there."""
        for name in set(re.findall(r"\btest\.(test_[\w.]+)", self.text)):
            module, *path = name.split(".")
            source = (ROOT / "test" / f"{module}.py").read_text(encoding="utf-8")
            for part in path:
                self.assertRegex(source, rf"(class|def) {part}\b")


# What pages quote of pages of figures: as it stands in the page, and as it was measured, with
# a # for each number and ... for what lies between. Some are rounded; NEAR is how far they may be
# from what was measured last.
NEAR = 0.25
MEMORY = "performance.md: | seconds of 100 MB | 128 KiB, ... | loopback |"
COSTS = "performance-tables.md: What it costs ... | 20-of-60, 10 MB |"
QUOTED = (
    (
        "choosing-memory.rst: loopback # # # 200 ms round trip # # #",
        f"{MEMORY} # | # | # | ... | 200 ms round trip | # | # | # |",
    ),
    (
        "choosing-memory.rst: with segments of 1 MiB # instead of #)",
        f"{MEMORY} ... | ... | ... | # | # |",
    ),
    (
        "choosing-memory.rst: on loopback it was # MB with stock and # MB with fast",
        f"{COSTS} ... | ... | ... | ... | # / # |",
    ),
    (
        "choosing-memory.rst: reserve # MiB of 64 with small segments, # MiB with",
        "reliability.md: Now it is # and # MiB",
    ),
    ("decisions.rst: # reads became #", "performance.md: In numbers: # reads became #"),
    (
        "decisions.rst: in the sweep # became #",
        f"{COSTS} ... | ... | ... | ... | ... | # / # |",
    ),
    (
        "decisions.rst: Stock fetches # times what it delivers of the ticket's file, fast # times",
        f"{COSTS} ... | ... | ... | ... | ... | ... | # / # |",
    ),
    (
        "decisions.rst: each block too would cost # to # times (b)",
        "performance.md: each block too would cost # to # times (b)",
    ),
    (
        "decisions.rst: are needed was # calls for the ticket's file; now it is #",
        "performance.md: hash trees: needed (# calls and ... s, now #",
    ),
    (
        "decisions.rst: our own code takes # % over Foolscap and # % over HTTP",
        "performance.md: Our own code in it is # %. ... Our own code in it is # %.",
    ),
    (
        "decisions.rst: 20-of-60 file from # s to # s, for # to # % more bytes on a calm grid",
        "reliability.md: 20-of-60 file from # s to # s ... On a calm grid it costs # to # %",
    ),
    (
        "decisions.rst: would take it to # s, but for # % more bytes",
        "reliability.md: 1.5 would take ... of 20-of-60 from 1.33 to # s for # % more bytes",
    ),
    (
        "decisions.rst: takes up to # times as long, at 20-of-60",
        "performance.md: (b) takes up to # times as long, at 20-of-60",
    ),
    (
        "how-it-works.rst: its books take # to # times as long",
        "performance.md: bookkeeping takes # to # times as long",
    ),
    (
        "troubleshooting.rst: proving takes up to # times as long",
        "performance.md: (b) takes up to # times as long, at 20-of-60",
    ),
    (
        "troubleshooting.rst: 100 MB of 3-of-10 take # s with stock and # s with fast",
        "performance.md: | 2.5 MB/s in all, 20 ms, foolscap, 1 MiB segments | 100 MB: #, # (",
    ),
)


class Figures(SynchronousTestCase):
    """What pages quote of what was measured."""

    def test_quotes(self) -> None:
        """Each is in its page, and near enough to what was measured last."""
        for quote, measurement in QUOTED:
            said, measured = _numbers(quote), _numbers(measurement)
            self.assertEqual(len(said), len(measured), quote)
            self.assertTrue(said, f"not there (any more): {quote}")
            self.assertTrue(_are_near(said, measured), f"{quote}: {said}, measured: {measured}")

    def test_first_page(self) -> None:
        """The times in the table of docs/index.rst are those of the sweep, over Foolscap."""
        index = (DOCS / "index.rst").read_text(encoding="utf-8")
        table = index.split("\nwire, segment size", 1)[1].split("\n\n", 1)[0]
        rows = [re.split(r"  +", line) for line in table.splitlines()[2:-1]]
        self.assertGreater(len(rows), 3)
        for name, *times in rows:
            wire, segments = name.rsplit(", ", 1)
            row = f"performance.md: | {wire}, foolscap, {segments} | 100 MB: #, # ("
            said = [_number(time) for time in times]
            measured = _numbers(f"{row}... | 100 MB: #, # (")
            self.assertTrue(_are_near(said, measured), f"{name}: {said}, measured: {measured}")


def _numbers(template: str) -> list[float]:
    """The numbers that stand for # in the page that a template names; none if it does not fit."""
    page, _colon, words = template.partition(": ")
    pattern = (
        re.escape(words).replace(re.escape("..."), r".*?").replace(r"\#", r"((?:~ )?[\d.,]*\d)")
    )
    text = " ".join((DOCS / page).read_text(encoding="utf-8").split())
    found = re.search(pattern, text)
    return [_number(each) for each in found.groups()] if found else []


def _number(text: str) -> float:
    return float(text.replace(",", "").lstrip("~ "))


def _are_near(said: list[float], measured: list[float]) -> bool:
    """Whether as many were measured as are said, each about the same."""
    return len(said) == len(measured) and all(
        abs(one - other) <= NEAR * other for one, other in zip(said, measured)
    )
