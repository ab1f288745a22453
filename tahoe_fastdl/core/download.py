"""One file's download: events in, actions out.

Pure: no Twisted, no clock, no I/O.  ``receive(event, now)`` keeps the books
and answers with actions; ``next_deadline()`` names the next moment at which
``TimePassed`` is due.  After events that changed something the shell sends
one ``TurnEnded`` a reactor turn, and the plan is made then, once:
``plans <= changes``.

The way of a byte: wanted by a reader (``readers``), admitted and asked of k
shares (``scouting``, ``covering``, ``plan``, ``ledger``, ``reads``), arrived
(``intake``, ``share``), complete (``rows``), decoded and proved (``opening``,
``proving``), delivered (``handing``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import records as r
from .books import Books, Counters, Options
from .covering import Covering
from .geometry import Geometry
from .handing import Handing
from .intake import Intake
from .metadata import Metadata
from .opening import Opening
from .proving import Proving
from .readers import Reader
from .reads import Kind, ReadBook, Stage
from .rows import Rows
from .scouting import Scouts
from .servers import Server
from .share import Share
from .turns import Turns
from .watching import Watching
from .window import Budget

__all__ = ["Counters", "Download", "Options"]


class Download:
    """The assembler.  See the module's docstring."""

    def __init__(
        self,
        size: int,
        k: int,
        n: int,
        ueb_hash: bytes,
        budget: Budget,
        servers: dict[int, Server],
        options: Options,
    ) -> None:
        """
        :param size: of the file in bytes, >= 1.
        :param budget: shared by all downloads of the client.
        :param servers: shared likewise; has every server that events name.
        """
        self._books = Books(
            k=k,
            n=n,
            options=options,
            servers=servers,
            metadata=Metadata(size, k, n, ueb_hash, options.segment_size_hint),
            reads=ReadBook(servers, options.patience_s),
            rows=Rows(k),
            turns=Turns(budget),
        )
        self._intake = Intake(self._books)
        self._scouts = Scouts(self._books, self._intake)
        self._opening = Opening(self._books, self._scouts)
        self._proving = Proving(self._books)
        self._covering = Covering(self._books, self._proving)
        self.watching = Watching(self._books)
        self._handing = Handing(self._books)
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

    # -- the doors ------------------------------------------------------------

    def receive(self, event: r.Event, now: float) -> list[r.Action]:
        """Take one event; the actions are to be carried out in order."""
        self._handlers[type(event)](event, now)
        self._drop_finished_readers()
        actions, self._books.out = self._books.out, []
        return actions

    def close(self) -> None:
        """No event will come any more: give back all that is shared with other downloads."""
        for reader in self.readers.values():
            reader.failed = True
        self._drop_finished_readers()
        self._books.reads.drop_all()
        self._books.out.clear()

    @property
    def wants_turn(self) -> bool:
        """Whether a ``TurnEnded`` would find something to do."""
        return self._books.dirty

    def next_deadline(self) -> float | None:
        """When ``TimePassed`` is due, monotonic seconds, or None."""
        if not self.readers:
            return None
        books = self._books
        search = books.search
        deadlines = (
            books.reads.next_deadline(), search.until, search.look_at,
            books.turns.starving_until, books.turns.brisk_until,
        )  # fmt: skip
        return min((when for when in deadlines if when is not None), default=None)

    def wake(self) -> None:
        """Another download's turn is over: perhaps it freed what we wait for."""
        if self._books.turns.may_go_on():
            self._books.changed()

    @property
    def geometry(self) -> Geometry | None:
        """The sizes, once the UEB is here."""
        return self._books.metadata.geometry

    @property
    def readers(self) -> dict[int, Reader]:
        """Who reads now."""
        return self._books.readers

    @property
    def shares(self) -> dict[int, Share]:
        """Every share that was found and not replaced."""
        return self._books.shares

    @property
    def counted_on(self) -> dict[int, Share]:
        """Those of which blocks are wanted or here."""
        return self._books.counted_on

    @property
    def rows(self) -> Rows:
        """The state of each segment in the window."""
        return self._books.rows

    @property
    def counters(self) -> Counters:
        """Work done so far."""
        return self._books.counters

    def is_worth_keeping(self) -> bool:
        """Whether the next reader could begin at once: all is known and nothing went wrong."""
        books, search = self._books, self._books.search
        return (
            not books.readers
            and books.metadata.ueb is not None
            and search.done
            and not (search.damaged or search.failed or search.again)
        )

    def reads_in_flight(self) -> int:
        """Reads that have neither ended nor been given up."""
        return len(self._books.reads)

    # -- readers --------------------------------------------------------------

    def _on_reader_joined(self, event: r.ReaderJoined, now: float) -> None:
        self._join(Reader(event.reader, event.start, event.stop, position=event.start), now)

    def _on_segment_asked(self, event: r.SegmentAsked, now: float) -> None:
        self._join(Reader(event.reader, segnum=event.segnum), now)

    def _on_segment_size_asked(self, event: r.SegmentSizeAsked, now: float) -> None:
        self._join(Reader(event.reader), now)

    def _join(self, reader: Reader, now: float) -> None:
        books, search = self._books, self._books.search
        if not books.readers:
            books.rows.lost.clear()  # shares may have come back
            search.again = False
            if search.failed:
                search.failed, search.damaged = False, True
                for share in books.shares.values():
                    share.forgive()
            books.turns.open()
        books.readers[reader.id] = reader
        if search.until is not None and search.until <= now:
            search.until = None
        live = {share.shnum for share in books.shares.values() if not share.retired}
        enough = search.done and not search.damaged and len(live) >= books.k
        if search.until is None and not enough:
            books.start_search(now)
        if books.metadata.geometry is not None:
            self._opening.resolve(reader)
        books.changed()

    def _on_reader_delivered(self, event: r.ReaderDelivered, now: float) -> None:
        reader = self.readers.get(event.reader)
        if reader is None:
            return
        reader.position = event.position
        self._handing.on_delivered(reader)
        self._books.changed()

    def _on_reader_left(self, event: r.ReaderLeft, now: float) -> None:
        reader = self.readers.get(event.reader)
        if reader is not None:
            reader.failed = True

    def _drop_finished_readers(self) -> None:
        gone = [reader for reader in self.readers.values() if reader.failed]
        for reader in gone:
            del self.readers[reader.id]
            self._handing.on_left(reader)
        if gone and self.readers:
            self._drop_unwanted()
        elif gone:
            self._rest()
        if gone:
            self._books.changed()

    def _drop_unwanted(self) -> None:
        rows, wanted = self._books.rows, 0
        for reader in self.readers.values():
            wanted |= reader.todo
        self._books.abandon(rows.admitted & ~wanted & ~rows.decoding)

    def _rest(self) -> None:
        """Nobody reads: keep what is known of the file, give all bytes back."""
        books = self._books
        for share in books.shares.values():
            share.rest()
        books.counted_on.clear()
        books.reads.drop_all()
        books.rows = Rows(books.k)
        self._scouts.reset()
        self._opening.reset()
        self._proving.reset()
        self._handing.reset()
        books.turns.close()

    # -- shares and reads -----------------------------------------------------

    def _on_server_answered(self, event: r.ServerAnswered, now: float) -> None:
        books = self._books
        books.servers[event.server].on_latency(event.seconds)
        if books.search.heard is None:
            books.search.heard = now
        known = {(share.server, share.shnum): share for share in books.shares.values()}
        for share_id, shnum in event.shares:
            old = known.get((event.server, shnum))
            if old is not None and not old.retired:
                continue
            share = Share(share_id, shnum, event.server)
            if old is not None:
                share.ledger.on_refused(old.ledger.bad)
                share.suspect = old.suspect
                if not old.ledger.have:
                    del books.shares[old.id]
                    books.counted_on.pop(old.id, None)
            books.add_share(share)
        books.changed()

    def _on_search_ended(self, event: r.SearchEnded, now: float) -> None:
        self._books.search.until = None
        self._books.changed()

    def _on_read_answered(self, event: r.ReadAnswered, now: float) -> None:
        books = self._books
        read = books.reads.take(event.read)
        if read is None:
            books.counters.bytes_wasted += len(event.data)
            books.reads.on_stray(event.read, now)
            return
        server = books.servers[read.share.server]
        server.on_answered(len(event.data), read.length, read.sending, now)
        books.reads.compare()
        books.counters.bytes_received += len(event.data)
        read.share.late &= ~read.mask
        if read.kind is Kind.EVIDENCE and read.stage is Stage.STALLED:
            self._proving.reconsider(read.share)
        books.release(read.length - self._intake.keep(read, event.data))
        books.changed()

    def _on_read_failed(self, event: r.ReadFailed, now: float) -> None:
        read = self._books.reads.take(event.read)
        if read is not None:
            self._books.give_up_read(read, event.reason)
            self._books.changed()

    def _on_time_passed(self, event: r.TimePassed, now: float) -> None:
        books = self._books
        if books.search.on_time(now):
            books.changed()
        if books.turns.on_time(now):
            books.changed()
        for read in books.reads.take_overdue(now):
            books.changed()
            if read.stage is Stage.ABANDONED:
                books.give_up_read(read, "no answer")
            elif read.stage is Stage.LATE:
                self._opening.distrust(read)
                self._covering.hedge(read)
            else:
                self._opening.distrust(read)
                self._covering.replace(read)
                if read.kind is Kind.EVIDENCE:
                    read.share.proof_bad = True

    # -- the plan -------------------------------------------------------------

    def _on_turn_ended(self, event: r.TurnEnded, now: float) -> None:
        books = self._books
        if not books.dirty:
            return
        books.dirty = False
        books.counters.plans += 1
        books.cpu_busy = event.cpu_busy
        before = books.turns.begin_plan()
        if books.readers:
            self._plan(now)
        books.turns.end_plan(before)

    def _plan(self, now: float) -> None:
        books = self._books
        if books.metadata.ueb is None:
            is_ueb_first = self._scouts.is_in_the_way()
            if is_ueb_first:
                self._opening.seek_ueb(now)
            if books.metadata.ueb is None:
                self._scouts.scout(now)
            if not is_ueb_first:
                self._opening.seek_ueb(now)
        if books.metadata.ueb is None:
            self._opening.fail_hopeless(now)
            return
        is_complete = self._opening.seek_pages(self._covering.upcoming(), now)
        self._proving.examine(now)
        if is_complete:
            self._intake.drop_fragments()
        self._covering.cover(now)
        self._covering.admit(self._scouts.whole_length(), now)
        self._proving.decode()
        self._fail_lost()

    def _fail_lost(self) -> None:
        """A reader that reached a segment which cannot be had is told so."""
        books = self._books
        for reader in books.readers.values():
            lost = [segnum for segnum in books.rows.lost if reader.todo >> segnum & 1]
            if lost and not reader.failed:
                first = min(lost)
                if reader.position >= books.geometry.segment_start(first):
                    books.fail(reader, books.rows.lost[first])

    # -- decoded batches ------------------------------------------------------

    def _on_batch_decoded(self, event: r.BatchDecoded, now: float) -> None:
        books = self._books
        coming = books.rows.admitted
        proved = self._proving.finish(event.batch, event.bad)
        if proved is None:
            books.out.append(r.DropBatch(event.batch))
            return
        good, reserved_bytes = proved
        self._handing.hand_out(event.batch, good, reserved_bytes, coming, now)
        self._drop_unwanted()
        books.changed()
