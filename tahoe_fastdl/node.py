"""FastDownloadNode: what Tahoe's filenode takes for its DownloadNode.

Speaks Tahoe's interface (read, get_segment, get_segsize, stop), raises
Tahoe's errors, and hands a read to the stock downloader, from the byte that
was reached, when our own code breaks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from allmydata.immutable.downloader.common import BadCiphertextHashError, BadSegmentNumberError
from allmydata.immutable.downloader.node import Cancel, IDownloadStatusHandlingConsumer
from allmydata.interfaces import NoSharesError, NotEnoughSharesError
from allmydata.util import base32, log
from attrs import frozen
from twisted.internet import defer
from twisted.python.failure import Failure

from . import errors
from .consumers import DecryptingConsumer
from .core import records as r
from .fallback import NobodyLeft, finish_on_stock
from .shell.delivery import Delivery
from .shell.driver import Driver, file_key
from .shell.hub import Hub
from .shell.watcher import Watcher


def as_tahoe_error(error: BaseException | None, si_prefix: str) -> Exception:
    """The error stock would raise for one of ours."""
    if isinstance(error, errors.NoShares):
        return NoSharesError(str(error))  # type: ignore[no-any-return]
    if isinstance(error, errors.NotEnoughShares):
        return NotEnoughSharesError(str(error))  # type: ignore[no-any-return]
    if isinstance(error, errors.BadCiphertextHash):
        return BadCiphertextHashError(f"{error}, SI={si_prefix}")  # type: ignore[no-any-return]
    if isinstance(error, errors.BadSegmentNumber):
        return BadSegmentNumberError(str(error))  # type: ignore[no-any-return]
    if isinstance(error, errors.MalformedUEB):
        # to stock every share that holds it is a bad one
        return NoSharesError(  # type: ignore[no-any-return]
            f"no shares are usable. Last failure: malformed URI extension block: {error}"
        )
    assert isinstance(error, Exception)
    return error


class _ReadDelivery(Delivery):
    """A delivery that also counts for Tahoe's download status."""

    def __init__(
        self,
        reader: int,
        consumer: Any,
        readkey: bytes | None,
        start: int,
        stop: int,
        on_delivered: Callable[[int, int], None],
        on_left: Callable[[int], None],
        read_event: Any,
        watcher: Watcher | None,
    ) -> None:
        super().__init__(reader, consumer, readkey, start, stop, on_delivered, on_left, time.time)
        self.read_event = read_event
        self.counted = start  # position up to which bytes went into the status
        self._watcher = watcher

    def on_decrypted(self, seconds: float) -> None:
        """A batch of this read took so long to decrypt."""
        self.read_event.update(0, seconds, 0)

    def on_pausing(self) -> None:
        """The consumer pauses."""
        if self._watcher is not None:
            self._watcher.pausing(self.reader)

    def on_paused(self, seconds: float) -> None:
        """The consumer paused for so long."""
        self.read_event.update(0, 0, seconds)
        if self._watcher is not None:
            self._watcher.resuming(self.reader)


class _SegmentSink:
    """Collects one whole segment, as ciphertext."""

    readkey: bytes | None = None

    def __init__(self, on_done: Callable[[Any], None]) -> None:
        self._on_done = on_done

    def on_decrypted(self, seconds: float) -> None:
        """Nothing is: the segment stays ciphertext."""

    def take(self, start: int, data: memoryview) -> None:
        """The segment, always in one piece."""
        self._on_done((start, bytes(data), 0.0))

    def fail(self, failure: Failure) -> None:
        """It cannot be had."""
        self._on_done(failure)


@frozen
class _Pending:
    """A request that is not a read, while it is ours."""

    ask: Callable[[Any], defer.Deferred[Any]]  # the same of a stock node
    finished: Callable[[Any], None]  # with what came of it


_Made = TypeVar("_Made")


def _new_reader(driver: Driver) -> tuple[Driver, int]:
    return driver, driver.new_reader()


