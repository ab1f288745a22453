"""What one share is to give, was asked for and has given.

Pure.  Bit *m* of every mask is the share's block *m*.  Laws, recounted by
:meth:`Ledger.check_invariants`:

* ``pending``, ``have`` and ``bad`` are pairwise disjoint;
* ``desire() == wanted & ~(pending | have | bad)``;
* ``changes`` moves exactly when one of the masks moves, and a desire is
  recomputed only after that: ``recomputations <= changes``.

This is the bitmap that replaces the Spans arithmetic of the stock
``downloader.share`` (tickets #1170, #1264, #1268).
"""

from __future__ import annotations


class Ledger:
    """The desire/satisfaction bitmaps of one share."""

    __slots__ = (
        "wanted",
        "pending",
        "have",
        "bad",
        "changes",
        "recomputations",
        "_desire",
        "_desire_at",
    )

    def __init__(self) -> None:
        self.wanted = 0
        self.pending = 0
        self.have = 0
        self.bad = 0
        self.changes = 0
        self.recomputations = 0
        self._desire = 0
        self._desire_at = 0

    def desire(self) -> int:
        """Blocks wanted of this share and neither asked for, held nor bad."""
        if self._desire_at != self.changes:
            self._desire = self.wanted & ~(self.pending | self.have | self.bad)
            self._desire_at = self.changes
            self.recomputations += 1
        return self._desire

    def _set(self, wanted: int, pending: int, have: int, bad: int) -> None:
        if (wanted, pending, have, bad) != (self.wanted, self.pending, self.have, self.bad):
            self.wanted, self.pending, self.have, self.bad = wanted, pending, have, bad
            self.changes += 1

    def on_wanted(self, mask: int) -> None:
        """The plan chose this share for these blocks."""
        self._set(self.wanted | mask, self.pending, self.have, self.bad)

    def on_unwanted(self, mask: int) -> None:
        """Nobody needs these blocks of this share any more; held ones go."""
        self._set(self.wanted & ~mask, self.pending, self.have & ~mask, self.bad)

    def on_asked(self, mask: int) -> None:
        """A read for these blocks was sent."""
        mask &= ~(self.have | self.bad)
        self._set(self.wanted, self.pending | mask, self.have, self.bad)

    def on_answered(self, mask: int) -> None:
        """These blocks arrived."""
        mask &= ~self.bad
        self._set(self.wanted, self.pending & ~mask, self.have | mask, self.bad)

    def on_lost(self, mask: int) -> None:
        """The read of these blocks will bring nothing."""
        self._set(self.wanted, self.pending & ~mask, self.have, self.bad)

    def on_refused(self, mask: int) -> None:
        """These blocks are missing from the share or were proved wrong."""
        self._set(self.wanted, self.pending & ~mask, self.have & ~mask, self.bad | mask)

    def on_forgiven(self) -> None:
        """Blocks that were bad may be good by now."""
        self._set(self.wanted, self.pending, self.have, 0)

    def check_invariants(self) -> None:
        """:raise AssertionError: a law above does not hold."""
        assert not self.pending & self.have
        assert not self.pending & self.bad
        assert not self.have & self.bad
        assert self.desire() == self.wanted & ~(self.pending | self.have | self.bad)
        assert self.recomputations <= self.changes
