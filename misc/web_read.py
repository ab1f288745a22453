"""One web download held in the hand: it can wait in mid-file and be broken off.

Takes no more than it is asked for and keeps little in the socket, so that the node
feels a reader that waits or is slow, as it would over a line of its own.
"""

from __future__ import annotations

import http.client
import socket
from types import TracebackType
from urllib.parse import quote, urlsplit

from misc.grid_client import Client
from misc.node_process import GridError, without_caps

RECEIVE_BUFFER_BYTES = 64 << 10
PIECE_BYTES = 64 << 10

# What Tahoe adds to the body in place of the bytes that it cannot give; the rest is missing.
PROBLEM = b"problem during download\n"


class _Connection(http.client.HTTPConnection):
    """Holds little that nobody has taken."""

    def connect(self) -> None:
        """As ``HTTPConnection``; the buffer's size is agreed on with the connection."""
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self.sock.settimeout(self.timeout)
        self.sock.connect((self.host, self.port))


class WebRead:
    """A GET of a file, or of its bytes ``[start, stop)``; asked when the ``with`` block begins.

    :param timeout_s: the longest wait for bytes.
    """

    def __init__(
        self,
        client: Client,
        cap: str,
        start: int | None = None,
        stop: int | None = None,
        timeout_s: float = 600.0,
    ) -> None:
        place = urlsplit(client.url)
        self._connection = _Connection(place.hostname or "", place.port, timeout=timeout_s)
        self._path = "/uri/" + quote(cap, safe="")
        # On a connection that stays open nothing shows that a body ended early.
        self._headers = {"Connection": "close"}
        if start is not None or stop is not None:
            last = "" if stop is None else str(stop - 1)
            self._headers["Range"] = f"bytes={start or 0}-{last}"
        self._response: http.client.HTTPResponse | None = None
        self.refusal = ""  # status and text, when the node answered with an error
        self.announced = 0  # bytes of the body
        self.taken = 0

    def __enter__(self) -> WebRead:
        """:raise GridError: the node did not answer."""
        try:
            self._connection.request("GET", self._path, headers=self._headers)
            response = self._connection.getresponse()
            if response.status in (200, 206):
                self.announced = int(response.headers["Content-Length"])
                self._response = response
            else:
                said = without_caps(response.read(2000).decode("utf-8", "replace"))
                self.refusal = f"{response.status}: {said}"
        except (OSError, http.client.HTTPException) as problem:
            self._connection.close()
            raise GridError(f"the node did not answer a request ({problem!r})") from problem
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.break_off()

    def take(self, length: int = PIECE_BYTES) -> bytes:
        """The next bytes, at most so many; none at the end, which may come early.

        :raise TimeoutError: nothing came in time.
        """
        if self._response is None:
            return b""
        try:
            data = self._response.read1(length)
        except ConnectionError:  # also a way to break the body off
            data = b""
        self.taken += len(data)
        return data

    def break_off(self) -> None:
        """Close the connection, which to the node is a browser's leaving."""
        if self._response is not None:
            self._response.close()
        self._connection.close()
