"""What may be seen of a download, on simulated ones stopped halfway."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tahoe_fastdl.core.reads import Kind, Stage

from .sharemaker import EncodedFile, encode
from .simulator import Simulation
from .worlds import Mood, World, read, spread


class Watching(SynchronousTestCase):
    """A window into the books."""

    def simulation(self, *moods: Mood) -> Simulation:
        """Of a file 3-of-6 on six servers, whose first answers reads with these moods."""
        self.file: EncodedFile = encode(20_000_000, 3, 6, 131072)
        servers = list(spread(self.file, 6))
        servers[0] = evolve(servers[0], reads=moods)
        return Simulation(World(self.file, tuple(servers), (read(0, self.file.size),)))

    def test_before_and_after(self) -> None:
        """Before the first event and after the last one nothing is held or asked for."""
        simulation = self.simulation(Mood.GOOD)
        watching = simulation.core.watching
        before = watching.standing()
        self.assertEqual((before.segment_size, before.num_segments), (None, None))
        simulation.run()
        after = watching.standing()
        for standing in (before, after):
            self.assertEqual((standing.in_flight_bytes, standing.held_bytes), (0, 0))
        self.assertEqual(after.num_segments, 153)
        self.assertLessEqual(after.recomputations, after.changes)
        self.assertIsNone(watching.read(1))
        self.assertEqual(watching.overdue(), [])

    def test_halfway(self) -> None:
        """In between the reads are known by their shares and blocks, and their bytes are held."""
        simulation = self.simulation(Mood.GOOD)
        simulation.run(until=0.2)
        watching = simulation.core.watching
        standing = watching.standing()
        self.assertGreater(standing.in_flight_bytes, 0)
        self.assertLessEqual(standing.in_flight_bytes, standing.held_bytes)
        self.assertLessEqual(standing.held_bytes, standing.limit_bytes)
        found = [watching.read(number) for number in range(1, len(simulation.sent) + 1)]
        reads = [each for each in found if each is not None]
        self.assertEqual(len(reads), simulation.core.reads_in_flight())
        for each in reads:
            self.assertIs(each.stage, Stage.SENT)
            self.assertEqual(simulation.core.shares[each.share].shnum, each.shnum)
            if each.kind is Kind.BLOCKS:
                self.assertLess(each.first_segment, each.stop_segment)
                self.assertLessEqual(each.stop_segment, 153)

    def test_looking_moves_nothing(self) -> None:
        """However often one looks, no counter and no revision moves."""
        simulation = self.simulation(Mood.GOOD)
        simulation.run(until=0.2)
        watching = simulation.core.watching
        first = watching.standing()
        for _look in range(3):
            watching.unasked_blocks()
            watching.hedged_servers(1)
            watching.overdue()
            self.assertEqual(watching.standing(), first)

    def test_late_and_hedged(self) -> None:
        """A read that is late is told, and each that was sent for it names its server."""
        simulation = self.simulation(Mood.GOOD, Mood.GOOD, Mood.SLOW)
        watching = simulation.core.watching
        hedges = set()
        late = set()
        seen = 0
        while simulation.next_time() is not None:
            simulation.step()
            late |= {each.server for each in watching.overdue()}
            for number in range(seen + 1, len(simulation.sent) + 1):
                for server in watching.hedged_servers(number):
                    hedges.add((simulation.sent[number - 1].server, server))
            seen = len(simulation.sent)
        self.assertEqual(late, {0})
        self.assertEqual({server for _asked, server in hedges}, {0})
        self.assertNotIn(0, {asked for asked, _server in hedges})
