"""``Download.close``: what is shared with other downloads comes back."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tahoe_fastdl.core import records as r
from tahoe_fastdl.core.download import Download, Options
from tahoe_fastdl.core.servers import Server
from tahoe_fastdl.core.window import MIB, Budget


class Closing(SynchronousTestCase):
    """A download whose shell goes away in mid-read."""

    def test_slots_and_room_come_back(self) -> None:
        """Reads that will never be answered hold neither slots nor budget afterwards."""
        budget, servers = Budget(64 * MIB), {0: Server(max_reads=10), 1: Server(max_reads=10)}
        download = Download(3_000_000, 2, 4, b"h" * 32, budget, servers, Options())
        download.receive(r.ReaderJoined(1, 0, 3_000_000), 0.0)
        download.receive(r.ServerAnswered(0, 0.01, ((1, 0), (2, 2))), 0.01)
        download.receive(r.ServerAnswered(1, 0.01, ((3, 1),)), 0.01)
        actions = download.receive(r.TurnEnded(0.0), 0.01)
        self.assertTrue([action for action in actions if isinstance(action, r.SendRead)])
        self.assertTrue(servers[0].reads_in_flight + servers[1].reads_in_flight)
        self.assertTrue(budget.used_bytes)
        download.close()
        for server in servers.values():
            self.assertEqual((server.reads_in_flight, server.bytes_in_flight), (0, 0))
        self.assertEqual(budget.used_bytes, 0)
        self.assertIsNone(download.next_deadline())
