"""Every fault of servers, shares and wires that hits in mid-download, on real nodes.

One grid for the whole module: six servers with a share each of a file 3-of-6, and
clients over both transports that reach them through the WAN pipe. A cell of the
matrix is fault x transport x (enough | too few shares left): the fault hits the
holders of shares 0 to 2, which the downloads are using, or of 0 to 3. Both
transports are in mid-download when it hits: each has taken the first bytes and
waits, with most of the file still on the servers, since neither the node's
``memory`` nor the sockets between hold it.

With enough shares left the download ends, in bounded time, with the right bytes.
With too few it ends early, after right bytes only; what is asked for then is
answered with stock's error. Faults that leave no hope are met by clients whose
patience is ten minutes, so that only what is told at once can pass. After each
cell everything is mended, and the same clients must read again.
"""

from __future__ import annotations

import resource
from collections.abc import Sequence

from misc.grid_client import HTTP
from misc.web_read import PROBLEM

from .faultcase import DISTANT, LENGTH, TRANSPORTS, FaultCase, Holder

OTHER_BYTES = bytes(255 - byte for byte in range(256))


class Servers(FaultCase):
    """Server processes that die, hang or come back."""

    def test_killed(self) -> None:
        """``kill -9``: connections end at once, and nobody listens any more."""

        def kill(holders: Sequence[Holder]) -> None:
            for holder in holders:
                holder.server.kill()

        self.each_number_of_shares(kill, self.start_again)

    def test_hung(self) -> None:
        """SIGSTOP: connected, silent, for longer than anybody's patience."""

        def suspend(holders: Sequence[Holder]) -> None:
            for holder in holders:
                holder.server.suspend()

        def resume(holders: Sequence[Holder]) -> None:
            for holder in holders:
                holder.server.resume()

        self.each_number_of_shares(suspend, resume, silent=TRANSPORTS)

    def test_restarted(self) -> None:
        """Restart of all servers on their ports: the file, or an end without a wrong byte.

        Over Foolscap what was known of shares is gone with the connections, and whether
        they are back in time is for Tahoe to say; over HTTP a request finds the new process.
        """
        holders = self.scene.holders
        clients = self.clients()
        downloads = self.in_mid_file(clients)
        for holder in holders:
            holder.server.kill()
        self.start_again(holders)
        self.finish(downloads)
        for download in downloads:
            if len(download.data) == LENGTH:
                self.check_whole(download, download.client.name)
            else:
                data = download.data
                data = data[: -len(PROBLEM)] if data.endswith(PROBLEM) else data
                self.assertTrue(self.scene.data.startswith(data), download.client.name)
        self.check_afterwards(clients)

    def test_disk_full(self) -> None:
        """A server that cannot write a byte, log or report, has bad shares besides.

        Stands for a full disk: reading needs no room, but a server that is told of
        corruption has to write that down. RLIMIT_FSIZE is 0, for root as well, so each
        write fails, with EFBIG in place of ENOSPC. Over HTTP such a server is silent when it
        is asked for shares: Tahoe 1.20 puts that answer into a temporary file first, and sends
        none when it cannot.
        """

        def fill(holders: Sequence[Holder]) -> None:
            for holder in holders:
                _soft, hard = resource.prlimit(holder.server.pid, resource.RLIMIT_FSIZE)
                resource.prlimit(holder.server.pid, resource.RLIMIT_FSIZE, (0, hard))
            spoil(holders)

        def make_room(holders: Sequence[Holder]) -> None:
            for holder in holders:
                _soft, hard = resource.prlimit(holder.server.pid, resource.RLIMIT_FSIZE)
                resource.prlimit(holder.server.pid, resource.RLIMIT_FSIZE, (hard, hard))
            self.write_back(holders)

        self.each_number_of_shares(fill, make_room, silent=[HTTP])


class Shares(FaultCase):
    """Shares that change on the disks of servers that know nothing of it."""

    def test_unreadable(self) -> None:
        """A share that cannot be opened.

        Stands for wrong permissions and for disks that fail: the file is a directory, which
        root cannot open as a file either, so the server's ``open`` raises as it would then.
        """

        def forbid(holders: Sequence[Holder]) -> None:
            for holder in holders:
                holder.path.unlink()
                holder.path.mkdir()

        self.each_number_of_shares(forbid, self.write_back)

    def test_deleted(self) -> None:
        """A share that somebody removes, garbage collection for one."""

        def delete(holders: Sequence[Holder]) -> None:
            for holder in holders:
                holder.path.unlink()

        self.each_number_of_shares(delete, self.write_back)

    def test_truncated(self) -> None:
        """A share of which an eighth is left, as after a crash of the file system."""

        def cut(holders: Sequence[Holder]) -> None:
            for holder in holders:
                with open(holder.path, "r+b") as handle:
                    handle.truncate(len(holder.content) // 8)

        self.each_number_of_shares(cut, self.write_back)

    def test_overwritten(self) -> None:
        """A share with other bytes from its middle on, in the same place on the disk."""
        self.each_number_of_shares(spoil, self.write_back)

    def test_swapped(self) -> None:
        """Shares that lie under each other's numbers."""

        def swap(holders: Sequence[Holder]) -> None:
            for holder, other in zip(holders, [*holders[1:], holders[0]]):
                moved = holder.path.with_name("moved")
                moved.write_bytes(other.content)
                moved.replace(holder.path)

        self.each_number_of_shares(swap, self.write_back)


class Wires(FaultCase):
    """The way to servers that are well."""

    def test_cut(self) -> None:
        """Connections break, and new ones lead nowhere."""
        self.each_number_of_shares(
            lambda holders: self.happen(holders, "drop", "silent"),
            self.make_normal,
            silent=TRANSPORTS,
        )

    def test_delayed(self) -> None:
        """Answers take 400 ms more than before; what they bring is used all the same."""
        self.each_number_of_shares(
            lambda holders: self.happen(holders, "slow", factor=100.0),
            self.make_normal,
            wire=DISTANT,
            is_loss=False,
        )

    def test_throttled(self) -> None:
        """Servers give a fifth of what they gave; what has no other share is waited for."""
        self.each_number_of_shares(
            lambda holders: self.happen(holders, "slow", factor=5.0),
            self.make_normal,
            is_loss=False,
        )


def spoil(holders: Sequence[Holder]) -> None:
    """Write other bytes over the second half of each share."""
    for holder in holders:
        half = len(holder.content) // 2
        with open(holder.path, "r+b") as handle:
            handle.seek(half)
            handle.write(holder.content[half:].translate(OTHER_BYTES))
