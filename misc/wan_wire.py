"""What a far network is like, what may happen to it, and how a rate is shared out.

Pure: times are handed in.
"""

from __future__ import annotations

from dataclasses import dataclass

# What a late timer may catch up with, so that rates are kept on a busy machine.
CREDIT_S = 0.02

SLOW, SILENT, DROP, NORMAL = "slow", "silent", "drop", "normal"
EVENT_KINDS = (SLOW, SILENT, DROP, NORMAL)


@dataclass(frozen=True)
class Event:
    """Something that happens to one server, ``at_s`` seconds after the script starts.

    ``slow`` multiplies its delay and divides its rates by ``factor``; ``silent``
    keeps its connections and moves nothing more; ``drop`` breaks its connections
    once, new ones work; ``normal`` ends ``slow`` and ``silent``.
    """

    at_s: float
    server: int
    kind: str
    factor: float = 10.0

    def __post_init__(self) -> None:
        if self.kind not in EVENT_KINDS or self.at_s < 0 or self.factor < 1 or self.server < 0:
            raise ValueError(f"no such event: {self}")


@dataclass(frozen=True)
class Wire:
    """The network's character; a rate of 0 is no limit. All rates in bytes a second."""

    delay_s: float = 0.0  # one way
    jitter_s: float = 0.0
    connection_rate: float = 0.0
    server_rate: float = 0.0
    downlink_rate: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        numbers = (self.delay_s, self.jitter_s, *self.rates)
        if min(numbers) < 0:
            raise ValueError(f"less than nothing: {self}")

    @property
    def rates(self) -> tuple[float, float, float]:
        """In the order in which a byte passes them."""
        return self.connection_rate, self.server_rate, self.downlink_rate


class Limiter:
    """Hands out places on a line of a given rate, in the order they are asked for."""

    def __init__(self, is_shared: bool = False) -> None:
        self.rate = 0.0
        self.is_shared = is_shared  # by all servers, so a slow one does not slow it
        self._free_at = 0.0

    def book(self, length: float, now: float) -> tuple[float, float]:
        """When these bytes may start, and when the last of them is through."""
        if not self.rate:
            return now, now
        start = max(self._free_at, now - CREDIT_S)
        self._free_at = start + length / self.rate
        return start, self._free_at

    def set_rate(self, rate: float) -> None:
        """Another rate from now on, with nothing booked."""
        self.rate = rate
        self._free_at = 0.0
