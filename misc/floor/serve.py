"""Floor (c): the web port of a node, serving bytes that are in memory already.

A process of its own with Twisted's default reactor and Tahoe's own site class,
``TahoeLAFSSite``. The bytes lie there in pieces of 1 MiB and are written by a
streaming producer, one piece whenever the connection has room: as a download is
delivered that has everything at hand.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# Appended: this is run as a script, and then ``misc`` is not on the path.
sys.path.append(str(Path(__file__).resolve().parent.parent.parent))

from allmydata.webish import TahoeLAFSSite
from twisted.internet import endpoints, reactor
from twisted.internet.interfaces import IPushProducer
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from misc.floor import orders

PIECE_BYTES = 1 << 20  # what a delivery hands on at most at a time


@implementer(IPushProducer)
class PieceProducer:
    """Writes pieces to one request, in order, at its pace."""

    def __init__(self, request: Any, pieces: list[bytes]) -> None:
        self._request = request
        self._left = iter(pieces)
        self._is_paused = False
        self._is_writing = False

    def resumeProducing(self) -> None:
        """Write until told to pause; ends the response after the last piece."""
        self._is_paused = False
        if self._is_writing:  # resumed from inside write()
            return
        self._is_writing = True
        while not self._is_paused:
            piece = next(self._left, None)
            if piece is None:
                self._request.unregisterProducer()
                self._request.finish()
                return
            self._request.write(piece)
        self._is_writing = False

    def pauseProducing(self) -> None:
        """The connection has enough for now."""
        self._is_paused = True

    def stopProducing(self) -> None:
        """The reader left."""
        self._is_paused = True
        self._left = iter(())


class Memory(Resource):
    """Any path below gives the same bytes."""

    isLeaf = True

    def __init__(self, pieces: list[bytes]) -> None:
        super().__init__()
        self._pieces = pieces

    def render_GET(self, request: Any) -> Any:
        """The body, by a producer."""
        length = sum(map(len, self._pieces))
        request.setHeader(b"content-type", b"application/octet-stream")
        request.setHeader(b"content-length", b"%d" % length)
        producer = PieceProducer(request, self._pieces)
        request.registerProducer(producer, True)
        producer.resumeProducing()
        return NOT_DONE_YET


async def obey(order: orders.Order) -> orders.Answer:
    """``serve`` opens a port; ``cpu`` says what the process has used so far."""
    if "cpu" in order:
        return {"cpu_s": time.process_time()}
    length = int(order["serve"]["length"])
    hasher = hashlib.sha256()
    pieces = []
    for start in range(0, length, PIECE_BYTES):
        pieces.append(os.urandom(min(PIECE_BYTES, length - start)))
        hasher.update(pieces[-1])
    site = TahoeLAFSSite(tempfile.TemporaryFile, Memory(pieces))
    endpoint = endpoints.serverFromString(reactor, "tcp:0:interface=127.0.0.1")
    port = await endpoint.listen(site)
    return {"url": f"http://127.0.0.1:{port.getHost().port}/", "sha256": hasher.hexdigest()}


if __name__ == "__main__":
    orders.run_twisted(obey)
