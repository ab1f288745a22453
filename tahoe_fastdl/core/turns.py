"""What one download holds of what all share, and for what of it it waits.

Pure.  Room in the budget, slots of servers and workers are had in turn: who
must do without stands in a :class:`~.window.Line` until a plan does not need
the thing any more.  Laws:

* between plans a download stands in exactly the lines of ``waits``;
* a plan that found no room is made again when ``may_go_on`` says so, or at
  ``starving_until``, or at ``brisk_until``; nothing polls.
"""

from __future__ import annotations

from collections.abc import Callable

from .servers import Server
from .window import BRISK_S, Account, Budget, Line

# How long a reader without room waits while nobody gives any back before it takes one
# segment more than the budget has: longer than a download that moves holds on to its bytes.
STARVE_S = 1.0

Waits = dict[Line, Callable[[], bool]]  # -> whether what the line is for is there


class Turns:
    """See the module's docstring."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.starving_until: float | None = None  # then a reader without room is helped
        self.brisk_until: float | None = None  # then who waits for a long stripe looks again
        self._account: Account | None = None
        self._waits: Waits = {}
        self._may_overdraw = False  # that time came, and there is still no room
        self._changes_seen = 0  # of the budget, when the waiting began
        self._outgrew_bytes: int | None = None  # a fair share that was too small

    # -- from the first reader to the last ------------------------------------

    def open(self) -> None:
        """Somebody reads."""
        self._account = self.budget.open()

    def close(self) -> None:
        """Nobody reads any more: all bytes are free again, and nothing is waited for."""
        self.starving_until, self._may_overdraw = None, False
        self.brisk_until = None
        self.end_plan(self.begin_plan())
        if self._account is not None:
            self.budget.close(self._account)
            self._account = None

    @property
    def is_open(self) -> bool:
        """Whether somebody reads."""
        return self._account is not None

    @property
    def account(self) -> Account:
        """What is held; only between :meth:`open` and :meth:`close`."""
        assert self._account is not None
        return self._account

    # -- one plan -------------------------------------------------------------

    def begin_plan(self) -> Waits:
        """What was waited for will be tried again.

        :return: for :meth:`end_plan`.
        """
        before, self._waits, self._outgrew_bytes = self._waits, {}, None
        self.brisk_until = None
        return before

    def end_plan(self, before: Waits) -> None:
        """Leave the lines of *before* for which there is no need any more."""
        for line in before:
            if line not in self._waits:
                line.leave(self)

    def may_go_on(self) -> bool:
        """Whether a plan would find something that the last one had to wait for."""
        if self._account is None:
            return False
        outgrew = self._outgrew_bytes
        has_grown = outgrew is not None and self._account.limit_bytes > outgrew
        return has_grown or any(
            line.lets(self) and is_there() for line, is_there in self._waits.items()
        )

    def wait_in(self, line: Line, is_there: Callable[[], bool]) -> None:
        """Stand in *line* until a plan does without."""
        line.join(self)
        self._waits[line] = is_there

    # -- slots ----------------------------------------------------------------

    def has_slot(self, server: Server) -> bool:
        """Whether one more read may be sent to *server*; if not, it is waited for."""
        if server.has_slot() and server.line.lets(self):
            return True
        self.wait_in(server.line, server.has_slot)
        return False

    # -- room -----------------------------------------------------------------

    def take_long(self, is_crowd: bool, now: float) -> None:
        """Whether stripes may be longer than our part of the room, one download after another.

        In a crowd each part is small, and reads so short cost more messages than there is
        time for; long ones are fair as well, in turn, as long as nobody holds what it took.

        :param is_crowd: whether many download from near servers, and one reader of ours.
        """
        self.account.takes_long = is_crowd and self.budget.is_brisk(now)

    def is_in_turn(self) -> bool:
        """Whether to wait for a long stripe rather than take a shorter one."""
        is_first = self.account.is_alone() and self._is_next()
        return self.account.takes_long and not is_first

    def has_room(self, length: int) -> bool:
        """Whether *length* bytes fit, and nobody waits for room before us."""
        if self._is_next() and self.account.has_room(length):
            self.starving_until, self._may_overdraw = None, False
            return True
        return False

    def wait_for_room(self, length: int, now: float) -> None:
        """Somebody has to free bytes before *length* of them fit: others, if they are
        within our part; or the part has to grow."""
        account = self.account
        if account.is_within_limit(length):
            line = self.budget.long_room if account.takes_long else self.budget.room
            self.wait_in(line, lambda: self._is_next() and account.has_room(length))
        else:
            self._outgrew_bytes = account.limit_bytes
        if account.takes_long:  # not behind one that turns out to be slow
            self.brisk_until = now + BRISK_S

    def _is_next(self) -> bool:
        """Whether nobody waits for room before us: long stripes let everything else pass."""
        if self.account.takes_long:
            return self.budget.room.lets(self) and self.budget.long_room.lets(self)
        return self.budget.room.lets(self) or self.budget.is_unused()

    def starve(self, now: float) -> bool:
        """There is no room and a reader needs its next segment.

        Whoever holds the room usually frees some soon; those who pause may hold it
        for ever, so when nobody gave back any for STARVE_S the segment is fetched all
        the same; the next of those who wait then waits for as long again, so that a
        machine that only stood still costs one segment and not one for each.

        :return: whether that time has come.
        """
        if not self._may_overdraw and self.starving_until is None:
            self._wait_for_change(now)
        return self._may_overdraw

    def on_time(self, now: float) -> bool:
        """It is *now*.

        :return: whether the time of :meth:`starve` is up, and nobody gave back anything
            meanwhile or took more than there is; or that of a wait for a long stripe.
        """
        if self.brisk_until is not None and self.brisk_until <= now:
            self.brisk_until = None
            return True
        if self.starving_until is None or now < self.starving_until:
            return False
        if self.budget.changes != self._changes_seen:
            self._wait_for_change(now)
            return False
        self.starving_until, self._may_overdraw = None, True
        self.budget.changes += 1
        return True

    def _wait_for_change(self, now: float) -> None:
        self._changes_seen = self.budget.changes
        self.starving_until = now + STARVE_S
