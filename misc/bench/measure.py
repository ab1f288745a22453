"""One download, measured from outside: clock, /proc, and what the node itself counts.

Law: each download is a cold one. Tahoe keeps a file's node, with share places and
hash trees, as long as somebody uses it, and stock's are not freed at once; it
finds the node by the text of the cap. Zeros before the cap's size make another
text of the same cap, so each run begins with nothing on stock. Ours knows a file
by its verifycap: its clients are told to remember nothing (``COLD``).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from misc.bench.fetch import fetch
from misc.bench.results import Measures, Stopped
from misc.grid import Client, Server

LISTING_TIMEOUT_S = 300.0  # stock's longest list takes a node most of a minute to print

# A client that gave a download up is idle again when it used no more than a tick in this time,
REST_S = 0.15
# and is started anew if it is not idle by then.
REST_LIMIT_S = 4.0
TICK_S = 0.011

# What the report shows of the plugin's counters.
COUNTERS = ("recomputations", "changes", "hedges", "fallbacks")
# What counts from the node's start, this download included.
PEAK = "memory_peak_bytes"


class WrongBytesError(Exception):
    """A download gave other bytes than were uploaded."""


@dataclass
class Subject:
    """A client that is measured, and what must be known of it."""

    client: Client
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
    least_bytes: int,
) -> Measures | Stopped:
    """Download a file once, or as much of it as comes within the limit, but so many bytes.

    :raise WrongBytesError: the bytes are not those of ``sha256``.
    :raise GridError: the node broke it off.
    """
    client = subject.client
    cold_cap = subject.cold_cap(cap)
    counters = client.fast_counters() if client.options.fast else {}
    servers_cpu_s = _cpu_seconds(servers)
    client_cpu_s = client.cpu_seconds()
    subject.rss_bytes()
    fetched = fetch(client, cold_cap, limit_s, least_bytes)
    peak_bytes = client.peak_rss_bytes()
    client_cpu_s = client.cpu_seconds() - client_cpu_s
    servers_cpu_s = _cpu_seconds(servers) - servers_cpu_s
    if not fetched.is_whole:
        return Stopped(fetched.length, fetched.first_byte_s, fetched.last_byte_s, client_cpu_s)
    if fetched.sha256 != sha256:
        raise WrongBytesError(f"{client.name} delivered other bytes than were uploaded")
    if counters:
        after = client.fast_counters()
        counters = {name: after[name] - counters.get(name, 0) for name in COUNTERS}
        counters[PEAK] = after[PEAK]
    return Measures(
        seconds=fetched.last_byte_s,
        first_byte_s=fetched.first_byte_s,
        client_cpu_s=client_cpu_s,
        servers_cpu_s=servers_cpu_s,
        idle_bytes=subject.idle_bytes,
        peak_bytes=peak_bytes,
        counters=counters,
    )


def _cpu_seconds(servers: Sequence[Server]) -> float:
    return sum(server.cpu_seconds() for server in servers)


def is_at_rest(client: Client) -> bool:
    """Wait until the client does nothing any more; False if it goes on for too long."""
    deadline = time.monotonic() + REST_LIMIT_S
    before_s = client.cpu_seconds()
    while time.monotonic() < deadline:
        time.sleep(REST_S)
        now_s = client.cpu_seconds()
        if now_s - before_s < TICK_S:
            return True
        before_s = now_s
    return False


def with_reads(measures: Measures, client: Client) -> Measures:
    """The same with how many reads the newest download sent, and how many bytes came.

    Apart from ``measure``, because the node builds a long text of its reads: the
    memory that takes would count for the next download.
    """
    blocks = client.download_events(timeout_s=LISTING_TIMEOUT_S)["block"]
    fetched_bytes = sum(block["response_length"] or 0 for block in blocks)
    return replace(measures, reads=len(blocks), fetched_bytes=fetched_bytes)


def with_reads_so_far(stopped: Stopped, client: Client) -> Stopped:
    """The same of a download that was given up."""
    blocks = client.download_events(timeout_s=LISTING_TIMEOUT_S)["block"]
    return replace(stopped, reads=len(blocks))
