"""The sweep: its order, its resumption, its tables; and one small sweep on real nodes."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.util
import io
import json
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from misc.bench import (
    cases,
    command,
    crowds,
    estimates,
    report,
    studies,
    study_rows,
    tables,
    targets,
    together,
)
from misc.bench.agenda import Agenda, Limits, turns
from misc.bench.cases import KIB, LAN, MB, Block, Case, Encoding, File
from misc.bench.kept import Line, read_lines
from misc.bench.results import FAST, OK, OVER_LIMIT, STOCK, Measures, Results, Run, Stopped
from misc.bench.study_rows import AT_ONCE, IN_TURN, WAYS
from misc.bench.sweep import Sweep
from misc.grid import Client, ClientOptions, GridError

CASE = Case(File(MB, Encoding(3, 10), 128 * KIB), "foolscap", LAN)
LIMITS = Limits()


def run_of(case: Case, kind: str, number: int, seconds: float) -> Run:
    """A run that came to its end."""
    counters = {"recomputations": 1, "changes": 2, "memory_peak_bytes": 60 * MB}
    measures = Measures(seconds, 0.01, 0.5, 90, 100, 0.5, 7, MB, counters if kind == FAST else {})
    return Run(case, kind, number, OK, "s", measures=measures)


def stopped_run(case: Case, limit_s: float, segments: int, last_byte_s: float) -> Run:
    """A run of stock that was given up; its first segment came after a second."""
    stopped = Stopped(segments * case.file.segment_bytes, 1.0, last_byte_s, 0.5)
    return Run(case, STOCK, 0, OVER_LIMIT, "s", stopped=stopped, limit_s=limit_s)


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

    def test_drain(self) -> None:
        """What a client had asked for when it was given up is through before the next begins."""
        case = dataclasses.replace(
            CASE, file=dataclasses.replace(CASE.file, segment_bytes=1_000_000)
        )
        self.assertEqual(case.on_wire(LAN).drain_s, 0)
        self.assertEqual(case.on_wire("200ms").drain_s, 0.2)
        self.assertAlmostEqual(case.on_wire("1MB/s-a-server").drain_s, 1.02)
        self.assertAlmostEqual(case.on_wire("2.5MB/s-in-all").drain_s, 0.42)

    def test_interleaved(self) -> None:
        """Neither kind always comes first."""
        kinds = [kind for kind, _ in turns(2)]
        self.assertEqual(kinds, [STOCK, FAST, FAST, STOCK])


class ResultsTests(SynchronousTestCase):
    """What is kept, and what follows from it."""

    def setUp(self) -> None:
        """An empty file of results."""
        self.path = Path(self.mktemp())
        self.results = Results(self.path)

    def test_resumed(self) -> None:
        """A sweep goes on where it stopped, after a line that was cut short."""
        self.results.add(run_of(CASE, STOCK, 0, 0.1))
        with open(self.path, "a", encoding="utf-8") as handle:
            handle.write('{"case": "1000')
        again = Results(self.path)
        self.assertEqual(again.runs, self.results.runs)
        again.add(run_of(CASE, FAST, 0, 0.1))
        self.assertEqual(len(Results(self.path).runs), 2)
        for number in (1, 2):
            again.add(run_of(CASE, STOCK, number, 0.1))
            self.assertEqual(Sweep([CASE], again, "s", LIMITS).left, [CASE])
            again.add(run_of(CASE, FAST, number, 0.1))
        self.assertEqual(Sweep([CASE], Results(self.path), "s", LIMITS).left, [])

    def test_short_lines(self) -> None:
        """What is kept of a run, good or given up, is read as it was written."""
        self.results.add(run_of(CASE, FAST, 1, 0.5))
        self.results.add(stopped_run(CASE, 3.0, 2, 1.5))
        self.assertEqual(Results(self.path).runs, self.results.runs)
        self.assertNotIn("null", self.path.read_text(encoding="utf-8"))

    def test_long_ones_once(self) -> None:
        """Runs of a kind are repeated while all of them stay below a limit."""
        self.results.add(run_of(CASE, STOCK, 0, 3.0))
        agenda = Agenda(self.results, LIMITS)
        self.assertIsNone(agenda.next(CASE, [STOCK]))
        self.assertEqual(agenda.next(CASE), (FAST, 0))
        self.assertIsNotNone(Agenda(self.results, Limits(repeat_s=60.0)).next(CASE, [STOCK]))

    def test_given_up(self) -> None:
        """A case that was given up is not tried again, unless more time is allowed."""
        self.results.add(stopped_run(CASE, LIMITS.stock_s, 4, 4.0))
        self.assertIsNone(Agenda(self.results, LIMITS).next(CASE, [STOCK]))
        longer = Limits(stock_s=2 * LIMITS.stock_s)
        self.assertIsNotNone(Agenda(self.results, longer).next(CASE, [STOCK]))

    def test_known_rate(self) -> None:
        """Where a smaller file told the rate, a larger one is given up after its first byte."""
        large = CASE.with_length(100 * MB)
        agenda = Agenda(self.results, LIMITS)
        self.assertEqual(agenda.limit_s(large, STOCK), LIMITS.stock_s)
        self.results.add(stopped_run(CASE.with_length(10 * MB), LIMITS.stock_s, 40, 4.0))
        self.assertEqual(agenda.limit_s(large, STOCK), LIMITS.known_stock_s)
        self.assertEqual(agenda.limit_s(large, FAST), LIMITS.fast_s)

    def test_lanes(self) -> None:
        """What needs much CPU runs alone, also where the wire is slow."""
        slow = CASE.with_length(10 * MB).on_wire("1MB/s-a-server")
        agenda = Agenda(self.results, LIMITS)
        self.assertEqual(agenda.lane_kinds(slow), [STOCK, FAST])
        self.assertEqual(agenda.lane_kinds(slow.on_wire("50ms")), [])
        heavy = run_of(slow.on_wire(LAN), STOCK, 0, 9.0)
        assert heavy.measures is not None
        self.results.add(
            dataclasses.replace(
                heavy, measures=dataclasses.replace(heavy.measures, client_cpu_s=9.0)
            )
        )
        self.assertEqual(agenda.lane_kinds(slow), [FAST])

    def test_estimate(self) -> None:
        """The first segment's time, and of each other what those that came took."""
        segments = 100
        case = CASE.with_length(segments * CASE.file.segment_bytes)
        self.results.add(stopped_run(case, 3.0, 5, 3.0))
        shown = estimates.seconds(self.results, case, STOCK)
        assert shown is not None
        self.assertTrue(shown.is_estimate)
        self.assertAlmostEqual(shown.value, 1.0 + 99 * 0.5)
        self.results.add(run_of(case, FAST, 0, 0.505))
        self.assertEqual(tables.times_faster(self.results, case), "~ 100")
        self.assertIn("~ 50.5", summary_of(self.results, case))

    def test_page(self) -> None:
        """Medians, their spread and what was given up stand in the tables."""
        large = CASE.with_length(10 * MB)
        for number, seconds in enumerate((1.0, 3.0, 2.0)):
            self.results.add(run_of(CASE, STOCK, number, seconds))
            self.results.add(run_of(CASE, FAST, number, seconds / 10))
            self.results.add(run_of(large, FAST, number, seconds))
        self.results.add(stopped_run(large, 60.0, 1, 1.0))
        page = tables.page(self.results)
        self.assertIn("| 3-of-10 | 2.00 (1.00-3.00, 3) | 0.20 (0.10-0.30, 3) | 10.0 | > 60 |", page)
        self.assertIn("> 30 |", page)
        section = report.section(self.results, {"one.svg": "A picture."})
        self.assertIn("![A picture.](figures/one.svg)", section)
        self.assertIn("> 60", report.short_table(self.results, [large]))

    def test_targets(self) -> None:
        """A target is met, not met, or nothing is said of it."""
        row = targets.TICKET
        for number in range(3):
            self.results.add(run_of(row.case, STOCK, number, 2.0))
            self.results.add(run_of(row.case, FAST, number, 2.0 / (row.least_times + 1)))
        lines = targets.section(self.results, self.results).splitlines()
        self.assertTrue(any(line.endswith("| 28 | met |") for line in lines))
        self.assertTrue(any(line.endswith("| 110 | - |") for line in lines))
        self.assertTrue(
            any(line.endswith("foolscap | 60.0 MB | <= 67.1 MB | met |") for line in lines)
        )
        chosen = {case.key for block in cases.PRESETS["targets"] for case in block.cases()}
        self.assertLessEqual({row.case.key for row in targets.ROWS}, chosen)


