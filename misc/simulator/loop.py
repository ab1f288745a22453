"""What stands where ``shell.driver`` stands, in virtual time: it feeds one core and obeys.

Keeps the driver's promises: events wait their turn while actions are carried out, one
``TurnEnded`` follows what changed something, and who had a turn can be asked so, for
then others may go on. Where shares come from and bytes go to is up to the subclass. The tests' own
simulator, with real bytes and bad servers, is built on it as well.
"""

from __future__ import annotations

from collections import deque

from tahoe_fastdl.core import records as r
from tahoe_fastdl.core.download import Download


class Loop:
    """Around one ``Download``, which the subclass makes as ``core`` before any event."""

    core: Download

    def __init__(self) -> None:
        self.events = 0
        self._queue: deque[r.Event] = deque()
        self._obeying = False
        self._turn_scheduled = False
        self._had_turn = False

    # -- up to the subclass -----------------------------------------------------

    def clock(self) -> float:
        """Seconds."""
        raise NotImplementedError

    def obey(self, action: r.Action) -> None:
        """Carry an action out."""
        raise NotImplementedError

    def schedule_turn(self) -> None:
        """Call :meth:`end_turn` soon."""
        raise NotImplementedError

    def cpu_busy(self) -> float:
        """The part of a core that the client used of late."""
        raise NotImplementedError

    def on_fed(self) -> None:
        """One event has been taken and its actions carried out."""

    # -- the loop ---------------------------------------------------------------

    def feed(self, event: r.Event) -> None:
        """Give the core one event and obey."""
        self._queue.append(event)
        if self._obeying:
            return
        self._obeying = True
        try:
            while self._queue:
                self.events += 1
                for action in self.core.receive(self._queue.popleft(), self.clock()):
                    self.obey(action)
                self.on_fed()
        finally:
            self._obeying = False
        self.want_turn()

    def want_turn(self) -> None:
        """Let a turn end if the core has something to plan."""
        if self.core.wants_turn and not self._turn_scheduled:
            self._turn_scheduled = True
            self.schedule_turn()

    def end_turn(self) -> None:
        """The reactor turn is over."""
        self._turn_scheduled = False
        self.feed(r.TurnEnded(self.cpu_busy()))
        self._had_turn = True

    def take_turn(self) -> bool:
        """Whether it had a turn since this was asked: others may find what they wait for."""
        had, self._had_turn = self._had_turn, False
        return had

    def wake(self) -> None:
        """The turn of another download of the node is over."""
        self.core.wake()
        self.want_turn()
