"""Worlds for downloads in virtual time: servers, their shares and faults, readers.

Plain descriptions; ``simulator`` runs them.
"""

from __future__ import annotations

from enum import Enum

from attrs import frozen

from tahoe_fastdl.core.window import MIB

from .sharemaker import BLOCK_HASHES, CRYPTTEXT, HEADER, SHARE_HASHES, UEB, EncodedFile, flip

PATIENCE_S = 10.0


class Mood(Enum):
    """How a server takes one request."""

    GOOD = "good"
    SLOW = "slow"  # longer than its own standard, shorter than our patience
    OVERDUE = "overdue"  # longer than our patience, but it answers
    NEVER = "never"
    FAIL = "fail"
    SHORT = "short"
    EMPTY = "empty"
    GARBLED = "garbled"


HONEST = frozenset({Mood.GOOD, Mood.SLOW})


@frozen
class Damage:
    """Bytes ``[start, stop)`` of a share are wrong; *stop* None: missing to the end."""

    start: int
    stop: int | None = None

    def apply(self, share: bytes) -> bytes:
        """The damaged share."""
        if self.stop is None:
            return share[: self.start]
        for position in range(self.start, min(self.stop, len(share))):
            share = flip(share, position, 1 + position % 255)
        return share

    def touches(self, start: int, stop: int) -> bool:
        """Whether share bytes ``[start, stop)`` are not as they were."""
        return self.start < stop and (self.stop is None or self.stop > start)


@frozen
class PlacedShare:
    """One share on one server."""

    shnum: int
    damage: tuple[Damage, ...] = ()

    def is_intact(self, start: int, stop: int) -> bool:
        """Whether ``[start, stop)`` is as the uploader wrote it."""
        return not any(damage.touches(start, stop) for damage in self.damage)


@frozen
class ServerSpec:
    """One server.  Moods are those of successive requests; the last one stays."""

    shares: tuple[PlacedShare, ...] = ()
    latency_s: float = 0.01
    rate: float = 20e6
    searches: tuple[Mood, ...] = (Mood.GOOD,)
    reads: tuple[Mood, ...] = (Mood.GOOD,)
    max_reads: int = 0

    @property
    def is_live(self) -> bool:
        """Whether every request is answered, in time and as the disk has it."""
        return HONEST.issuperset(self.searches) and HONEST.issuperset(self.reads)


@frozen
class ReaderSpec:
    """One request.  ``segnum`` makes it a ``get_segment``, no range a ``get_segsize``."""

    start: int | None = None
    stop: int | None = None
    segnum: int | None = None
    joins_at: float = 0.0
    leaves_at: float | None = None
    leaves_after: int | None = None  # bytes
    pauses_s: tuple[float, ...] = ()  # after each piece, in turn

    @property
    def may_leave(self) -> bool:
        """Whether it may be gone before it is done."""
        return self.leaves_at is not None or self.leaves_after is not None


def read(start: int, stop: int, joins_at: float = 0.0) -> ReaderSpec:
    """A reader of a range that never pauses and stays to the end."""
    return ReaderSpec(start, stop, joins_at=joins_at)


@frozen
class World:
    """One file on some servers, and who reads it."""

    file: EncodedFile
    servers: tuple[ServerSpec, ...]
    readers: tuple[ReaderSpec, ...]
    budget_bytes: int = 64 * MIB
    segment_size_hint: int = 1024 * 1024
    verify_blocks: bool = False
    patience_s: float = PATIENCE_S
    cpu_busy: float = 0.0
    claimed_size: int | None = None  # what the cap says, if it lies
    seed: int = 0
    shuffle: float = 0.0  # how far events may be late, as a part of their delay

    def is_possible(self, first: int, stop: int) -> bool:
        """Whether segments ``[first, stop)`` must be had, whatever happens.

        So they must if some share on a live server has a good header and UEB,
        some have good ciphertext hashes, and k share numbers have a good block
        of each segment and the hashes to prove it.
        """
        placed = [share for server in self.servers if server.is_live for share in server.shares]
        parts = self.file.parts

        def has(share: PlacedShare, *names: str) -> bool:
            return all(share.is_intact(*parts[name]) for name in (HEADER, *names))

        if not any(has(share, CRYPTTEXT, UEB) for share in placed):
            return False
        provable = [s for s in placed if has(s, CRYPTTEXT, BLOCK_HASHES, SHARE_HASHES)]
        for segnum in range(first, stop):
            block = self.file.block_range(segnum)
            if len({s.shnum for s in provable if s.is_intact(*block)}) < self.file.k:
                return False
        return True


def spread(
    file: EncodedFile, servers: int, shnums: tuple[int, ...] | None = None
) -> tuple[ServerSpec, ...]:
    """Honest servers with the shares dealt out one by one."""
    piles: list[list[PlacedShare]] = [[] for _ in range(servers)]
    for i, shnum in enumerate(range(file.n) if shnums is None else shnums):
        piles[i % servers].append(PlacedShare(shnum))
    return tuple(ServerSpec(tuple(pile)) for pile in piles)
