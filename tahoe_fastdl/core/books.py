"""The books of one download: what its parts share.

Pure.  ``Books`` holds state and the few changes that touch more than one of
its pages (a share given up, bytes given back); the parts of ``download``, which
owns it, decide by it and write into it.  Laws:

* bytes are reserved for reads when they are sent and for decoded segments
  when their decoding starts, and released once;
* ``changes`` moves whenever something a plan depends on did.
"""

from __future__ import annotations

from attrs import define, field, frozen

from .. import errors
from . import records as r
from .geometry import Geometry
from .layout import Layout, expected_layout
from .metadata import Metadata
from .plan import runs_of
from .readers import Reader
from .reads import Kind, Read, ReadBook
from .rows import Rows
from .servers import Server
from .share import Share
from .turns import Turns

# The other servers may need so much longer to say what they have than the first one did,
# or this time if that is more; then nobody waits for them any longer.
YOUNG_TIMES = 2
YOUNG_S = 0.1
# Servers that are equally near answer within so much of the first one's time, at most this:
# so long a server's second share may wait for others to be had from other servers.
FRESH_PART = 0.25
FRESH_S = 0.005


@frozen
class Options:
    """What the operator may set, see ``settings``, and what the node last saw."""

    verify_blocks: bool = False
    patience_s: float = 120.0
    segment_size_hint: int = 1024 * 1024


@define
class Counters:
    """Work done, so that tests can assert its cost."""

    changes: int = 0
    plans: int = 0
    reads_sent: int = 0
    bytes_received: int = 0
    bytes_wasted: int = 0
    bytes_hedged: int = 0
    hedges: int = 0
    replaced: int = 0
    inquests: int = 0
    batches: int = 0


@define
class Search:
    """Asking all servers for shares."""

    began: float = 0.0
    heard: float | None = None  # when the first server answered
    until: float | None = None  # one is on, and given up at this time
    done: bool = False
    again: bool = False  # the one more before giving up was made
    damaged: bool = False  # something failed since the last
    look_at: float | None = None  # then what waits for more servers, or was put off, goes on
    failed: bool = False  # a reader failed: shares may be mended when the next one comes

    def is_young(self, now: float) -> bool:
        """Whether servers that have not answered are merely not as near as the first."""
        if self.until is None or self.heard is None:
            return False
        return now < self.began + max(YOUNG_S, YOUNG_TIMES * (self.heard - self.began))

    def wait_for_more(self, now: float, part: float = FRESH_PART, most_s: float = FRESH_S) -> bool:
        """Whether servers that are about as near as the first may be about to answer; if so, a
        plan is made when that time is over.

        :param part: how much longer they may take than the first, as part of its time.
        :param most_s: and in seconds, at most.
        """
        if self.until is None or self.heard is None:
            return False
        fresh_until = self.heard + min(most_s, part * (self.heard - self.began))
        if now >= fresh_until:
            return False
        self.look_again(fresh_until, now)
        return True

    def look_again(self, when: float, now: float) -> None:
        """A plan is to be made at *when*, if none is before."""
        if self.look_at is None or self.look_at <= now or when < self.look_at:
            self.look_at = when

    def on_time(self, now: float) -> bool:
        """It is *now*: whether something that waited for answers has to go on without them."""
        is_over = False
        if self.until is not None and self.until <= now:
            self.until, is_over = None, True
        if self.look_at is not None and self.look_at <= now:
            self.look_at, is_over = None, True
        return is_over


