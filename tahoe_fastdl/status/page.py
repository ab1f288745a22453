"""/storage-plugins/tahoe-fastdl/: what is there, and at which address.

Owns the tree of resources and looks up what they show; docs/download-page.rst
describes each address.  Shows counters, options, storage indexes and what
servers call themselves: no cap, key or file content.
"""

from __future__ import annotations

import re
from typing import Any

import allmydata
from twisted.web.http import FOUND, NOT_FOUND
from twisted.web.resource import Resource

from .. import __version__, errors, seam
from ..settings import as_text
from ..shell.hub import Hub
from . import views
from .counters import counters, gauges
from .metrics import CONTENT_TYPE, metrics
from .record import Record
from .shells import DownloadShell, OverviewShell, render
from .text import MAX_TEXT, clean
from .trace import trace
from .web import HTML, JSON, Made, NotFound, Page, StaticFiles, to_json

_DOCUMENT = re.compile(rb"([0-9]{1,15})(\.trace)?\.json")
_NUMBER = re.compile(rb"[0-9]{1,15}")


class Client:
    """What the page knows of the client with one tahoe.cfg."""

    def __init__(self, node_config: Any) -> None:
        self._node_config = node_config

    @property
    def hub(self) -> Hub | None:
        """None before the first download."""
        return seam.hub_of_config(self._node_config)

    def why_not(self) -> str | None:
        """Why downloads use stock, or None: they do not."""
        why = seam.unknown_tahoe_of_process() or seam.check_options(self._node_config)
        return None if why is None else clean(why, MAX_TEXT)

    def options(self) -> list[tuple[str, str]]:
        """Those in force; none if there is something wrong with them."""
        try:
            return as_text(seam.settings_of_config(self._node_config))
        except errors.BadOption:
            return []

    def counters(self) -> dict[str, int]:
        """What was counted since the node started."""
        return counters(self.hub)

    def counters_and_gauges(self) -> dict[str, int]:
        """``counters.json``."""
        return {**self.counters(), **gauges(self.hub)}

    def overview(self) -> views.Json:
        """The document at ``v1/overview.json``."""
        return views.overview(
            self.hub, self.why_not(), __version__, tahoe_version(), self.options(), self.counters()
        )

    def record(self, number: int) -> Record | None:
        """A download that is still kept."""
        return views.journal_of(self.hub).get(number)

    def download(self, record: Record) -> views.Json:
        """The document at ``v1/downloads/N.json``."""
        return views.download(record, views.journal_of(self.hub), __version__, tahoe_version())

    def metrics(self) -> str:
        """OpenMetrics."""
        return metrics(self.hub, self.why_not() is None, __version__, tahoe_version())


def tahoe_version() -> str:
    """Tahoe's own word."""
    return clean(str(allmydata.__version__))


class StatusPage(Page):
    """The overview, and the root of all."""

    def __init__(self, node_config: Any) -> None:
        super().__init__()
        client = self._client = Client(node_config)
        version_1 = Page()
        version_1.putChild(b"overview.json", Made(JSON, lambda: to_json(client.overview())))
        version_1.putChild(b"downloads", Downloads(client))
        self.putChild(b"", self)
        self.putChild(b"v1", version_1)
        self.putChild(b"download", DownloadPage(client))
        self.putChild(b"static", StaticFiles())
        self.putChild(b"metrics", Made(CONTENT_TYPE, lambda: client.metrics().encode("utf-8")))
        self.putChild(b"counters.json", Made(JSON, lambda: to_json(client.counters_and_gauges())))

    def answer(self, request: Any) -> bytes:
        """The page; without the slash at its end, the way there."""
        prepath = getattr(request, "prepath", None)
        if prepath and prepath[-1] != b"":
            request.setResponseCode(FOUND)
            request.setHeader(b"location", prepath[-1] + b"/")
            return b""
        request.setHeader(b"content-type", HTML)
        return render(OverviewShell(self._client.overview()))


class DownloadPage(Page):
    """``download?id=N``; what else may be named there is the script's business."""

    def __init__(self, client: Client) -> None:
        super().__init__()
        self._client = client

    def answer(self, request: Any) -> bytes:
        """The page of a download, 404 if it is not kept (any more)."""
        request.setHeader(b"content-type", HTML)
        named = request.args.get(b"id", [b""])[0]
        number = int(named) if _NUMBER.fullmatch(named) else None
        record = None if number is None else self._client.record(number)
        if number is not None and record is None:
            request.setResponseCode(NOT_FOUND)
        document = None if record is None else self._client.download(record)
        return render(DownloadShell(number, document))


class Downloads(Page):
    """``v1/downloads/``: the documents of single downloads."""

    def __init__(self, client: Client) -> None:
        super().__init__()
        self._client = client

    def getChild(self, path: bytes, request: Any) -> Resource:
        """``N.json`` or ``N.trace.json``."""
        named = _DOCUMENT.fullmatch(path)
        record = self._client.record(int(named.group(1))) if named else None
        if named is None or record is None:
            return NotFound()
        return DownloadDocument(self._client, record, is_trace=named.group(2) is not None)


class DownloadDocument(Page):
    """The events of one download, as our document or as a trace."""

    def __init__(self, client: Client, record: Record, is_trace: bool) -> None:
        super().__init__()
        self._client = client
        self._record = record
        self._is_trace = is_trace

    def answer(self, request: Any) -> bytes:
        """With ``save=1`` a browser saves it to a file."""
        document = self._client.download(self._record)
        if request.args.get(b"save") == [b"1"]:
            name = f"tahoe-fastdl-download-{self._record.id}{'.trace' * self._is_trace}.json"
            request.setHeader(
                b"content-disposition", f'attachment; filename="{name}"'.encode("ascii")
            )
        request.setHeader(b"content-type", JSON)
        return to_json(trace(document) if self._is_trace else document)
