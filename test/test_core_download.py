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
from tahoe_fastdl.core.turns import STARVE_S
from tahoe_fastdl.core.window import KIB, MIB

from .sharemaker import (
    encode,
)
from .simulator import End, Simulation, run_together, simulate
from .strategies import examples, worlds
from .worldmaker import only_reader, whole
from .worlds import Damage, Mood, PlacedShare, ReaderSpec, ServerSpec, World, read, spread

SEGMENT = 128 * KIB


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

    def test_beside_a_paused_one(self) -> None:
        """Who reads elsewhere in a file does not wait for what a paused reader holds."""
        file = encode(6_000_000, 3, 6, SEGMENT)
        readers = (
            ReaderSpec(0, 3_000_000, pauses_s=(1e9,)),
            read(3_000_000, 6_000_000, joins_at=5.0),
        )
        for budget_bytes in (300 * KIB, 2 * MIB, 8 * MIB):
            world = World(file, spread(file, 6), readers, budget_bytes, SEGMENT)
            _paused, other = Simulation(world).run(until=1e6).readers.values()
            self.assertLess(other.ended_at, 5.0 + STARVE_S, budget_bytes)

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

    def test_budget_is_kept_for_slow_readers(self) -> None:
        """An answer is held until its last block is decoded: what is decoded of long ones
        must not pile up beside them before a reader that takes its time."""
        file = encode(60_000_000, 20, 20, SEGMENT)
        servers = tuple(evolve(each, rate=100e6, latency_s=0.002) for each in spread(file, 6))
        for budget_bytes in (16 * MIB, 64 * MIB):
            for pauses_s in ((0.02,), (0.0, 0.0, 3.0)):
                readers = (evolve(whole(file), pauses_s=pauses_s), whole(file))
                for count in (1, 2):
                    world = World(file, servers, readers[:count], budget_bytes=budget_bytes)
                    peak_bytes = simulate(world).budget.peak_bytes
                    self.assertLessEqual(peak_bytes, budget_bytes, (pauses_s, count))

    def test_budget_is_kept_at_the_end(self) -> None:
        """However many segments are left for the last stripes, they fit."""
        for segments in (60, 71):
            file = encode(segments * MIB, 60, 60, MIB)
            servers = tuple(
                evolve(each, rate=100e6, latency_s=0.002, max_reads=10) for each in spread(file, 6)
            )
            world = World(file, servers, (whole(file),), budget_bytes=64 * MIB)
            # Of servers whose rates are known nearly all of it is asked for at once.
            budget = Simulation(world, beside=simulate(world)).run().budget
            self.assertLessEqual(budget.peak_bytes, budget.total_bytes, segments)

    def test_budget_is_kept_for_waiting_reads(self) -> None:
        """Nor beside what is still to be asked for, when there is a slot."""
        file = encode(60_000_000, 60, 60, SEGMENT)
        for count in (2, 3, 4):
            servers = tuple(
                evolve(each, rate=60e6, latency_s=0.002, max_reads=count)
                for each in spread(file, 6)
            )
            reader = evolve(whole(file), pauses_s=(0.02,))
            world = World(file, servers, (reader,), segment_size_hint=SEGMENT)
            simulation = simulate(world)
            peak_bytes = simulation.budget.peak_bytes
            self.assertLessEqual(peak_bytes, simulation.budget.total_bytes, count)


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