class FastDownloadNode:
    """A ``DownloadNode`` made by the seam for a client that enabled us."""

    def __init__(
        self,
        verifycap: Any,
        storage_broker: Any,
        secret_holder: Any,
        terminator: Any,
        history: Any,
        download_status: Any,
        hub: Hub,
        stock: Callable[..., Any],
    ) -> None:
        """:param stock: Tahoe's own DownloadNode class, for fallbacks."""
        self._verifycap = verifycap
        self._history = history
        self._download_status = download_status
        self._hub = hub
        self._make_stock = lambda: stock(
            verifycap, storage_broker, secret_holder, terminator, history, download_status
        )
        self._stock: Any = None
        self._si_prefix = base32.b2a(verifycap.storage_index[:8])[:12].decode("ascii")
        self._deliveries: dict[int, _ReadDelivery] = {}
        self._pending: dict[int, _Pending] = {}  # other requests, by reader
        self._driver: Driver | None = None
        self._storage_broker = storage_broker
        self._running = True
        if terminator:
            terminator.register(self)
            terminator.register(hub.parking)
        hub.count("downloads")

    def __repr__(self) -> str:
        return f"<FastDownloadNode {self._si_prefix}>"

    def stop(self) -> None:
        """The client shuts down: nothing goes out any more, open requests stay silent."""
        self._running = False
        for delivery in self._deliveries.values():
            delivery.abandon()
        self._deliveries.clear()
        self._pending.clear()
        if self._driver is not None:
            self._driver.stop()
        if self._stock is not None:
            self._stock.stop()

    def _prepare(self, make: Callable[[Driver], _Made]) -> _Made | None:
        """What *make* makes for a request of ours; None: it is for the stock downloader."""
        if self._stock is not None:
            return None
        try:
            return make(self._ensure_driver())
        except Exception:  # noqa: BLE001 - whatever it is, stock serves the request
            failure = Failure()
        if self._driver is not None:  # what else is open goes on with stock as well
            self._driver.break_off(failure)
        else:
            log.err(failure, "fastdl: internal error, using stock", level=log.WEIRD)
            self._hub.count("fallbacks")
        return None

    def _ensure_driver(self) -> Driver:
        if self._driver is None:
            self._driver = self._take_parked() or Driver(
                self._verifycap,
                self._storage_broker,
                self._hub,
                self._download_status,
                self._fall_back,
                self._on_idle,
            )
        return self._driver

    def _take_parked(self) -> Driver | None:
        """The download of this file that another node has left, or None."""
        parked = self._hub.parking.take(
            file_key(self._verifycap), self._storage_broker, time.monotonic()
        )
        if parked is not None:
            try:
                parked.adopt(self._download_status, self._fall_back, self._on_idle)
            except Exception:
                parked.stop()  # nobody else has it now, and others may wait for what it holds
                raise
        return parked

    def _on_idle(self) -> None:
        """Nobody reads: what was learned is for whoever reads this file next."""
        driver, parking = self._driver, self._hub.parking
        is_idle = self._running and not self._deliveries and not self._pending
        if driver is not None and is_idle and parking.is_open and driver.core.is_worth_keeping():
            self._driver = None
            parking.put(driver, time.monotonic())

    # -- read -----------------------------------------------------------------

    def read(self, consumer: Any, offset: int = 0, size: int | None = None) -> defer.Deferred[Any]:
        """Feed *consumer* with ``[offset, offset + size)`` bytes of the file.

        Overruns are clipped; nothing left is success without a producer.

        :return: fires with *consumer*, or with ``NoSharesError``,
            ``NotEnoughSharesError``, ``BadCiphertextHashError`` or
            ``DownloadStopped``; never after :meth:`stop`.
        """
        file_size = self._verifycap.size
        size = file_size if size is None else size
        size = max(0, min(size, file_size - offset))
        read_event = self._report_read(consumer, offset, size)
        if size == 0:
            read_event.finished(time.time())
            return defer.succeed(consumer)
        inner, readkey = consumer, None
        if isinstance(consumer, DecryptingConsumer) and consumer.fastdl_offset == offset:
            inner, readkey = consumer.fastdl_inner, consumer.fastdl_readkey

        def make(driver: Driver) -> tuple[Driver, _ReadDelivery]:
            return driver, _ReadDelivery(
                driver.new_reader(),
                inner,
                readkey,
                offset,
                offset + size,
                self._on_delivered,
                self._on_left,
                read_event,
                driver.watcher,
            )

        made = self._prepare(make)
        if made is None:
            return self._stock_node().read(consumer, offset, size)  # type: ignore[no-any-return]
        return self._begin(*made).addCallback(lambda _: consumer)

    def _report_read(self, consumer: Any, offset: int, size: int) -> Any:
        """Tell Tahoe's status and counters of a read; gives its read event."""
        read_event = self._download_status.add_read_event(offset, size, time.time())
        if IDownloadStatusHandlingConsumer.providedBy(consumer):
            consumer.set_download_status_read_event(read_event)
            consumer.set_download_status(self._download_status)
        if self._history:
            self._history.stats_provider.count("downloader.files_downloaded", 1)
            self._history.stats_provider.count("downloader.bytes_downloaded", size)
        return read_event

    def _begin(self, driver: Driver, delivery: _ReadDelivery) -> defer.Deferred[Any]:
        """Let a delivery begin; fires when it is over, with an error of Tahoe's if it failed."""
        reader, start, stop = delivery.reader, delivery.position, delivery.stop_at
        self._deliveries[reader] = delivery

        def over(result: Any) -> Any:
            self._deliveries.pop(reader, None)
            delivery.read_event.finished(time.time())
            return self._as_tahoe_result(result)

        d = delivery.done.addBoth(over)
        try:
            delivery.begin()
        except BaseException:  # the consumer's own fault, and the caller's to see, as in stock
            self._deliveries.pop(reader)
            delivery.read_event.finished(time.time())
            raise
        if not delivery.is_over:
            driver.join(r.ReaderJoined(reader, start, stop), reader, delivery)
        return d

    def _as_tahoe_result(self, result: Any) -> Any:
        """The same, but a failure with the error that stock would raise."""
        if isinstance(result, Failure):
            return Failure(as_tahoe_error(result.value, self._si_prefix), exc_tb=result.tb)
        return result

    def _on_delivered(self, reader: int, position: int) -> None:
        delivery, driver = self._deliveries[reader], self._driver
        if driver is not None:
            driver.delivered(reader, position)
        delivery.read_event.update(position - delivery.counted, 0, 0)
        delivery.counted = position

    def _on_left(self, reader: int) -> None:
        if self._driver is not None:
            self._driver.leave(reader)

    # -- get_segment, get_segsize ---------------------------------------------

    def get_segment(self, segnum: int, logparent: Any = None) -> tuple[defer.Deferred[Any], Any]:
        """One whole segment.

        :return: ``(d, c)``: d fires with (file position, ciphertext, decode
            seconds) or ``BadSegmentNumberError`` and the errors of
            :meth:`read`; after ``c.cancel()`` it never fires.
        """
        made = self._prepare(_new_reader)
        if made is None:
            stock = self._stock_node()
            return stock.get_segment(segnum, logparent)  # type: ignore[no-any-return]
        driver, reader = made
        d: defer.Deferred[Any] = defer.Deferred()

        def cancelled(_cancel: Any) -> None:
            self._pending.pop(reader, None)
            driver.leave(reader)

        cancel = Cancel(cancelled)

        def finished(result: Any) -> None:
            self._pending.pop(reader, None)
            if cancel.active:
                cancel.active = False
                driver.leave(reader)
                d.callback(self._as_tahoe_result(result))

        def ask_stock(stock: Any) -> defer.Deferred[Any]:
            stock_d, stock_cancel = stock.get_segment(segnum)
            cancel._f = lambda _cancel: stock_cancel.cancel()
            return stock_d  # type: ignore[no-any-return]

        self._pending[reader] = _Pending(ask_stock, finished)
        driver.join(r.SegmentAsked(reader, segnum), reader, _SegmentSink(finished))
        return d, cancel

    def get_segsize(self) -> defer.Deferred[int]:
        """Fires with the file's segment size in bytes; fails as :meth:`read` does."""
        made = self._prepare(_new_reader)
        if made is None:
            return self._stock_node().get_segsize()  # type: ignore[no-any-return]
        driver, reader = made
        if driver.core.geometry is not None:
            return defer.succeed(driver.core.geometry.segment_size)
        d: defer.Deferred[int] = defer.Deferred()

        def finished(result: Any) -> None:
            self._pending.pop(reader, None)
            d.callback(self._as_tahoe_result(result))

        def ask_stock(stock: Any) -> defer.Deferred[Any]:
            return stock.get_segsize()  # type: ignore[no-any-return]

        self._pending[reader] = _Pending(ask_stock, finished)
        driver.join(r.SegmentSizeAsked(reader), reader, _SegmentSink(finished), on_size=finished)
        return d

    # -- fallback -------------------------------------------------------------

    def _stock_node(self) -> Any:
        """Tahoe's own node, made when first needed.

        If it cannot be made either, what asks now has to hear of it, and the next request
        begins anew.
        """
        if self._stock is None:
            try:
                self._stock = self._make_stock()
            except Exception:  # noqa: BLE001 - whatever it is, the readers have to hear of it
                return NobodyLeft(Failure())
        return self._stock

    def _fall_back(self, failure: Failure) -> None:
        """Our code broke: the stock downloader finishes what is open."""
        self._hub.count("unsupported" if failure.check(errors.FileTooLarge) else "fallbacks")
        if not self._running:
            return
        self._driver = None
        stock = self._stock_node()
        for delivery in list(self._deliveries.values()):
            finish_on_stock(stock, delivery, repr(self))
        pending, self._pending = list(self._pending.values()), {}
        for each in pending:
            defer.maybeDeferred(each.ask, stock).addBoth(each.finished)
