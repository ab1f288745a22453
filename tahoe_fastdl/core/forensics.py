"""Which block lied.

Pure.  On the good path nobody asks: a segment that matches its ciphertext
leaf proves all k blocks at once.  When one does not, the blocks that went in
are held against their own shares' hashes: share hash chain (proved by the
UEB), block hash tree (proved by the chain), block.

Source: Tahoe-LAFS docs/specifications/file-encoding.rst; the chain of trust
is the one of the stock ``downloader.share``.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from itertools import combinations, islice

from allmydata.hashtree import BadHashError, IncompleteHashTree, NotEnoughHashesError
from allmydata.util import hashutil
from attrs import define, field

from ..errors import BadHash, LayoutInvalid
from .geometry import Geometry, next_power_of_two
from .layout import HASH_SIZE, V2_HEADER_SIZE, Layout, expected_layout, parse_header
from .merkle import MerkleTree, share_hash_leaf
from .share import Fragment, Share
from .ueb import UEB

# Guesses at which of several unprovable blocks are good, for one segment.
MAX_COMBINATIONS = 200


class Verdict(Enum):
    """What a share's own hashes say of one of its blocks."""

    GOOD = "good"
    BAD = "bad"
    UNPROVABLE = "unprovable"


@define
class Evidence:
    """A verdict, or the share bytes ``[start, stop)`` it takes to reach one."""

    verdict: Verdict | None = None
    needs: tuple[tuple[int, int], ...] = ()
    reason: str = ""
    culprit: tuple[int, int] = (0, 0)  # the part of the share to complain of


def read_layout(share: Share) -> Evidence | None:
    """Learn the share's own layout; None when it is known.

    A header that makes no sense leaves the share unprovable.
    """
    if share.layout is not None:
        return None
    header = share.peek(0, V2_HEADER_SIZE)
    if header is None and not share.was_asked(0, V2_HEADER_SIZE):
        return Evidence(needs=((0, V2_HEADER_SIZE),))
    try:
        share.layout = parse_header(header or b"")
    except LayoutInvalid as error:
        return Evidence(Verdict.UNPROVABLE, reason=str(error), culprit=(0, V2_HEADER_SIZE))
    return None


def _range_of(share: Share, start: int, length: int) -> bytes | Evidence:
    data = share.peek(start, length)
    if data is not None:
        return data
    if share.was_asked(start, length):
        return Evidence(
            Verdict.UNPROVABLE,
            reason="share ends before its hashes",
            culprit=(start, start + length),
        )
    return Evidence(needs=((start, start + length),))


def examine(share: Share, segnum: int, geometry: Geometry, ueb: UEB) -> Evidence:
    """Hold block *segnum* of *share*, which it must have, against its own hashes."""
    if share.proof_bad:
        return Evidence(Verdict.UNPROVABLE)
    missing = read_layout(share)
    if missing is not None:
        return missing
    assert share.layout is not None
    try:
        if share.block_tree is None:
            start, length = share.layout.share_hashes, share.layout.share_hashes_length()
            chain = _range_of(share, start, length)
            if isinstance(chain, Evidence):
                return chain
            culprit = (start, start + length)
            root = share_hash_leaf(chain, share.shnum, geometry.n, ueb.share_root_hash)
            share.block_tree = MerkleTree(geometry.num_segments, root)
        tree = share.block_tree
        page = tree.missing_page(segnum)
        while page is not None:
            offset, length = tree.page_range(page)
            start = share.layout.block_hashes + offset
            nodes = _range_of(share, start, length)
            if isinstance(nodes, Evidence):
                return nodes
            culprit = (start, start + length)
            tree.accept(page, nodes)
            page = tree.missing_page(segnum)
    except LayoutInvalid as error:
        return Evidence(Verdict.UNPROVABLE, reason=str(error), culprit=(0, V2_HEADER_SIZE))
    except BadHash as error:
        return Evidence(Verdict.UNPROVABLE, reason=str(error), culprit=culprit)
    block = share.blocks(geometry, segnum, segnum + 1)
    if hashutil.block_hash(bytes(block)) == tree.leaf(segnum):
        return Evidence(Verdict.GOOD)
    start = share.layout.data + geometry.block_start(segnum)
    return Evidence(Verdict.BAD, reason="block hash mismatch", culprit=(start, start + len(block)))