class CrowdsTests(SynchronousTestCase):
    """What the studies of many files do, and what follows from it."""

    def test_small_turns(self) -> None:
        """Each kind fetches each file once, and both are first equally often."""
        found = list(crowds.small_turns(4 * crowds.BLOCK))
        for kind in (STOCK, FAST):
            self.assertEqual([n for each, n in found if each == kind], list(range(200)))
        firsts = [kind for kind, number in found if number % crowds.BLOCK == 0]
        self.assertEqual(firsts, [STOCK, FAST, FAST, STOCK] * 2)

    def test_batches(self) -> None:
        """Each budget is measured both ways, as often as is asked."""
        found = list(crowds.batches(3))
        self.assertEqual(len(set(found)), len(found))
        for memory in crowds.MEMORIES:
            for way in WAYS:
                of_it = [b for b in found if (b.memory, b.way) == (memory, way)]
                self.assertEqual([b.transport for b in of_it], ["foolscap"] * 3 + ["http"] * 3)

    def test_small_rows(self) -> None:
        """Totals and slowest ones are compared; a half of a study says nothing."""
        lines: list[Line] = [
            {"transport": "foolscap", "kind": kind, "number": number, "seconds": seconds}
            for kind, slowest in ((STOCK, 0.2), (FAST, 0.5))
            for number, seconds in enumerate([0.1 if kind == STOCK else 0.05] * 98 + [slowest] * 2)
        ]
        total, slow = study_rows.small_files(lines)
        self.assertEqual(total.title, "100 files of 10 KB, total, fast / stock, foolscap")
        self.assertEqual((total.is_met, slow.is_met), (True, False))
        self.assertEqual(slow.measured, "2.50 (0.5 / 0.2 s)")
        self.assertEqual(study_rows.small_files(lines[:-1]), [])
        section = targets.section(Results(Path(self.mktemp())), Results(Path("none")), [total])
        self.assertIn("(5.9 / 10.2 s) | <= 1.00 | met |", section)

    def test_second_read_rows(self) -> None:
        """Only what the wire adds counts, and not the first read of a file, number 0."""
        lines: list[Line] = [
            {
                "transport": "http",
                "kind": kind,
                "number": number,
                "first_byte_s": 0.5 if number == 0 else own_s + trips * round_trip_s,
                "round_trip_s": round_trip_s,
            }
            for kind, own_s, trips in ((STOCK, 0.02, 2.5), (FAST, 0.012, 1.1))
            for round_trip_s in (0.0, 0.05)
            for number in range(3)
        ]
        (row,) = study_rows.second_reads(lines)
        self.assertEqual((row.measured, row.is_met), ("1.10 (67 ms, 12 on loopback)", True))
        self.assertIn("(stock 2.50), http", row.title)
        self.assertEqual(study_rows.second_reads([x for x in lines if x["round_trip_s"]]), [])

    def test_crowd_rows(self) -> None:
        """Time, fairness and memory each have a row, and the worst run counts."""
        lines: list[Line] = [
            {
                "transport": "foolscap",
                "kind": kind,
                "way": way,
                "length": 100 * MB,
                "wall_s": 1.0 if way == IN_TURN else 1.2,
                "seconds": [0.5, 0.6 + number / 10],
                **({"memory": "8 MiB", "memory_option_bytes": 8 << 20} if kind == FAST else {}),
                "memory_peak_bytes": 8 << 20,
                "memory_over_idle_bytes": (6 + 4 * number) << 20,
            }
            for number in range(3)
            for way in WAYS
            for kind in (STOCK, FAST)
        ]
        rows = study_rows.crowd(lines)
        self.assertEqual([row.is_met for row in rows], [False, False, True, False])
        self.assertEqual([row.measured for row in rows], ["1.20", "1.60", "8.4 MB", "14.7 MB"])
        self.assertIn("2 x 100 MB at once / one after another (stock 1.20)", rows[0].title)
        self.assertEqual(study_rows.crowd([x for x in lines if x["way"] == AT_ONCE]), [])


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
        self.assertEqual([run["kind"] for run in runs], [STOCK, FAST] * 2)
        self.assertTrue(all("seconds" in run and "outcome" not in run for run in runs))
        self.assertEqual({run.get("counters", {}).get("fallbacks", 0) for run in runs}, {0})
        self.assertNotIn("URI:", path.read_text(encoding="utf-8"))
        if importlib.util.find_spec("matplotlib") is None:
            return  # the tests' environment need not have it
        docs.mkdir()
        shutil.copy(command.DOCS / "performance.md", docs)
        with quiet():
            self.assertEqual(command.main([*options, "--report", "--docs", str(docs)]), 0)
        self.assertIn("| loopback, foolscap,", (docs / "performance.md").read_text("utf-8"))


