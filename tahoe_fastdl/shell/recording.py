"""What a download tells whoever records it.

:class:`Recorder` and :class:`Recording` are the interface; ``status.journal``
implements it, ``watcher`` calls it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import frozen

from ..core.watching import ReadNow, Standing


@frozen
class FileFacts:
    """What is known of a file before anything is fetched.  No key, no hash."""

    storage_index: str  # base32
    size: int
    k: int
    n: int


@frozen
class ServerFacts:
    """Who a server says it is: hostile text, as it came."""

    name: str
    serverid: str
    transport: str  # "Foolscap", "HTTP" or ""


@frozen
class ServerShare:
    """One share on one server."""

    share: int
    shnum: int
    server: int


class Recording(Protocol):
    """What is kept of one download.  All times are monotonic seconds, sizes bytes."""

    def resumed(self, look: Callable[[], Standing]) -> None:
        """The same node reads on after nobody read for a while.  *look* as in ``begin``."""

    def ended(self, now: float, standing: Standing) -> None:
        """Nobody reads any more."""

    def fell_back(self, now: float, reason: str, is_fault: bool) -> None:
        """The stock downloader goes on.  *is_fault*: for our own code broke."""

    def wanted(self, now: float, reader: int, start: int, stop: int) -> None:
        """A reader's range is known."""

    def delivered(self, now: float, reader: int, start: int, stop: int) -> None:
        """A reader has these bytes."""

    def left(self, now: float, reader: int, is_early: bool) -> None:
        """A reader is gone, perhaps before it had everything."""

    def failed(self, now: float, reader: int, reason: str) -> None:
        """A reader cannot be served."""

    def paused(self, now: float, reader: int) -> None:
        """A reader's consumer takes nothing for now."""

    def unpaused(self, now: float, reader: int) -> None:
        """It goes on."""

    def asked(self, now: float, server: int) -> int:
        """A server was asked for shares; a number for its answer."""

    def found(self, now: float, question: int, server: int, shnums: list[int] | None) -> None:
        """It named these, or (None) failed."""

    def sent(
        self, now: float, read: ReadNow, start: int, length: int, late: tuple[int, ...]
    ) -> None:
        """A read was sent; *late* are the servers whose late reads it makes up for."""

    def overdue(self, now: float, read: ReadNow) -> None:
        """A read became late, or stalled."""

    def abandoned(self, now: float, read: int) -> None:
        """A read counts as failed: no answer."""

    def answered(self, now: float, read: int, length: int, is_wasted: bool) -> None:
        """A read's bytes are here; perhaps nobody waited for them any more."""

    def scouted(self, blocks: dict[int, tuple[int, int]], under_way: list[ReadNow]) -> None:
        """Now that sizes are known: blocks ``[first, stop)`` of each of these shares came
        with its first read; other reads are under way, and it is known for which blocks."""

    def read_failed(self, now: float, read: int, reason: str) -> None:
        """A read failed."""

    def blocks(self, now: float, share: ServerShare, state: str, mask: int) -> None:
        """Blocks of a share are "wanted" and wait for a slot, or are "bad"."""

    def lied(self, now: float, share: ServerShare, reason: str) -> None:
        """Part of a share proved corrupt, and its server is told."""

    def worked(
        self, began: float, spent: tuple[float, float, float], first: int, stop: int, thread: int
    ) -> None:
        """A worker decoded, verified and decrypted segments, for so many seconds each."""

    def sampled(self, now: float, standing: Standing) -> None:
        """How the download stands."""


class Recorder(Protocol):
    """Whoever keeps the recordings of one client."""

    def begin(self, facts: FileFacts, look: Callable[[], Standing]) -> Recording:
        """A download begins.

        :param look: tells how it stands; not to be kept when it has ended, for all
            that is known of the file hangs on it.
        """

    def know(self, server: int, whose: object, tell: Callable[[], ServerFacts]) -> None:
        """The server of this number.

        :param whose: another object if what *tell* tells may have changed.
        """
