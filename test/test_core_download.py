"""The assembler against servers of every kind, in virtual time.

``simulator`` checks after each event that the parts agree, that bytes are
right and inside the budget's books, and at the end that every reader was
served if the world allows it.  So a test here often only makes a world.
"""

from __future__ import annotations

from attrs import evolve
from hypothesis import given
from twisted.trial.unittest import SynchronousTestCase

from tahoe_fastdl import errors
from tahoe_fastdl.core import records as r
from tahoe_fastdl.core.books import STARVE_S
from tahoe_fastdl.core.window import KIB, MIB

from .sharemaker import (
    BLOCK_HASHES,
    CRYPTTEXT,
    HEADER,
    PLAINTEXT,
    SHARE_HASHES,
    UEB,
    EncodedFile,
    encode,
    make_ueb,
)
from .simulator import (
    PATIENCE_S,
    Damage,
    End,
    Mood,
    PlacedShare,
    ReaderSpec,
    ServerSpec,
    SimReader,
    Simulation,
    World,
    read,
    run_together,
    simulate,
    spread,
)
from .strategies import examples, worlds

SEGMENT = 128 * KIB


def whole(file: EncodedFile, joins_at: float = 0.0) -> ReaderSpec:
    """A reader of all of *file*."""
    return read(0, file.size, joins_at)


def damaged(file: EncodedFile, servers: int, damage: dict[int, Damage]) -> tuple[ServerSpec, ...]:
    """Shares dealt out to honest servers, some of them damaged: by shnum."""
    return tuple(
        evolve(
            spec,
            shares=tuple(
                evolve(share, damage=(damage[share.shnum],)) if share.shnum in damage else share
                for share in spec.shares
            ),
        )
        for spec in spread(file, servers)
    )


def part(file: EncodedFile, name: str) -> Damage:
    """All of one part of a share is wrong."""
    return Damage(*file.parts[name])


def with_moods(
    servers: tuple[ServerSpec, ...], number: int, *reads: Mood
) -> tuple[ServerSpec, ...]:
    """The same servers, one of which takes reads like this."""
    return tuple(evolve(s, reads=reads) if i == number else s for i, s in enumerate(servers))


def only_reader(simulation: Simulation) -> SimReader:
    """The one reader of a simulation."""
    (reader,) = simulation.readers.values()
    return reader


class Properties(SynchronousTestCase):
    """Whatever happens."""

    def test_any_world(self) -> None:
        """No servers, damage, order of events or readers break a law or lose a readable file."""

        @examples(500)
        @given(worlds())
        def check(world: World) -> None:
            simulate(world)

        check()

    def test_honest_world(self) -> None:
        """With honest servers and nothing damaged everybody is served and nobody accused."""

        @examples(250)
        @given(worlds(faults=0))
        def check(world: World) -> None:
            world = evolve(world, file=evolve(world.file))
            simulation = simulate(world)
            if not world.file.wrong_segments:
                self.assertEqual([], simulation.advices)

        check()

    def test_many_faults(self) -> None:
        """However much is broken, everything comes to an end and nothing wrong is delivered."""

        @examples(150)
        @given(worlds(faults=12))
        def check(world: World) -> None:
            simulate(world)

        check()

    def test_two_files_of_one_node(self) -> None:
        """Downloads that share budget and servers all end, whatever the others do."""

        @examples(80)
        @given(worlds(), worlds())
        def check(one: World, other: World) -> None:
            count = max(len(one.servers), len(other.servers))
            more = (ServerSpec(),) * count
            one = evolve(one, servers=(one.servers + more)[:count])
            other = evolve(other, servers=(other.servers + more)[:count])
            first = Simulation(one)
            run_together([first, Simulation(other, beside=first)])
            self.assertEqual(0, first.budget.used_bytes)

        check()


