"""Says in Tahoe's own status of a download that it waits, and for which shares.

Tahoe's status makes its text from its events and has no other place for a word of
ours.  So its ``get_status`` is wrapped, for the one download that has to wait and
from then on; the same goes into its timeline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from allmydata.util import log


class Waiting:
    """What one download status says about waiting: nothing, until it is told."""

    def __init__(self, download_status: Any) -> None:
        self._status = download_status
        self._text = ""
        self._event: dict[str, Any] = {}  # the newest, in Tahoe's timeline
        self._stock_text: Callable[[], str] | None = None

    @property
    def is_on(self) -> bool:
        """Whether it waits now."""
        return bool(self._text)

    def tell(self, whom: Iterable[str], now: float) -> None:
        """From now on it waits for these shares; for none, it does not wait.

        :param whom: each share's number and server.
        :param now: seconds since the epoch.
        """
        names = ", ".join(whom)
        text = f"waiting for {names}, no share is spare" if names else ""
        if text == self._text:
            return
        self._text = text
        self._event["finish_time"] = now
        if not text:
            return
        if self._stock_text is None:
            self._stock_text = self._status.get_status
            self._status.get_status = self._get_status
        self._status.add_misc_event(text, now)
        self._event = self._status.misc_events[-1]
        log.msg(format="fastdl: %(text)s", text=text, level=log.UNUSUAL, facility="tahoe.fastdl")

    def _get_status(self) -> str:
        """As ``IDownloadStatus``: a line for people."""
        assert self._stock_text is not None
        said = self._stock_text()
        return f"{said}; {self._text}" if self._text else said
