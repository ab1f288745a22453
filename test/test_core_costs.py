"""What downloads cost: reads, plans, bytes and time, alone and many at once.

In virtual time; ``simulator`` checks the laws after each event.
"""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tahoe_fastdl import errors
from tahoe_fastdl.core.scouting import REST_S
from tahoe_fastdl.core.turns import STARVE_S, Turns
from tahoe_fastdl.core.window import BRISK_S, KIB, MIB, Budget

from .sharemaker import (
    CRYPTTEXT,
    UEB,
    encode,
    make_ueb,
)
from .simulator import End, SentRead, Simulation, run_together, simulate
from .worldmaker import only_reader, whole
from .worlds import Mood, ReaderSpec, World, read, spread

SEGMENT = 128 * KIB


class Costs(SynchronousTestCase):
    """What a good download may cost, in messages and plans."""

    def test_messages(self) -> None:
        """10 MB 20-of-60 in 128 KiB segments costs a few reads a share; stock sends 5,126."""
        file = encode(10_000_000, 20, 60, SEGMENT)
        simulation = simulate(World(file, spread(file, 6), (whole(file),)))
        counters = simulation.core.counters
        self.assertLessEqual(counters.reads_sent, 120)
        self.assertLessEqual(counters.plans, 300)
        self.assertEqual((0, 0, 0), (counters.hedges, counters.replaced, counters.inquests))
        self.assertLess(counters.bytes_received, 1.02 * file.size)
        for share in simulation.core.shares.values():
            self.assertLessEqual(share.ledger.recomputations, share.ledger.changes)

    def test_small_file(self) -> None:
        """A file whose shares are small costs one read of each of k shares."""
        file = encode(30_000, 3, 10, MIB)
        simulation = simulate(World(file, spread(file, 10), (whole(file),)))
        self.assertEqual(3, len(simulation.sent))

    def test_first_byte(self) -> None:
        """The first byte takes two round trips: one finds shares, one brings hashes and blocks."""
        for size, segment_size in ((30_000, MIB), (3_000_000, SEGMENT), (10_000_000, MIB)):
            file = encode(size, 3, 10, segment_size)
            servers = tuple(evolve(server, latency_s=1.0, rate=1e9) for server in spread(file, 10))
            simulation = Simulation(World(file, servers, (whole(file),))).run(until=2.1)
            self.assertGreater(only_reader(simulation).position, 0, (size, segment_size))

    def small_and_far(
        self, k: int, max_reads: int, latency_s: float = 1.0, rate: float = 1e9
    ) -> Simulation:
        """A file of seven segments, and as many servers as shares are needed."""
        file = encode(900_000, k, k, SEGMENT)
        servers = tuple(
            evolve(each, latency_s=latency_s, rate=rate, max_reads=max_reads)
            for each in spread(file, k)
        )
        return Simulation(World(file, servers, (whole(file),), segment_size_hint=SEGMENT))

    def test_small_and_far(self) -> None:
        """All of a file that comes in less than a round trip is asked for with its first bytes."""
        for k in (1, 3, 10):
            for max_reads in (0, 10):
                simulation = self.small_and_far(k, max_reads).run(until=2.1)
                self.assertIs(End.SERVED, only_reader(simulation).end, (k, max_reads))

    def test_wrong_guess_of_a_small_file(self) -> None:
        """Whatever was expected, a file of less than a MiB takes no round trip for it."""
        for segment_size, hint in ((SEGMENT, MIB), (MIB, SEGMENT), (300_000, SEGMENT)):
            for max_reads in (0, 10):
                file = encode(900_000, 3, 3, segment_size)
                servers = tuple(
                    evolve(each, latency_s=1.0, rate=1e9, max_reads=max_reads)
                    for each in spread(file, 3)
                )
                world = World(file, servers, (whole(file),), segment_size_hint=hint)
                simulation = Simulation(world).run(until=2.1)
                self.assertIs(End.SERVED, only_reader(simulation).end, (segment_size, max_reads))

    def test_wrong_guess_and_secondary_shares(self) -> None:
        """Nor does it if the servers of its primary shares answer last."""
        for segment_size, hint in ((SEGMENT, MIB), (MIB, SEGMENT)):
            for max_reads in (0, 10):
                file = encode(900_000, 3, 10, segment_size)
                servers = tuple(
                    evolve(each, latency_s=1.0 if number >= 3 else 1.5, rate=1e9,
                           max_reads=max_reads)
                    for number, each in enumerate(spread(file, 10))
                )  # fmt: skip
                world = World(file, servers, (whole(file),), segment_size_hint=hint)
                simulation = Simulation(world).run(until=2.1)
                self.assertIs(End.SERVED, only_reader(simulation).end, (segment_size, max_reads))

    def test_one_connection(self) -> None:
        """Where reads side by side take connections of their own, small shares take one read."""
        for k in (1, 3, 10):
            simulation = self.small_and_far(k, max_reads=10).run()
            self.assertEqual(k, len(simulation.sent))

    def test_slow_line(self) -> None:
        """On a slow line the first bytes do not wait for the rest of their shares."""
        for max_reads in (0, 10):
            simulation = self.small_and_far(3, max_reads, latency_s=0.02, rate=1e6)
            first = -(-SEGMENT // 3) / 1e6
            simulation.run(until=0.04 + 1.5 * first)
            self.assertGreater(only_reader(simulation).position, 0, max_reads)

    def test_rest_after_first_blocks(self) -> None:
        """Over Foolscap the rest of a share is asked for a moment later, long before the answer
        to anything else could be here; a plan is made for it though nothing happens then."""
        file = encode(2_500_000, 3, 3, SEGMENT)
        servers = tuple(evolve(each, latency_s=1.0, rate=1e9) for each in spread(file, 3))
        world = World(file, servers, (whole(file),), segment_size_hint=SEGMENT)
        simulation = Simulation(world).run(until=1.5)
        for shnum in range(3):
            first, rest = (
                sent for sent in simulation.sent if sent.shnum == shnum and sent.length > 32 * KIB
            )
            self.assertAlmostEqual(REST_S, rest.when - first.when, msg=str(shnum))
            self.assertEqual(first.start + first.length, rest.start)

    def test_rest_is_wanted(self) -> None:
        """Whoever wants a part of a file does not get all of its shares."""
        file = encode(900_000, 3, 3, SEGMENT)
        servers = tuple(evolve(each, latency_s=1.0, rate=1e9) for each in spread(file, 3))
        for reader in (read(0, 1000), read(800_000, 900_000), ReaderSpec(segnum=0)):
            simulation = simulate(
                World(file, servers, (reader,), segment_size_hint=file.segment_size)
            )
            self.assertLess(sum(sent.length for sent in simulation.sent), 2 * SEGMENT)

    def test_secondary_shares_wait(self) -> None:
        """No more than a bit is fetched of shares that must be decoded, while the servers of
        others have had no time to answer."""
        file = encode(10_000_000, 20, 60, SEGMENT)
        servers = tuple(
            evolve(each, latency_s=0.02 if number >= 4 else 0.001, rate=5e7)
            for number, each in enumerate(spread(file, 6))
        )
        simulation = simulate(World(file, servers, (whole(file),), cpu_busy=1.0))
        secondary = sum(sent.length for sent in simulation.sent if sent.shnum >= file.k)
        self.assertLess(secondary, 0.25 * file.size)

    def test_hung_search_delays_little(self) -> None:
        """A server that never says what it has does not keep others' shares from being used."""
        file = encode(10_000_000, 20, 60, SEGMENT)
        servers = tuple(evolve(each, latency_s=0.001, rate=5e7) for each in spread(file, 6))
        servers = (*servers[:5], evolve(servers[5], searches=(Mood.NEVER,)))
        simulation = Simulation(World(file, servers, (whole(file),))).run(until=1.0)
        self.assertIs(only_reader(simulation).end, End.SERVED)

    def test_huge_file(self) -> None:
        """A cap that claims what its UEB does not is refused before any tree is built."""
        file = encode(9, 3, 3, 3)
        size = 3 * 2**40
        for claimed_size, error in ((size, errors.MalformedUEB), (8, errors.MalformedUEB)):
            reader = ReaderSpec(claimed_size - 5, claimed_size)
            world = World(file, spread(file, 3), (reader,), claimed_size=claimed_size)
            simulation = Simulation(world).run()
            self.assertIsInstance(only_reader(simulation).error, error)

    def test_too_many_segments(self) -> None:
        """A file of more segments than anybody keeps books for is left to stock, at once."""
        size = 3 * 2**40
        hashes = {"crypttext_root_hash": bytes(32), "share_root_hash": bytes(32)}
        ueb = make_ueb({**hashes, "segment_size": 3, "size": size})
        file = encode(9, 3, 3, 3, ueb_override=ueb)
        # Its shares are as short as ever, so the UEB lies where nobody would guess.
        reader = ReaderSpec(size - 10, size)
        world = World(file, spread(file, 3), (reader,), segment_size_hint=3, claimed_size=size)
        simulation = Simulation(world).run()
        self.assertIsInstance(only_reader(simulation).error, errors.FileTooLarge)

    def test_pages_of_hashes(self) -> None:
        """Thousands of tiny segments need few reads of hashes, however small the budget is."""
        for size in (1023, 1024, 1025, 2048, 2049, 5000):
            file = encode(2 * size, 2, 3, 2)
            for budget_bytes in (1000, 300_000):
                simulation = simulate(
                    World(
                        file,
                        spread(file, 3),
                        (whole(file), read(size - 10, size + 10)),
                        segment_size_hint=2,
                        budget_bytes=budget_bytes,
                    )
                )
                tree = file.parts[CRYPTTEXT][0]
                hashes = [sent for sent in simulation.sent if sent.start >= tree]
                self.assertLessEqual(len(hashes), 12)

    def test_more_pages_than_are_kept(self) -> None:
        """More leaves than are kept in memory are fetched page by page, each once."""
        segments = 70_000
        file = encode(segments, 1, 1, 1)
        simulation = simulate(World(file, spread(file, 1), (whole(file),), segment_size_hint=1))
        hashes = [sent for sent in simulation.sent if sent.start >= file.parts[CRYPTTEXT][0]]
        self.assertLessEqual(len(hashes), 2 * segments // 1024)

    def test_seek_in_many_segments(self) -> None:
        """A seek among 70,000 segments costs two pages of hashes at most."""
        segments = 70_000
        file = encode(segments, 1, 1, 1)
        simulation = simulate(
            World(file, spread(file, 1), (read(44_444, 44_446),), segment_size_hint=1)
        )
        self.assertLess(simulation.core.counters.bytes_received, 80 * KIB)


class Crowds(SynchronousTestCase):
    """Many downloads of one node."""

    def crowd(
        self, budget_bytes: int, max_reads: int = 0, paused: int = 0, cpu_busy: float = 0.0
    ) -> list[Simulation]:
        """Ten downloads of a file of 24 segments at once; some take their first bytes only."""
        crowd = self.crowd_of(budget_bytes, max_reads, paused, cpu_busy)
        run_together(crowd)
        return crowd

    def crowd_of(
        self, budget_bytes: int, max_reads: int, paused: int, cpu_busy: float
    ) -> list[Simulation]:
        file = encode(24 * SEGMENT, 3, 10, SEGMENT)
        servers = tuple(evolve(server, max_reads=max_reads) for server in spread(file, 5))
        taken = World(
            file, servers, (whole(file),), budget_bytes=budget_bytes, segment_size_hint=SEGMENT,
            cpu_busy=cpu_busy,
        )  # fmt: skip
        left = evolve(taken, readers=(evolve(whole(file), pauses_s=(1e9,), leaves_at=1e4),))
        crowd: list[Simulation] = []
        for number in range(10):
            world = left if number < paused else taken
            crowd.append(Simulation(world, beside=crowd[0] if crowd else None))
        return crowd

    def test_budget_is_kept(self) -> None:
        """Ten at once hold no more than the budget, even where each has room for one segment."""
        for budget_bytes in (8 * SEGMENT, 20 * SEGMENT, 64 * SEGMENT):
            for max_reads in (0, 2):
                budget = self.crowd(budget_bytes, max_reads)[0].budget
                self.assertLessEqual(budget.peak_bytes, budget_bytes, (budget_bytes, max_reads))

    def test_none_starves(self) -> None:
        """They go on by turns: the first is not done long before the last."""
        for max_reads in (0, 2):
            crowd = self.crowd(8 * SEGMENT, max_reads)
            times = sorted(only_reader(simulation).ended_at for simulation in crowd)
            self.assertLess(times[-1], 1.5 * times[0], max_reads)

    def test_plans(self) -> None:
        """Who waits for room does not plan whenever somebody else frees some."""
        for simulation in self.crowd(8 * SEGMENT):
            self.assertLess(simulation.core.counters.plans, 24 * 12)

    def test_full_stripes(self) -> None:
        """Of near servers each asks for nearly all that it may hold in one go."""
        for simulation in self.crowd(64 * SEGMENT):
            self.assertLessEqual(simulation.core.counters.reads_sent, 3 * 24 // 2 + 6)

    def test_long_stripes(self) -> None:
        """Where our time is short, all together take hardly more messages than one after
        another, though the fair part of each is one segment."""
        for max_reads in (0, 2):
            crowd = self.crowd(20 * SEGMENT, max_reads, cpu_busy=1.0)
            sent = [simulation.core.counters.reads_sent for simulation in crowd]
            alone = simulate(crowd[0].world).core.counters.reads_sent
            self.assertLessEqual(sum(sent), 10 * (alone + 15), max_reads)
            times = sorted(only_reader(simulation).ended_at for simulation in crowd)
            self.assertLess(times[-1], 1.5 * times[0], max_reads)
            self.assertLessEqual(crowd[0].budget.peak_bytes, 20 * SEGMENT)

    def test_newcomer(self) -> None:
        """What is small need not wait until all long stripes before it are had."""
        for max_reads in (0, 2):
            crowd = self.crowd_of(20 * SEGMENT, max_reads, 0, cpu_busy=1.0)
            little = evolve(crowd[0].world, readers=(read(0, 1000, joins_at=0.3),))
            newcomer = Simulation(little, beside=crowd[0])
            run_together([*crowd, newcomer])
            took_s = only_reader(newcomer).ended_at - 0.3
            self.assertLess(took_s, only_reader(crowd[0]).ended_at / 5, max_reads)
            if max_reads:  # nor behind answers that were asked for before
                self.assertLess(took_s, 3 * crowd[0].world.servers[0].latency_s)

    def test_long_stripes_beside_paused_ones(self) -> None:
        """Readers that pause while long stripes are taken in turn cost the others a moment."""
        for budget_bytes in (20 * SEGMENT, 64 * SEGMENT):
            for max_reads in (0, 2):
                last = max(self.ends(self.crowd(budget_bytes, max_reads, cpu_busy=1.0)))
                for paused in (1, 2, 5, 8):
                    crowd = self.crowd(budget_bytes, max_reads, paused, cpu_busy=1.0)
                    case = (budget_bytes, max_reads, paused)
                    self.assertLess(max(self.ends(crowd[paused:])), last + 3 * BRISK_S, case)

    def ends(self, crowd: list[Simulation]) -> list[float]:
        """When each reader was done."""
        self.assertEqual({End.SERVED}, {only_reader(simulation).end for simulation in crowd})
        return [only_reader(simulation).ended_at for simulation in crowd]

    def test_beside_paused_ones(self) -> None:
        """Readers that pause for ever hold up the others no longer than it takes to notice."""
        crowd = self.crowd(8 * SEGMENT, paused=8)
        for simulation in crowd[8:]:
            reader = only_reader(simulation)
            self.assertIs(End.SERVED, reader.end)
            self.assertLess(reader.ended_at, 24 * 2 * STARVE_S)

    def test_standstill(self) -> None:
        """Where nothing moves for a second, one of those who wait takes a segment more than
        there is room for, and not each of them."""
        budget = Budget(8 * MIB)
        waiting = [Turns(budget) for _ in range(5)]
        for turns in waiting:
            turns.open()
            self.assertFalse(turns.starve(0.0))
        for second in range(1, 6):
            helped = [turns for turns in waiting if turns.on_time(second * STARVE_S)]
            self.assertEqual(1, len(helped), second)
            self.assertTrue(helped[0].starve(second * STARVE_S))
            waiting.remove(helped[0])


class FirstReads(SynchronousTestCase):
    """What is asked of servers whose first blocks take long to come, and in which order."""

    def setUp(self) -> None:
        """The first server to answer has two of the primary shares, which k = 3 need not cost."""
        self.file = encode(3_000_000, 3, 6, MIB)  # blocks of 350 KB, 70 ms at 5 MB/s

    def world(self, others_s: float, rate: float, max_reads: int = 0) -> World:
        """Three servers, of which two answer later than the first by so many seconds."""
        dealt = spread(self.file, 3, (0, 3, 4, 1, 2, 5))
        servers = tuple(
            evolve(server, latency_s=0.02 + others_s * (number > 0), rate=rate, max_reads=max_reads)
            for number, server in enumerate(dealt)
        )
        return World(self.file, servers, (whole(self.file),))

    def scouts(self, simulation: Simulation) -> list[SentRead]:
        """The reads of first blocks."""
        return [sent for sent in simulation.sent if sent.start == 0]

    def is_ueb_first(self, simulation: Simulation) -> bool:
        """Whether the server that was asked for the UEB was asked for it before anything else."""
        at, _stop = self.file.parts[UEB]
        asked = [sent for sent in simulation.sent if sent.start <= at < sent.start + sent.length]
        server = asked[0].server
        return next(sent for sent in simulation.sent if sent.server == server) is asked[0]

    def test_spread(self) -> None:
        """Servers that answer a moment later than the first each give a share."""
        for max_reads in (0, 10):
            simulation = Simulation(self.world(0.001, 5e6, max_reads)).run(until=0.05)
            self.assertEqual(sorted(sent.server for sent in self.scouts(simulation)), [0, 1, 2])

    def test_primaries(self) -> None:
        """Where other shares than primaries cost much decoding, servers that answer a moment
        later are waited for, but no longer than that decoding takes."""
        file = encode(1_000_000, 80, 240, SEGMENT)
        for others_s, waits in ((0.005, True), (0.05, False)):
            first, *others = (evolve(each, latency_s=0.01) for each in spread(file, 6))
            others = [evolve(each, latency_s=0.01 + others_s) for each in others]
            world = World(file, (first, *others), (whole(file),), segment_size_hint=SEGMENT)
            secondaries = [sent for sent in self.scouts(simulate(world)) if sent.shnum >= file.k]
            self.assertEqual(waits, len(secondaries) < 5, others_s)

    def test_nobody_else(self) -> None:
        """Nobody waits for others longer than that: a quarter of a round trip, 5 ms at most."""
        for max_reads in (0, 10):
            simulation = Simulation(self.world(1.0, 5e6, max_reads)).run(until=0.5)
            scouts = self.scouts(simulation)
            self.assertEqual([sent.server for sent in scouts], [0, 0])
            self.assertEqual([round(sent.when, 6) for sent in scouts], [0.02, 0.025])

    def test_ueb_before_long_scouts(self) -> None:
        """Answers come in order, and more waits for the UEB than for a block."""
        for others_s in (0.0, 0.001, 1.0):
            self.assertTrue(self.is_ueb_first(simulate(self.world(others_s, 5e6))), others_s)

    def test_ueb_behind_quick_scouts(self) -> None:
        """Of servers that are known to be quick the blocks come first, and at once."""
        self.file = encode(3_000_000, 3, 6, SEGMENT)
        world = self.world(0.001, 1e9)
        near = tuple(evolve(server, latency_s=1e-4) for server in world.servers)
        known = simulate(evolve(world, servers=near))
        simulation = Simulation(world, beside=known).run()
        self.assertFalse(self.is_ueb_first(simulation))
        self.assertEqual([round(sent.when, 6) for sent in self.scouts(simulation)[:2]], [0.02] * 2)

    def test_ueb_with_large_scouts(self) -> None:
        """Over HTTP a UEB right behind the first blocks comes with them, however large these
        are: asked for apart, it takes a connection more."""
        self.file = encode(1_000_000, 3, 6, MIB)
        simulation = simulate(self.world(0.001, 5e6, max_reads=10))
        self.assertEqual([0] * 3, [sent.start for sent in simulation.sent])

    def test_ueb_of_an_idle_server(self) -> None:
        """Over HTTP the UEB is asked of a server that gives no first blocks, even if those
        that do were the first to answer."""
        self.file = encode(3_000_000, 2, 6, SEGMENT)
        simulation = simulate(self.world(0.001, 5e6, max_reads=10))
        at, _stop = self.file.parts[UEB]
        asked = [s for s in simulation.sent if s.start <= at < s.start + s.length]
        before = [s.server for s in simulation.sent if s.when <= asked[0].when and s.start == 0]
        self.assertEqual(2, len(set(before)))
        self.assertNotIn(asked[0].server, before)

    def test_nothing_beside_first_bytes(self) -> None:
        """On a LAN all else waits until they are decoded; far away there is no time for that."""
        self.file = encode(40_000_000, 3, 6, MIB)
        for latency_s, rate, waits in ((5e-4, 1e8, True), (0.025, 2e7, False), (5e-4, 1e7, False)):
            world = self.world(0.0, rate)
            servers = tuple(evolve(server, latency_s=latency_s) for server in world.servers)
            world = evolve(world, servers=servers)
            simulation = Simulation(world, beside=simulate(world)).run()
            arrived = max(
                sent.when + latency_s + sent.length / rate for sent in self.scouts(simulation)
            )
            early = [s for s in simulation.sent if s.length > MIB // 3 and 0 < s.start < 10 * MIB]
            self.assertEqual(waits, min(sent.when for sent in early) >= arrived, (latency_s, rate))
