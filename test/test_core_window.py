"""The byte budget: reserved once, released once, and always room for a newcomer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from tahoe_fastdl.core.window import MIB, SPARE_BYTES, Account, Budget

from .strategies import examples

TOTAL = 1000


class BudgetMachine(RuleBasedStateMachine):
    """Accounts that come and go, and take bytes when there is room."""

    accounts: Bundle[Account] = Bundle("accounts")

    def __init__(self) -> None:
        super().__init__()
        self.budget = Budget(TOTAL)
        self.held: dict[Account, list[int]] = {}
        self.peak = 0

    @rule(target=accounts)
    def open(self) -> Account:
        """A download becomes active."""
        account = self.budget.open()
        self.held[account] = []
        return account

    @rule(account=consumes(accounts))
    def close(self, account: Account) -> None:
        """It is over, whatever it held."""
        self.budget.close(account)
        del self.held[account]

    @rule(account=accounts, length=st.one_of(st.integers(0, 200), st.integers(0, 3 * TOTAL)))
    def reserve(self, account: Account, length: int) -> None:
        """It takes bytes, if there is room."""
        used = sum(map(sum, self.held.values()))
        mine = sum(self.held[account])
        room = account.has_room(length)
        fits = used + length <= TOTAL and (mine == 0 or mine + length <= account.limit_bytes)
        assert room == (used == 0 or fits)
        if room:
            account.reserve(length)
            self.held[account].append(length)
            self.peak = max(self.peak, used + length)

    @rule(account=accounts)
    def release(self, account: Account) -> None:
        """A piece is not needed any more."""
        if self.held[account]:
            account.release(self.held[account].pop())

    @invariant()
    def adds_up(self) -> None:
        """Used bytes are those reserved and not released, of each account and in all."""
        for account, pieces in self.held.items():
            assert account.used_bytes == sum(pieces)
        assert self.budget.used_bytes == sum(map(sum, self.held.values()))
        assert self.budget.peak_bytes == self.peak
        pieces = [length for pieces in self.held.values() for length in pieces if length]
        assert self.budget.used_bytes <= TOTAL or len(pieces) == 1

    @invariant()
    def shared_out_fairly(self) -> None:
        """What accounts may ask for adds up to no more than the budget, and leaves a part free;
        that and what decoding may add is all of it."""
        assert sum(account.limit_bytes for account in self.held) <= TOTAL * 2 // 3
        for account in self.held:
            assert account.limit_bytes + account.spare_bytes == TOTAL // len(self.held)
            assert account.limit_bytes >= TOTAL * 2 // 3 // len(self.held) - 1


class Laws(SynchronousTestCase):
    """What holds whatever happens."""

    def test_any_order(self) -> None:
        """No order of opening, reserving, releasing and closing loses or doubles a byte."""
        run_state_machine_as_test(BudgetMachine, settings=examples(60, stateful_step_count=40))

    def test_newcomer(self) -> None:
        """However many accounts are full, one more finds room for a part of the budget."""

        @examples(100)
        @given(st.integers(1, 40))
        def check(count: int) -> None:
            budget = Budget(64 * MIB)
            accounts = [budget.open() for _ in range(count)]
            for account in accounts:
                while account.has_room(MIB // 8):
                    account.reserve(MIB // 8)
            newcomer = budget.open()
            part = min(newcomer.limit_bytes, SPARE_BYTES)
            self.assertTrue(newcomer.has_room(part))
            newcomer.reserve(1)
            self.assertTrue(newcomer.has_room(part - 1))
            self.assertLessEqual(budget.used_bytes, 64 * MIB)

        check()

    def test_larger_than_the_budget(self) -> None:
        """When nobody holds anything one may take more than all there is; then nobody gets more."""
        budget = Budget(1000)
        one, other = budget.open(), budget.open()
        self.assertTrue(one.has_room(5000))
        one.reserve(5000)
        for account in (one, other):
            self.assertFalse(account.has_room(1))
        self.assertTrue(one.is_alone())
        self.assertFalse(other.is_alone())
        one.release(5000)
        self.assertTrue(other.has_room(5000))

    def test_release_too_much(self) -> None:
        """Giving back what was not taken, or twice, is a broken law."""
        account = Budget(1000).open()
        account.reserve(10)
        account.release(10)
        for length in (1, -1):
            self.assertRaises(AssertionError, account.release, length)

    def test_close(self) -> None:
        """A closed account's bytes are free, and its part is the others'."""
        budget = Budget(900)
        one, other = budget.open(), budget.open()
        one.reserve(200)
        self.assertEqual(300, other.limit_bytes)
        budget.close(one)
        self.assertEqual((0, 600), (budget.used_bytes, other.limit_bytes))
