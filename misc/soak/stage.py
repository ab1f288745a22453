"""One soak on real nodes: the grid, the files, the parts, and the look at what is left."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from misc.command_line import Say
from misc.grid import Client, ClientOptions, Grid
from misc.grid_client import FOOLSCAP, HTTP, OLD_SEGMENT_BYTES
from misc.soak.readers import File, Readers
from misc.soak.trouble import KINDS, Trouble
from misc.soak.verdict import AT_REST, Part, Rest, Soak

OnPart = Callable[[int, Part], None]

UPLOADER = "uploader"
TRANSPORTS = (FOOLSCAP, HTTP)

SERVERS, NEEDED = 8, 3
# One more than a file needs is always well: reads meet more trouble by lasting.
MOST_AT_ONCE = SERVERS - NEEDED - 1

# Small shares that are read whole, a segment, and many of them; two of each.
SIZES = (20_000, 130_000, 1_000_000, 4_000_000, 8_000_000)
FILES = 2 * len(SIZES)

# Servers hang for longer than this, and ten readers a client want more than that.
FAST_OPTIONS = {"patience": "5 s", "memory": "16 MiB"}

REST_LIMIT_S = 60.0
CONNECT_LIMIT_S = 120.0
POLL_S = 0.2


@dataclass(frozen=True)
class Order:
    """How long, how many, and by which dice."""

    seconds: float
    readers: int
    parts: int
    seed: str


def soak(order: Order, directory: Path, say: Say, on_part: OnPart) -> Soak:
    """Run it.

    :param directory: for the nodes.
    :param on_part: told of each part that is over, and its number from 1.
    :raise GridError: a node did not do what it should.
    """
    clients = {
        f"fast-{each}": ClientOptions(transport=each, fast=True, fast_options=FAST_OPTIONS)
        for each in TRANSPORTS
    }
    uploading = ClientOptions(needed=NEEDED, total=SERVERS, max_segment_bytes=OLD_SEGMENT_BYTES)
    with Grid(
        directory / "grid", servers=SERVERS, clients={UPLOADER: uploading, **clients}, say=say
    ) as grid:
        say(f"uploading {FILES} files")
        files = _upload(grid.clients[UPLOADER], order.seed)
        grid.clients[UPLOADER].stop()
        readers = [grid.clients[name] for name in clients]
        return _Run(order, grid, readers, files, say).all_parts(on_part)


def _upload(uploader: Client, seed: str) -> list[File]:
    files = []
    for number in range(FILES):
        content = random.Random(f"{seed} file {number}").randbytes(SIZES[number % len(SIZES)])
        files.append(File(f"file {number}", uploader.put(content), content))
    return files


class _Run:
    """The parts of one soak."""

    def __init__(
        self, order: Order, grid: Grid, clients: Sequence[Client], files: Sequence[File], say: Say
    ) -> None:
        self._order = order
        self._grid = grid
        self._clients = clients
        self._say = say
        dice = random.Random(f"{order.seed} trouble")
        self._trouble = Trouble(grid.servers, clients, MOST_AT_ONCE, dice)
        self._readers = Readers(
            order.readers, clients, files, self._trouble.spells, NEEDED, order.seed
        )

    def all_parts(self, on_part: OnPart) -> Soak:
        """Run them, one after another."""
        order, tally, spells = self._order, self._readers.tally, self._trouble.spells
        parts = []
        for number in range(1, order.parts + 1):
            parts.append(self._part(number))
            on_part(number, parts[-1])
        return Soak(
            seed=order.seed,
            readers=order.readers,
            servers=SERVERS,
            needed=NEEDED,
            parts=parts,
            reads=dict(tally.reads),
            ends=dict(tally.ends),
            troubles={kind: spells.count(kind) for kind in KINDS},
            read_problems=list(tally.problems),
        )

    def _part(self, number: int) -> Part:
        tally = self._readers.tally
        reads, checked = sum(tally.reads.values()), tally.bytes_checked
        began = time.monotonic()
        self._trouble.begin()
        try:
            self._readers.run_for(self._order.seconds / self._order.parts)
            seconds = time.monotonic() - began
        finally:
            self._trouble.end()
        self._grid.wait_connected(CONNECT_LIMIT_S, self._clients)
        part = Part(
            seconds=seconds,
            reads=sum(tally.reads.values()) - reads,
            bytes_checked=tally.bytes_checked - checked,
            rests={client.name: _rest(client) for client in self._clients},
        )
        self._tell(number, part)
        return part

    def _tell(self, number: int, part: Part) -> None:
        held = ", ".join(
            f"{name} {rest.rss_bytes / 1e6:.0f} MB" for name, rest in part.rests.items()
        )
        self._say(
            f"part {number} of {self._order.parts}: {part.reads} reads,"
            f" {part.bytes_checked / 1e6:.0f} MB, {len(self._readers.tally.problems)} problems"
            f" so far; at rest {held}"
        )


def _rest(client: Client) -> Rest:
    """Wait until it does nothing any more, or for so long that it seems it always will."""
    deadline = time.monotonic() + REST_LIMIT_S
    while True:
        counters = client.fast_counters()
        if not any(counters[name] for name in AT_REST) or time.monotonic() > deadline:
            break
        time.sleep(POLL_S)
    client.reset_peak_rss()
    return Rest(
        rss_bytes=client.peak_rss_bytes(),
        counters=counters,
        unhandled=len(client.unhandled_errors()),
    )
