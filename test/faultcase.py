"""The scene of the fault matrix: real nodes in mid-download, a fault, and what must follow.

One grid for the whole process: six servers with a share each of a file 3-of-6, and
clients over both transports that reach them through the WAN pipe. ``FaultCase`` makes
a cell of the matrix and checks how it ends; :mod:`test.test_fault_matrix` has the faults.

``TAHOE_FASTDL_MATRIX`` may name a file: each cell appends a JSON line with its seconds.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from allmydata import uri
from allmydata.storage.common import si_b2a
from twisted.trial.unittest import SynchronousTestCase

from misc.far import static_servers
from misc.grid import Client, ClientOptions, Grid, GridError, Server
from misc.grid_client import COLD, FOOLSCAP, HTTP
from misc.wan import Event, Wan, Wire
from misc.web_read import PROBLEM, WebRead

from .gridcase import some_bytes

NEEDED, TOTAL = 3, 6
SEGMENT = 128 * 1024
LENGTH = 16_000_000
# Both clients wait here while the fault is made. The node holds up to ``memory`` more, and
# the kernel up to 4 MB on the way to the reader.
FIRST_BYTES = 1_000_000
LAST_BYTES = 100_000

ENOUGH, TOO_FEW = "enough", "too few"
HIT = {ENOUGH: (0, 1, 2), TOO_FEW: (0, 1, 2, 3)}

TRANSPORTS = (FOOLSCAP, HTTP)
PATIENT = "600 s"
IMPATIENT = "2 s"

# Limits of sanity, for machines that do other things too.
DOWNLOAD_LIMIT_S = 60.0
RESTART_S = 60.0
REST_S = 30.0

# Fast enough for short tests, slow enough that reads are under way when a fault hits.
PACED = Wire(server_rate=8e6)
DISTANT = Wire(delay_s=0.002)

SHORTAGE = re.compile(r"410: .*(NoSharesError|NotEnoughSharesError)", re.DOTALL)


@dataclass(frozen=True)
class Holder:
    """A share, as it was uploaded, and who has it."""

    server: Server
    number: int  # of the server, as the pipe counts
    path: Path
    content: bytes


@dataclass
class Scene:
    """The grid, its pipe and the file on it."""

    grid: Grid
    wan: Wan
    data: bytes
    cap: str
    index: str
    holders: Sequence[Holder]  # by share number


_scenes: list[Scene] = []


def client_name(transport: str, patience: str) -> str:
    """A client's name in the grid."""
    return f"{transport}-{patience.split()[0]}"


def the_scene() -> Scene:
    """The module's scene; set up on the first call, which takes some ten seconds."""
    if not _scenes:
        base = Path(tempfile.mkdtemp(prefix="fastdl-matrix-"))
        atexit.register(shutil.rmtree, base, ignore_errors=True)
        uploading = ClientOptions(needed=NEEDED, total=TOTAL, max_segment_bytes=SEGMENT)
        grid = Grid(base / "grid", servers=TOTAL, clients={"uploader": uploading})
        atexit.register(grid.stop)
        grid.start()
        wan = Wan([server.port for server in grid.servers], PACED)
        atexit.register(wan.stop)
        wan.start()
        uploader = grid.clients["uploader"]
        ports = dict(zip((server.port for server in grid.servers), wan.ports))
        through_pipe = static_servers(uploader, ports)
        grid.add_clients(
            {
                client_name(transport, patience): ClientOptions(
                    transport=transport,
                    fast=True,
                    fast_options={**COLD, "memory": "4 MiB", "patience": patience},
                    static_servers=through_pipe,
                )
                for transport in TRANSPORTS
                for patience in (PATIENT, IMPATIENT)
            }
        )
        _scenes.append(upload(grid, wan))
    return _scenes[0]


def upload(grid: Grid, wan: Wan) -> Scene:
    """Put the file on the servers, and find its shares."""
    data = some_bytes(LENGTH)
    cap = grid.clients["uploader"].put(data)
    index = si_b2a(uri.from_string(cap.encode("ascii")).get_storage_index()).decode("ascii")
    holders = {}
    for number, server in enumerate(grid.servers):
        for path in (server.shares_directory / index[:2] / index).glob("*"):
            holders[int(path.name)] = Holder(server, number, path, path.read_bytes())
    assert sorted(holders) == list(range(TOTAL)), holders.keys()
    return Scene(grid, wan, data, cap, index, [holders[shnum] for shnum in range(TOTAL)])


