"""What a server costs that falls silent or slow in mid-file, when others could give the same.

In virtual time: the world is the simulator's, but one server meets its fate at a
chosen moment, with whatever was asked of it by then.
"""

from __future__ import annotations

from itertools import combinations, product

from attrs import define, evolve
from twisted.trial.unittest import SynchronousTestCase

from tahoe_fastdl.core import records as r
from tahoe_fastdl.core.servers import NEVER
from tahoe_fastdl.core.window import KIB, MIB

from .sharemaker import EncodedFile, encode
from .simulator import Answer, Simulation
from .worlds import PATIENCE_S, Mood, World, read, spread

SEGMENT = 128 * KIB
HTTP_READS = 10


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


@define
class Flow:
    """An answer on its way."""

    server: int
    event: Answer
    left_bytes: float


class SideBySide(Simulation):
    """Servers that send all answers at once, as over HTTP, through a line that they share.

    :param line_rate: of that line, bytes a second.
    :param victim: the server that is *factor* times slower from *when* on; 0: silent.
    """

    def __init__(
        self,
        world: World,
        line_rate: float,
        victim: int = 0,
        when: float = NEVER,
        factor: float = 1.0,
    ) -> None:
        self._line_rate = line_rate
        self._flows: dict[int, Flow] = {}
        self._flowed_at = 0.0
        super().__init__(world)
        if when != NEVER:
            self.at(when, lambda: self._strike(victim, factor))

    def _strike(self, victim: int, factor: float) -> None:
        self._flow()
        spec = self.servers[victim].spec
        self.servers[victim].spec = evolve(spec, rate=spec.rate / factor if factor else 0.0)
        self._watch()

    def _transmit(self, number: int, event: Answer, length: int, mood: Mood) -> None:
        flow = Flow(number, event, length)
        self.at(self.now + self.servers[number].spec.latency_s, lambda: self._begin(flow))

    def _begin(self, flow: Flow) -> None:
        self._flow()
        self._flows[flow.event.read] = flow
        self._watch()

    def _rates(self) -> dict[int, float]:
        """Of each flow: its part of its server's rate, and no more than its part of the line."""
        queues: dict[int, list[int]] = {}
        for answer, flow in self._flows.items():
            queues.setdefault(flow.server, []).append(answer)
        own = dict.fromkeys(self._flows, 0.0)
        for number, reads in queues.items():
            spec = self.servers[number].spec
            for answer in reads if spec.max_reads else reads[:1]:
                own[answer] = spec.rate / (len(reads) if spec.max_reads else 1)
        flowing = sum(rate > 0 for rate in own.values())
        return {
            answer: min(rate, self._line_rate / max(1, flowing)) for answer, rate in own.items()
        }

    def _flow(self) -> None:
        """Move all bytes to where they are by now."""
        passed_s, self._flowed_at = self.now - self._flowed_at, self.now
        for answer, rate in self._rates().items():
            self._flows[answer].left_bytes -= rate * passed_s

    def _watch(self) -> None:
        """Look again when the next answer is whole."""
        rates = self._rates()
        times = [flow.left_bytes / rates[i] for i, flow in self._flows.items() if rates[i]]
        if times:
            self.at(self.now + max(0.0, min(times)), self._arrive)

    def _arrive(self) -> None:
        self._flow()
        whole = [answer for answer, flow in self._flows.items() if flow.left_bytes < 1]
        for answer in whole:
            self._come_back(self._flows.pop(answer).event)
        if whole:
            self._watch()


class MishapCase(SynchronousTestCase):
    """What a mishap costs: seconds more than the same download takes without."""

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

    def world(
        self, file: EncodedFile, servers: int, rate: float, latency_s: float, max_reads: int = 0
    ) -> World:
        """Servers alike, and a reader of the whole file."""
        specs = tuple(
            evolve(spec, rate=rate, latency_s=latency_s, max_reads=max_reads)
            for spec in spread(file, servers)
        )
        return World(file, specs, (read(0, file.size),), patience_s=600.0)


class OneAfterAnother(MishapCase):
    """Servers that answer one request after another, as over Foolscap."""

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


class OverHttp(MishapCase):
    """Servers that send all their answers side by side, and take ten requests at once."""

    def test_no_mishap(self) -> None:
        """Nobody is late because what it was asked for later comes as soon as the first."""
        for size, k, n, segment, line_rate in (
            (40_000_000, 3, 10, MIB, 12.5e6),
            (20_000_000, 3, 10, SEGMENT, 4e6),
            (20_000_000, 20, 40, SEGMENT, 8e6),
        ):
            world = self.world(encode(size, k, n, segment), 6, 10e6, 0.02, HTTP_READS)
            simulation = SideBySide(world, line_rate)
            took_s = self.seconds(simulation)
            self.assertEqual(simulation.core.counters.replaced, 0, (size, k, line_rate))
            self.assertLess(took_s, 1.1 * size / line_rate + 0.2)

    def test_hung(self) -> None:
        """A server that hangs costs less than a second, whenever it does."""
        world = self.world(encode(40_000_000, 3, 10, MIB), 6, 10e6, 0.02, HTTP_READS)
        plain_s = self.seconds(SideBySide(world, 12.5e6))
        for victim, part in product(range(6), (0.1, 0.4, 0.9)):
            mishap = SideBySide(world, 12.5e6, victim, part * plain_s, factor=0.0)
            self.assertLess(self.seconds(mishap), plain_s + 1.0, (victim, part))

    def test_hung_with_all_slots_taken(self) -> None:
        """What waited for a slot of the server that hangs is asked of others too."""
        world = self.world(encode(6_000_000, 3, 10, SEGMENT), 6, 5e6, 0.02, max_reads=2)
        plain_s = self.seconds(SideBySide(world, 30e6))
        for victim, part in product(range(6), (0.2, 0.4, 0.5, 0.6)):
            mishap = SideBySide(world, 30e6, victim, part * plain_s, factor=0.0)
            self.assertLess(self.seconds(mishap), plain_s + 1.0, (victim, part))

    def test_slow(self) -> None:
        """A server that becomes ten times slower costs less than a seventh of the time.

        Also where each segment needs most of the servers.
        """
        for k, n, rate, line_rate in ((3, 10, 10e6, 12.5e6), (20, 40, 2e6, 8e6)):
            world = self.world(encode(60_000_000, k, n, MIB), 8, rate, 0.02, HTTP_READS)
            plain_s = self.seconds(SideBySide(world, line_rate))
            for victim in (0, 7):
                mishap = SideBySide(world, line_rate, victim, 0.4 * plain_s, factor=10.0)
                self.assertLess(self.seconds(mishap), 1.15 * plain_s, (k, victim))


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
