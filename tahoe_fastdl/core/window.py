"""The byte budget of a node, and how deep one download may reach.

Pure.  One :class:`Budget` serves all downloads of a client; each has an
:class:`Account`.  Laws: every byte requested, received or decoded is reserved
first and released exactly once; accounts together stay within the budget,
with two exceptions, one segment each: a segment larger than the budget, and a
reader that has waited in vain for others to free some (``books.STARVE_S``).
"""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB

# What a download that is alone leaves for newcomers and for what it decodes.
SPARE_BYTES = 8 * MIB


class Budget:
    """Bytes that all downloads of one client may hold together."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self.used_bytes = 0
        self.peak_bytes = 0
        self._accounts: set[Account] = set()

    def open(self) -> Account:
        """An account for one active download."""
        account = Account(self)
        self._accounts.add(account)
        return account

    def close(self, account: Account) -> None:
        """The download is over: whatever it still held is free again."""
        account.release(account.used_bytes)
        self._accounts.discard(account)

    @property
    def is_idle(self) -> bool:
        """Whether no download is active."""
        return not self._accounts

    def fair_bytes(self) -> int:
        """What one account may ask for.

        A third is not shared out, so that a newcomer finds room at once even
        when everybody else is paused, and decoding, for which nobody waits,
        finds room for its output before the blocks it used are free.  Who is
        alone leaves no more than these two need.
        """
        accounts = max(1, len(self._accounts))
        spare = self.total_bytes - 2 * self.total_bytes // 3
        if accounts == 1:
            spare = min(spare, SPARE_BYTES)
        return (self.total_bytes - spare) // accounts

    def spare_bytes(self) -> int:
        """One account's part of what is not shared out."""
        return self.total_bytes // max(1, len(self._accounts)) - self.fair_bytes()


class Account:
    """What one download holds of the budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.used_bytes = 0
        self.peak_bytes = 0

    @property
    def limit_bytes(self) -> int:
        """The fair share of now; it moves as downloads come and go."""
        return self._budget.fair_bytes()

    @property
    def spare_bytes(self) -> int:
        """What decoding may add to that."""
        return self._budget.spare_bytes()

    def has_room(self, length: int) -> bool:
        """Whether *length* more bytes fit.

        They fit anyhow when nobody holds anything, for a segment may be larger
        than the budget; and who holds nothing needs no more than free bytes.
        """
        budget = self._budget
        if budget.used_bytes == 0:
            return True
        if self.used_bytes and self.used_bytes + length > self.limit_bytes:
            return False
        return self.is_free(length)

    def is_free(self, length: int) -> bool:
        """Whether *length* bytes of the budget are free, whoever may take them."""
        return self._budget.used_bytes + length <= self._budget.total_bytes

    def is_alone(self) -> bool:
        """Whether no other account holds anything, so that waiting brings nothing."""
        return self._budget.used_bytes == self.used_bytes

    def reserve(self, length: int) -> None:
        """Take *length* bytes.  Whoever may wait asks :meth:`has_room` first;
        replacements for lost reads may not wait, the free part is theirs."""
        self.used_bytes += length
        self.peak_bytes = max(self.peak_bytes, self.used_bytes)
        self._budget.used_bytes += length
        self._budget.peak_bytes = max(self._budget.peak_bytes, self._budget.used_bytes)

    def release(self, length: int) -> None:
        """Give *length* bytes back."""
        assert 0 <= length <= self.used_bytes, (length, self.used_bytes)
        self.used_bytes -= length
        self._budget.used_bytes -= length
