"""Shows what the plugin does: the same downloads without it and with it.

``python3 misc/demo.py`` starts a grid of real nodes on this machine, uploads two
files, downloads each with the stock downloader and with ours, over Foolscap and
over HTTP, checks every byte, and ends with a table. The first file is the one of
Tahoe's ticket #1264: 10 MB, 20-of-60, 128 KiB segments.

The exit status is 0 only if all bytes were right and no read of ours had to be
finished by the stock downloader.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# Appended, not put first: the package must come from the environment, where the
# drop-in is, and not from the checkout.
sys.path.append(str(Path(__file__).resolve().parent.parent))

from misc import bootstrap
from misc.grid import Client, ClientOptions, Grid, GridError
from misc.grid_client import COLD, FOOLSCAP, HTTP, OLD_SEGMENT_BYTES, PLUGIN_NAME, reads_between

SERVERS = 6
RUNS = 3

STOCK = "stock"
FAST = "fast"
KINDS = (STOCK, FAST)
TRANSPORTS = (FOOLSCAP, HTTP)

MB = 1_000_000


@dataclass(frozen=True)
class Sample:
    """A file of the demonstration and the client that uploads it."""

    title: str
    length: int
    uploader: str


TICKET = Sample("10 MB, 20-of-60, 128 KiB segments", 10 * MB, f"{STOCK}-{FOOLSCAP}")
LARGE = Sample("100 MB, 3-of-10, 1 MiB segments", 100 * MB, f"{STOCK}-{HTTP}")

# Ten seconds and more each: once shows it.
LONG_RUNS = {(TICKET, HTTP, STOCK)}

# How a file is encoded is the uploader's choice, so each sample has a client of
# that choice; downloads do not depend on it.
CLIENTS = {
    f"{STOCK}-{FOOLSCAP}": ClientOptions(
        transport=FOOLSCAP, needed=20, total=60, max_segment_bytes=OLD_SEGMENT_BYTES
    ),
    f"{FAST}-{FOOLSCAP}": ClientOptions(transport=FOOLSCAP, fast=True, fast_options=COLD),
    f"{STOCK}-{HTTP}": ClientOptions(transport=HTTP),
    f"{FAST}-{HTTP}": ClientOptions(transport=HTTP, fast=True, fast_options=COLD),
}


@dataclass
class Measured:
    """What one client needed for one file."""

    command_s: float
    web_s: float
    reads: int
    fallbacks: int


class WrongBytesError(Exception):
    """A download gave other bytes than were uploaded."""


class Progress:
    """Lines with the seconds since the start."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def __call__(self, text: str) -> None:
        print(f"[{time.monotonic() - self._started:5.1f} s] {text}", flush=True)


def measure(
    grid: Grid, sample: Sample, cap: str, sha256: str, transport: str, out: Path, say: Progress
) -> dict[str, Measured]:
    """Download one file with both clients of a transport, turn by turn.

    :raise WrongBytesError: what came is not what was uploaded.
    """
    clients = {kind: grid.clients[f"{kind}-{transport}"] for kind in KINDS}
    fallbacks_before = _fallbacks(clients[FAST])
    command_s: dict[str, float] = {}
    for kind, client in clients.items():
        command_s[kind] = client.tahoe_get(cap, out)
        _check(client, hashlib.sha256(out.read_bytes()).hexdigest(), sha256)
        out.unlink()
        say(f"  {transport}, {kind}: tahoe get took {command_s[kind]:.2f} s, the bytes are right")
    web_s: dict[str, list[float]] = {kind: [] for kind in KINDS}
    reads: dict[str, int] = {}
    for run in range(RUNS):
        for kind, client in clients.items():
            if run and (sample, transport, kind) in LONG_RUNS:
                continue
            before = {} if run else client.reads_sent()
            download = client.download(cap)
            if not run:
                # Not each time: the node spends long on listing thousands of reads.
                reads[kind] = reads_between(before, client.reads_sent())
            _check(client, download.sha256, sha256)
            web_s[kind].append(download.seconds)
            say(f"  {transport}, {kind}: web download took {download.seconds:.2f} s")
    fallbacks = {STOCK: 0, FAST: _fallbacks(clients[FAST]) - fallbacks_before}
    return {
        kind: Measured(
            command_s[kind], statistics.median(web_s[kind]), reads[kind], fallbacks[kind]
        )
        for kind in KINDS
    }


