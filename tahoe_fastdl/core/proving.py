"""From k blocks to a proved segment: decoding, and inquests when it fails.

Pure.  A batch is a run of segments that the same k shares give in one piece
each.  A segment that does not match its ciphertext hash is put under inquest:
its blocks are held against their own shares' hashes, liars are replaced, and
it is decoded again from proved blocks only.
"""

from __future__ import annotations

import functools
from operator import or_

from attrs import define

from .. import errors
from . import records as r
from .books import Books
from .forensics import Inquest, Verdict, examine, read_layout
from .geometry import mask_of
from .reads import Kind
from .share import Share
from .window import MIB

# One worker call: small enough to overlap with receiving, large enough that
# the call itself (0.1 ms) and the books of k shares do not count.
DECODE_BYTES = 2 * MIB
MAX_DECODES = 2  # Tahoe's CPU pool has a thread a core; more would only queue


@define(eq=False)
class Batch:
    """Segments ``[first, stop)`` in a worker, from these shares."""

    first: int
    stop: int
    shares: tuple[int, ...]
    reserved_bytes: int


class Proving:
    """The part of a download that turns blocks into segments."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._batches: dict[int, Batch] = {}
        self._last_batch = 0
        self._growth = -1, 0  # of which segment it is known what decoding from there adds

    def reset(self) -> None:
        """Nobody reads any more: what a worker still brings is dropped."""
        self._batches.clear()

    # -- decoding -------------------------------------------------------------

    def decode(self) -> None:
        """Start workers on what is complete, in file order."""
        books, rows = self._books, self._books.rows
        tree = books.metadata.tree
        assert tree is not None
        for segnum, inquest in rows.inquests.items():
            good = {books.shares[s].shnum: books.shares[s] for s in sorted(inquest.good)}
            if len(good) >= books.k and not rows.decoding >> segnum & 1 and tree.leaf(segnum):
                if not self._has_room(segnum, segnum + 1):
                    return
                self._start(segnum, segnum + 1, list(good.values())[: books.k])
        ready = rows.ready
        while ready and len(self._batches) < MAX_DECODES:
            segnum = (ready & -ready).bit_length() - 1
            if tree.leaf(segnum) is None:
                return
            if self._outruns_readers(segnum):
                ready &= self._wanted_without(segnum)
                continue
            run = ready >> segnum
            stop = segnum + (~run & (run + 1)).bit_length() - 1
            stop = min(stop, segnum + max(1, self._most_bytes() // books.geometry.segment_size))
            if tree.levels:
                stop = min(stop, tree.leaves_of(tree.page_for(segnum, tree.levels))[1])
            chosen = self._holders(segnum)
            for share in chosen:
                stop = share.block_run(segnum, stop)
            self._growth = segnum, self._growth_of(segnum, stop, chosen)
            if self._outruns_readers(segnum):
                continue
            if not self._has_room(segnum, stop):
                return
            self._start(segnum, stop, chosen)
            ready &= rows.ready

    def _growth_of(self, first: int, stop: int, chosen: list[Share]) -> int:
        """By how much more bytes are held when these are decoded and not taken yet.  An answer
        is held until its last block is used: a long one that is half decoded is there one and
        a half times."""
        geometry, mask = self._books.geometry, mask_of(first, stop)
        length = geometry.segment_start(stop) - geometry.segment_start(first)
        return length - sum(share.would_free(mask) for share in chosen)

    def _outruns_readers(self, segnum: int) -> bool:
        """Whether decoding the batch that begins there has to wait until a reader takes what
        is decoded already.  Not known, and False, of any but the last one looked at."""
        books, account = self._books, self._books.turns.account
        known, growth = self._growth
        held_bytes = account.used_bytes - account.decoding_bytes + account.promised_bytes
        if known != segnum or held_bytes + growth <= account.limit_bytes:
            return False
        return not any(
            reader.todo & -reader.todo == 1 << segnum and books.is_starving(reader)
            for reader in books.readers.values()
        )

    def _wanted_without(self, segnum: int) -> int:
        """The segments that readers want who do not want this one."""
        todos = (reader.todo for reader in self._books.readers.values())
        return functools.reduce(or_, (todo for todo in todos if not todo >> segnum & 1), 0)

    def _most_bytes(self) -> int:
        """What one batch decodes into, so that all workers find room for theirs."""
        return min(DECODE_BYTES, self._books.turns.budget.most_decoding_bytes() // MAX_DECODES)

    def _has_room(self, first: int, stop: int) -> bool:
        """Whether a worker may decode these segments now; if not, that is waited for."""
        books, geometry = self._books, self._books.geometry
        turns, budget = books.turns, books.turns.budget
        length = geometry.segment_start(stop) - geometry.segment_start(first)
        if budget.workers.lets(turns) and budget.may_decode(length):
            return True
        turns.wait_in(budget.workers, lambda: budget.may_decode(length))
        return False

    def _holders(self, segnum: int) -> list[Share]:
        """k shares of distinct shnums that hold the block, primaries first."""
        by_shnum: dict[int, Share] = {}
        for share in self._books.counted_on.values():
            if share.ledger.have >> segnum & 1:
                by_shnum.setdefault(share.shnum, share)
        return [by_shnum[shnum] for shnum in sorted(by_shnum)[: self._books.k]]

    def _start(self, first: int, stop: int, chosen: list[Share]) -> None:
        books = self._books
        geometry, tree = books.geometry, books.metadata.tree
        assert tree is not None and len(chosen) == books.k
        hashes = tuple(tree.leaf(segnum) or b"" for segnum in range(first, stop))
        length = geometry.segment_start(stop) - geometry.segment_start(first)
        books.turns.account.begin_decoding(length)
        self._last_batch += 1
        books.counters.batches += 1
        shares = tuple(share.id for share in chosen)
        self._batches[self._last_batch] = Batch(first, stop, shares, length)
        books.rows.ready &= ~mask_of(first, stop)
        books.rows.decoding |= mask_of(first, stop)
        sources = tuple(
            r.Source(share.shnum, share.blocks(geometry, first, stop)) for share in chosen
        )
        books.out.append(r.Decode(self._last_batch, first, stop, sources, hashes))

    def finish(self, number: int, bad: tuple[int, ...]) -> tuple[int, int] | None:
        """A batch left its worker.

        :return: the segments that are proved, and the bytes that stay reserved
            as long as the batch is held, the bad ones among them; None if
            everybody left meanwhile.
        """
        books = self._books
        batch = self._batches.pop(number, None)
        if batch is None:
            return None
        for segnum in bad:
            self._on_bad(segnum, batch)
        books.turns.account.end_decoding(batch.reserved_bytes)
        good = mask_of(batch.first, batch.stop) & ~sum(1 << segnum for segnum in bad)
        books.rows.finish(good)
        books.forget_blocks(good)
        return good, batch.reserved_bytes

    def _on_bad(self, segnum: int, batch: Batch) -> None:
        """A segment does not match its hash: somebody lied, or the uploader did."""
        inquest = self._books.rows.inquests.get(segnum)
        if inquest is not None and set(batch.shares) <= inquest.good:
            text = f"hash failure in ciphertext_hash_tree: segnum={segnum}"
            self._books.lose(segnum, errors.BadCiphertextHash(text))
            return
        if inquest is None:
            self._books.counters.inquests += 1
        self.open(segnum)

    # -- inquests -------------------------------------------------------------

    def open(self, segnum: int) -> None:
        """From now on the blocks of *segnum* are proved one by one."""
        self._books.rows.open_inquest(segnum)

    def examine(self, now: float) -> None:
        """Get on with the verdicts on all blocks under inquest."""
        for segnum, inquest in list(self._books.rows.inquests.items()):
            for share in list(self._books.shares.values()):
                seen = share.id in inquest.good or share.id in inquest.unprovable
                if share.ledger.have >> segnum & 1 and not seen:
                    self._examine(share, segnum, inquest, now)

    def reconsider(self, share: Share) -> None:
        """A proof of *share* that was given up has come after all."""
        share.proof_bad = False
        for inquest in self._books.rows.inquests.values():
            inquest.unprovable.discard(share.id)

    def is_examining(self, segnum: int, inquest: Inquest) -> bool:
        """Whether a verdict on some block is still out."""
        return any(
            share.ledger.have >> segnum & 1
            and share.id not in inquest.good
            and share.id not in inquest.unprovable
            for share in self._books.shares.values()
        )

    def _examine(self, share: Share, segnum: int, inquest: Inquest, now: float) -> None:
        books = self._books
        ueb = books.metadata.ueb
        assert ueb is not None
        read_layout(share)
        if books.check_place(share):
            return
        evidence = examine(share, segnum, books.geometry, ueb)
        share.evidence_open = bool(evidence.needs) and not share.retired
        if share.evidence_open:
            books.ask_ranges(share, Kind.EVIDENCE, list(evidence.needs), now)
        elif evidence.verdict is Verdict.GOOD:
            inquest.good.add(share.id)
            inquest.guesses = None
        elif evidence.verdict is Verdict.BAD:
            books.advise(share, *evidence.culprit, evidence.reason)
            books.condemn(share, 1 << segnum)
        else:
            if evidence.reason and not share.proof_bad:
                books.advise(share, *evidence.culprit, evidence.reason)
                books.last_failure = f"BadHashError: {evidence.reason}"
            share.proof_bad = True
            inquest.unprovable.add(share.id)
            inquest.guesses = None
            books.rows.uncover(1 << segnum)

    def guess(self, segnum: int, inquest: Inquest, is_last: bool) -> None:
        """Too few blocks can be proved: try the others, the segment's hash decides.

        :param is_last: no further block is on its way; without a guess left
            the segment is lost.
        """
        books = self._books
        if not self._has_room(segnum, segnum + 1):
            return
        holders = {s.id: s.shnum for s in books.shares.values() if s.ledger.have >> segnum & 1}
        chosen = inquest.next_guess(books.k, holders)
        if chosen is None and not is_last:
            return
        if chosen is None:
            books.lose(segnum, books.shortage(segnum, inquest.good))
        elif books.metadata.tree is not None and books.metadata.tree.leaf(segnum) is not None:
            self._start(segnum, segnum + 1, [books.shares[share] for share in chosen])