@define
class Inquest:
    """One segment whose blocks are held against their hashes, one by one."""

    good: set[int] = field(factory=set)  # shares
    unprovable: set[int] = field(factory=set)  # shares
    guesses: Iterator[tuple[int, ...]] | None = None

    def next_guess(self, k: int, by_share: dict[int, int]) -> tuple[int, ...] | None:
        """k shares to try when proof cannot be had: all good ones, some others.

        :param by_share: the shnum of each share that holds the block.
        :return: shares with distinct shnums, or None when all guesses are spent.
        """
        if self.guesses is None:
            good = {by_share[share]: share for share in sorted(self.good) if share in by_share}
            others = [
                s for s in sorted(self.unprovable) if s in by_share and by_share[s] not in good
            ]
            base = tuple(good.values())[:k]
            found = (
                base + extra
                for extra in combinations(others, k - len(base))
                if len({by_share[s] for s in extra}) == len(extra)
            )
            self.guesses = islice(found, MAX_COMBINATIONS)
        return next(self.guesses, None)


def data_stop(geometry: Geometry) -> int:
    """Where the blocks of a share of this geometry end."""
    return expected_layout(geometry).data + geometry.block_start(geometry.num_segments)


def whole_share_length(geometry: Geometry) -> int:
    """The length of a share of this geometry up to where its UEB begins."""
    return expected_layout(geometry).uri_extension


def check_whole(
    whole: Fragment, shnum: int, layout: Layout, geometry: Geometry, ueb: UEB, segments: list[int]
) -> list[tuple[int, str, int, int]]:
    """Check every hash of a share that is here from end to end, as stock does.

    A small share comes in one read, hashes and all, so this costs no bytes.
    The nodes looked at are exactly those stock asks for.

    :param whole: the answer that holds the share.
    :return: ``(segnum, reason, start, stop)`` for each block of *segments*
        that cannot be trusted.
    """
    tree_length = (2 * next_power_of_two(geometry.num_segments) - 1) * HASH_SIZE
    faults: list[tuple[int, str, int, int]] = []

    def condemn(reason: str, start: int, length: int) -> list[tuple[int, str, int, int]]:
        return [(segnum, reason, start, start + length) for segnum in segments]

    try:
        chain_length = layout.share_hashes_length()
        chain = whole.peek(layout.share_hashes, chain_length)
        if chain is None:
            return condemn("share hashes out of reach", 0, V2_HEADER_SIZE)
        root = share_hash_leaf(chain, shnum, geometry.n, ueb.share_root_hash)
    except LayoutInvalid as error:
        return condemn(str(error), 0, V2_HEADER_SIZE)
    except BadHash as error:
        return condemn(f"BadHashError: {error}", layout.share_hashes, chain_length)
    trees = []
    for what, at, top in (
        ("block hash", layout.block_hashes, root),
        ("ciphertext hash", layout.crypttext_hash_tree, ueb.crypttext_root_hash),
    ):
        nodes = whole.peek(at, tree_length)
        if nodes is None:
            return condemn(f"{what} tree out of reach", 0, V2_HEADER_SIZE)
        tree = IncompleteHashTree(geometry.num_segments)
        tree.set_hashes({0: top})
        trees.append((what, at, nodes, tree))
    for segnum in segments:
        for what, at, nodes, tree in trees:
            needed = tree.needed_hashes(segnum, include_leaf=True)
            stored = {i: nodes[i * HASH_SIZE : (i + 1) * HASH_SIZE] for i in needed}
            try:
                tree.set_hashes(stored)
            except (BadHashError, NotEnoughHashesError):
                faults.append((segnum, f"BadHashError in {what} tree", at, at + tree_length))
                break
        else:
            start = layout.data + geometry.block_start(segnum)
            block = whole.peek(start, geometry.block_length(segnum)) or b""
            if hashutil.block_hash(block) != trees[0][3].get_leaf(segnum):
                faults.append((segnum, "block hash mismatch", start, start + len(block)))
    return faults
