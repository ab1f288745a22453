"""Merkle trees by the page, and share hash chains.

Pure.  Tahoe stores a tree as an array of 32-byte nodes, root first, its
leaves padded to a power of two with hashes everybody can compute.  A *page*
is one row of at most 1024 nodes under one node that is proved already: page
(1, 0) hangs from the root, page (2, i) from node i of that row, and so on.
Pages of leaves are always full ones; the page below the root is the short one.
Leaves alone rebuild what lies above them, so inner nodes inside a page are
never asked for, and a seek into a file of 2**20 segments costs two pages of
32 KiB.

Source: Tahoe-LAFS docs/specifications/file-encoding.rst and
``allmydata.hashtree``; why pages: docs/decisions.rst.
"""

from __future__ import annotations

import hashlib
import struct
from collections import OrderedDict

from allmydata.hashtree import (
    BadHashError,
    IncompleteHashTree,
    NotEnoughHashesError,
    empty_leaf_hash,
)
from allmydata.util.netstring import netstring
from attrs import frozen

from ..errors import BadHash
from .geometry import next_power_of_two
from .layout import CHAIN_ENTRY_SIZE, HASH_SIZE

PAGE_BITS = 10  # 1024 nodes of 32 bytes: 32 KiB a page

# 64 leaf pages of 32 KiB: 2 MiB, proves 8 GiB of 128 KiB segments at once.
MAX_PAGES_HELD = 64

_PAIR_PREFIX = netstring(b"Merkle tree internal node") + b"32:"
_sha256 = hashlib.sha256


def pair_hash(left: bytes, right: bytes) -> bytes:
    """Tahoe's hash of two sibling nodes, 32 bytes each.

    The same as ``allmydata.hashtree.pair_hash``, a test says so; four times
    as fast, since a page of 1024 leaves calls it 1023 times on the reactor.
    """
    return _sha256(_sha256(_PAIR_PREFIX + left + b",32:" + right + b",").digest()).digest()


@frozen
class Page:
    """One row of nodes: the *index*-th page of *level* (1 hangs from the root)."""

    level: int
    index: int


