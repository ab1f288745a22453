"""Answers to reads: each becomes blocks, or is kept until it is known what it is.

Pure.  Everything a server sent comes through here, and is checked for its
place and length before anything is cut out of it.
"""

from __future__ import annotations

from .. import errors
from .books import Books
from .forensics import check_whole
from .geometry import mask_of
from .layout import V2_HEADER_SIZE, parse_header
from .plan import runs_of
from .reads import Kind, Read
from .share import Fragment, Share


class Intake:
    """The part of a download that puts answers where they belong."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._keeps = False  # some share may hold bytes that are not blocks

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

    def drop_fragments(self) -> None:
        """All metadata is here: forget bytes of shares that proved what they could."""
        if not self._keeps:
            return
        self._keeps = False
        for share in self._books.shares.values():
            if share.evidence_open:
                self._keeps = True
            else:
                self._books.release(share.drop_fragments())
