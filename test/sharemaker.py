"""Real shares, made in memory.

Follows ``allmydata.immutable.encode`` step by step with Tahoe's own hashes,
codec, layout and UEB writer, and nothing of ours; ``test_sharemaker`` holds
the result against what Tahoe's encoder itself writes.  What a faulty uploader
would write is made here as well, since no honest encoder can be asked for it.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Mapping
from functools import lru_cache

import zfec
from allmydata import uri
from allmydata.hashtree import HashTree
from allmydata.immutable.layout import WriteBucketProxy, WriteBucketProxy_v2
from allmydata.util import hashutil
from attrs import field, frozen

HEADER, DATA, PLAINTEXT, CRYPTTEXT, BLOCK_HASHES, SHARE_HASHES, UEB = PARTS = (
    "header",
    "data",
    "plaintext_hash_tree",
    "crypttext_hash_tree",
    "block_hashes",
    "share_hashes",
    "uri_extension",
)


@frozen
class EncodedFile:
    """A file's ciphertext and all its shares.

    ``parts`` says where in every share each of ``PARTS`` lies: ``(start, stop)``.
    """

    ciphertext: bytes = field(repr=False)
    k: int
    n: int
    segment_size: int
    ueb_hash: bytes = field(repr=False)
    shares: tuple[bytes, ...] = field(repr=False)
    parts: dict[str, tuple[int, int]]
    leaves: tuple[bytes, ...] = field(repr=False)  # ciphertext hashes, as the uploader wrote them
    share_root_hash: bytes = field(repr=False)
    ueb: bytes = field(repr=False)
    wrong_segments: frozenset[int] = frozenset()  # of which the uploader lied

    @property
    def size(self) -> int:
        """Of the file, in bytes."""
        return len(self.ciphertext)

    @property
    def num_segments(self) -> int:
        """Segments of the file."""
        return len(self.leaves)

    @property
    def block_size(self) -> int:
        """Of all blocks but a share's last."""
        return self.segment_size // self.k

    def block_range(self, segnum: int) -> tuple[int, int]:
        """Where block *segnum* lies in every share."""
        start, stop = self.parts[DATA]
        first = start + segnum * self.block_size
        return first, min(first + self.block_size, stop)

    def segment(self, segnum: int) -> bytes:
        """The ciphertext of one segment."""
        return self.ciphertext[segnum * self.segment_size : (segnum + 1) * self.segment_size]


def segment_size_of(size: int, k: int, max_segment_size: int) -> int:
    """The segment size ``allmydata.immutable.upload`` picks."""
    return -(-min(size, max_segment_size) // k) * k


def random_bytes(size: int, seed: int = 0) -> bytes:
    """The same *size* bytes for the same *seed*, on every Python."""
    return random.Random(seed).getrandbits(8 * size).to_bytes(size, "big") if size else b""


def make_ueb(fields: Mapping[str, object]) -> bytes:
    """A UEB with just these fields: numbers or bytes."""
    packed: bytes = uri.pack_extension(fields)
    return packed


@lru_cache(maxsize=400)
def encode(
    size: int,
    k: int,
    n: int,
    max_segment_size: int,
    *,
    version: int = 1,
    seed: int = 0,
    wrong_segments: frozenset[int] = frozenset(),
    ueb_override: bytes | None = None,
) -> EncodedFile:
    """The shares of *size* random bytes.

    :param version: of the share layout, 1 or 2.
    :param wrong_segments: segments whose ciphertext hash the uploader got wrong;
        all else agrees with it, so every block proves good.
    :param ueb_override: put this in the UEB's place; the cap vouches for it.
    """
    ciphertext = random_bytes(size, seed)
    segment_size = segment_size_of(size, k, max_segment_size)
    leaves: list[bytes] = []
    blocks: list[list[bytes]] = [[] for _ in range(n)]
    for start in range(0, size, segment_size):
        segment = ciphertext[start : start + segment_size]
        hashed = b"not this one" if len(leaves) in wrong_segments else segment
        leaves.append(hashutil.crypttext_segment_hash(hashed))
        for mine, block in zip(blocks, _blocks_of(segment, k, n)):
            mine.append(block)
    crypttext_tree = HashTree(leaves)
    block_trees = [HashTree([hashutil.block_hash(block) for block in mine]) for mine in blocks]
    share_tree = HashTree([tree[0] for tree in block_trees])
    ueb = ueb_override
    if ueb is None:
        ueb = make_ueb(
            _ueb_fields(ciphertext, k, n, segment_size, crypttext_tree[0], share_tree[0])
        )
    chains = [list(share_tree.needed_hashes(i, include_leaf=True)) for i in range(n)]
    proxy = (WriteBucketProxy if version == 1 else WriteBucketProxy_v2)(
        None, None, -(-size // k), segment_size // k, len(leaves), len(chains[0]), len(ueb)
    )
    starts = [0, *(proxy._offsets[part] for part in PARTS[1:])]
    length_field = struct.pack(proxy.fieldstruct, len(ueb))
    stops = [*starts[1:], starts[-1] + len(length_field) + len(ueb)]
    shares = []
    for mine, tree, chain in zip(blocks, block_trees, chains):
        pieces = [
            proxy._offset_data,
            *mine,
            bytes(32 * len(crypttext_tree)),
            *crypttext_tree,
            *tree,
            *(struct.pack(">H", number) + share_tree[number] for number in chain),
            length_field,
            ueb,
        ]
        shares.append(b"".join(pieces))
        assert len(shares[-1]) == stops[-1]
    return EncodedFile(
        ciphertext=ciphertext,
        k=k,
        n=n,
        segment_size=segment_size,
        ueb_hash=hashutil.uri_extension_hash(ueb),
        shares=tuple(shares),
        parts=dict(zip(PARTS, zip(starts, stops))),
        leaves=tuple(leaves),
        share_root_hash=share_tree[0],
        ueb=ueb,
        wrong_segments=wrong_segments,
    )


def _blocks_of(segment: bytes, k: int, n: int) -> list[bytes]:
    block_size = -(-len(segment) // k)
    padded = segment + bytes(k * block_size - len(segment))
    pieces = [padded[i * block_size : (i + 1) * block_size] for i in range(k)]
    return list(zfec.Encoder(k, n).encode(pieces))


def _ueb_fields(
    ciphertext: bytes, k: int, n: int, segment_size: int, crypttext_root: bytes, share_root: bytes
) -> dict[str, int | bytes]:
    size = len(ciphertext)
    tail = -(-(size % segment_size or segment_size) // k) * k
    return {
        "codec_name": b"crs",
        "codec_params": b"%d-%d-%d" % (segment_size, k, n),
        "tail_codec_params": b"%d-%d-%d" % (tail, k, n),
        "size": size,
        "segment_size": segment_size,
        "num_segments": -(-size // segment_size),
        "needed_shares": k,
        "total_shares": n,
        "crypttext_hash": hashutil.crypttext_hash(ciphertext),
        "crypttext_root_hash": crypttext_root,
        "share_root_hash": share_root,
    }


def flip(share: bytes, position: int, mask: int = 0x01) -> bytes:
    """*share* with some bits of one byte flipped."""
    return share[:position] + bytes([share[position] ^ mask]) + share[position + 1 :]
