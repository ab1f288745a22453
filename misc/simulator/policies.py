"""Whose way to download, and with which constants of the core.

The core's constants are no options, since nobody should have to set them; to study
them they are put in place for the time of one simulation, in this process.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from tahoe_fastdl.core import covering, servers

NEVER = 1e9


@dataclass(frozen=True)
class Policy:
    """One way; the core's own constants unless others are given."""

    name: str
    is_stock: bool = False
    late_factor: float = servers.LATE_FACTOR
    stalled_factor: float = servers.STALLED_FACTOR
    hedge_part: float = covering.HEDGE_PART
    hedge_free_bytes: int = covering.HEDGE_FREE_BYTES
    default_rate: float = servers.DEFAULT_RATE  # while no server of a file has shown one

    @contextlib.contextmanager
    def in_force(self) -> Iterator[None]:
        """Let the core work by it meanwhile."""
        before = servers.LATE_FACTOR, servers.STALLED_FACTOR, servers.DEFAULT_RATE
        hedges = covering.HEDGE_PART, covering.HEDGE_FREE_BYTES
        servers.LATE_FACTOR, servers.STALLED_FACTOR = self.late_factor, self.stalled_factor
        covering.HEDGE_PART, covering.HEDGE_FREE_BYTES = self.hedge_part, self.hedge_free_bytes
        servers.DEFAULT_RATE = self.default_rate
        try:
            yield
        finally:
            servers.LATE_FACTOR, servers.STALLED_FACTOR, servers.DEFAULT_RATE = before
            covering.HEDGE_PART, covering.HEDGE_FREE_BYTES = hedges


STOCK = Policy("stock", is_stock=True)
# No read is ever late, so none is asked of others as well, or given up before it fails.
PATIENT = Policy("fast without hedges", late_factor=NEVER, stalled_factor=NEVER)
FAST = Policy("fast")
POLICIES = (STOCK, PATIENT, FAST)


def with_late_factor(factor: float) -> Policy:
    """Late sooner or later than by default."""
    return Policy(f"late after {factor:g} x", late_factor=factor)


def with_hedge_part(part: float) -> Policy:
    """Hedges may cost this part of what was fetched; 0: no hedges at all, replacements only."""
    free = covering.HEDGE_FREE_BYTES if part else 0
    return Policy(f"hedges within {part:.0%}", hedge_part=part, hedge_free_bytes=free)


def with_default_rate(rate: float) -> Policy:
    """Servers are expected to have this rate while none of a file's has shown one."""
    return Policy(f"unknown servers have {rate / 1e6:g} MB/s", default_rate=rate)
