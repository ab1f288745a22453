"""The floor and the comparison: what they reckon and say, and one small real run of each part."""

from __future__ import annotations

import contextlib
import io
import json
import random
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from misc import sections
from misc.bench.cases import FAST, LAN, MB, STOCK, Case, Encoding, File
from misc.floor import command, comparison, expect, measure, others, programs, report
from misc.floor.figures import FETCH, PROVE, PROVE_OTHERS, SERVE, Cost, Floors
from misc.floor.lines import Line, Lines
from misc.floor.shares import Piece
from misc.floor.web import ARIA2, CURL, Web

KIB = 1 << 10
CASE = Case(File(100 * MB, Encoding(3, 10), 128 * KIB), "foolscap", LAN)
FULL_CASE = Case(File(100 * MB, Encoding(60, 60), 128 * KIB), "foolscap", LAN)

SESSION = {
    "machine": {
        "cpu": "a CPU",
        "cores": 2,
        "memory_bytes": 4_000_000_000,
        "system": "Linux",
        "python": "3",
    },
    "versions": {"twisted": "1"},
    "commit": "",
    "sources": "abc",
}


def lines_with(path: Path, case: Case) -> Lines:
    """Results of every part of one case."""
    lines = Lines(path)
    lines.add_session("s", SESSION)
    walls = {FAST: 0.6, STOCK: 6.0, FETCH: 0.2, PROVE: 0.1, PROVE_OTHERS: 0.8, SERVE: 0.15}
    for part, wall_s in walls.items():
        details = {"decode_s": wall_s / 2, "blocks_s": 0.1} if "prove" in part else {}
        line = Line(case, part, 0, wall_s, wall_s / 2, 0.1, 0.05, session="s", details=details)
        lines.add(line)
    return lines


class FloorsTests(SynchronousTestCase):
    """What the parts add up to."""

    def test_bounds(self) -> None:
        """The floor is the longest part, the reactor's CPU or the machine's, whichever is most."""
        fetch, prove, serve = Cost(0.2, 0.12, 0.3), Cost(0.1, 0.1, 0.1), Cost(0.1, 0.03, 0.1)
        two = Floors(fetch, prove, serve, cores=2)
        self.assertAlmostEqual(two.sum_s, 0.4)
        self.assertEqual(two.longest_s, 0.2)
        self.assertAlmostEqual(two.floor_s, 0.25)
        self.assertEqual(two.bound_by, "the machine's CPU")
        many = Floors(fetch, prove, serve, cores=64)
        self.assertEqual((many.floor_s, many.bound_by), (0.2, "fetching"))
        busy = Floors(Cost(0.2, 0.2, 0.2), prove, serve, cores=64)
        self.assertEqual((busy.floor_s, busy.bound_by), (0.23, "the reactor thread"))

    def test_stock_is_expected(self) -> None:
        """More blocks, HTTP and a far wire each make stock slower."""
        near = expect.stock_s(CASE, 6)
        self.assertLess(near, expect.stock_s(FULL_CASE, 6))
        self.assertLess(near, expect.stock_s(Case(CASE.file, "http", LAN), 6))
        self.assertLess(near + 30, expect.stock_s(Case(CASE.file, "foolscap", "50ms"), 6))
        slow = expect.stock_s(Case(CASE.file, "foolscap", "10MB/s-a-server"), 6)
        self.assertLess(near + 3, slow)


class OrderTests(SynchronousTestCase):
    """What is measured, when, and what is left."""

    def test_interleaved(self) -> None:
        """Every other run goes backwards; stock comes once; others need enough shares."""
        first, second = (measure.parts_of(CASE, number, True) for number in (0, 1))
        self.assertEqual(first[:-1], second[::-1])
        self.assertEqual((first[-1], STOCK in second), (STOCK, False))
        self.assertNotIn(PROVE_OTHERS, measure.parts_of(FULL_CASE, 0, True))

    def test_resumed(self) -> None:
        """What is in the results is not measured again, also after a line that was cut short."""
        path = Path(self.mktemp())
        lines_with(path, CASE)
        with open(path, "a", encoding="utf-8") as handle:
            handle.write('{"case": "1000')
        lines = Lines(path)
        self.assertEqual(len(lines.lines), 6)
        work = measure.Floor(Path(), lines, "s", 20.0)
        once = Case(CASE.file, CASE.transport, CASE.wire, runs=1)
        self.assertEqual(list(work.due(once)), [])
        self.assertEqual({number for _, number in work.due(CASE)}, {1, 2})

    def test_comparison_shares_the_others(self) -> None:
        """What curl and aria2 took for a file counts beside both transports."""
        lines = Lines(Path(self.mktemp()))
        work = others.Comparison(Path(), lines, "s", 0.0)
        once = Case(CASE.file, CASE.transport, CASE.wire, runs=1)
        for kept, part, number in work.due(once):
            lines.add(Line(kept, part, number, 1.0))
        http = Case(CASE.file, "http", CASE.wire, runs=1)
        self.assertEqual(list(work.due(http)), [(http, FAST, 0)])


