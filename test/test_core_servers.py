"""What servers show of themselves, and when a read of theirs is late."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tahoe_fastdl.core.servers import (
    DEFAULT_LATENCY_S,
    LATE_FLOOR_S,
    STALLED_FLOOR_S,
    Server,
)

from .strategies import examples


def serve(server: Server, rate: float, latency_s: float, lengths: list[int], start: float) -> float:
    """Ask for all of *lengths* at once; a line of this rate answers in order.  When it is done."""
    sendings = [server.on_sent(length, start) for length in lengths]
    now = start + latency_s
    for length, sending in zip(lengths, sendings):
        now += length / rate
        server.on_answered(length, length, sending, now)
    return now


def serve_at_once(
    server: Server, rate: float, latency_s: float, lengths: list[int], start: float
) -> float:
    """The same where all answers share the line, and so end together."""
    sendings = [server.on_sent(length, start) for length in lengths]
    now = start + latency_s + sum(lengths) / rate
    for length, sending in zip(lengths, sendings):
        server.on_answered(length, length, sending, now)
    return now


class Estimates(SynchronousTestCase):
    """Latency and rate."""

    def test_before_anything(self) -> None:
        """A server nobody has met is expected to be ordinary, not infinitely fast or slow."""
        server = Server()
        self.assertGreaterEqual(server.expected_s(0), DEFAULT_LATENCY_S)
        self.assertLess(server.expected_s(2**20), 1.0)

    def test_latency(self) -> None:
        """Small answers settle the latency, whatever it was at first."""
        server = Server()
        server.on_latency(5.0)
        for second in range(60):
            sending = server.on_sent(100, float(second))
            server.on_answered(100, 100, sending, second + 0.02)
        assert server.latency_s is not None
        self.assertLess(abs(server.latency_s - 0.02), 0.005)
        self.assertIsNone(server.rate)

    def test_distance(self) -> None:
        """A near server stays near while our own work delays its answers, and not for ever if
        they come from farther away."""
        server = Server()
        self.assertFalse(server.is_near)
        for _ in range(3):
            server.on_latency(0.001)
        for _ in range(100):  # as of ten downloads at once
            server.on_latency(0.1)
        self.assertTrue(server.is_near)
        assert server.latency_s is not None
        self.assertGreater(server.latency_s, 0.05)
        for _ in range(200):
            server.on_latency(0.1)
        self.assertFalse(server.is_near)
        server.on_latency(0.002)
        self.assertTrue(server.is_near)

    def test_latency_after_an_outage(self) -> None:
        """Answers that outages held up excuse no silence of seconds; a slow server's do."""
        hung, slow = Server(), Server()
        for server in (hung, slow):
            for _ in range(20):
                server.on_latency(0.02)
        for outage in range(5):
            hung.on_latency(60.0)
            if outage:
                hung.on_latency(0.02)
            _late_at, stalled_at = hung.deadlines(1000, 0.0)
            self.assertLessEqual(stalled_at, STALLED_FLOOR_S, outage)
        for _ in range(20):
            slow.on_latency(2.0)
        late_at, _stalled_at = slow.deadlines(1000, 0.0)
        self.assertGreater(late_at, 2.0)

    def test_rate(self) -> None:
        """After some bulk answers the time for more is foreseen, near or far, one read or many."""

        @examples(60)
        @given(
            st.sampled_from([1e5, 1e6, 1e7, 1e8]),
            st.sampled_from([0.0005, 0.02, 0.2]),
            st.integers(1, 10),
            st.sampled_from([serve, serve_at_once]),
        )
        def check(rate: float, latency_s: float, reads: int, serve: Callable[..., float]) -> None:
            server, now = Server(), 0.0
            server.on_latency(latency_s)
            lengths = [256 * 1024] * reads
            for _ in range(40):
                now = serve(server, rate, latency_s, lengths, now) + 0.001
            foreseen = server.expected_s(sum(lengths))
            taken = latency_s + sum(lengths) / rate
            self.assertTrue(taken / 3 < foreseen < taken * 3, (taken, foreseen))

        check()

    def test_adapts(self) -> None:
        """A server that slows down tenfold is known to be slow after some more reads."""
        server, now = Server(), 0.0
        server.on_latency(0.001)
        for _ in range(20):
            now = serve(server, 1e7, 0.001, [256 * 1024] * 4, now)
        fast = server.expected_s(2**20)
        for _ in range(20):
            now = serve(server, 1e6, 0.001, [256 * 1024] * 4, now)
        self.assertGreater(server.expected_s(2**20), 5 * fast)

    def test_queue(self) -> None:
        """What was asked before has to come first, so more in flight is later."""
        server = Server()
        before = server.expected_s(1000)
        server.on_sent(10**6, 0.0)
        self.assertGreater(server.expected_s(1000), before)
        server.on_retired(10**6)
        self.assertEqual(server.expected_s(1000), before)


