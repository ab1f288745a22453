"""What the file looks like: the UEB, and pages of ciphertext hashes.

Pure.  One share is asked for the UEB and the hash leaves, in the same round
trip as the scouts; what it gives is proved by the verifycap, and when it
gives nothing or lies the next one is asked.
"""

from __future__ import annotations

from collections.abc import Callable

from .. import errors
from . import records as r
from .books import Books
from .readers import Reader
from .reads import Kind, Read
from .scouting import Scouts
from .servers import Server
from .share import Share


class Opening:
    """The part of a download that learns what the file looks like."""

    def __init__(self, books: Books, scouts: Scouts) -> None:
        self._books = books
        self._scouts = scouts
        self._sources: list[Share] = []  # whom we ask for metadata

    def reset(self) -> None:
        """Nobody reads any more."""
        self._sources.clear()

    def distrust(self, read: Read) -> None:
        """*read* is late: ask another share for what it was to bring."""
        if read.kind is Kind.METADATA:
            self._sources = [share for share in self._sources if share is not read.share]
        else:
            self._scouts.distrust(read.share)

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
        return (
            share.suspect, bool(server.stalled), self._is_busy(server),
            not self._scouts.has_asked(share), server.expected_s(0), share.shnum,
        )  # fmt: skip

    def _is_busy(self, server: Server) -> bool:
        """Over HTTP a second request beside a first opens a connection, which takes longer."""
        return server.is_side_by_side and server.reads_in_flight > 0

    def _is_asked(self, share: Share) -> bool:
        """Whether metadata of *share* are on their way."""
        return any(read.share is share and read.kind is Kind.METADATA for read in self._books.reads)

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
            server = books.servers[share.server]
            if self._is_busy(server) and books.search.wait_for_more(now):
                if not self._is_asked(share):  # who answers meanwhile may be a better one
                    self._sources.remove(share)
                return
            try:
                needs = books.metadata.seek_ueb(share, self._scouts.first_byte())
            except (errors.MalformedUEB, errors.FileTooLarge) as error:
                for reader in books.readers.values():
                    books.fail(reader, error)
                return
            self._report_faults()
            if needs:
                books.ask_ranges(share, Kind.METADATA, needs, now)
                if not share.retired:
                    return
        for reader in books.readers.values():
            self.resolve(reader)
        self._scouts.convert()

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

    # -- ciphertext hashes ----------------------------------------------------

    def seek_pages(self, upcoming: int, now: float) -> bool:
        """Fetch the hashes of what is admitted, or of what comes next.

        :param upcoming: segments that readers need and nobody works on yet.
        :return: whether all of them are here.
        """
        books = self._books
        tree = books.metadata.tree
        assert tree is not None
        wanted = books.rows.admitted or upcoming & -upcoming
        is_complete = True
        for segnum in self._page_samples(wanted):
            is_complete = self._seek_page(segnum, now) and is_complete
        return is_complete

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
