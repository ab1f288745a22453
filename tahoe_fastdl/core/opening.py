"""From a search to the first blocks: scouts, UEB, pages of ciphertext hashes.

Pure.  Before the UEB is here nothing is known but the file's size, yet blocks
begin at a known place and the likely segment sizes are few: so each share is
asked for its first blocks as it turns up, and one of them for the UEB and the
hash leaves, all in the same round trip.
"""

from __future__ import annotations

from collections.abc import Callable

from .. import errors
from . import records as r
from .books import Books
from .forensics import check_whole, data_stop, whole_share_length
from .geometry import Geometry, mask_of
from .layout import V2_HEADER_SIZE, expected_layout, parse_header
from .metadata import UEB_READ_SIZE
from .plan import choose_shares, runs_of
from .readers import Reader
from .reads import Kind, Read, Stage
from .servers import CAUTIOUS_RATE, DEFAULT_LATENCY_S
from .share import Fragment, Share
from .window import KIB

# A share of at most this length is fetched and checked whole.
SMALL_SHARE_BYTES = 16 * KIB
# What comes in this time is asked for in the same message: that costs as much by itself.
MESSAGE_S = 0.001


class Opening:
    """The part of a download that learns what the file looks like."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._sources: list[Share] = []  # whom we ask for metadata
        self._scouted: set[int] = set()  # shares asked before the geometry was known
        self._complete = False  # all hashes that are wanted now are here
        self._keeps = False  # some share may hold bytes that are not blocks
        self._whole: int | None = None  # what whole_length says once the geometry is known

    def reset(self) -> None:
        """Nobody reads any more."""
        self._sources.clear()
        self._scouted.clear()

    def distrust(self, read: Read) -> None:
        """*read* is late: ask another share for what it was to bring."""
        if read.kind is Kind.METADATA:
            self._sources = [share for share in self._sources if share is not read.share]
        elif self._books.metadata.geometry is None and read.share.id in self._scouted:
            read.share.late |= 1  # counts as not scouted

    # -- scouts ---------------------------------------------------------------

    def _first_byte(self) -> int:
        guess = self._books.metadata.best_guess
        readers = self._books.readers.values() if guess is not None else ()
        starts = [reader.guess_start(guess) for reader in readers if guess is not None]
        return min((start for start in starts if start is not None), default=0)

    def whole_length(self) -> int:
        """How much to read of a share small enough to be read whole, or 0."""
        books = self._books
        if not any(reader.wants_bytes for reader in books.readers.values()):
            return 0
        if self._whole is not None:
            return self._whole
        known = [books.metadata.geometry] if books.metadata.geometry else books.metadata.guesses
        length = max((whole_share_length(g) for g in known), default=SMALL_SHARE_BYTES + 1)
        # with a v2 header all of it lies a little further on
        whole = length + V2_HEADER_SIZE + UEB_READ_SIZE if length <= SMALL_SHARE_BYTES else 0
        if books.metadata.geometry is not None:
            self._whole = whole
        return whole

    def scout(self, now: float) -> None:
        """Read first blocks before anything is known but the file's size."""
        books = self._books
        guess = books.metadata.best_guess
        if guess is None or not any(reader.wants_bytes for reader in books.readers.values()):
            return
        start, stop = 0, self.whole_length()
        if not stop:
            first = min(self._first_byte() // guess.segment_size, guess.num_segments - 1)
            data = expected_layout(guess).data
            start = data + guess.block_start(first) if first else 0
            stop = data + guess.block_start(first + 1)
        if not self._scouted and not books.has_room(books.k * (stop - start)):
            assert books.account is not None
            if not books.account.is_alone() and not books.starve(now):
                books.wait_for_room(books.k * (stop - start))
                return
        shares = [share for share in books.shares.values() if not share.late]
        asked = {s.shnum for s in shares if s.id in self._scouted and not s.retired}
        fresh = [share for share in shares if share.id not in self._scouted]
        for share in choose_shares(
            fresh, books.servers, 1, asked, books.k - len(asked), stop - start, books.k,
            books.cpu_busy,
        ):  # fmt: skip
            if books.has_slot(share.server):
                self._scouted.add(share.id)
                self._send_scout(share, start, stop, now)

    def _send_scout(self, share: Share, start: int, stop: int, now: float) -> None:
        """Ask for the first blocks, and for the rest of the share too if that is here
        before an answer to another question could be."""
        books = self._books
        server = books.servers[share.server]
        rest = self._rest_of(share, start, stop)
        rate = server.rate or CAUTIOUS_RATE
        latency = DEFAULT_LATENCY_S if server.latency_s is None else server.latency_s
        if rest and server.bytes_in_flight + stop - start + rest > rate * latency:
            rest = 0
        # Over Foolscap the answer to a second read comes right behind that to the first;
        # over HTTP it would take a connection of its own.  But if all of the share may be
        # one block, it must not be cut in two.
        is_one_block = any(guess.num_segments == 1 for guess in books.metadata.guesses)
        if rest > MESSAGE_S * rate and not server.max_reads and not is_one_block:
            books.send(share, Kind.BLOCKS, start, stop - start, now)
            books.send(share, Kind.BLOCKS, stop, rest, now)
        else:
            books.send(share, Kind.BLOCKS, start, stop + rest - start, now)

    def _rest_of(self, share: Share, start: int, stop: int) -> int:
        """How many bytes a share that is scouted up to *stop* may have behind that which are
        wanted: none if not all of the file is, or not of this share for certain."""
        books, guesses = self._books, self._books.metadata.guesses
        size = guesses[0].size
        is_wanted = start == 0 and any(
            reader.start == 0 and reader.stop is not None and reader.stop >= size
            for reader in books.readers.values()
        )
        if not is_wanted or share.shnum >= books.k:
            return 0
        hashes = max(whole_share_length(guess) - data_stop(guess) for guess in guesses)
        rest = max(data_stop(guess) for guess in guesses) + V2_HEADER_SIZE - stop
        if books.servers[share.server].max_reads and hashes <= SMALL_SHARE_BYTES:
            rest += hashes + UEB_READ_SIZE  # or the UEB would take another connection
        assert books.account is not None
        is_small = books.k * rest <= books.account.limit_bytes // 3
        return rest if rest > 0 and is_small and books.has_room(stop + rest) else 0

    # -- the UEB --------------------------------------------------------------

    def _pick_source(self, usable: Callable[[Share], bool]) -> Share | None:
        """Whom to ask for metadata: the one asked before, or the quickest other."""
        books = self._books
        self._sources = [s for s in self._sources if not s.retired and usable(s)]
        if not self._sources:
            busy = {read.share.id for read in books.reads if read.kind is Kind.METADATA}
            others = [
                share
                for share in books.shares.values()
                if not share.retired and usable(share) and share.id not in busy
            ]
            if others:
                self._sources.append(min(others, key=self._reluctance))
        return self._sources[0] if self._sources else None

    def _reluctance(self, share: Share) -> tuple[bool, bool, bool, bool, float, int]:
        server = self._books.servers[share.server]
        # Over HTTP a second request beside a first opens a connection, which takes longer.
        is_busy = bool(server.max_reads and server.reads_in_flight)
        return (
            share.suspect, bool(server.stalled), is_busy, share.id not in self._scouted,
            server.expected_s(0), share.shnum,
        )  # fmt: skip

    def _report_faults(self) -> None:
        for fault in self._books.metadata.faults:
            self._books.advise(fault.share, fault.start, fault.stop, fault.reason)
            self._books.last_failure = f"BadHashError: {fault.reason}"
        self._books.metadata.faults.clear()

    def seek_ueb(self, now: float) -> None:
        """Get on with the UEB; with it everything that was read on a guess becomes blocks."""
        books = self._books
        while books.metadata.ueb is None:
            share = self._pick_source(lambda share: not share.ueb_bad)
            if share is None:
                return
            try:
                needs = books.metadata.seek_ueb(share, self._first_byte())
            except (errors.MalformedUEB, errors.FileTooLarge) as error:
                for reader in books.readers.values():
                    books.fail(reader, error)
                return
            self._report_faults()
            if needs:
                books.ask_ranges(share, Kind.METADATA, needs, now)
                if not share.retired:
                    return
        self._convert_scouts()

    def fail_hopeless(self, now: float) -> None:
        """Nobody can give the UEB any more: say so."""
        books = self._books
        usable = [s for s in books.shares.values() if not s.retired and not s.ueb_bad]
        if usable or books.search.until is not None or books.search_again(now):
            return
        for reader in books.readers.values():
            if not reader.failed:
                books.fail(reader, books.shortage())

    def resolve(self, reader: Reader) -> None:
        """The geometry is known: tell the reader what it asked and what it needs."""
        books, geometry = self._books, self._books.geometry
        if reader.segnum is not None and reader.segnum >= geometry.num_segments:
            error = f"segnum={reader.segnum}, numsegs={geometry.num_segments}"
            books.fail(reader, errors.BadSegmentNumber(error))
            return
        if not reader.wants_bytes:
            books.out.append(r.TellSegmentSize(reader.id, geometry.segment_size))
            reader.failed = True  # it has what it wanted and goes likewise
            return
        reader.resolve(geometry)
        if reader.segnum is not None and reader.start is not None and reader.stop is not None:
            books.out.append(r.ReaderResolved(reader.id, reader.start, reader.stop))

    def _convert_scouts(self) -> None:
        books, geometry = self._books, self._books.geometry
        todo = 0
        for reader in books.readers.values():
            self.resolve(reader)
            todo |= reader.todo
        for share in books.shares.values():
            share.late = 0
        scouted = self._scouted & books.shares.keys()
        for share_id in sorted(scouted):
            self._take_scouted(books.shares[share_id], geometry, todo)
        for read in books.reads:
            if read.kind is not Kind.BLOCKS or read.share.id not in scouted:
                continue
            share = read.share
            data = books.layout_of(share).data
            mask = todo & mask_of(*geometry.whole_blocks(read.start - data, read.stop - data))
            books.admit(mask & ~books.rows.admitted)
            books.count_on(share, mask)
            share.ledger.on_asked(mask)
            read.mask, read.data_start = mask, data
            if read.stage is Stage.STALLED:  # it will not get to that stage any more
                share.late |= mask
        self._scouted.clear()

    def _take_scouted(self, share: Share, geometry: Geometry, todo: int) -> None:
        books = self._books
        layout = books.layout_of(share)
        for fragment in share.fragments():
            base = fragment.start - layout.data
            blocks = geometry.whole_blocks(base, base + len(fragment.data))
            mask = todo & mask_of(*blocks) & ~share.ledger.have
            if share.retired or not mask:
                continue
            books.admit(mask & ~books.rows.admitted)
            books.count_on(share, mask)
            kept = self.keep_blocks(share, fragment, mask, layout.data)
            if kept and not fragment.is_reserved:
                books.reserve(kept)
            elif kept:
                fragment.is_reserved = False

    # -- answers --------------------------------------------------------------

    def keep(self, read: Read, data: bytes) -> int:
        """Put an answer where it belongs; how much of its reservation stays in use."""
        books, share = self._books, read.share
        if read.start == 0 and share.layout is None:
            try:
                share.layout = parse_header(data)
            except errors.LayoutInvalid as error:
                books.advise(share, 0, V2_HEADER_SIZE, str(error))
                books.retire(share, f"LayoutInvalid: {error}")
                return 0
            books.check_place(share)
        if read.kind is not Kind.BLOCKS or books.metadata.geometry is None:
            share.keep_fragment(read.start, read.stop, data)
            self._keeps = True
            return len(data)
        if read.mask == 0:
            books.counters.bytes_wasted += len(data)
            return 0
        fragment = Fragment(read.start, read.stop, data)
        return self.keep_blocks(share, fragment, read.mask, read.data_start)

    def keep_blocks(self, share: Share, answer: Fragment, mask: int, data_start: int) -> int:
        """Keep the blocks in *mask* that *answer* brought, checked if the share is whole.

        :param data_start: where the share's blocks were thought to begin.
        :return: bytes kept.
        """
        books, geometry, ledger = self._books, self._books.geometry, share.ledger
        layout, data = books.layout_of(share), answer.data
        if answer.start == 0 and layout.uri_extension < len(data):
            mask &= ~self._check_whole(share, answer, mask)
        base = answer.start - layout.data
        first, stop = geometry.whole_blocks(base, base + len(data))
        got = mask_of(first, stop) & mask
        missing = mask & ~got
        if missing and data_start == layout.data:
            books.refuse(share, missing)  # the share ends before them
        elif missing:  # they were asked at the wrong place
            ledger.on_lost(missing)
            books.rows.uncover(missing)
        rows = books.rows
        live = got & rows.admitted & ~rows.decoding & ~ledger.have & ~ledger.bad
        ledger.on_lost(got & ~live)
        if not live:
            books.counters.bytes_wasted += len(data)
            return 0
        books.hold(share, live)
        share.data_start = layout.data
        view = memoryview(data)[geometry.block_start(first) - base :]
        share.keep_blocks(geometry, first, stop, view, live, len(data))
        rows.on_blocks(share.shnum, live)
        return len(data)

    def _check_whole(self, share: Share, whole: Fragment, mask: int) -> int:
        """Check a share that is all here; the blocks that cannot be trusted."""
        books = self._books
        ueb = books.metadata.ueb
        assert ueb is not None
        told: set[tuple[int, int]] = set()
        bad = 0
        segments = [segnum for first, stop in runs_of(mask) for segnum in range(first, stop)]
        faults = check_whole(
            whole, share.shnum, books.layout_of(share), books.geometry, ueb, segments
        )
        for segnum, reason, start, stop in faults:
            bad |= 1 << segnum
            if (start, stop) not in told:
                told.add((start, stop))
                books.advise(share, start, stop, reason)
            if reason.startswith("BadHashError"):
                books.last_failure = reason
        if bad:
            books.condemn(share, bad)
        return bad

    # -- ciphertext hashes ----------------------------------------------------

    def seek_pages(self, upcoming: int, now: float) -> None:
        """Fetch the hashes of what is admitted, or of what comes next.

        :param upcoming: segments that readers need and nobody works on yet.
        """
        books = self._books
        tree = books.metadata.tree
        assert tree is not None
        wanted = books.rows.admitted or upcoming & -upcoming
        self._complete = True
        for segnum in self._page_samples(wanted):
            self._complete = self._seek_page(segnum, now) and self._complete

    def drop_fragments(self) -> None:
        """Forget bytes of shares that proved what they could."""
        if self._complete and self._keeps:
            self._keeps = False
            for share in self._books.shares.values():
                if share.evidence_open:
                    self._keeps = True
                else:
                    self._books.release(share.drop_fragments())

    def _seek_page(self, segnum: int, now: float) -> bool:
        """Get on with the pages above *segnum*; whether they are all here."""
        books = self._books
        tree = books.metadata.tree
        assert tree is not None
        page = tree.missing_page(segnum)
        while page is not None:
            share = self._pick_source(lambda share: not share.hashes_bad)
            if share is None:
                underway = any(read.kind is Kind.METADATA for read in books.reads)
                if not underway and books.search.until is None and not books.search_again(now):
                    books.lose(segnum, books.shortage())
                return False
            needs = books.metadata.seek_page(share, page)
            books.check_place(share)
            self._report_faults()
            if needs:
                books.ask_ranges(share, Kind.METADATA, needs, now)
                if not share.retired:
                    return False
            page = tree.missing_page(segnum)
        return True

    def _page_samples(self, wanted: int) -> list[int]:
        """The lowest segment of *wanted* in each page of leaves."""
        tree = self._books.metadata.tree
        assert tree is not None
        samples = []
        while wanted:
            segnum = (wanted & -wanted).bit_length() - 1
            samples.append(segnum)
            if tree.levels == 0:
                break
            _first, stop = tree.leaves_of(tree.page_for(segnum, tree.levels))
            wanted = wanted >> stop << stop
        return samples