class Slots(SynchronousTestCase):
    """How many reads may be under way."""

    def test_limit(self) -> None:
        """A server with a limit has a slot again for each read that ended, however it ended."""
        server = Server(max_reads=2)
        for _ in range(2):
            self.assertTrue(server.has_slot())
            sending = server.on_sent(100, 0.0)
        self.assertFalse(server.has_slot())
        server.on_answered(0, 100, sending, 1.0)
        self.assertTrue(server.has_slot())
        server.on_sent(100, 2.0)
        server.on_retired(100)
        self.assertTrue(server.has_slot())

    def test_near(self) -> None:
        """To a server on a LAN no more than four go at once, and as many as to others if it
        turns out to be far, or has a limit below that."""
        for latency_s, limit, slots in (
            (0.001, 10, 4), (0.001, 2, 2), (0.05, 10, 10), (0.05, 2, 2)
        ):  # fmt: skip
            server = Server(max_reads=limit)
            server.on_latency(latency_s)
            for _ in range(slots):
                self.assertTrue(server.has_slot(), (latency_s, limit))
                server.on_sent(100, 0.0)
            self.assertFalse(server.has_slot(), (latency_s, limit))

    def test_no_limit(self) -> None:
        """Without a limit there is always a slot."""
        server = Server()
        for _ in range(1000):
            server.on_sent(1, 0.0)
        self.assertTrue(server.has_slot())

    def test_adds_up(self) -> None:
        """Whatever is answered, in whole, in part or not at all, the counts come back to zero."""

        @examples(100)
        @given(st.lists(st.tuples(st.integers(1, 10**6), st.floats(0, 1), st.booleans())))
        def check(reads: list[tuple[int, float, bool]]) -> None:
            server = Server()
            sendings = [server.on_sent(length, 0.0) for length, _part, _answered in reads]
            for i, (length, part, answered) in enumerate(reads):
                if answered:
                    server.on_answered(int(length * part), length, sendings[i], 1.0 + i)
                else:
                    server.on_retired(length)
            self.assertEqual((0, 0), (server.reads_in_flight, server.bytes_in_flight))

        check()


class Deadlines(SynchronousTestCase):
    """When a read is late and when it counts as not coming."""

    def test_order(self) -> None:
        """A read is never late at once, and late before it is stalled, whatever is known."""

        @examples(100)
        @given(st.lists(st.floats(0, 100), max_size=5), st.integers(1, 2**22), st.floats(0, 1e9))
        def check(latencies: list[float], length: int, now: float) -> None:
            server = Server()
            for seconds in latencies:
                server.on_latency(seconds)
            expected = server.expected_s(length)
            sending = server.on_sent(length, now)
            late, stalled = sending.late_at, sending.stalled_at
            self.assertGreaterEqual(late, now + max(LATE_FLOOR_S, expected) * 0.999)
            self.assertGreaterEqual(stalled, now + STALLED_FLOOR_S * 0.999)
            self.assertGreater(stalled, late)

        check()

    def test_own_standard(self) -> None:
        """A server that is slow by nature gets more time than a quick one."""
        quick, slow = Server(), Server()
        quick.on_latency(0.001)
        slow.on_latency(2.0)
        self.assertLess(quick.deadlines(1000, 0.0), slow.deadlines(1000, 0.0))

    def test_uneven(self) -> None:
        """A server whose latency varies gets more time than one as quick on average."""
        even, uneven = Server(), Server()
        for i in range(40):
            even.on_latency(0.5)
            uneven.on_latency(0.1 if i % 2 else 0.9)
        self.assertLess(even.deadlines(1000, 0.0)[0] + 0.5, uneven.deadlines(1000, 0.0)[0])
