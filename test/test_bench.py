"""The sweep: its order, its resumption, its tables; and one small sweep on real nodes."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from misc.bench import cases, command, report
from misc.bench.cases import LAN, MB, Block, Case, Encoding, File
from misc.bench.results import FAST, OK, OVER_LIMIT, STOCK, Measures, Results, Run
from misc.bench.sweep import Sweep, schedule

CASE = Case(File(MB, Encoding(3, 10), 128 * cases.KIB), "foolscap", LAN)


def run_of(case: Case, kind: str, number: int, seconds: float) -> Run:
    """A run that came to its end."""
    counters = {"recomputations": 1, "changes": 2, "hedges": 0, "fallbacks": 0}
    measures = Measures(
        seconds, 0.01, 0.5, 0.5, 90, 90, 100, 7, MB, counters if kind == FAST else {}
    )
    return Run(case, kind, number, OK, "s", 1.0, measures)


class CasesTests(SynchronousTestCase):
    """Which cases there are."""

    def test_in_order(self) -> None:
        """Each case is there once, and all cases of a file follow each other."""
        block = Block(sizes=(10 * MB, MB), runs=1)
        ordered = cases.in_order([*block.cases(), *block.cases()])
        self.assertEqual(len(ordered), len(list(block.cases())))
        files = [case.file for case in ordered]
        changes = sum(one != other for one, other in zip(files, files[1:]))
        self.assertEqual(changes + 1, len(set(files)))

    def test_parsers(self) -> None:
        """Sizes, segments and encodings are read as they are written; nonsense is refused."""
        self.assertEqual(cases.parse_size("0.5GB"), 500 * MB)
        self.assertEqual(cases.parse_segment("1MiB"), 1 << 20)
        self.assertEqual(cases.parse_encoding("20-of-60"), Encoding(20, 60))
        self.assertEqual(cases.parse_encoding("5"), Encoding(5, 5))
        for parse, text in (
            (cases.parse_size, "0"),
            (cases.parse_segment, "0"),
            (cases.parse_encoding, "5-of-4"),
            (cases.parse_transport, "pigeon"),
            (cases.parse_wire, "wet"),
        ):
            with self.assertRaises(ValueError):
                parse(text)

    def test_interleaved(self) -> None:
        """Neither kind always comes first."""
        kinds = [kind for kind, _ in schedule(2)]
        self.assertEqual(kinds, [STOCK, FAST, FAST, STOCK])


class ResultsTests(SynchronousTestCase):
    """What is kept, and what follows from it."""

    def setUp(self) -> None:
        """An empty file of results."""
        self.path = Path(self.mktemp())
        self.results = Results(self.path)

    def test_resumed(self) -> None:
        """A sweep goes on where it stopped, after a line that was cut short."""
        self.results.add(run_of(CASE, STOCK, 0, 1.0))
        with open(self.path, "a", encoding="utf-8") as handle:
            handle.write('{"case": "1000')
        again = Results(self.path)
        self.assertEqual(again.runs, self.results.runs)
        again.add(run_of(CASE, FAST, 0, 0.5))
        self.assertEqual(len(Results(self.path).runs), 2)
        for number in (1, 2):
            again.add(run_of(CASE, STOCK, number, 1.0))
            self.assertEqual(Sweep([CASE], again, "s", 60.0).left, [CASE])
            again.add(run_of(CASE, FAST, number, 0.5))
        self.assertEqual(Sweep([CASE], Results(self.path), "s", 60.0).left, [])

    def test_long_ones_once(self) -> None:
        """Where stock takes a third of its limit, one run of it is enough."""
        self.results.add(run_of(CASE, STOCK, 0, 30.0))
        for number in range(CASE.runs):
            self.results.add(run_of(CASE, FAST, number, 0.5))
        self.assertEqual(Sweep([CASE], self.results, "s", 60.0).left, [])
        self.assertEqual(Sweep([CASE], self.results, "s", 600.0).left, [CASE])

    def test_given_up(self) -> None:
        """A case that was given up is not tried again, unless more time is allowed."""
        self.results.add(Run(CASE, STOCK, 0, OVER_LIMIT, "s", limit_s=60.0))
        for number in range(CASE.runs):
            self.results.add(run_of(CASE, FAST, number, 0.5))
        self.assertEqual(Sweep([CASE], self.results, "s", 60.0).left, [])
        self.assertEqual(Sweep([CASE], self.results, "s", 90.0).left, [CASE])

    def test_page(self) -> None:
        """Medians, their spread and what was given up stand in the tables."""
        large = CASE.with_length(10 * MB)
        for number, seconds in enumerate((1.0, 3.0, 2.0)):
            self.results.add(run_of(CASE, STOCK, number, seconds))
            self.results.add(run_of(CASE, FAST, number, seconds / 10))
            self.results.add(run_of(large, FAST, number, seconds))
        self.results.add(Run(large, STOCK, 0, OVER_LIMIT, "s", limit_s=60.0))
        page = report.page(self.results, {"one.svg": "A picture."})
        self.assertIn("| 3-of-10 | 2.00 (1.00-3.00) | 0.20 (0.10-0.30) | 10.0 | > 60 |", page)
        self.assertIn("> 30 |", page)
        self.assertIn("![A picture.](figures/one.svg)", page)
        self.assertIn("> 60", report.short_table(self.results, [large]))


class SmokeTests(SynchronousTestCase):
    """The command on real nodes."""

    def test_sweep(self) -> None:
        """Near and far, stock and fast, and the report with its figures."""
        path, docs = Path(self.mktemp()), Path(self.mktemp())
        options = ["--results", str(path)]
        chosen = "--sizes 0.3MB --encodings 3-of-10 --segments 128KiB --runs 1"
        where = "--transports foolscap --wires lan,20ms"
        with quiet() as said:
            status = command.main([*options, *chosen.split(), *where.split()])
        self.assertEqual(status, 0, said.getvalue())
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        self.assertIn("machine", lines[0])
        runs = lines[1:]
        self.assertEqual([run["outcome"] for run in runs], [OK] * 4)
        self.assertEqual({run["counters"].get("fallbacks", 0) for run in runs}, {0})
        self.assertTrue(all(run["reads"] > 0 for run in runs))
        self.assertNotIn("URI:", path.read_text(encoding="utf-8"))
        if importlib.util.find_spec("matplotlib") is None:
            return  # the tests' environment need not have it
        with quiet():
            self.assertEqual(command.main([*options, "--report", "--docs", str(docs)]), 0)
        self.assertTrue((docs / "performance.md").is_file())


@contextlib.contextmanager
def quiet() -> Iterator[io.StringIO]:
    """What a command prints, kept."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        yield said
