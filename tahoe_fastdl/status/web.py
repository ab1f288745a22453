"""What every resource of the page has in common: headers, methods, errors, static files.

Laws: every answer, errors among them, carries ``HEADERS``; nothing but GET and
HEAD is answered with anything but 405; what goes wrong in a resource is logged
and answered with 500 and no detail; a static file is served only if its name
is in the listing of the directory and its ending in ``STATIC_TYPES``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from allmydata.util import log
from twisted.python.failure import Failure
from twisted.web.http import CACHED, INTERNAL_SERVER_ERROR, NOT_ALLOWED, NOT_FOUND
from twisted.web.resource import Resource

if TYPE_CHECKING:
    from importlib.abc import Traversable  # Python 3.14 has it in importlib.resources.abc only

HEADERS = {
    b"content-security-policy": (
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        b" connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",  # for browsers that do not know frame-ancestors
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
}
HTML, JSON = b"text/html; charset=utf-8", b"application/json"
STATIC = files("tahoe_fastdl.status") / "static"  # not a Path when this package is in a zip
STATIC_TYPES = {
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
}


def to_json(document: Any) -> bytes:
    """Plain ASCII: whatever a server called itself, no byte of it means anything to anybody."""
    return json.dumps(document, separators=(",", ":")).encode("ascii") + b"\n"


class Page(Resource):
    """The base of all: override :meth:`answer`."""

    def answer(self, request: Any) -> bytes:
        """The body; headers and status go into *request*."""
        return not_found(request)

    def getChild(self, path: bytes, request: Any) -> Resource:
        """Whatever was not put here is not found."""
        return NotFound()

    def render(self, request: Any) -> bytes:
        """Any method."""
        for name, value in HEADERS.items():
            request.setHeader(name, value)
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"allow", b"GET, HEAD")
            return _error(request, NOT_ALLOWED, "only GET and HEAD")
        try:
            return self.answer(request)
        except Exception:  # noqa: BLE001 - a page that fails must still carry its headers
            log.err(Failure(), "fastdl: error while making a page", level=log.WEIRD)
            return _error(request, INTERNAL_SERVER_ERROR, "internal error, see the node's log")


def _error(request: Any, code: int, text: str) -> bytes:
    request.setResponseCode(code)
    request.setHeader(b"content-type", JSON)
    return to_json({"error": text})


def not_found(request: Any) -> bytes:
    """404, as JSON."""
    return _error(request, NOT_FOUND, "not found")


class NotFound(Page):
    """There is nothing here, nor below."""


class Made(Page):
    """A body that a function makes at each request."""

    def __init__(self, content_type: bytes, make: Callable[[], bytes]) -> None:
        super().__init__()
        self._content_type = content_type
        self._make = make

    def answer(self, request: Any) -> bytes:
        """As it is now."""
        body = self._make()
        request.setHeader(b"content-type", self._content_type)
        return body


class StaticFiles(Page):
    """The files of one directory."""

    def __init__(self, directory: Traversable = STATIC) -> None:
        super().__init__()
        self._directory = directory

    def getChild(self, path: bytes, request: Any) -> Resource:
        """The name is looked up in a listing; it never becomes part of a path."""
        listing = self._directory.iterdir() if self._directory.is_dir() else ()
        for file in listing:
            if file.name.encode() == path and _ending(file) in STATIC_TYPES and file.is_file():
                return _StaticFile(file)
        return NotFound()


def _ending(file: Traversable) -> str:
    return PurePath(file.name).suffix


class _StaticFile(Page):
    """One of them."""

    def __init__(self, file: Traversable) -> None:
        super().__init__()
        self._file = file

    def answer(self, request: Any) -> bytes:
        """The file, or 304 for who has it."""
        body = self._file.read_bytes()
        request.setHeader(b"cache-control", b"no-cache")  # ask each time, take it if it changed
        request.setHeader(b"content-type", STATIC_TYPES[_ending(self._file)])
        tag = b'"' + hashlib.sha256(body).hexdigest()[:32].encode("ascii") + b'"'
        return b"" if request.setETag(tag) is CACHED else body