class MerkleTree:
    """The proved part of one hash tree.

    Laws: every page held was proved against the root; at most
    ``MAX_PAGES_HELD`` are held, least recently used go first.
    """

    def __init__(self, num_leaves: int, root: bytes) -> None:
        """:param num_leaves: real leaves, >= 1, without padding."""
        self.num_leaves = num_leaves
        self.root = root
        self.depth = next_power_of_two(num_leaves).bit_length() - 1
        self.levels = -(-self.depth // PAGE_BITS)
        self._pages: OrderedDict[Page, list[bytes]] = OrderedDict()

    def _row_depth(self, level: int) -> int:
        return max(0, self.depth - (self.levels - level) * PAGE_BITS)

    def _page_bits(self, level: int) -> int:
        return self._row_depth(level) - self._row_depth(level - 1)

    def page_for(self, leaf: int, level: int) -> Page:
        """The page of *level* on the way to *leaf*."""
        return Page(level, leaf >> (self.depth - self._row_depth(level - 1)))

    def missing_page(self, leaf: int) -> Page | None:
        """The next page to fetch for *leaf*, or None when the leaf is held."""
        for level in range(1, self.levels + 1):
            page = self.page_for(leaf, level)
            if page not in self._pages:
                return page
        return None

    def pages_to(self, leaf: int) -> list[Page]:
        """Every page on the way to *leaf*, top first, held or not."""
        return [self.page_for(leaf, level) for level in range(1, self.levels + 1)]

    def leaves_of(self, page: Page) -> tuple[int, int]:
        """The leaves ``[first, stop)`` under *page*."""
        shift = self.depth - self._row_depth(page.level - 1)
        return page.index << shift, min((page.index + 1) << shift, self.num_leaves)

    def page_range(self, page: Page) -> tuple[int, int]:
        """Where *page* lies in the stored tree: ``(start, length)`` in bytes.

        Padding leaves are not asked for: everybody can compute them.
        """
        row = self._row_depth(page.level)
        bits = self._page_bits(page.level)
        first = page.index << bits
        count = 1 << bits
        if row == self.depth:
            count = min(count, self.num_leaves - first)
        return ((1 << row) - 1 + first) * HASH_SIZE, count * HASH_SIZE

    def accept(self, page: Page, data: bytes) -> None:
        """Prove *data* against the node above *page* and keep it.

        :param data: exactly ``page_range(page)[1]`` bytes.
        :raise BadHash: wrong length, or these are not the nodes of that row.
        """
        _start, length = self.page_range(page)
        if len(data) != length:
            raise BadHash(f"{len(data)} bytes of hashes where {length} belong")
        nodes = [data[i : i + HASH_SIZE] for i in range(0, length, HASH_SIZE)]
        bits = self._page_bits(page.level)
        if len(nodes) < 1 << bits:  # only a row of leaves is ever cut short
            first = page.index << bits
            nodes += [empty_leaf_hash(i) for i in range(first + len(nodes), first + (1 << bits))]
        row = nodes
        while len(row) > 1:
            row = [pair_hash(row[i], row[i + 1]) for i in range(0, len(row), 2)]
        if row[0] != self._node_above(page):
            raise BadHash("hash tree nodes do not match the hash above them")
        self._pages[page] = nodes
        while len(self._pages) > MAX_PAGES_HELD:
            self._evict(page)

    def _evict(self, keep: Page) -> None:
        for page in self._pages:
            if page.level == self.levels and page != keep:
                del self._pages[page]
                return
        self._pages.popitem(last=False)

    def _node_above(self, page: Page) -> bytes:
        if page.level == 1:
            return self.root
        bits = self._page_bits(page.level - 1)
        parent = Page(page.level - 1, page.index >> bits)
        nodes = self._pages.get(parent)
        if nodes is None:
            raise BadHash("the page above is not held")
        return nodes[page.index & ((1 << bits) - 1)]

    def leaf(self, leaf: int) -> bytes | None:
        """The proved hash of *leaf*, or None when its page is not held."""
        if self.levels == 0:
            return self.root  # one leaf: it is the root
        page = self.page_for(leaf, self.levels)
        nodes = self._pages.get(page)
        if nodes is None:
            return None
        self._pages.move_to_end(page)
        return nodes[leaf - (page.index << self._page_bits(self.levels))]


def share_hash_leaf(chain: bytes, shnum: int, n: int, root: bytes) -> bytes:
    """The root of share *shnum*'s block hash tree, proved by its chain.

    :param chain: the stored share hash chain, (node number, hash) pairs.
    :param root: ``share_root_hash`` from the UEB.
    :raise BadHash: the chain has bad numbers, does not lead to the root, or
        leaves its own leaf out.
    """
    if len(chain) % CHAIN_ENTRY_SIZE:
        raise BadHash(f"share hash chain of {len(chain)} bytes")
    tree = IncompleteHashTree(n)
    hashes: dict[int, bytes] = {}
    for start in range(0, len(chain), CHAIN_ENTRY_SIZE):
        (number,) = struct.unpack_from(">H", chain, start)
        if number >= len(tree) or number in hashes:
            raise BadHash(f"share hash chain names node {number} of {len(tree)}")
        hashes[number] = chain[start + 2 : start + CHAIN_ENTRY_SIZE]
    own = tree.first_leaf_num + shnum
    if own not in hashes:
        raise BadHash("share hash chain without its own leaf")
    if hashes.setdefault(0, root) != root:
        raise BadHash("share hash chain with another root")
    try:
        tree.set_hashes(hashes)
    except (BadHashError, NotEnoughHashesError):
        raise BadHash("share hash chain does not lead to the root") from None
    return hashes[own]
