"""The spans trace: what is noted, what is replayed, and one small recording of real nodes."""

from __future__ import annotations

import contextlib
import gzip
import importlib.util
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from allmydata.util.spans import DataSpans, Spans
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from misc import sections
from misc.bench.cases import FAST, KIB, KINDS, STOCK, Encoding, File
from misc.spans_trace import command, operations, replay, report, traces
from misc.spans_trace.measure import cost_of, costs_of
from misc.spans_trace.record import record
from misc.spans_trace.replay import PASSES, Program
from misc.spans_trace.results import BITMAPS, REPLAYS, SILENT, Results
from misc.spans_trace.tracer import Tracer
from misc.spans_trace.traces import NoTraceError
from misc.spans_trace.translate import Units, translate
from tahoe_fastdl.core.geometry import mask_of
from tahoe_fastdl.core.ledger import Ledger

FILE = File(8 * 128 * KIB, Encoding(3, 3), 128 * KIB)
SMALL_SEGMENTS = 4


class NotedSpans(Spans):
    """Wrapped in place of the class that everybody uses."""


class NotedDataSpans(DataSpans):
    """Likewise."""


class NotedLedger(Ledger):
    """Likewise."""


OWNERS: dict[str, type] = {
    "Spans": NotedSpans,
    "DataSpans": NotedDataSpans,
    "Ledger": NotedLedger,
}


class TracerTests(SynchronousTestCase):
    """What a node notes."""

    def setUp(self) -> None:
        """A tracer of those classes."""
        self.path = Path(self.mktemp())
        self.tracer = Tracer(self.path)
        self.addCleanup(self.tracer.close)
        for operation in (*operations.SPANS, *operations.DATA_SPANS, *operations.LEDGER):
            owner = OWNERS[operation.owner]
            before = owner.__dict__.get(operation.method)
            self.tracer.trace_method(owner, operation)
            if before is None:
                self.addCleanup(delattr, owner, operation.method)

    def lines(self) -> list[Any]:
        """What was noted."""
        return [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]

    def test_outermost(self) -> None:
        """A call is noted with its numbers; the calls that it makes itself are not."""
        spans, other = NotedSpans(), NotedSpans()
        spans.add(10, 5)
        difference = spans - other
        self.assertEqual(list(difference), [(10, 5)])
        self.assertEqual(
            self.lines(),
            [
                ["Spans.__init__", 1],
                ["Spans.__init__", 2],
                ["Spans.add", 1, 10, 5],
                ["Spans.__sub__", 1, 2, 3],
                ["Spans.__iter__", 3],
            ],
        )

    def test_no_data(self) -> None:
        """Of data the length is noted, of a result whether there was one, of a mask its runs."""
        spans, ledger = NotedDataSpans(), NotedLedger()
        spans.add(3, b"secret")
        self.assertEqual(spans.pop(3, 6), b"secret")
        self.assertIsNone(spans.get(3, 6))
        ledger.on_wanted(0b1110011)
        self.assertEqual(
            self.lines()[1:],
            [
                ["DataSpans.add", 1, 3, 6],
                ["DataSpans.pop", 1, 3, 6, 1],
                ["DataSpans.get", 1, 3, 6, 0],
                ["Ledger.on_wanted", 2, [0, 2, 4, 7]],
            ],
        )


def write_trace(directory: Path, kind: str, lines: list[Any]) -> None:
    """A kept trace of FILE."""
    raw = directory / "raw"
    directory.mkdir(exist_ok=True)
    opened = {"begin": "file", "file": 9, "size": FILE.length, "needed": 3, "total": 3}
    raw.write_text("".join(json.dumps(line) + "\n" for line in [opened, *lines]), encoding="utf-8")
    traces.keep(raw, [FILE], kind, directory)


def of_share(begin: str) -> dict[str, object]:
    """The marker of something that the one share does."""
    return {"begin": begin, "file": 9, "share": 1}


def one_block(units: Units, answer: bool) -> list[Any]:
    """A share that wants, gets and uses block 0; what stock writes, shortened."""
    length = 128 * KIB // 3 + 1
    start = units.data_start
    asks = [
        of_share("pass"),
        *(["Spans.__init__", 5], ["Spans.add", 5, start, length]),
        *(["Spans.__sub__", 5, 2, 6], ["Spans.__iter__", 6], ["Spans.add", 2, start, length]),
    ]
    return [
        of_share("share"),
        *(["Spans.__init__", 2], ["DataSpans.__init__", 3], ["Spans.__init__", 4]),
        *asks,
        {"begin": "answer", "file": 9, "share": 1},
        *(["Spans.remove", 2, start, length], ["DataSpans.add", 3, start, length]),
        of_share("pass"),
        *(["DataSpans.pop", 3, start, length, int(answer)], ["DataSpans.__init__", 7]),
        *(["Spans.__init__", 8], ["Spans.__sub__", 8, 2, 10], ["Spans.__iter__", 10]),
        of_share("pass"),
        *(["DataSpans.get", 7, start, length, 0], ["Spans.__init__", 11], ["Spans.dump", 11]),
    ]


