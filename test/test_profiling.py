"""The profile: its rows, its subtraction, what it refuses; and one small profile of real nodes."""

from __future__ import annotations

import contextlib
import cProfile
import importlib.util
import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from twisted.internet import defer
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from misc import sections
from misc.bench.cases import KIB, MB, Encoding, File
from misc.bench.results import FAST, KINDS, STOCK
from misc.grid import GridError
from misc.profiling import callgrind, command, debugging, report, stats
from misc.profiling.measure import Stage, Times, check_rows, profile_of
from misc.profiling.reading import TICKET
from misc.profiling.results import Profile, Results
from misc.profiling.rows import READS_TITLE, ROWS, WAIT_TITLE, Key, NoFunctionError, resolve
from misc.profiling.stats import BUILTIN, Stats

HERE = __name__


def leaf(number: int) -> int:
    """Called by :func:`branch`."""
    return sum(range(number))


def branch(count: int) -> None:
    """Calls :func:`leaf` so often."""
    for _ in range(count):
        leaf(1000)


def start(count: int) -> None:
    """As a node: something once, and what it was started for."""
    sorted(range(1000))
    branch(count)


def profiled(function: Callable[[], object]) -> Stats:
    """What the profiler says of a call."""
    profiler = cProfile.Profile()
    profiler.runcall(function)
    return stats.stats_of(profiler)


def key_of(name: str) -> Key:
    """A function of this module."""
    return resolve(f"{HERE}:{name}")


class RowsTests(SynchronousTestCase):
    """The functions that are looked at."""

    def test_found(self) -> None:
        """Each function that a row names exists, and each row has one for stock or for fast."""
        for row in ROWS:
            keys = [key for kind in KINDS for key in row.keys_of(kind)]
            self.assertEqual(bool(keys), row.title != WAIT_TITLE, row.title)
        self.assertEqual(len({row.title for row in ROWS}), len(ROWS))

    def test_gone(self) -> None:
        """A function that is not there is an error and not a zero."""
        for name in (
            "no_such_module:f",
            f"{HERE}:no_such",
            f"{HERE}:RowsTests.no_such",
            "sys:path",
        ):
            with self.assertRaises(NoFunctionError):
                resolve(name)

    def test_is_the_profilers_key(self) -> None:
        """What is found is what the profiler counts."""
        self.assertEqual(profiled(lambda: branch(7))[key_of("leaf")][1], 7)


class SubtractionTests(SynchronousTestCase):
    """The download's part of a profile."""

    def setUp(self) -> None:
        """A run, and the same with less to do."""
        self.whole, self.baseline = profiled(lambda: start(50)), profiled(lambda: start(10))
        self.rest = stats.subtract(self.whole, self.baseline)

    def test_calls(self) -> None:
        """Calls are those that the baseline did not make, from each caller too."""
        primitive, calls, _, _, callers = self.rest[key_of("leaf")]
        self.assertEqual((primitive, calls), (40, 40))
        self.assertEqual(callers[key_of("branch")][1], 40)

    def test_noise(self) -> None:
        """What was not called more often is dropped with its time, unless it called others."""
        names = [key[2] for key in self.rest]
        self.assertNotIn("<built-in method builtins.sorted>", names)
        self.assertIn("branch", names)
        self.assertNotIn("start", names)

    def test_never_below_zero(self) -> None:
        """A baseline that took longer leaves nothing, and no debts."""
        for numbers in stats.subtract(self.baseline, self.whole).values():
            self.assertGreaterEqual(min(numbers[:4]), 0)
        self.assertEqual(stats.subtract(self.whole, self.whole), {})

    def test_callers_are_known(self) -> None:
        """Each caller of what is left is left, else the export would not find it."""
        for _, _, _, _, callers in self.rest.values():
            self.assertLessEqual(callers.keys(), self.rest.keys())

    def test_together(self) -> None:
        """The cumulative time of two functions holds the inner one once."""
        both = stats.cost(self.whole, [key_of("branch"), key_of("leaf")])
        outer = stats.cost(self.whole, [key_of("branch")])
        self.assertAlmostEqual(both.cumulative_s, outer.cumulative_s, places=6)
        self.assertEqual(both.calls, 51)

    def test_layers(self) -> None:
        """Own seconds by layer are all own seconds but the wait, compiled functions included."""
        wait: Key = (BUILTIN, 0, stats.WAITING[0])
        found = {**self.whole, wait: (3, 3, 5.0, 5.0, {key_of("start"): (3, 3, 5.0, 5.0)})}
        self.assertAlmostEqual(sum(stats.layers(found).values()), stats.busy_s(self.whole))
        self.assertEqual(stats.waiting(found).calls, 3)

    def test_no_directories(self) -> None:
        """Functions are shown by their package, wherever that lies."""
        self.assertEqual(
            stats.title(resolve("foolscap.banana:Banana.send")).partition(":")[0],
            "foolscap/banana.py",
        )
        for name, _ in stats.top(self.whole, 100):
            self.assertFalse(name.startswith("/"), name)
        for row in ROWS:
            for key in row.keys_of(FAST) | row.keys_of(STOCK):
                self.assertNotEqual(stats.layer_of(key), stats.OTHER, key)


