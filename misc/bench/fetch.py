"""One web download that can be given up: how much came, when, and whether it is all.

A download is given up by closing its connection, which the node takes as any
browser's leaving: it stops to fetch. Assumes a node that is up.
"""

from __future__ import annotations

import http.client
import socket
import time
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from misc.grid import Client, GridError
from misc.late_hash import LateHash
from misc.node_process import without_caps

READ_BYTES = 256 << 10
# A limit that is over before enough came waits for it, up to so many times as long.
PATIENCE = 4.0


@dataclass(frozen=True)
class Fetched:
    """What came; times in seconds from the request."""

    length: int
    sha256: str
    first_byte_s: float  # 0 when none came
    last_byte_s: float  # of the last that came
    is_whole: bool


def fetch(
    client: Client,
    cap: str,
    limit_s: float,
    least_bytes: int = 1,
    start: int | None = None,
    stop: int | None = None,
) -> Fetched:
    """Download a file, or its bytes ``[start, stop)``, for ``limit_s`` seconds at most.

    :param least_bytes: what should come in any case, even if it takes longer.
    :raise GridError: the node refused, or broke it off before its end.
    """
    place = urlsplit(client.url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=limit_s)
    headers = {} if start is None or stop is None else {"Range": f"bytes={start}-{stop - 1}"}
    began = time.perf_counter()
    progress = _Progress(began, limit_s, least_bytes)
    try:
        connection.request("GET", "/uri/" + quote(cap, safe=""), headers=headers)
        assert isinstance(connection.sock, socket.socket)
        return progress.follow(connection, connection.sock)
    except TimeoutError:
        return progress.fetched(is_whole=False)
    except (OSError, http.client.HTTPException) as problem:
        raise client.failure(f"broke off a request ({problem!r})") from problem
    finally:
        connection.close()


class _Progress:
    """How far one download is."""

    def __init__(self, began: float, limit_s: float, least_bytes: int) -> None:
        self._began = began
        self._limit_s = limit_s
        self._least_bytes = least_bytes
        self._hasher = LateHash()
        self._length = 0
        self._first_byte_s = self._last_byte_s = 0.0

    def follow(self, connection: http.client.HTTPConnection, sock: socket.socket) -> Fetched:
        """Read until the end or the limit.

        :raise TimeoutError: the limit.
        """
        sock.settimeout(PATIENCE * self._limit_s)
        response = connection.getresponse()
        if response.status not in (200, 206):
            said = without_caps(response.read(2000).decode("utf-8", "replace"))
            raise GridError(f"the node answered {response.status}: {said}")
        announced = response.headers.get("Content-Length")
        # ``read1`` gives what is there; ``read`` would wait for a full buffer.
        while chunk := response.read1(READ_BYTES):
            self._last_byte_s = time.perf_counter() - self._began
            if not self._length:
                self._first_byte_s = self._last_byte_s
            self._length += len(chunk)
            self._hasher.update(chunk)
            if announced is None or self._length < int(announced):
                self._mind_limit(sock)
        # Tahoe reports an error in mid-file only by ending the body early.
        if announced is not None and int(announced) != self._length:
            raise GridError(f"the body ended after {self._length} of {announced} bytes")
        return self.fetched(is_whole=True)

    def _mind_limit(self, sock: socket.socket) -> None:
        limit_s = self._limit_s * (1 if self._length >= self._least_bytes else PATIENCE)
        left_s = self._began + limit_s - time.perf_counter()
        if left_s <= 0:
            raise TimeoutError
        sock.settimeout(left_s)

    def fetched(self, is_whole: bool) -> Fetched:
        """What came until now."""
        return Fetched(
            self._length,
            self._hasher.hexdigest(),
            self._first_byte_s,
            self._last_byte_s,
            is_whole,
        )
