"""/storage-plugins/tahoe-fastdl/: is it on, what has it done, did it fall back.

Shows counters and settings only: no cap, key, storage index or file content.
"""

from __future__ import annotations

import json
from html import escape
from typing import Any

from twisted.web.resource import Resource

from .. import __version__, seam

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


def counters(node_config: Any) -> dict[str, int]:
    """All counters of the client with this tahoe.cfg; bytes and plain numbers."""
    hub = seam.hub_of_config(node_config)
    result = dict.fromkeys(COUNTERS, 0)
    result.update(memory_bytes=0, memory_used_bytes=0, memory_peak_bytes=0)
    if hub is not None:
        result.update(hub.totals)
        result["memory_bytes"] = hub.budget.total_bytes
        result["memory_used_bytes"] = hub.budget.used_bytes
        result["memory_peak_bytes"] = hub.budget.peak_bytes
    return result


class CountersResource(Resource):
    """``counters.json``: a flat object of integers."""

    isLeaf = True

    def __init__(self, node_config: Any) -> None:
        super().__init__()
        self._node_config = node_config

    def render_GET(self, request: Any) -> bytes:
        """The counters now."""
        request.setHeader(b"content-type", b"application/json")
        return json.dumps(counters(self._node_config), sort_keys=True).encode("ascii") + b"\n"


class StatusPage(Resource):
    """The page itself."""

    def __init__(self, node_config: Any) -> None:
        super().__init__()
        self._node_config = node_config
        self.putChild(b"counters.json", CountersResource(node_config))
        self.putChild(b"", self)

    def render_GET(self, request: Any) -> bytes:
        """A table for people."""
        request.setHeader(b"content-type", b"text/html; charset=utf-8")
        why = seam.unknown_tahoe_of_process() or seam.check_options(self._node_config)
        state = f"off, downloads use stock: {why}" if why else "on"
        rows = "".join(
            f"<tr><td>{escape(name)}</td><td align=right>{value:,}</td></tr>"
            for name, value in counters(self._node_config).items()
        )
        return (
            f"<!DOCTYPE html><html><head><title>tahoe-fastdl</title></head><body>"
            f"<h1>tahoe-fastdl {escape(__version__)}</h1><p>{escape(state)}</p>"
            f"<table>{rows}</table><p><a href='counters.json'>counters.json</a></p>"
            f"</body></html>"
        ).encode()
