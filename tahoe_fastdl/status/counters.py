"""``counters.json``: plain counters and gauges of a client, for a monitor that wants no more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..shell.hub import Hub

# Shown even before anything was counted, so that a monitor can rely on them.
COUNTERS = (
    "downloads",
    "fallbacks",
    "unsupported",
    "reads_sent",
    "changes",
    "recomputations",
    "hedges",
    "inquests",
    "corruptions",
)
GAUGES = (
    "downloads_active",
    "downloads_waiting",
    "downloads_parked",
    "reads_in_flight",
    "delayed_calls",
)

OURS = __name__.partition(".")[0]


def counters(hub: Hub | None) -> dict[str, int]:
    """What is counted since the client started, and its budget; bytes and plain numbers.

    :param hub: None before its first download.
    """
    result = dict.fromkeys(COUNTERS, 0)
    result.update(memory_bytes=0, memory_used_bytes=0, memory_peak_bytes=0)
    if hub is not None:
        result.update(hub.totals)
        result["memory_bytes"] = hub.budget.total_bytes
        result["memory_used_bytes"] = hub.budget.used_bytes
        result["memory_peak_bytes"] = hub.budget.peak_bytes
    return result


def gauges(hub: Hub | None) -> dict[str, int]:
    """What goes on now; all but the parked downloads are 0 when nobody reads.

    :param hub: None before the first download.
    """
    result = dict.fromkeys(GAUGES, 0)
    if hub is not None:
        result.update(hub.gauges(), delayed_calls=delayed_calls())
    return result


def delayed_calls() -> int:
    """Timers of ours that run in this process."""
    from twisted.internet import reactor

    waiting: Iterable[Any] = reactor.getDelayedCalls()
    modules = (str(getattr(call.func, "__module__", "")) for call in waiting)
    return sum(module.partition(".")[0] == OURS for module in modules)
