"""How the stock downloader finishes what ours began.

Owns nothing: a stock node, or what stands for one that cannot be made, is lent by
``node.py``, and the delivery whose read goes on stays in charge of its consumer.
"""

from __future__ import annotations

from typing import Any

from allmydata.immutable.downloader.node import Cancel
from allmydata.util import log
from twisted.internet import defer
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure
from zope.interface import implementer

from .consumers import DecryptingConsumer
from .shell.delivery import Delivery


@implementer(IConsumer)
class _Relay:
    """Between a stock download and the delivery whose read it finishes."""

    def __init__(self, delivery: Delivery, target: Any) -> None:
        self._delivery = delivery
        self._target = target

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """The stock producer takes its orders from the delivery's consumer."""
        self._delivery.hand_over(producer)

    def unregisterProducer(self) -> None:
        """The delivery unregisters itself when the read is done."""

    def write(self, data: bytes) -> None:
        """Ciphertext or plaintext, as the reader wants it."""
        self._target.write(data)


class NobodyLeft:
    """In place of a stock node that cannot be made either: every request fails."""

    def __init__(self, failure: Failure) -> None:
        self._failure = failure

    def read(self, consumer: Any, offset: int, size: int) -> defer.Deferred[Any]:
        """Fails."""
        return defer.fail(self._failure)

    def get_segment(self, segnum: int, logparent: Any = None) -> tuple[defer.Deferred[Any], Any]:
        """Fails."""
        return defer.fail(self._failure), Cancel(lambda _cancel: None)

    def get_segsize(self) -> defer.Deferred[int]:
        """Fails."""
        return defer.fail(self._failure)


def finish_on_stock(stock: Any, delivery: Delivery, whose: str) -> None:
    """Let *stock* read what the delivery's consumer still lacks.

    :param stock: a ``DownloadNode`` of Tahoe's, or :class:`NobodyLeft`.
    :param whose: names the node in the log.
    """
    position, stop = delivery.position, delivery.stop_at
    target: Any = delivery.consumer
    if delivery.readkey is not None:
        target = DecryptingConsumer(target, delivery.readkey, position)
    log.msg(
        format="fastdl: %(node)s goes on with stock at byte %(position)d",
        node=whose,
        position=position,
        level=log.UNUSUAL,
        facility="tahoe.fastdl",
    )
    d = defer.maybeDeferred(stock.read, _Relay(delivery, target), position, stop - position)
    d.addCallbacks(lambda _: delivery.hand_back(None), delivery.hand_back)
    d.addErrback(log.err, "fastdl: error at the end of a fallback", level=log.WEIRD)
