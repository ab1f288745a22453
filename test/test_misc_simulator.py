"""Downloads in virtual time: the lines they pass, the policies, and what is shown of them."""

from __future__ import annotations

import importlib.util
import random
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from misc import sections
from misc.bench.kept import read_lines
from misc.simulator import calibration, command, report, studies
from misc.simulator.client import Client, FastDownload
from misc.simulator.policies import (
    FAST,
    NEVER,
    PATIENT,
    POLICIES,
    STOCK,
    with_default_rate,
    with_hedge_part,
)
from misc.simulator.stock import StockDownload, Tree
from misc.simulator.wire import Downlink, Processor, Server, ServerSpec, Timeline, Trouble
from misc.simulator.worlds import KIB, MB, Found, Setting, simulate
from misc.simulator.zero_file import ZeroFile, file_of
from tahoe_fastdl.core import covering, servers
from tahoe_fastdl.core import records as r
from tahoe_fastdl.core.forensics import check_whole
from tahoe_fastdl.core.share import Fragment
from tahoe_fastdl.core.ueb import parse_ueb
from tahoe_fastdl.core.window import MIB
from tahoe_fastdl.shell.worker import decode_batch

CALM = Trouble()


def server(timeline: Timeline, downlink: Downlink, **spec: float) -> Server:
    """One with a round trip of 100 ms and 1 MB/s, unless told otherwise."""
    chosen = {"round_trip_s": 0.1, "rate": 1e6, **spec}
    return Server(ServerSpec(**chosen), CALM, random.Random(1), timeline, downlink)


