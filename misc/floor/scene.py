"""The grid of the sweep, as the floor and the comparison use it.

The only place here that knows how ``misc.bench.stage`` is entered.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from misc.bench.cases import FAST, LAN, Case, File
from misc.bench.measure import Subject, WrongBytesError
from misc.bench.stage import Lane, Stage
from misc.command_line import Say
from misc.floor.shares import Piece, blocks_of, static_servers, storage_index_of
from misc.grid import Client, Server

TIMEOUT_S = 600.0


class Scene:
    """Servers, files, and a stock and a fast client for each case.

    Its processes run inside the ``with`` block.

    :param cases: whose clients are needed; at least one.
    """

    def __init__(self, directory: Path, cases: Iterable[Case], say: Say) -> None:
        chosen = list(cases)
        self._places = {(Lane(case.wire), case.transport) for case in chosen}
        # One that knows the servers as they are, and that is quick to ask for a file.
        self._near = replace(chosen[0], wire=LAN)
        self._places.add((Lane(LAN), self._near.transport))
        self._stage = Stage(directory, lambda _step: None)
        self._say = say
        self._file: File | None = None
        self.cap = ""
        self.sha256 = ""

    def __enter__(self) -> Scene:
        self._say("starting a grid")
        self._stage.__enter__()
        try:
            self._stage.open(self._places)
        except BaseException:
            self._stage.stop()
            raise
        return self

    def __exit__(self, *problem: object) -> None:
        self._stage.stop()

    @property
    def servers(self) -> list[Server]:
        """The storage servers."""
        return self._stage.servers

    def static_servers(self) -> str:
        """A servers.yaml of all servers, as they announce themselves."""
        with self._near_client() as client:
            return static_servers(client, len(self.servers))

    def put(self, file: File) -> bool:
        """Put a file on the servers; False when it was the last one that was put.

        Sets ``cap`` and ``sha256``.
        """
        if file == self._file:
            return False
        self._say(f"uploading {file}")
        self.cap, self.sha256 = self._stage.files.upload(file)
        self._file = file
        return True

    def blocks(self, file: File) -> dict[int, Piece]:
        """Where the servers keep the blocks of the first k shares of the file."""
        return blocks_of(self.servers, storage_index_of(self.cap), file)

    def bytes_of_file(self) -> bytes:
        """The file itself, by way of a fast client."""
        with self._near_client() as client:
            return client.get(self.cap)

    @contextmanager
    def _near_client(self) -> Iterator[Client]:
        lane = Lane(LAN)
        client = self._stage.prepare(self._near, lane)[FAST].client
        try:
            yield client
        finally:
            self._stage.rest(lane, self._near.transport)

    def download(self, case: Case, kind: str) -> dict[str, Any]:
        """Download the file by a client of that kind, cold; returns the numbers of a line.

        :raise WrongBytesError: the bytes are not those that were uploaded.
        :raise GridError: the node broke it off.
        """
        lane = Lane(case.wire)
        subject = self._stage.prepare(case, lane)[kind]
        try:
            return self._measured(subject)
        finally:
            self._stage.rest(lane, case.transport)

    def _measured(self, subject: Subject) -> dict[str, Any]:
        client = subject.client
        servers_s = self.servers_cpu_s()
        client_s, reader_s = client.cpu_seconds(), time.process_time()
        download = client.download(subject.cold_cap(self.cap), timeout_s=TIMEOUT_S)
        reader_s = time.process_time() - reader_s
        client_s = client.cpu_seconds() - client_s
        if download.sha256 != self.sha256:
            raise WrongBytesError(f"{client.name} delivered other bytes than were uploaded")
        return {
            "wall_s": download.seconds,
            "cpu_s": client_s,
            "servers_cpu_s": self.servers_cpu_s() - servers_s,
            "reader_cpu_s": reader_s,
        }

    def servers_cpu_s(self) -> float:
        """What all servers have used so far."""
        return sum(server.cpu_seconds() for server in self.servers)
