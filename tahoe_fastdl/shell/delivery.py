"""One ``read()``: the bytes in order, trimmed, at the consumer's pace.

Pieces arrive in any order and leave in order.  The consumer may pause, resume
or stop at any moment, also from inside ``write()`` or ``registerProducer()``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from allmydata.interfaces import DownloadStopped
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

# The web transport sends 128 KiB a system call and asks us to pause at 64 KiB;
# larger pieces cost it nothing, since it sends from a view of them.
MAX_WRITE = 2 * 1024 * 1024


@implementer(IPushProducer)
class Delivery:
    """Feeds one consumer with file bytes ``[start, stop)``.

    ``done`` fires with None when all is written, or with the failure.
    """

    def __init__(
        self,
        reader: int,
        consumer: Any,
        readkey: bytes | None,
        start: int,
        stop: int,
        on_delivered: Callable[[int, int], None],
        on_left: Callable[[int], None],
        clock: Callable[[], float],
    ) -> None:
        """
        :param reader: the number under which the two callbacks know it.
        :param readkey: decrypts what the consumer is to get; None: it gets ciphertext.
        :param on_delivered: called with the position up to which the consumer took bytes.
        :param on_left: nothing more is wanted; called before ``done`` fires.
        :param clock: seconds, of any clock; pauses are measured with it.
        """
        self.reader = reader
        self.readkey = readkey
        self.consumer = consumer
        self.position = start
        self.stop_at = stop
        self.done: Deferred[None] = Deferred()
        self._on_delivered = on_delivered
        self._on_left = on_left
        self._clock = clock
        self._taken = self._reported = start
        self._pieces: dict[int, memoryview] = {}
        self._paused_since: float | None = None
        self._writing = False
        self._over = False
        self._successor: Any = None  # the stock producer after a fallback

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be written."""
        return self._over

    def begin(self) -> None:
        """Register with the consumer, which may stop us at once."""
        self.consumer.registerProducer(self, True)

    def take(self, start: int, data: memoryview) -> None:
        """File bytes from *start* are decoded; write what is in order now."""
        if self._over:
            return
        self._pieces[start] = data
        self._write()

    def _write(self) -> None:
        if self._writing:  # the consumer resumed us from inside write()
            return
        self._writing = True
        try:
            while not self._over and self._paused_since is None:
                self._taken = self.position
                piece = self._pieces.pop(self.position, None)
                if piece is None:
                    break
                data = piece if len(piece) <= MAX_WRITE else piece[:MAX_WRITE]
                if len(data) < len(piece):
                    self._pieces[self.position + len(data)] = piece[len(data) :]
                text = data.obj if _is_whole(data) else bytes(data)
                self.position += len(data)
                try:
                    self.consumer.write(text)
                except Exception:  # noqa: BLE001 - its own fault fails its read, as in stock
                    self.fail(Failure())
        finally:
            self._writing = False
        self._report()
        # A consumer that paused on the last bytes may still stop: like stock
        # we are not done before it resumes.
        if self.position >= self.stop_at and self._paused_since is None and not self._over:
            self._finish(None)

    def _report(self) -> None:
        """Say how far the consumer is: what it paused on is still in its hands."""
        if self._paused_since is None:
            self._taken = self.position
        if self._taken > self._reported and not self._over:
            self._reported = self._taken
            self._on_delivered(self.reader, self._taken)

    def fail(self, failure: Failure) -> None:
        """The rest cannot be had."""
        if not self._over:
            self._finish(failure)

    def abandon(self) -> None:
        """The node shuts down: stay silent for ever, as stock does."""
        self._over = True
        self._pieces.clear()

    def _finish(self, result: Failure | None) -> None:
        self._over = True
        self._pieces.clear()
        if self._paused_since is not None and self.position > self._reported:
            self._taken = self._reported = self.position  # it leaves, and had that much
            self._on_delivered(self.reader, self.position)
        try:
            self.consumer.unregisterProducer()
        except Exception:  # noqa: BLE001 - as in stock this is how the read ends
            result = Failure()
        try:
            self._on_left(self.reader)
        finally:
            self.done.callback(result)  # a Failure makes it an errback

    # -- IPushProducer --------------------------------------------------------

    def on_pausing(self) -> None:
        """A pause begins.  For who counts them to override, like :meth:`on_paused`."""

    def on_paused(self, seconds: float) -> None:
        """It is over, after so long."""

    def pauseProducing(self) -> None:
        """Write nothing until resumed; prefetch goes on within the window."""
        if self._paused_since is None:
            self._paused_since = self._clock()
            self.on_pausing()
        if self._successor is not None:
            self._successor.pauseProducing()

    def resumeProducing(self) -> None:
        """Write again."""
        if self._paused_since is not None:
            self.on_paused(self._clock() - self._paused_since)
            self._paused_since = None
            self._report()
        if self._successor is not None:
            self._successor.resumeProducing()
        else:
            self._write()

    def stopProducing(self) -> None:
        """The consumer has enough; a second call is harmless."""
        if self._over:
            return
        if self._successor is not None:
            successor, self._successor = self._successor, None
            successor.stopProducing()
            return
        self._finish(Failure(DownloadStopped("our Consumer called stopProducing()")))

    # -- after a fallback -----------------------------------------------------

    def hand_over(self, producer: Any) -> None:
        """The stock downloader produces the rest; pass flow control on to it."""
        self._successor = producer
        self._pieces.clear()
        if self._paused_since is not None:
            producer.pauseProducing()

    def hand_back(self, result: Failure | None) -> None:
        """The stock downloader is done."""
        self._successor = None
        if not self._over:
            self._finish(result)


def _is_whole(view: memoryview) -> bool:
    return isinstance(view.obj, bytes) and len(view.obj) == len(view)
