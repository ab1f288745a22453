"""A client node as its user meets it: through its web port and its command line.

Owns no process of its own beyond :class:`~misc.node_process.NodeProcess`; every
request has its own connection, so several threads may use one client at once.
Assumes a node that is up: :class:`misc.grid.Grid` hands out no other.
"""

from __future__ import annotations

import http.client
import importlib.metadata
import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, urlsplit

from misc.late_hash import LateHash
from misc.node_process import TAHOE, Config, GridError, NodeProcess, without_caps

FOOLSCAP = "foolscap"
HTTP = "http"

PLUGIN_NAME = "tahoe-fastdl"

DEFAULT_SEGMENT_BYTES = 1 << 20  # Tahoe's own since 1.19
OLD_SEGMENT_BYTES = 128 << 10  # what most deployed files have

READ_BYTES = 256 << 10

# A download as Tahoe's status page lists it: its storage index, then its number.
STATUS_ROW = re.compile(r"<td>([a-z2-7]{26})</td>(?:(?!</tr>).)*?/status/down-(\d+)\"", re.DOTALL)


# For the plugin: no web request finds what one before it learned. Stock finds nothing either.
COLD: Mapping[str, str] = {"remember": "0 s"}


# Before 1.19 Tahoe spoke only Foolscap, and refuses a tahoe.cfg with an option it does not know.
_NEW_IN_1_19 = ("force_foolscap", "shares._max_immutable_segment_size_for_testing")


def known_options(options: Mapping[str, str]) -> dict[str, str]:
    """Those that this Tahoe knows."""
    version = importlib.metadata.version("tahoe-lafs").split(".")
    is_old = (int(version[0]), int(version[1])) < (1, 19)
    return {k: v for k, v in options.items() if not (is_old and k in _NEW_IN_1_19)}


@dataclass(frozen=True)
class ClientOptions:
    """What tahoe.cfg of one client says."""

    transport: str = HTTP
    fast: bool = False
    # For [storageclient.plugins.tahoe-fastdl]; without effect unless ``fast``.
    fast_options: Mapping[str, str] = field(default_factory=dict)
    needed: int = 3
    total: int = 10
    happy: int = 1
    # Of files this client uploads; a file carries its own for whoever reads it.
    max_segment_bytes: int = DEFAULT_SEGMENT_BYTES
    # Its private/servers.yaml: where it finds servers, whatever those announce.
    static_servers: str = ""
    # Anything else, by section and option; comes last, so it can also override.
    config: Config = field(default_factory=dict)
    # For twistd; see NodeProcess. This and the next are not in tahoe.cfg.
    run_arguments: tuple[str, ...] = ()
    # What Python runs instead of Tahoe itself; see NodeProcess.
    program: tuple[str, ...] = TAHOE

    def as_config(self) -> dict[str, dict[str, str]]:
        """The same by section and option."""
        wanted = {
            "shares.needed": str(self.needed),
            "shares.total": str(self.total),
            "shares.happy": str(self.happy),
            "shares._max_immutable_segment_size_for_testing": str(self.max_segment_bytes),
            "force_foolscap": "true" if self.transport == FOOLSCAP else "false",
        }
        client = known_options(wanted)
        sections = {"client": client}
        if self.fast:
            client["storage.plugins"] = PLUGIN_NAME
            sections[f"storageclient.plugins.{PLUGIN_NAME}"] = dict(self.fast_options)
        for section, options in self.config.items():
            sections.setdefault(section, {}).update(options)
        return sections


@dataclass(frozen=True)
class Download:
    """One finished web download, and how long it took."""

    length: int
    sha256: str
    seconds: float  # from the request to the last byte
    first_byte_s: float  # from the request to the first byte of the body


