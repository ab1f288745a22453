"""Which shares are chosen, and how reads are cut.

A world is written as strings: one letter a server, its shares by number
behind it (two digits or more in brackets).  Marks before a number: ``!`` the
share lied, ``~`` it is late with the block, ``x`` it is known bad, ``-`` retired.
"""

from __future__ import annotations

import re
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tahoe_fastdl.core.plan import (
    BUSY_PATIENCE_S_PER_K,
    MAX_PATIENCE_S,
    MIN_SPAN_BYTES,
    SPAN_S,
    ZFEC_S_PER_BYTE_AND_K,
    choose_shares,
    count_bits,
    cut_reads,
    fitting_segments,
    max_span_bytes,
    nearest_blocks,
    runs_of,
    span_bytes,
)
from tahoe_fastdl.core.servers import Server
from tahoe_fastdl.core.share import Share
from tahoe_fastdl.core.window import MIB

from .strategies import examples, masks

LENGTH = 128 * 1024


class Planner:
    """Shares on servers, made from strings such as ``"A012 B3!45"``."""

    def __init__(self, text: str) -> None:
        self.servers: dict[int, Server] = {}
        self.shares: list[Share] = []
        self._names: list[str] = []
        for number, word in enumerate(text.split()):
            self._names.append(word[0])
            self.servers[number] = Server()
            for mark, digits in re.findall(r"([-!~x]?)(\d|\[\d+\])", word[1:]):
                share = Share(len(self.shares), int(digits.strip("[]")), number)
                share.suspect = mark == "!"
                share.retired = mark == "-"
                share.late = 1 if mark == "~" else 0
                if mark == "x":
                    share.ledger.on_refused(1)
                self.shares.append(share)

    def server(self, name: str) -> Server:
        """One server's record."""
        return self.servers[self._names.index(name)]

    def choose(
        self, count: int, k: int, taken: str = "", busy: float = 0.0, length: int = LENGTH
    ) -> list[Share]:
        """The choice for block 0."""
        return choose_shares(
            self.shares, self.servers, 1, {int(digit) for digit in taken}, count, length, k, busy
        )

    def chosen(
        self, count: int, k: int, taken: str = "", busy: float = 0.0, length: int = LENGTH
    ) -> str:
        """The same in words, in order of share numbers."""
        names = (
            (share.shnum, f"{self._names[share.server]}{share.shnum}")
            for share in self.choose(count, k, taken, busy, length)
        )
        return " ".join(name for _shnum, name in sorted(names))


