"""What is kept of one download: of simulated ones, of hostile ones, of endless ones."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any
from weakref import ref

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tahoe_fastdl.core.download import Download
from tahoe_fastdl.core.reads import Kind, Stage
from tahoe_fastdl.core.watching import ReadNow, Standing
from tahoe_fastdl.shell.recording import FileFacts, ServerFacts, ServerShare
from tahoe_fastdl.shell.watcher import Watcher
from tahoe_fastdl.status.journal import KEPT, Journal
from tahoe_fastdl.status.record import FULL, MAX_RUNS, SMALL, Record, runs
from tahoe_fastdl.status.views import download, summary

from .recordcheck import check_document, check_trace
from .sharemaker import encode
from .simulator import Simulation
from .strategies import examples, masks, worlds
from .worlds import Mood, World, read, spread

FACTS = FileFacts("mfqwcylbmfqwcylbmfqwcylbme", 10**9, 3, 10)
STANDING = Standing(10**9, 10**9, 10**9, 10**9, 10**9, 131072, 2**22)
MIB = 2**20


class WatchedCore:
    """A core before which a watcher stands, as the simulator sees it."""

    def __init__(self, core: Download, watcher: Watcher) -> None:
        self._core = core
        self.receive = watcher.receive

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)


class Server:
    """As much of an ``IServer`` as the watcher looks at."""

    def __init__(self, number: int) -> None:
        self.number = number

    def get_nickname(self) -> str:
        """Any."""
        return f"server {self.number}"

    def get_longname(self) -> str:
        """Any."""
        return f"v0-{self.number}"


def record_of(world: World) -> tuple[Simulation, Record, Journal]:
    """Simulate a world and record it."""
    simulation = Simulation(world)
    journal = Journal(lambda: simulation.now)
    watcher = Watcher(
        simulation.core, journal, FACTS, lambda server: int(server.number), simulation,
        lambda: simulation.now,
    )  # fmt: skip
    tells: list[Any] = []
    core = simulation.core
    simulation.core = WatchedCore(core, watcher)  # type: ignore[assignment]
    for number in range(len(world.servers)):
        tells.append(watcher.asked(Server(number)))
    simulation.run()
    (record,) = list(journal) or [Record(0, FACTS, lambda: STANDING, journal.peers, SMALL, print)]
    return simulation, record, journal


class Simulated(SynchronousTestCase):
    """A recorder beside the simulator's downloads."""

    def test_watching_changes_nothing(self) -> None:
        """A download that is recorded decides as one that is not, and its books are told right."""

        @examples(120)
        @given(worlds())
        def check(world: World) -> None:
            plain = Simulation(world).run()
            simulation, record, journal = record_of(world)
            self.assertEqual(plain.sent, simulation.sent)
            counters, tally = simulation.core.counters, record.tally
            self.assertEqual(plain.core.counters, counters)
            self.assertEqual(tally.reads, counters.reads_sent)
            # what scouts brought for nothing is not told of one read
            self.assertLessEqual(tally.wasted_bytes, counters.bytes_wasted)
            document = download(record, journal, "0", "0")
            check_document(self, document)
            check_trace(self, document)
            self.assertEqual(len(document["reads"]), tally.reads)

        check()

    def test_a_straggler_is_found(self) -> None:
        """A server that becomes slow has the late reads, and others' reads are told as hedges."""
        file = encode(20_000_000, 3, 6, 131072)
        servers = list(spread(file, 6))
        servers[0] = evolve(servers[0], reads=(Mood.GOOD, Mood.GOOD, Mood.SLOW))
        _simulation, record, journal = record_of(World(file, tuple(servers), (read(0, file.size),)))
        document = download(record, journal, "0", "0")
        late = {
            document["shares"][row[0]]["shnum"] for row in document["reads"] if "late" in row[9]
        }
        self.assertEqual(late, {0})
        hedging = {
            document["shares"][row[0]]["shnum"] for row in document["reads"] if "hedge" in row[9]
        }
        self.assertTrue(hedging)
        self.assertNotIn(0, hedging)
        self.assertGreater(journal.peers.of(0).hedged, 0)
        told = [text for _at, text in document["problems"]]
        self.assertTrue(any("is late" in text or "counts as stalled" in text for text in told))
        self.assertEqual(document["summary"]["state"], "done")
        self.assertEqual(document["summary"]["delivered_bytes"], file.size)

    def test_map_fills(self) -> None:
        """Of a download in which nothing goes wrong each segment is had from k shares."""
        file = encode(3_000_000, 3, 6, 131072)
        _simulation, record, journal = record_of(
            World(file, spread(file, 6), (read(0, file.size),))
        )
        document = download(record, journal, "0", "0")
        had: dict[int, set[int]] = {}
        for _at, share, first, stop, state in document["map"]:
            for segment in range(first, stop) if state == "have" else ():
                had.setdefault(segment, set()).add(share)
        self.assertEqual(len(had), document["summary"]["num_segments"])
        self.assertTrue(all(len(shares) >= 3 for shares in had.values()), had)


