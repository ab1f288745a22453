"""Reads on their way: reserved, late, stalled, abandoned, in that order and once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tahoe_fastdl.core.reads import NEXT_STAGE, Kind, Read, ReadBook, Stage
from tahoe_fastdl.core.servers import Server
from tahoe_fastdl.core.share import Share
from tahoe_fastdl.core.window import MIB, Budget

from .strategies import examples

PATIENCE_S = 60.0


class Reads(SynchronousTestCase):
    """``ReadBook``."""

    def setUp(self) -> None:
        self.servers = {0: Server(), 1: Server()}
        self.shares = [Share(0, 0, 0), Share(1, 1, 1)]
        self.budget = Budget(64 * MIB)
        self.account = self.budget.open()
        self.book = ReadBook(self.servers, PATIENCE_S)

    def send(self, share: int = 0, start: int = 0, length: int = 1000, now: float = 0.0) -> Read:
        """One read of blocks."""
        return self.book.send(self.account, self.shares[share], Kind.BLOCKS, start, length, 1, now)

    def test_reserved(self) -> None:
        """A read takes room and its server's queue when it is sent."""
        self.send(length=1000)
        self.send(share=1, length=500)
        self.assertEqual(1500, self.budget.used_bytes)
        self.assertEqual(1000, self.servers[0].bytes_in_flight)
        self.assertEqual(2, len(self.book))

    def test_stages(self) -> None:
        """A read that is not answered is late, stalled and abandoned, each once, in this order."""
        read = self.send()
        seen = []
        while (when := self.book.next_deadline()) is not None:
            self.assertEqual([], self.book.take_overdue(when - 1e-6))
            if self.book.take_overdue(when):
                seen.append((read.stage, self.servers[0].stalled))
        self.assertEqual([(Stage.LATE, 0), (Stage.STALLED, 1), (Stage.ABANDONED, 0)], seen)
        self.assertEqual(0, len(self.book))
        self.assertIsNone(self.book.take(read.id))

    def test_times(self) -> None:
        """Late comes before stalled before patience ends; patience is never cut short."""
        read = self.send(now=100.0)
        self.assertTrue(100.0 < read.sending.late_at < read.stalled_at <= read.abandon_at)
        self.assertGreaterEqual(read.abandon_at, 100.0 + PATIENCE_S)
        self.servers[1].rate = 10.0  # so slow that all of its own time is longer than that
        slow = self.send(share=1, length=1000)
        self.assertGreater(slow.abandon_at, 1000.0)
        self.assertLessEqual(slow.stalled_at, slow.abandon_at)

    def test_answered(self) -> None:
        """A read that ended has no deadline, and ends once."""
        read, other = self.send(now=0.0), self.send(share=1, now=1.0)
        self.assertIs(read, self.book.take(read.id))
        self.assertIsNone(self.book.take(read.id))
        when = self.book.next_deadline()
        assert when is not None and when <= other.sending.late_at
        self.book.take(other.id)
        self.assertIsNone(self.book.next_deadline())

    def test_answered_when_stalled(self) -> None:
        """The answer to a stalled read takes the mark from its server."""
        read = self.send()
        self.book.take_overdue(read.sending.late_at)
        self.book.take_overdue(read.stalled_at)
        self.assertEqual(1, self.servers[0].stalled)
        self.book.take(read.id)
        self.assertEqual(0, self.servers[0].stalled)

    def answer(self, read: Read, now: float) -> None:
        """The server's answer arrives."""
        self.book.take(read.id)
        self.servers[read.share.server].on_answered(read.length, read.length, read.sending, now)

    def test_silent(self) -> None:
        """Who says nothing for as long as a read was to take, while others go on, gives none."""
        first, second = self.send(), self.send(now=0.2)
        self.answer(self.send(share=1), now=0.1)
        self.assertLess(first.late_at, first.stalled_at)
        moved = self.book.take_overdue(first.late_at)
        self.assertEqual({first, second}, set(moved))
        self.assertEqual([Stage.STALLED] * 2, [read.stage for read in moved])
        self.assertEqual(2, self.servers[0].stalled)

    def test_not_silent(self) -> None:
        """A server that has answered since is late, and has its time again from that answer."""
        first, second = self.send(), self.send()
        self.answer(self.send(share=1), now=0.1)
        self.answer(second, now=0.3)
        (moved,) = self.book.take_overdue(first.late_at)
        self.assertIs(Stage.LATE, first.stage)
        self.assertIs(first, moved)
        self.assertEqual([], self.book.take_overdue(0.29 + first.late_at))
        self.assertEqual([first], self.book.take_overdue(0.36 + first.late_at))
        self.assertIs(Stage.STALLED, first.stage)

    def test_side_by_side(self) -> None:
        """Over HTTP what was asked for later comes as soon, and no read is late for that."""
        self.servers[0].max_reads = 10
        self.servers[0].rate = self.servers[1].rate = 1e6
        reads = [self.send(length=MIB) for _ in range(4)]
        in_order = [self.send(share=1, length=MIB) for _ in range(4)]
        self.assertLess(max(reads[0].late_at, in_order[0].late_at), reads[3].late_at)
        now = 3.5  # three times what one was to take
        self.assertEqual(
            [in_order[0]], [r for r in self.book.take_overdue(now) if r in (reads[0], in_order[0])]
        )
        self.assertIs(Stage.SENT, reads[0].stage)
        self.assertGreaterEqual(reads[0].late_at, reads[3].late_at)

    def test_pace(self) -> None:
        """A server that says nothing is excused for longer if others have slowed down too."""

        def silent_after(pace: float) -> float:
            self.setUp()
            self.servers[0].rate = self.servers[1].rate = 1e6
            self.send(length=MIB)
            other = self.send(share=1, length=256 * 1024)
            self.answer(other, now=other.sending.at + 0.1 + 0.256 / pace)
            when: float | None = 0.0
            while self.servers[0].stalled == 0:
                when = self.book.next_deadline()
                assert when is not None
                self.book.take_overdue(when)
            assert when is not None
            return when

        self.assertGreater(silent_after(pace=0.2), 1.2 * silent_after(pace=1.0))

    def test_stray(self) -> None:
        """The answer to a read that was given up shows that its server is there."""
        read = self.send()
        self.book.drop_all()
        self.book.on_stray(read.id, 7.0)
        self.book.on_stray(99, 8.0)
        self.assertEqual(7.0, self.servers[0].answered_at)

    def test_slow_wire(self) -> None:
        """When most are late none of them is called silent."""
        reads = [self.send(), self.send(share=1)]
        self.assertEqual(reads, self.book.take_overdue(max(read.late_at for read in reads)))
        self.assertEqual([Stage.LATE] * 2, [read.stage for read in reads])

    def test_compared(self) -> None:
        """A server of unknown rate is held to the slowest known one, if that is quicker."""
        read = self.send(length=MIB)
        before = read.late_at
        self.servers[1].rate = 1e5
        self.book.compare()
        self.assertEqual(before, read.late_at)
        self.servers[1].rate = 1e7
        self.book.compare()
        self.assertLess(read.late_at, before - 1)
        earlier = read.late_at
        self.servers[0].rate = 1e8
        self.book.compare()
        self.assertEqual(earlier, read.late_at)

    def test_slept(self) -> None:
        """A process that slept through all deadlines of a read hears of it once, abandoned."""
        reads = [self.send(), self.send(share=1)]
        self.assertEqual(reads, self.book.take_overdue(1e6))
        self.assertEqual([Stage.ABANDONED] * 2, [read.stage for read in reads])
        self.assertEqual([0, 0], [server.stalled for server in self.servers.values()])
        self.assertIsNone(self.book.next_deadline())

    def test_is_asked(self) -> None:
        """A range is asked for if one read of that share holds all of it."""
        read = self.send(start=100, length=50)
        self.assertEqual(150, read.stop)
        share, other = self.shares
        for start, stop, expected in ((100, 150, True), (120, 130, True), (99, 150, False),
                                      (100, 151, False), (0, 10, False)):  # fmt: skip
            self.assertEqual(expected, self.book.is_asked(share, start, stop))
            self.assertFalse(self.book.is_asked(other, start, stop))
        self.book.drop_all()
        self.assertFalse(self.book.is_asked(share, 100, 150))
        self.assertIsNone(self.book.take(read.id))

    def test_every_stage_is_reached(self) -> None:
        """Each stage but the first has one before it, and the table ends at the last."""
        self.assertEqual(set(Stage) - {Stage.SENT}, set(NEXT_STAGE.values()))
        self.assertEqual(set(Stage) - {Stage.ABANDONED}, set(NEXT_STAGE))

    def test_any_order(self) -> None:
        """Whatever is sent, answered and waited for, deadlines never go back and marks add up."""
        steps = st.lists(
            st.one_of(
                st.tuples(st.just("send"), st.integers(0, 1)),
                st.tuples(st.just("take"), st.integers(0, 20)),
                st.tuples(st.just("wait"), st.integers(0, 30)),
            ),
            max_size=40,
        )

        @examples(100)
        @given(steps)
        def check(steps: list[tuple[str, int]]) -> None:
            self.setUp()
            now, open_reads = 0.0, {}
            stages: dict[int, list[Stage]] = {}
            for what, number in steps:
                if what == "send":
                    read = self.send(share=number, now=now)
                    open_reads[read.id] = read
                elif what == "take":
                    taken = self.book.take(number)
                    self.assertIs(open_reads.pop(number, None), taken)
                else:
                    now += number
                    moved = self.book.take_overdue(now)
                    self.assertEqual(len(moved), len({read.id for read in moved}))
                    for read in moved:
                        stages.setdefault(read.id, []).append(read.stage)
                        if read.stage is Stage.ABANDONED:
                            del open_reads[read.id]
                self.assertEqual(set(open_reads), {read.id for read in self.book})
                when = self.book.next_deadline()
                self.assertEqual(when is None, not open_reads)
                for read in open_reads.values():
                    assert when is not None and when <= read.deadline()
                awaited = [
                    read.length for read in open_reads.values() if read.stage is not Stage.STALLED
                ]
                self.assertEqual(sum(awaited), self.book.bytes_awaited)
                self.assertTrue(when is None or what != "wait" or when > now)
                for server, record in self.servers.items():
                    stalled = [
                        read for read in open_reads.values()
                        if read.share.server == server and read.stage is Stage.STALLED
                    ]  # fmt: skip
                    self.assertEqual(len(stalled), record.stalled)
            order = list(Stage)
            for some in stages.values():
                self.assertEqual(sorted(some, key=order.index), some)
                self.assertEqual(len(some), len(set(some)))

        check()
