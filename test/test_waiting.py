"""A download that has to wait for a server says so, and one that need not does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tahoe_fastdl.core.servers import LATE_FLOOR_S
from tahoe_fastdl.core.window import KIB
from tahoe_fastdl.shell.waiting import Waiting
from tahoe_fastdl.status.counters import GAUGES, delayed_calls, gauges
from tahoe_fastdl.status.metrics import metrics

from .gridcase import GridCase, some_bytes
from .sharemaker import EncodedFile, encode
from .simulator import Simulation
from .spies import SpyRead, SpyServer
from .worlds import PATIENCE_S, Mood, World, read, spread

SEGMENT = 128 * KIB
NEVER = Mood.NEVER
STALLED_BY_S = 5.0  # when a read of 350 kB counts as stalled, with time to spare


def with_one(file: EncodedFile, servers: int, *reads: Mood) -> Simulation:
    """A reader of all of *file*; server 1 takes its reads like this."""
    specs = tuple(
        evolve(spec, reads=reads) if number == 1 else spec
        for number, spec in enumerate(spread(file, servers))
    )
    return Simulation(World(file, specs, (read(0, file.size),)))


class Core(SynchronousTestCase):
    """Which shares a download waits for."""

    def setUp(self) -> None:
        """A file 3-of-6 of eight segments."""
        self.file = encode(1_000_000, 3, 6, SEGMENT)

    def awaited(self, simulation: Simulation) -> list[int]:
        """The numbers of the shares it waits for now."""
        core = simulation.core
        return [core.shares[share].shnum for share in core.watching.awaited()]

    def test_named_while_it_is_waited_for(self) -> None:
        """With k shares a silent server's share is named, from its stall until it is given up."""
        for good in range(2):
            simulation = with_one(encode(3_000_000, 3, 3, SEGMENT), 3, *[Mood.GOOD] * good, NEVER)
            seen: list[tuple[float, list[int]]] = []
            while simulation.next_time() is not None:
                simulation.step()
                if not seen or seen[-1][1] != self.awaited(simulation):
                    seen.append((simulation.now, self.awaited(simulation)))
            self.assertEqual([shnums for _when, shnums in seen][:3], [[], [1], []], good)
            self.assertEqual(seen[-1][1], [], good)
            self.assertGreaterEqual(seen[1][0], LATE_FLOOR_S, good)
            self.assertGreaterEqual(seen[2][0], PATIENCE_S, good)

    def test_answers_end_it(self) -> None:
        """It is over as soon as the share's server answers."""
        file = encode(1_000_000, 3, 3, SEGMENT)
        simulation = with_one(file, 3, Mood.GOOD, Mood.GOOD, Mood.SLOW, Mood.GOOD)
        simulation.run()
        simulation.check_end()
        self.assertEqual(self.awaited(simulation), [])

    def test_nothing_with_a_spare_share(self) -> None:
        """With a spare share nobody is waited for, at any moment."""
        simulation = with_one(self.file, 6, Mood.GOOD, NEVER)
        while simulation.next_time() is not None:
            simulation.step()
            self.assertEqual(self.awaited(simulation), [])
        simulation.check_end()

    def test_shares_with_bad_blocks_are_no_spares(self) -> None:
        """A share that cannot give the blocks that are waited for does not count."""
        simulation = with_one(encode(1_000_000, 3, 4, SEGMENT), 4, NEVER)
        spare = self.wait_for_share(simulation, 3)
        spare.ledger.on_refused((1 << 8) - 1)
        self.assertEqual(self.awaited(simulation.run(until=STALLED_BY_S)), [1])

    def wait_for_share(self, simulation: Simulation, shnum: int) -> Any:
        """Let the search find a share."""
        while True:
            for share in simulation.core.shares.values():
                if share.shnum == shnum:
                    return share
            simulation.step()


class TahoeStatus:
    """As much of Tahoe's download status as is written to."""

    def __init__(self) -> None:
        self.misc_events: list[dict[str, Any]] = []

    def add_misc_event(self, what: str, start: float, finish: float | None = None) -> None:
        """As Tahoe's."""
        self.misc_events.append({"what": what, "start_time": start, "finish_time": finish})

    def get_status(self) -> str:
        """As Tahoe's, when nothing is decoded."""
        return "idle"


