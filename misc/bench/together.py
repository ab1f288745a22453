"""Web downloads that go on at once, all read by one thread.

What a reader costs counts as the node's on a machine with as many busy nodes as cores. Ten
threads of one interpreter wait for each other, and memory that was never used costs a page
fault for each 4 KiB of it, which the second of two downloads one after another is spared: both
would make ten at once look slower than they are. Here everything goes into memory that has been
written to before, and is hashed when all is there. Law: however many there are, a byte costs
the reader the same.
"""

from __future__ import annotations

import hashlib
import re
import selectors
import socket
import time
from collections.abc import Sequence
from urllib.parse import quote, urlsplit

from misc.grid import Client, GridError
from misc.node_process import without_caps

PIECE_BYTES = 256 << 10
HEAD_BYTES = 16 << 10  # of an answer, at most
LENGTH = re.compile(rb"\r\nContent-Length: *(\d+)\r\n", re.IGNORECASE)


def make_buffers(count: int, length: int) -> list[bytearray]:
    """Memory for *count* files of *length* bytes."""
    # Not zeros, which are no memory yet.
    return [bytearray(b"\xff") * (HEAD_BYTES + length) for _ in range(count)]


def fetch_together(
    client: Client, caps: Sequence[str], buffers: Sequence[bytearray], limit_s: float
) -> list[tuple[float, str]]:
    """Download files at once, each into a buffer of its own.

    :return: each one's seconds from the first request, and its SHA-256 in hex.
    :raise GridError: the node refused one, broke it off, or sent nothing for ``limit_s``.
    """
    bodies = [_Body(client, cap, buffer) for cap, buffer in zip(caps, buffers)]
    with selectors.DefaultSelector() as selector:
        began = time.perf_counter()
        try:
            for body in bodies:
                body.ask()
                selector.register(body.sock, selectors.EVENT_READ, body)
            while selector.get_map():
                ready = selector.select(limit_s)
                if not ready:
                    raise client.failure("sent nothing for too long")
                for key, _events in ready:
                    if key.data.read_some():
                        key.data.seconds = time.perf_counter() - began
                        selector.unregister(key.data.sock)
        except OSError as problem:
            raise client.failure(f"broke off a request ({problem!r})") from problem
        finally:
            for body in bodies:
                body.sock.close()
    return [(body.seconds, body.sha256()) for body in bodies]


class _Body:
    """One download, and how far it is."""

    def __init__(self, client: Client, cap: str, buffer: bytearray) -> None:
        place = urlsplit(client.url)
        self.sock = socket.socket()
        self.seconds = 0.0
        self._address = (place.hostname or "", place.port or 0)
        self._client = client
        self._path = "/uri/" + quote(cap, safe="")
        self._view = memoryview(buffer)
        self._length = 0  # of what came, the head included
        self._begins_at = 0
        self._ends_at: int | None = None  # unknown until the head is here

    def ask(self) -> None:
        """Send the request."""
        self.sock.connect(self._address)
        head = f"GET {self._path} HTTP/1.1\r\nHost: {self._address[0]}\r\nConnection: close\r\n\r\n"
        self.sock.sendall(head.encode("ascii"))
        self.sock.setblocking(False)

    def read_some(self) -> bool:
        """Take what is there, and say whether that is all.

        :raise GridError: it is not what was asked for.
        """
        room = self._view[self._length : self._length + PIECE_BYTES]
        count = self.sock.recv_into(room) if room else 0
        self._length += count
        if self._ends_at is None:
            self._read_head()
        if count == 0 or (self._ends_at is not None and self._length > self._ends_at):
            raise self._client.failure(f"sent {self._length} bytes and no more of {self._ends_at}")
        return self._length == self._ends_at

    def _read_head(self) -> None:
        came = bytes(self._view[: min(self._length, HEAD_BYTES)])
        head, end, said = came.partition(b"\r\n\r\n")
        if not end:
            return
        length = LENGTH.search(head + b"\r\n")
        if not head.startswith(b"HTTP/1.1 200 ") or length is None:
            text = without_caps(said[:2000].decode("utf-8", "replace"))
            raise GridError(f"the node answered {head[:12]!r}: {text}")
        self._begins_at = len(head) + len(end)
        self._ends_at = self._begins_at + int(length[1])

    def sha256(self) -> str:
        """Of all of it."""
        return hashlib.sha256(self._view[self._begins_at : self._length]).hexdigest()
