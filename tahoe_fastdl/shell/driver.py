"""Drives one download: events in, actions out, one timer.

Owns the core of one file, its wire, finder and batches, and who reads it.
Decides nothing.  Events that come while actions are being carried out wait
their turn, so actions are obeyed in order.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from allmydata.util import log
from foolscap.api import eventually
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from ..core import records as r
from ..core.download import Download, Options
from ..errors import FileTooLarge
from .batches import Batches
from .facts import facts_of_file
from .finder import Finder
from .hub import Hub
from .waiting import Waiting
from .watcher import Watcher
from .wire import Wire

# How often the counters of all shares are added up while a download runs.
ACCOUNT_S = 0.25


def file_key(verifycap: Any) -> bytes:
    """Names a file and how it was encoded."""
    key: bytes = verifycap.to_string()
    return key


class Sink(Protocol):
    """Where decoded bytes go."""

    readkey: bytes | None  # None: they stay ciphertext

    def on_decrypted(self, seconds: float) -> None:
        """A batch took so long to decrypt; its bytes follow."""

    def take(self, start: int, data: memoryview) -> None:
        """File bytes from *start*."""

    def fail(self, failure: Failure) -> None:
        """They cannot be had."""


class Driver:
    """The shell around one :class:`~tahoe_fastdl.core.download.Download`."""

    def __init__(
        self,
        verifycap: Any,
        storage_broker: Any,
        hub: Hub,
        download_status: Any,
        on_broken: Callable[[Failure], None],
        on_idle: Callable[[], None],
    ) -> None:
        """
        :param on_broken: our own code failed; nothing more comes of this driver.
        :param on_idle: nobody reads any more.
        """
        self.key = file_key(verifycap)
        self._hub = hub
        self._broker = storage_broker
        self._on_broken = on_broken
        self._on_idle = on_idle
        self.core = _core_of(verifycap, hub)
        self.watcher = _watcher_of(self.core, verifycap, hub, download_status)
        self._receive = self.core.receive if self.watcher is None else self.watcher.receive
        self._waiting = Waiting(download_status)
        self._wire = Wire(self.feed, download_status, self.break_off)
        self._batches = Batches(self.feed, download_status, self.break_off, self.watcher)
        self._finder = Finder(
            hub,
            storage_broker,
            verifycap.storage_index,
            verifycap.total_shares,
            download_status,
            self._wire,
            self.feed,
            self.break_off,
            self.watcher,
        )
        self._sinks: dict[int, Sink] = {}
        self._on_size: dict[int, Callable[[int], None]] = {}
        self._events: deque[r.Event] = deque()
        self._obeying = False
        self._turn_scheduled = False
        self._timer: IDelayedCall | None = None
        self._running = True
        self._next_reader = 0
        self._counted: dict[str, int] = {}  # what the hub was told of each counter
        self._accounted = 0.0
        hub.downloads.add(self)

    def is_usable(self, storage_broker: Any) -> bool:
        """Whether it runs, asks the servers of this broker, and all that it found are there.

        One that nobody reads may break as well: an answer of a read that was replaced can come
        at any time.
        """
        return self._running and self._broker is storage_broker and self._wire.is_connected()

    def adopt(
        self,
        download_status: Any,
        on_broken: Callable[[Failure], None],
        on_idle: Callable[[], None],
    ) -> None:
        """Work for another node from now on; it had no readers."""
        self._on_broken = on_broken
        self._on_idle = on_idle
        if self.watcher is not None:
            self.watcher.adopt(download_status)
        self._waiting = Waiting(download_status)
        self._wire.report_to(download_status)
        self._batches.report_to(download_status)
        self._finder.report_to(download_status)

    # -- readers --------------------------------------------------------------

    def new_reader(self) -> int:
        """A number for a reader that is about to join."""
        self._next_reader += 1
        return self._next_reader

    def join(
        self,
        event: r.Event,
        reader: int,
        sink: Sink,
        on_size: Callable[[int], None] | None = None,
    ) -> None:
        """A reader joins with *event*; *sink* gets its bytes or its failure.

        :param on_size: gets the segment size in bytes, of one that asks for that.
        """
        self._guard(self._hub.on_reader_joining)
        self._sinks[reader] = sink
        if on_size is not None:
            self._on_size[reader] = on_size
        self.feed(event)

    def delivered(self, reader: int, position: int) -> None:
        """The reader's consumer took everything before *position*."""
        self.feed(r.ReaderDelivered(reader, position))

    def leave(self, reader: int) -> None:
        """The reader wants nothing more."""
        self._forget(reader)
        self.feed(r.ReaderLeft(reader))

    def _forget(self, reader: int) -> tuple[Sink | None, Callable[[int], None] | None]:
        """Nothing more goes to this reader; gives what of its own waited for it."""
        return self._sinks.pop(reader, None), self._on_size.pop(reader, None)

    def stop(self) -> None:
        """Nothing goes out any more and nothing is delivered."""
        self._running = False
        self._wire.stop()
        self._finder.stop()
        self._batches.stop()
        self._sinks.clear()
        self._events.clear()
        self._set_timer(None)
        self._hub.downloads.discard(self)
        try:
            if self.watcher is not None:
                self.watcher.stopped()
            self._waiting.tell([], time.time())
            self._account()
        finally:  # others wait for what it holds, also when it stops because it is broken
            self.core.close()
            self._hub.wake_others(self)

    # -- the loop -------------------------------------------------------------

    def feed(self, event: r.Event) -> None:
        """Give the core one event and carry out what it answers."""
        if not self._running:
            return
        self._events.append(event)
        if self._obeying:
            return
        self._obeying = True
        try:
            while self._events:
                for action in self._receive(self._events.popleft(), time.monotonic()):
                    if self._running:
                        self._obey(action)
        except Exception:  # noqa: BLE001  # whatever it is, stock finishes the read
            self.break_off(Failure())
            return
        finally:
            self._obeying = False
        self._after()

    def _guard(self, step: Callable[[], None]) -> None:
        """Take a step that is no event's; like those it may find a law of ours broken."""
        try:
            step()
        except Exception:  # noqa: BLE001  # as above
            self.break_off(Failure())

    def _after(self) -> None:
        if self._running and self.core.wants_turn and not self._turn_scheduled:
            self._turn_scheduled = True
            eventually(self._turn)

    def _turn(self) -> None:
        self._turn_scheduled = False
        if not self._running:
            return
        self._guard(self._end_turn)

    def _end_turn(self) -> None:
        self.feed(r.TurnEnded(self._hub.cpu_busy()))
        if self._is_stopped():
            return
        self._set_timer(self.core.next_deadline())
        self._waiting.tell(map(self._wire.name_of, self.core.watching.awaited()), time.time())
        now = time.monotonic()
        if not self._sinks or now > self._accounted + ACCOUNT_S:
            self._accounted = now
            self._account()
        self._hub.wake_others(self)
        if not self._sinks and not self.core.readers:
            self._on_idle()

    def _is_stopped(self) -> bool:
        """Whether nothing goes out any more; any event may have led to that."""
        return not self._running

    @property
    def is_waiting(self) -> bool:
        """Whether readers wait for a server that does not answer, because no share is spare."""
        return self._waiting.is_on

    def wake(self) -> None:
        """Another download's turn is over."""
        if self._running:
            self._guard(self._look_again)

    def _look_again(self) -> None:
        self.core.wake()
        self._after()

    def break_off(self, failure: Failure) -> None:
        """A law of ours was broken: stop here, the node goes on with stock."""
        was_running = self._running
        log.err(
            failure, "fastdl: internal error, going on with the stock downloader", level=log.WEIRD
        )
        if not was_running:
            return  # nobody waits for this download any more
        if self.watcher is not None:
            self.watcher.broke(failure)
        try:
            self.stop()
        except Exception:  # noqa: BLE001  # what is broken may be what stopping takes
            log.err(Failure(), "fastdl: error while stopping what is broken", level=log.WEIRD)
        self._on_broken(failure)

    def _set_timer(self, when: float | None) -> None:
        from twisted.internet import reactor

        if self._timer is not None and self._timer.active():
            delay = self._timer.getTime() - reactor.seconds()
            if when is not None and delay <= when - time.monotonic():
                return  # fires early enough, and then sets itself again
            self._timer.cancel()
        self._timer = None
        if when is not None:
            self._timer = reactor.callLater(max(0.0, when - time.monotonic()), self._time_passed)

    def _time_passed(self) -> None:
        self._timer = None
        self._guard(self._pass_time)

    def _pass_time(self) -> None:
        self.feed(r.TimePassed())
        if self._running:
            self._set_timer(self.core.next_deadline())

    def _account(self) -> None:
        counters, standing = self.core.counters, self.core.watching.standing()
        now = {
            "changes": standing.changes,
            "recomputations": standing.recomputations,
            "hedges": counters.hedges + counters.replaced,
            "inquests": counters.inquests,
        }
        for name, number in now.items():
            counted = self._counted.get(name, 0)
            if number > counted:  # it falls when shares go, and what was counted stays
                self._hub.count(name, number - counted)
                self._counted[name] = number

    # -- actions --------------------------------------------------------------

    def _obey(self, action: r.Action) -> None:
        if isinstance(action, r.SendRead):
            self._hub.count("reads_sent")
            self._wire.send(action)
        elif isinstance(action, r.Decode):
            self._decode(action)
        elif isinstance(action, r.Deliver):
            self._deliver(action)
        elif isinstance(action, r.DropBatch):
            self._batches.drop(action.batch)
        elif isinstance(action, r.FindShares):
            self._finder.find()
        elif isinstance(action, r.AdviseCorrupt):
            self._hub.count("corruptions")
            self._wire.advise_corrupt(action)
        elif isinstance(action, r.FailReader):
            self._fail(action)
        elif isinstance(action, r.TellSegmentSize):
            _sink, tell = self._forget(action.reader)
            if tell is not None:
                tell(action.segment_size)
        else:
            assert isinstance(action, r.ReaderResolved)  # which only a recording cares about

    def _fail(self, action: r.FailReader) -> None:
        if isinstance(action.error, FileTooLarge):
            self.stop()
            self._on_broken(Failure(action.error))
            return
        sink, _tell = self._forget(action.reader)
        if sink is not None:
            sink.fail(Failure(action.error))

    def _decode(self, action: r.Decode) -> None:
        geometry = self.core.geometry
        assert geometry is not None
        self._hub.learn_segment_size(geometry)
        self._batches.decode(action, geometry, {sink.readkey for sink in self._sinks.values()})

    def _deliver(self, action: r.Deliver) -> None:
        sink = self._sinks.get(action.reader)
        decoded = self._batches.get(action.batch)
        if sink is None or decoded is None:
            return
        view = memoryview(decoded.text(sink.readkey))
        data = view[action.start - decoded.start : action.stop - decoded.start]
        if sink.readkey is not None:
            sink.on_decrypted(decoded.decrypt_s)
        sink.take(action.start, data)


def _core_of(verifycap: Any, hub: Hub) -> Download:
    return Download(
        verifycap.size,
        verifycap.needed_shares,
        verifycap.total_shares,
        verifycap.uri_extension_hash,
        hub.budget,
        hub.servers,
        Options(
            verify_blocks=hub.settings.verify == "blocks",
            patience_s=hub.settings.patience,
            segment_size_hint=hub.segment_size_hint,
        ),
    )


def _watcher_of(core: Download, verifycap: Any, hub: Hub, download_status: Any) -> Watcher | None:
    """What tells a recording of this download; None: nobody records."""
    if hub.recorder is None:
        return None
    return Watcher(core, hub.recorder, facts_of_file(verifycap), hub.server_id, download_status)