class CommandTests(SynchronousTestCase):
    """What the command does with files."""

    def test_studies_leave_the_sweep_alone(self) -> None:
        """A study writes its own file, and no option of the sweep's makes it delete another."""
        results = Path(self.mktemp())
        results.mkdir()
        swept = results / command.SWEEP_RESULTS
        swept.write_text("{}")
        written: list[Path] = []
        studies_found = {
            name: (lambda path, _say: written.append(path), file_name)
            for name, (_measure, file_name) in command.STUDIES.items()
        }
        self.patch(command, "RESULTS", results)
        self.patch(command, "STUDIES", studies_found)
        for name in studies_found:
            self.assertEqual(command.main(["--" + name.replace("_", "-"), "--again"]), 0)
        self.assertEqual(written, [results / name for _, name in studies_found.values()])
        self.assertTrue(swept.exists())


class TogetherTests(SynchronousTestCase):
    """Downloads that one thread reads, from a server that says what it is told to."""

    def fetch(self, *answers: bytes) -> list[tuple[float, str]]:
        """What comes of such answers, one a request, each to its end."""
        client = Client("scripted", Path(self.mktemp()), ClientOptions())

        def serve(listener: socket.socket) -> None:
            for answer in answers:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(10_000)
                    connection.sendall(answer)

        with socket.create_server(("127.0.0.1", 0)) as listener:
            host, port = listener.getsockname()
            client.url = f"http://{host}:{port}/"
            server = threading.Thread(target=serve, args=(listener,), daemon=True)
            server.start()
            buffers = together.make_buffers(len(answers), 9)
            try:
                return together.fetch_together(client, ["cap"] * len(answers), buffers, 10.0)
            finally:
                server.join()

    def test_whole(self) -> None:
        """Each one's hash is of its body."""
        head = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"
        found = self.fetch(head + b"plaintext", head + b"something")
        expected = [hashlib.sha256(body).hexdigest() for body in (b"plaintext", b"something")]
        self.assertEqual([sha256 for _, sha256 in found], expected)

    def test_not_whole(self) -> None:
        """What is refused, or longer or shorter than announced, is an error."""
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
        refused = head.replace(b"200 OK", b"410 Gone") + b"plaintext"
        endless = b"HTTP/1.1 200 OK\r\nX: " + bytes(together.HEAD_BYTES)
        for answer in (b"", head, head + b"plain", head + b"plaintext!", refused, endless):
            self.assertRaises(GridError, self.fetch, answer)