class ReplayTests(SynchronousTestCase):
    """What becomes of a trace."""

    def setUp(self) -> None:
        """A kept trace."""
        self.directory = Path(self.mktemp())
        self.units = Units(FILE)

    def load(self, answer: bool = True) -> traces.Trace:
        """Of a share that gives one block."""
        write_trace(self.directory, STOCK, one_block(self.units, answer))
        return traces.load(self.directory, FILE, STOCK)

    def test_events(self) -> None:
        """Each event is called, but for those that are left out; passes are told apart."""
        trace = self.load()
        program = replay.program_of(trace)
        silent = replay.program_of(trace, replay.LOG_EVENTS)
        self.assertEqual(program.events, sum(trace.names().values()))
        self.assertEqual(silent.events, program.events - 1)
        begins = [begin for begin, _ in program.groups]
        self.assertEqual([each for each in begins if each in PASSES], list(PASSES))
        objects = program.make_objects()
        replay.run(program, objects)
        self.assertEqual([each.len() for each in objects if isinstance(each, DataSpans)], [0, 0])

    def test_translation(self) -> None:
        """The ledger desires what stock asks for and holds what it finds; other things differ."""
        made = translate(self.load())
        self.assertEqual((made.checked, made.differences), (4, 0))
        self.assertEqual(translate(self.load(answer=False)).differences, 1)

    def test_units(self) -> None:
        """A range stands for what lies wholly in it, and all of a share for all units."""
        block = 128 * KIB // 3 + 1
        start = self.units.data_start
        self.assertEqual(self.units.mask(start + block, 2 * block), mask_of(1, 3))
        self.assertEqual(self.units.mask(start + 1, block), 0)
        self.assertEqual(self.units.mask(0, 1 << 30), mask_of(0, self.units.count))

    def test_not_there(self) -> None:
        """A trace that is not there, or cut short, is an error that says so."""
        with self.assertRaises(NoTraceError):
            traces.load(self.directory, FILE, FAST)
        self.load()
        path = traces.path_of(self.directory, FILE, STOCK)
        path.write_bytes(path.read_bytes()[:-20])
        with self.assertRaises(NoTraceError):
            traces.load(self.directory, FILE, STOCK)
        path.write_bytes(gzip.compress(b'["Spans.add", 1]\n'))
        with self.assertRaises(NoTraceError):
            traces.load(self.directory, FILE, STOCK)


def made_up(results: Results) -> None:
    """Costs of nothing, of three files."""
    about = {"cpu": "a cpu", "cores": 2, "system": "Linux 6", "python": "3"}
    results.add_session("s", {"machine": about, "versions": {"twisted": "1"}})
    for needed, count in ((3, 8), (3, 80), (20, 80)):
        file = File(count * 128 * KIB, Encoding(needed, needed), 128 * KIB)
        for number, name in enumerate(REPLAYS):
            program = Program(list, [(replay.DESIRE, [])], events=10)
            cost = cost_of(file, name, program, "s")
            results.add(replace(cost, ns=1e6 / (1 + number), units=50))


class ReportTests(SynchronousTestCase):
    """What is kept and shown."""

    def test_kept(self) -> None:
        """What was written is read again, but for a line that was cut short."""
        path = Path(self.mktemp())
        made_up(Results(path))
        with open(path, "a", encoding="utf-8") as handle:
            handle.write('{"replay": "fa')
        results = Results(path)
        self.assertEqual(len(results.costs), 3 * len(REPLAYS))
        results.add(results.costs[0])
        self.assertEqual(len(Results(path).costs), 3 * len(REPLAYS) + 1)
        self.assertEqual(len(Results(path).newest()), 3)

    def test_section(self) -> None:
        """The command writes section and figure from what is kept, and measures nothing."""
        if importlib.util.find_spec("matplotlib") is None:
            raise SkipTest("the figure needs the extra bench")
        path, docs = Path(self.mktemp()), Path(self.mktemp())
        made_up(Results(path))
        docs.mkdir()
        page = docs / command.PAGE
        marks = sections.marks(command.SECTION)
        page.write_text("before\n{}\n{}\nafter\n".format(*marks), encoding="utf-8")
        options = ["--report", "--results", str(path), "--docs", str(docs)]
        with contextlib.redirect_stdout(io.StringIO()):
            self.assertEqual(command.main(options), 0)
        text = page.read_text(encoding="utf-8")
        self.assertTrue(text.startswith("before\n") and text.endswith("\nafter\n"))
        self.assertIn("| 20-of-20 | 80 |", text)
        self.assertIn("takes 4 times as long as ours", text)
        self.assertTrue((docs / command.FIGURES / "spans-trace.svg").exists())

    def test_nothing(self) -> None:
        """Without results the section says so."""
        self.assertIn("Nothing was replayed", report.section(Results(Path(self.mktemp()))))


class SmokeTests(SynchronousTestCase):
    """Real nodes."""

    def test_record(self) -> None:
        """Both downloads are noted without data or caps, and our bitmaps follow stock's."""
        file = File(SMALL_SEGMENTS * 128 * KIB, Encoding(2, 2), 128 * KIB)
        directory, kept = Path(self.mktemp()).resolve(), Path(self.mktemp()).resolve()
        directory.mkdir()
        record([file], directory, kept, lambda _line: None)
        for kind in KINDS:
            with gzip.open(traces.path_of(kept, file, kind), "rt", encoding="utf-8") as handle:
                self.assertNotIn("URI:", handle.read())
        costs = {cost.replay: cost for cost in costs_of(file, kept, "s")}
        stock, silent, bitmaps, fast = (costs[name] for name in REPLAYS)
        blocks = 2 * SMALL_SEGMENTS
        self.assertGreaterEqual(stock.count(*PASSES), blocks)
        self.assertLess(silent.events, stock.events)
        self.assertGreater(bitmaps.checked, blocks)
        self.assertEqual(bitmaps.differences, 0)
        self.assertGreater(fast.count(operations.PLAN), 2)
        self.assertLess(fast.events, stock.events)
        for cost in (bitmaps, fast):
            self.assertGreater(cost.changes, 0)
            self.assertLessEqual(cost.recomputations, cost.changes)
        self.assertEqual([cost.replay for cost in costs.values()], [FAST, STOCK, SILENT, BITMAPS])
