"""A loopback grid of real nodes, started, watched and stopped from one place.

Owns an introducer, the storage servers and the clients, each a process of its
own.  The servers announce both protocols, so clients over Foolscap and clients
over HTTP can read the same files at the same time.

    with Grid(base_dir, servers=6) as grid:
        stock = grid.add_client("stock", transport="foolscap")
        cap = stock.put(data)
        print(stock.download(cap).seconds)

Laws: only free ports are used, and a port that another process took in between
is given up for another; whatever ends the ``with`` block, a Ctrl-C and a SIGTERM
included, every process is stopped; nothing printed or raised holds a cap.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Callable

from misc.grid_client import FOOLSCAP, HTTP, Client, ClientOptions, known_options
from misc.node_process import GridError, NodeProcess

__all__ = ["Client", "ClientOptions", "Grid", "GridError", "Server"]

BOTH = "both"

START_TIMEOUT_S = 120.0  # a machine that is busy with other tests starts a node in ten
STOP_GRACE_S = 5.0
PORT_TRIES = 5
POLL_S = 0.1

# What Twisted logs when a port cannot be had, and when one is listened on.
PORT_TAKEN = ("CannotListenError", "Address already in use")
LISTENING = "starting on"


class Server(NodeProcess):
    """A node that listens on one port of its own: a storage server or the introducer."""

    def __init__(self, name: str, directory: Path, port: int) -> None:
        super().__init__(name, directory)
        self.port = port

    @property
    def shares_directory(self) -> Path:
        """Where a storage server keeps its shares, by prefix, storage index and number."""
        return self.directory / "storage" / "shares"

    def start_listening(self, deadline: float) -> None:
        """Start, and wait until the port is ours; another port when it is taken.

        :raise GridError: it did not start.
        """
        self.start()
        self.finish_start(deadline)

    def finish_start(self, deadline: float) -> None:
        """The second half of :meth:`start_listening`, so that several can start at once."""
        for _ in range(PORT_TRIES):
            if self._is_listening(deadline):
                return
            self.stop()
            self.port = free_ports(1)[0]
            self.configure(
                {
                    "node": {
                        "tub.port": f"tcp:{self.port}:interface=127.0.0.1",
                        "tub.location": f"tcp:127.0.0.1:{self.port}",
                    }
                }
            )
            self.start()
        raise self.failure(f"found no free port in {PORT_TRIES} tries")

    def _is_listening(self, deadline: float) -> bool:
        """Wait for the answer; False when another process has the port."""
        while True:
            log = self.log()
            if any(words in log for words in PORT_TAKEN):
                return False
            if f"{LISTENING} {self.port}" in log:
                return True
            if not self.is_running():
                raise self.failure("ended while it was starting")
            if time.monotonic() > deadline:
                raise self.failure("did not listen in time")
            time.sleep(POLL_S / 2)


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


class Grid:
    """An introducer, storage servers and clients; running inside the ``with`` block.

    :param base_dir: for the node directories; must not hold an earlier grid. Kept
        afterwards: the logs in it explain a failure.
    :param servers: how many storage servers.
    :param transport: "both"; or "foolscap" for servers that offer nothing else.
    :param clients: to be made and started with the grid, which is quicker than
        :meth:`add_client` one by one.
    :param say: called with a line of progress now and then.
    """

    def __init__(
        self,
        base_dir: Path,
        servers: int = 6,
        transport: str = BOTH,
        clients: Mapping[str, ClientOptions] | None = None,
        say: Callable[[str], None] | None = None,
        start_timeout_s: float = START_TIMEOUT_S,
    ) -> None:
        self.base_dir = Path(base_dir).resolve()
        self.transport = transport
        self.clients: dict[str, Client] = {}
        introducer_port, *server_ports = free_ports(1 + servers)
        self.introducer = Server("introducer", self.base_dir / "introducer", introducer_port)
        self.servers = [
            Server(f"server{number}", self.base_dir / f"server{number}", port)
            for number, port in enumerate(server_ports)
        ]
        self._first_clients = dict(clients or {})
        self._say = say or (lambda _line: None)
        self._start_timeout_s = start_timeout_s
        self._furl = ""
        self._old_handlers: dict[int, Any] = {}

    # ------------------------------------------------------------ the whole

    def __enter__(self) -> Grid:
        self._end_on_signals()
        try:
            self.start()
        except BaseException:
            self.stop()
            self._restore_signals()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.stop()
        finally:
            self._restore_signals()

    def start(self) -> None:
        """Make the nodes and start them; use ``with``, or see that ``stop`` is called.

        :raise GridError: a node did not start; shows the end of its log.
        """
        self.base_dir.mkdir(parents=True, exist_ok=True)
        self._say(f"making {1 + len(self.servers) + len(self._first_clients)} node directories")
        first = [self._new_client(*item) for item in self._first_clients.items()]
        self._make(
            [self._introducer_arguments(), *map(self._server_arguments, self.servers)]
            + [_client_arguments(client) for client in first]
        )
        deadline = time.monotonic() + self._start_timeout_s
        self._say("starting the introducer")
        self.introducer.start_listening(deadline)
        self._furl = self.introducer.wait_for("private/introducer.furl", deadline)
        self._say(f"starting {len(self.servers)} storage servers and {len(first)} clients")
        for server in self.servers:
            server.set_introducer(self._furl)
            server.configure(self._server_config())
            server.start()
        self._start_clients(first)
        for server in self.servers:
            server.finish_start(deadline)
        self._wait_for_clients(first)

    def stop(self) -> None:
        """End every process; harmless when some or all have ended."""
        nodes = [*self.clients.values(), *self.servers, self.introducer]
        deadline = time.monotonic() + STOP_GRACE_S
        try:
            for node in nodes:
                node.ask_to_stop()
            for node in nodes:
                node.wait_stopped(deadline - time.monotonic())
        finally:
            for node in nodes:
                node.kill()

    # ------------------------------------------------------------ clients

    def add_client(self, name: str, **options: Any) -> Client:
        """Make, start and connect one more client.

        :param options: as :class:`ClientOptions` names them. The transport, when
            not given, is the grid's.
        :raise GridError: it did not start, or did not reach every server.
        """
        options.setdefault("transport", HTTP if self.transport == BOTH else self.transport)
        return self.add_clients({name: ClientOptions(**options)})[name]

    def add_clients(self, clients: Mapping[str, ClientOptions]) -> dict[str, Client]:
        """The same for several, which start side by side."""
        new = [self._new_client(*item) for item in clients.items()]
        self._make([_client_arguments(client) for client in new])
        self._start_clients(new)
        self._wait_for_clients(new)
        return {client.name: client for client in new}

    def wait_connected(
        self, timeout_s: float | None = None, clients: Iterable[Client] | None = None
    ) -> None:
        """Wait until these clients, or all, are connected to each server that runs.

        :raise GridError: one is not, in that time.
        """
        chosen = self.clients.values() if clients is None else clients
        self._wait_for_clients(list(chosen), timeout_s)

    def _new_client(self, name: str, options: ClientOptions) -> Client:
        if name in self.clients:
            raise GridError(f"there is a client {name} already")
        client = Client(name, self.base_dir / name, options)
        self.clients[name] = client
        return client

    def _start_clients(self, clients: list[Client]) -> None:
        for client in clients:
            client.set_introducer(self._furl)
            client.configure(client.options.as_config())
            if client.options.static_servers:
                path = client.directory / "private" / "servers.yaml"
                path.write_text(client.options.static_servers, encoding="utf-8")
            client.start()

    def _wait_for_clients(self, clients: list[Client], timeout_s: float | None = None) -> None:
        deadline = time.monotonic() + (timeout_s or self._start_timeout_s)
        for client in clients:
            client.url = client.wait_for("node.url", deadline)
        if clients:
            self._say("waiting for the clients to be connected to every server")
        expected = sum(server.is_running() for server in self.servers)
        for client in clients:
            while not client.is_connected(expected):
                if not client.is_running():
                    raise client.failure("ended")
                if time.monotonic() > deadline:
                    states = ", ".join(client.server_states()) or "no server known"
                    raise client.failure(f"is not connected to every server ({states})")
                time.sleep(POLL_S)

    # ------------------------------------------------------------ making node directories

    def _make(self, argument_lists: list[list[str]]) -> None:
        made = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("make_nodes.py"))],
            input=json.dumps(argument_lists).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=self._start_timeout_s,
            check=False,
        )
        if made.returncode != 0:
            raise GridError("nodes could not be made:\n" + made.stdout.decode("utf-8", "replace"))

    def _introducer_arguments(self) -> list[str]:
        return ["create-introducer", *_listen(self.introducer), str(self.introducer.directory)]

    def _server_arguments(self, server: Server) -> list[str]:
        options = ["--webport=none", f"--nickname={server.name}"]
        return ["create-node", *options, *_listen(server), str(server.directory)]

    def _server_config(self) -> dict[str, dict[str, str]]:
        # Tahoe reserves 1 GB by default and would refuse shares on a small disk.
        storage = {"reserved_space": "0"}
        if self.transport == FOOLSCAP:
            storage["force_foolscap"] = "true"
        # A server is a client of the others, too, and over HTTP asks each of them every second
        # whether it is there: six of them keep a sixth of a core busy with nothing.
        client = {"force_foolscap": "true"}
        return {"storage": known_options(storage), "client": known_options(client)}

    # ------------------------------------------------------------ signals

    def _end_on_signals(self) -> None:
        """Let SIGTERM and a closed terminal unwind the ``with`` block, as Ctrl-C does.

        Only where nobody else minds them: a handler that is there stays.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                self._old_handlers[number] = signal.signal(number, _exit_by_signal)

    def _restore_signals(self) -> None:
        while self._old_handlers:
            number, handler = self._old_handlers.popitem()
            signal.signal(number, handler)


def _exit_by_signal(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _listen(server: Server) -> list[str]:
    return [
        f"--port=tcp:{server.port}:interface=127.0.0.1",
        f"--location=tcp:127.0.0.1:{server.port}",
    ]


def _client_arguments(client: Client) -> list[str]:
    # Port 0: the node takes a free one itself and writes it to node.url.
    webport = "--webport=tcp:0:interface=127.0.0.1"
    return ["create-client", webport, f"--nickname={client.name}", str(client.directory)]
