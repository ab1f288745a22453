"""Imaginary grids, and what becomes of many downloads from them.

A grid has thousands of servers with round trips drawn from a log-normal and rates
from a Pareto distribution. Each download begins on a client that was just started and
knows no server; its file's shares lie on as many servers of the grid, drawn anew. All
is drawn from seeds that do not depend on the policy: each policy meets the same
servers, and they pause and die at the same times.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from misc.simulator.client import Client, FastDownload, Outcome
from misc.simulator.policies import Policy
from misc.simulator.stock import StockDownload
from misc.simulator.wire import Server, ServerSpec, Trouble
from misc.simulator.zero_file import file_of
from tahoe_fastdl.core.window import MIB

MB = 1_000_000
KIB = 1 << 10

GRID_SERVERS = 4000
LEAST_RATE = 1.0 * MB  # a home line's uplink
MOST_RATE = 50.0 * MB
RATE_TAIL = 1.2  # Pareto's exponent: one server in sixteen has ten times the least rate
ROUND_TRIP_S = 0.040  # the median
ROUND_TRIP_SPREAD = 0.6  # of its logarithm: one in a hundred has 160 ms
SEEK_S = 0.004
PAUSE_EVERY_S = 100.0

CALM = Trouble()
PAUSES = Trouble(pause_every_s=PAUSE_EVERY_S)
DEATHS = Trouble(pause_every_s=PAUSE_EVERY_S, death_chance=0.01)
# Busy disks and not broken ones: pauses come more often, and few are longer than two seconds.
SHORT = Trouble(pause_every_s=PAUSE_EVERY_S / 10, pause_tail=3.0)
TROUBLES = {"calm": CALM, "short pauses": SHORT, "pauses": PAUSES, "pauses and deaths": DEATHS}


@lru_cache(maxsize=4)
def grid_of(count: int, seed: int) -> tuple[ServerSpec, ...]:
    """Servers, the same for the same seed."""
    chance = random.Random(f"grid {seed}")
    return tuple(
        ServerSpec(
            round_trip_s=chance.lognormvariate(math.log(ROUND_TRIP_S), ROUND_TRIP_SPREAD),
            rate=min(MOST_RATE, LEAST_RATE * chance.paretovariate(RATE_TAIL)),
            seek_s=chance.expovariate(1 / SEEK_S),
        )
        for _ in range(count)
    )


@dataclass(frozen=True)
class Setting:
    """One line of the results: many downloads under one policy."""

    study: str
    policy: Policy
    needed: int
    total: int
    trouble: str = "pauses"
    length: int = 10 * MB
    segment_bytes: int = 128 * KIB
    downlink: float = 12.5 * MB
    count: int = 1000
    at_once: bool = False  # all by one client, instead of each by its own
    servers: int = GRID_SERVERS
    seed: int = 1

    def __str__(self) -> str:
        many = f"{self.count} at once" if self.at_once else f"{self.count} downloads"
        file = f"{self.needed}-of-{self.total}, {self.trouble}"
        return f"{self.study}: {file}, {many}, {self.policy.name}"


@dataclass
class Found:
    """What became of a setting's downloads."""

    outcomes: list[Outcome] = field(default_factory=list)
    hung: int = 0  # nothing was left to happen, and they were not over
    peak_bytes: int = 0  # of the budget
    events: int = 0

    def as_line(self, setting: Setting) -> dict[str, Any]:
        """For the file of results; times in seconds, rounded to four digits."""
        done = [outcome for outcome in self.outcomes if not outcome.failed]
        return {
            "study": setting.study,
            "policy": setting.policy.name,
            "needed": setting.needed,
            "total": setting.total,
            "trouble": setting.trouble,
            "length": setting.length,
            "segment_bytes": setting.segment_bytes,
            "downlink": setting.downlink,
            "late_factor": setting.policy.late_factor,
            "hedge_part": setting.policy.hedge_part,
            "default_rate": setting.policy.default_rate,
            "seed": setting.seed,
            "count": setting.count,
            "failed": len(self.outcomes) - len(done),
            "hung": self.hung,
            "reads": sum(outcome.reads for outcome in self.outcomes),
            "fetched_bytes": sum(outcome.fetched_bytes for outcome in self.outcomes),
            "hedges": sum(outcome.hedges for outcome in self.outcomes),
            "replaced": sum(outcome.replaced for outcome in self.outcomes),
            "peak_bytes": self.peak_bytes,
            "seconds": sorted(float(f"{outcome.seconds:.4g}") for outcome in done),
            "first_byte_s": sorted(float(f"{outcome.first_byte_s:.4g}") for outcome in done),
        }


def simulate(setting: Setting) -> Found:
    """All downloads of a setting."""
    found = Found()
    with setting.policy.in_force():
        if setting.at_once:
            _crowd(setting, found)
        else:
            for number in range(setting.count):
                _one(setting, number, found)
    return found


def _placed(
    setting: Setting, client: Client, servers: dict[int, Server], number: int
) -> list[tuple[int, Server, tuple[int, ...]]]:
    """Where the shares of a file lie: one on each of some servers, in the order of asking."""
    chance = random.Random(f"file {setting.seed} {number}")
    grid = grid_of(setting.servers, setting.seed)
    placed: list[tuple[int, Server, tuple[int, ...]]] = []
    for shnum, each in enumerate(chance.sample(range(len(grid)), setting.total)):
        if each not in servers:
            own = random.Random(f"server {setting.seed} {number} {each}")
            trouble = TROUBLES[setting.trouble]
            servers[each] = Server(grid[each], trouble, own, client.timeline, client.downlink)
        placed.append((each, servers[each], (shnum,)))
    chance.shuffle(placed)
    return placed


def _begin(
    setting: Setting, client: Client, servers: dict[int, Server], number: int
) -> FastDownload | StockDownload:
    file = file_of(setting.length, setting.needed, setting.total, setting.segment_bytes)
    placed = _placed(setting, client, servers, number)
    if setting.policy.is_stock:
        return StockDownload(client, file, placed)
    return FastDownload(client, file, placed)


def _one(setting: Setting, number: int, found: Found) -> None:
    client = Client.behind(setting.downlink)
    download = _begin(setting, client, {}, number)
    download.start()
    client.timeline.run(lambda: download.outcome is not None)
    _note(download, found)
    found.peak_bytes = max(found.peak_bytes, client.budget.peak_bytes)


def _note(download: FastDownload | StockDownload, found: Found) -> None:
    if download.outcome is None:
        found.hung += 1
    else:
        found.outcomes.append(download.outcome)


ARRIVE_WITHIN_S = 1.0


def _crowd(setting: Setting, found: Found) -> None:
    """All downloads by one client, which they reach within a second."""
    client = Client.behind(setting.downlink, 64 * MIB)
    servers: dict[int, Server] = {}
    chance = random.Random(f"crowd {setting.seed}")
    downloads = []
    for number in range(setting.count):
        download = _begin(setting, client, servers, number)
        client.timeline.at(chance.random() * ARRIVE_WITHIN_S, download.start)
        downloads.append(download)
    client.timeline.run()
    for download in downloads:
        _note(download, found)
    found.peak_bytes = client.budget.peak_bytes
