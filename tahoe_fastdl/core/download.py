"""One file's download: events in, actions out.

Pure: no Twisted, no clock, no I/O.  ``receive(event, now)`` keeps the books
and answers with actions; ``next_deadline()`` names the next moment at which
``TimePassed`` is due.  After events that changed something the shell sends
one ``TurnEnded`` a reactor turn, and the plan is made then, once:
``plans <= changes``.

The way of a byte: wanted by a reader (``readers``), room reserved
(``window``), shares chosen (``plan``, ``servers``), asked for (``reads``,
``ledger``), arrived (``share``), complete (``rows``), proved and decoded
(``Decode``; ``forensics`` when that fails), delivered (``Deliver``).
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, Optional

from attrs import define, frozen

from .. import errors
from . import records as r
from .forensics import Inquest, Verdict, check_whole, examine, whole_share_length
from .geometry import Geometry, mask_of
from .layout import V2_HEADER_SIZE, expected_layout, parse_header
from .metadata import UEB_READ_SIZE, Metadata
from .plan import (MAX_READ_BYTES, SPAN_BYTES, choose_shares, cut_reads, runs_of,
                   stripe_length)
from .readers import Held, Reader
from .reads import Kind, Read, ReadBook, Stage
from .rows import Rows
from .servers import Server
from .share import Fragment, Share
from .window import KIB, MIB, Account, Budget, SlowStart

# One worker call: small enough to overlap with receiving, large enough that
# the call itself (0.1 ms) does not count.
DECODE_BYTES = 1 * MIB
MAX_DECODES = 2  # Tahoe's CPU pool has a thread a core; more would only queue

# A share of at most this length is fetched and checked whole.
SMALL_SHARE_BYTES = 16 * KIB

# Hedges may cost this part of what was fetched, and always one small row.
HEDGE_PART = 0.05
HEDGE_FREE_BYTES = 256 * KIB


@frozen
class Options:
    """What the operator may set, see ``settings``."""

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


@define(eq=False)
class Batch:
    """Segments ``[first, stop)`` in a worker, from these shares."""

    first: int
    stop: int
    shares: tuple[int, ...]


class Download:
    """The assembler.  See the module's docstring."""

    def __init__(self, size: int, k: int, n: int, ueb_hash: bytes, budget: Budget,
                 servers: dict[int, Server], options: Options) -> None:
        """
        :param size: of the file, >= 1.
        :param budget: shared by all downloads of the client.
        :param servers: shared likewise; has every server that events name.
        """
        self.size, self.k, self.n = size, k, n
        self.options = options
        self.counters = Counters()
        self.metadata = Metadata(size, k, n, ueb_hash, options.segment_size_hint)
        self.shares: dict[int, Share] = {}
        self.readers: dict[int, Reader] = {}
        self.rows = Rows(k)
        self.is_blocked = False  # waits for room or a slot that another download holds
        self._budget = budget
        self._account: Optional[Account] = None
        self._servers = servers
        self._reads = ReadBook(servers, options.patience_s)
        self._batches: dict[int, Batch] = {}
        self._held: dict[int, Held] = {}
        self._sources: list[Share] = []  # whom we ask for metadata
        self._scouted: set[int] = set()  # shares asked before the geometry was known
        self._slow_start: Optional[SlowStart] = None
        self._flight_bytes = 0  # of file, admitted and not decoded
        self._search_until: Optional[float] = None  # a search is on
        self._searched = False
        self._researched = False  # one more search before giving up
        self._damaged = False  # something failed since the last search
        self._last_failure: Optional[str] = None
        self._next_batch = 0
        self._dirty = False
        self._busy = 1.0
        self._out: list[r.Action] = []
        self._handlers: dict[type, Callable[[Any, float], None]] = {
            r.ReaderJoined: self._on_reader_joined,
            r.SegmentAsked: self._on_segment_asked,
            r.SegmentSizeAsked: self._on_segment_size_asked,
            r.ReaderDelivered: self._on_reader_delivered,
            r.ReaderLeft: self._on_reader_left,
            r.ServerAnswered: self._on_server_answered,
            r.SearchEnded: self._on_search_ended,
            r.ReadAnswered: self._on_read_answered,
            r.ReadFailed: self._on_read_failed,
            r.BatchDecoded: self._on_batch_decoded,
            r.TurnEnded: self._on_turn_ended,
            r.TimePassed: self._on_time_passed,
        }

    # -- the two doors --------------------------------------------------------

    def receive(self, event: r.Event, now: float) -> list[r.Action]:
        """Take one event; the actions are to be carried out in order."""
        self._handlers[type(event)](event, now)
        actions, self._out = self._out, []
        return actions

    @property
    def wants_turn(self) -> bool:
        """Whether a ``TurnEnded`` would find something to do."""
        return self._dirty

    def next_deadline(self) -> Optional[float]:
        """When ``TimePassed`` is due, monotonic seconds, or None."""
        if not self.readers:
            return None
        when = self._reads.next_deadline()
        if self._search_until is not None and (when is None or self._search_until < when):
            return self._search_until
        return when

    def wake(self) -> None:
        """Room or a slot that another download held is free."""
        if self.is_blocked:
            self._changed()

    @property
    def geometry(self) -> Optional[Geometry]:
        """The sizes, once the UEB is here."""
        return self.metadata.geometry

    def reads_in_flight(self) -> int:
        """Reads that have neither ended nor been given up."""
        return len(self._reads)

    def _changed(self) -> None:
        self._dirty = True
        self.counters.changes += 1

    # -- readers --------------------------------------------------------------

    def _on_reader_joined(self, event: r.ReaderJoined, now: float) -> None:
        self._join(Reader(event.reader, event.start, event.stop, position=event.start), now)

    def _on_segment_asked(self, event: r.SegmentAsked, now: float) -> None:
        self._join(Reader(event.reader, segnum=event.segnum), now)

    def _on_segment_size_asked(self, event: r.SegmentSizeAsked, now: float) -> None:
        self._join(Reader(event.reader), now)

    def _join(self, reader: Reader, now: float) -> None:
        if not self.readers:
            self.rows.lost.clear()  # shares may have come back
            self._researched = False
            if self._account is None:
                self._account = self._budget.open()
        self.readers[reader.id] = reader
        live = {share.shnum for share in self.shares.values() if not share.retired}
        if self._search_until is not None and self._search_until <= now:
            self._search_until = None
        if self._search_until is None and (not self._searched or self._damaged or len(live) < self.k):
            self._search(now)
        if self.geometry is not None:
            self._resolve(reader)
        self._changed()

    def _search(self, now: float) -> None:
        self._searched = True
        self._damaged = False
        self._search_until = now + self.options.patience_s
        self._out.append(r.FindShares())

    def _resolve(self, reader: Reader) -> None:
        geometry = self.metadata.geometry
        assert geometry is not None
        if reader.segnum is not None:
            if reader.segnum >= geometry.num_segments:
                self._fail(reader, errors.BadSegmentNumber(
                    f"segnum={reader.segnum}, numsegs={geometry.num_segments}"))
                return
        elif reader.start is None:
            self._out.append(r.TellSegmentSize(reader.id, geometry.segment_size))
            self._remove(reader)
            return
        reader.resolve(geometry)
        if reader.segnum is not None and reader.start is not None and reader.stop is not None:
            self._out.append(r.ReaderResolved(reader.id, reader.start, reader.stop))

    def _on_reader_delivered(self, event: r.ReaderDelivered, now: float) -> None:
        reader = self.readers.get(event.reader)
        if reader is None:
            return
        reader.position = event.position
        for batch, held in list(self._held.items()):
            if held.waiting.get(reader.id, event.position + 1) <= event.position:
                self._let_go(batch, held, reader)
        self._changed()

    def _let_go(self, batch: int, held: Held, reader: Reader) -> None:
        del held.waiting[reader.id]
        if not held.waiting:
            del self._held[batch]
            self._release(held.reserved_bytes)
            self._out.append(r.DropBatch(batch))

    def _on_reader_left(self, event: r.ReaderLeft, now: float) -> None:
        reader = self.readers.get(event.reader)
        if reader is not None:
            self._remove(reader)

    def _fail(self, reader: Reader, error: Exception) -> None:
        self._out.append(r.FailReader(reader.id, error))
        self._remove(reader)

    def _remove(self, reader: Reader) -> None:
        del self.readers[reader.id]
        for batch, held in list(self._held.items()):
            if reader.id in held.waiting:
                self._let_go(batch, held, reader)
        if self.readers:
            self._drop_unwanted()
        else:
            self._rest()
        self._changed()

    def _rest(self) -> None:
        """Nobody reads: keep what is known of the file, give all bytes back."""
        for share in self.shares.values():
            share.ledger.on_unwanted(share.ledger.wanted | share.ledger.have)
            share.ledger.on_lost(share.ledger.pending)
            share.late = 0
            share.use_up(-1)
            share.drop_fragments()
        for read in self._reads:
            read.orphan = True
        self.rows = Rows(self.k)
        self._batches.clear()  # what a worker still brings is dropped
        self._held.clear()
        self._scouted.clear()
        self._sources.clear()
        self._slow_start = None
        self._flight_bytes = 0
        if self._account is not None:
            self._budget.close(self._account)
            self._account = None

    def _drop_unwanted(self) -> None:
        wanted = 0
        for reader in self.readers.values():
            wanted |= reader.todo
        self._abandon(self.rows.admitted & ~wanted & ~self.rows.decoding)

    def _abandon(self, mask: int) -> None:
        """These segments are needed no longer; their reads go on and are dropped."""
        geometry = self.geometry
        if not mask or geometry is None:
            return
        for first, stop in runs_of(mask):
            length = geometry.segment_start(stop) - geometry.segment_start(first)
            self._release(length)
            self._flight_bytes -= length
        self.rows.finish(mask)
        self._forget_blocks(mask)

    def _forget_blocks(self, mask: int) -> None:
        for share in self.shares.values():
            ledger = share.ledger
            if (ledger.wanted | ledger.have) & mask:
                ledger.on_unwanted(mask)
                self._release(share.use_up(mask))

    def _release(self, length: int) -> None:
        if length and self._account is not None:
            self._account.release(length)

    # -- shares ---------------------------------------------------------------

    def _on_server_answered(self, event: r.ServerAnswered, now: float) -> None:
        self._servers[event.server].on_latency(event.seconds)
        known = {(s.server, s.shnum): s for s in self.shares.values()}
        for share_id, shnum in event.shares:
            old = known.get((event.server, shnum))
            if old is not None and not old.retired:
                continue
            share = Share(share_id, shnum, event.server)
            if old is not None:
                share.ledger.bad = old.ledger.bad
                share.suspect = old.suspect
                if not old.ledger.have:
                    del self.shares[old.id]
            self.shares[share_id] = share
        self._changed()

    def _on_search_ended(self, event: r.SearchEnded, now: float) -> None:
        self._search_until = None
        self._changed()

    def _retire(self, share: Share, reason: str) -> None:
        """The share gives nothing more; blocks that are here stay."""
        if share.retired:
            return
        share.retired = True
        self._damaged = True
        self._last_failure = reason
        ledger = share.ledger
        gone = (ledger.wanted | ledger.pending) & ~ledger.have
        self.rows.uncover(gone)
        ledger.on_unwanted(gone)
        ledger.on_lost(gone)
        for read in self._reads:
            if read.share is share:
                read.mask = 0

    def _advise(self, share: Share, start: int, stop: int, reason: str) -> None:
        self._damaged = True
        self._out.append(r.AdviseCorrupt(share.id, start, stop, reason))

    # -- reads ----------------------------------------------------------------

    def _send(self, share: Share, kind: Kind, start: int, length: int, mask: int, now: float,
              data_start: int = -1) -> None:
        assert self._account is not None
        read = self._reads.send(self._account, share, kind, start, length, mask, now)
        read.data_start = data_start
        share.ledger.on_asked(mask)
        self.counters.reads_sent += 1
        self._out.append(r.SendRead(read.id, share.id, start, length))

    def _on_read_answered(self, event: r.ReadAnswered, now: float) -> None:
        read = self._reads.take(event.read)
        if read is None:
            self.counters.bytes_wasted += len(event.data)
            return
        data, share = event.data, read.share
        self._servers[share.server].on_answered(len(data), read.length, read.sent, now)
        self.counters.bytes_received += len(data)
        if read.orphan:
            self.counters.bytes_wasted += len(data)
            return
        share.late &= ~read.mask
        self._release(read.length - self._keep(read, data))
        self._changed()

    def _keep(self, read: Read, data: bytes) -> int:
        """Put an answer where it belongs; how much of its reservation stays in use."""
        share, geometry = read.share, self.geometry
        if read.start == 0 and share.layout is None:
            try:
                share.layout = parse_header(data)
            except errors.LayoutInvalid as error:
                self._advise(share, 0, V2_HEADER_SIZE, str(error))
                self._retire(share, str(error))
                return 0
        if read.kind is not Kind.BLOCKS or geometry is None:
            share.keep_fragment(read.start, read.stop, data)
            return len(data)
        if read.mask == 0:
            self.counters.bytes_wasted += len(data)
            return 0
        layout = share.layout or expected_layout(geometry)
        mask = read.mask
        if read.start == 0 and layout.uri_extension < len(data):
            mask &= ~self._check_whole(share, Fragment(0, read.stop, data), geometry, mask)
        return self._keep_blocks(share, geometry, read.start, mask, data, read.data_start)

    def _keep_blocks(self, share: Share, geometry: Geometry, start: int, mask: int, data: bytes,
                     data_start: int) -> int:
        layout = share.layout or expected_layout(geometry)
        base = start - layout.data
        first, stop = geometry.whole_blocks(base, base + len(data))
        got = mask_of(first, stop) & mask
        if mask & ~got:
            share.ledger.on_lost(mask & ~got)
            if data_start == layout.data:  # else it was asked at the wrong place
                share.ledger.on_refused(mask & ~got)
                self._damaged = True
            self.rows.uncover(mask & ~got)
        live = got & self.rows.admitted & ~self.rows.decoding & ~share.ledger.have & ~share.ledger.bad
        share.ledger.on_lost(got & ~live)
        if not live:
            self.counters.bytes_wasted += len(data)
            return 0
        share.ledger.on_answered(live)
        view = memoryview(data)[geometry.block_start(first) - base :]
        share.keep_blocks(geometry, first, stop, view, live, len(data))
        self.rows.on_blocks(share.shnum, live)
        return len(data)

    def _on_read_failed(self, event: r.ReadFailed, now: float) -> None:
        read = self._reads.take(event.read)
        if read is None:
            return
        self._end_in_vain(read, event.reason)
        self._changed()

    def _end_in_vain(self, read: Read, reason: str) -> None:
        self._servers[read.share.server].on_retired(read.length)
        if not read.orphan:
            self._release(read.length)
            read.share.late &= ~read.mask
        self._retire(read.share, reason)

    def _on_time_passed(self, event: r.TimePassed, now: float) -> None:
        if self._search_until is not None and self._search_until <= now:
            self._search_until = None
            self._changed()
        for read in self._reads.take_overdue(now):
            if read.orphan:
                if read.stage is Stage.ABANDONED:
                    self._servers[read.share.server].on_retired(read.length)
            elif read.stage is Stage.ABANDONED:
                self._end_in_vain(read, "no answer")
            elif read.stage is Stage.STALLED:
                self._replace(read)
            else:
                self._hedge(read)
            self._changed()

    def _hedge(self, read: Read) -> None:
        allowed = HEDGE_FREE_BYTES + HEDGE_PART * self.counters.bytes_received
        mask = read.mask & self.rows.admitted & ~read.share.late
        if read.kind is Kind.METADATA:
            self._sources = [s for s in self._sources if s is not read.share]
        elif mask and self.counters.bytes_hedged + read.length <= allowed:
            self.counters.hedges += 1
            self.counters.bytes_hedged += read.length
            read.share.late |= mask
            self.rows.uncover(mask)

    def _replace(self, read: Read) -> None:
        self.counters.replaced += 1
        if read.kind is Kind.METADATA:
            self._sources = [s for s in self._sources if s is not read.share]
        elif read.kind is Kind.EVIDENCE:
            read.share.proof_bad = True
        if self.geometry is None:
            self._scouted.discard(read.share.id)
            read.share.late |= 1
        mask = read.mask & self.rows.admitted
        read.share.late |= mask
        self.rows.uncover(mask)

    # -- the plan -------------------------------------------------------------

    def _on_turn_ended(self, event: r.TurnEnded, now: float) -> None:
        if not self._dirty:
            return
        self._dirty = False
        self.counters.plans += 1
        self._busy = event.cpu_busy
        self.is_blocked = False
        if not self.readers:
            return
        if self.metadata.ueb is None:
            self._scout(now)
            self._seek_ueb(now)
        if self.metadata.ueb is None:
            self._check_hopeless_start(now)
            return
        if not self.readers:
            return
        self._seek_pages(now)
        self._examine(now)
        self._cover(now)
        self._admit(now)
        self._send_desires(now)
        self._decode()
        self._fail_lost()

    def _first_byte(self) -> int:
        guess = self.metadata.best_guess
        starts = [reader.guess_start(guess) for reader in self.readers.values()] if guess else []
        return min((start for start in starts if start is not None), default=0)

    def _pick_source(self, usable: Callable[[Share], bool]) -> list[Share]:
        """Whom to ask for metadata: the one asked before, or the quickest other."""
        self._sources = [s for s in self._sources if not s.retired and usable(s)]
        if not self._sources:
            busy = {read.share.id for read in self._reads if read.kind is Kind.METADATA}
            others = [s for s in self.shares.values() if not s.retired and usable(s) and s.id not in busy]
            if others:
                self._sources.append(min(others, key=lambda s: (
                    s.id not in self._scouted, s.suspect, self._servers[s.server].stalled, self._servers[s.server].expected_s(0), s.shnum)))
        return self._sources

    def _ask_ranges(self, share: Share, kind: Kind, ranges: list[tuple[int, int]], now: float) -> None:
        for start, stop in ranges:
            if not self._reads.is_asked(share, start, stop):
                if start >= 2**63 or not self._servers[share.server].has_slot():
                    self.is_blocked = True
                    continue
                self._send(share, kind, start, stop - start, 0, now)

    def _report_faults(self) -> None:
        for fault in self.metadata.faults:
            self._advise(fault.share, fault.start, fault.stop, fault.reason)
            self._last_failure = f"BadHashError: {fault.reason}"
        self.metadata.faults.clear()

    def _seek_ueb(self, now: float) -> None:
        while self.metadata.ueb is None:
            sources = self._pick_source(lambda s: not s.ueb_bad)
            if not sources:
                return
            share = sources[0]
            try:
                needs = self.metadata.seek_ueb(share, self._first_byte())
            except (errors.MalformedUEB, errors.FileTooLarge) as error:
                for reader in list(self.readers.values()):
                    self._fail(reader, error)
                return
            self._report_faults()
            if needs:
                self._ask_ranges(share, Kind.METADATA, needs, now)
                return
        self._on_geometry()

    def _small_share(self) -> int:
        """How much to read of a share that is small enough to be read whole, or 0."""
        if any(reader.start is not None or reader.segnum is not None for reader in self.readers.values()):
            length = max((whole_share_length(g) for g in self.metadata.guesses), default=SMALL_SHARE_BYTES)
            # v2 headers are longer than the guess; its UEB ends further on
            if length <= SMALL_SHARE_BYTES:
                return length + V2_HEADER_SIZE + UEB_READ_SIZE
        return 0

    def _scout(self, now: float) -> None:
        """Read first blocks before anything is known but the file's size."""
        guess = self.metadata.best_guess
        if guess is None or not any(reader.guess_start(guess) is not None for reader in self.readers.values()):
            return
        first = min(self._first_byte() // guess.segment_size, guess.num_segments - 1)
        layout = expected_layout(guess)
        start = layout.data + guess.block_start(first)
        stop = layout.data + guess.block_start(first + 1)
        if first == 0:
            start = 0
        whole = self._small_share()
        if whole:
            start, stop = 0, whole
        asked = {s.shnum for s in self.shares.values() if s.id in self._scouted and not s.retired and not s.late}
        fresh = [s for s in self.shares.values() if s.id not in self._scouted and not s.late]
        for share in choose_shares(fresh, self._servers, 1, asked, self.k - len(asked),
                                   stop - start, self.k, self._busy):
            if not self._servers[share.server].has_slot():
                self.is_blocked = True
                continue
            self._scouted.add(share.id)
            self._send(share, Kind.BLOCKS, start, stop - start, 0, now)

    def _check_hopeless_start(self, now: float) -> None:
        """Nobody can give the UEB any more: say so."""
        usable = [s for s in self.shares.values() if not s.retired and not s.ueb_bad]
        if usable or self._search_until is not None or not self.readers:
            return
        if self._search_again(now):
            return
        for reader in list(self.readers.values()):
            self._fail(reader, self._shortage([], [], []))

    def _search_again(self, now: float) -> bool:
        """Before giving up, ask once more: a server may have come back."""
        if self._researched or not any(s.retired for s in self.shares.values()):
            return False
        self._researched = True
        self._search(now)
        return True

    def _shortage(self, complete: list[Share], pending: list[Share], overdue: list[Share]) -> errors.FileError:
        if not complete and not pending and not overdue:
            return errors.NoShares(f"no shares (need {self.k}). Last failure: {self._last_failure}")
        done = ",".join(f"sh{n}" for n in sorted({s.shnum for s in complete}))
        waiting, late = (",".join(f"sh{s.shnum}" for s in some) for some in (pending, overdue))
        return errors.NotEnoughShares(
            f"ran out of shares: complete={done} pending={waiting} overdue={late}"
            f" unused= need {self.k}. Last failure: {self._last_failure}")

    # -- from guesses to geometry ---------------------------------------------

    def _on_geometry(self) -> None:
        """The UEB is here: what was read on a guess becomes blocks."""
        geometry = self.metadata.geometry
        assert geometry is not None
        for reader in list(self.readers.values()):
            self._resolve(reader)
        todo = 0
        for reader in self.readers.values():
            todo |= reader.todo
        in_flight = {read.share.id: read for read in self._reads if read.kind is Kind.BLOCKS}
        for share in self.shares.values():
            share.late = 0
        for share_id in sorted(self._scouted):
            share = self.shares.get(share_id)
            if share is None:
                continue
            read = in_flight.get(share_id)
            if read is not None:
                layout = share.layout or expected_layout(geometry)
                mask = mask_of(*geometry.whole_blocks(read.start - layout.data, read.stop - layout.data)) & todo
                self._admit_mask(mask)
                share.ledger.on_wanted(mask)
                share.ledger.on_asked(mask)
                read.mask = mask
                read.data_start = layout.data
            else:
                self._take_scouted(share, geometry, todo)
        self._scouted.clear()

    def _take_scouted(self, share: Share, geometry: Geometry, todo: int) -> None:
        layout = share.layout or expected_layout(geometry)
        for fragment in share.fragments():
            base = fragment.start - layout.data
            mask = mask_of(*geometry.whole_blocks(base, base + len(fragment.data))) & todo
            if share.retired or not mask:
                continue
            if fragment.start == 0 and layout.uri_extension < len(fragment.data):
                mask &= ~self._check_whole(share, fragment, geometry, mask)
            if mask:
                self._admit_mask(mask)
                share.ledger.on_wanted(mask)
                assert self._account is not None
                self._account.reserve(len(fragment.data))
                kept = self._keep_blocks(share, geometry, fragment.start, mask, fragment.data, layout.data)
                self._release(len(fragment.data) - kept)

    def _check_whole(self, share: Share, whole: Fragment, geometry: Geometry, mask: int) -> int:
        """Check a share that is all here; the blocks that cannot be trusted."""
        assert self.metadata.ueb is not None
        layout = share.layout or expected_layout(geometry)
        bad = 0
        told: set[tuple[int, int]] = set()
        segments = [segnum for first, stop in runs_of(mask) for segnum in range(first, stop)]
        for segnum, reason, start, stop in check_whole(
                whole, share.shnum, layout, geometry, self.metadata.ueb, segments):
            bad |= 1 << segnum
            if (start, stop) not in told:
                told.add((start, stop))
                self._advise(share, start, stop, reason)
            if "block hash mismatch" not in reason:
                self._last_failure = reason
        share.ledger.on_refused(bad)
        if bad:
            self.rows.uncover(bad)
            share.suspect = True
            self._servers[share.server].lies += 1
        return bad

    def _admit_mask(self, mask: int) -> None:
        geometry = self.geometry
        assert geometry is not None and self._account is not None
        mask &= ~self.rows.admitted
        for first, stop in runs_of(mask):
            length = geometry.segment_start(stop) - geometry.segment_start(first)
            self._account.reserve(length)
            self._flight_bytes += length
        self.rows.admit(mask)
        if self.options.verify_blocks:
            for first, stop in runs_of(mask):
                for segnum in range(first, stop):
                    self.rows.open_inquest(segnum)

    # -- ciphertext hashes ----------------------------------------------------

    def _seek_pages(self, now: float) -> None:
        tree = self.metadata.tree
        assert tree is not None
        todo = self.rows.admitted
        if not todo:
            todo = self._next_todo()
            if not todo:
                return
            todo &= -todo
        for segnum in self._page_samples(todo):
            while True:
                page = tree.missing_page(segnum)
                if page is None:
                    break
                sources = self._pick_source(lambda s: not s.hashes_bad)
                if not sources:
                    if not any(read.kind is Kind.METADATA for read in self._reads):
                        self._lose_for_want_of_hashes(segnum, now)
                    break
                needs = self.metadata.seek_page(sources[0], page)
                self._report_faults()
                if needs:
                    self._ask_ranges(sources[0], Kind.METADATA, needs, now)
                    break
        if not self.rows.inquests and not self.options.verify_blocks and \
                all(tree.missing_page(s) is None for s in self._page_samples(todo)):
            for share in self.shares.values():
                self._release(share.drop_fragments())

    def _page_samples(self, todo: int) -> list[int]:
        """One segment of each leaf page in *todo*: lowest, highest, and between."""
        tree = self.metadata.tree
        assert tree is not None
        samples = []
        rest = todo
        while rest:
            segnum = (rest & -rest).bit_length() - 1
            samples.append(segnum)
            if tree.levels == 0:
                break
            _first, stop = tree.leaves_of(tree.page_for(segnum, tree.levels))
            rest = rest >> stop << stop
        return samples

    def _lose_for_want_of_hashes(self, segnum: int, now: float) -> None:
        if self._search_until is None and not self._search_again(now):
            self._lose(1 << segnum, self._shortage([], [], []))

    # -- forensics ------------------------------------------------------------

    def _examine(self, now: float) -> None:
        geometry, ueb = self.metadata.geometry, self.metadata.ueb
        assert geometry is not None and ueb is not None
        for segnum, inquest in list(self.rows.inquests.items()):
            for share in list(self.shares.values()):
                if not share.ledger.have >> segnum & 1 or share.id in inquest.good \
                        or share.id in inquest.unprovable:
                    continue
                if share.retired and share.block_tree is None:
                    share.proof_bad = True
                evidence = examine(share, segnum, geometry, ueb)
                if evidence.needs:
                    if share.retired:
                        inquest.unprovable.add(share.id)
                    else:
                        self._ask_ranges(share, Kind.EVIDENCE, list(evidence.needs), now)
                elif evidence.verdict is Verdict.GOOD:
                    inquest.good.add(share.id)
                elif evidence.verdict is Verdict.BAD:
                    self._advise(share, *evidence.culprit, evidence.reason)
                    self._condemn(share, 1 << segnum)
                else:
                    if not share.proof_bad and evidence.reason:
                        self._advise(share, *evidence.culprit, evidence.reason)
                        self._last_failure = f"BadHashError: {evidence.reason}"
                    share.proof_bad = True
                    inquest.unprovable.add(share.id)
                    self.rows.uncover(1 << segnum)

    def _condemn(self, share: Share, mask: int) -> None:
        """Blocks proved wrong: never again, and nothing else of this share if others will do."""
        share.suspect = True
        self._servers[share.server].lies += 1
        share.ledger.on_refused(mask)
        self._release(share.use_up(mask))
        self.rows.uncover(mask)
        self.rows.recount(mask & ~self.rows.decoding, self.shares.values())

    # -- which share gives what -----------------------------------------------

    def _cover(self, now: float) -> None:
        for first, stop in runs_of(self.rows.admitted & ~self.rows.covered & ~self.rows.decoding):
            while first < stop:
                first = self._cover_run(first, stop, now)

    def _cover_run(self, first: int, stop: int, now: float) -> int:
        """Count on k shares for the segments from *first*; where the run that
        the same shares serve ends, at most *stop*."""
        assigned: set[int] = set()
        inquest = self.rows.inquests.get(first)
        if inquest is not None:
            stop = first + 1
        for segnum in self.rows.inquests:
            if first < segnum < stop:
                stop = segnum
        for share in self.shares.values():
            here = share.assigned() >> first
            bit = here & 1
            change = (~here if bit else here) & mask_of(0, stop - first)
            if change:
                stop = first + (change & -change).bit_length() - 1
            if bit and not (inquest is not None and share.id in inquest.unprovable):
                assigned.add(share.shnum)
        mask = mask_of(first, stop)
        missing = self.k - len(assigned)
        if missing > 0:
            geometry = self.geometry
            assert geometry is not None
            length = geometry.block_start(stop) - geometry.block_start(first)
            unprovable = inquest.unprovable if inquest is not None else set()
            chosen = choose_shares(
                [s for s in self.shares.values() if s.id not in unprovable and not s.ledger.have >> first & 1],
                self._servers, mask, assigned, missing, length, self.k, self._busy)
            if len(chosen) < missing and stop - first > 1:
                return self._cover_run(first, first + (stop - first) // 2, now)
            for share in chosen:
                share.ledger.on_wanted(mask)
            if len(chosen) < missing:
                self._is_lost(first, inquest, now)
                return stop
        self.rows.covered |= mask
        return stop

    def _is_lost(self, segnum: int, inquest: Optional[Inquest], now: float) -> None:
        """Too few shares for one segment: wait, guess, search again or give it up."""
        possible = [s for s in self.shares.values() if s.potential() >> segnum & 1]
        if inquest is not None:
            waiting = [s for s in possible if s.ledger.pending >> segnum & 1
                       or (s.ledger.have >> segnum & 1
                           and s.id not in inquest.good and s.id not in inquest.unprovable)]
            if not waiting and self._search_until is None and not self._search_again(now):
                self._guess(segnum, inquest)
            return
        if len({s.shnum for s in possible}) >= self.k or self._search_until is not None:
            return
        if any((s.ledger.wanted | s.ledger.pending) & ~s.late & ~s.ledger.have & 1 << segnum
               and not s.retired for s in possible):
            return  # soon we know which error it is
        if not self._search_again(now):
            complete = [s for s in possible if s.ledger.have >> segnum & 1]
            overdue = [s for s in possible if s.late >> segnum & 1]
            pending = [s for s in possible if s not in complete and s not in overdue]
            self._lose(1 << segnum, self._shortage(complete, pending, overdue))

    def _guess(self, segnum: int, inquest: Inquest) -> None:
        holders = {s.id: s.shnum for s in self.shares.values() if s.ledger.have >> segnum & 1}
        guess = inquest.next_guess(self.k, holders)
        if guess is not None:
            self._start_batch(segnum, segnum + 1, [self.shares[share] for share in guess])
        else:
            good = [self.shares[share] for share in inquest.good]
            self._lose(1 << segnum, self._shortage(good, [], []))

    def _lose(self, mask: int, error: Exception) -> None:
        """These segments cannot be had; readers fail when they get there."""
        for first, stop in runs_of(mask):
            for segnum in range(first, stop):
                self.rows.lost[segnum] = error
        self._damaged = True
        self._abandon(mask & self.rows.admitted)

    def _fail_lost(self) -> None:
        geometry = self.geometry
        assert geometry is not None
        for reader in list(self.readers.values()):
            lost = [s for s in self.rows.lost if reader.todo >> s & 1]
            if lost and reader.position >= geometry.segment_start(min(lost)):
                self._fail(reader, self.rows.lost[min(lost)])

    # -- admission and sending ------------------------------------------------

    def _next_todo(self) -> int:
        """Segments some reader needs and nobody works on, nothing past a lost one."""
        todo = 0
        for reader in self.readers.values():
            mine = reader.todo
            lost = [s for s in self.rows.lost if mine >> s & 1]
            if lost:
                mine &= mask_of(0, min(lost))
            todo |= mine
        return todo & ~self.rows.admitted

    def _admit(self, now: float) -> None:
        """Take segments into the window while the budget has room for them."""
        geometry, account = self.metadata.geometry, self._account
        assert geometry is not None and account is not None
        if self._slow_start is None:
            self._slow_start = SlowStart(max(SPAN_BYTES, 2 * geometry.segment_size, self._flight_bytes))
        while True:
            if any(s.ledger.desire() for s in self.shares.values() if s.late == 0
                   and not self._servers[s.server].has_slot()):
                self.is_blocked = True
                return  # what is admitted waits for slots already
            todo = self._next_todo()
            if not todo:
                return
            first = (todo & -todo).bit_length() - 1
            run = ((~(todo >> first)) & ((todo >> first) + 1)).bit_length() - 1
            length = self._stripe(geometry, account, first, run)
            if not length:
                return
            mask = mask_of(first, first + length)
            self._admit_mask(mask)
            position = first
            while position < first + length:
                position = self._cover_run(position, first + length, now)

    def _stripe(self, geometry: Geometry, account: Account, first: int, run: int) -> int:
        """How many of the *run* segments from *first* go into the window now."""
        assert self._slow_start is not None
        most = stripe_length(geometry.block_size, geometry.segment_size, SPAN_BYTES, account.limit_bytes)
        if run <= 2 * most and run * geometry.segment_size * 6 <= account.limit_bytes:
            most = run  # the rest in one round
        open_bytes = self._slow_start.depth_bytes - self._flight_bytes
        length = min(run, most, max(open_bytes // geometry.segment_size, 0))
        if length < min(run, most) and self._flight_bytes:
            return 0  # a short stripe now would only cost more messages
        length = max(length, 1)
        while not account.has_room(2 * self._bytes_of(geometry, first, first + length)):
            if self._flight_bytes or length == 1:
                self.is_blocked = True
                return 0
            length = length // 2
        return length

    @staticmethod
    def _bytes_of(geometry: Geometry, first: int, stop: int) -> int:
        return geometry.segment_start(stop) - geometry.segment_start(first)

    def _send_desires(self, now: float) -> None:
        geometry = self.geometry
        assert geometry is not None
        whole = self._small_share()
        for share in self.shares.values():
            desire = share.ledger.desire()
            if not desire or share.retired:
                continue
            layout = share.layout or expected_layout(geometry)
            server = self._servers[share.server]
            if whole and server.has_slot():
                self._send(share, Kind.BLOCKS, 0, whole, desire, now, layout.data)
                continue
            for first, stop in cut_reads(desire, geometry.block_size, MAX_READ_BYTES):
                if not server.has_slot():
                    self.is_blocked = True
                    break
                start = layout.data + geometry.block_start(first)
                length = geometry.block_start(stop) - geometry.block_start(first)
                self._send(share, Kind.BLOCKS, start, length, mask_of(first, stop), now, layout.data)

    # -- decoding -------------------------------------------------------------

    def _decode(self) -> None:
        geometry, tree = self.metadata.geometry, self.metadata.tree
        assert geometry is not None and tree is not None
        for segnum, inquest in list(self.rows.inquests.items()):
            good = {self.shares[s].shnum: self.shares[s] for s in inquest.good}
            if len(good) >= self.k and not self.rows.decoding >> segnum & 1 and tree.leaf(segnum) is not None:
                self._start_batch(segnum, segnum + 1, list(good.values())[: self.k])
        while self.rows.ready and len(self._batches) < MAX_DECODES:
            segnum = (self.rows.ready & -self.rows.ready).bit_length() - 1
            if tree.leaf(segnum) is None:
                return
            chosen = self._holders(segnum)
            run = self.rows.ready >> segnum
            stop = segnum + (~run & (run + 1)).bit_length() - 1
            stop = min(stop, segnum + max(1, DECODE_BYTES // geometry.segment_size))
            if tree.levels:
                stop = min(stop, tree.leaves_of(tree.page_for(segnum, tree.levels))[1])
            for share in chosen:
                stop = share.block_run(segnum, stop)
            self._start_batch(segnum, stop, chosen)

    def _holders(self, segnum: int) -> list[Share]:
        """k shares of distinct shnums that hold the block, primaries first."""
        by_shnum: dict[int, Share] = {}
        for share in self.shares.values():
            if share.ledger.have >> segnum & 1:
                by_shnum.setdefault(share.shnum, share)
        return [by_shnum[shnum] for shnum in sorted(by_shnum)[: self.k]]

    def _start_batch(self, first: int, stop: int, chosen: list[Share]) -> None:
        geometry, tree = self.metadata.geometry, self.metadata.tree
        assert geometry is not None and tree is not None and len(chosen) == self.k
        hashes = []
        for segnum in range(first, stop):
            leaf = tree.leaf(segnum)
            assert leaf is not None
            hashes.append(leaf)
        self._next_batch += 1
        self.counters.batches += 1
        self._batches[self._next_batch] = Batch(first, stop, tuple(s.id for s in chosen))
        self.rows.ready &= ~mask_of(first, stop)
        self.rows.decoding |= mask_of(first, stop)
        sources = tuple(r.Source(s.shnum, s.blocks(geometry, first, stop)) for s in chosen)
        self._out.append(r.Decode(self._next_batch, first, stop, sources, tuple(hashes)))

    def _on_batch_decoded(self, event: r.BatchDecoded, now: float) -> None:
        geometry = self.geometry
        batch = self._batches.pop(event.batch, None)
        if batch is None:  # everybody left while it was in the worker
            self._out.append(r.DropBatch(event.batch))
            return
        assert geometry is not None
        for segnum in event.bad:
            self._on_bad_segment(segnum, batch)
        bad = sum(1 << segnum for segnum in event.bad)
        good = mask_of(batch.first, batch.stop) & ~bad
        length = sum(self._bytes_of(geometry, *run) for run in runs_of(good))
        self._flight_bytes -= length
        if self._slow_start is not None:
            self._slow_start.on_arrived(length)
        self.rows.finish(good)
        self._forget_blocks(good)
        held = Held(length)
        for reader in self.readers.values():
            self._hand_over(event.batch, held, reader, geometry, good)
        if held.waiting:
            self._held[event.batch] = held
        else:
            self._release(length)
            self._out.append(r.DropBatch(event.batch))
        self._drop_unwanted()
        self._changed()

    def _hand_over(self, batch: int, held: Held, reader: Reader, geometry: Geometry, good: int) -> None:
        mine = reader.todo & good
        reader.todo &= ~good
        for first, stop in runs_of(mine):
            assert reader.start is not None and reader.stop is not None
            start = max(reader.start, geometry.segment_start(first))
            end = min(reader.stop, geometry.segment_start(stop))
            held.waiting[reader.id] = end
            self._out.append(r.Deliver(reader.id, batch, start, end))

    def _on_bad_segment(self, segnum: int, batch: Batch) -> None:
        """A segment does not match its hash: somebody lied, or the uploader did."""
        inquest = self.rows.inquests.get(segnum)
        if inquest is not None and set(batch.shares) <= inquest.good:
            self.rows.decoding &= ~(1 << segnum)
            self._lose(1 << segnum, errors.BadCiphertextHash(
                f"hash failure in ciphertext_hash_tree: segnum={segnum}"))
            return
        if inquest is None:
            self.counters.inquests += 1
        self.rows.open_inquest(segnum)