class Choice(SynchronousTestCase):
    """``choose_shares``."""

    def test_spread(self) -> None:
        """Among equal servers each gives one share before any gives two."""
        self.assertEqual("A0 B1 C2", Planner("A03 B14 C25").chosen(3, 3))
        chosen = Planner("A0123456789 B0123456789 C0123456789").choose(9, 3)
        self.assertEqual([3, 3, 3], sorted(Counter(share.server for share in chosen).values()))

    def test_primaries(self) -> None:
        """On each server primary shares go first."""
        self.assertEqual("A0 A1 A2", Planner("A543210").chosen(3, 3))

    def test_busy(self) -> None:
        """With the CPU busy a primary is worth a short wait, no more."""
        planner = Planner("A0 B1 C2 D3 E4 F5")
        planner.server("A").on_latency(0.1 + 3 * BUSY_PATIENCE_S_PER_K / 2)
        for name in "BCDEF":
            planner.server(name).on_latency(0.1)
        self.assertEqual("B1 C2 D3", planner.chosen(3, 3, busy=0.0))
        self.assertEqual("B1 C2 D3", planner.chosen(3, 3, busy=0.4))
        self.assertEqual("A0 B1 C2", planner.chosen(3, 3, busy=0.6))
        self.assertEqual("A0 B1 C2", planner.chosen(3, 3, busy=1.0))
        for _ in range(3):  # one alone is a mishap
            planner.server("A").on_latency(10.0)
        self.assertEqual("B1 C2 D3", planner.chosen(3, 3, busy=1.0))

    def test_busy_at_k(self) -> None:
        """The more there is to reckon, the longer is a primary worth waiting for, up to a limit."""
        waits = {5: 5 * BUSY_PATIENCE_S_PER_K, 20: MAX_PATIENCE_S, 60: MAX_PATIENCE_S}
        for k, wait_s in waits.items():
            for part, chosen in ((0.9, 0), (1.1, k)):
                planner = Planner(f"A0 B[{k}]")
                planner.server("A").on_latency(0.1 + part * wait_s)
                planner.server("B").on_latency(0.1)
                with self.subTest(k=k, part=part):
                    (share,) = planner.choose(1, k, busy=1.0, length=1)
                    self.assertEqual(chosen, share.shnum)

    def test_decoding_adds_up(self) -> None:
        """Each secondary share makes the next one dearer, until a primary is cheaper."""
        planner = Planner("A0123456789 B[10][11][12][13][14][15][16][17][18][19]")
        decode_s = ZFEC_S_PER_BYTE_AND_K * 10 * LENGTH
        for name, latency_s in (("A", 0.1 + 5.5 * decode_s), ("B", 0.1)):
            planner.server(name).on_latency(latency_s)
            planner.server(name).rate = 1e15
        chosen = Counter(share.shnum < 10 for share in planner.choose(10, 10))
        self.assertEqual({True: 5, False: 5}, dict(chosen))

    def test_distinct(self) -> None:
        """A share number is chosen once, on however many servers, and never one provided for."""
        self.assertEqual("A0 B1", Planner("A01 B01 C0").chosen(5, 2))
        self.assertEqual("A1", Planner("A01 B01 C0").chosen(5, 2, taken="0"))
        self.assertEqual("", Planner("A01 B01 C0").chosen(5, 2, taken="01"))

    def test_not_these(self) -> None:
        """Retired shares, blocks known bad and blocks that are late already are left out."""
        self.assertEqual("B4", Planner("A-0x1~2 B4").chosen(4, 3))
        self.assertEqual("B0 B1 B2", Planner("A-0x1~2 B012").chosen(4, 3))

    def test_last_resort(self) -> None:
        """Liars come before servers that stopped answering, and both only for want of others."""
        planner = Planner("A!0 B1 C2")
        self.assertEqual("B1", planner.chosen(1, 3))
        planner.server("B").stalled = 1
        self.assertEqual("C2", planner.chosen(1, 3))
        self.assertEqual("A0 C2", planner.chosen(2, 3))
        self.assertEqual("A0 B1 C2", planner.chosen(3, 3))

    def test_fast_first(self) -> None:
        """A fast server gives more shares than a slow one, up to where its queue is as long."""
        planner = Planner("A0123456789 B0123456789")
        planner.server("A").rate, planner.server("B").rate = 30e6, 10e6
        planner.server("A").latency_s = planner.server("B").latency_s = 0.001
        counts = Counter(share.server for share in planner.choose(8, 3, length=10**7))
        self.assertEqual({0: 6, 1: 2}, dict(counts))

    def test_queue_counts(self) -> None:
        """A server with much under way already is asked after an idle one."""
        planner = Planner("A0 B0")
        planner.server("A").on_sent(10**8, 0.0)
        self.assertEqual("B0", planner.chosen(1, 3))

    def test_unknown_rate(self) -> None:
        """A server that owes us much and has shown no rate is expected to be as the others."""
        planner = Planner("A0 B0 C1")
        for name in "AC":
            planner.server(name).latency_s, planner.server(name).rate = 0.1, 1e6
        silent = planner.server("B")
        silent.bytes_in_flight = 4 * LENGTH
        self.assertEqual("A0", planner.chosen(1, 3, taken="1"))
        silent.bytes_in_flight = 0
        planner.server("A").bytes_in_flight = LENGTH
        self.assertEqual("B0", planner.chosen(1, 3, taken="1"))

    def test_two_digits(self) -> None:
        """Share numbers up to 255 are nothing special."""
        self.assertEqual("A[255]".replace("[", "").replace("]", ""),
                         Planner("A[255]").chosen(3, 255))  # fmt: skip

    def test_laws(self) -> None:
        """As many as there are, of distinct numbers, none that must not be; the arguments stay."""
        shares = st.tuples(st.sampled_from(["", "", "!", "~", "x", "-"]), st.integers(0, 9))
        servers = st.lists(st.lists(shares, max_size=6), max_size=5)

        @examples(200)
        @given(servers, st.sets(st.integers(0, 9), max_size=4), st.integers(0, 10))
        def check(world: list[list[tuple[str, int]]], taken: set[int], count: int) -> None:
            text = " ".join("A" + "".join(f"{m}{n}" for m, n in server) for server in world)
            planner = Planner(text)
            before = set(taken)
            chosen = choose_shares(planner.shares, planner.servers, 1, taken, count, LENGTH, 3, 0.0)
            usable = {n for server in world for m, n in server if m not in ("~", "x", "-")}
            self.assertEqual(min(count, len(usable - taken)), len(chosen))
            numbers = [share.shnum for share in chosen]
            self.assertEqual(len(numbers), len(set(numbers)))
            self.assertTrue(set(numbers) <= usable - taken)
            self.assertFalse([s for s in chosen if s.retired or s.late or s.ledger.bad])
            self.assertEqual(before, taken)

        check()


