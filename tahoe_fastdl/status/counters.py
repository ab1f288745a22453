"""``counters.json``: the plain counters of a client, for a monitor that wants no more."""

from __future__ import annotations

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


def counters(hub: Hub | None) -> dict[str, int]:
    """All counters of a client; bytes and plain numbers.

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
