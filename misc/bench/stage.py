"""The grid that a sweep runs on: servers, uploader, and the clients that are compared.

Owns the nodes and the WAN pipe. The servers announce their own ports; clients
that are to be far away know the same servers from their ``servers.yaml``, with
the pipe's ports. So near and far clients read the same shares of the same
processes, and on the near ones no pipe costs CPU.
"""

from __future__ import annotations

import hashlib
import random
import shutil
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from allmydata.util import yamlutil

from misc.bench.cases import LAN, WIRES, Case, Encoding, File
from misc.bench.measure import Subject
from misc.bench.results import FAST, KINDS, STOCK
from misc.grid import Client, ClientOptions, Grid, GridError, Server
from misc.wan import Wan

SERVERS = 6
UPLOADER = "uploader"
SMALL_FILE_BYTES = 200_000
PIECE_BYTES = 16 << 20
START_TIMEOUT_S = 120.0

# A client that holds so much more than when it was idle is started anew, else
# what earlier cases left would hide what this one needs.
KEPT_BYTES = 16 << 20


class Stage:
    """Runs inside its ``with`` block.

    :param directory: for nodes, shares and files to be uploaded.
    :param places: the transports that are measured, each with whether far away.
    """

    def __init__(
        self,
        directory: Path,
        places: Collection[tuple[str, bool]],
        say: Callable[[str], None],
    ) -> None:
        self._directory = directory
        self._far = sorted(transport for transport, is_far in places if is_far)
        near = {
            _name(kind, transport, False): _options(kind, transport)
            for transport, is_far in sorted(places)
            if not is_far
            for kind in KINDS
        }
        # One that is there in any case, to learn from what the servers announce.
        near[UPLOADER] = ClientOptions()
        self._grid = Grid(directory / "grid", servers=SERVERS, clients=near, say=say)
        self._wan: Wan | None = None
        self._wire = LAN
        self._subjects: dict[str, Subject] = {}
        self._small_cap = ""
        self._caps: dict[File, tuple[str, str]] = {}

    def __enter__(self) -> Stage:
        self._grid.__enter__()
        try:
            self._set_up()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End every process."""
        try:
            if self._wan is not None:
                self._wan.stop()
        finally:
            self._grid.__exit__(None, None, None)

    @property
    def servers(self) -> list[Server]:
        """The storage servers."""
        return self._grid.servers

    def _set_up(self) -> None:
        uploader = self._grid.clients[UPLOADER]
        self._small_cap = uploader.put(random.Random("small").randbytes(SMALL_FILE_BYTES))
        if self._far:
            self._wan = Wan([server.port for server in self.servers])
            self._wan.start()
            known = _static_servers(uploader, self._ports())
            clients = {
                _name(kind, transport, True): replace(
                    _options(kind, transport), static_servers=known
                )
                for transport in self._far
                for kind in KINDS
            }
            self._grid.add_clients(clients)
        for name, client in self._grid.clients.items():
            if name != UPLOADER:
                self._subjects[name] = Subject(client)

    def _ports(self) -> dict[int, int]:
        assert self._wan is not None
        return dict(zip((server.port for server in self.servers), self._wan.ports))

    # ------------------------------------------------------------ files

    def upload(self, file: File) -> tuple[str, str]:
        """Put a file on the servers, unless it is there; its cap and the SHA-256 of its bytes."""
        found = self._caps.get(file)
        if found is None:
            self._prepare_uploader(file.encoding, file.segment_bytes)
            path = self._directory / "upload"
            sha256 = _write_file(path, file)
            try:
                cap = self._grid.clients[UPLOADER].put(path, timeout_s=3600.0)
            finally:
                path.unlink()
            found = self._caps[file] = (cap, sha256)
        return found

    def forget_files(self) -> None:
        """Remove every file but the small one from the servers: a full sweep uploads 20 GB."""
        keep = storage_index_of(self._grid.clients[UPLOADER], self._small_cap)
        self._caps.clear()
        for server in self.servers:
            for prefix in server.shares_directory.iterdir():
                if prefix.name == "incoming":
                    continue
                for bucket in prefix.iterdir():
                    if bucket.name != keep:
                        shutil.rmtree(bucket)

    def _prepare_uploader(self, encoding: Encoding, segment_bytes: int) -> None:
        """How a file is encoded is in tahoe.cfg of whoever uploads it."""
        client = self._grid.clients[UPLOADER]
        options = ClientOptions(
            needed=encoding.needed, total=encoding.total, max_segment_bytes=segment_bytes
        )
        if client.options != options:
            client.options = options
            client.stop()
            client.configure(options.as_config())
            client.start()
            self._grid.wait_connected()

    # ------------------------------------------------------------ clients

    def pair(self, case: Case) -> dict[str, Subject]:
        """The stock and the fast client for a case, as they are."""
        is_far = case.wire != LAN
        return {kind: self._subjects[_name(kind, case.transport, is_far)] for kind in KINDS}

    def prepare(self, case: Case) -> dict[str, Subject]:
        """The stock and the fast client for a case, connected through its wire.

        A client that knows the servers from another wire, or that holds memory from
        an earlier case, is started anew and reads a small file before it counts as idle.
        """
        if case.wire not in (LAN, self._wire):
            assert self._wan is not None
            self._wan.use(WIRES[case.wire])
            self._wire = case.wire
        pair = self.pair(case)
        worn = [each for each in pair.values() if _is_worn(each, case.wire)]
        for subject in worn:
            # The first time it has just been started, and knows nothing.
            if subject.wire or not subject.client.is_running():
                subject.client.stop()
                subject.client.start()
        self._grid.wait_connected(START_TIMEOUT_S)
        for subject in worn:
            subject.wire = case.wire
            subject.client.get(subject.cold_cap(self._small_cap))
            subject.idle_bytes = subject.rss_bytes()
        return pair


def _is_worn(subject: Subject, wire: str) -> bool:
    if subject.wire != wire or not subject.client.is_running():
        return True
    return subject.rss_bytes() > subject.idle_bytes + KEPT_BYTES


def _name(kind: str, transport: str, is_far: bool) -> str:
    return f"{kind}-{transport}{'-far' if is_far else ''}"


def _options(kind: str, transport: str) -> ClientOptions:
    assert kind in (STOCK, FAST)
    return ClientOptions(transport=transport, fast=kind == FAST)


def _static_servers(client: Client, ports: dict[int, int]) -> str:
    """A servers.yaml of what a client has heard announced, with other ports.

    :raise GridError: the client's cache of announcements did not become complete.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        announcements: list[Any] = []
        for path in (client.directory / "private").glob("introducer*_cache.yaml"):
            announcements += yamlutil.safe_load(path.read_text(encoding="utf-8")) or []
        if len(announcements) >= len(ports):
            break
        if time.monotonic() > deadline:
            raise GridError(f"{client.name} keeps no announcements of the servers")
        time.sleep(0.1)
    text = yamlutil.safe_dump(
        {"storage": {str(each["key_s"]): {"ann": each["ann"]} for each in announcements}}
    )
    for port, other in ports.items():
        # Both in furls and in nurls.
        text = text.replace(f"127.0.0.1:{port}/", f"127.0.0.1:{other}/")
    return str(text)


def storage_index_of(client: Client, cap: str) -> str:
    """As base32, as servers name the directory; a node tells what a cap means."""
    verify_cap = client.get_json(f"/uri/{cap}?t=json")[1]["verify_uri"]
    return str(verify_cap).split(":")[2]


def _write_file(path: Path, file: File) -> str:
    """The bytes of a file, the same each time; returns their SHA-256."""
    hasher = hashlib.sha256()
    with open(path, "wb") as handle:
        for start in range(0, file.length, PIECE_BYTES):
            length = min(PIECE_BYTES, file.length - start)
            piece = random.Random(f"{file} {start}").randbytes(length)
            hasher.update(piece)
            handle.write(piece)
    return hasher.hexdigest()
