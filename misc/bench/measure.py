"""One download, measured from outside: clock, /proc, and what the node itself counts.

Law: each download is a cold one. Tahoe keeps a file's node, with share places and
hash trees, as long as somebody uses it, and stock's are not freed at once; it
finds the node by the text of the cap. Zeros before the cap's size make another
text of the same cap, so each run begins with nothing, on stock as on ours.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from signal import SIGKILL

from misc.bench.results import Measures
from misc.grid import Client, GridError, Server

LISTING_TIMEOUT_S = 300.0  # stock's longest list takes a node most of a minute to print


class WrongBytesError(Exception):
    """A download gave other bytes than were uploaded."""


class OverLimitError(Exception):
    """A download was stopped because it took too long; its client was ended for that."""


@dataclass
class Subject:
    """A client that is measured, and what must be known of it."""

    client: Client
    wire: str = ""  # through which it learned to know the servers
    idle_bytes: int = 0
    caps_made: int = field(default=0)

    def rss_bytes(self) -> int:
        """What it holds now; its peak counts from here."""
        self.client.reset_peak_rss()
        return self.client.peak_rss_bytes()

    def cold_cap(self, cap: str) -> str:
        """Another text of the same cap."""
        self.caps_made += 1
        head, _, length = cap.rpartition(":")
        return f"{head}:{'0' * self.caps_made}{length}"


def measure(
    subject: Subject,
    servers: Sequence[Server],
    cap: str,
    sha256: str,
    limit_s: float,
) -> Measures:
    """Download a file once.

    :raise WrongBytesError: the bytes are not those of ``sha256``.
    :raise OverLimitError: it took longer than ``limit_s``.
    :raise GridError: the node broke it off.
    """
    client = subject.client
    cold_cap = subject.cold_cap(cap)
    counters = client.fast_counters() if client.options.fast else {}
    servers_cpu_s = _cpu_seconds(servers)
    client_cpu_s = client.cpu_seconds()
    before_bytes = subject.rss_bytes()
    # A total limit: a socket's timeout would only mind the time between two bytes.
    stopper = threading.Timer(limit_s, client.signal, (SIGKILL,))
    stopper.start()
    try:
        download = client.download(cold_cap, timeout_s=limit_s + 60.0)
    except GridError as problem:
        if stopper.finished.is_set() and not client.is_running():
            raise OverLimitError(f"{client.name} took more than {limit_s:.0f} s") from problem
        raise
    finally:
        stopper.cancel()
    peak_bytes = client.peak_rss_bytes()
    client_cpu_s = client.cpu_seconds() - client_cpu_s
    servers_cpu_s = _cpu_seconds(servers) - servers_cpu_s
    if download.sha256 != sha256:
        raise WrongBytesError(f"{client.name} delivered other bytes than were uploaded")
    if counters:
        after = client.fast_counters()
        counters = {
            name: after[name] - counters.get(name, 0)
            for name in after
            if not name.startswith("memory")  # those are levels: a difference says nothing
        }
    return Measures(
        seconds=download.seconds,
        first_byte_s=download.first_byte_s,
        client_cpu_s=client_cpu_s,
        servers_cpu_s=servers_cpu_s,
        idle_bytes=subject.idle_bytes,
        before_bytes=before_bytes,
        peak_bytes=peak_bytes,
        counters=counters,
    )


def _cpu_seconds(servers: Sequence[Server]) -> float:
    return sum(server.cpu_seconds() for server in servers)


def with_reads(measures: Measures, client: Client) -> Measures:
    """The same with how many reads the newest download sent, and how many bytes came.

    Apart from ``measure``, because the node builds a long text of its reads: the
    memory that takes would count for the next download.
    """
    blocks = client.download_events(timeout_s=LISTING_TIMEOUT_S)["block"]
    fetched_bytes = sum(block["response_length"] or 0 for block in blocks)
    return replace(measures, reads=len(blocks), fetched_bytes=fetched_bytes)