class SectionTests(SynchronousTestCase):
    """What is written from the results."""

    def test_floor(self) -> None:
        """Times, bounds and ratios stand in the table, and the sentences name them."""
        text = report.section(lines_with(Path(self.mktemp()), CASE))
        # The floor is all CPU over two cores: 0.225 s of the parts', three times 0.15 beside it.
        row = "0.60 | 0.20 | 0.10 | 0.15 | 0.45 | 0.20 | 0.34 | 1.33 | 3.00 | 1.78 |"
        self.assertIn(f"| foolscap, 128 KiB, 3-of-10 | 6.00 | {row}", text)
        self.assertIn("0 of 1 cases are within 1.3 times", text)
        self.assertIn("up to 8.0 times as long, at 3-of-10", text.replace("\n", " "))

    def test_comparison(self) -> None:
        """Everything stands side by side; what is not there is a dash and a sentence."""
        lines = lines_with(Path(self.mktemp()), CASE)
        lines.add(Line(others.https_case(CASE), CURL, 0, 0.3, 0.2, session="s"))
        text = comparison.section(lines)
        row = "| 128 KiB, 3-of-10 | 0.30 | 0.20 | - | - | 0.60 | 0.30 | 6.00 | 3.00 |"
        self.assertIn(row, text)
        self.assertIn("fast takes 2.0 times as long as curl", text.replace("\n", " "))
        self.assertIn("not measured: aria2", text.replace("\n", " "))

    def test_nothing(self) -> None:
        """Without results both say so."""
        lines = Lines(Path(self.mktemp()))
        for write in (report.section, comparison.section):
            self.assertIn("Nothing was measured", write(lines))

    def test_advice(self) -> None:
        """A missing program is named with its package."""
        self.assertIn("apt-get install nginx-light aria2", programs.advice(["nginx", "aria2c"]))


class ProcessTests(SynchronousTestCase):
    """The real processes, on small files."""

    def test_floor(self) -> None:
        """Every part over both transports, and the section from it; no cap is kept."""
        path, page = Path(self.mktemp()), Path(self.mktemp())
        page.write_text("\n".join(sections.marks("floor")), encoding="utf-8")
        options = "--size 1MB --encodings 3-of-10 --segments 128KiB --runs 1 --stock-limit 0"
        where = ["--results", str(path), "--page", str(page)]
        with quiet() as said:
            status = command.main([*options.split(), *where])
        self.assertEqual(status, 0, said.getvalue())
        text = path.read_text(encoding="utf-8")
        self.assertNotIn("URI:", text)
        runs = [json.loads(line) for line in text.splitlines()][1:]
        parts = {FAST, FETCH, PROVE, PROVE_OTHERS, SERVE}
        found = {(run["transport"], run["part"]) for run in runs}
        self.assertEqual(found, {(way, part) for way in ("foolscap", "http") for part in parts})
        self.assertTrue(all(run["wall_s"] > 0 and run["cpu_s"] > 0 for run in runs))
        self.assertIn("http, 128 KiB, 3-of-10", page.read_text(encoding="utf-8"))

    def test_programs(self) -> None:
        """curl and aria2 fetch from nginx, near and through a wire, and their bytes are right."""
        missing = programs.missing()
        if missing:
            raise SkipTest(programs.advice(missing))
        directory = Path(self.mktemp()).resolve()
        directory.mkdir()
        whole = random.Random(1).randbytes(300_000)
        share = directory / "a share"
        share.write_bytes(b"header" + whole[:100_000] + b"hashes")
        with Web(directory, is_far=True) as web:
            web.take(whole, {n: Piece(n % 6, share, 6, 100_000) for n in range(8)})
            for wire in (LAN, "20ms"):
                web.use(wire)
                for program in (CURL, ARIA2):
                    numbers = web.run(program)
                    self.assertGreater(numbers["wall_s"], 0.04 if wire != LAN else 0.0)
                    self.assertGreater(numbers["cpu_s"], 0.0)


@contextlib.contextmanager
def quiet() -> Iterator[io.StringIO]:
    """What a command prints, kept."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        yield said
