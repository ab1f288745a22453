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

from tahoe_fastdl.core.window import BRISK_S, MIB, SLOW_S, SPARE_BYTES, Account, Budget, Line

from .strategies import examples

TOTAL = 1000


class BudgetMachine(RuleBasedStateMachine):
    """Accounts that come and go, and take bytes when there is room."""

    accounts: Bundle[Account] = Bundle("accounts")

    def __init__(self) -> None:
        super().__init__()
        self.budget = Budget(TOTAL)
        self.held: dict[Account, list[int]] = {}
        self.decoding: dict[Account, int] = {}  # a worker's, one of those held
        self.promised: dict[Account, int] = {}
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
        self.decoding.pop(account, None)
        self.promised.pop(account, None)

    @rule(account=accounts, length=st.one_of(st.integers(0, 200), st.integers(0, 3 * TOTAL)))
    def reserve(self, account: Account, length: int) -> None:
        """It takes bytes, if there is room."""
        used = sum(map(sum, self.held.values()))
        mine = sum(self.held[account])
        room = account.has_room(length)
        steady = used - sum(self.decoding.values()) + sum(self.promised.values())
        mine += self.promised.get(account, 0)
        used += sum(self.promised.values())
        most = self.budget.long_bytes() if account.takes_long else self.budget.most_steady_bytes()
        free = steady + length <= most
        assert room == (used == 0 or (free and (mine == 0 or mine + length <= account.limit_bytes)))
        if room:
            account.reserve(length)
            self.held[account].append(length)
            self.peak = max(self.peak, sum(map(sum, self.held.values())))

    @rule(account=accounts)
    def release(self, account: Account) -> None:
        """A piece is not needed any more."""
        if self.held[account] and account not in self.decoding:
            account.release(self.held[account].pop())

    @rule(account=accounts, length=st.integers(0, 400))
    def decode(self, account: Account, length: int) -> None:
        """Its worker begins, if it may."""
        others = sum(self.decoding.values())
        may = self.budget.may_decode(length)
        assert may == (others == 0 or others + length <= self.budget.most_decoding_bytes())
        if may and account not in self.decoding:
            account.begin_decoding(length)
            self.decoding[account] = length
            self.held[account].append(length)
            self.peak = max(self.peak, sum(map(sum, self.held.values())))

    @rule(account=accounts, length=st.integers(0, 200))
    def promise(self, account: Account, length: int) -> None:
        """So much of what it admitted waits for a slot; it says so anew each time."""
        account.promise(length)
        self.promised[account] = length

    @rule(account=accounts, is_so=st.booleans())
    def take_long(self, account: Account, is_so: bool) -> None:
        """It takes long stripes from now on, or does not."""
        account.takes_long = is_so

    @rule(account=accounts)
    def decoded(self, account: Account) -> None:
        """Its worker is done; what it decoded waits."""
        account.end_decoding(self.decoding.pop(account, 0))

    @invariant()
    def adds_up(self) -> None:
        """Used bytes are those reserved and not released, of each account and in all."""
        for account, pieces in self.held.items():
            assert account.used_bytes == sum(pieces)
        assert self.budget.used_bytes == sum(map(sum, self.held.values()))
        assert self.budget.peak_bytes == self.peak
        assert self.budget.decoding_bytes == sum(self.decoding.values())
        assert self.budget.promised_bytes == sum(self.promised.values())

    @invariant()
    def shared_out_fairly(self) -> None:
        """What accounts may ask for leaves a part for decoding and one for newcomers."""
        fair = [account.limit_bytes for account in self.held if not account.takes_long]
        assert sum(fair) + self.budget.most_decoding_bytes() + TOTAL // 6 <= TOTAL
        for limit_bytes in fair:
            assert limit_bytes >= TOTAL // 2 // len(self.held) - 1


class Laws(SynchronousTestCase):
    """What holds whatever happens."""

    def test_any_order(self) -> None:
        """No order of opening, reserving, releasing and closing loses or doubles a byte."""
        run_state_machine_as_test(BudgetMachine, settings=examples(60, stateful_step_count=40))

    def test_brisk(self) -> None:
        """One who holds what was decoded for too long is slow, and that is not forgotten at
        once when it takes that."""
        budget = Budget(MIB)
        account, _other = budget.open(), budget.open()
        self.assertTrue(budget.is_brisk(0.0))
        account.held_since = 1.0
        self.assertTrue(budget.is_brisk(1.0 + BRISK_S))
        late = 1.0 + 1.1 * BRISK_S
        self.assertFalse(budget.is_brisk(late))
        account.held_since = late
        self.assertFalse(budget.is_brisk(late))
        budget.close(account)
        self.assertFalse(budget.is_brisk(late + SLOW_S))
        self.assertTrue(budget.is_brisk(late + 1.01 * SLOW_S))

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
            part = min(newcomer.limit_bytes, SPARE_BYTES // 4)
            self.assertTrue(newcomer.has_room(part))
            newcomer.reserve(1)
            self.assertTrue(newcomer.has_room(part - 1))
            self.assertLessEqual(budget.used_bytes, 64 * MIB)

        check()

    def test_parts(self) -> None:
        """Each has what it would have with one more, so ten have most of the budget in use."""
        budget = Budget(60 * MIB)
        parts = {}
        for count in range(1, 11):
            account = budget.open()
            parts[count] = account.limit_bytes / MIB
        self.assertEqual(52, parts[1])  # all but 4 for decoding and 4 for a newcomer
        self.assertEqual((20, 15, 12), (parts[2], parts[3], parts[4]))
        self.assertAlmostEqual(5.2, parts[10], places=3)  # 52 again

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
        self.assertEqual(225, other.limit_bytes)
        budget.close(one)
        self.assertEqual((0, 450), (budget.used_bytes, other.limit_bytes))

    def test_limits_hold(self) -> None:
        """Whoever always asks first, what is requested and what is decoded each stay within
        their parts, so together within the budget."""

        @examples(100)
        @given(st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(1, 200))))
        def check(steps: list[tuple[int, bool, int]]) -> None:
            budget = Budget(TOTAL)
            accounts = [budget.open() for _ in range(5)]
            for number, is_decoding, length in steps:
                account = accounts[number]
                if is_decoding and length <= budget.most_decoding_bytes():
                    if budget.may_decode(length):
                        account.begin_decoding(length)
                elif account.has_room(length):
                    account.reserve(length)
            self.assertLessEqual(budget.used_bytes, TOTAL)

        check()


class Turns(SynchronousTestCase):
    """Who waits comes before who looks at the right moment."""

    def test_first_come(self) -> None:
        """Only the first is let through; asking again keeps the place, leaving opens it."""
        line = Line()
        self.assertTrue(line.lets("anybody"))
        for who in ("first", "second", "first"):
            line.join(who)
        self.assertEqual([True, False, False], [line.lets(w) for w in ("first", "second", "new")])
        line.leave("first")
        line.leave("never there")
        self.assertEqual([False, True, False], [line.lets(w) for w in ("first", "second", "new")])
        line.join("first")
        self.assertFalse(line.lets("first"))
        line.leave("second")
        self.assertTrue(line.lets("first"))
