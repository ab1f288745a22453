"""Hash pages and share hash chains, held against ``allmydata.hashtree``."""

from __future__ import annotations

import struct
from functools import lru_cache

from allmydata import hashtree
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tahoe_fastdl.core.merkle import (
    MAX_PAGES_HELD,
    PAGE_BITS,
    MerkleTree,
    Page,
    pair_hash,
    share_hash_leaf,
)
from tahoe_fastdl.errors import BadHash

from .sharemaker import SHARE_HASHES, encode, flip, random_bytes
from .strategies import examples

PAGE_BYTES = 32 << PAGE_BITS


@lru_cache(maxsize=50)
def stored_tree(num_leaves: int) -> tuple[list[bytes], bytes]:
    """Random leaves, and the tree over them as a share stores it."""
    material = random_bytes(32 * num_leaves, seed=num_leaves)
    leaves = [material[i : i + 32] for i in range(0, len(material), 32)]
    return leaves, b"".join(hashtree.HashTree(leaves))


def fetch(tree: MerkleTree, stored: bytes, leaf: int) -> list[tuple[Page, int, int]]:
    """Fetch every page that is missing for *leaf*; what was fetched, in order."""
    fetched = []
    page = tree.missing_page(leaf)
    while page is not None:
        start, length = tree.page_range(page)
        fetched.append((page, start, length))
        tree.accept(page, stored[start : start + length])
        page = tree.missing_page(leaf)
    return fetched


