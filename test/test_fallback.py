"""One real node with whatever Tahoe-LAFS is installed: fast on one we know, stock on another.

tox runs this on releases that are not supported, where no other test can run:
it imports nothing of ours that a release may be too old for.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

import allmydata
from twisted.trial.unittest import SynchronousTestCase

from misc.grid import Client, ClientOptions, Grid
from misc.grid_client import FOOLSCAP
from tahoe_fastdl import seam

DATA = bytes(range(256)) * 1000
IS_KNOWN = str(allmydata.__version__).startswith(seam.SUPPORTED_RELEASES)

_clients: list[Client] = []


def the_client() -> Client:
    """A client whose tahoe.cfg names us, on a grid of two servers; started on the first call."""
    if not _clients:
        base = Path(tempfile.mkdtemp(prefix="fastdl-fallback-"))
        atexit.register(shutil.rmtree, base, ignore_errors=True)
        options = ClientOptions(transport=FOOLSCAP, fast=True, needed=2, total=2)
        grid = Grid(base / "grid", servers=2, transport=FOOLSCAP, clients={"client": options})
        atexit.register(grid.stop)
        grid.start()
        _clients.append(grid.clients["client"])
    return _clients[0]


class Node(SynchronousTestCase):
    """A node that names us starts and reads, whatever its Tahoe."""

    def test_reads(self) -> None:
        """A file comes back as it went, through our downloader exactly if we know this Tahoe."""
        client = the_client()
        before = client.fast_counters()["downloads"]
        self.assertEqual(client.get(client.put(DATA)), DATA)
        self.assertEqual(client.fast_counters()["downloads"] - before, int(IS_KNOWN))

    def test_one_line(self) -> None:
        """On a Tahoe that we do not know the log says so in one line; on others, nothing."""
        lines = [line for line in the_client().log().splitlines() if "fastdl#" in line]
        self.assertEqual(len(lines), 0 if IS_KNOWN else 1, lines)
        for line in lines:
            self.assertIn(f"version {allmydata.__version__} is not one of", line)
            self.assertIn("downloads use the stock downloader", line)

    def test_page(self) -> None:
        """The page says which it is."""
        why_not = the_client().get_json("/storage-plugins/tahoe-fastdl/v1/overview.json")["why_not"]
        self.assertEqual(why_not is None, IS_KNOWN)

    def test_nothing_broke(self) -> None:
        """No traceback is in the node's log."""
        self.assertNotIn("Traceback", the_client().log())