class Encodings(SynchronousTestCase):
    """Every shape of file."""

    def test_every_shape(self) -> None:
        """A whole file arrives for k from 1 to 255 and sizes around a segment's boundary."""
        for k, n in ((1, 1), (1, 20), (2, 3), (3, 10), (20, 60), (60, 60), (255, 255), (255, 256)):
            for size in (1, k, k + 1, 7 * 16 * k - 1, 7 * 16 * k, 7 * 16 * k + 1):
                file = encode(size, k, n, 16 * k)
                for hint in (file.segment_size, MIB):
                    simulate(World(file, spread(file, 7), (whole(file),), segment_size_hint=hint))

    def test_secondary_shares_only(self) -> None:
        """A file of which only secondary shares are left is decoded from them."""
        file = encode(100_000, 3, 10, 4096)
        servers = spread(file, 3, shnums=(9, 5, 7))
        simulate(World(file, servers, (whole(file),)))

    def test_version_2_shares(self) -> None:
        """Shares with a version 2 header are read, small or not, and nobody is accused."""
        for size, segment_size in ((10, 10), (3000, 300), (600_000, SEGMENT), (3_000_000, SEGMENT)):
            file = encode(size, 3, 5, segment_size, version=2)
            for hint in (segment_size, MIB):
                for reader in (whole(file), read(size // 2, size // 2 + 1), ReaderSpec(segnum=0)):
                    simulation = simulate(
                        World(file, spread(file, 5), (reader,), segment_size_hint=hint)
                    )
                    self.assertEqual([], simulation.advices, (size, hint, reader))

    def test_wrong_guess(self) -> None:
        """A segment size nobody would guess costs at most one more read of each share."""
        for size in (SEGMENT, MIB, 3 * MIB):
            for segment_size in (SEGMENT, MIB, 3 * 50_000):
                file = encode(size, 3, 6, segment_size)
                for hint in (SEGMENT, MIB, 3 * 50_000):
                    simulate(World(file, spread(file, 6), (whole(file),), segment_size_hint=hint))

    def test_many_servers(self) -> None:
        """One share on each of 256 servers is no special case."""
        file = encode(1_000_000, 60, 256, SEGMENT)
        simulation = simulate(World(file, spread(file, 256), (whole(file),)))
        self.assertLessEqual(len({sent.server for sent in simulation.sent}), 61)

    def test_duplicate_shares(self) -> None:
        """The same share numbers on several servers count once, and replace each other."""
        file = encode(300_000, 3, 3, SEGMENT)
        bad = Damage(*file.block_range(1))
        servers = (
            ServerSpec(tuple(PlacedShare(n, (bad,)) for n in range(3))),
            ServerSpec(tuple(PlacedShare(n) for n in range(3)), latency_s=0.2),
            ServerSpec((PlacedShare(0),), reads=(Mood.NEVER,)),
        )
        reader = only_reader(simulate(World(file, servers, (whole(file),))))
        self.assertIs(End.SERVED, reader.end)
        two = tuple(evolve(server, shares=server.shares[:2]) for server in servers)
        reader = only_reader(simulate(World(file, two, (whole(file),))))
        self.assertIsInstance(reader.error, errors.NotEnoughShares)


class Requests(SynchronousTestCase):
    """What can be asked."""

    def setUp(self) -> None:
        self.file = encode(3_000_000, 3, 6, SEGMENT)
        self.servers = spread(self.file, 6)

    def run_with(self, *readers: ReaderSpec, budget_bytes: int = 64 * MIB) -> Simulation:
        """Run and check."""
        return simulate(
            World(
                self.file,
                self.servers,
                readers,
                budget_bytes=budget_bytes,
                segment_size_hint=self.file.segment_size,
            )
        )

    def test_segment(self) -> None:
        """A reader of one segment is told its range and given all of it."""
        reader = only_reader(self.run_with(ReaderSpec(segnum=3)))
        size = self.file.segment_size
        self.assertEqual((3 * size, 4 * size), reader.segment_range)
        self.assertEqual(self.file.segment(3), bytes(reader.data))

    def test_segment_too_large(self) -> None:
        """A segment past the end is refused; nobody else notices."""
        simulation = self.run_with(
            ReaderSpec(segnum=self.file.num_segments), read(0, 1000), ReaderSpec(segnum=0)
        )
        refused, *others = simulation.readers.values()
        self.assertIsInstance(refused.error, errors.BadSegmentNumber)
        self.assertEqual([End.SERVED] * 2, [reader.end for reader in others])

    def test_segment_size(self) -> None:
        """Asking for the segment size alone costs two reads and no block."""
        simulation = self.run_with(ReaderSpec())
        self.assertEqual(self.file.segment_size, only_reader(simulation).segment_size)
        self.assertLessEqual(len(simulation.sent), 2)
        self.assertLessEqual(simulation.core.counters.bytes_received, 8 * KIB)

    def test_range(self) -> None:
        """A range across a boundary costs the blocks of the segments it touches, not more."""
        size = self.file.segment_size
        simulation = self.run_with(read(5 * size - 1, 5 * size + 1))
        received = simulation.core.counters.bytes_received
        self.assertLess(received, 2.5 * size)

    def test_same_range_twice(self) -> None:
        """Readers of the same bytes at the same time cost one fetch."""
        simulation = self.run_with(whole(self.file), whole(self.file), read(500_000, 1_500_000))
        self.assertLess(simulation.core.counters.bytes_received, 1.05 * self.file.size)

    def test_overlapping(self) -> None:
        """Readers whose ranges overlap and who join one after the other all get theirs."""
        for budget_bytes in (200 * KIB, MIB, 64 * MIB):
            self.run_with(
                read(0, 2_000_000),
                read(1_000_000, 3_000_000, joins_at=0.03),
                read(500_000, 1_200_000, joins_at=0.05),
                budget_bytes=budget_bytes,
            )

    def test_one_far_ahead(self) -> None:
        """A reader far behind another of the same bytes neither stops it nor itself."""
        slowly = (0.05,)
        for first, second in ((1_000_000, 0), (0, 1_000_000)):
            simulation = self.run_with(
                ReaderSpec(first, 3_000_000, pauses_s=slowly),
                ReaderSpec(second, 3_000_000, joins_at=0.3, pauses_s=slowly),
                budget_bytes=MIB,
            )
            self.assertLessEqual(simulation.budget.peak_bytes, 1.6 * MIB)

    def test_far_apart(self) -> None:
        """A reader at the end does not wait until another has read all that lies before."""
        file = encode(30_000_000, 3, 6, SEGMENT)
        servers = tuple(evolve(server, rate=1e6) for server in spread(file, 6))
        for budget_bytes in (MIB, 8 * MIB, 64 * MIB):
            last = read(29_000_000, 29_500_000, joins_at=0.1)
            simulation = simulate(
                World(file, servers, (whole(file), last), budget_bytes=budget_bytes)
            )
            all_of_it, end_of_it = simulation.readers.values()
            self.assertLess(end_of_it.ended_at, all_of_it.ended_at / 2)

    def test_paused_for_ever(self) -> None:
        """A reader that never resumes holds no more than the budget and stops nobody."""
        for budget_bytes in (300 * KIB, 800 * KIB, MIB, 4 * MIB):
            simulation = Simulation(
                World(
                    self.file,
                    self.servers,
                    (
                        ReaderSpec(0, 3_000_000, pauses_s=(1e9,)),
                        read(2_000_000, 3_000_000, joins_at=5.0),
                        read(10, 2_000_000, joins_at=50.0),
                        ReaderSpec(segnum=1, joins_at=100.0),
                    ),
                    budget_bytes=budget_bytes,
                    segment_size_hint=self.file.segment_size,
                )
            ).run(until=1e6)
            paused, *others = simulation.readers.values()
            self.assertEqual([End.SERVED] * 3, [reader.end for reader in others], budget_bytes)
            self.assertIs(End.WAITING, paused.end)
            self.assertLessEqual(simulation.budget.used_bytes, budget_bytes)

    def test_leaving(self) -> None:
        """When the last reader leaves everything is given back, and nothing more is sent."""
        for leaves_at in (0.0, 0.005, 0.012, 0.03, 0.05, 0.1):
            simulation = self.run_with(evolve(whole(self.file), leaves_at=leaves_at))
            self.assertEqual([], [s for s in simulation.sent if s.when > leaves_at])

    def test_coming_back(self) -> None:
        """A second visit finds shares, UEB and hashes still known: one round trip, no search."""
        size = self.file.segment_size
        simulation = self.run_with(read(0, 2 * size), read(10 * size, 11 * size, joins_at=60.0))
        self.assertEqual(1, simulation.searches)
        later = [sent for sent in simulation.sent if sent.when >= 60.0]
        self.assertEqual(3, len(later))
        self.assertEqual({60.0}, {sent.when for sent in later})

    def test_budget_smaller_than_a_segment(self) -> None:
        """One segment at a time comes through however small the budget is."""
        for budget_bytes in (1, 1000, SEGMENT):
            self.run_with(whole(self.file), budget_bytes=budget_bytes)

    def test_budget_is_kept(self) -> None:
        """Requested, received and decoded bytes together stay within the budget."""
        file = encode(20_000_000, 20, 60, SEGMENT)
        for budget_bytes in (4 * MIB, 8 * MIB, 16 * MIB):
            for pauses_s in ((), (0.1,), (0.0, 0.0, 3.0)):
                reader = evolve(whole(file), pauses_s=pauses_s)
                simulation = simulate(
                    World(file, spread(file, 6), (reader,), budget_bytes=budget_bytes)
                )
                self.assertLessEqual(simulation.budget.peak_bytes, budget_bytes)


class Crowds(SynchronousTestCase):
    """Many downloads of one node."""

    def crowd(self, budget_bytes: int, max_reads: int = 0, paused: int = 0) -> list[Simulation]:
        """Ten downloads of a file of 24 segments at once; some never take a byte."""
        file = encode(24 * SEGMENT, 3, 10, SEGMENT)
        servers = tuple(evolve(server, max_reads=max_reads) for server in spread(file, 5))
        taken = World(
            file, servers, (whole(file),), budget_bytes=budget_bytes, segment_size_hint=SEGMENT
        )
        left = evolve(taken, readers=(evolve(whole(file), pauses_s=(1e9,), leaves_at=1e4),))
        crowd: list[Simulation] = []
        for number in range(10):
            world = left if number < paused else taken
            crowd.append(Simulation(world, beside=crowd[0] if crowd else None))
        run_together(crowd)
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

    def test_beside_paused_ones(self) -> None:
        """Readers that pause for ever hold up the others no longer than it takes to notice."""
        crowd = self.crowd(8 * SEGMENT, paused=8)
        for simulation in crowd[8:]:
            reader = only_reader(simulation)
            self.assertIs(End.SERVED, reader.end)
            self.assertLess(reader.ended_at, 24 * 2 * STARVE_S)


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


class BadServers(SynchronousTestCase):
    """Servers that are late, gone, or talk nonsense."""

    def setUp(self) -> None:
        self.file = encode(3_000_000, 3, 6, SEGMENT)
        self.servers = spread(self.file, 6)

    def test_hung_server(self) -> None:
        """A server that never answers, from the start or later, is replaced within seconds."""
        for number in range(6):
            for good in range(4):
                servers = with_moods(self.servers, number, *[Mood.GOOD] * good, Mood.NEVER)
                simulation = simulate(World(self.file, servers, (whole(self.file),)))
                self.assertLess(only_reader(simulation).ended_at, 5.0)

    def test_hung_without_spare(self) -> None:
        """With no share to spare a hung server ends the read after our patience, not before."""
        servers = with_moods(self.servers[:3], 1, Mood.GOOD, Mood.NEVER)
        simulation = simulate(World(self.file, servers, (whole(self.file),)))
        reader = only_reader(simulation)
        self.assertIsInstance(reader.error, errors.NotEnoughShares)
        self.assertGreaterEqual(reader.ended_at, PATIENCE_S)
        self.assertLess(reader.ended_at, 4 * PATIENCE_S)

    def test_slow_without_spare(self) -> None:
        """A server later than expected is still waited for when nobody else has the block."""
        servers = with_moods(self.servers[:3], 1, Mood.SLOW)
        for verify_blocks in (False, True):
            simulate(World(self.file, servers, (whole(self.file),), verify_blocks=verify_blocks))

    def test_straggler_is_hedged(self) -> None:
        """A late read is asked of one other share; wasted is only what was on its way by then."""
        file = encode(20_000_000, 3, 6, SEGMENT)
        servers = with_moods(spread(file, 6), 0, Mood.GOOD, Mood.GOOD, Mood.SLOW)
        simulation = simulate(World(file, servers, (whole(file),)))
        counters = simulation.core.counters
        self.assertGreater(counters.hedges + counters.replaced, 0)
        self.assertLess(counters.bytes_wasted, 0.2 * file.size)

    def test_short_answers(self) -> None:
        """Answers that are empty or cut short are not asked for again and again."""
        for mood in (Mood.EMPTY, Mood.SHORT, Mood.FAIL):
            for good in range(4):
                servers = with_moods(self.servers, 0, *[Mood.GOOD] * good, mood)
                simulation = simulate(World(self.file, servers, (whole(self.file),)))
                asked = [sent for sent in simulation.sent if sent.server == 0]
                self.assertLessEqual(len(asked), 20, mood)

    def test_every_truncation(self) -> None:
        """A share cut off anywhere costs nothing but itself."""
        file = encode(60, 2, 3, 30)
        for length in range(len(file.shares[0])):
            servers = damaged(file, 3, {0: Damage(length)})
            simulation = simulate(World(file, servers, (whole(file),)))
            self.assertLessEqual(len(simulation.sent), 20)

    def test_every_truncation_of_a_long_share(self) -> None:
        """The same, for a share too long to be read whole."""
        file = encode(40_000, 2, 3, 4096)
        for name, (start, stop) in file.parts.items():
            for length in sorted({start, start + 1, (start + stop) // 2, stop - 1}):
                servers = damaged(file, 3, {0: Damage(length)})
                for hint in (4096, MIB):
                    simulation = simulate(
                        World(file, servers, (whole(file),), segment_size_hint=hint)
                    )
                    self.assertLessEqual(len(simulation.sent), 40, name)

    def test_silent_search(self) -> None:
        """A server that never says what it holds delays nobody who can do without it."""
        servers = (*self.servers[:5], evolve(self.servers[5], searches=(Mood.NEVER,)))
        simulation = simulate(World(self.file, servers, (whole(self.file),)))
        self.assertLess(only_reader(simulation).ended_at, 1.0)

    def test_nobody_answers(self) -> None:
        """If no server ever answers the read fails with NoShares when patience ends."""
        servers = tuple(evolve(server, searches=(Mood.NEVER,)) for server in self.servers)
        reader = only_reader(simulate(World(self.file, servers, (whole(self.file),))))
        self.assertIsInstance(reader.error, errors.NoShares)
        self.assertLessEqual(reader.ended_at, 2.1 * PATIENCE_S)

    def test_no_servers(self) -> None:
        """With no server at all the read fails at once."""
        reader = only_reader(simulate(World(self.file, (), (whole(self.file),))))
        self.assertIsInstance(reader.error, errors.NoShares)
        self.assertLess(reader.ended_at, 0.1)

    def test_too_few_shares(self) -> None:
        """Fewer shares than k fail at once and the error names what is there."""
        reader = only_reader(simulate(World(self.file, self.servers[:2], (whole(self.file),))))
        self.assertIsInstance(reader.error, errors.NotEnoughShares)
        self.assertLess(reader.ended_at, 1.0)
        self.assertIn("need 3", str(reader.error))

    def test_recovers(self) -> None:
        """After any failure the next read works, once the servers do."""
        for mood in (Mood.FAIL, Mood.EMPTY, Mood.NEVER, Mood.GARBLED):
            bad = tuple(evolve(server, reads=(mood,)) for server in self.servers)
            simulation = Simulation(World(self.file, bad, (whole(self.file),))).run()
            self.assertIs(End.FAILED, only_reader(simulation).end, mood)
            for number, server in enumerate(self.servers):
                simulation.change_server(number, server)
            second = simulation.add_reader(whole(self.file, joins_at=simulation.now + 100))
            simulation.run()
            self.assertIs(End.SERVED, second.end, mood)
            self.assertEqual(self.file.ciphertext, bytes(second.data))

    def test_returns_during_the_read(self) -> None:
        """Before giving up servers are asked once more: one that came back saves the read."""
        servers = (
            *self.servers[:2],
            evolve(self.servers[2], reads=(Mood.GOOD, Mood.FAIL, Mood.GOOD)),
        )
        reader = only_reader(simulate(World(self.file, servers, (whole(self.file),))))
        self.assertIs(End.SERVED, reader.end)

    def test_few_slots(self) -> None:
        """Servers that take one read at a time serve a file all the same."""
        servers = tuple(evolve(server, max_reads=1) for server in self.servers)
        for verify_blocks in (False, True):
            simulate(
                World(
                    self.file,
                    servers,
                    (whole(self.file), read(2_000_000, 2_500_000)),
                    verify_blocks=verify_blocks,
                )
            )


class BadShares(SynchronousTestCase):
    """Shares with wrong bytes."""

    def test_every_byte(self) -> None:
        """Any byte of a small share may be wrong: the file arrives, from the others if need be."""
        file = encode(60, 2, 3, 30)
        unused = range(*file.parts[PLAINTEXT])
        for position in range(len(file.shares[0])):
            servers = damaged(file, 3, {0: Damage(position, position + 1)})
            simulation = simulate(World(file, servers, (whole(file),)))
            if position in unused:
                self.assertEqual([], simulation.advices)

    def test_every_part(self) -> None:
        """The same, for a share too long to be read whole, also where all blocks are verified."""
        file = encode(40_000, 2, 3, 4096)
        for start, stop in file.parts.values():
            for position in {*range(start, min(stop, start + 70)), (start + stop) // 2, stop - 1}:
                servers = damaged(file, 3, {0: Damage(position, position + 1)})
                for verify_blocks in (False, True):
                    simulate(
                        World(
                            file,
                            servers,
                            (whole(file),),
                            segment_size_hint=4096,
                            verify_blocks=verify_blocks,
                        )
                    )

    def test_liar_is_found(self) -> None:
        """The one server whose block is wrong is told which bytes; nobody else is."""
        file = encode(600_000, 3, 5, SEGMENT)
        for segnum in range(file.num_segments):
            block = file.block_range(segnum)
            servers = damaged(file, 5, {1: Damage(*block)})
            simulation = simulate(World(file, servers, (whole(file),)))
            told = [(server, shnum, a.start, a.stop) for server, shnum, a in simulation.advices]
            self.assertEqual([(1, 1, *block)], told)
            self.assertEqual(1, simulation.core.counters.inquests)

    def test_all_but_k_lie(self) -> None:
        """k good shares among many liars are found, wherever the lie is."""
        file = encode(40_000, 3, 8, 4098)
        for name in (HEADER, CRYPTTEXT, BLOCK_HASHES, SHARE_HASHES, UEB, "data"):
            damage = {shnum: part(file, name) for shnum in (0, 1, 2, 3, 4)}
            for hint in (4098, MIB):
                simulation = simulate(
                    World(file, damaged(file, 4, damage), (whole(file),), segment_size_hint=hint)
                )
                self.assertIs(End.SERVED, only_reader(simulation).end, name)

    def test_lost_segment(self) -> None:
        """A lost segment fails who needs it, when they get there, and nobody else."""
        file = encode(1_000_000, 3, 4, SEGMENT)
        size = file.segment_size
        for lost in (0, 3, file.num_segments - 1):
            block = Damage(*file.block_range(lost))
            servers = damaged(file, 4, {0: block, 1: block})
            readers = [whole(file), ReaderSpec(segnum=lost)]
            if lost:
                readers.append(read(0, lost * size))
            if lost < file.num_segments - 1:
                readers.append(read((lost + 1) * size, file.size))
            for alone in (*readers, None):
                some = tuple(readers) if alone is None else (alone,)
                simulation = simulate(World(file, servers, some))
                for reader in simulation.readers.values():
                    start, stop = reader.range or (0, 0)
                    needs_it = start < (lost + 1) * size and stop > lost * size
                    if needs_it or reader.spec.segnum is not None:
                        self.assertIsInstance(reader.error, errors.NotEnoughShares)
                        self.assertEqual(max(lost * size - start, 0), len(reader.data))
                    else:
                        self.assertIs(End.SERVED, reader.end)

    def test_all_uebs_bad(self) -> None:
        """Without one good UEB there is no share of any use, and every server hears why."""
        file = encode(300_000, 3, 5, SEGMENT)
        servers = damaged(file, 5, {shnum: part(file, UEB) for shnum in range(5)})
        readers = (whole(file), ReaderSpec(), ReaderSpec(segnum=1))
        simulation = simulate(World(file, servers, readers))
        for reader in simulation.readers.values():
            self.assertIsInstance(reader.error, errors.NoShares)
        self.assertEqual(set(range(5)), {shnum for _server, shnum, _advice in simulation.advices})

    def test_one_good_ueb(self) -> None:
        """One share with a good UEB and good ciphertext hashes speaks for all."""
        for size, segment_size in ((60, 30), (300_000, SEGMENT)):
            file = encode(size, 3, 5, segment_size)
            damage = {shnum: part(file, UEB) for shnum in range(4)}
            simulate(World(file, damaged(file, 5, damage), (whole(file),)))
        damage = {shnum: part(file, CRYPTTEXT) for shnum in range(4)}
        reader = only_reader(simulate(World(file, damaged(file, 5, damage), (whole(file),))))
        self.assertIs(End.SERVED, reader.end)

    def test_proofs_gone(self) -> None:
        """Blocks that no hash can prove are tried together; the segment's own hash decides."""
        file = encode(300_000, 2, 4, SEGMENT)
        hashes = part(file, SHARE_HASHES)
        servers = list(damaged(file, 4, dict.fromkeys(range(4), hashes)))
        liar = PlacedShare(0, (hashes, Damage(*file.block_range(1))))
        servers[0] = ServerSpec((liar,))
        reader = only_reader(simulate(World(file, tuple(servers), (whole(file),))))
        self.assertIs(End.SERVED, reader.end)

    def test_uploader_was_wrong(self) -> None:
        """If every block proves good and the segment is wrong, no server is to blame."""
        for size, segment_size in ((60, 30), (600_000, SEGMENT)):
            file = encode(size, 3, 5, segment_size, wrong_segments=frozenset({1}))
            for verify_blocks in (False, True):
                readers = (whole(file), read(0, segment_size), ReaderSpec(segnum=1))
                simulation = simulate(
                    World(file, spread(file, 5), readers, verify_blocks=verify_blocks)
                )
                everything, first, second = simulation.readers.values()
                self.assertIsInstance(everything.error, errors.BadCiphertextHash)
                self.assertEqual(file.segment(0), bytes(everything.data))
                self.assertIs(End.SERVED, first.end)
                self.assertIsInstance(second.error, errors.BadCiphertextHash)
                self.assertEqual([], simulation.advices)

    def test_after_a_wrong_segment(self) -> None:
        """A segment that cannot be right does not spoil the next read, as it does with stock."""
        file = encode(600_000, 3, 5, SEGMENT, wrong_segments=frozenset({1}))
        size = file.segment_size
        later = read(2 * size, file.size, joins_at=50.0)
        simulation = simulate(World(file, spread(file, 5), (whole(file), later)))
        self.assertIs(End.SERVED, simulation.readers[2].end)

    def test_malformed_ueb(self) -> None:
        """A UEB that the cap vouches for and nobody understands is the uploader's fault."""
        hash_fields: dict[str, int | bytes] = {
            "crypttext_root_hash": bytes(32),
            "share_root_hash": bytes(32),
        }
        for ueb in (
            b"",
            b"junk",
            make_ueb(hash_fields),
            make_ueb({**hash_fields, "segment_size": 100_000}),
            make_ueb({**hash_fields, "segment_size": 0}),
            make_ueb({**hash_fields, "segment_size": 99_999, "share_root_hash": b"short"}),
        ):
            file = encode(300_000, 3, 5, SEGMENT, ueb_override=ueb)
            simulation = Simulation(
                World(file, spread(file, 5), (whole(file), ReaderSpec(), ReaderSpec(segnum=0)))
            ).run()
            for reader in simulation.readers.values():
                expected = errors.MalformedUEB if ueb else errors.NoShares
                self.assertIsInstance(reader.error, expected, ueb)
            self.assertEqual(0, simulation.budget.used_bytes)

    def test_verify_blocks(self) -> None:
        """With ``verify = blocks`` a lie is found even where it would have done no harm."""
        file = encode(300_000, 3, 5, SEGMENT)
        simulation = simulate(World(file, spread(file, 5), (whole(file),), verify_blocks=True))
        self.assertEqual([], simulation.advices)
        for share, chain in ((0, SHARE_HASHES), (1, BLOCK_HASHES)):
            servers = damaged(file, 5, {share: part(file, chain)})
            quick, eager = (
                simulate(World(file, servers, (whole(file),), verify_blocks=verify))
                for verify in (False, True)
            )
            self.assertEqual([], quick.advices)
            self.assertEqual([share], [shnum for _server, shnum, _advice in eager.advices])


class Doors(SynchronousTestCase):
    """The methods the shell calls."""

    def test_plan_only_when_changed(self) -> None:
        """A turn in which nothing changed plans nothing, and says so beforehand."""
        file = encode(300_000, 3, 5, SEGMENT)
        simulation = Simulation(World(file, spread(file, 5), (whole(file),))).run(until=0.015)
        core = simulation.core
        self.assertFalse(core.wants_turn)
        plans = core.counters.plans
        self.assertEqual([], core.receive(r.TurnEnded(0.0), 0.016))
        self.assertEqual(plans, core.counters.plans)

    def test_nobody_reads(self) -> None:
        """Without readers there is no deadline, and whatever comes asks for nothing."""
        file = encode(300_000, 3, 5, SEGMENT)
        slow = tuple(evolve(server, reads=(Mood.OVERDUE,)) for server in spread(file, 5))
        simulation = Simulation(World(file, slow, (evolve(whole(file), leaves_at=1.0),))).run(
            until=2.0
        )
        core = simulation.core
        self.assertIsNone(core.next_deadline())
        self.assertEqual(0, core.reads_in_flight())
        sent = len(simulation.sent)
        simulation.run()
        self.assertEqual(sent, len(simulation.sent))

    def test_unknown_readers(self) -> None:
        """Events about a reader that left or was never there do nothing."""
        file = encode(300_000, 3, 5, SEGMENT)
        simulation = simulate(World(file, spread(file, 5), (whole(file),)))
        for event in (r.ReaderLeft(1), r.ReaderDelivered(1, 5), r.ReaderLeft(77)):
            self.assertEqual([], simulation.core.receive(event, 100.0))
        self.assertEqual([], simulation.core.receive(r.ReadAnswered(999, b"late"), 100.0))
        self.assertEqual([], simulation.core.receive(r.ReadFailed(999, "late"), 100.0))

    def test_failure_is_told_once(self) -> None:
        """Each reader that cannot be served is told so once, and is gone then."""
        file = encode(300_000, 3, 5, SEGMENT)
        readers = (whole(file), read(5, 10), ReaderSpec(segnum=1), ReaderSpec())
        simulation = Simulation(World(file, spread(file, 5)[:0], readers)).run()
        self.assertEqual([End.FAILED] * 4, [reader.end for reader in simulation.readers.values()])
        self.assertEqual({}, simulation.core.readers)