class Trees(SynchronousTestCase):
    """From the root to any leaf."""

    def test_every_leaf(self) -> None:
        """Every leaf of trees of any size is proved to be what Tahoe stored."""
        for num_leaves in (*range(1, 35), 100, 255, 256, 257, 1000, 1023, 1024, 1025, 3000, 5000):
            leaves, stored = stored_tree(num_leaves)
            tree = MerkleTree(num_leaves, stored[:32])
            for number, leaf in enumerate(leaves):
                fetch(tree, stored, number)
                self.assertEqual(leaf, tree.leaf(number), (num_leaves, number))

    def test_in_any_order(self) -> None:
        """In whatever order leaves are wanted, each page is fetched once and proves its leaves."""
        leaves, stored = stored_tree(5000)

        @examples(20)
        @given(st.lists(st.integers(0, 4999), max_size=30))
        def check(wanted: list[int]) -> None:
            tree = MerkleTree(5000, stored[:32])
            fetched = []
            for number in wanted:
                fetched += fetch(tree, stored, number)
                self.assertEqual(leaves[number], tree.leaf(number))
            self.assertEqual(len(fetched), len({page for page, _start, _length in fetched}))

        check()

    def test_cost_of_a_seek(self) -> None:
        """One leaf costs one page of at most 32 KiB for each 1024-fold of leaves."""
        for num_leaves, pages in ((1, 0), (2, 1), (1024, 1), (1025, 2), (5000, 2), (2**22, 3)):
            tree = MerkleTree(num_leaves, bytes(32))
            for leaf in {0, num_leaves // 2, num_leaves - 1}:
                way = tree.pages_to(leaf)
                self.assertEqual(pages, len(way))
                for page in way:
                    self.assertLessEqual(tree.page_range(page)[1], PAGE_BYTES)

    def test_pages_of_leaves_are_disjoint(self) -> None:
        """The last pages share out the leaves: each leaf is under one, and none is padding."""
        for num_leaves in (2, 1024, 1025, 2047, 2049, 5000):
            tree = MerkleTree(num_leaves, bytes(32))
            seen = {tree.page_for(leaf, tree.levels): leaf for leaf in range(num_leaves)}
            covered: list[int] = []
            for page in seen:
                covered += range(*tree.leaves_of(page))
                start, length = tree.page_range(page)
                self.assertLessEqual(start + length, 32 * (2**tree.depth - 1 + num_leaves))
            self.assertEqual(list(range(num_leaves)), covered)

    def test_bounded(self) -> None:
        """Reading a tree of many pages end to end holds a bounded number of them."""
        segments = 1024 * (MAX_PAGES_HELD + 8)
        leaves, stored = stored_tree(segments)
        tree = MerkleTree(segments, stored[:32])
        for first in range(0, segments, 1024):
            fetch(tree, stored, first)
            self.assertEqual(leaves[first + 7], tree.leaf(first + 7))
        held = [n for n in range(0, segments, 1024) if tree.missing_page(n) is None]
        self.assertLess(len(held), MAX_PAGES_HELD + 1)
        self.assertGreater(len(held), MAX_PAGES_HELD // 2)
        self.assertIsNone(tree.leaf(0))
        fetch(tree, stored, 0)
        self.assertEqual(leaves[0], tree.leaf(0))

    def test_unknown_leaf(self) -> None:
        """A leaf whose page is not here is None, not a guess."""
        _leaves, stored = stored_tree(3000)
        tree = MerkleTree(3000, stored[:32])
        self.assertIsNone(tree.leaf(5))
        fetch(tree, stored, 5)
        self.assertIsNone(tree.leaf(2999))


class Lies(SynchronousTestCase):
    """Pages from a hostile server."""

    def test_every_byte(self) -> None:
        """A page with any byte flipped is refused and leaves the tree as it was."""
        for num_leaves in (2, 3, 7, 16):
            leaves, stored = stored_tree(num_leaves)
            tree = MerkleTree(num_leaves, stored[:32])
            page = tree.missing_page(0)
            assert page is not None
            start, length = tree.page_range(page)
            good = stored[start : start + length]
            for position in range(length):
                self.assertRaises(BadHash, tree.accept, page, flip(good, position))
                self.assertIsNone(tree.leaf(0))
            tree.accept(page, good)
            self.assertEqual(leaves[0], tree.leaf(0))

    def test_any_page(self) -> None:
        """In a tree of two levels a byte flipped in any page of either is refused."""
        _leaves, stored = stored_tree(3000)

        @examples(60)
        @given(st.integers(0, 2999), st.integers(0, PAGE_BYTES - 1), st.integers(0, 1))
        def check(leaf: int, position: int, level: int) -> None:
            tree = MerkleTree(3000, stored[:32])
            for depth, page in enumerate(tree.pages_to(leaf)):
                start, length = tree.page_range(page)
                data = stored[start : start + length]
                if depth == level:
                    data = flip(data, position % length)
                    self.assertRaises(BadHash, tree.accept, page, data)
                    return
                tree.accept(page, data)

        check()

    def test_wrong_length(self) -> None:
        """A page that is short, long or empty is refused."""
        _leaves, stored = stored_tree(100)
        tree = MerkleTree(100, stored[:32])
        page = tree.missing_page(0)
        assert page is not None
        start, length = tree.page_range(page)
        for wrong in (0, 1, 32, length - 32, length - 1, length + 1, length + 32):
            self.assertRaises(BadHash, tree.accept, page, stored[start : start + wrong])

    def test_wrong_place(self) -> None:
        """Good nodes in another page's place are refused."""
        _leaves, stored = stored_tree(4096)
        tree = MerkleTree(4096, stored[:32])
        fetch(tree, stored, 0)
        first, second = tree.page_for(0, 2), tree.page_for(1024, 2)
        start, length = tree.page_range(first)
        self.assertRaises(BadHash, tree.accept, second, stored[start : start + length])

    def test_too_early(self) -> None:
        """A page whose nodes hang from nothing proved is refused."""
        _leaves, stored = stored_tree(4096)
        tree = MerkleTree(4096, stored[:32])
        page = tree.page_for(0, 2)
        start, length = tree.page_range(page)
        self.assertRaises(BadHash, tree.accept, page, stored[start : start + length])


class Chains(SynchronousTestCase):
    """Share hash chains."""

    def chain(self, leaves: list[bytes], shnum: int) -> tuple[bytes, bytes]:
        """The chain Tahoe stores in share *shnum*, and the root."""
        tree = hashtree.HashTree(leaves)
        numbers = tree.needed_hashes(shnum, include_leaf=True)
        return b"".join(struct.pack(">H", n) + tree[n] for n in numbers), tree[0]

    def test_every_share(self) -> None:
        """For N up to 256 each share's chain proves its own root."""
        for n in (*range(1, 20), 60, 100, 255, 256):
            leaves = stored_tree(n)[0]
            for shnum in range(n):
                chain, root = self.chain(leaves, shnum)
                self.assertEqual(leaves[shnum], share_hash_leaf(chain, shnum, n, root))

    def test_made_share(self) -> None:
        """The chain in a whole share proves the root of its block hash tree."""
        file = encode(1000, 3, 10, 99)
        start, stop = file.parts[SHARE_HASHES]
        tree = file.parts["block_hashes"][0]
        for shnum, share in enumerate(file.shares):
            root = share_hash_leaf(share[start:stop], shnum, file.n, file.share_root_hash)
            self.assertEqual(share[tree : tree + 32], root)

    def test_every_byte(self) -> None:
        """A chain with any byte flipped, number or hash, is refused."""
        for n in (1, 2, 3, 10):
            leaves = stored_tree(n)[0]
            for shnum in range(n):
                chain, root = self.chain(leaves, shnum)
                for position in range(len(chain)):
                    for mask in (1, 0x80, 0xFF):
                        bad = flip(chain, position, mask)
                        self.assertRaises(BadHash, share_hash_leaf, bad, shnum, n, root)

    def test_numbers(self) -> None:
        """Node numbers out of range or named twice are refused."""
        leaves = stored_tree(10)[0]
        chain, root = self.chain(leaves, 4)
        for number in (31, 32, 1000, 65535):
            entry = struct.pack(">H", number) + bytes(32)
            self.assertRaises(BadHash, share_hash_leaf, chain + entry, 4, 10, root)
        self.assertRaises(BadHash, share_hash_leaf, chain + chain[:34], 4, 10, root)

    def test_incomplete(self) -> None:
        """A chain without one of its entries, its own leaf among them, is refused."""
        leaves = stored_tree(10)[0]
        chain, root = self.chain(leaves, 4)
        for start in range(0, len(chain), 34):
            less = chain[:start] + chain[start + 34 :]
            self.assertRaises(BadHash, share_hash_leaf, less, 4, 10, root)
        self.assertRaises(BadHash, share_hash_leaf, b"", 4, 10, root)

    def test_ragged(self) -> None:
        """A chain that ends in the middle of an entry is refused."""
        leaves = stored_tree(10)[0]
        chain, root = self.chain(leaves, 4)
        for length in range(len(chain)):
            self.assertRaises(BadHash, share_hash_leaf, chain[:length], 4, 10, root)
        for junk in (b"\0", b"\0" * 33):
            self.assertRaises(BadHash, share_hash_leaf, chain + junk, 4, 10, root)

    def test_of_another_share(self) -> None:
        """Another share's chain, or another file's root, proves nothing."""
        leaves = stored_tree(10)[0]
        chain, root = self.chain(leaves, 4)
        for shnum in (0, 3, 5, 9, 11, 200):
            if shnum == 5:
                continue  # siblings' chains are made of the same nodes
            self.assertRaises(BadHash, share_hash_leaf, chain, shnum, 10, root)
        self.assertRaises(BadHash, share_hash_leaf, chain, 4, 10, flip(root, 0))
        rooted = chain + struct.pack(">H", 0) + flip(root, 0)
        self.assertRaises(BadHash, share_hash_leaf, rooted, 4, 10, root)


class PairHash(SynchronousTestCase):
    """Our faster copy of one of Tahoe's functions."""

    def test_same(self) -> None:
        """It is the same function."""

        @examples(100)
        @given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
        def check(left: bytes, right: bytes) -> None:
            self.assertEqual(hashtree.pair_hash(left, right), pair_hash(left, right))

        check()
