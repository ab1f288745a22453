"""The header of a share: versions 1 and 2 <-> byte ranges.

Pure.  A share is header, blocks, three hash trees (the first unused), share
hash chain, URI extension block (UEB) with its length before it.
Source: Tahoe-LAFS docs/specifications/file-encoding.rst and
``allmydata.immutable.layout`` (WriteBucketProxy, WriteBucketProxy_v2).
"""

from __future__ import annotations

import struct

from attrs import frozen

from ..errors import LayoutInvalid
from .geometry import Geometry, next_power_of_two

HASH_SIZE = 32
CHAIN_ENTRY_SIZE = 2 + HASH_SIZE  # share hash chain: (node number, hash) pairs

V1_HEADER_SIZE = 0x24
V2_HEADER_SIZE = 0x44

# No share is as long: what is said to lie there or beyond is past its end, and every server
# takes such a position in a read, which it would not from 2**63 on.
OUT_OF_REACH = 2**62

# A real UEB has about 330 bytes; 64 KiB leaves room for fields nobody has
# invented yet and keeps a hostile length from making us ask for 2 GiB.
MAX_UEB_SIZE = 64 * 1024


@frozen
class Layout:
    """Byte positions of the parts of one share."""

    version: int
    data: int
    crypttext_hash_tree: int
    block_hashes: int
    share_hashes: int
    uri_extension: int

    @property
    def field_size(self) -> int:
        """Bytes of the number before the UEB."""
        return 4 if self.version == 1 else 8

    def ueb_length(self, field: bytes) -> int:
        """The UEB's length from the number stored before it.

        :raise LayoutInvalid: 0, or more than ``MAX_UEB_SIZE``.
        """
        length = int.from_bytes(field, "big")
        if not 0 < length <= MAX_UEB_SIZE:
            raise LayoutInvalid(f"URI extension block of {length} bytes")
        return length

    def share_hashes_length(self) -> int:
        """Length of the share hash chain.

        :raise LayoutInvalid: it is empty, ragged, or longer than any tree of
            256 leaves needs twice over.
        """
        length = self.uri_extension - self.share_hashes
        if length <= 0 or length % CHAIN_ENTRY_SIZE or length > 512 * CHAIN_ENTRY_SIZE:
            raise LayoutInvalid(f"share hash chain of {length} bytes")
        return length


def expected_layout(geometry: Geometry, version: int | None = None) -> Layout:
    """The layout every encoder gives to shares of this geometry.

    :param version: 1, 2, or None for the one the encoder picks by size.
    """
    tree = (2 * next_power_of_two(geometry.num_segments) - 1) * HASH_SIZE
    chain = (next_power_of_two(geometry.n).bit_length()) * CHAIN_ENTRY_SIZE
    if version is None:
        ueb_start = V1_HEADER_SIZE + geometry.share_data_size + 3 * tree + chain
        version = 1 if ueb_start < 2**32 else 2
    data = V1_HEADER_SIZE if version == 1 else V2_HEADER_SIZE
    crypttext = data + geometry.share_data_size + tree
    return Layout(
        version=version,
        data=data,
        crypttext_hash_tree=crypttext,
        block_hashes=crypttext + tree,
        share_hashes=crypttext + 2 * tree,
        uri_extension=crypttext + 2 * tree + chain,
    )


def parse_header(header: bytes) -> Layout:
    """Read a share's header.

    Like stock this ignores the block size, data size and plaintext tree
    fields.  Positions of parts that may never be needed are checked where
    they are used, so that a share with one bad field can still give blocks;
    none is larger than ``OUT_OF_REACH``.

    :param header: the first bytes of the share, at least the header.
    :raise LayoutInvalid: too short, unknown version, or data inside the header.
    """
    if len(header) < 4:
        raise LayoutInvalid(f"share header of {len(header)} bytes")
    (version,) = struct.unpack_from(">L", header)
    if version == 1:
        size, start, fields = V1_HEADER_SIZE, 0x0C, ">6L"
    elif version == 2:
        size, start, fields = V2_HEADER_SIZE, 0x14, ">6Q"
    else:
        raise LayoutInvalid(f"unknown version {version} (I understand 1 and 2)")
    if len(header) < size:
        raise LayoutInvalid(f"share header of {len(header)} bytes, version {version} has {size}")
    data, _plaintext, crypttext, blocks, shares, ueb = struct.unpack_from(fields, header, start)
    if data < size or data >= OUT_OF_REACH:
        raise LayoutInvalid(f"blocks at {data}, inside the header or out of reach")
    others = (min(offset, OUT_OF_REACH) for offset in (crypttext, blocks, shares, ueb))
    return Layout(version, data, *others)
