"""The state of each segment between being wanted and being delivered.

Pure.  Bit *m* of every mask is segment *m*.  Laws, recounted by
:meth:`Rows.check_invariants`:

* ``covered``, ``ready`` and ``decoding`` are within ``admitted``;
* ``ready`` and ``decoding`` are disjoint;
* a segment under inquest is never ``ready``: its blocks are proved one by one.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field

from .forensics import Inquest
from .share import Share


@define
class Rows:
    """Books of segments that readers wait for."""

    k: int
    admitted: int = 0  # room is reserved, blocks are or will be asked for
    covered: int = 0  # k shares are counted on
    ready: int = 0  # k blocks are here
    decoding: int = 0  # in a worker
    lost: dict[int, Exception] = field(factory=dict)
    inquests: dict[int, Inquest] = field(factory=dict)
    # How many distinct shnums are held: bit i of a segment's count is in plane i, so
    # that one answer counts for all of its segments at once.
    _planes: list[int] = field(factory=list)
    _held: dict[int, int] = field(factory=dict)  # shnum -> segments held

    def admit(self, mask: int) -> None:
        """These segments are wanted and have room."""
        self.admitted |= mask

    def on_blocks(self, shnum: int, mask: int) -> None:
        """Blocks of *shnum* arrived for these segments."""
        held = self._held.get(shnum, 0)
        new = carry = mask & ~held
        self._held[shnum] = held | mask
        planes = self._planes
        for i, plane in enumerate(planes):
            planes[i], carry = plane ^ carry, plane & carry
        if carry:
            planes.append(carry)
        if self.k >> len(planes):
            return
        for i, plane in enumerate(planes):
            new &= plane if self.k >> i & 1 else ~plane
        for segnum in self.inquests:
            new &= ~(1 << segnum)
        self.ready |= new

    def recount(self, mask: int, shares: Iterable[Share]) -> None:
        """Blocks of these segments went away: count what is left."""
        self.forget_counts(mask)
        for share in shares:
            held = share.ledger.have & mask
            if held:
                self.on_blocks(share.shnum, held)

    def forget_counts(self, mask: int) -> None:
        """Nothing is held for these segments."""
        self.ready &= ~mask
        for shnum in self._held:
            self._held[shnum] &= ~mask
        self._planes = [plane & ~mask for plane in self._planes]

    def finish(self, mask: int) -> None:
        """These segments are decoded, lost or not wanted any more."""
        self.forget_counts(mask)
        self.admitted &= ~mask
        self.covered &= ~mask
        self.decoding &= ~mask
        if self.inquests:
            for segnum in [s for s in self.inquests if mask >> s & 1]:
                del self.inquests[segnum]

    def uncover(self, mask: int) -> None:
        """Some share will not give these after all."""
        self.covered &= ~mask

    def open_inquest(self, segnum: int) -> Inquest:
        """From now on the blocks of *segnum* are proved one by one."""
        inquest = self.inquests.setdefault(segnum, Inquest())
        self.ready &= ~(1 << segnum)
        self.decoding &= ~(1 << segnum)
        self.covered &= ~(1 << segnum)
        return inquest

    def check_invariants(self) -> None:
        """:raise AssertionError: a law above does not hold."""
        assert not (self.covered | self.ready | self.decoding) & ~self.admitted
        assert not self.ready & self.decoding
        for segnum in self.inquests:
            assert not self.ready >> segnum & 1
