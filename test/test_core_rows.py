"""The books of segments against plain sets."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from tahoe_fastdl.core.rows import Rows
from tahoe_fastdl.core.share import Share

from .strategies import examples, masks

BITS = 8
K = 3


class RowsMachine(RuleBasedStateMachine):
    """Blocks come and go for segments in any state; shares hold them in their ledgers."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = Rows(K)
        # Two servers have shares 0 and 1: a share number counts once.
        self.shares = [Share(i, shnum, 0) for i, shnum in enumerate((0, 1, 2, 3, 0, 1))]
        self.taken = 0  # given to a worker

    @rule(mask=masks(BITS))
    def admit(self, mask: int) -> None:
        """There is room for these."""
        self.rows.admit(mask)

    @rule(which=st.integers(0, 5), mask=masks(BITS))
    def blocks(self, which: int, mask: int) -> None:
        """A share brings blocks of segments that are wanted and not being decoded."""
        share = self.shares[which]
        mask &= self.rows.admitted & ~self.rows.decoding & ~share.ledger.have
        share.ledger.on_answered(mask)
        self.rows.on_blocks(share.shnum, mask)

    @rule(which=st.integers(0, 5), mask=masks(BITS))
    def blocks_gone(self, which: int, mask: int) -> None:
        """Blocks prove wrong."""
        share = self.shares[which]
        mask &= share.ledger.have & ~self.rows.decoding
        share.ledger.on_unwanted(mask)
        self.rows.uncover(mask)
        self.rows.recount(mask, self.shares)

    @rule(mask=masks(BITS))
    def cover(self, mask: int) -> None:
        """k shares are counted on."""
        self.rows.covered |= mask & self.rows.admitted

    @precondition(lambda self: self.rows.ready)
    @rule()
    def decode(self) -> None:
        """What is ready goes to a worker."""
        self.rows.decoding |= self.rows.ready
        self.rows.ready = 0

    @rule(mask=masks(BITS))
    def finish(self, mask: int) -> None:
        """Segments are decoded, lost or not wanted any more."""
        self.rows.finish(mask)
        for share in self.shares:
            share.ledger.on_unwanted(mask)

    @rule(segnum=st.integers(0, BITS - 1))
    def inquest(self, segnum: int) -> None:
        """A segment is put under inquest."""
        if self.rows.admitted >> segnum & 1:
            inquest = self.rows.open_inquest(segnum)
            assert self.rows.open_inquest(segnum) is inquest

    @invariant()
    def laws(self) -> None:
        """A segment is ready exactly when k distinct share numbers are here and nobody has it."""
        rows = self.rows
        rows.check_invariants()
        for segnum in range(BITS):
            numbers = {s.shnum for s in self.shares if s.ledger.have >> segnum & 1}
            busy = rows.decoding >> segnum & 1 or segnum in rows.inquests
            assert bool(rows.ready >> segnum & 1) == (len(numbers) >= K and not busy)
            assert segnum not in rows.inquests or rows.admitted >> segnum & 1


class Laws(SynchronousTestCase):
    """What holds whatever happens."""

    def test_any_order(self) -> None:
        """No order of blocks, inquests and endings makes a segment ready with too few blocks."""
        run_state_machine_as_test(RowsMachine, settings=examples(60, stateful_step_count=40))

    def test_laws_are_checked(self) -> None:
        """Masks that contradict each other are caught."""
        for covered, ready, decoding, admitted in (
            (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 1, 1, 1),
        ):  # fmt: skip
            rows = Rows(1, admitted=admitted, covered=covered, ready=ready, decoding=decoding)
            self.assertRaises(AssertionError, rows.check_invariants)
        rows = Rows(1, admitted=1)
        rows.open_inquest(0)
        rows.ready = 1
        self.assertRaises(AssertionError, rows.check_invariants)
