"""The two HTML pages: a shell for the scripts, and tables for who has none.

Takes the JSON documents that the scripts take and shows part of them.  The
element ids ``overview`` and ``viewer`` and their ``data-src`` are what the
scripts hold on to; docs/download-page.rst lists them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any

from twisted.python.failure import Failure
from twisted.web.template import Element, Tag, XMLString, flattenString, renderer, tags

Json = dict[str, Any]

_ABBREVIATED = 12  # letters of a storage index, as many as tell files apart


def _template(name: str) -> XMLString:
    """Read through ``importlib.resources``: this package may be in a zip.

    Named in full, as ``__package__`` is None there while Python 3.9 imports this.
    """
    return XMLString(
        (files("tahoe_fastdl.status") / "templates" / name).read_text(encoding="utf-8")
    )


def render(element: Element) -> bytes:
    """The page as bytes.  Nothing in our elements waits, so it is there at once."""
    found: list[Any] = []
    flattenString(None, element).addBoth(found.append)
    (page,) = found
    if isinstance(page, Failure):
        page.raiseException()
    return b"".join((b"<!DOCTYPE html>\n", page, b"\n"))


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]], nothing: str) -> Tag:
    body = [tags.tr(*(tags.td(cell) for cell in row)) for row in rows]
    if not body:
        return tags.p(nothing, class_="empty")
    head = tags.thead(tags.tr(*(tags.th(text, scope="col") for text in heads)))
    return tags.table(head, tags.tbody(*body))


def _bytes(number: float | None) -> str:
    return "" if number is None else f"{number:,.0f}"


def _rate(number: float | None) -> str:
    return "" if number is None else f"{number / 1e6:.2f} MB/s"


def _seconds(number: float | None) -> str:
    return "" if number is None else f"{number:.3f} s"


def _when(unix: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(unix))


class OverviewShell(Element):
    """The overview."""

    loader = _template("overview.xhtml")

    def __init__(self, document: Json) -> None:
        """:param document: of ``v1/overview.json``."""
        super().__init__()
        self._document = document

    @renderer
    def version(self, request: Any, tag: Tag) -> str:
        """Ours."""
        return str(self._document["plugin"])

    @renderer
    def state(self, request: Any, tag: Tag) -> Tag:
        """Whether it is on."""
        why_not = self._document["why_not"]
        return tag("on" if why_not is None else f"off, downloads use stock: {why_not}")

    @renderer
    def fallback(self, request: Any, tag: Tag) -> Tag | str:
        """The last one."""
        last = self._document["last_fallback"]
        if last is None:
            return ""
        text = f"Last fallback: download {last['id']}, {_when(last['at'])}: {last['reason']}"
        return tag(text, class_="problem")

    @renderer
    def downloads(self, request: Any, tag: Tag) -> Tag:
        """Running ones first."""
        heads = (
            "download", "file", "state", "delivered", "size", "encoding", "time", "rate",
            "first byte", "reads", "hedges", "wasted",
        )  # fmt: skip
        rows = (
            (
                tags.a(str(each["id"]), href=f"download?id={each['id']}"),
                each["storage_index"][:_ABBREVIATED],
                each["state"] + (f": {each['why']}" if each["why"] else ""),
                _bytes(each["delivered_bytes"]),
                _bytes(each["size"]),
                f"{each['k']}-of-{each['n']}",
                _seconds(each["seconds"]),
                _rate(each["rate_bytes_per_s"]),
                _seconds(each["first_byte_s"]),
                str(each["reads"]),
                str(each["hedges"]),
                _bytes(each["wasted_bytes"]),
            )
            for each in self._document["downloads"]
        )
        return _table(heads, rows, "Nothing was downloaded since the node started.")

    @renderer
    def servers(self, request: Any, tag: Tag) -> Tag:
        """Those that were asked something."""
        heads = ("server", "transport", "latency", "rate", "reads", "bytes", "errors", "lies",
                 "hedged", "state")  # fmt: skip
        rows = (
            (
                each["name"],
                each["transport"],
                _seconds(each["latency_s"]),
                _rate(each["rate_bytes_per_s"]),
                str(each["reads"]),
                _bytes(each["bytes"]),
                str(each["errors"]),
                str(each["lies"]),
                str(each["hedged"]),
                "stalled" if each["stalled"] else "",
            )
            for each in self._document["servers"]
        )
        return _table(heads, rows, "No server was asked for anything yet.")

    @renderer
    def options(self, request: Any, tag: Tag) -> Tag:
        """As tahoe.cfg has them, or their defaults."""
        return _table(("option", "value"), self._document["options"], "None.")

    @renderer
    def totals(self, request: Any, tag: Tag) -> Tag:
        """All counters."""
        rows = ((name, _bytes(value)) for name, value in self._document["totals"].items())
        return _table(("what", "number"), rows, "None.")


class DownloadShell(Element):
    """One download, or a place to open a saved one in."""

    loader = _template("download.xhtml")

    def __init__(self, number: int | None, document: Json | None) -> None:
        """
        :param number: as in the address; None: none was named.
        :param document: of ``v1/downloads/N.json``; None: there is no such download.
        """
        super().__init__()
        self._number = number
        self._document = document

    @renderer
    def title(self, request: Any, tag: Tag) -> str:
        """Its number."""
        return "A download" if self._number is None else f"Download {self._number}"

    @renderer
    def viewer(self, request: Any, tag: Tag) -> Tag:
        """Where the script finds the events."""
        if self._number is not None:
            tag(**{"data-src": f"v1/downloads/{self._number}.json"})
        return tag

    @renderer
    def about(self, request: Any, tag: Tag) -> Tag:
        """What can be told without a picture."""
        if self._document is None:
            text = "Saved downloads, and Tahoe's own, are shown by a script."
            if self._number is not None:
                text = "This download is not kept any more."
            return tags.p(text)
        summary = self._document["summary"]
        pairs = [(name.replace("_", " "), str(value)) for name, value in summary.items()]
        return tags.div(
            _table(("what", "value"), pairs, ""),
            tags.h2("Servers"),
            _table(
                ("server", "reads", "late", "failed", "wasted", "slowest read"),
                self._servers(self._document),
                "No server was asked.",
            ),
            tags.h2("Problems"),
            _table(
                ("at", "what"),
                ((_seconds(at), text) for at, text in self._document["problems"]),
                "None.",
            ),
        )

    @staticmethod
    def _servers(document: Json) -> Iterable[Sequence[str]]:
        columns = document["columns"]["reads"]
        for index, server in enumerate(document["servers"]):
            reads = [
                read
                for read in (dict(zip(columns, row)) for row in document["reads"])
                if document["shares"][read["share"]]["server"] == index
            ]
            now = document["now_s"]
            slowest = max(
                ((read["done_s"] or now) - read["sent_s"] for read in reads), default=None
            )
            yield (
                server["name"],
                str(len(reads)),
                str(sum("late" in read["flags"] for read in reads)),
                str(sum(read["state"] in ("failed", "abandoned") for read in reads)),
                str(sum("wasted" in read["flags"] for read in reads)),
                _seconds(slowest),
            )