class Client(NodeProcess):
    """A client node that runs."""

    def __init__(self, name: str, directory: Path, options: ClientOptions) -> None:
        super().__init__(name, directory)
        self.options = options
        self.run_arguments = options.run_arguments
        self.program = options.program
        self.url = ""

    # ------------------------------------------------------------ files

    def put(self, data: bytes | Path, timeout_s: float = 600.0) -> str:
        """Upload an immutable file, unlinked; returns its read cap."""
        if isinstance(data, Path):
            with open(data, "rb") as handle:
                return self._put(handle, data.stat().st_size, timeout_s)
        return self._put(io.BytesIO(data), len(data), timeout_s)

    def _put(self, body: BinaryIO, length: int, timeout_s: float) -> str:
        headers = {"Content-Length": str(length)}
        with self._request("PUT", "/uri", timeout_s, body=body, headers=headers) as response:
            return response.read().decode("ascii").strip()

    def get(
        self,
        cap: str,
        start: int | None = None,
        stop: int | None = None,
        timeout_s: float = 600.0,
    ) -> bytes:
        """The bytes ``[start, stop)`` of a file; without them, all of it."""
        with self._open(cap, start, stop, timeout_s) as response:
            return _all_of(response)

    def download(
        self,
        cap: str,
        start: int | None = None,
        stop: int | None = None,
        timeout_s: float = 600.0,
    ) -> Download:
        """Download as ``get`` does, keep nothing, and time it."""
        hasher = LateHash()
        length, first_byte_s = 0, 0.0
        began = time.perf_counter()
        with self._open(cap, start, stop, timeout_s) as response:
            # ``read1`` gives what is there; ``read`` would wait for a full buffer.
            while chunk := response.read1(READ_BYTES):
                if not length:
                    first_byte_s = time.perf_counter() - began
                length += len(chunk)
                hasher.update(chunk)
            seconds = time.perf_counter() - began
            _check_length(response, length)
        return Download(length, hasher.hexdigest(), seconds, first_byte_s)

    def tahoe_get(self, cap: str, path: Path, timeout_s: float = 600.0) -> float:
        """Run the real ``tahoe get`` into a file; returns its seconds, start of Python included."""
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "allmydata", "-d", str(self.directory), "get", cap, str(path)],
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=False,
        )
        if done.returncode != 0:
            said = without_caps(done.stdout.decode("utf-8", "replace")[-2000:])
            raise GridError(f"tahoe get on {self.name} failed ({done.returncode}): {said}")
        return time.perf_counter() - began

    # ------------------------------------------------------------ what it shows

    def server_states(self) -> list[str]:
        """One word or more for each storage server it has heard of: "Connected to ..." and such."""
        servers = self.get_json("/?t=json")["servers"]
        return [str(server["connection_status"]) for server in servers]

    def is_connected(self, servers: int) -> bool:
        """Whether it is connected to at least so many servers, over the wanted transport.

        Over HTTP Tahoe says "connected" and no more; over Foolscap, to where.
        """
        prefix = "Connected to" if self.options.transport == FOOLSCAP else "connected"
        states = self.server_states()
        return sum(state.startswith(prefix) for state in states) >= servers

    def download_events(
        self, storage_index: str | None = None, timeout_s: float = 60.0
    ) -> dict[str, Any]:
        """Tahoe's own timeline of its newest download, or of a file's newest one.

        ``["block"]`` has an entry for each remote read, ``["dyhb"]`` for each
        "do you have" query, ``["read"]`` for each read of a consumer's.  Reads of
        one file in short order share a timeline: Tahoe keeps one for each file
        node, and the node as long as somebody uses it.

        :param storage_index: as base32, as Tahoe shows it.
        :raise GridError: there was no such download.
        """
        numbers = [
            number
            for number, index in self._downloads().items()
            if storage_index is None or index == storage_index
        ]
        if not numbers:
            raise GridError(f"{self.name} lists no such download")
        path = f"/status/down-{max(numbers)}/event_json"
        events: dict[str, Any] = self.get_json(path, timeout_s)
        return events

    def reads_sent(self) -> dict[int, int]:
        """How many remote reads each download sent that its status page still lists.

        The page keeps some ten downloads, so compare two answers that are not
        further apart: :func:`reads_between`.
        """
        return {
            number: len(self.get_json(f"/status/down-{number}/event_json")["block"])
            for number in self._downloads()
        }

    def _downloads(self) -> dict[int, str]:
        with self._request("GET", "/status/", 60.0) as response:
            page = response.read().decode("utf-8")
        return {int(number): index for index, number in STATUS_ROW.findall(page)}

    def fast_counters(self) -> dict[str, int]:
        """The plugin's counters; only where it is enabled."""
        counters = self.get_json(f"/storage-plugins/{PLUGIN_NAME}/counters.json")
        return {str(name): int(value) for name, value in counters.items()}

    def get_json(self, path: str, timeout_s: float = 60.0) -> Any:
        """A JSON document of the web port's."""
        with self._request("GET", path, timeout_s) as response:
            return json.loads(response.read())

    # ------------------------------------------------------------ HTTP

    @contextmanager
    def _open(
        self, cap: str, start: int | None, stop: int | None, timeout_s: float
    ) -> Iterator[http.client.HTTPResponse]:
        headers = {}
        if start is not None or stop is not None:
            last = "" if stop is None else str(stop - 1)
            headers["Range"] = f"bytes={start or 0}-{last}"
        path = "/uri/" + quote(cap, safe="")
        with self._request("GET", path, timeout_s, headers=headers) as response:
            yield response

    @contextmanager
    def _request(
        self,
        method: str,
        path: str,
        timeout_s: float,
        body: BinaryIO | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """One request on a connection of its own; an error status is raised with its text."""
        place = urlsplit(self.url)
        if place.hostname is None:
            raise GridError(f"{self.name} is not up")
        connection = http.client.HTTPConnection(place.hostname, place.port, timeout=timeout_s)
        connection.blocksize = READ_BYTES
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            if response.status not in (200, 201, 206):
                said = without_caps(response.read(2000).decode("utf-8", "replace"))
                raise GridError(f"{self.name} answered {response.status}: {said}")
            yield response
        except (OSError, http.client.HTTPException) as problem:
            raise self.failure(f"broke off a request ({problem!r})") from problem
        finally:
            connection.close()


def reads_between(before: Mapping[int, int], after: Mapping[int, int]) -> int:
    """Remote reads sent between two answers of :meth:`Client.reads_sent`."""
    return sum(count - before.get(number, 0) for number, count in after.items())


def _all_of(response: http.client.HTTPResponse) -> bytes:
    body = response.read()
    _check_length(response, len(body))
    return body


def _check_length(response: http.client.HTTPResponse, length: int) -> None:
    """Tahoe reports an error in mid-file only by ending the body early."""
    announced = response.headers.get("Content-Length")
    if announced is not None and int(announced) != length:
        raise GridError(f"the body ended after {length} of {announced} bytes")
