"""What one slow or silent server costs a running download: ``python3 misc/stragglers.py``.

A real client fetches a file of 100 MB, 3-of-10, from six servers behind the simulated wire
(10 MB/s a server, 12.5 MB/s in all, 20 ms), over each transport: there is room for others to do
what one fails to. When it has two fifths of it, one server becomes
ten times slower, or falls silent, until the download is over; each server in turn. Before each
such download comes one in which nothing happens, and the difference is what is reported. Writes
its section of ``docs/reliability.md``; takes ten minutes.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Appended: this is run as a command, and then ``misc`` is not on the path.
sys.path.append(str(Path(__file__).resolve().parent.parent))

from misc import bootstrap

SERVERS = 6
FILE_BYTES = 100_000_000
DELAY_S, RATE, LINE_RATE = 0.01, 10e6, 12.5e6
PART = 0.4  # of the undisturbed time, when it happens
PAGE = bootstrap.CHECKOUT / "docs" / "reliability.md"
SECTION = "stragglers"

# What the project set out to reach: a part of the time, and seconds.
MOST_SLOW_PART, MOST_SILENT_S = 0.15, 1.0


@dataclass(frozen=True)
class Pair:
    """Two downloads, the second with one server in trouble."""

    transport: str
    kind: str
    server: int
    calm_s: float
    disturbed_s: float

    @property
    def lost_s(self) -> float:
        """What the trouble cost, in seconds; noise may make it negative."""
        return self.disturbed_s - self.calm_s


def measure() -> Iterator[Pair]:
    """Each server in turn, slow and silent, over both transports."""
    from misc.far import static_servers
    from misc.grid import Grid
    from misc.grid_client import COLD, FOOLSCAP, HTTP
    from misc.wan import Wan
    from misc.wan_wire import SILENT, SLOW, Event, Wire

    wire = Wire(delay_s=DELAY_S, server_rate=RATE, downlink_rate=LINE_RATE)
    data = random.Random(1264).randbytes(FILE_BYTES)
    with tempfile.TemporaryDirectory(prefix="tahoe-fastdl-stragglers-") as directory:
        with Grid(Path(directory), servers=SERVERS) as grid:
            uploader = grid.add_client("uploader")
            cap = uploader.put(data)
            with Wan([server.port for server in grid.servers]) as wan:
                ports = dict(zip((server.port for server in grid.servers), wan.ports))
                known = static_servers(uploader, ports)
                for transport in (FOOLSCAP, HTTP):
                    client = grid.add_client(
                        f"client-{transport}",
                        transport=transport,
                        fast=True,
                        fast_options=COLD,
                        static_servers=known,
                    )
                    grid.wait_connected(60)
                    wan.use(wire)
                    client.download(cap)  # learns the rates
                    for server in range(SERVERS):
                        for kind in (SLOW, SILENT):
                            wan.run_script([])
                            calm = client.download(cap)
                            wan.run_script([Event(PART * calm.seconds, server, kind)])
                            disturbed = client.download(cap)
                            assert calm.sha256 == disturbed.sha256
                            yield Pair(transport, kind, server, calm.seconds, disturbed.seconds)
                            wan.use(wire)


def section(pairs: list[Pair]) -> str:
    """The table, and what was wanted."""
    from misc.wan_wire import SLOW

    lines = [
        "| one server | over | undisturbed, s | lost, s: median | worst | of the time, worst |",
        "| :-- | :-- | --: | --: | --: | --: |",
    ]
    for kind, words in ((SLOW, "ten times slower"), ("silent", "silent")):
        for transport in sorted({pair.transport for pair in pairs}):
            some = [pair for pair in pairs if (pair.kind, pair.transport) == (kind, transport)]
            lost = [pair.lost_s for pair in some]
            calm = statistics.median(pair.calm_s for pair in some)
            worst = max(pair.lost_s / pair.calm_s for pair in some)
            lines.append(
                f"| {words} | {transport} | {calm:.2f} | {statistics.median(lost):.2f}"
                f" | {max(lost):.2f} | {worst:.0%} |"
            )
    return "\n".join(
        [
            "One of six servers gets into trouble when two fifths of a file of 100 MB, 3-of-10, are"
            " here (10 MB/s a server, 12.5 MB/s in all, 20 ms); each server in turn, also those of"
            " which nothing was asked. Lost is the difference to the same download without trouble"
            " just before."
            f" Wanted: less than {MOST_SLOW_PART:.0%} of the time for a slow one, less than"
            f" {MOST_SILENT_S:g} s for a silent one.",
            "",
            *lines,
        ]
    )


def main() -> int:
    """The command; 1 if more was lost than wanted."""
    from misc import sections
    from misc.wan_wire import SLOW

    pairs = []
    for pair in measure():
        print(
            f"{pair.transport}, server {pair.server} {pair.kind}:"
            f" {pair.calm_s:.2f} s, then {pair.disturbed_s:.2f} s",
            flush=True,
        )
        pairs.append(pair)
    text = section(pairs)
    sections.write(PAGE, SECTION, text)
    print(f"\n{text}")
    too_much = [
        pair
        for pair in pairs
        if pair.lost_s > (MOST_SLOW_PART * pair.calm_s if pair.kind == SLOW else MOST_SILENT_S)
    ]
    return 1 if too_much else 0


if __name__ == "__main__":
    bootstrap.enter()
    sys.exit(main())
