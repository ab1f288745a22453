"""The ledger against plain sets."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from tahoe_fastdl.core.ledger import Ledger

from .strategies import examples, masks

BITS = 12


def bits(mask: int) -> set[int]:
    """The set a mask stands for."""
    return {i for i in range(mask.bit_length()) if mask >> i & 1}


class LedgerMachine(RuleBasedStateMachine):
    """Events in any order, kept in sets as well."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.wanted: set[int] = set()
        self.pending: set[int] = set()
        self.have: set[int] = set()
        self.bad: set[int] = set()
        self.before = (0, 0, 0, 0, 0)

    @rule(mask=masks(BITS))
    def want(self, mask: int) -> None:
        """The plan chose this share."""
        self.ledger.on_wanted(mask)
        self.wanted |= bits(mask)

    @rule(mask=masks(BITS))
    def unwant(self, mask: int) -> None:
        """Nobody needs these any more."""
        self.ledger.on_unwanted(mask)
        self.wanted -= bits(mask)
        self.have -= bits(mask)

    @rule(mask=masks(BITS))
    def ask(self, mask: int) -> None:
        """A read was sent, for more than is desired perhaps."""
        self.ledger.on_asked(mask)
        self.pending |= bits(mask) - self.have - self.bad

    @rule(mask=masks(BITS))
    def answer(self, mask: int) -> None:
        """Blocks came, asked for or not."""
        self.ledger.on_answered(mask)
        self.pending -= bits(mask)
        self.have |= bits(mask) - self.bad

    @rule(mask=masks(BITS))
    def lose(self, mask: int) -> None:
        """A read failed."""
        self.ledger.on_lost(mask)
        self.pending -= bits(mask)

    @rule(mask=masks(BITS))
    def refuse(self, mask: int) -> None:
        """Blocks are missing or wrong."""
        self.ledger.on_refused(mask)
        self.pending -= bits(mask)
        self.have -= bits(mask)
        self.bad |= bits(mask)

    @rule()
    def forgive(self) -> None:
        """What was bad may have been mended."""
        self.ledger.on_forgiven()
        self.bad.clear()

    @rule(times=st.integers(1, 3))
    def plan(self, times: int) -> None:
        """The desire is looked at, often more than once."""
        for _ in range(times):
            desire = self.ledger.desire()
        assert bits(desire) == self.wanted - self.pending - self.have - self.bad

    @invariant()
    def same_as_model(self) -> None:
        """All four masks are the model's, and ``changes`` moved if and only if one did."""
        ledger = self.ledger
        recomputations = ledger.recomputations
        now = (ledger.wanted, ledger.pending, ledger.have, ledger.bad)
        assert [bits(mask) for mask in now] == [self.wanted, self.pending, self.have, self.bad]
        assert (now != self.before[:4]) == (ledger.changes > self.before[4])
        self.before = (*now, ledger.changes)
        ledger.check_invariants()
        assert recomputations <= ledger.recomputations <= ledger.changes


class Laws(SynchronousTestCase):
    """What holds whatever happens."""

    def test_any_order(self) -> None:
        """No order of wanting, asking, answering, losing and refusing breaks a ledger law."""
        run_state_machine_as_test(LedgerMachine, settings=examples(60, stateful_step_count=40))

    def test_desire_is_remembered(self) -> None:
        """A thousand looks at an unchanged desire compute it once."""
        ledger = Ledger()
        ledger.on_wanted(0b1111)
        for _ in range(1000):
            self.assertEqual(0b1111, ledger.desire())
        self.assertEqual((1, 1), (ledger.changes, ledger.recomputations))

    def test_nothing_new(self) -> None:
        """An event that says nothing new is no change."""
        ledger = Ledger()
        ledger.on_wanted(0b11)
        ledger.on_asked(0b11)
        ledger.on_answered(0b11)
        changes = ledger.changes
        ledger.on_wanted(0b01)
        ledger.on_asked(0b11)
        ledger.on_answered(0b10)
        ledger.on_lost(0b11)
        ledger.on_refused(0)
        self.assertEqual(changes, ledger.changes)