class Download(threading.Thread):
    """A web download that waits in mid-file until it is let go on."""

    def __init__(self, client: Client, cap: str) -> None:
        super().__init__(daemon=True)
        self.client = client
        self.has_begun = threading.Event()  # or has ended already
        self.may_go_on = threading.Event()
        self.data = b""
        self.announced = 0
        self.refusal = ""
        self.problem: Exception | None = None
        self.ended = 0.0  # of time.monotonic()
        self._cap = cap

    def run(self) -> None:
        """Take the first bytes; wait; take the rest."""
        try:
            with WebRead(self.client, self._cap, timeout_s=DOWNLOAD_LIMIT_S) as reading:
                self.announced, self.refusal = reading.announced, reading.refusal
                pieces = [b""]
                while reading.taken < FIRST_BYTES and (piece := reading.take()):
                    pieces.append(piece)
                self.has_begun.set()
                self.may_go_on.wait(DOWNLOAD_LIMIT_S)
                while piece := reading.take():
                    pieces.append(piece)
                self.data = b"".join(pieces)
        except (GridError, OSError) as problem:
            self.problem = problem
        finally:
            self.ended = time.monotonic()
            self.has_begun.set()


class FaultCase(SynchronousTestCase):
    """Makes the cells of the matrix."""

    def setUp(self) -> None:
        """Have a scene in which everything works."""
        self.scene = the_scene()

    # ------------------------------------------------------------ cells

    def each_number_of_shares(
        self,
        strike: Callable[[Sequence[Holder]], None],
        mend: Callable[[Sequence[Holder]], None],
        wire: Wire = PACED,
        silent: Collection[str] = (),
        is_loss: bool = True,
    ) -> None:
        """Both transports, with enough and with too few shares left.

        :param strike: makes the fault, of these shares or of their servers.
        :param mend: undoes it.
        :param silent: transports over which nobody can tell it from slowness, so with too
            few shares it takes the operator's patience to call it a fault.
        :param is_loss: with too few shares the file cannot be had. A fault that only slows
            never makes too few: nobody is given up for it.
        """
        for left in (ENOUGH, TOO_FEW):
            ends_well = left == ENOUGH or not is_loss
            holders = [self.scene.holders[shnum] for shnum in HIT[left]]
            clients = self.clients(() if ends_well else silent)
            self.scene.wan.use(wire)
            downloads = self.in_mid_file(clients)
            try:
                strike(holders)
                struck = time.monotonic()
                self.finish(downloads)
                for download in downloads:
                    what = f"{download.client.name}, {left}"
                    refused_s = None
                    if ends_well:
                        self.check_whole(download, what)
                    else:
                        refused_s = self.check_broken_off(download, what)
                    self.keep(download, left, download.ended - struck, refused_s)
            finally:
                mend(holders)
                self.scene.wan.use(PACED)
            self.check_afterwards(clients)

    def clients(self, impatient: Collection[str] = ()) -> list[Client]:
        """One over each transport; these soon call a silent server faulty."""
        clients = self.scene.grid.clients
        return [
            clients[client_name(transport, IMPATIENT if transport in impatient else PATIENT)]
            for transport in TRANSPORTS
        ]

    def in_mid_file(self, clients: Sequence[Client]) -> list[Download]:
        """Downloads that have taken their first bytes, and wait."""
        self.scene.grid.wait_connected(RESTART_S, clients)
        downloads = [Download(client, self.scene.cap) for client in clients]
        for download in downloads:
            self.addCleanup(download.may_go_on.set)
            download.start()
        for download in downloads:
            self.assertTrue(download.has_begun.wait(DOWNLOAD_LIMIT_S), download.client.name)
            self.assertIs(download.problem, None, download.client.name)
            self.assertEqual(download.refusal, "", download.client.name)
        return downloads

    def finish(self, downloads: Sequence[Download]) -> None:
        """Let them go on to their end, which has to come."""
        for download in downloads:
            download.may_go_on.set()
        deadline = time.monotonic() + DOWNLOAD_LIMIT_S
        for download in downloads:
            download.join(max(0.0, deadline - time.monotonic()))
            self.assertFalse(download.is_alive(), f"{download.client.name} does not end")
            self.assertIs(download.problem, None, download.client.name)

    # ------------------------------------------------------------ checks

    def check_whole(self, download: Download, what: str) -> None:
        """All bytes came, and are right."""
        self.assertEqual(len(download.data), LENGTH, what)
        self.assertTrue(download.data == self.scene.data, what)

    def check_broken_off(self, download: Download, what: str) -> float:
        """Less came than was announced, all of it right; the status and the next request tell.

        :return: after how many seconds the next request was refused.
        """
        data = download.data
        self.assertEqual(download.announced, LENGTH, what)
        self.assertLess(len(data), LENGTH, what)
        if data.endswith(PROBLEM):
            data = data[: -len(PROBLEM)]
        self.assertTrue(self.scene.data.startswith(data), what)
        self.assertGreaterEqual(len(data), FIRST_BYTES, what)
        # Requests that follow each other closely share a timeline.
        reads = download.client.download_events(self.scene.index)["read"]
        read = max(reads, key=lambda event: float(event["start_time"]))
        self.assertIsNotNone(read["finish_time"], what)
        self.assertEqual(read["bytes_returned"], len(data), what)
        began = time.monotonic()
        with WebRead(download.client, self.scene.cap, LENGTH - LAST_BYTES) as reading:
            self.assertRegex(reading.refusal, SHORTAGE, what)
        refused_s = time.monotonic() - began
        self.assertLess(refused_s, DOWNLOAD_LIMIT_S, what)
        return refused_s

    def keep(self, download: Download, left: str, seconds: float, refused_s: float | None) -> None:
        """Write a cell's seconds where the environment says."""
        path = os.environ.get("TAHOE_FASTDL_MATRIX")
        if not path:
            return
        cell = {
            "fault": self._testMethodName.replace("test_", "", 1),
            "transport": download.client.options.transport,
            "left": left,
            "patience": download.client.options.fast_options["patience"],
            "seconds": round(seconds, 2),
            "refused_s": None if refused_s is None else round(refused_s, 2),
        }
        with open(path, "a", encoding="utf-8") as lines:
            lines.write(json.dumps(cell) + "\n")

    def check_afterwards(self, clients: Sequence[Client]) -> None:
        """What was mended is used again; nothing of ours is left, and nothing broke."""
        self.scene.grid.wait_connected(RESTART_S, clients)
        for client in clients:
            patiently(partial(self.check_last_bytes, client))
            patiently(partial(self.check_at_rest, client))
            self.assertEqual(client.unhandled_errors(), [], client.name)

    def check_last_bytes(self, client: Client) -> None:
        """The end of the file comes, and is right."""
        found = client.get(self.scene.cap, LENGTH - LAST_BYTES, LENGTH, timeout_s=RESTART_S)
        self.assertTrue(found == self.scene.data[-LAST_BYTES:], client.name)

    def check_at_rest(self, client: Client) -> None:
        """Nobody reads: no read, no byte, no timer of ours; and stock was never needed."""
        counters = client.fast_counters()
        self.assertEqual(counters["fallbacks"], 0, client.name)
        names = ("downloads_active", "reads_in_flight", "delayed_calls", "memory_used_bytes")
        for name in names:
            if counters[name]:
                raise GridError(f"{client.name} has {counters[name]} {name}")

    # ------------------------------------------------------------ mending

    def start_again(self, holders: Sequence[Holder]) -> None:
        """Servers that were killed come back on their ports."""
        ports = [holder.server.port for holder in holders]
        for holder in holders:
            holder.server.start()
        deadline = time.monotonic() + RESTART_S
        for holder in holders:
            holder.server.finish_start(deadline)
        self.assertEqual([holder.server.port for holder in holders], ports)

    def write_back(self, holders: Sequence[Holder]) -> None:
        """Shares are what they were."""
        for holder in holders:
            if holder.path.is_dir():
                holder.path.rmdir()
            holder.path.write_bytes(holder.content)

    def make_normal(self, holders: Sequence[Holder]) -> None:
        """The wire to these servers is as good as any."""
        self.happen(holders, "normal")

    def happen(self, holders: Sequence[Holder], *kinds: str, factor: float = 1.0) -> None:
        """Let these things happen to the wires of these servers, now and in this order."""
        self.scene.wan.run_script(
            [Event(0.0, holder.number, kind, factor) for kind in kinds for holder in holders]
        )


def patiently(ask: Callable[[], None]) -> None:
    """Ask again while it fails: connections come back a little after their servers."""
    deadline = time.monotonic() + REST_S
    while True:
        try:
            ask()
        except GridError:
            if time.monotonic() > deadline:
                raise
        else:
            return
        time.sleep(0.1)