def flood(record: Record, count: int) -> None:
    """Everything that can be told, very often, by servers that want to be told of."""
    long = "\U0001f40d" * 500
    for number in range(count):
        now, share = number / 10, number % 5000
        question = record.asked(now, share)
        record.found(now, question, share, list(range(256)) if number % 2 else None)
        read_now = ReadNow(
            number, share, share % 256, share, Kind.BLOCKS, Stage.LATE, number, number + 1
        )
        record.sent(now, read_now, number, 10**6, (share,) if number % 3 else ())
        record.overdue(now, read_now)
        if number % 7:
            record.answered(now, number, 10**6, bool(number % 2))
        elif number % 2:
            record.read_failed(now, number, long)
        which = ServerShare(share, share % 256, share)
        record.blocks(now, which, "bad", 0b101 << number % 1000)
        record.lied(now, which, long)
        record.wanted(now, number, 0, 10**9)
        record.delivered(now, number, number, number + 1)
        record.paused(now, number % 50)
        record.unpaused(now, number % 50)
        record.worked(now, (0.1, 0.1, 0.1), number, number + 1, number % 8)
        record.sampled(now, STANDING)


class Bounds(SynchronousTestCase):
    """Memory, and what is told about it."""

    def test_two_mib(self) -> None:
        """However long a download and however hostile its servers, it takes less than 2 MiB."""
        journal = Journal(lambda: 0.0)
        for server in range(5000):  # what is known of servers is kept once, not by download
            facts = ServerFacts("\U0001f40d" * 500, str(server), "")
            journal.know(server, self, lambda facts=facts: facts)  # type: ignore[misc]
        flood(journal.begin(FACTS, lambda: STANDING), 100)
        tracemalloc.start()
        try:
            before, _peak = tracemalloc.get_traced_memory()
            record = journal.begin(FACTS, lambda: STANDING)
            self.assertIs(record.capacity, FULL)
            flood(record, 12_000)
            after, _peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        self.assertLess(after - before, 2 * MIB)
        self.assertGreater(after - before, MIB // 2)  # it was full indeed
        document = download(record, journal, "0", "0")
        check_document(self, document)
        thinned = document["thinned"]
        for name, offered in (
            ("reads", 12_000), ("dyhb", 12_000), ("deliveries", 12_000), ("pauses", 12_000),
            ("samples", 12_000), ("work", 36_000), ("problems", 12_000),
        ):  # fmt: skip
            if name == "problems":
                self.assertGreater(thinned[name] + len(document[name]), offered)
            else:
                self.assertEqual(thinned[name] + len(document[name]), offered, name)

    def test_fifty_downloads(self) -> None:
        """The last 50 are kept; all that run are listed, but only 50 with full tables."""
        journal = Journal()
        ended = [journal.begin(FACTS, lambda: STANDING) for _ in range(60)]
        self.assertEqual(
            [record.capacity is FULL for record in ended], [True] * KEPT + [False] * 10
        )
        for record in ended:
            record.ended(1e12, STANDING)
        running = [journal.begin(FACTS, lambda: STANDING) for _ in range(3)]
        kept = [record.id for record in journal]
        self.assertEqual(kept[:3], [record.id for record in reversed(running)])
        self.assertEqual(len(kept), KEPT)
        self.assertEqual(kept[3:], list(range(60, 60 - (KEPT - 3), -1)))
        self.assertIsNone(journal.get(1))

    def test_nothing_hangs_on_it(self) -> None:
        """A record of a download that is over keeps nothing of the download alive."""

        class Core:
            def look(self) -> Standing:
                return STANDING

        core = Core()
        gone = ref(core)
        record = Journal().begin(FACTS, core.look)
        record.ended(1e12, STANDING)
        del core
        gc.collect()
        self.assertIsNone(gone())
        self.assertEqual(record.standing(), STANDING)

    def test_runs(self) -> None:
        """Bits are told as runs; of very many the last stands for all that follow."""

        @examples(200)
        @given(masks(300))
        def check(mask: int) -> None:
            found = runs(mask)
            told = sum((1 << stop) - (1 << first) for first, stop in found)
            self.assertLessEqual(len(found), MAX_RUNS)
            if len(found) < MAX_RUNS:
                self.assertEqual(told, mask)
            self.assertEqual(told & mask, mask)

        check()


class States(SynchronousTestCase):
    """How a download ends."""

    def setUp(self) -> None:
        """One runs."""
        self.now = 100.0
        self.journal = Journal(lambda: self.now)
        self.record = self.journal.begin(FACTS, lambda: STANDING)

    def end(self) -> str:
        """What its summary says afterwards."""
        self.now += 2
        self.record.ended(self.now, STANDING)
        self.assertEqual(summary(self.record)["seconds"], 2.0)
        return str(summary(self.record)["state"])

    def test_running(self) -> None:
        """Until it ends it runs, whatever happened."""
        self.record.failed(self.now, 1, "NoShares: none")
        self.assertEqual(summary(self.record)["state"], "running")

    def test_done(self) -> None:
        """Nothing special."""
        self.record.left(self.now, 1, False)
        self.assertEqual(self.end(), "done")

    def test_stopped(self) -> None:
        """A reader had enough."""
        self.record.left(self.now, 1, True)
        self.assertEqual(self.end(), "stopped")

    def test_failed(self) -> None:
        """One reader's failure says more than another that stops."""
        self.record.left(self.now, 1, True)
        self.record.failed(self.now, 2, "NoShares: none")
        self.assertEqual(self.end(), "failed")
        self.assertEqual(summary(self.record)["why"], "NoShares: none")

    def test_fallback(self) -> None:
        """Our own fault says most, and is the last fallback of the overview."""
        self.record.fell_back(self.now, "KeyError: 5", True)
        self.record.failed(self.now, 2, "NoShares: none")
        self.assertEqual(self.end(), "fallback")
        self.assertEqual(summary(self.record)["kind"], "fallback")
        last = self.journal.peers.last_fallback
        assert last is not None
        self.assertEqual((last.reason, last.download), ("KeyError: 5", self.record.id))

    def test_not_supported(self) -> None:
        """A file that is left to stock on purpose is no fault of ours."""
        self.record.fell_back(self.now, "FileTooLarge: too many segments", False)
        self.assertEqual(self.end(), "fallback")
        self.assertIsNone(self.journal.peers.last_fallback)

    def test_read_on(self) -> None:
        """If the same node reads on it is the same download, and counted once."""
        self.end()
        self.record.resumed(lambda: STANDING)
        self.assertEqual(summary(self.record)["state"], "running")
        self.record.ended(self.now + 3, STANDING)
        self.assertEqual(summary(self.record)["seconds"], 5.0)
        self.assertEqual(self.journal.peers.totals.ended["done"], 1)

    def test_rate_and_time_left(self) -> None:
        """The rate is that of the last seconds, and time left follows from it."""
        self.record.wanted(self.now, 1, 0, 1_000_000)
        for _tick in range(100):  # ten seconds: at first 1,000 bytes a tick, then 4,000
            length = 1000 if self.now < 105 else 4000
            self.record.delivered(self.now, 1, 0, length)
            self.record.sampled(self.now, STANDING)
            self.now += 0.1
        found = summary(self.record)
        self.assertLess(abs(found["rate_bytes_per_s"] - 40_000), 2000)
        self.now += 3  # nothing comes any more
        self.assertEqual(summary(self.record)["rate_bytes_per_s"], 0.0)
        self.assertIsNone(summary(self.record)["left_s"])
        self.now -= 3
        left = (1_000_000 - found["delivered_bytes"]) / found["rate_bytes_per_s"]
        self.assertAlmostEqual(found["left_s"], left, places=3)


class Telling(SynchronousTestCase):
    """A recorder that breaks."""

    def test_errors_while_recording(self) -> None:
        """An error in the recorder is logged once, and the download goes on as if it were not."""

        class Broken(Record):
            def sent(self, *_arguments: Any) -> None:
                raise RuntimeError("out of ink")

        class BrokenJournal(Journal):
            def begin(self, facts: FileFacts, look: Any) -> Record:
                return Broken(1, facts, look, self.peers, SMALL, lambda _record: None)

        file = encode(3_000_000, 3, 6, 131072)
        simulation = Simulation(World(file, spread(file, 6), (read(0, file.size),)))
        core = simulation.core
        watcher = Watcher(core, BrokenJournal(), FACTS, lambda _server: 0, simulation)
        simulation.core = WatchedCore(core, watcher)  # type: ignore[assignment]
        simulation.run().check_end()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class Shown(SynchronousTestCase):
    """Small things of the documents."""

    def test_json_has_no_nan(self) -> None:
        """A record of nothing at all is a valid document."""
        journal = Journal(lambda: 1.0)
        document = download(journal.begin(FACTS, lambda: STANDING), journal, "0", "0")
        check_document(self, document)
        check_trace(self, document)

    def test_any_flood(self) -> None:
        """Whatever was left out, rows and counts of the small tables add up too."""

        @examples(20)
        @given(st.integers(0, 2000))
        def check(count: int) -> None:
            journal = Journal()
            record = Record(
                1, FACTS, lambda: STANDING, journal.peers, SMALL, lambda _record: None, lambda: 0.0
            )
            flood(record, count)
            document = download(record, journal, "0", "0")
            check_document(self, document)
            check_trace(self, document)
            for name in ("reads", "dyhb", "deliveries", "pauses", "samples"):
                self.assertEqual(document["thinned"][name] + len(document[name]), count, name)

        check()
