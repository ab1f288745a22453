"""The grid that a sweep runs on: servers, files, and the clients that are compared.

Owns the nodes and the WAN pipes. The servers announce their own ports; clients
that are to be far away know the same servers from their ``servers.yaml``, with a
pipe's ports. So near and far clients read the same shares of the same processes,
and on the near ones no pipe costs CPU.

A *lane* is a wire with a pipe and clients of its own, so that the downloads of
several lanes do not share a line.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from misc.bench.cases import FAST, KINDS, LAN, SERVERS, WIRES, Case
from misc.bench.files import Files
from misc.bench.measure import Subject
from misc.command_line import Say
from misc.far import static_servers
from misc.grid import Client, ClientOptions, Grid, GridError, Server
from misc.grid_client import COLD, HTTP
from misc.wan import Wan

UPLOADER = "uploader"
START_TIMEOUT_S = 120.0

# A client that holds so much more than when it was idle is started anew, else
# what earlier cases left would hide what this one needs.
KEPT_BYTES = 16 << 20

# Each HTTP client asks each server once a second whether it is there, which a dozen of them
# make a load: those that are not measured are suspended. One that wakes up asks at once.
WAKE_S = 0.25

# Until a client that was just connected can ask its servers: so many one-way delays, and
# more if it still finds no shares.
SETTLE_DELAYS = 8
SETTLE_PAUSE_S = 0.5
SETTLE_TIMEOUT_S = 20.0


@dataclass(frozen=True, order=True)
class Lane:
    """A wire of its own."""

    wire: str
    number: int = 0

    def __str__(self) -> str:
        return f"{list(WIRES).index(self.wire)}-{self.number}"


@dataclass
class Pair:
    """The stock and the fast client of a lane, over one transport."""

    subjects: dict[str, Subject] = field(default_factory=dict)

    @property
    def clients(self) -> list[Client]:
        """Both."""
        return [subject.client for subject in self.subjects.values()]


class Stage:
    """Runs inside its ``with`` block.

    :param directory: for nodes, shares and files to be uploaded.
    """

    files: Files

    def __init__(self, directory: Path, say: Say) -> None:
        self._directory = directory
        # It also learns what the servers announce.
        self._grid = Grid(
            directory / "grid", servers=SERVERS, clients={UPLOADER: ClientOptions()}, say=say
        )
        self._pipes: dict[Lane, Wan] = {}
        self._pairs: dict[tuple[Lane, str], Pair] = {}
        self._openings = 0

    def __enter__(self) -> Stage:
        self._grid.__enter__()
        try:
            self.files = Files(self._grid, self._grid.clients[UPLOADER], self._directory)
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
            for pipe in self._pipes.values():
                pipe.stop()
        finally:
            self._grid.__exit__(None, None, None)

    @property
    def servers(self) -> list[Server]:
        """The storage servers."""
        return self._grid.servers

    # ------------------------------------------------------------ lanes

    def open(
        self,
        places: Collection[tuple[Lane, str]],
        fast_options: Mapping[str, str] | None = None,
        kinds: Sequence[str] = KINDS,
    ) -> None:
        """Start what is needed for these lanes and transports, unless it is there.

        :param fast_options: for the plugin, of what is started now; ``COLD`` if not given.
        :param kinds: if not both are measured.
        """
        fast_options = COLD if fast_options is None else fast_options
        new = sorted(set(places) - set(self._pairs))
        clients = {}
        for lane, transport in new:
            known = self._servers_through(lane)
            for kind in kinds:
                clients[self._name(kind, transport, lane)] = ClientOptions(
                    transport=transport,
                    fast=kind == FAST,
                    fast_options=fast_options,
                    static_servers=known,
                )
        made = self._grid.add_clients(clients)
        for lane, transport in new:
            names = {kind: self._name(kind, transport, lane) for kind in kinds}
            pair = Pair({kind: Subject(made[name]) for kind, name in names.items()})
            self._pairs[lane, transport] = pair
            for subject in pair.subjects.values():
                self._become_idle(subject, lane)
            self.rest(lane, transport)

    def close(self) -> None:
        """End the clients and pipes of all lanes; the files stay."""
        for pair in self._pairs.values():
            for client in pair.clients:
                client.ask_to_stop()
        for pair in self._pairs.values():
            for client in pair.clients:
                client.stop()
                del self._grid.clients[client.name]
        for pipe in self._pipes.values():
            pipe.stop()
        self._pairs.clear()
        self._pipes.clear()
        self._openings += 1

    def _name(self, kind: str, transport: str, lane: Lane) -> str:
        """A node's directory, too, which is never used again."""
        return f"{kind}-{transport}-{lane}-{self._openings}"

    def _servers_through(self, lane: Lane) -> str:
        if lane.wire == LAN:
            return ""
        pipe = self._pipes.get(lane)
        if pipe is None:
            pipe = self._pipes[lane] = Wan([server.port for server in self.servers])
            pipe.start()
            pipe.use(WIRES[lane.wire])
        ports = dict(zip((server.port for server in self.servers), pipe.ports))
        return static_servers(self._grid.clients[UPLOADER], ports)

    # ------------------------------------------------------------ clients

    def prepare(self, case: Case, lane: Lane) -> dict[str, Subject]:
        """The stock and the fast client for a case, awake, connected and idle.

        A client that holds memory from an earlier case is started anew and reads a
        small file before it counts as idle.
        """
        pair = self._pairs[lane, case.transport]
        if case.transport == HTTP:
            for client in pair.clients:
                client.resume()
            time.sleep(WAKE_S)
        worn = [subject for subject in pair.subjects.values() if _is_worn(subject)]
        for subject in worn:
            subject.client.stop()
            subject.client.start()
            subject.caps_made = 0
        self._grid.wait_connected(START_TIMEOUT_S, pair.clients)
        for subject in pair.subjects.values():
            if subject in worn:
                self._become_idle(subject, lane)
            elif case.transport == HTTP:
                # Connections that it had may have been closed while it slept.
                self._read_small_file(subject)
        return pair.subjects

    def _become_idle(self, subject: Subject, lane: Lane) -> None:
        # A server counts as connected some round trips before it can be asked.
        time.sleep(SETTLE_DELAYS * WIRES[lane.wire].delay_s)
        self._read_small_file(subject)
        subject.idle_bytes = subject.rss_bytes()

    def _read_small_file(self, subject: Subject) -> None:
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        while True:
            try:
                subject.client.get(subject.cold_cap(self.files.small_cap))
                return
            except GridError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(SETTLE_PAUSE_S)

    def rest(self, lane: Lane, transport: str) -> None:
        """The pair is not measured for now."""
        if transport == HTTP:
            for client in self._pairs[lane, transport].clients:
                client.suspend()


def _is_worn(subject: Subject) -> bool:
    if not subject.client.is_running():
        return True
    return subject.rss_bytes() > subject.idle_bytes + KEPT_BYTES