class LinesTests(SynchronousTestCase):
    """Times are those that arithmetic gives."""

    def setUp(self) -> None:
        self.timeline = Timeline()
        self.ends: dict[str, float] = {}

    def ask(self, name: str, asked: Server, length: int) -> None:
        def done(is_here: bool) -> None:
            self.ends[name] = self.timeline.now if is_here else -self.timeline.now

        asked.ask(length, done)

    def note(self, name: str) -> None:
        self.ends[name] = self.timeline.now

    def test_one_read(self) -> None:
        """A read takes a round trip, what the server needs to find it, and length / rate."""
        one = server(self.timeline, Downlink(self.timeline), seek_s=0.02)
        self.ask("one", one, 500_000)
        self.timeline.run()
        self.assertAlmostEqual(self.ends["one"], 0.1 + 0.02 + 0.5)

    def test_one_after_another(self) -> None:
        """Reads of one server wait for one another, but not for each other's round trips."""
        one = server(self.timeline, Downlink(self.timeline))
        self.ask("first", one, 500_000)
        self.ask("second", one, 200_000)
        self.timeline.run()
        self.assertAlmostEqual(self.ends["first"], 0.6)
        self.assertAlmostEqual(self.ends["second"], 0.8)

    def test_shared_line(self) -> None:
        """Two quick servers share the downlink in halves; who is left has all of it."""
        downlink = Downlink(self.timeline, 1e6)
        for name, length in (("short", 100_000), ("long", 300_000)):
            self.ask(name, server(self.timeline, downlink, rate=1e9), length)
        self.timeline.run()
        self.assertAlmostEqual(self.ends["short"], 0.1 + 0.2, places=6)
        self.assertAlmostEqual(self.ends["long"], 0.1 + 0.4, places=6)

    def test_in_order_through_the_downlink(self) -> None:
        """Two answers of a quick server come one after another, beside another server's."""
        downlink = Downlink(self.timeline, 1e6)
        quick = server(self.timeline, downlink, rate=1e9)
        for name in ("first", "second"):
            self.ask(name, quick, 100_000)
        self.ask("other", server(self.timeline, downlink, rate=1e9), 400_000)
        self.timeline.run()
        times = [self.ends[name] for name in ("first", "second", "other")]
        for time_s, expected_s in zip(times, (0.3, 0.5, 0.7)):
            self.assertAlmostEqual(time_s, expected_s, delta=0.01)

    def test_slow_server_on_shared_line(self) -> None:
        """A server that is slower than its part of the downlink takes its own time."""
        self.ask("slow", server(self.timeline, Downlink(self.timeline, 1e8)), 500_000)
        self.timeline.run()
        self.assertAlmostEqual(self.ends["slow"], 0.6)

    def test_line_is_never_overdrawn(self) -> None:
        """However many share the downlink, all bytes together take no less than its rate allows."""
        downlink = Downlink(self.timeline, 1e6)
        chance = random.Random(7)
        lengths = [chance.randrange(1000, 90_000) for _ in range(40)]
        for number, length in enumerate(lengths):
            one = server(self.timeline, downlink, rate=chance.uniform(1e6, 1e8))
            self.ask(f"{number}", one, length)
        self.timeline.run()
        self.assertEqual(len(self.ends), len(lengths))
        last = max(self.ends.values())
        self.assertGreaterEqual(last, 0.1 + sum(lengths) / 1e6 - 1e-6)
        self.assertLess(last, 0.1 + sum(lengths) / 1e6 + 0.1)

    def test_pauses(self) -> None:
        """A server that pauses answers later, by all of its pauses and no more."""
        trouble = Trouble(pause_every_s=0.5, pause_least_s=0.25, pause_tail=1e9)
        spec = ServerSpec(round_trip_s=0.1, rate=1e6)
        one = Server(spec, trouble, random.Random(3), self.timeline, Downlink(self.timeline))
        self.ask("one", one, 3_000_000)
        self.timeline.run()
        pauses = (self.ends["one"] - 3.1) / 0.25
        self.assertGreaterEqual(pauses, 1)
        self.assertAlmostEqual(pauses, round(pauses), places=6)

    def test_death(self) -> None:
        """A dead server gives an error after a round trip, or after the silence."""
        for is_silent, expected_s in ((False, 0.1), (True, 60.05)):
            one = server(self.timeline, Downlink(self.timeline))
            one.dies_at, one.is_silent = 0.0, is_silent
            began = self.timeline.now
            self.ask("dead", one, 1000)
            self.timeline.run()
            self.assertAlmostEqual(-self.ends["dead"] - began, expected_s)

    def test_processor(self) -> None:
        """The reactor does one thing after another; two workers do two."""
        processor = Processor(self.timeline)
        for name in ("r1", "r2"):
            processor.handle(0.1, partial(self.note, name))
        for name in ("w1", "w2", "w3"):
            processor.work(0.1, partial(self.note, name))
        self.timeline.run()
        expected = {"r1": 0.1, "r2": 0.2, "w1": 0.1, "w2": 0.1, "w3": 0.2}
        self.assertEqual({name: round(when, 6) for name, when in self.ends.items()}, expected)


class ZeroFileTests(SynchronousTestCase):
    """Shares that cost nothing are real ones."""

    def test_whole_share_checks_out(self) -> None:
        """Each share, read whole, passes every check that the core makes of a whole share."""
        file = ZeroFile(10_000, 3, 7, 1200)
        for shnum in range(7):
            data = file.read(shnum, 0, file.share_size + 100)
            self.assertEqual(len(data), file.share_size)
            start = file.layout.uri_extension + file.layout.field_size
            ueb = parse_ueb(data[start:], file.ueb_hash)
            segments = list(range(file.geometry.num_segments))
            whole = Fragment(0, file.share_size, data)
            faults = check_whole(whole, shnum, file.layout, file.geometry, ueb, segments)
            self.assertEqual(list(faults), [])

    def test_check_can_fail(self) -> None:
        """The same check finds a share under another's number, so it does look."""
        file = ZeroFile(10_000, 3, 7, 1200)
        data = file.read(1, 0, file.share_size)
        start = file.layout.uri_extension + file.layout.field_size
        ueb = parse_ueb(data[start:], file.ueb_hash)
        whole = Fragment(0, file.share_size, data)
        faults = check_whole(whole, 2, file.layout, file.geometry, ueb, [0])
        self.assertNotEqual(list(faults), [])

    def test_pieces_make_the_whole(self) -> None:
        """Reads of any range give the same bytes as a read of the whole share."""
        file = ZeroFile(10_000, 3, 7, 1200)
        whole = file.read(5, 0, file.share_size)
        for start in range(0, file.share_size, 97):
            for length in (1, 40, 500, 5000):
                self.assertEqual(file.read(5, start, length), whole[start : start + length])

    def test_decoding_is_answered_truly(self) -> None:
        """What the simulator calls decoded does decode, from secondary shares, to its hash."""
        file = ZeroFile(10_000, 3, 7, 1200)
        geometry, layout = file.geometry, file.layout
        length = geometry.block_start(2)
        sources = tuple(
            r.Source(shnum, memoryview(file.read(shnum, layout.data, length)))
            for shnum in (1, 4, 6)
        )
        tree = file.read(1, layout.crypttext_hash_tree, layout.block_hashes - layout.data)
        first_leaf = 15 * 32
        hashes = tuple(tree[first_leaf + 32 * i : first_leaf + 32 * i + 32] for i in range(2))
        decoded = decode_batch(r.Decode(1, 0, 2, sources, hashes), geometry, frozenset(), True)
        self.assertEqual(decoded.bad, ())

    def test_large_shares(self) -> None:
        """Bytes of blocks are shared by all who read them."""
        file = file_of(100 * MB, 3, 10, 128 * KIB)
        self.assertIs(file.read(0, 100, 256 * KIB), file.read(7, 5000, 256 * KIB))