class DebuggingTests(SynchronousTestCase):
    """What is refused."""

    def test_options(self) -> None:
        """Options of twistd that debug or trace are refused, also shortened and put together."""
        for spoiling in (
            ["--debug"],
            ["-b"],
            ["--deb"],
            ["-nb"],
            ["-n", "--spew"],
            ["--profile=x"],
        ):
            with self.assertRaises(debugging.RefusedError):
                debugging.check_options(spoiling)
        for nonsense in (["--pigeon"], ["a-file"]):
            with self.assertRaises(debugging.RefusedError):
                debugging.check_options(nonsense)
        debugging.check_options(["--reactor=select", "--logfile=-b"])

    def test_exit_status(self) -> None:
        """The command says why, runs nothing and ends with 2."""
        results = Path(self.mktemp())
        with contextlib.redirect_stderr(io.StringIO()) as said:
            status = command.main(["--results", str(results), "--twistd=--debug"])
        self.assertEqual(status, 2)
        self.assertIn("deferred debugging", said.getvalue())
        self.assertFalse(results.exists())

    def test_environment(self) -> None:
        """An environment that turns it on in every process is refused; this one does not."""
        debugging.check_environment()
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "sitecustomize.py").write_text(
            "from twisted.internet import defer\ndefer.setDebugging(True)\n", encoding="utf-8"
        )
        with environment("PYTHONPATH", str(directory.resolve())):
            with self.assertRaises(debugging.RefusedError):
                debugging.check_environment()

    def test_stats(self) -> None:
        """A profile in which Deferreds were debugged is refused, another is not."""

        def fire() -> None:
            for _ in range(200):
                defer.Deferred[None]().callback(None)

        before = defer.getDebugging()
        self.addCleanup(defer.setDebugging, before)
        defer.setDebugging(False)
        debugging.check_stats(profiled(fire))
        defer.setDebugging(True)
        found = profiled(fire)
        defer.setDebugging(before)
        with self.assertRaises(debugging.RefusedError):
            debugging.check_stats(found)


def made_up(kind: str, file: File) -> Profile:
    """A profile of this module's functions, with rows as a download might have."""
    times = Times(2.0, 1.5, 1.0)
    profile = profile_of(kind, file, "foolscap", profiled(lambda: start(20)), times, "s")
    rows = tuple(
        replace(row, calls=9000 if kind == STOCK else 9, own_s=0.1, cumulative_s=0.2)
        for row in profile.rows
    )
    return replace(profile, rows=rows)