class Cuts(SynchronousTestCase):
    """Masks and reads."""

    def test_runs(self) -> None:
        """The runs of a mask are ascending, apart, and together the mask."""

        @examples(300)
        @given(masks(80))
        def check(mask: int) -> None:
            rebuilt, previous = 0, -1
            for first, stop in runs_of(mask):
                self.assertTrue(previous < first < stop)
                previous = stop
                rebuilt |= (1 << stop) - (1 << first)
            self.assertEqual(mask, rebuilt)
            self.assertEqual(bin(mask).count("1"), count_bits(mask))

        check()

    def test_far_out(self) -> None:
        """A run four million segments out is found as fast as any other."""
        self.assertEqual([(2**22 - 2, 2**22)], list(runs_of(3 << (2**22 - 2))))
        self.assertEqual(2, count_bits(3 << (2**22 - 2)))

    def test_reads_cover_exactly(self) -> None:
        """Reads cover what is desired, once, none longer than allowed by more than half a block,
        unless it is one block."""

        @examples(300)
        @given(masks(60), st.integers(1, 2000), st.integers(1, 20_000))
        def check(desire: int, block_size: int, max_bytes: int) -> None:
            covered = 0
            for first, stop in cut_reads(desire, block_size, max_bytes):
                mask = (1 << stop) - (1 << first)
                self.assertLess(first, stop)
                self.assertFalse(mask & covered)
                length = (stop - first) * block_size
                self.assertTrue(stop - first == 1 or 2 * (length - max_bytes) <= block_size)
                covered |= mask
            self.assertEqual(desire, covered)

        check()

    def test_reads_are_even(self) -> None:
        """The reads of one run differ by one block at most, and are as few as can be."""

        @examples(200)
        @given(st.integers(1, 500), st.integers(1, 40))
        def check(blocks: int, most: int) -> None:
            lengths = [stop - first for first, stop in cut_reads((1 << blocks) - 1, 10, 10 * most)]
            self.assertLessEqual(max(lengths) - min(lengths), 1)
            self.assertEqual(-(-blocks // most), len(lengths))

        check()

    def test_stripes(self) -> None:
        """So many segments fit as often as they should, and more do not; one always may be."""

        @examples(200)
        @given(st.integers(1, 10**6), st.integers(0, 10**8), st.integers(1, 2))
        def check(segment_size: int, limit: int, stripes: int) -> None:
            length = fitting_segments(segment_size, limit, stripes)
            self.assertGreaterEqual(length, 1)
            if length > 1:
                self.assertLessEqual(10 * stripes * length * segment_size, 9 * limit)
            self.assertGreater(10 * stripes * (length + 1) * segment_size, 9 * limit)

        check()

    def test_a_span_and_two_bytes(self) -> None:
        """Three blocks of a third of a MiB, rounded up, are a span of 1 MiB and one read of it."""
        block_size = -(-MIB // 3)
        self.assertEqual(3, nearest_blocks(MIB, block_size))
        self.assertEqual([(0, 3), (3, 6)], list(cut_reads(0b111111, block_size, MIB)))

    def test_spans(self) -> None:
        """A faster server is asked for longer spans, within bounds."""
        for is_side_by_side in (False, True):
            spans = [span_bytes(rate, is_side_by_side) for rate in (0.0, 1e6, 2e7, 4e7, 1e9)]
            longest = max_span_bytes(is_side_by_side)
            self.assertEqual((spans[0], spans[-1]), (MIN_SPAN_BYTES, longest))
            self.assertEqual(spans, sorted(spans))
            self.assertIn(int(2e7 * SPAN_S), spans)
            self.assertEqual(is_side_by_side, spans[3] == 2 * int(4e7 * SPAN_S))