def setting(policy: Any, **changes: Any) -> Setting:
    """A small one of troubled servers."""
    return Setting(**{"study": "test", "policy": policy, "needed": 3, "total": 10, "count": 40,
                      "trouble": "pauses", **changes})  # fmt: skip


class PolicyTests(SynchronousTestCase):
    """What becomes of many downloads."""

    def test_same_seed_same_numbers(self) -> None:
        """A setting gives the same line again, to the last digit; another seed, another."""
        for policy in POLICIES:
            chosen = setting(policy, count=8, trouble="pauses and deaths")
            line = simulate(chosen).as_line(chosen)
            self.assertEqual(simulate(chosen).as_line(chosen), line)
            other = replace(chosen, seed=2)
            self.assertNotEqual(simulate(other).as_line(other)["seconds"], line["seconds"])

    def test_order_with_stragglers(self) -> None:
        """With servers that pause, at p99 hedging beats not hedging, which beats stock."""
        slow = {}
        for policy in POLICIES:
            chosen = setting(policy, trouble="short pauses", length=2 * MB, count=300)
            slow[policy.name] = report.percentile(simulate(chosen).as_line(chosen), 0.99)
        stock, patient, fast = (slow[policy.name] for policy in (STOCK, PATIENT, FAST))
        assert stock is not None and patient is not None and fast is not None
        self.assertLess(fast, patient)
        self.assertLess(patient, stock)

    def test_nobody_hangs(self) -> None:
        """Every download ends, also where servers die in silence, and within its budget."""
        for policy in POLICIES:
            for needed, total in ((1, 1), (3, 10), (20, 60)):
                chosen = setting(
                    policy, needed=needed, total=total, trouble="pauses and deaths", count=12
                )
                found = simulate(chosen)
                self.assertEqual(found.hung, 0)
                self.assertEqual(len(found.outcomes), chosen.count)
                self.assertLessEqual(found.peak_bytes, 64 * MIB)
                if total > 1:
                    self.assertEqual([each.failed for each in found.outcomes], [""] * 12)

    def test_hedges_are_switched_off(self) -> None:
        """Without hedges no read is asked twice: what is fetched is the file and its hashes."""
        chosen = setting(PATIENT, count=60)
        found = simulate(chosen)
        self.assertEqual({(each.hedges, each.replaced) for each in found.outcomes}, {(0, 0)})
        self.assertLess(max(each.fetched_bytes for each in found.outcomes), 1.02 * chosen.length)
        hedged = simulate(setting(FAST, count=60))
        self.assertGreater(sum(each.hedges for each in hedged.outcomes), 0)

    def test_constants_are_put_back(self) -> None:
        """A policy is in force for its simulation only."""
        before = servers.LATE_FACTOR, servers.DEFAULT_RATE, covering.HEDGE_PART
        with PATIENT.in_force():
            self.assertEqual(servers.LATE_FACTOR, NEVER)
        with with_hedge_part(0.0).in_force():
            self.assertEqual((covering.HEDGE_PART, covering.HEDGE_FREE_BYTES), (0.0, 0))
        simulate(setting(with_default_rate(MB), count=3))
        after = servers.LATE_FACTOR, servers.DEFAULT_RATE, covering.HEDGE_PART
        self.assertEqual(after, before)
        self.assertGreater(covering.HEDGE_FREE_BYTES, 0)

    def test_crowd(self) -> None:
        """Downloads at once by one client all end, and small ones stay within the budget."""
        chosen = setting(FAST, trouble="calm", length=MB, count=60, at_once=True, downlink=125e6)
        found = simulate(chosen)
        self.assertEqual((found.hung, len(found.outcomes)), (0, 60))
        self.assertGreater(found.peak_bytes, MIB)
        self.assertLessEqual(found.peak_bytes, 64 * MIB)