class CrowdsSmokeTests(SynchronousTestCase):
    """The studies of many files, with few and small ones, on real nodes."""

    def test_small_files(self) -> None:
        """Each file is fetched by each kind over each transport, and told of."""
        path, said = Path(self.mktemp()), list[str]()
        crowds.small_files(path, said.append, count=3)
        lines = read_lines(path)
        places = {(line["transport"], line["kind"], line["number"]) for line in lines}
        self.assertEqual((len(lines), len(places)), (12, 12))
        self.assertEqual(len(study_rows.small_files(lines)), 4)
        self.assertNotIn("URI:", path.read_text(encoding="utf-8"))

    def test_second_reads(self) -> None:
        """What was remembered is used: a second read waits for one round trip."""
        path, said = Path(self.mktemp()), list[str]()
        studies.second_reads(path, said.append, count=1)
        lines = read_lines(path)
        self.assertEqual(len(lines), 16)
        self.assertEqual(len(study_rows.second_reads(lines)), 2)

    def test_crowd(self) -> None:
        """All batches come to their end, on fast without help from stock."""
        path, said = Path(self.mktemp()), list[str]()
        crowds.crowd(path, said.append, length=3 * MB, count=3, runs=1)
        lines = read_lines(path)
        self.assertEqual(len(lines), len(list(crowds.batches(1))))
        self.assertEqual({line.get("fallbacks", 0) for line in lines}, {0})
        self.assertTrue(all(len(line["seconds"]) == 3 for line in lines))
        self.assertEqual(len(study_rows.crowd(lines)), 16)
        self.assertNotIn("URI:", path.read_text(encoding="utf-8"))


def summary_of(results: Results, case: Case) -> str:
    """A case as the summary shows it."""
    return report.summary(results, [case])


@contextlib.contextmanager
def quiet() -> Iterator[io.StringIO]:
    """What a command prints, kept."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        yield said
