"""What the parts of a download add up to: the floors. Pure.

The measured floor is the longest of what no client with this structure gets below:

* any of the parts by itself, waiting for the servers or the reader included;
* the CPU of its reactor thread, which does (a) and (c);
* all CPU that (a), (b) and (c) cost client, servers and reader, spread evenly over
  the cores of the machine they share.
"""

from __future__ import annotations

from dataclasses import dataclass

from misc.bench.cases import Case
from misc.floor.lines import Line, Lines

# The parts of a case, besides FAST and STOCK.
FETCH = "fetch"  # (a)
PROVE = "prove"  # (b), with the primary shares: decoding copies
PROVE_OTHERS = "prove others"  # (b), with none of them: decoding reckons
SERVE = "serve"  # (c)
FLOOR_PARTS = (FETCH, PROVE, SERVE)


@dataclass(frozen=True)
class Cost:
    """Medians of one part, in seconds."""

    wall_s: float
    cpu_s: float  # of the measured process alone
    total_cpu_s: float  # with servers and reader


@dataclass(frozen=True)
class Floors:
    """Seconds that a download would take if it were nothing but these parts."""

    fetch: Cost
    prove: Cost
    serve: Cost
    cores: int

    @property
    def parts(self) -> tuple[Cost, Cost, Cost]:
        """(a), (b), (c)."""
        return self.fetch, self.prove, self.serve

    @property
    def sum_s(self) -> float:
        """One after another."""
        return sum(part.wall_s for part in self.parts)

    @property
    def longest_s(self) -> float:
        """All at once, as if each had the machine to itself."""
        return max(part.wall_s for part in self.parts)

    @property
    def reactor_s(self) -> float:
        """CPU of the one thread that fetches and serves."""
        return self.fetch.cpu_s + self.serve.cpu_s

    @property
    def machine_s(self) -> float:
        """All CPU, spread evenly over the cores."""
        return sum(part.total_cpu_s for part in self.parts) / self.cores

    @property
    def client_cpu_s(self) -> float:
        """CPU of a client that is nothing but the parts."""
        return sum(part.cpu_s for part in self.parts)

    @property
    def floor_s(self) -> float:
        """The measured floor: see the module."""
        return max(self.longest_s, self.reactor_s, self.machine_s)

    @property
    def bound_by(self) -> str:
        """Which of them it is."""
        found = {
            "the machine's CPU": self.machine_s,
            "the reactor thread": self.reactor_s,
            "fetching": self.fetch.wall_s,
            "proving": self.prove.wall_s,
            "serving": self.serve.wall_s,
        }
        return max(found, key=lambda name: found[name])


def cost(lines: Lines, case: Case, part: str) -> Cost | None:
    """Medians over the runs; None of none."""
    wall = lines.spread(case, part, lambda line: line.wall_s)
    cpu = lines.spread(case, part, lambda line: line.cpu_s)
    total = lines.spread(case, part, lambda line: line.total_cpu_s)
    if wall is None or cpu is None or total is None:
        return None
    return Cost(wall.median, cpu.median, total.median)


def floors(lines: Lines, case: Case, cores: int) -> Floors | None:
    """Of one case; None while a part was not measured."""
    found = [cost(lines, case, part) for part in FLOOR_PARTS]
    fetch, prove, serve = found
    if fetch is None or prove is None or serve is None:
        return None
    return Floors(fetch, prove, serve, cores)


def step_s(lines: Lines, case: Case, part: str, step: str) -> float | None:
    """Median seconds of one step of (b)."""

    def value(line: Line) -> float:
        return line.details.get(step, 0.0)

    found = lines.spread(case, part, value)
    return None if found is None else found.median