class StockTests(SynchronousTestCase):
    """Stock's messages, as its sources have them."""

    def test_hashes_of_a_tree(self) -> None:
        """Of four leaves, the first needs its sibling and one uncle, the second nothing more."""
        tree = Tree(4)
        self.assertEqual(tree.needed(0), [2, 3, 4])
        self.assertEqual(tree.reads(0), [96])
        tree.learn(0)
        self.assertEqual(tree.needed(1), [])
        self.assertEqual(tree.needed(2), [5, 6])
        self.assertEqual(tree.reads(2), [64])

    def download(self, length: int, segment_bytes: int) -> StockDownload:
        client = Client.behind(0)
        spec = ServerSpec(round_trip_s=1.0, rate=1e12)
        only = Server(spec, CALM, random.Random(0), client.timeline, client.downlink)
        file = file_of(length, 1, 1, segment_bytes)
        download = StockDownload(client, file, [(0, only, (0,))])
        download.start()
        client.timeline.run()
        return download

    def test_round_trips(self) -> None:
        """A search, one for the first segment if its size was guessed, one for each other;
        two more if it was not."""
        right = self.download(4 * MIB, MIB)
        self.assertEqual([round(when) for when in right.delivered_s], [2, 3, 4, 5])
        wrong = self.download(4 * MIB, MIB // 2)
        self.assertEqual([round(when) for when in wrong.delivered_s], list(range(4, 12)))

    def test_reads_as_measured(self) -> None:
        """On six servers the sweep counted 726 reads for 10 MB, 3-of-3, 128 KiB segments."""
        client = Client.behind(0)
        spec = ServerSpec(round_trip_s=0.001, rate=1e9)
        placed = [
            (number, Server(spec, CALM, random.Random(0), client.timeline, client.downlink),
             (number,))
            for number in range(3)
        ]  # fmt: skip
        download = StockDownload(client, file_of(10 * MB, 3, 3, 128 * KIB), placed)
        download.start()
        client.timeline.run()
        assert download.outcome is not None
        self.assertLess(abs(download.outcome.reads - 726), 726 // 50)


class CoreTests(SynchronousTestCase):
    """The core's own round trips."""

    def test_round_trips(self) -> None:
        """A file that is small for its wire takes a search and one round trip more."""
        client = Client.behind(0)
        spec = ServerSpec(round_trip_s=1.0, rate=1e12)
        placed = [
            (number, Server(spec, CALM, random.Random(0), client.timeline, client.downlink),
             (number,))
            for number in range(5)
        ]  # fmt: skip
        download = FastDownload(client, file_of(MB, 3, 5, 128 * KIB), placed)
        download.start()
        client.timeline.run(lambda: download.outcome is not None)
        assert download.outcome is not None
        self.assertAlmostEqual(download.outcome.first_byte_s, 2.0, places=1)
        self.assertAlmostEqual(download.outcome.seconds, 2.0, places=1)


class ReportTests(SynchronousTestCase):
    """The command, its results and its page."""

    def test_percentiles(self) -> None:
        """Downloads that failed count as the slowest."""
        line = {"seconds": [1.0, 2.0, 3.0], "count": 4}
        self.assertEqual(report.percentile(line, 0.5), 3.0)
        self.assertIsNone(report.percentile(line, 0.99))

    def test_studies(self) -> None:
        """All is simulated with millions of reads, the core's own constants among the others."""
        chosen = studies.settings()
        self.assertLessEqual(studies.total_weight(chosen), 600)
        self.assertLessEqual(studies.total_weight(studies.settings(is_quick=True)), 60)
        self.assertIn(servers.LATE_FACTOR, studies.LATE_FACTORS)
        self.assertIn(covering.HEDGE_PART, studies.HEDGE_PARTS)
        self.assertIn(servers.DEFAULT_RATE, studies.DEFAULT_RATES)
        self.assertEqual(max(each.total for each in chosen), 256)

    def lines(self) -> list[dict[str, Any]]:
        """Of every study some."""
        made: list[dict[str, Any]] = []
        for each in studies.settings(is_quick=True):
            made.append(Found().as_line(each) | {"seconds": [1.0, 2.5], "first_byte_s": [0.5, 0.6]})
        return made

    def test_figures(self) -> None:
        """The figures are drawn, the same each time."""
        if importlib.util.find_spec("matplotlib") is None:
            raise SkipTest("the figures need the extra bench")
        from misc.simulator import figures

        directory = Path(self.mktemp())
        drawn = figures.draw_all(self.lines(), directory)
        self.assertEqual(set(drawn), set(figures.FIGURES))
        first = {name: (directory / name).read_bytes() for name in drawn}
        figures.draw_all(self.lines(), directory)
        self.assertEqual({name: (directory / name).read_bytes() for name in drawn}, first)

    def test_section(self) -> None:
        """Each study has its table, and the figures their places."""
        drawn = {"one.svg": "One.", "other.svg": "Other."}
        text = report.section(self.lines(), drawn)
        for heading in (
            "LATE_FACTOR",
            "HEDGE_PART",
            "DEFAULT_RATE",
            "3-of-10, pauses and deaths",
            "peak MiB",
        ):
            self.assertIn(heading, text)
        for name in drawn:
            self.assertIn(f"({name})", text)

    def test_page_has_the_section(self) -> None:
        """The page that the command writes into has the place for it."""
        page = (command.DOCS / command.PAGE).read_text(encoding="utf-8")
        self.assertIn("new text", sections.replaced(page, command.SECTION, "new text"))

    def test_comparison(self) -> None:
        """A case is held against what the sweep kept of it, within the tolerance or not."""
        sweep = Path(self.mktemp())
        sweep.write_text(
            '{"length":1000000,"needed":3,"total":10,"segment_bytes":131072,"transport":"foolscap",'
            '"wire":"200ms","kind":"fast","session":"x","seconds":0.6182,"first_byte_s":0.4107}\n'
            '{"length":10000000,"needed":3,"total":10,"segment_bytes":131072,'
            '"outcome":"over limit","transport":"foolscap","wire":"200ms","kind":"stock",'
            '"session":"x","delivered_bytes":1310720,"first_byte_s":0.8768,"last_byte_s":2.969}\n'
        )
        compared = calibration.compare_all(sweep)
        self.assertEqual([(each.kind, each.part) for each in compared],
                         [("fast", False), ("stock", True)])  # fmt: skip
        for each in compared:
            self.assertTrue(each.is_near, each)
        text = report.section([each.as_line() for each in compared], {})
        self.assertIn("| 200 ms round trip, 128 KiB, 10 MB | - / ~ ", text)

    def test_run_writes_lines(self) -> None:
        """One line a setting, in their order, and a line of progress with the time left."""
        few = [setting(FAST, count=2), setting(STOCK, count=2)]
        kept = []
        for jobs in (1, 2):
            path = Path(self.mktemp())
            said: list[str] = []
            command.run(few, path, said.append, jobs=jobs)
            self.assertEqual(len(said), 3)
            self.assertIn("[1/2, ", said[1])
            kept.append([line for line in read_lines(path) if "policy" in line])
        self.assertEqual([line["policy"] for line in kept[0]], ["fast", "stock"])
        self.assertEqual(kept[0], kept[1])
