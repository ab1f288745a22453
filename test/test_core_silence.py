"""What a server costs that falls silent or slow in mid-file, when others could give the same.

In virtual time: the world is the simulator's, but one server meets its fate at a
chosen moment, with whatever was asked of it by then.
"""

from __future__ import annotations

from itertools import combinations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tahoe_fastdl.core import records as r
from tahoe_fastdl.core.window import KIB, MIB

from .sharemaker import EncodedFile, encode
from .simulator import PATIENCE_S, Mood, Simulation, World, read, spread

SEGMENT = 128 * KIB


class Mishap(Simulation):
    """A world in which server *victim* is another from *when* on.

    :param factor: how many times slower; 0 if it says nothing any more.
    """

    def __init__(self, world: World, victim: int, when: float, factor: float) -> None:
        self._victim, self._when, self._factor = victim, when, factor
        self._sent_before: set[int] = set()
        super().__init__(world)
        self.at(when, self._strike)

    def _strike(self) -> None:
        server, factor = self.servers[self._victim], self._factor
        if not factor:
            server.spec = evolve(server.spec, reads=(Mood.NEVER,))
            return
        spec = server.spec
        server.spec = evolve(spec, rate=spec.rate / factor, latency_s=spec.latency_s * factor)
        server.busy_until = self._slowed(server.busy_until)

    def _slowed(self, when: float) -> float:
        return when if when < self._when else self._when + (when - self._when) * self._factor

    def _read(self, action: r.SendRead) -> None:
        if self.now <= self._when and self._share_ids[action.share][0] == self._victim:
            self._sent_before.add(action.read)
        super()._read(action)

    def _come_back(self, event: r.ReadAnswered | r.ReadFailed) -> None:
        if self.now > self._when and event.read in self._sent_before:
            self._sent_before.discard(event.read)
            if self._factor:
                self.at(self._slowed(self.now), lambda: self._come_back(event))
            return
        super()._come_back(event)


class Cost(SynchronousTestCase):
    """Seconds more than the same download takes without mishap."""

    def most(self, world: World, factor: float) -> tuple[float, float]:
        """The most that a mishap costs, whenever it comes, and the time without one."""
        plain_s = self.seconds(Simulation(world))
        moments = [plain_s * tenth / 10 for tenth in range(10)]
        mishaps = [Mishap(world, 0, when, factor) for when in moments]
        return max(self.seconds(mishap) for mishap in mishaps) - plain_s, plain_s

    def seconds(self, simulation: Simulation) -> float:
        """When the one reader has all."""
        simulation.run()
        simulation.check_end()
        (reader,) = simulation.readers.values()
        return reader.ended_at

    def world(self, file: EncodedFile, servers: int, rate: float, latency_s: float) -> World:
        """Servers alike, and a reader of the whole file."""
        specs = tuple(
            evolve(spec, rate=rate, latency_s=latency_s) for spec in spread(file, servers)
        )
        return World(file, specs, (read(0, file.size),), patience_s=600.0)

    def test_hung(self) -> None:
        """A server that hangs, at the start or later, costs less than a second."""
        for size, k, n, segment, rate, latency_s in (
            (6_000_000, 3, 10, MIB, 5e6, 0.03),
            (4_000_000, 10, 20, SEGMENT, 5e6, 0.002),
            (4_000_000, 3, 6, SEGMENT, 3e6, 0.05),
            (4_000_000, 3, 4, SEGMENT, 3e6, 0.05),
        ):
            world = self.world(encode(size, k, n, segment), n, rate, latency_s)
            cost_s, _plain_s = self.most(world, factor=0.0)
            self.assertLess(cost_s, 1.0, (k, n, rate, latency_s))

    def test_hung_is_asked_for_nothing_more(self) -> None:
        """Once it counts as silent it is the last resort, and what it owes is asked of others."""
        file = encode(4_000_000, 3, 6, SEGMENT)
        mishap = Mishap(self.world(file, 6, 3e6, 0.05), victim=0, when=0.0, factor=0.0)
        self.seconds(mishap)
        self.assertLess(max(sent.when for sent in mishap.sent if sent.server == 0), 1.0)

    def test_no_mishap(self) -> None:
        """Nobody is called silent who is merely far, slow, or both."""
        for rate, latency_s in ((5e6, 0.002), (1e6, 0.05), (2e5, 0.2)):
            file = encode(4_000_000, 3, 6, SEGMENT)
            simulation = Simulation(self.world(file, 6, rate, latency_s))
            self.seconds(simulation)
            self.assertEqual(simulation.core.counters.replaced, 0, (rate, latency_s))

    def test_servers_unlike(self) -> None:
        """One that is ten times slower by nature costs no more than what it was first asked."""
        file = encode(4_000_000, 3, 6, SEGMENT)
        world = self.world(file, 6, 5e6, 0.02)
        slow = evolve(world.servers[0], rate=5e5)
        simulation = Simulation(evolve(world, servers=(slow, *world.servers[1:])))
        self.seconds(simulation)
        self.assertLess(simulation.core.counters.bytes_received, 1.3 * file.size)


class BeforeTheUeb(SynchronousTestCase):
    """Servers that are silent from their first read on."""

    def test_every_choice_of_servers(self) -> None:
        """Whichever servers fall silent at once, k others are enough, without patience.

        Also when all that was asked at first counts as stalled before the UEB is here.
        """
        file = encode(300_000, 3, 10, 3000)
        for silent in combinations(range(10), 7):
            specs = tuple(
                evolve(spec, reads=(Mood.NEVER,)) if number in silent else spec
                for number, spec in enumerate(spread(file, 10))
            )
            simulation = Simulation(World(file, specs, (read(0, file.size),)))
            simulation.run(until=0.9 * PATIENCE_S)
            simulation.check_end()
