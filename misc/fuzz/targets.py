"""What is fuzzed: each target takes any bytes and fails if a law of ours does not hold.

A server may send anything, so of every parser it must be true that only errors of
:mod:`tahoe_fastdl.errors` come out of it, that what it accepts is what its docstring promises,
and that it asks for no more than a bounded number of bytes. Source of the formats: Tahoe-LAFS
docs/specifications/file-encoding.rst; where Tahoe has a reader of its own, it is held against that.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from allmydata import uri
from allmydata.hashtree import HashTree
from allmydata.util import hashutil

from tahoe_fastdl.core import forensics
from tahoe_fastdl.core.geometry import Geometry
from tahoe_fastdl.core.layout import (
    CHAIN_ENTRY_SIZE,
    HASH_SIZE,
    V1_HEADER_SIZE,
    V2_HEADER_SIZE,
    parse_header,
)
from tahoe_fastdl.core.merkle import MerkleTree, share_hash_leaf
from tahoe_fastdl.core.metadata import Metadata
from tahoe_fastdl.core.share import Share
from tahoe_fastdl.core.ueb import parse_ueb
from tahoe_fastdl.errors import BadHash, FileTooLarge, LayoutInvalid, MalformedUEB

Target = Callable[[bytes], None]

CORPUS = Path(__file__).resolve().parent.parent.parent / "test" / "corpus"
# A true share, which the target "share" is a damaged copy of: 5,000 bytes, share 0 of 3-of-5.
HONEST_SHARE = CORPUS / "honest-share"
SIZE, K, N, SEGMENT_SIZE = 5000, 3, 5, 99

MAX_ROUNDS = 10  # questions to one share until its UEB, or a page, is here or given up
MAX_ASKED_BYTES = 512 * 1024  # by all of them


def header(data: bytes) -> None:
    """The header of a share: ``parse_header`` and what a layout tells."""
    try:
        layout = parse_header(data)
    except LayoutInvalid:
        return
    assert layout.version in (1, 2)
    assert layout.data >= (V1_HEADER_SIZE if layout.version == 1 else V2_HEADER_SIZE)
    try:
        length = layout.share_hashes_length()
        assert 0 < length <= 512 * CHAIN_ENTRY_SIZE and length % CHAIN_ENTRY_SIZE == 0
        assert 0 < layout.ueb_length(data[-layout.field_size :]) <= 64 * 1024
    except LayoutInvalid:
        return


def ueb(data: bytes) -> None:
    """A UEB that the cap vouches for, whatever it says."""
    try:
        found = parse_ueb(data, hashutil.uri_extension_hash(data))
    except MalformedUEB:
        return
    try:
        tahoes = uri.unpack_extension(data)
    except (AssertionError, ValueError):  # of fields that we pass over
        return
    assert (found.segment_size, found.size) == (tahoes["segment_size"], tahoes.get("size"))
    assert found.crypttext_root_hash == tahoes["crypttext_root_hash"]
    assert found.share_root_hash == tahoes["share_root_hash"]
    assert len(found.share_root_hash) == len(found.crypttext_root_hash) == HASH_SIZE
    try:
        geometry = Geometry.of(SIZE, K, N, found.segment_size)
    except (MalformedUEB, FileTooLarge):
        return
    assert 0 < geometry.num_segments <= SIZE and geometry.block_size * K == found.segment_size


def chain(data: bytes) -> None:
    """A share hash chain of any file; the root is right if the chain has one."""
    if len(data) < 2:
        return
    n = data[0] + 1
    shnum = data[1] % n
    stored = data[2:]
    roots = {bytes(HASH_SIZE)}
    for start in range(0, len(stored) - CHAIN_ENTRY_SIZE + 1, CHAIN_ENTRY_SIZE):
        if stored[start : start + 2] == b"\0\0":
            roots.add(stored[start + 2 : start + CHAIN_ENTRY_SIZE])
    for root in roots:
        try:
            leaf = share_hash_leaf(stored, shnum, n, root)
        except BadHash:
            continue
        assert len(leaf) == HASH_SIZE and leaf in stored


def page(data: bytes) -> None:
    """A page of hashes: accepted if, and only if, it is a row of the tree."""
    if len(data) < 3 + HASH_SIZE:
        return
    leaves = [data[at : at + HASH_SIZE] for at in range(3, len(data) - HASH_SIZE + 1, HASH_SIZE)]
    if len(leaves) > 1024:
        return
    honest = b"".join(leaves)
    tree = MerkleTree(len(leaves), HashTree(leaves)[0])
    wanted = tree.missing_page(0)
    if wanted is None:
        assert tree.leaf(0) == leaves[0]
        return
    position = int.from_bytes(data[:2], "big")
    damaged = bytearray(honest)
    damaged[position % len(damaged)] ^= data[2]
    try:
        tree.accept(wanted, bytes(damaged)[: len(honest) - (position % 3 == 1)])
    except BadHash:
        assert bytes(damaged) != honest or position % 3 == 1
        assert tree.leaf(0) is None
        return
    assert bytes(damaged) == honest
    assert [tree.leaf(number) for number in range(len(leaves))] == leaves


@lru_cache(maxsize=1)
def _honest() -> tuple[bytes, bytes, tuple[bytes, ...]]:
    """The true share, the hash of its UEB, and its file's ciphertext hashes."""
    content = HONEST_SHARE.read_bytes()
    layout = parse_header(content)
    start = layout.uri_extension + layout.field_size
    length = layout.ueb_length(content[layout.uri_extension : start])
    geometry = Geometry.of(SIZE, K, N, SEGMENT_SIZE)
    tree = MerkleTree(geometry.num_segments, b"")
    wanted = tree.missing_page(0)
    assert wanted is not None
    offset, span = tree.page_range(wanted)
    row = content[layout.crypttext_hash_tree + offset :][:span]
    hashes = tuple(row[at : at + HASH_SIZE] for at in range(0, span, HASH_SIZE))
    return content, hashutil.uri_extension_hash(content[start : start + length]), hashes