class Text(SynchronousTestCase):
    """What the status says."""

    def test_silent_until_told(self) -> None:
        """Nothing is touched as long as there is nothing to say."""
        status = TahoeStatus()
        waiting = Waiting(status)
        waiting.tell([], 1.0)
        self.assertFalse(waiting.is_on)
        self.assertEqual(status.misc_events, [])
        self.assertNotIn("get_status", vars(status))

    def test_begin_change_and_end(self) -> None:
        """Tahoe's own words come first, then whom we wait for; the timeline has each wait once."""
        status = TahoeStatus()
        waiting = Waiting(status)
        waiting.tell(["sh1 on abcd"], 1.0)
        waiting.tell(["sh1 on abcd"], 2.0)
        first = "waiting for sh1 on abcd, no share is spare"
        self.assertTrue(waiting.is_on)
        self.assertEqual(status.get_status(), f"idle; {first}")
        waiting.tell(["sh1 on abcd", "sh2 on efgh"], 3.0)
        second = "waiting for sh1 on abcd, sh2 on efgh, no share is spare"
        self.assertEqual(status.get_status(), f"idle; {second}")
        waiting.tell([], 4.0)
        self.assertFalse(waiting.is_on)
        self.assertEqual(status.get_status(), "idle")
        self.assertEqual(
            [tuple(event.values()) for event in status.misc_events],
            [(first, 1.0, 3.0), (second, 3.0, 4.0)],
        )


class Shell(GridCase):
    """The same as its user sees it."""

    servers = 4
    options = {"patience": "3600 s", "memory": "8 MiB"}  # noqa: RUF012 - as GridCase has it

    async def download(
        self, n: int, look: Callable[[Any], bool]
    ) -> tuple[Any, list[str], dict[str, int], str]:
        """Read a file 3-of-*n*, one server hanging until *look* at the status is content.

        :return: the status, each line that it said, and the gauges and metrics then.
        """
        data = some_bytes(300_000)
        cap = await self.put(data, 3, n, 30_000)
        spies = self.spy()
        holders = {server for _n, server, _p in self.find_uri_shares(cap)}
        hung: SpyServer = next(spy for spy in spies if spy.get_serverid() in holders)
        gate: Deferred[None] = Deferred()

        def hold(_read: SpyRead, ask: Any) -> Any:
            held: Deferred[Any] = Deferred()
            gate.addCallback(lambda _: ask().chainDeferred(held) and None)
            return held

        hung.answer_read = hold
        node = self.node(cap)
        reading = Deferred.fromCoroutine(self.read(node))
        status = node._cnode._download_status
        said: list[str] = []

        def is_content() -> bool:
            said.append(status.get_status())
            return reading.called or look(status)

        await self.turns(is_content)
        now, text = gauges(self.hub), metrics(self.hub, True, "", "")
        gate.callback(None)
        self.assertTrue(await reading == data)
        await self.turns(lambda: not gauges(self.hub)["downloads_active"])
        self.no_fallbacks()
        return status, said, now, text

    async def test_no_spare_share(self) -> None:
        """The status names share and server while it waits, and not before or afterwards."""
        status, said, now, text = await self.download(3, lambda s: "waiting" in s.get_status())
        self.assertRegex(said[-1], r"waiting for sh[012] on \w+, no share is spare")
        self.assertNotIn("waiting", said[0])
        self.assertNotIn("waiting", status.get_status())
        (event,) = [each for each in status.misc_events if "waiting" in each["what"]]
        self.assertGreater(event["finish_time"], event["start_time"])
        self.assertEqual(now["downloads_active"], 1)
        self.assertEqual(now["downloads_waiting"], 1)
        self.assertGreater(now["reads_in_flight"], 0)
        self.assertIn("\ntahoe_fastdl_downloads_waiting 1\n", text)

    async def test_spare_share(self) -> None:
        """With a spare share it is used, and nothing is said."""
        _status, said, *_ = await self.download(4, lambda _status: False)
        self.assertEqual([line for line in said if "waiting" in line], [])

    async def test_gauges_at_rest(self) -> None:
        """When nobody reads any more all gauges but the parked downloads are 0."""
        cap = await self.put(some_bytes(300_000), 3, 4, 30_000)
        await self.read(self.node(cap))
        await self.turns(lambda: len(self.hub.parking) == 1 and not delayed_calls())
        now = gauges(self.hub)
        self.assertEqual(set(now), set(GAUGES))
        self.assertEqual(now.pop("downloads_parked"), 1)
        self.assertEqual(set(now.values()), {0})
