"""The byte budget of a node, how deep one download may reach, and whose turn it is.

Pure.  One :class:`Budget` serves all downloads of a client; each has an
:class:`Account`.  Laws: every byte requested, received or decoded is reserved
first and released exactly once; what is requested, received or waits for its
reader, and what workers decode into, each stay within a part of the budget of
their own.  Exceptions, one segment each: a segment larger than its part, and in every
``turns.STARVE_S`` in which nobody gives anything back one of the readers that wait.
"""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB

# What a download that is alone leaves, half for newcomers and half for decoding: two batches
# of the largest (``proving.DECODE_BYTES``) at once.  Of a small budget it is half.
SPARE_BYTES = 8 * MIB
# What each download may have of hashes and the like, for which it does not ask.
METADATA_BYTES = 16 * KIB

# What long stripes of a crowd may fill together: more only leaves the processor's caches.
LONG_BYTES = 24 * MIB
# Who holds what is decoded for longer than this has a slow reader, and perhaps one that pauses;
# then, and for so much longer, nobody takes more than its part.
BRISK_S = 0.25
SLOW_S = 10.0


class Line:
    """Those who wait for one thing, first come, first served.

    Whoever looks at the right moment would otherwise have it all: a download
    whose read was answered plans at once, in the very turn that frees something.
    """

    def __init__(self) -> None:
        self._waiting: dict[object, None] = {}

    def lets(self, who: object) -> bool:
        """Whether nobody is before *who*, waiting or not."""
        return next(iter(self._waiting), who) is who

    def join(self, who: object) -> None:
        """*who* waits, where it was if it did before."""
        self._waiting.setdefault(who)

    def leave(self, who: object) -> None:
        """*who* has what it wanted, or wants it no more."""
        self._waiting.pop(who, None)


