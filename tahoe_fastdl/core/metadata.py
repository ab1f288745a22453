"""UEB and ciphertext hashes: the same in every share, so fetched from one.

Pure.  Until the UEB is here its place is guessed from the file's size for
the segment sizes that Tahoe wrote by default; one read near the end of one
share brings it and the hash leaves for each guess.  A share that fails is
replaced by another; a late one is doubled.  Ticket #1544.
"""

from __future__ import annotations

from attrs import define, field, frozen

from ..errors import BadHash, FileTooLarge, LayoutInvalid, MalformedUEB
from .forensics import read_layout
from .geometry import Geometry
from .layout import Layout, expected_layout
from .merkle import MerkleTree, Page
from .share import Share
from .ueb import UEB, parse_ueb

# Default segment sizes of Tahoe since 1.19.0 (PR #1251) and before it.
COMMON_SEGMENT_SIZES = (1024 * 1024, 128 * 1024)

# What is asked for at a guessed UEB: real ones have about 330 bytes.
UEB_READ_SIZE = 2048

# Ranges of one share closer than this are fetched in one read: a message
# costs the client as much CPU as 64 KiB of bulk data (misc/bench).
MERGE_GAP = 64 * 1024


def merge(ranges: list[tuple[int, int]], gap: int = MERGE_GAP) -> list[tuple[int, int]]:
    """Ascending disjoint ranges that cover *ranges*, holes below *gap* closed."""
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        if merged and start <= merged[-1][1] + gap:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged


@frozen
class Fault:
    """Bytes ``[start, stop)`` of a share that its server should hear about."""

    share: Share
    start: int
    stop: int
    reason: str


@define
class Metadata:
    """The file's UEB, geometry and proved ciphertext hashes, once they are here."""

    size: int
    k: int
    n: int
    ueb_hash: bytes
    segment_size_hint: int
    ueb: UEB | None = None
    geometry: Geometry | None = None
    tree: MerkleTree | None = None
    version: int | None = None  # of the layout, once one share proved it
    guesses: list[Geometry] = field(factory=list)
    faults: list[Fault] = field(factory=list)
    asked: list[Share] = field(factory=list)  # whom we ask, in order

    def __attrs_post_init__(self) -> None:
        for segment_size in (self.segment_size_hint, *COMMON_SEGMENT_SIZES):
            try:
                guess = Geometry.guess(self.size, self.k, self.n, segment_size)
            except (FileTooLarge, MalformedUEB):
                continue
            if guess not in self.guesses:
                self.guesses.append(guess)

    @property
    def best_guess(self) -> Geometry | None:
        """The geometry if it is known, else the likeliest one."""
        return self.geometry or (self.guesses[0] if self.guesses else None)

    def layouts(self, share: Share) -> list[tuple[Geometry, Layout]]:
        """Where the parts of *share* may lie, likeliest first."""
        known = [self.geometry] if self.geometry else self.guesses
        return [(g, share.layout or expected_layout(g)) for g in known]

    # -- the UEB --------------------------------------------------------------

    def _try_ueb_at(self, share: Share, layout: Layout) -> list[tuple[int, int]] | None:
        """Look for the UEB where *layout* puts it.

        :return: ranges to fetch first, or None: it is not there.
        :raise MalformedUEB, FileTooLarge: it is, and nobody can use it.
        """
        at, width = layout.uri_extension, layout.field_size
        prefix = share.peek(at, width)
        if prefix is None:
            return None if share.was_asked(at, width) else [(at, at + UEB_READ_SIZE)]
        try:
            length = layout.ueb_length(prefix)
        except LayoutInvalid:
            return None
        body = share.peek(at + width, length)
        if body is None:
            if share.was_asked(at + width, length) or share.layout is None:
                return None  # at a guess, a length means nothing yet
            return [(at, at + width + length)]
        try:
            ueb = parse_ueb(body, self.ueb_hash)
        except BadHash:
            return None
        if ueb.size not in (None, self.size):
            raise MalformedUEB(f"a file of {ueb.size} bytes, and the cap says {self.size}")
        self.geometry = Geometry.of(self.size, self.k, self.n, ueb.segment_size)
        self.tree = MerkleTree(self.geometry.num_segments, ueb.crypttext_root_hash)
        self.ueb = ueb
        self.version = layout.version
        return []

    def seek_ueb(self, share: Share, first_byte: int) -> list[tuple[int, int]]:
        """Find the UEB in *share*: the ranges to fetch, none when found or hopeless.

        In the order in which they are wanted: the UEB, and what is likely to be wanted then.

        :param first_byte: where in the file reading begins, for the guess of
            which hashes will be wanted with it.
        """
        if share.layout is None:
            needs: list[tuple[int, int]] = []
            uebs: set[int] = set()
            for geometry, layout in self.layouts(share):
                found = self._try_ueb_at(share, layout)
                if self.ueb is not None:
                    return []
                if found:
                    uebs.update(start for start, _stop in found)
                    needs += found + self._guessed_pages(geometry, layout, first_byte)
            if needs:  # the UEB first: more depends on it
                return sorted(
                    merge(needs), key=lambda span: not any(span[0] <= at < span[1] for at in uebs)
                )
            evidence = read_layout(share)
            if evidence is not None:
                if not evidence.needs:
                    self._give_up_ueb(share, *evidence.culprit, evidence.reason)
                return list(evidence.needs)
        assert share.layout is not None
        found = self._try_ueb_at(share, share.layout)
        if found is None:
            at = share.layout.uri_extension
            self._give_up_ueb(
                share, at, at + UEB_READ_SIZE, "URI extension block does not match the cap"
            )
            return []
        return found

    def _guessed_pages(
        self, geometry: Geometry, layout: Layout, first_byte: int
    ) -> list[tuple[int, int]]:
        tree = MerkleTree(geometry.num_segments, b"")
        segnum = min(first_byte // geometry.segment_size, geometry.num_segments - 1)
        ranges = []
        for page in tree.pages_to(segnum):
            start, length = tree.page_range(page)
            ranges.append(
                (layout.crypttext_hash_tree + start, layout.crypttext_hash_tree + start + length)
            )
        return ranges

    def _give_up_ueb(self, share: Share, start: int, stop: int, reason: str) -> None:
        share.ueb_bad = True
        self.faults.append(Fault(share, start, stop, reason))

    # -- ciphertext hashes ----------------------------------------------------

    def seek_page(self, share: Share, page: Page) -> list[tuple[int, int]]:
        """Find one page of ciphertext hashes in *share*, like :meth:`seek_ueb`."""
        assert self.tree is not None and self.geometry is not None
        offset, length = self.tree.page_range(page)
        layout = share.layout or expected_layout(self.geometry, self.version)
        start = layout.crypttext_hash_tree + offset
        data = share.peek(start, length)
        if data is None and not share.was_asked(start, length):
            return [(start, start + length)]
        try:
            if data is None:
                raise BadHash("share ends before its ciphertext hashes")
            self.tree.accept(page, data)
            return []
        except BadHash as error:
            if share.layout is None:  # perhaps it only lies elsewhere
                evidence = read_layout(share)
                if evidence is None:
                    return self.seek_page(share, page)
                if evidence.needs:
                    return list(evidence.needs)
            share.hashes_bad = True
            self.faults.append(Fault(share, start, start + length, str(error)))
            return []
