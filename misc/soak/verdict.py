"""What a soak has to show, and whether it did.

Pure.  One ``Part`` a tenth of the time: after it all servers are back, nobody
reads, and the clients are looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

# The most that a client held at rest in the second half may be so much above the most in the
# first: an allocator gives back what it likes, and a leak of a byte a KB read would show.
SLACK_BYTES = 16 << 20

# Of counters.json, all 0 when nobody reads; and one that never may be more.
AT_REST = ("downloads_active", "reads_in_flight", "delayed_calls", "memory_used_bytes")
NEVER = "fallbacks"


@dataclass(frozen=True)
class Rest:
    """One client at rest."""

    rss_bytes: int
    counters: Mapping[str, int]
    unhandled: int  # errors in its log that nobody took

    def problems(self, name: str) -> list[str]:
        """What should be 0 and is not."""
        found = [f"{name} has {self.counters[each]} {each} at rest" for each in AT_REST
                 if self.counters[each]]  # fmt: skip
        if self.counters[NEVER]:
            found.append(f"{name} counted {self.counters[NEVER]} {NEVER}")
        if self.unhandled:
            found.append(f"{name} logged {self.unhandled} unhandled errors")
        return found


@dataclass(frozen=True)
class Part:
    """A part of the time."""

    seconds: float
    reads: int
    bytes_checked: int
    rests: Mapping[str, Rest]  # by client


@dataclass(frozen=True)
class Soak:
    """All of it."""

    seed: str
    readers: int
    servers: int
    needed: int
    parts: Sequence[Part]
    reads: Mapping[str, int]  # by kind
    ends: Mapping[str, int]
    troubles: Mapping[str, int]  # by kind
    read_problems: Sequence[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Of reading."""
        return sum(part.seconds for part in self.parts)

    @property
    def bytes_checked(self) -> int:
        """Each was compared with what was uploaded."""
        return sum(part.bytes_checked for part in self.parts)

    @property
    def clients(self) -> list[str]:
        """Their names."""
        return sorted(self.parts[-1].rests) if self.parts else []

    def rss_bytes(self, client: str) -> list[int]:
        """What a client held after each part."""
        return [part.rests[client].rss_bytes for part in self.parts]

    def growth_bytes(self, client: str) -> int:
        """How much more it held at most in the second half than in the first."""
        held = self.rss_bytes(client)
        half = len(held) // 2
        return max(held[half:]) - max(held[:half]) if half else 0

    def problems(self) -> list[str]:
        """What should not have happened."""
        found = list(self.read_problems)
        if not self.bytes_checked:
            found.append("not a byte was read")
        for number, part in enumerate(self.parts, 1):
            for client, rest in part.rests.items():
                found += [f"part {number}: {each}" for each in rest.problems(client)]
        for client in self.clients:
            growth = self.growth_bytes(client)
            if growth > SLACK_BYTES:
                found.append(f"{client} grew by {growth / 1e6:.1f} MB at rest")
        return found
