"""What is kept of one download for the page.

Owns the tables and counters of one download; who takes part in it is ``parties``'.  Written by a
``shell.watcher.Watcher``, read by ``views``.  Bounded: with full tables a
record takes less than 2 MiB (``FULL``; test_status_record.py fills one and
measures), and a small one a thirtieth of that.  Times are monotonic
seconds when they come and seconds since the start in the tables.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from attrs import define, frozen

from ..core.reads import Kind, Stage
from ..core.watching import ReadNow, Standing
from ..shell.recording import FileFacts, ServerShare
from .parties import Parties
from .peers import Peers
from .tables import (
    ABANDONED,
    DONE,
    FAILED,
    HEDGE,
    LATE,
    OPEN,
    STALLED,
    WASTED,
    ReadTable,
    SpreadTable,
)
from .text import MAX_TEXT, clean, clean_reason

KINDS = tuple(Kind)
READ_STATES = {OPEN: "open", DONE: "done", FAILED: "failed", ABANDONED: "abandoned"}
FLAG_NAMES = {HEDGE: "hedge", LATE: "late", STALLED: "stalled", WASTED: "wasted"}
WORK_KINDS = ("decode", "verify", "decrypt")
BLOCK_STATES = ("wanted", "bad")

# Bits are told as runs; a mask with holes everywhere would be a row for each bit.
MAX_RUNS = 64
# Of a reason, before it is made fit to be shown.
MAX_RAW_TEXT = 200
# Tahoe's pool has a thread a core; further ones are told as one.
MAX_WORKERS = 256


@frozen
class Capacity:
    """How many rows of each kind a record keeps."""

    reads: int
    shares: int
    dyhb: int
    work: int
    deliveries: int
    pauses: int
    samples: int
    map: int  # of blocks
    problems: int


# Bytes a row: reads 54, and 170 for each of 1024 open ones; shares 150; dyhb 300 at most;
# work 32 a batch; deliveries 28; pauses 20; samples 64; map 21; problems 1400 at most.  Together
# 1.7 MiB, and a bytearray that grows takes up to an eighth more than it holds.
FULL = Capacity(
    reads=8192, shares=768, dyhb=384, work=2560, deliveries=4096, pauses=3072, samples=2560,
    map=4096, problems=192,
)  # fmt: skip
SMALL = Capacity(
    reads=256, shares=256, dyhb=64, work=128, deliveries=128, pauses=64, samples=128,
    map=64, problems=16,
)  # fmt: skip


def runs(mask: int) -> list[tuple[int, int]]:
    """The runs ``[first, stop)`` of set bits, at most ``MAX_RUNS``: the last reaches to the end."""
    found: list[tuple[int, int]] = []
    position = 0
    while mask:
        skip = (mask & -mask).bit_length() - 1
        mask >>= skip
        if len(found) == MAX_RUNS - 1:
            found.append((position + skip, position + skip + mask.bit_length()))
            break
        length = (~mask & (mask + 1)).bit_length() - 1
        found.append((position + skip, position + skip + length))
        mask >>= length
        position += skip + length
    return found


@define
class Tally:
    """What a download came to so far; bytes and plain numbers."""

    wanted_bytes: int = 0
    delivered_bytes: int = 0
    received_bytes: int = 0
    wasted_bytes: int = 0
    reads: int = 0
    hedges: int = 0


class Record:
    """One download, as ``shell.recording.Recording`` is told of it."""

    def __init__(
        self,
        number: int,
        facts: FileFacts,
        look: Callable[[], Standing],
        peers: Peers,
        capacity: Capacity,
        on_over: Callable[[Record], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """:param on_over: called when the download ends, each time it does."""
        self.id = number
        self.facts = facts
        self.capacity = capacity
        self.state = "running"
        self.why: str | None = None
        self.is_counted = False  # its end is in the totals
        self.tally = Tally()
        self.started_unix = time.time()
        self.seconds: float | None = None  # None while it runs
        self.first_byte_s: float | None = None
        self.parties = Parties(capacity.shares, capacity.dyhb, peers)
        self.asked_servers: set[int] = set()  # those that got a read, by the node's number
        self.reads = ReadTable(capacity.reads, head=capacity.reads // 8)
        self.work = SpreadTable("dfffiii", capacity.work, head=64)
        self.deliveries = SpreadTable("idqq", capacity.deliveries, head=64)
        self.pauses = SpreadTable("idd", capacity.pauses, head=16)
        self.open_pauses: dict[int, float] = {}
        self.samples = SpreadTable("dqqqqqqq", capacity.samples, head=64)
        self.map = SpreadTable("diiiB", capacity.map, head=16)
        self._problems: list[tuple[float, str, str]] = []
        self.problems_left_out = 0
        self._began = clock()
        self._clock = clock
        self._look: Callable[[], Standing] | None = look
        self._standing: Standing | None = None
        self._before: Standing | None = None  # a parked download did work for others before
        self._peers = peers
        self._on_over = on_over
        self._threads: dict[int, int] = {}

    # -- looking --------------------------------------------------------------

    @property
    def now_s(self) -> float:
        """Seconds since the start, up to the end."""
        return self._since(self._clock()) if self.seconds is None else self.seconds

    def standing(self) -> Standing | None:
        """How it stands now, or stood when it ended."""
        return self._look() if self._look is not None else self._standing

    def _since(self, now: float) -> float:
        return max(0.0, now - self._began)

    # -- the whole ------------------------------------------------------------

    def resumed(self, look: Callable[[], Standing]) -> None:
        """As in ``Recording``; likewise all that follow."""
        self.state, self.why, self.seconds = "running", None, None
        self._look = look

    def ended(self, now: float, standing: Standing) -> None:
        """Reads that are still out are given up: nobody waits for them."""
        self.sampled(now, standing)
        self.seconds = self._since(now)
        self._standing, self._look = standing, None
        self.reads.give_up_all()
        for reader in list(self.open_pauses):
            self.unpaused(now, reader)
        if self.state == "running":
            self.state = "done"
        self._on_over(self)

    def fell_back(self, now: float, reason: str, is_fault: bool) -> None:
        """Nothing that comes later makes it anything else."""
        self.state, self.why = "fallback", clean_reason(reason)
        self._note(now, "the stock downloader goes on", reason)
        if is_fault:
            self._peers.on_fallback(self.id, self.why)

    # -- readers --------------------------------------------------------------

    def wanted(self, now: float, reader: int, start: int, stop: int) -> None:
        """A range more."""
        self.tally.wanted_bytes += stop - start

    def delivered(self, now: float, reader: int, start: int, stop: int) -> None:
        """Bytes reached a reader."""
        at = self._since(now)
        if self.first_byte_s is None:
            self.first_byte_s = at
        self.tally.delivered_bytes += stop - start
        self._peers.totals.delivered_bytes += stop - start
        self.deliveries.add(reader, at, start, stop)

    def left(self, now: float, reader: int, is_early: bool) -> None:
        """One that goes early had enough."""
        self.unpaused(now, reader)
        if is_early and self.state == "running":
            self.state = "stopped"

    def failed(self, now: float, reader: int, reason: str) -> None:
        """One failure makes the download a failed one."""
        if self.state != "fallback":
            self.state, self.why = "failed", clean_reason(reason)
        self._note(now, f"reader {reader} failed", reason)

    def paused(self, now: float, reader: int) -> None:
        """Kept when it is over."""
        self.open_pauses.setdefault(reader, self._since(now))

    def unpaused(self, now: float, reader: int) -> None:
        """A pause is over."""
        began = self.open_pauses.pop(reader, None)
        if began is not None:
            self.pauses.add(reader, began, self._since(now))

    # -- questions ------------------------------------------------------------

    def asked(self, now: float, server: int) -> int:
        """The number of the question; -1 of one that is not kept."""
        return self.parties.ask(server, self._since(now))

    def found(self, now: float, question: int, server: int, shnums: list[int] | None) -> None:
        """An answer, or None for a failure."""
        if shnums is None:
            self._peers.of(server).errors += 1
        self.parties.answer(question, self._since(now), shnums)

    # -- reads ----------------------------------------------------------------

    def sent(
        self, now: float, read: ReadNow, start: int, length: int, late: tuple[int, ...]
    ) -> None:
        """A read leaves."""
        self.tally.reads += 1
        self.tally.hedges += bool(late)
        self.asked_servers.add(read.server)
        self._peers.on_sent(read.server, late)
        share = self.parties.enter(read.share, read.shnum, read.server)
        if share is None:
            self.reads.offered += 1
            return
        self.reads.send(
            read.id, share, KINDS.index(read.kind), start, length,
            (read.first_segment, read.stop_segment), self._since(now), HEDGE if late else 0,
        )  # fmt: skip

    def overdue(self, now: float, read: ReadNow) -> None:
        """Told once for each stage."""
        stalled = read.stage is not Stage.LATE
        self.reads.flag(read.id, LATE | (STALLED if stalled else 0))
        what = "counts as stalled" if stalled else "is late"
        self._note(now, f"{self._peers.name(read.server)} {what}", f"a read of sh{read.shnum}")

    def abandoned(self, now: float, read: int) -> None:
        """Given up; what it was for is asked of others."""
        self.reads.give_up(read)
        row = self.reads.get(read)
        if row is not None:
            self._note(
                now, f"a read of {self.parties.share_name(row[0])} was given up", "no answer"
            )

    def answered(self, now: float, read: int, length: int, is_wasted: bool) -> None:
        """The whole answer is here: Tahoe's protocols give no part of one."""
        at = self._since(now)
        self.tally.received_bytes += length
        if is_wasted:
            self.tally.wasted_bytes += length
        found = self.reads.end(read, at, DONE, WASTED if is_wasted else 0)
        if found is None:
            self._peers.on_answered(None, length, is_wasted, None)
        else:
            share, sent = found
            self._peers.on_answered(self.parties.server_of(share), length, is_wasted, at - sent)

    def scouted(self, blocks: dict[int, tuple[int, int]], under_way: list[ReadNow]) -> None:
        """Their reads were sent, and some answered, before anyone knew their segments."""
        for read in under_way:
            self.reads.set_open_blocks(read.id, (read.first_segment, read.stop_segment))
        known = {}
        for share, found in blocks.items():
            index = self.parties.find(share)
            if index is not None:
                known[index] = found
        self.reads.set_blocks(KINDS.index(Kind.BLOCKS), known)

    def read_failed(self, now: float, read: int, reason: str) -> None:
        """The share is given up with it."""
        row = self.reads.get(read)
        if row is not None:
            self._note(now, f"a read of {self.parties.share_name(row[0])} failed", reason)
            self._peers.of(self.parties.server_of(row[0])).errors += 1
        self.reads.end(read, self._since(now), FAILED, 0)

    def blocks(self, now: float, share: ServerShare, state: str, mask: int) -> None:
        """Blocks are bad, or wait for a slot.  Which are asked for and here the reads tell."""
        index = self.parties.enter(share.share, share.shnum, share.server)
        if index is not None:
            for first, stop in runs(mask):
                self.map.add(self._since(now), index, first, stop, BLOCK_STATES.index(state))

    def lied(self, now: float, share: ServerShare, reason: str) -> None:
        """Corruption of a share: its server's lie, as far as anyone can tell."""
        self._peers.of(share.server).lies += 1
        self._note(now, f"sh{share.shnum} on {self._peers.name(share.server)}", reason)

    # -- work and samples -----------------------------------------------------

    def worked(
        self, began: float, spent: tuple[float, float, float], first: int, stop: int, thread: int
    ) -> None:
        """The three steps follow one another in one thread."""
        if thread not in self._threads and len(self._threads) < MAX_WORKERS:
            self._threads[thread] = len(self._threads)
        worker = self._threads.get(thread, MAX_WORKERS)
        self.work.add(self._since(began), *spent, first, stop, worker)

    def sampled(self, now: float, standing: Standing) -> None:
        """The curves above the timeline."""
        if self._before is None:
            self._before = standing
        self.samples.add(
            self._since(now), self.tally.delivered_bytes, self.tally.received_bytes,
            standing.in_flight_bytes, standing.held_bytes, standing.limit_bytes,
            standing.changes - self._before.changes,
            standing.recomputations - self._before.recomputations,
        )  # fmt: skip

    def _note(self, now: float, what: str, why: str) -> None:
        """The first problems stay, and the last one: how it began and how it ended.

        :param what: our words, with names of servers that are fit to be shown.
        """
        problem = (self._since(now), what, why[:MAX_RAW_TEXT])
        if len(self._problems) >= self.capacity.problems:
            self.problems_left_out += 1
            self._problems[-1] = problem
        else:
            self._problems.append(problem)

    def problems(self) -> list[tuple[float, str]]:
        """What went wrong, and when: text that is fit to be shown."""
        return [
            (at, clean(f"{what}: {clean_reason(why)}", MAX_TEXT))
            for at, what, why in self._problems
        ]
