"""Stock's way to download, as far as it costs time, messages and bytes.

Read from ``allmydata.immutable.downloader`` of Tahoe-LAFS 1.20, with its names:

* ``finder``: ten servers are asked at a time, more while shares are lacking;
* ``fetcher``: of the shares found, those of the quickest servers are taken until k
  are, from as few servers twice as can be. Another is taken only when one fails: none
  is ever hedged, and no read times out;
* ``share``: a share first needs header, share hash chain and UEB. Their places are
  guessed from a segment size of 1 MiB; a wrong guess costs two round trips more (one,
  if the UEB is known by then or the whole file is smaller than the guess). Then each
  block comes with the hashes of both trees that are not known yet, one message for
  each run of neighbours, all asked at once;
* ``segmentation``: one segment after another.

Nothing is hashed here: trees are sets of known node numbers. Ciphertext hashes are
asked of every share of a segment, as stock does, since none is known when it asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from misc.simulator.client import DYHB_BYTES, STOCK_COSTS, Client, Outcome
from misc.simulator.wire import Server
from misc.simulator.zero_file import ZeroFile
from tahoe_fastdl.core.geometry import next_power_of_two

MOST_QUESTIONS = 10  # finder.ShareFinder.max_outstanding_requests
GUESSED_SEGMENT_BYTES = 1024 * 1024
HEADER_BYTES = 1024  # share.Share._desire_offsets
UEB_BYTES = 2048  # share.Share._desire_UEB
HASH_BYTES = 32


class Tree:
    """Which nodes of a hash tree are known: stored root first, row by row."""

    def __init__(self, num_leaves: int) -> None:
        self._first_leaf = next_power_of_two(num_leaves) - 1
        self._known = {0}

    def needed(self, leaf: int) -> list[int]:
        """The nodes that must be fetched to prove a leaf, with itself; ascending."""
        node, needed = self._first_leaf + leaf, []
        if node not in self._known:
            needed.append(node)
        while node:
            sibling = node + 1 if node % 2 else node - 1
            if sibling not in self._known:
                needed.append(sibling)
            node = (node - 1) // 2
        return sorted(needed)

    def learn(self, leaf: int) -> None:
        """They are here, and with them what lies above."""
        node = self._first_leaf + leaf
        while node:
            self._known.update((node, node + 1 if node % 2 else node - 1))
            node = (node - 1) // 2

    def reads(self, leaf: int) -> list[int]:
        """The lengths of the reads for what is needed: one for each run of neighbours."""
        lengths: list[int] = []
        last = -2
        for node in self.needed(leaf):
            if node == last + 1:
                lengths[-1] += HASH_BYTES
            else:
                lengths.append(HASH_BYTES)
            last = node
        return lengths


@dataclass(eq=False)
class Share:
    """One share on one server."""

    shnum: int
    number: int
    server: Server
    round_trip_s: float
    tree: Tree
    is_open: bool = False
    rounds: list[list[int]] = field(default_factory=list)  # of reads still to be sent
    due: int = 0  # answers of this round


class StockDownload:
    """One reader of one whole file."""

    def __init__(
        self, client: Client, file: ZeroFile, servers: Sequence[tuple[int, Server, Sequence[int]]]
    ) -> None:
        """:param servers: as for ``FastDownload``, in the order in which they are asked."""
        self.client = client
        self.file = file
        self.outcome: Outcome | None = None
        self._unasked = list(servers)
        self._questions = 0
        self._shares: list[Share] = []
        self._unused: list[Share] = []
        self._active: dict[int, Share] = {}
        self._at_work: dict[int, int] = {}  # shares of each server that are active
        self._most_a_server = 1
        self._blocks: set[int] = set()
        self._segnum = 0
        self._has_ueb = False
        self._crypttext = Tree(file.geometry.num_segments)
        self._is_decoding = False
        self._reads = self._fetched = 0
        self._began = 0.0
        self.delivered_s: list[float] = []  # when each segment was, from the start

    def start(self) -> None:
        """The request comes in now."""
        self._began = self.client.timeline.now
        self.client.processor.handle(STOCK_COSTS.request_s, self._fetch)

    # -- finder -----------------------------------------------------------------

    def _search(self) -> None:
        while self._unasked and self._questions < MOST_QUESTIONS:
            number, server, shnums = self._unasked.pop(0)
            self._questions += 1
            asked = self.client.timeline.now
            server.ask(DYHB_BYTES, partial(self._found, number, server, shnums, asked))

    def _found(
        self, number: int, server: Server, shnums: Sequence[int], asked: float, is_here: bool
    ) -> None:
        def take() -> None:
            self._questions -= 1
            if is_here:
                passed = self.client.timeline.now - asked
                geometry = self.file.geometry
                shares = [
                    Share(shnum, number, server, passed, Tree(geometry.num_segments))
                    for shnum in shnums
                ]
                self._shares += shares
                self._unused += shares
                self._sort()
            self._fetch()

        self.client.processor.handle(STOCK_COSTS.message_s, take)

    def _sort(self) -> None:
        self._unused.sort(key=lambda share: (share.round_trip_s, share.shnum))

    # -- fetcher ----------------------------------------------------------------

    def _fetch(self) -> None:
        """Take shares until k are at work."""
        k = self.file.geometry.k
        if self.outcome is not None or self._is_decoding:
            return
        while len(self._blocks) + len(self._active) < k:
            share = self._next_share()
            if share is None:
                if not self._unasked and not self._questions:
                    self._end("NotEnoughShares")
                else:
                    self._search()
                return
            self._active[share.shnum] = share
            self._at_work[share.number] = self._at_work.get(share.number, 0) + 1
            self._begin(share)

    def _next_share(self) -> Share | None:
        """The quickest server's, of those that give least so far; no longer unused."""
        while True:
            is_there_more = False
            for place, share in enumerate(self._unused):
                if share.shnum in self._active or share.shnum in self._blocks:
                    continue
                if self._at_work.get(share.number, 0) >= self._most_a_server:
                    is_there_more = True
                    continue
                return self._unused.pop(place)
            if not is_there_more:
                return None
            self._most_a_server += 1

    # -- share ------------------------------------------------------------------

    def _begin(self, share: Share) -> None:
        geometry, segnum = self.file.geometry, self._segnum
        block = geometry.block_length(segnum)
        hashes = share.tree.reads(segnum) + self._crypttext.reads(segnum)
        if share.is_open:
            share.rounds = [[block, *hashes]]
        else:
            layout = self.file.layout
            chain = layout.uri_extension - layout.share_hashes
            last = chain + (0 if self._has_ueb else UEB_BYTES)
            guessed = min(GUESSED_SEGMENT_BYTES, geometry.size)
            is_right = geometry.segment_size >= guessed
            if not is_right and not self._has_ueb:
                block = -(-guessed // geometry.k)
            first = [block, max(0, HEADER_BYTES - block)] if segnum else [max(block, HEADER_BYTES)]
            first = [length for length in first if length]
            if is_right:
                share.rounds = [[*first, *hashes, last]]
            elif self._has_ueb or guessed == geometry.size:
                share.rounds = [[*first, last], [*hashes, last]]
            else:
                share.rounds = [[*first, last], [last], hashes]
            share.is_open = True
        self._send_round(share)

    def _send_round(self, share: Share) -> None:
        lengths = share.rounds.pop(0)
        share.due = len(lengths)
        segnum = self._segnum
        for length in lengths:
            self._reads += 1
            self._fetched += length
            share.server.ask(length, partial(self._answered, share, segnum, length))

    def _answered(self, share: Share, segnum: int, length: int, is_here: bool) -> None:
        cost = STOCK_COSTS.of_answer(length if is_here else 0)
        self.client.processor.handle(cost, partial(self._take_answer, share, segnum, is_here))

    def _take_answer(self, share: Share, segnum: int, is_here: bool) -> None:
        if self.outcome is not None or self._active.get(share.shnum) is not share:
            return
        if not is_here:
            self._retire(share)
            self._shares.remove(share)
            self._fetch()
            return
        share.due -= 1
        if share.due:
            return
        if share.rounds:
            self._send_round(share)
            return
        self._has_ueb = True
        share.tree.learn(segnum)
        self._retire(share)
        self._blocks.add(share.shnum)
        if len(self._blocks) == self.file.geometry.k:
            self._decode()

    def _retire(self, share: Share) -> None:
        del self._active[share.shnum]
        self._at_work[share.number] -= 1

    # -- node and segmentation --------------------------------------------------

    def _decode(self) -> None:
        geometry = self.file.geometry
        length = geometry.segment_length(self._segnum)
        missing = sum(shnum >= geometry.k for shnum in self._blocks)
        zfec_s = 0.6e-9 * missing * length
        self._is_decoding = True
        self.client.processor.work(length * STOCK_COSTS.worked_byte_s + zfec_s, self._deliver)

    def _deliver(self) -> None:
        geometry = self.file.geometry
        self._is_decoding = False
        self._crypttext.learn(self._segnum)
        self.delivered_s.append(self.client.timeline.now - self._began)
        self._segnum += 1
        if self._segnum == geometry.num_segments:
            self._end()
            return
        self._blocks.clear()
        self._unused = list(self._shares)
        self._sort()
        self._most_a_server = 1
        self._fetch()

    def _end(self, failed: str = "") -> None:
        self.outcome = Outcome(
            self.client.timeline.now - self._began,
            self.delivered_s[0] if self.delivered_s else 0.0,
            self._reads,
            self._fetched,
            failed=failed,
        )
