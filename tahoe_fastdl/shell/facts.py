"""What Tahoe's objects say of themselves: the names and sizes of servers and files.

No key and no hash of a file is among it.  What a server says is hostile text, given as
it came.
"""

from __future__ import annotations

from typing import Any

from allmydata.storage_client import HTTPNativeStorageServer, NativeStorageServer
from allmydata.util import base32

from .recording import FileFacts, ServerFacts


def _text(value: object) -> str:
    """What Tahoe gives as bytes here and as text there."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def server_name(server: Any) -> str:
    """What Tahoe's own log and status call an ``IServer``."""
    return _text(server.get_name())


def facts_of_server(server: Any) -> ServerFacts:
    """What an ``IServer`` tells of itself."""
    nickname = _text(server.get_nickname() or "")
    if isinstance(server, HTTPNativeStorageServer):
        transport = "HTTP"
    else:
        transport = "Foolscap" if isinstance(server, NativeStorageServer) else ""
    return ServerFacts(
        # Tahoe's own words for "it has none"
        name=nickname if nickname not in ("", "?") else server_name(server),
        serverid=_text(server.get_longname()),
        transport=transport,
    )


def facts_of_file(verifycap: Any) -> FileFacts:
    """What a verify cap tells that is no secret."""
    return FileFacts(
        storage_index=_text(base32.b2a(verifycap.storage_index)),
        size=verifycap.size,
        k=verifycap.needed_shares,
        n=verifycap.total_shares,
    )