@define(eq=False)
class Books:
    """See the module's docstring."""

    k: int
    n: int
    options: Options
    servers: dict[int, Server]
    metadata: Metadata
    reads: ReadBook
    rows: Rows
    turns: Turns
    shares: dict[int, Share] = field(factory=dict)
    counted_on: dict[int, Share] = field(factory=dict)  # of which blocks are wanted, or here
    readers: dict[int, Reader] = field(factory=dict)
    counters: Counters = field(factory=Counters)
    search: Search = field(factory=Search)
    out: list[r.Action] = field(factory=list)
    cpu_busy: float = 1.0
    dirty: bool = False
    last_failure: str | None = None
    _live_servers: frozenset[int] | None = field(default=None, init=False)

    @property
    def geometry(self) -> Geometry:
        """The sizes; only after the UEB is here."""
        geometry = self.metadata.geometry
        assert geometry is not None
        return geometry

    def layout_of(self, share: Share) -> Layout:
        """The share's own layout, or the one its encoder must have used."""
        return share.layout or expected_layout(self.geometry, self.metadata.version)

    def check_place(self, share: Share) -> bool:
        """Drop blocks that were cut at a place the share's own header does not name.

        They prove nothing against it: they were never its blocks.

        :return: whether there were any.
        """
        if share.layout is None or share.data_start in (-1, share.layout.data):
            return False
        mask = share.ledger.have & ~self.rows.decoding
        if not mask:
            return False
        share.ledger.on_unwanted(mask)
        self.release(share.use_up(mask))
        self.rows.recount(mask, self.shares.values())
        self.rows.uncover(mask)
        for segnum, inquest in self.rows.inquests.items():
            if mask >> segnum & 1:
                inquest.good.discard(share.id)
                inquest.unprovable.discard(share.id)
        return True

    def changed(self) -> None:
        """Plan again at the end of this turn."""
        self.dirty = True
        self.counters.changes += 1

    def admit(self, mask: int) -> None:
        """Segments come into the window; each is proved as the operator wants it."""
        self.rows.admit(mask)
        if self.options.verify_blocks:
            for first, stop in runs_of(mask):
                for segnum in range(first, stop):
                    self.rows.open_inquest(segnum)

    # -- bytes ----------------------------------------------------------------

    def is_starving(self, reader: Reader) -> bool:
        """Whether *reader* took all that it could and waits for its next segment."""
        todo = reader.todo
        if not todo:
            return False
        first = (todo & -todo).bit_length() - 1
        return self.geometry.segment_start(first) <= reader.position

    def has_its_part(self, reader: Reader) -> bool:
        """Whether what is decoded for *reader* and not taken fills its part of the room."""
        part = self.turns.account.limit_bytes // len(self.readers)
        return 0 < reader.held_bytes >= part and not self.is_starving(reader)

    def release(self, length: int) -> None:
        """Give *length* bytes back."""
        if length:
            self.turns.account.release(length)

    def bytes_of(self, mask: int) -> int:
        """File bytes in the segments of *mask*."""
        geometry = self.geometry
        return sum(
            geometry.segment_start(stop) - geometry.segment_start(first)
            for first, stop in runs_of(mask)
        )

    # -- reads ----------------------------------------------------------------

    def send(
        self,
        share: Share,
        kind: Kind,
        start: int,
        length: int,
        now: float,
        mask: int = 0,
        data_start: int = -1,
    ) -> None:
        """Ask *share* for ``[start, start + length)``, of which *mask* are blocks we want."""
        read = self.reads.send(self.turns.account, share, kind, start, length, mask, now)
        read.data_start = data_start
        share.ledger.on_asked(mask)
        self.counters.reads_sent += 1
        self.out.append(r.SendRead(read.id, share.id, start, length))

    def ask_ranges(
        self, share: Share, kind: Kind, ranges: list[tuple[int, int]], now: float
    ) -> None:
        """Ask for what of *ranges* no read under way will bring."""
        for start, stop in ranges:
            if self.reads.is_asked(share, start, stop):
                continue
            if start >= 2**63:  # no server can be asked that
                self.retire(share, "hashes out of reach")
                return
            if not self.turns.has_slot(self.servers[share.server]):
                return
            self.send(share, kind, start, stop - start, now)

    def give_up_read(self, read: Read, reason: str) -> None:
        """The read will bring nothing, and its share no more either."""
        self.servers[read.share.server].on_retired(read.length)
        self.release(read.length)
        read.share.late &= ~read.mask
        self.retire(read.share, reason)

    # -- shares ---------------------------------------------------------------

    def add_share(self, share: Share) -> None:
        """A server has this share."""
        self.shares[share.id] = share
        self._live_servers = None

    def live_servers(self) -> frozenset[int]:
        """The numbers of the servers that have a share which is not retired."""
        if self._live_servers is None:
            live = (share.server for share in self.shares.values() if not share.retired)
            self._live_servers = frozenset(live)
        return self._live_servers

    def retire(self, share: Share, reason: str) -> None:
        """The share gives nothing more; blocks that are here stay."""
        if share.retired:
            return
        share.retired = True
        self._live_servers = None
        self.search.damaged = True
        self.last_failure = reason
        ledger = share.ledger
        gone = (ledger.wanted | ledger.pending) & ~ledger.have
        self.rows.uncover(gone)
        ledger.on_unwanted(gone)
        ledger.on_lost(gone)
        for read in self.reads:
            if read.share is share:
                read.mask = 0

    def refuse(self, share: Share, mask: int) -> None:
        """These blocks of *share* are missing or wrong: others have to give them."""
        share.ledger.on_refused(mask)
        self.rows.uncover(mask)
        self.search.damaged = True

    def condemn(self, share: Share, mask: int) -> None:
        """*share* lied about these blocks: whatever else it has is the last resort."""
        held = share.ledger.have & mask
        share.suspect = True
        self.refuse(share, mask)
        if held:
            self.release(share.use_up(mask))
            self.rows.recount(held & ~self.rows.decoding, self.shares.values())

    def advise(self, share: Share, start: int, stop: int, reason: str) -> None:
        """Tell the share's server that ``[start, stop)`` of it is corrupt."""
        self.search.damaged = True
        self.out.append(r.AdviseCorrupt(share.id, start, stop, reason))

    def count_on(self, share: Share, mask: int) -> None:
        """From now on *share* is to give these blocks."""
        share.ledger.on_wanted(mask)
        self.counted_on[share.id] = share

    def hold(self, share: Share, mask: int) -> None:
        """These blocks of *share* are here."""
        share.ledger.on_answered(mask)
        self.counted_on[share.id] = share

    def forget_blocks(self, mask: int) -> None:
        """Nobody needs the blocks of these segments any more."""
        for share in list(self.counted_on.values()):
            ledger = share.ledger
            if (ledger.wanted | ledger.have) & mask:
                ledger.on_unwanted(mask)
                self.release(share.use_up(mask))
                if not ledger.wanted | ledger.have:
                    del self.counted_on[share.id]

    def abandon(self, mask: int) -> None:
        """Segments are not needed any more; reads under way go on and are dropped."""
        if mask:
            self.rows.finish(mask)
            self.forget_blocks(mask)

    # -- giving up ------------------------------------------------------------

    def start_search(self, now: float) -> None:
        """Ask all servers."""
        self.search.done = True
        self.search.damaged = False
        self.search.began, self.search.heard = now, None
        self.search.look_at = None
        self.search.until = now + self.options.patience_s
        self.out.append(r.FindShares())

    def search_again(self, now: float) -> bool:
        """Before giving up ask once more, for a server may have come back."""
        if self.search.again or not any(share.retired for share in self.shares.values()):
            return False
        self.search.again = True
        self.start_search(now)
        return True

    def shortage(self, segnum: int | None = None, good: set[int] | None = None) -> Exception:
        """The error for too few shares, in stock's words.

        :param segnum: the segment that cannot be had; None: not even the UEB.
        :param good: the shares whose blocks were proved, if that was done.
        """
        complete: list[Share] = []
        pending: list[Share] = []
        overdue: list[Share] = []
        for share in self.shares.values() if segnum is not None else ():
            bit = 1 << segnum if segnum is not None else 0
            if good is not None:
                if share.id in good:
                    complete.append(share)
            elif share.ledger.have & bit:
                complete.append(share)
            elif share.potential() & bit and not share.retired:
                (overdue if share.late & bit else pending).append(share)
        if not complete and not pending and not overdue:
            return errors.NoShares(f"no shares (need {self.k}). Last failure: {self.last_failure}")
        done = ",".join(f"sh{shnum}" for shnum in sorted({share.shnum for share in complete}))
        waiting, late = (
            ",".join(f"sh{share.shnum}" for share in some) for some in (pending, overdue)
        )
        return errors.NotEnoughShares(
            f"ran out of shares: complete={done} pending={waiting} overdue={late}"
            f" unused= need {self.k}. Last failure: {self.last_failure}"
        )

    def lose(self, segnum: int, error: Exception) -> None:
        """The segment cannot be had; readers fail when they get there."""
        self.rows.lost[segnum] = error
        self.search.damaged = True
        self.abandon(self.rows.admitted & 1 << segnum)

    def fail(self, reader: Reader, error: Exception) -> None:
        """The reader cannot be served.  Its books are closed by ``Download``."""
        reader.failed = True
        self.search.failed = True
        self.out.append(r.FailReader(reader.id, error))
