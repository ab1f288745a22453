"""One real node with whatever Tahoe-LAFS is installed: fast on one we know, stock on another.

tox runs this on releases that are not supported, where no other test can run:
it imports nothing of ours that a release may be too old for.
"""

from __future__ import annotations

from pathlib import Path

import allmydata
from twisted.trial.unittest import SynchronousTestCase

from misc.grid import Client, ClientOptions, Grid
from misc.grid_client import FOOLSCAP
from tahoe_fastdl import seam

DATA = bytes(range(256)) * 1000
IS_KNOWN = str(allmydata.__version__).startswith(seam.SUPPORTED_RELEASES)


class Node(SynchronousTestCase):
    """A node that names us starts and reads, whatever its Tahoe."""

    def test_node(self) -> None:
        """It reads with our downloader if we know this Tahoe, else with its own, and says so."""
        options = ClientOptions(transport=FOOLSCAP, fast=True, needed=2, total=2)
        base = Path(self.mktemp()).resolve()
        # Ended here and not with this process: before 1.19 a node did not notice that.
        with Grid(base, servers=2, transport=FOOLSCAP, clients={"client": options}) as grid:
            client = grid.clients["client"]
            self.check_reading(client)
            self.check_page(client)
            self.check_log(client)

    def check_reading(self, client: Client) -> None:
        """A file comes back as it went, through our downloader exactly if we know this Tahoe."""
        before = client.fast_counters()["downloads"]
        self.assertEqual(client.get(client.put(DATA)), DATA)
        self.assertEqual(client.fast_counters()["downloads"] - before, int(IS_KNOWN))

    def check_page(self, client: Client) -> None:
        """The page says which it is."""
        overview = client.get_json("/storage-plugins/tahoe-fastdl/v1/overview.json")
        self.assertEqual(overview["why_not"] is None, IS_KNOWN)

    def check_log(self, client: Client) -> None:
        """On a Tahoe that we do not know one line says so, on others none; nothing broke."""
        lines = [line for line in client.log().splitlines() if "fastdl#" in line]
        self.assertEqual(len(lines), 0 if IS_KNOWN else 1, lines)
        for line in lines:
            self.assertIn(f"version {allmydata.__version__} is not one of", line)
            self.assertIn("downloads use the stock downloader", line)
        self.assertNotIn("Traceback", client.log())
