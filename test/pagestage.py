"""Real nodes behind slow wires, and a real browser that looks at their pages.

One stage for the whole process: started by the first test that needs it, it ends with the
process. Five servers are reached through :mod:`misc.wan_pipe`, under names of our choice.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from allmydata import uri
from allmydata.storage.common import si_b2a
from allmydata.util import yamlutil
from twisted.trial.unittest import SkipTest

from misc.floor.shares import static_servers
from misc.grid import Client, ClientOptions, Grid
from misc.grid_client import COLD, FOOLSCAP, HTTP, PLUGIN_NAME, Download
from misc.wan import Event, Wan, Wire

from .browser import DESKTOP, Browser, Page, find_program
from .pagedocs import HOSTILE_NAMES

NAMES = ("amber", "birch", "cedar", "dune", "elm")
SLOW = "cedar"

# A megabyte through one server takes two seconds.
WIRE = Wire(delay_s=0.01, server_rate=500_000.0)

SEGMENT = 64 * 1024
READY_S = 60.0

PAGE = f"storage-plugins/{PLUGIN_NAME}/"

_stages: list[Stage] = []


def the_stage() -> Stage:
    """The process's stage.

    :raise SkipTest: there is no browser.
    """
    if find_program() is None:
        raise SkipTest("no Chromium is installed, so nobody looks at the page")
    if not _stages:
        _stages.append(Stage())
        _stages[0].start()
    return _stages[0]


class Stage:
    """The grid, the wires and the browser."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="fastdl-page-"))
        atexit.register(shutil.rmtree, self.directory, ignore_errors=True)
        # The uploader also learns what the servers announce.
        self.grid = Grid(
            self.directory / "grid",
            servers=len(NAMES),
            clients={
                "uploader": ClientOptions(needed=3, total=5, max_segment_bytes=SEGMENT),
                # Of its files every server is needed: nobody can be gone around.
                "wide": ClientOptions(needed=5, total=5, max_segment_bytes=SEGMENT),
            },
        )
        self.browser = Browser()
        self._pool = ThreadPoolExecutor(4)

    def start(self) -> None:
        """Start everything; what fails leaves nothing behind."""
        atexit.register(self.grid.stop)
        self.grid.start()
        self.wan = Wan([server.port for server in self.grid.servers], WIRE)
        atexit.register(self.wan.stop)
        self.wan.start()
        known = static_servers(self.grid.clients["uploader"], len(NAMES))
        nice = self._through_the_wan(known, NAMES)
        hostile = self._through_the_wan(known, [*HOSTILE_NAMES, "elm"])
        broken = str(Path(__file__).resolve().with_name("broken_node.py"))
        self.grid.add_clients(
            {
                "page": ClientOptions(
                    transport=FOOLSCAP, fast=True, static_servers=nice, fast_options=COLD
                ),
                "broken": ClientOptions(
                    transport=HTTP, fast=True, static_servers=hostile, program=(broken,)
                ),
                "wrong": ClientOptions(
                    transport=HTTP, fast=True, fast_options={"memory": "<i>lots</i>"}
                ),
            }
        )
        atexit.register(self.browser.stop)
        self.browser.start()

    def _through_the_wan(self, known: str, names: Sequence[str]) -> str:
        """A servers.yaml that leads through the pipe, with other nicknames."""
        ports: Mapping[int, int] = dict(
            zip((server.port for server in self.grid.servers), self.wan.ports)
        )
        for port, other in ports.items():
            known = known.replace(f"127.0.0.1:{port}/", f"127.0.0.1:{other}/")
        servers: dict[str, Any] = yamlutil.safe_load(known)
        for server in servers["storage"].values():
            number = int(server["ann"]["nickname"].removeprefix("server"))
            server["ann"]["nickname"] = names[number]
        return str(yamlutil.safe_dump(servers))

    def client(self, name: str) -> Client:
        """One of the clients: "uploader", "wide", "page", "broken" or "wrong"."""
        return self.grid.clients[name]

    # -- what happens on the wires ------------------------------------------------

    def slow_down(self, name: str, factor: float, at_s: float = 0.0) -> None:
        """One server's answers take so many times as long from then on."""
        self.wan.run_script([Event(at_s, NAMES.index(name), "slow", factor)])

    def silence(self, name: str, at_s: float) -> None:
        """One server keeps its connections and answers nothing from then on."""
        self.wan.run_script([Event(at_s, NAMES.index(name), "silent")])

    def heal(self) -> None:
        """All servers are as they were."""
        self.wan.use(WIRE)

    # -- files and pages ----------------------------------------------------------

    def put(self, data: bytes, uploader: str = "uploader") -> str:
        """Upload, past the slow wires; returns the read cap.

        :param uploader: whose files are 3-of-5, or "wide": 5-of-5.
        """
        return self.client(uploader).put(data)

    def holder(self, cap: str, shnum: int) -> str:
        """The name of a server that has this share of a file."""
        index: bytes = si_b2a(uri.from_string(cap.encode("ascii")).get_storage_index())
        place = f"*/{index.decode('ascii')}/{shnum}"
        return next(
            name
            for name, server in zip(NAMES, self.grid.servers)
            if any(server.shares_directory.glob(place))
        )

    def begin(self, client: Client, cap: str) -> Future[Download]:
        """Start a download; the future has its outcome."""
        return self._pool.submit(client.download, cap, None, None, 120.0)

    def open(
        self, client: Client, path: str = "", size: tuple[int, int] = DESKTOP, dark: bool = False
    ) -> Page:
        """A new page of the browser's, at an address of a client's page."""
        page = self.browser.open(client.url + PAGE + path, size, dark)
        page.until("document.querySelector('main').dataset.ready", READY_S)
        return page

    def overview(self, client: Client) -> dict[str, Any]:
        """What the overview is made of."""
        found: dict[str, Any] = client.get_json(f"/{PAGE}v1/overview.json")
        return found

    def newest(self, client: Client) -> int:
        """The number of the newest download."""
        return max(each["id"] for each in self.overview(client)["downloads"])
