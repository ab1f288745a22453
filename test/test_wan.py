"""The WAN pipe: its rates and rules by themselves, and a short run of the real process.

Times here are lower bounds only, since a busy machine adds to any of them; how
exact the pipe is says ``python3 misc/wan.py --check``.
"""

from __future__ import annotations

import socket

from twisted.trial.unittest import SynchronousTestCase

from misc import wan_check
from misc.wan import Event, WanError, Wire
from misc.wan_wire import CREDIT_S, Limiter


class LimiterTests(SynchronousTestCase):
    """Who waits how long for a rate."""

    def test_in_turn(self) -> None:
        """Bytes start when those booked before them are through, and take length / rate."""
        limiter = Limiter()
        limiter.set_rate(1000.0)
        start, through = limiter.book(100, now=10.0)
        self.assertAlmostEqual(start, 10.0 - CREDIT_S)
        self.assertAlmostEqual(through, start + 0.1)
        self.assertEqual(limiter.book(50, now=10.0)[0], through)

    def test_no_rate(self) -> None:
        """Without a rate nobody waits, however much was booked."""
        limiter = Limiter()
        limiter.book(10**9, now=1.0)
        self.assertEqual(limiter.book(10**9, now=1.0), (1.0, 1.0))

    def test_idle_time_is_not_saved(self) -> None:
        """After a pause only the credit of a late timer may be caught up with."""
        limiter = Limiter()
        limiter.set_rate(1000.0)
        limiter.book(10, now=1.0)
        self.assertAlmostEqual(limiter.book(10, now=60.0)[0], 60.0 - CREDIT_S)


class RecordTests(SynchronousTestCase):
    """What cannot be asked for."""

    def test_nonsense_is_refused(self) -> None:
        """Negative numbers and unknown events are no wire and no event."""
        for make in (
            lambda: Wire(delay_s=-1.0),
            lambda: Wire(server_rate=-1.0),
            lambda: Event(0.0, 0, "explode"),
            lambda: Event(-1.0, 0, "drop"),
            lambda: Event(0.0, 0, "slow", 0.5),
        ):
            with self.assertRaises(ValueError):
                make()


class ProcessTests(SynchronousTestCase):
    """The process, between blocking sockets on loopback."""

    def test_delay_is_a_pipeline(self) -> None:
        """A transfer of many windows' bytes takes no round trip a piece."""
        with wan_check.piped_peers(1) as wan:
            wan.use(Wire(delay_s=0.05))
            with wan_check.connect(wan.ports[0]) as connection:
                self.assertGreater(wan_check.ping(connection), 0.099)
                first, last = wan_check.fetch(connection, 8_000_000)
        # Stop-and-wait with 64 KiB pieces would take 12 s.
        self.assertLess(last - first, 4.0)

    def test_rate(self) -> None:
        """Two connections share their server's rate."""
        with wan_check.piped_peers(1) as wan:
            wan.use(Wire(server_rate=4e6))
            rate = wan_check.fetch_all([wan.ports[0]] * 2, 1_000_000)
        self.assertLess(rate, 4.4e6)

    def test_drop(self) -> None:
        """A dropped connection ends, and the next one works."""
        with wan_check.piped_peers(1) as wan:
            with wan_check.connect(wan.ports[0]) as connection:
                wan_check.ping(connection)
                wan.run_script([Event(0.0, 0, "drop")])
                self.assertEqual(_rest(connection), b"")
            with wan_check.connect(wan.ports[0]) as connection:
                wan_check.ping(connection)

    def test_silent(self) -> None:
        """A silent server answers nothing, its neighbour does; when normal again it answers."""
        with wan_check.piped_peers(2) as wan:
            wan.run_script([Event(0.0, 0, "silent")])
            with wan_check.connect(wan.ports[1]) as connection:
                wan_check.ping(connection)
            with wan_check.connect(wan.ports[0], timeout_s=0.3) as connection:
                with self.assertRaises(socket.timeout):
                    wan_check.ping(connection)
                wan.run_script([Event(0.0, 0, "normal")])
                connection.settimeout(30.0)
                self.assertEqual(connection.recv(1), b"!")

    def test_refusals(self) -> None:
        """What cannot happen is refused with its reason, and the pipe goes on."""
        with wan_check.piped_peers(1) as wan:
            with self.assertRaisesRegex(WanError, "no server 7"):
                wan.run_script([Event(0.0, 7, "drop")])
            with self.assertRaisesRegex(WanError, "cannot be slower"):
                wan.run_script([Event(0.0, 0, "slow")])
            with wan_check.connect(wan.ports[0]) as connection:
                wan_check.ping(connection)


def _rest(connection: socket.socket) -> bytes:
    """What still comes; nothing of a connection that was broken off."""
    try:
        return connection.recv(1)
    except ConnectionError:
        return b""
