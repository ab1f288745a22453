"""Tables of events: bounded, and honest about what they left out."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tahoe_fastdl.status.tables import (
    ABANDONED,
    DONE,
    FAILED,
    HEDGE,
    LATE,
    OPEN,
    WASTED,
    ReadTable,
    SpreadTable,
)

from .strategies import examples

NOWHERE = (-1, -1)


class Spread(SynchronousTestCase):
    """``SpreadTable``."""

    def filled(self, count: int, capacity: int, head: int) -> SpreadTable:
        """Offered the numbers from 0."""
        table = SpreadTable("qd", capacity, head)
        for number in range(count):
            table.add(number, number / 2)
        return table

    def test_everything_fits(self) -> None:
        """Until it is full nothing is left out."""
        table = self.filled(16, 16, 4)
        self.assertEqual(list(table.rows()), [(n, n / 2) for n in range(16)])
        self.assertEqual(table.left_out, 0)

    def test_laws(self) -> None:
        """However many come: bounded, in order, counted, and the first and the last are there."""

        @examples(150)
        @given(st.integers(0, 5000), st.integers(5, 60), st.integers(0, 20))
        def check(count: int, room: int, head: int) -> None:
            table = self.filled(count, room + head, head)
            rows = [number for number, _half in table.rows()]
            self.assertLessEqual(len(rows), room + head + 1)  # the newest may come on top
            self.assertEqual(len(rows) + table.left_out, count)
            self.assertEqual(rows, sorted(set(rows)))
            self.assertEqual(rows[:head], list(range(min(head, count))))
            if count:
                self.assertEqual(list(table.rows())[-1], (count - 1, (count - 1) / 2))

        check()

    def test_spread(self) -> None:
        """What is left is evenly spread: no gap is twice as long as another but the last."""
        rows = [number for number, _half in self.filled(100_000, 264, 8).rows()][8:-1]
        gaps = {b - a for a, b in zip(rows, rows[1:])}
        self.assertEqual(len(gaps), 1, gaps)
        self.assertGreater(len(rows), 120)


class Reads(SynchronousTestCase):
    """``ReadTable``."""

    def send(self, table: ReadTable, read: int, flags: int = 0) -> None:
        """Enter a read whose start is its number."""
        table.send(read, 0, 0, read, 1, NOWHERE, float(read), flags)

    def test_life_of_a_read(self) -> None:
        """What is told between sending and the end is in its row."""
        table = ReadTable(64, 8)
        table.send(7, 3, 1, 100, 200, NOWHERE, 1.5, HEDGE)
        self.assertEqual(list(table.rows()), [(3, 1, 100, 200, -1, -1, 1.5, -1.0, OPEN, HEDGE)])
        table.flag(7, LATE)
        table.set_open_blocks(7, (4, 6))
        self.assertEqual(table.end(7, 2.5, DONE, WASTED), (3, 1.5))
        self.assertEqual(
            list(table.rows()), [(3, 1, 100, 200, 4, 6, 1.5, 2.5, DONE, HEDGE | LATE | WASTED)]
        )
        self.assertIsNone(table.get(7))

    def test_given_up(self) -> None:
        """A read that was given up stays so when its answer comes after all."""
        table = ReadTable(64, 8)
        self.send(table, 1)
        table.give_up(1)
        table.end(1, 9.0, DONE, WASTED)
        ((*_rest, done, state, flags),) = table.rows()
        self.assertEqual((done, state, flags), (9.0, ABANDONED, WASTED))

    def test_unknown_reads(self) -> None:
        """What is told of a read that is not here is passed over."""
        table = ReadTable(64, 8)
        table.flag(1, LATE)
        table.give_up(1)
        table.end(1, 1.0, DONE, 0)
        self.assertEqual((len(table), table.left_out), (0, 0))

    def test_blocks_of_scouts(self) -> None:
        """Reads that ended before sizes were known get their segments; others keep theirs."""
        table = ReadTable(64, 8)
        self.send(table, 1)
        table.end(1, 1.0, DONE, 0)
        self.send(table, 2)
        table.send(3, 0, 0, 3, 1, (5, 6), 3.0, 0)
        table.end(3, 4.0, DONE, 0)
        table.set_blocks(0, {0: (0, 2)})
        self.assertEqual([row[4:6] for row in table.rows()], [(0, 2), (-1, -1), (5, 6)])

    def test_telling_reads_stay(self) -> None:
        """Of many reads the first ones, the late, failed and hedging ones stay, then a spread."""
        table, telling = ReadTable(800, 100), set()
        for read in range(20_000):
            flags = HEDGE if read % 100 == 3 else 0
            self.send(table, read, flags)
            state = FAILED if read % 100 == 50 else DONE
            if flags or state == FAILED:
                telling.add(read)
            table.end(read, read + 0.5, state, 0)
        kept = {row[2] for row in table.rows()}
        self.assertLessEqual(telling, kept)
        self.assertLessEqual(set(range(100)), kept)
        rest = sorted(kept - telling - set(range(100)))
        self.assertGreater(len(rest), 50)
        self.assertLess(rest[0], 1000)
        self.assertGreater(rest[-1], 19_000)

    def test_laws(self) -> None:
        """However reads are sent and end: bounded, counted, in order, and ends find their reads."""

        @examples(100)
        @given(st.randoms(use_true_random=False), st.integers(32, 200), st.integers(1, 3000))
        def check(source: Random, capacity: int, count: int) -> None:
            rand = source.random
            table = ReadTable(capacity, capacity // 8)
            out: list[int] = []
            patience = rand() * 40
            for read in range(count):
                self.send(table, read, HEDGE if rand() < 0.1 else 0)
                out.append(read)
                while out and len(out) > patience * rand():
                    ended = out.pop(source.randrange(len(out)))
                    table.end(ended, ended + 0.25, FAILED if rand() < 0.1 else DONE, 0)
                self.assertLessEqual(len(table), capacity)
            rows = list(table.rows())
            self.assertEqual(len(rows) + table.left_out, count)
            numbers = [row[2] for row in rows]
            self.assertEqual(numbers, sorted(set(numbers)))
            for row in rows:
                is_open = row[8] == OPEN
                self.assertEqual(is_open, table.get(row[2]) is not None)
                self.assertEqual(row[7], -1.0 if is_open else row[2] + 0.25)

        check()
