"""How a client is told to reach the servers of its grid through other ports, a pipe's."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from allmydata.util import yamlutil

from misc.grid_client import Client
from misc.node_process import GridError

TIMEOUT_S = 120.0


def static_servers(client: Client, ports: Mapping[int, int]) -> str:
    """A servers.yaml of what a client has heard announced, with other ports.

    :param ports: the servers' own, and what stands for each.
    :raise GridError: the client's cache of announcements did not become complete.
    """
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        announcements: list[Any] = []
        for path in (client.directory / "private").glob("introducer*_cache.yaml"):
            announcements += yamlutil.safe_load(path.read_text(encoding="utf-8")) or []
        if len(announcements) >= len(ports):
            break
        if time.monotonic() > deadline:
            raise GridError(f"{client.name} keeps no announcements of the servers")
        time.sleep(0.1)
    text = yamlutil.safe_dump(
        {"storage": {str(each["key_s"]): {"ann": each["ann"]} for each in announcements}}
    )
    for port, other in ports.items():
        # Both in furls and in nurls.
        text = text.replace(f"127.0.0.1:{port}/", f"127.0.0.1:{other}/")
    return str(text)
