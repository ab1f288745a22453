"""The one place that tells a recording what happens in a download.

A :class:`Watcher` stands before the core of a download, passes events and
actions through as they are, and tells a recording what they mean.  Laws: a
download without a recorder has no watcher and pays nothing; an error while
recording ends the recording, never the download.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from allmydata.util import log
from twisted.python.failure import Failure

from ..core import records as r
from ..core.download import Download
from ..core.reads import Stage
from ..core.watching import Standing
from ..errors import FileTooLarge
from .facts import facts_of_server
from .recording import FileFacts, Recorder, Recording, ServerShare

# How often a download's standing is told while it runs.
SAMPLE_S = 0.05
# Answers are told together, at the latest when so many have come.
MAX_ANSWERS = 64


_JOINING = frozenset((r.ReaderJoined, r.SegmentAsked, r.SegmentSizeAsked))
# Of other events only what they lead to is told; most lead to nothing.
_TOLD = _JOINING | {r.ReadFailed, r.ReaderDelivered, r.ReaderLeft, r.TimePassed}


class Watcher:
    """Stands between a driver and its core; see the module's docstring."""

    def __init__(
        self,
        core: Download,
        recorder: Recorder,
        facts: FileFacts,
        server_id: Callable[[Any], int],
        owner: object,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """:param owner: whose download it is; another one's is another download."""
        self._core = core
        self._watching = core.watching
        self._recorder = recorder
        self._facts = facts
        self._server_id = server_id
        self._owner = owner
        self._clock = clock
        self._recording: Recording | None = None
        self._is_on = False  # somebody reads
        self._is_broken = False
        self._positions: dict[int, tuple[int, int]] = {}  # reader -> taken so far, end
        self._failed: set[int] = set()
        self._late: dict[int, Stage] = {}
        self._answers: list[tuple[float, int, int, int]] = []  # not told yet
        self._had_late = False  # before, no read can be a hedge
        self._bad: dict[int, int] = {}
        self._unasked: dict[int, int] = {}
        self._next_sample = 0.0
        self._wasted_bytes = 0
        self._is_sized = False  # the geometry was here at the last turn

    def adopt(self, owner: object) -> None:
        """The download is another's from now on."""
        if owner is not self._owner:
            self._owner = owner
            self._guard(self._tell_answers)
            self._recording = None

    # -- between driver and core ----------------------------------------------

    def receive(self, event: r.Event, now: float) -> list[r.Action]:
        """As ``Download.receive``."""
        kind = type(event)
        if kind in _JOINING:
            self._guard(self._begin)
        actions = self._core.receive(event, now)
        if self._recording is None:
            return actions
        if isinstance(event, r.ReadAnswered):
            wasted_bytes = self._watching.wasted_bytes()
            self._answers.append((now, event.read, len(event.data), wasted_bytes))
            is_told = bool(actions) or not self._is_on or len(self._answers) >= MAX_ANSWERS
        elif kind is r.TurnEnded:
            is_told = bool(actions) or now >= self._next_sample or not self._is_sized
        else:
            is_told = bool(actions) or kind in _TOLD
        if is_told:
            self._guard(self._after, event, now, actions)
        return actions

    def _guard(self, tell: Callable[..., Any], *arguments: Any) -> Any:
        """Tell, unless telling went wrong before."""
        if self._is_broken:
            return None
        try:
            return tell(*arguments)
        except Exception:  # noqa: BLE001 - whatever it is, the download goes on
            self._is_broken = True
            self._recording = None
            log.err(Failure(), "fastdl: error while recording a download", level=log.WEIRD)
            return None

    def _begin(self) -> None:
        if self._recording is None:
            self._recording = self._recorder.begin(self._facts, self._look)
        elif not self._is_on:
            self._recording.resumed(self._look)
        if not self._is_on:
            self._next_sample = 0.0
        self._is_on = True

    def _after(self, event: r.Event, now: float, actions: list[r.Action]) -> None:
        recording = self._recording
        if recording is None:
            return
        self._tell_answers()
        if isinstance(event, r.ReadFailed):
            self._late.pop(event.read, None)
            recording.read_failed(now, event.read, event.reason)
        elif isinstance(event, r.ReaderDelivered):
            self._on_delivered(recording, event.reader, event.position, now)
        elif isinstance(event, r.ReaderJoined):
            self._on_wanted(recording, event.reader, event.start, event.stop, now)
        elif isinstance(event, r.TimePassed):
            self._on_time(recording, now)
        for action in actions:
            if isinstance(action, r.SendRead):
                self._on_sent(recording, action, now)
            elif not isinstance(action, (r.Decode, r.DropBatch)):
                self._on_action(recording, action, now)
        if isinstance(event, r.ReaderLeft):
            self._on_left(recording, event.reader, now)
        elif isinstance(event, r.TurnEnded):
            if not self._is_sized:
                self._on_sized(recording)
            if self._is_on and now >= self._next_sample:
                self._sample(recording, now)
        if self._is_on and not self._core.readers:
            self._end(recording, now)

    def _tell_answers(self) -> None:
        """Many together: one by one, each between large copies that empty the processor's
        caches, they cost several times as much."""
        answers, self._answers = self._answers, []
        for now, read, length, wasted_bytes in answers:
            if self._recording is not None:
                is_wasted = wasted_bytes > self._wasted_bytes
                self._recording.answered(now, read, length, is_wasted)
            self._wasted_bytes = wasted_bytes
            self._late.pop(read, None)

    def _look(self) -> Standing:
        """For who looks while the download runs: all that is known goes first."""
        self._guard(self._tell_answers)
        return self._watching.standing()

    def _on_action(self, recording: Recording, action: r.Action, now: float) -> None:
        if isinstance(action, r.Deliver):
            if action.reader not in self._positions:  # a segment's reader takes it at once
                recording.delivered(now, action.reader, action.start, action.stop)
        elif isinstance(action, r.ReaderResolved):
            recording.wanted(now, action.reader, action.start, action.stop)
        elif isinstance(action, r.AdviseCorrupt):
            share = self._share(action.share)
            if share is not None:
                recording.lied(now, share, action.reason)
                self._note_bad(recording, share, now)
        elif isinstance(action, r.FailReader):
            reason = f"{type(action.error).__name__}: {action.error}"
            if isinstance(action.error, FileTooLarge):
                recording.fell_back(now, reason, False)
            else:
                self._failed.add(action.reader)
                recording.failed(now, action.reader, reason)

    # -- reads ----------------------------------------------------------------

    def _on_sent(self, recording: Recording, action: r.SendRead, now: float) -> None:
        read = self._watching.read(action.read)
        if read is not None:
            late = self._watching.hedged_servers(action.read) if self._had_late else ()
            recording.sent(now, read, action.start, action.length, late)

    def _on_time(self, recording: Recording, now: float) -> None:
        """Only when a deadline has passed may a read have become late."""
        late = {read.id: read for read in self._watching.overdue()}
        for read in late.values():
            if self._late.get(read.id) is not read.stage:
                recording.overdue(now, read)
        for read_id, stage in self._late.items():
            if stage is Stage.STALLED and read_id not in late:
                recording.abandoned(now, read_id)
        self._late = {read.id: read.stage for read in late.values()}
        self._had_late = self._had_late or bool(late)

    def _on_sized(self, recording: Recording) -> None:
        """What scouts brought before the UEB was here has become blocks."""
        if self._core.geometry is None:
            return
        self._is_sized = True
        had = {share.id: share.ledger.have for share in self._core.counted_on.values()}
        blocks = {
            share: ((have & -have).bit_length() - 1, have.bit_length())
            for share, have in had.items()
            if have
        }
        recording.scouted(blocks, self._watching.under_way())
        # what scouts brought for nothing was no single read's fault
        self._wasted_bytes = self._watching.wasted_bytes()

    def _share(self, share_id: int) -> ServerShare | None:
        share = self._core.shares.get(share_id)
        return None if share is None else ServerShare(share.id, share.shnum, share.server)

    def _note_bad(self, recording: Recording, share: ServerShare, now: float) -> None:
        bad = self._watching.bad_blocks(share.share)
        new = bad & ~self._bad.get(share.share, 0)
        if new:
            recording.blocks(now, share, "bad", new)
        if bad:
            self._bad[share.share] = bad

    # -- readers --------------------------------------------------------------

    def _on_wanted(
        self, recording: Recording, reader: int, start: int, stop: int, now: float
    ) -> None:
        self._positions[reader] = (start, stop)
        recording.wanted(now, reader, start, stop)

    def _on_delivered(self, recording: Recording, reader: int, position: int, now: float) -> None:
        before, stop = self._positions.get(reader, (position, position))
        if position > before:
            self._positions[reader] = (position, stop)
            recording.delivered(now, reader, before, position)

    def _on_left(self, recording: Recording, reader: int, now: float) -> None:
        position, stop = self._positions.pop(reader, (0, 0))
        is_early = position < stop and reader not in self._failed
        self._failed.discard(reader)
        recording.left(now, reader, is_early)

    def _sample(self, recording: Recording, now: float) -> None:
        self._next_sample = now + SAMPLE_S
        recording.sampled(now, self._watching.standing())
        unasked = {}
        for share, shnum, server, mask in self._watching.unasked_blocks():
            unasked[share] = mask
            new = mask & ~self._unasked.get(share, 0)
            if new:
                recording.blocks(now, ServerShare(share, shnum, server), "wanted", new)
        self._unasked = unasked
        self._look_for_bad(recording, now)

    def _look_for_bad(self, recording: Recording, now: float) -> None:
        """Most bad blocks come with advice to their server; those that are missing do not."""
        for share in self._core.shares.values():
            if share.ledger.bad:
                which = ServerShare(share.id, share.shnum, share.server)
                self._note_bad(recording, which, now)

    def _end(self, recording: Recording, now: float) -> None:
        self._tell_answers()
        self._is_on = False
        self._positions.clear()
        self._failed.clear()
        self._late.clear()
        self._unasked.clear()
        self._look_for_bad(recording, now)
        recording.ended(now, self._watching.standing())

    # -- what the core does not see -------------------------------------------

    def asked(self, server: Any) -> Callable[[list[int] | None], None]:
        """A server is asked for its shares; call the result with the answer, None for none."""
        question = self._guard(self._asked, server)

        def tell(shnums: list[int] | None) -> None:
            if question is not None:
                recording, server_id, number = question
                self._guard(recording.found, self._clock(), number, server_id, shnums)

        return tell

    def _asked(self, server: Any) -> tuple[Recording, int, int] | None:
        server_id = self._server_id(server)
        self._recorder.know(server_id, server, lambda: facts_of_server(server))
        if self._recording is None:
            return None
        number = self._recording.asked(self._clock(), server_id)
        return self._recording, server_id, number

    def pausing(self, reader: int) -> None:
        """A reader's consumer pauses."""
        if self._recording is not None:
            self._guard(self._recording.paused, self._clock(), reader)

    def resuming(self, reader: int) -> None:
        """It resumes."""
        if self._recording is not None:
            self._guard(self._recording.unpaused, self._clock(), reader)

    def worked(
        self, began: float, spent: tuple[float, float, float], first: int, stop: int, thread: int
    ) -> None:
        """A batch came out of its worker."""
        if self._recording is not None:
            self._guard(self._recording.worked, began, spent, first, stop, thread)

    def broke(self, failure: Failure) -> None:
        """Our own code failed; stock goes on."""
        if self._recording is not None:
            reason = f"{type(failure.value).__name__}: {failure.getErrorMessage()}"
            self._guard(self._recording.fell_back, self._clock(), reason, True)

    def stopped(self) -> None:
        """The client shuts down, or stock goes on."""
        if self._recording is not None and self._is_on:
            now = self._clock()
            for reader in list(self._positions):
                self._guard(self._on_left, self._recording, reader, now)
            if self._recording is not None:
                self._guard(self._end, self._recording, now)
