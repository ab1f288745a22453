"""Where the servers of a grid keep the shares of a file, and how to reach the servers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allmydata import uri
from allmydata.util import base32, yamlutil

from misc.bench.cases import File
from misc.grid import Client, GridError, Server
from tahoe_fastdl.core.geometry import Geometry
from tahoe_fastdl.core.layout import expected_layout

ANNOUNCED_TIMEOUT_S = 30.0
# Before the share itself: allmydata.storage.immutable.ShareFile.
CONTAINER_HEADER_BYTES = 12


@dataclass(frozen=True)
class Piece:
    """Part of a file that a server keeps; the server by its number in the grid."""

    server: int
    path: Path
    start: int
    length: int


def geometry_of(file: File) -> Geometry:
    """The sizes that a file's uploader made."""
    return Geometry.guess(
        file.length, file.encoding.needed, file.encoding.total, file.segment_bytes
    )


def blocks_of(servers: Sequence[Server], storage_index: str, file: File) -> dict[int, Piece]:
    """The blocks of the first k shares, by share number."""
    geometry = geometry_of(file)
    start = CONTAINER_HEADER_BYTES + expected_layout(geometry).data
    found = list(share_paths(servers, storage_index).items())[: geometry.k]
    return {
        shnum: Piece(server, path, start, geometry.share_data_size)
        for shnum, (server, path) in found
    }


def storage_index_of(cap: str) -> str:
    """As base32, as servers name the directory."""
    text: bytes = base32.b2a(uri.from_string(cap).get_storage_index())
    return text.decode("ascii")


def share_paths(servers: Sequence[Server], storage_index: str) -> dict[int, tuple[int, Path]]:
    """By share number: which server has it, and its file there.

    :param storage_index: as base32.
    """
    found: dict[int, tuple[int, Path]] = {}
    for number, server in enumerate(servers):
        bucket = server.shares_directory / storage_index[:2] / storage_index
        if bucket.is_dir():
            for path in bucket.iterdir():
                found.setdefault(int(path.name), (number, path))
    return dict(sorted(found.items()))


def static_servers(client: Client, servers: int) -> str:
    """A servers.yaml of all servers that a client has heard announced.

    :raise GridError: its cache of announcements did not become complete.
    """
    deadline = time.monotonic() + ANNOUNCED_TIMEOUT_S
    while time.monotonic() < deadline:
        announcements: list[Any] = []
        for path in (client.directory / "private").glob("introducer*_cache.yaml"):
            announcements += yamlutil.safe_load(path.read_text(encoding="utf-8")) or []
        if len(announcements) >= servers:
            known = {str(each["key_s"]): {"ann": each["ann"]} for each in announcements}
            return str(yamlutil.safe_dump({"storage": known}))
        time.sleep(0.1)
    raise GridError(f"{client.name} keeps no announcements of the servers")
