"""Floor (a): the blocks of k shares, read in bulk over the real transport.

A process of its own that is a Tahoe client, made by Tahoe from a tahoe.cfg: its
storage broker connects to the servers, over Foolscap or HTTP, as any client's
does, and what is timed are ``get_buckets`` of every server and ``read`` of the
buckets. Nothing that comes is verified, decoded or kept.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

# Appended: this is run as a script, and then ``misc`` is not on the path.
sys.path.append(str(Path(__file__).resolve().parent.parent.parent))

from allmydata.client import create_client
from allmydata.util import base32
from twisted.internet import defer, reactor, task

from misc.floor import orders
from misc.grid_client import FOOLSCAP

CONNECT_TIMEOUT_S = 60.0
CONFIG = """\
[node]
tub.port = disabled
tub.location = disabled
[client]
force_foolscap = {foolscap}
[storage]
enabled = false
"""


class Fetcher:
    """A client, and what it is asked to read."""

    def __init__(self) -> None:
        self._broker: Any = None

    async def obey(self, order: orders.Order) -> orders.Answer:
        """``connect`` once, then any number of ``fetch``."""
        if "connect" in order:
            return await self._connect(**order["connect"])
        return await self._fetch(**order["fetch"])

    async def _connect(
        self, directory: str, transport: str, static_servers: str, servers: int
    ) -> orders.Answer:
        """Be a client of these servers."""
        private = Path(directory) / "private"
        private.mkdir(parents=True)
        config = CONFIG.format(foolscap="true" if transport == FOOLSCAP else "false")
        (Path(directory) / "tahoe.cfg").write_text(config, encoding="utf-8")
        (private / "servers.yaml").write_text(static_servers, encoding="utf-8")
        client = await create_client(directory)
        client.startService()
        self._broker = client.storage_broker
        deadline = time.monotonic() + CONNECT_TIMEOUT_S
        while len(self._broker.get_connected_servers()) < servers:
            if time.monotonic() > deadline:
                raise TimeoutError("not connected to every server")
            await task.deferLater(reactor, 0.05)
        return {}

    async def _fetch(
        self,
        storage_index: str,
        needed: int,
        start: int,
        length: int,
        span_bytes: int,
        in_flight_bytes: int,
    ) -> orders.Answer:
        """Bytes ``[start, start + length)`` of the first k shares that the servers have.

        :param in_flight_bytes: at most so many are asked for at a time, and one span.
        """
        began, cpu_s = time.perf_counter(), time.process_time()
        buckets = await self._find(base32.a2b(storage_index.encode("ascii")))
        if len(buckets) < needed:
            raise LookupError(f"{len(buckets)} shares where {needed} are needed")
        chosen = [buckets[shnum] for shnum in sorted(buckets)[:needed]]
        stop = start + length
        # Span by span through all shares, as a download needs them.
        reads = [
            (bucket, at, min(span_bytes, stop - at))
            for at in range(start, stop, span_bytes)
            for bucket in chosen
        ]
        pending = iter(reads)
        got = 0

        async def keep_reading() -> None:
            nonlocal got
            for bucket, at, wanted in pending:
                data = await bucket.callRemote("read", at, wanted)
                if len(data) != wanted:
                    raise ValueError(f"{len(data)} bytes where {wanted} were asked for")
                got += len(data)

        side_by_side = max(1, in_flight_bytes // span_bytes)
        await _all(keep_reading() for _ in range(min(side_by_side, len(reads))))
        return {
            "wall_s": time.perf_counter() - began,
            "cpu_s": time.process_time() - cpu_s,
            "bytes": got,
            "reads": len(reads),
        }

    async def _find(self, storage_index: bytes) -> dict[int, Any]:
        servers = self._broker.get_servers_for_psi(storage_index)
        answers = await _all(
            server.get_storage_server().get_buckets(storage_index) for server in servers
        )
        return {shnum: bucket for answer in answers for shnum, bucket in answer.items()}


def _all(what: Any) -> Any:
    """A Deferred of the results of Deferreds or coroutines; the first failure fails it."""
    waiting = [
        each if isinstance(each, defer.Deferred) else defer.ensureDeferred(each) for each in what
    ]
    return defer.gatherResults(waiting, consumeErrors=True)


if __name__ == "__main__":
    orders.run_twisted(Fetcher().obey)
