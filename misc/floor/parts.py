"""The parts of a download, each run by itself: the processes, and what each is asked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from misc.bench.cases import KIB, Case, File
from misc.bench.measure import WrongBytesError
from misc.floor import shares
from misc.floor.figures import FETCH, PROVE, PROVE_OTHERS, SERVE
from misc.floor.helper import Helper
from misc.grid import Client, ClientOptions, Server
from tahoe_fastdl.core.layout import expected_layout

# Of 256 KiB, 1, 2, 4 and 16 MiB: 100 MB at 20-of-60 took 0.29, 0.22, 0.19, 0.20 and 0.26 s
# over Foolscap, 0.74, 0.31, 0.29, 0.26 and 0.24 s over HTTP (2-core AMD EPYC).
SPAN_BYTES = 4096 * KIB
# With 32 MiB in flight it took up to a fifth longer than with 8: the bytes leave the cache.
IN_FLIGHT_BYTES = 8192 * KIB


def has_others(file: File) -> bool:
    """Whether k shares can be had without one primary share among them."""
    return file.encoding.total >= 2 * file.encoding.needed


class Parts:
    """Runs its processes inside the ``with`` block.

    :param directory: for logs, and for the client that fetches.
    :param servers: of the grid that has the files.
    """

    def __init__(self, directory: Path, servers: Sequence[Server], span_bytes: int) -> None:
        self._directory = directory
        self._servers = servers
        self._span_bytes = span_bytes
        self._running = ExitStack()
        self._fetchers: dict[str, Helper] = {}
        self._storage_index = ""
        # The same reader as for a node's web port.
        self._reader = Client("the site in memory", directory / "site", ClientOptions())
        self._site_length = 0
        self._site_sha256 = ""

    def __enter__(self) -> Parts:
        try:
            self._prover = self._helper("prove")
            self._site = self._helper("serve")
        except BaseException:
            self._running.close()
            raise
        return self

    def __exit__(self, *problem: object) -> None:
        self._running.close()

    def _helper(self, module: str, name: str = "") -> Helper:
        log_path = self._directory / f"{module}{name}.log"
        return self._running.enter_context(Helper(module, log_path))

    def connect(self, transport: str, static_servers: str) -> None:
        """Have a client of its own connected over this transport."""
        fetcher = self._fetchers[transport] = self._helper("fetch", f"-{transport}")
        order = {
            "directory": str(self._directory / f"fetch-{transport}"),
            "transport": transport,
            "static_servers": static_servers,
            "servers": len(self._servers),
        }
        fetcher.ask({"connect": order})

    def load(self, file: File, cap: str, sha256: str) -> None:
        """From now on this file is meant, which the servers have.

        :raise GridError: its shares do not give these bytes.
        """
        self._storage_index = shares.storage_index_of(cap)
        found = shares.share_paths(self._servers, self._storage_index)
        paths = [(str(shnum), str(path)) for shnum, (_, path) in found.items()]
        needed = file.encoding.needed
        chosen = {PROVE: dict(paths[:needed])}
        if has_others(file):
            chosen[PROVE_OTHERS] = dict(paths[needed : 2 * needed])
        self._prover.ask({"forget": True})
        for name, of_those in chosen.items():
            order = {"name": name, "cap": cap, "sha256": sha256, "paths": of_those}
            self._prover.ask({"load": order})
        if file.length != self._site_length:
            answer = self._site.ask({"serve": {"length": file.length}})
            self._reader.url, self._site_sha256 = answer["url"], answer["sha256"]
            self._site_length = file.length

    def run(self, part: str, case: Case) -> dict[str, Any]:
        """Once; returns the numbers of a line.

        :raise GridError: a process failed.
        """
        if part == FETCH:
            return self._fetch(case)
        if part == SERVE:
            return self._serve()
        answer = self._prover.ask({"prove": part})
        return {"wall_s": answer["wall_s"], "cpu_s": answer["cpu_s"], "details": answer["steps"]}

    def _fetch(self, case: Case) -> dict[str, Any]:
        geometry = shares.geometry_of(case.file)
        order = {
            "storage_index": self._storage_index,
            "needed": geometry.k,
            "start": expected_layout(geometry).data,
            "length": geometry.share_data_size,
            "span_bytes": self._span_bytes,
            "in_flight_bytes": IN_FLIGHT_BYTES,
        }
        servers_s = self._servers_cpu_s()
        answer = self._fetchers[case.transport].ask({"fetch": order})
        return {
            "wall_s": answer["wall_s"],
            "cpu_s": answer["cpu_s"],
            "servers_cpu_s": self._servers_cpu_s() - servers_s,
            "details": {"bytes": answer["bytes"], "reads": answer["reads"]},
        }

    def _servers_cpu_s(self) -> float:
        return sum(server.cpu_seconds() for server in self._servers)

    def _serve(self) -> dict[str, Any]:
        site_s, reader_s = float(self._site.ask({"cpu": True})["cpu_s"]), time.process_time()
        download = self._reader.download("memory")
        reader_s = time.process_time() - reader_s
        if download.sha256 != self._site_sha256:
            raise WrongBytesError("the site in memory delivered other bytes than it has")
        return {
            "wall_s": download.seconds,
            "cpu_s": float(self._site.ask({"cpu": True})["cpu_s"]) - site_s,
            "reader_cpu_s": reader_s,
        }
