"""Real downloads by two clients that note what they do, on a loopback grid.

Owns the grid's life. Files are uploaded by an ordinary client and read over Foolscap;
each of the two clients reads each file once, one after the other, and is then stopped
in order, which writes its trace.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

from misc.bench.cases import FAST, KINDS, SERVERS, File
from misc.bench.files import Files
from misc.bench.measure import WrongBytesError
from misc.command_line import Say
from misc.grid import Client, ClientOptions, Grid, GridError
from misc.grid_client import FOOLSCAP
from misc.spans_trace import traces

UPLOADER = "uploader"
PROGRAM = Path(__file__).resolve().with_name("traced_node.py")

DOWNLOAD_TIMEOUT_S = 600.0
STOP_GRACE_S = 60.0  # a node closes its connections first


def record(files: Sequence[File], directory: Path, kept: Path, say: Say) -> None:
    """Download each file with each downloader, and keep the traces.

    :param directory: for the nodes.
    :param kept: for the traces.
    :raise GridError: a node did not do its part, or the plugin fell back to stock.
    :raise WrongBytesError: other bytes came than were uploaded.
    :raise NoTraceError: a node wrote no trace of a file.
    """
    raw = {kind: directory / f"{kind}.trace" for kind in KINDS}
    clients = {UPLOADER: ClientOptions()}
    for kind in KINDS:
        clients[kind] = ClientOptions(
            transport=FOOLSCAP,
            fast=kind == FAST,
            program=(str(PROGRAM), kind, str(raw[kind])),
        )
    with Grid(directory / "grid", servers=SERVERS, clients=clients, say=say) as grid:
        uploaded = Files(grid, grid.clients[UPLOADER], directory)
        for file in files:
            say(f"recording {file}")
            cap, sha256 = uploaded.upload(file)
            for kind in KINDS:
                download = grid.clients[kind].download(cap, timeout_s=DOWNLOAD_TIMEOUT_S)
                if download.sha256 != sha256:
                    raise WrongBytesError(f"{kind} delivered other bytes than were uploaded")
        for kind in KINDS:
            _finish(grid.clients[kind])
    for kind in KINDS:
        traces.keep(raw[kind], files, kind, kept)


def _finish(client: Client) -> None:
    if client.options.fast and client.fast_counters()["fallbacks"]:
        raise GridError(f"{client.name}: a read fell back to the stock downloader")
    client.signal(signal.SIGTERM)
    client.wait_stopped(STOP_GRACE_S)