def _fallbacks(client: Client) -> int:
    return client.fast_counters()["fallbacks"]


def _check(client: Client, found: str, expected: str) -> None:
    if found != expected:
        raise WrongBytesError(f"{client.name} delivered other bytes than were uploaded")


def upload(grid: Grid, sample: Sample, say: Progress) -> tuple[str, str]:
    """Upload a sample; returns its cap and the SHA-256 of its bytes."""
    # From a seed, so that each run has the same bytes, which do not compress.
    data = (
        random.Random(sample.title).getrandbits(8 * sample.length).to_bytes(sample.length, "little")
    )
    client = grid.clients[sample.uploader]
    began = time.monotonic()
    cap = client.put(data)
    say(f"uploaded {sample.title} ({time.monotonic() - began:.1f} s)")
    return cap, hashlib.sha256(data).hexdigest()


def table(results: Sequence[tuple[Sample, str, dict[str, Measured]]]) -> str:
    """The end of the demonstration: a row for each file and transport."""
    lines = [
        f"{'':44}{'tahoe get, s':>15}{'web, s':>15}{'times':>8}{'reads sent':>15}{'fall-':>7}",
        f"{'file':34}{'over':10}"
        + f"{STOCK:>8}{FAST:>7}" * 2
        + f"{'faster':>8}{STOCK:>8}{FAST:>7}{'backs':>7}",
    ]
    for sample, transport, by_kind in results:
        stock, fast = by_kind[STOCK], by_kind[FAST]
        lines.append(
            f"{sample.title:34}{transport:10}"
            f"{stock.command_s:8.2f}{fast.command_s:7.2f}{stock.web_s:8.2f}{fast.web_s:7.2f}"
            f"{stock.web_s / fast.web_s:8.1f}{stock.reads:8d}{fast.reads:7d}{fast.fallbacks:7d}"
        )
    return "\n".join(lines)


def show(directory: Path, keep: bool) -> int:
    """Run the whole demonstration in a directory; returns the exit status."""
    say = Progress()
    results: list[tuple[Sample, str, dict[str, Measured]]] = []
    with Grid(directory / "grid", servers=SERVERS, clients=CLIENTS, say=say) as grid:
        say("the grid is up")
        for sample in (TICKET, LARGE):
            cap, sha256 = upload(grid, sample, say)
            for transport in TRANSPORTS:
                found = measure(grid, sample, cap, sha256, transport, directory / "out", say)
                results.append((sample, transport, found))
        fallbacks = sum(by_kind[FAST].fallbacks for _, _, by_kind in results)
        print(f"\nMedians of {RUNS} web downloads (one where stock needs more than ten seconds);")
        print("every download was compared with what was uploaded.\n")
        print(table(results), flush=True)
        if fallbacks:
            print(f"\n{fallbacks} reads fell back to the stock downloader; none should.")
        if keep:
            _stay_up(grid)
    return 1 if fallbacks else 0


def _stay_up(grid: Grid) -> None:
    print("\nThe grid stays up until Ctrl-C.")
    for client in grid.clients.values():
        print(f"  {client.name:15} {client.url}")
        if client.options.fast:
            print(f"  {'':15} {client.url}storage-plugins/{PLUGIN_NAME}/")
    sys.stdout.flush()
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        print("\nstopping")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "--keep", action="store_true", help="leave the grid up, and print its URLs, until Ctrl-C"
    )
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="tahoe-fastdl-demo-") as directory:
            return show(Path(directory), options.keep)
    except (GridError, WrongBytesError) as problem:
        print(f"\nThe demonstration failed: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    bootstrap.enter()
    sys.exit(main())