def damage(content: bytes, edits: bytes) -> bytes:
    """*content* with some of it overwritten: each edit is a position (2 bytes), a length (1) and
    so many bytes; the first byte of all says how much is cut off, in 1/256."""
    if not edits:
        return content
    share = bytearray(content)
    at = 1
    while at + 3 <= len(edits):
        position = int.from_bytes(edits[at : at + 2], "big") % len(share)
        new = edits[at + 3 : at + 3 + edits[at + 2]]
        share[position : position + len(new)] = new
        at += 3 + edits[at + 2]
    return bytes(share[: len(share) - len(share) * edits[0] // 256])


def share(data: bytes) -> None:
    """A damaged share, asked for everything a download asks one for."""
    content, ueb_hash, hashes = _honest()
    served = damage(content, data)
    metadata = Metadata(SIZE, K, N, ueb_hash, SEGMENT_SIZE)
    asked = Share(1, 0, 0)
    _ask(asked, served, lambda: metadata.seek_ueb(asked, 0))
    if metadata.ueb is None:
        assert asked.ueb_bad and metadata.faults
        return
    assert metadata.ueb.segment_size == SEGMENT_SIZE
    tree, geometry = metadata.tree, metadata.geometry
    assert tree is not None and geometry is not None
    wanted = tree.missing_page(0)
    assert wanted is not None
    _ask(asked, served, lambda: metadata.seek_page(asked, wanted))
    assert asked.hashes_bad or tuple(map(tree.leaf, range(len(hashes)))) == hashes
    _examine(asked, served, metadata, content)


def _ask(asked: Share, served: bytes, question: Callable[[], list[tuple[int, int]]]) -> None:
    total = 0
    for _round in range(MAX_ROUNDS):
        needs = question()
        for start, stop in needs:
            assert 0 <= start < stop
            total += stop - start
            asked.keep_fragment(start, stop, served[start:stop])
        assert total <= MAX_ASKED_BYTES
        if not needs:
            return
    raise AssertionError("asks for ever")


def _examine(asked: Share, served: bytes, metadata: Metadata, content: bytes) -> None:
    """Hold a block against its share's hashes: only the true one is good."""
    geometry, ueb_ = metadata.geometry, metadata.ueb
    assert geometry is not None and ueb_ is not None
    if forensics.read_layout(asked) is not None or asked.layout is None:
        return
    start = asked.layout.data + geometry.block_start(7)
    block = served[start : start + geometry.block_length(7)]
    if len(block) < geometry.block_length(7):
        return
    asked.keep_blocks(geometry, 7, 8, memoryview(block), 1 << 7, len(block))
    evidence = forensics.examine(asked, 7, geometry, ueb_)
    for _round in range(MAX_ROUNDS):
        if not evidence.needs:
            break
        for low, high in evidence.needs:
            assert 0 <= low < high and high - low <= MAX_ASKED_BYTES
            asked.keep_fragment(low, high, served[low:high])
        evidence = forensics.examine(asked, 7, geometry, ueb_)
    assert not evidence.needs and evidence.verdict is not None
    true = V1_HEADER_SIZE + geometry.block_start(7)
    if evidence.verdict is forensics.Verdict.GOOD:
        assert block == content[true : true + len(block)]


TARGETS: dict[str, Target] = {
    target.__name__: target for target in (header, ueb, chain, page, share)
}


def seeds(name: str) -> list[Path]:
    """The corpus of one target, in order of names."""
    return sorted(path for path in (CORPUS / name).iterdir() if path.is_file())
