"""What may be seen of a download while it runs, for whoever records it.

Pure and read-only: nothing here moves a mask, a counter or a revision, so a
download that is watched decides as one that is not.  Nothing is kept either;
each answer is worked out when it is asked for.
"""

from __future__ import annotations

from attrs import define, frozen

from .books import Books
from .reads import Kind, Read, Stage


@define  # frozen ones take three times as long to make, and there is one for each answer
class ReadNow:
    """A read that has not ended, as it is now."""

    id: int
    share: int
    shnum: int
    server: int
    kind: Kind
    stage: Stage
    first_segment: int  # of the blocks it is to bring; -1: none, or not known yet
    stop_segment: int


@frozen
class Standing:
    """How a download stands; bytes and plain numbers, sizes None before the UEB is here."""

    in_flight_bytes: int  # asked for and neither here nor given up
    held_bytes: int  # reserved in the budget
    limit_bytes: int  # what it may reserve
    changes: int  # of its books and of all bitmaps
    recomputations: int  # plans and desires
    segment_size: int | None
    num_segments: int | None


class Watching:
    """A window into the books of one download."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def wasted_bytes(self) -> int:
        """Bytes that arrived and helped nobody, since the download was made."""
        return self._books.counters.bytes_wasted

    def read(self, read_id: int) -> ReadNow | None:
        """The read of this number, or None if it has ended or nobody waits for it."""
        read = self._books.reads.find(read_id)
        return None if read is None else _now(read)

    def under_way(self) -> list[ReadNow]:
        """All reads that have not ended.  Cost: O(reads in flight)."""
        return [_now(read) for read in self._books.reads]

    def overdue(self) -> list[ReadNow]:
        """All reads that are late, stalled or worse.  Cost: O(reads in flight)."""
        return [_now(read) for read in self._books.reads if read.stage is not Stage.SENT]

    def hedged_servers(self, read_id: int) -> tuple[int, ...]:
        """Servers whose late reads this one, just sent, is to make up for.

        Cost: O(shares), and O(reads in flight) for metadata.
        """
        read = self._books.reads.find(read_id)
        if read is None:
            return ()
        if read.kind is Kind.METADATA:
            late = [
                other.share.server
                for other in self._books.reads
                if other.kind is Kind.METADATA and other.stage in (Stage.LATE, Stage.STALLED)
            ]
        elif read.kind is Kind.BLOCKS:
            mask = read.mask or 1  # a scout's blocks are not known; one that is late has bit 0
            late = [
                share.server
                for share in self._books.shares.values()
                if share.late and share.late & mask and share is not read.share
            ]
        else:
            late = []
        return tuple(dict.fromkeys(late))

    def bad_blocks(self, share: int) -> int:
        """The blocks of *share* that are missing or were proved wrong, a bit each."""
        found = self._books.shares.get(share)
        return 0 if found is None else found.ledger.bad

    def unasked_blocks(self) -> list[tuple[int, int, int, int]]:
        """What is wanted and not asked for yet: ``(share, shnum, server, mask)``.

        Counts no recomputation, unlike ``Ledger.desire``.  Cost: O(shares counted on).
        """
        found = []
        for share in self._books.counted_on.values():
            ledger = share.ledger
            mask = ledger.wanted & ~(ledger.pending | ledger.have | ledger.bad)
            if mask and not share.retired:
                found.append((share.id, share.shnum, share.server, mask))
        return found

    def awaited(self) -> list[int]:
        """Shares whose reads count as stalled and for which no other can stand in, by number.

        Fewer than k share numbers are left on servers that answer, as far as is known.
        Cost: O(servers) while none is silent, else O(shares + reads in flight).
        """
        books = self._books
        if not any(server.stalled for server in books.servers.values()):
            return []
        stalled = [
            read for read in books.reads if read.stage is Stage.STALLED and not read.share.retired
        ]
        mask = 0
        for read in stalled:
            mask |= read.mask & books.rows.admitted
        prompt = {
            share.shnum
            for share in books.shares.values()
            if not share.retired
            and not books.servers[share.server].stalled
            and not share.ledger.bad & mask
        }
        if len(prompt) >= books.k:
            return []
        return [share for _shnum, share in sorted({(r.share.shnum, r.share.id) for r in stalled})]

    def standing(self) -> Standing:
        """The numbers of this moment.  Cost: O(shares + reads in flight)."""
        books = self._books
        geometry = books.metadata.geometry
        account = books.turns.account if books.turns.is_open else None
        changes, recomputations = books.counters.changes, books.counters.plans
        for share in books.shares.values():
            changes += share.ledger.changes
            recomputations += share.ledger.recomputations
        return Standing(
            in_flight_bytes=sum(read.length for read in books.reads),
            held_bytes=account.used_bytes if account is not None else 0,
            limit_bytes=account.limit_bytes if account is not None else 0,
            changes=changes,
            recomputations=recomputations,
            segment_size=geometry.segment_size if geometry is not None else None,
            num_segments=geometry.num_segments if geometry is not None else None,
        )


def _now(read: Read) -> ReadNow:
    mask = read.mask
    return ReadNow(
        id=read.id,
        share=read.share.id,
        shnum=read.share.shnum,
        server=read.share.server,
        kind=read.kind,
        stage=read.stage,
        first_segment=(mask & -mask).bit_length() - 1,
        stop_segment=mask.bit_length() if mask else -1,
    )