class ReportTests(SynchronousTestCase):
    """What is kept and shown."""

    def setUp(self) -> None:
        """Results of both kinds for the ticket's file, and of one kind for another."""
        self.path = Path(self.mktemp())
        results = Results(self.path)
        machine = {"cpu": "a cpu", "cores": 2, "system": "Linux 6", "python": "3"}
        results.add_session("s", {"machine": machine, "versions": {"twisted": "1"}})
        for kind in KINDS:
            results.add(made_up(kind, TICKET))
        with open(self.path, "a", encoding="utf-8") as handle:
            handle.write('{"kind": "fa')
        results = Results(self.path)
        results.add(made_up(FAST, File(MB, Encoding(3, 10), 128 * KIB)))
        self.results = Results(self.path)

    def test_kept(self) -> None:
        """What was written is read again, but for a line that was cut short."""
        self.assertEqual([each.kind for each in self.results.profiles], [STOCK, FAST, FAST])
        profile = made_up(FAST, TICKET)
        again = Results(self.path)
        again.add(profile)
        newest = Results(self.path).newest()[profile.case][FAST]
        self.assertEqual(newest.rows, profile.rows)
        self.assertEqual(newest.layers, profile.layers)

    def test_wait(self) -> None:
        """The wait is what the busy seconds leave of the wall time."""
        profile = profile_of(STOCK, TICKET, "http", profiled(lambda: start(9)), Times(3, 1, 1), "s")
        self.assertAlmostEqual(profile.row(WAIT_TITLE).own_s + profile.busy_s, 3.0)

    def test_section(self) -> None:
        """The ticket's table and its reading come first, then other files."""
        text = report.section(self.results)
        self.assertIn("| desire: `Share._desire` / `Ledger.desire` | 6,428 | 2.8 | 9,000 |", text)
        self.assertIn(
            "**Which rows vanished.** loop, or events taken (9,000 calls and 0.20 s, now", text
        )
        self.assertLess(text.index("20-of-60"), text.index("1 MB, 3-of-10"))
        self.assertIn("a cpu, 2 cores", text)
        self.assertIn("log calls", report.table(self.results.newest()[TICKET, "foolscap"]))

    def test_report(self) -> None:
        """The command writes the section from what is kept, and leaves the page's rest alone."""
        docs = Path(self.mktemp())
        docs.mkdir()
        page = docs / command.PAGE
        marks = sections.marks(command.SECTION)
        page.write_text("before\n{}\n{}\nafter\n".format(*marks), encoding="utf-8")
        options = ["--report", "--results", str(self.path), "--docs", str(docs)]
        self.assertEqual(command.main(options), 0)
        text = page.read_text(encoding="utf-8")
        self.assertTrue(text.startswith("before\n") and text.endswith("\nafter\n"))
        self.assertIn("20-of-60", text)

    def test_callgrind(self) -> None:
        """The export names each function with its own nanoseconds and its calls."""
        if importlib.util.find_spec("pyprof2calltree") is None:
            raise SkipTest("pyprof2calltree is of the bench extra")
        path = Path(self.mktemp()) / "folder" / "fast.callgrind"
        callgrind.write(profiled(lambda: start(5)), path)
        text = path.read_text(encoding="utf-8")
        self.assertIn("events: ns", text)
        self.assertIn("fn=branch", text)
        self.assertIn("cfn=leaf\ncalls=5 ", text)

    def test_other_sources(self) -> None:
        """A node in which none of the functions ran is an error and not a table of zeros."""
        check_rows(made_up(FAST, TICKET))
        times = Times(1.0, 1.0, 1.0)
        with self.assertRaises(GridError):
            check_rows(profile_of(FAST, TICKET, "http", profiled(lambda: start(1)), times, "s"))


class SmokeTests(SynchronousTestCase):
    """Real nodes under twistd's profiler."""

    def test_profile(self) -> None:
        """A node that downloads over Foolscap is profiled, and its own rows are found."""
        file = File(MB, Encoding(3, 10), 128 * KIB)
        directory = Path(self.mktemp()).resolve()
        with Stage(directory, file, "foolscap", (), lambda _line: None) as stage:
            profile, found = stage.profile(FAST, "s")
        self.assertGreater(profile.reads, 2)
        for title in (READS_TITLE, "send: one request", "one answer", "banana in", "delivery"):
            self.assertGreater(profile.row(title).calls, 0, title)
        self.assertGreater(profile.wall_s, 0.0)
        # A node's start makes millions of calls, most for more than a thousand imports: what is
        # left are those of modules that nobody needs before a download.
        self.assertLess(profile.calls, 500_000)
        self.assertLess(sum(found[key][1] for key in found if key[2] == "exec_module"), 50)
        self.assertNotIn("URI:", json.dumps(profile.as_json()))
        self.assertTrue(stats.layers(found)["fast: core"])


@contextlib.contextmanager
def environment(name: str, value: str) -> Iterator[None]:
    """A variable, for the processes that are started meanwhile."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
