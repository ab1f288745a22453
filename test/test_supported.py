"""What docs/supported.rst promises is what tox tests, setup.py declares and the seam takes."""

from __future__ import annotations

import ast
import configparser
import re
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from twisted.trial.unittest import SynchronousTestCase

from misc import bootstrap
from tahoe_fastdl import seam

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs" / "supported.rst"
LOWEST = "misc/lowest.txt"
TAHOE = "tahoe-lafs"

# Environments that are no combination of versions.
OTHERS = {"lint", "types", "docs", "packaging", "demo", "bench"}


@dataclass(frozen=True)
class Row:
    """One combination, as the table words it."""

    environment: str
    python: str
    tahoe: str
    downloads: str
    held_back: str


def rows() -> list[Row]:
    """The table, column by column."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    first, second, last = [n for n, line in enumerate(lines) if re.fullmatch(r"=+( =+)+", line)]
    starts = [match.start() for match in re.finditer(r"=+", lines[first])]
    assert (second, last > second) == (first + 2, True)
    return [
        Row(*(line[a:b].strip() for a, b in zip(starts, [*starts[1:], None])))
        for line in lines[second + 1 : last]
    ]


def tox() -> configparser.RawConfigParser:
    """tox.ini."""
    parser = configparser.RawConfigParser()
    parser.read(ROOT / "tox.ini", encoding="utf-8")
    return parser


def lines_of(environment: str, option: str) -> list[str]:
    """An option of a tox environment, inherited if it is not its own."""
    parser = tox()
    section = f"testenv:{environment}"
    own = parser.get(section, option, fallback=None)
    text = parser.get("testenv", option, fallback="") if own is None else own
    return [line.strip() for line in text.splitlines() if line.strip()]


def declared() -> list[Requirement]:
    """What setup.py asks for."""
    for node in ast.parse((ROOT / "setup.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "REQUIREMENTS":
            return [Requirement(text) for text in ast.literal_eval(node.value)]
    raise AssertionError("setup.py has no REQUIREMENTS")


class Table(SynchronousTestCase):
    """docs/supported.rst, row by row."""

    def test_every_environment_has_a_row(self) -> None:
        """The table has a row for each environment of a combination, in tox's order."""
        listed = [name.strip() for name in tox().get("tox", "envlist").split(",")]
        self.assertEqual([r.environment for r in rows()], [n for n in listed if n not in OTHERS])
        self.assertEqual(OTHERS - set(listed), set())

    def test_pythons(self) -> None:
        """Each environment runs the Python of its row."""
        for row in rows():
            named = lines_of(row.environment, "base_python") or [
                re.sub(r"py(\d)(\d+)", r"python\1.\2", row.environment)
            ]
            self.assertEqual(named, [f"python{row.python}"], row.environment)

    def test_pins(self) -> None:
        """Each environment installs the Tahoe of its row, and holds back what the row says."""
        for row in rows():
            expected = [] if row.tahoe == "newest" else [f"{TAHOE}=={row.tahoe}"]
            for pin in filter(None, row.held_back.split(", ")):
                expected.append(f"-c {LOWEST}" if pin == LOWEST else pin)
            self.assertEqual(lines_of(row.environment, "deps"), expected, row.environment)

    def test_which_downloader(self) -> None:
        """A row says fast exactly when the seam knows that Tahoe, and each it knows has a row."""
        for row in rows():
            is_fast = row.tahoe == "newest" or row.tahoe.startswith(seam.SUPPORTED_RELEASES)
            self.assertEqual(row.downloads, "fast" if is_fast else "stock", row.environment)
        for release in seam.SUPPORTED_RELEASES:
            self.assertTrue(any(row.tahoe.startswith(release) for row in rows()), release)

    def test_quoted_line(self) -> None:
        """The line it shows is the one that the seam logs."""
        known = ", ".join(f"{release}x" for release in seam.SUPPORTED_RELEASES)
        self.assertIn(f"is not one of {known})", TABLE.read_text(encoding="utf-8"))

    def test_private_environment(self) -> None:
        """What the demonstration and the benchmarks run on is a Tahoe of the table, and fast."""
        tahoe = Requirement(bootstrap.TAHOE)
        self.assertEqual(tahoe.name, TAHOE)
        versions = {row.tahoe for row in rows() if row.downloads == "fast"} - {"newest"}
        self.assertEqual([v for v in versions if tahoe.specifier.contains(v)], ["1.20.0"])


class Declared(SynchronousTestCase):
    """setup.py."""

    def test_pip_does_not_refuse(self) -> None:
        """Every Tahoe of the table may be installed beside us, those on stock too."""
        (tahoe,) = (each for each in declared() if each.name == TAHOE)
        for row in rows():
            self.assertTrue(row.tahoe == "newest" or tahoe.specifier.contains(row.tahoe), row)

    def test_pythons(self) -> None:
        """The classifiers name the Pythons of the table, and the oldest is asked for."""
        text = (ROOT / "setup.py").read_text(encoding="utf-8")
        pythons = re.findall(r"Python :: (3\.\d+)", text)
        self.assertEqual(pythons, [r.python for r in rows() if r.environment.startswith("py")])
        self.assertIn(f'python_requires=">={pythons[0]}"', text)
        self.assertEqual(".".join(map(str, bootstrap.OLDEST_PYTHON)), pythons[0])

    def test_lowest(self) -> None:
        """Each lower bound is the one that the environment ``lowest`` installs."""
        pins = dict(re.findall(r"(?m)^(\S+)==(\S+)$", (ROOT / LOWEST).read_text(encoding="utf-8")))
        for each in declared():
            bounds = [s.version for s in each.specifier if s.operator == ">="]
            self.assertEqual(len(bounds), 1, each)
            # Tahoe's is in tox.ini, and this one is not asked for on that Python.
            if each.name not in (TAHOE, "legacy-cgi"):
                self.assertEqual(pins.get(each.name), bounds[0], each)