class Budget:
    """Bytes that all downloads of one client may hold together."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self.used_bytes = 0
        self.peak_bytes = 0
        self.decoding_bytes = 0  # of those used
        self.promised_bytes = 0  # beside those used: admitted, and waiting for a slot
        self.changes = 0  # how often somebody gave bytes back, or may take more than there are
        self.room = Line()
        self.long_room = Line()  # of who takes long stripes; everything else goes first
        self.workers = Line()
        self._accounts: set[Account] = set()
        self._slow_until = float("-inf")  # somebody was slow

    def open(self) -> Account:
        """An account for one active download."""
        account = Account(self)
        self._accounts.add(account)
        return account

    def close(self, account: Account) -> None:
        """The download is over: whatever it still held is free again."""
        account.end_decoding(account.decoding_bytes)
        account.promise(0)
        account.release(account.used_bytes)
        self._accounts.discard(account)

    @property
    def is_idle(self) -> bool:
        """Whether no download is active."""
        return not self._accounts

    @property
    def accounts(self) -> int:
        """How many downloads are active."""
        return len(self._accounts)

    def most_decoding_bytes(self) -> int:
        """What all workers together may decode into."""
        return min(self.total_bytes // 3, SPARE_BYTES // 2)

    def fair_bytes(self) -> int:
        """What one account may ask for.

        Beside what is for decoding a part is not shared out, so that a newcomer finds
        room at once even when everybody else is paused: shares are as if there were one
        more, so the fewer have much, the more is left; who is alone leaves little.
        """
        left = self.total_bytes - self.most_decoding_bytes()
        left -= min(self.total_bytes // 6, SPARE_BYTES // 2)
        if self.accounts > 1:
            left = min(left, self.accounts * self.total_bytes // (self.accounts + 1))
        return left // max(1, self.accounts)

    def long_bytes(self) -> int:
        """How full long stripes may make it.

        If all their readers pause at once, each with a stripe and some of it decoded, others
        go on in what is left.
        """
        return min(LONG_BYTES, self.most_steady_bytes() // 3)

    def is_brisk(self, now: float) -> bool:
        """Whether all readers take what is decoded for them soon, and did of late."""
        oldest = min((account.held_since for account in self._accounts), default=now)
        if now - oldest > BRISK_S:
            self._slow_until = now + SLOW_S
        return now > self._slow_until

    def is_free(self, length: int, most_bytes: int | None = None) -> bool:
        """Whether *length* bytes more may be requested, of *most_bytes* or of all."""
        steady = self.used_bytes - self.decoding_bytes + self.promised_bytes
        return steady + length <= (self.most_steady_bytes() if most_bytes is None else most_bytes)

    def is_unused(self) -> bool:
        """Whether nobody has anything."""
        return self.used_bytes + self.promised_bytes == 0

    def most_steady_bytes(self) -> int:
        """What may be requested, received and waiting for readers."""
        metadata = min(self.accounts * METADATA_BYTES, self.total_bytes // 16)
        return self.total_bytes - self.most_decoding_bytes() - metadata

    def may_decode(self, length: int) -> bool:
        """Whether *length* bytes more may be decoded; a segment by itself always may."""
        return (
            self.decoding_bytes == 0 or self.decoding_bytes + length <= self.most_decoding_bytes()
        )


class Account:
    """What one download holds of the budget."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.used_bytes = 0
        self.peak_bytes = 0
        self.decoding_bytes = 0
        self.promised_bytes = 0
        self.held_since = float("inf")  # when what is decoded and not taken came, the oldest of it
        self.takes_long = False  # see Turns.take_long

    @property
    def limit_bytes(self) -> int:
        """The fair share of now, which moves as downloads come and go, or what long
        stripes may fill."""
        return self.budget.long_bytes() if self.takes_long else self.budget.fair_bytes()

    def is_within_limit(self, length: int) -> bool:
        """Whether *length* more bytes are within its fair share; something always is."""
        mine = self.used_bytes + self.promised_bytes
        return mine == 0 or mine + length <= self.limit_bytes

    def has_room(self, length: int) -> bool:
        """Whether *length* more bytes fit.

        They fit anyhow when nobody holds anything, for a segment may be larger
        than the budget; and who holds nothing needs no more than free bytes.
        """
        if self.budget.is_unused():
            return True
        most_bytes = self.budget.long_bytes() if self.takes_long else None
        return self.is_within_limit(length) and self.budget.is_free(length, most_bytes)

    def is_alone(self) -> bool:
        """Whether no other account holds anything, so that waiting brings nothing."""
        mine = self.used_bytes + self.promised_bytes
        return self.budget.used_bytes + self.budget.promised_bytes == mine

    def reserve(self, length: int) -> None:
        """Take *length* bytes.  Whoever may wait asks :meth:`has_room` first;
        replacements for lost reads may not wait, the free part is theirs."""
        self.used_bytes += length
        self.peak_bytes = max(self.peak_bytes, self.used_bytes)
        self.budget.used_bytes += length
        self.budget.peak_bytes = max(self.budget.peak_bytes, self.budget.used_bytes)

    def release(self, length: int) -> None:
        """Give *length* bytes back."""
        assert 0 <= length <= self.used_bytes, (length, self.used_bytes)
        self.used_bytes -= length
        self.budget.used_bytes -= length
        self.budget.changes += 1

    def promise(self, length: int) -> None:
        """From now on *length* bytes are admitted and will be reserved when there is a slot."""
        self.budget.promised_bytes += length - self.promised_bytes
        self.promised_bytes = length

    def begin_decoding(self, length: int) -> None:
        """Take *length* bytes for a worker; ``Budget.may_decode`` was asked."""
        self.decoding_bytes += length
        self.budget.decoding_bytes += length
        self.reserve(length)

    def end_decoding(self, length: int) -> None:
        """The worker is done with *length* bytes; they wait for their reader."""
        assert 0 <= length <= self.decoding_bytes, (length, self.decoding_bytes)
        self.decoding_bytes -= length
        self.budget.decoding_bytes -= length
