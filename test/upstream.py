"""Puts this project's downloader under Tahoe's own tests, and watches that it is used.

Assumes that no test module is imported yet: some of them bind names of Tahoe's
when they are. Counts from outside, so that a downloader which quietly hands all
work to the stock one does not pass.
"""

from __future__ import annotations

from typing import Any

STOCK_NODES = "stock_nodes"
OUR_NODES = "our_nodes"


class PublicFace:
    """What one of Tahoe's tests may see of a download node: its public methods.

    Four of them touch an attribute of the stock node's. Three give it a hint
    about the segment size before they read, which may as well be ignored; one
    looks for shares left over from an earlier read, and there are none to see.
    """

    _shares: frozenset[Any] = frozenset()

    def __init__(self, node: Any) -> None:
        self.read = node.read
        self.get_segment = node.get_segment
        self.get_segsize = node.get_segsize
        self.stop = node.stop

    def _build_guessed_tables(self, max_segment_size: int) -> None:
        """Take the hint and do nothing with it."""


def prepare() -> dict[str, int]:
    """Install our downloader in this process.

    :return: how many stock download nodes and how many of ours have been made;
        the numbers in it go on changing.
    """
    from allmydata.immutable import filenode
    from allmydata.immutable.downloader.node import DownloadNode

    import tahoe_fastdl

    # Before anything is wrapped: it looks whether Tahoe is the one it knows.
    tahoe_fastdl.install()

    counted = {STOCK_NODES: 0, OUR_NODES: 0}
    make_stock = DownloadNode.__init__

    def counting_init(self: Any, *arguments: Any, **keywords: Any) -> None:
        counted[STOCK_NODES] += 1
        make_stock(self, *arguments, **keywords)

    # Counts the ones behind our own nodes too: a fallback is a failure here.
    DownloadNode.__init__ = counting_init

    file_node = filenode.CiphertextFileNode
    make_node = file_node._maybe_create_download_node

    def _maybe_create_download_node(self: Any) -> None:
        before = self._node
        make_node(self)
        if self._node is not before and not isinstance(self._node, DownloadNode):
            counted[OUR_NODES] += 1
            self._node = PublicFace(self._node)

    file_node._maybe_create_download_node = _maybe_create_download_node
    return counted
