"""A file of zero bytes: real shares that cost nothing, however many are read.

The erasure code is linear, so every block of every share of such a file is zero
bytes, and all its shares are the same but for their share hash chains. Header,
hash trees and UEB are real and lead to the cap's hash, so whatever the core checks
does check out, in bytes that all reads share. Nothing is encoded, and each
distinct segment and block is hashed once. Assumes an honest uploader.

Source: Tahoe-LAFS docs/specifications/file-encoding.rst.
"""

from __future__ import annotations

import struct
from functools import lru_cache

from allmydata.hashtree import HashTree
from allmydata.util import hashutil

from tahoe_fastdl.core.geometry import Geometry
from tahoe_fastdl.core.layout import V1_HEADER_SIZE, expected_layout


@lru_cache(maxsize=256)
def zeros(length: int) -> bytes:
    """So many zero bytes, shared by all who ask."""
    return bytes(length)


class ZeroFile:
    """One encoded file of zero bytes."""

    def __init__(self, size: int, k: int, n: int, max_segment_size: int) -> None:
        """:param size: of the file in bytes, >= 1."""
        self.geometry = geometry = Geometry.guess(size, k, n, max_segment_size)
        self.layout = expected_layout(geometry)
        segments, blocks = [], []
        for segnum in range(geometry.num_segments):
            segments.append(_segment_hash(geometry.segment_length(segnum)))
            blocks.append(_block_hash(geometry.block_length(segnum)))
        crypttext, block_tree = HashTree(segments), HashTree(blocks)
        self._share_tree = HashTree([block_tree[0]] * n)
        ueb = _ueb(geometry, crypttext[0], self._share_tree[0])
        self.ueb_hash: bytes = hashutil.uri_extension_hash(ueb)
        length = struct.pack(">L" if self.layout.version == 1 else ">Q", len(ueb))
        self._trees = bytes(32 * len(crypttext)) + b"".join(crypttext) + b"".join(block_tree)
        self._ueb = length + ueb
        self._header = self._make_header()
        self._data_stop = self.layout.data + geometry.share_data_size
        self.share_size = self.layout.uri_extension + len(self._ueb)
        self._made: dict[tuple[int, int, int], bytes] = {}

    def _make_header(self) -> bytes:
        layout, geometry = self.layout, self.geometry
        starts = (
            layout.data,
            layout.data + geometry.share_data_size,
            layout.crypttext_hash_tree,
            layout.block_hashes,
            layout.share_hashes,
            layout.uri_extension,
        )
        form = ">9L" if layout.data == V1_HEADER_SIZE else ">L8Q"
        return struct.pack(
            form, layout.version, geometry.block_size, geometry.share_data_size, *starts
        )

    def _tail(self, shnum: int) -> bytes:
        """All that lies behind the blocks."""
        chain = b"".join(
            struct.pack(">H", number) + self._share_tree[number]
            for number in self._share_tree.needed_hashes(shnum, include_leaf=True)
        )
        return self._trees + chain + self._ueb

    def read(self, shnum: int, start: int, length: int) -> bytes:
        """Share bytes ``[start, start + length)``, fewer if the share ends before."""
        stop = min(start + length, self.share_size)
        if self.layout.data <= start and stop <= self._data_stop:
            return zeros(max(0, stop - start))
        layout = self.layout
        own = shnum if start < layout.uri_extension and stop > layout.share_hashes else 0
        made = self._made.get((own, start, stop))
        if made is None:
            made = self._made[own, start, stop] = self._make(own, start, stop)
        return made

    def _make(self, shnum: int, start: int, stop: int) -> bytes:
        data, end = self.layout.data, self._data_stop
        blocks = max(0, min(stop, end) - max(start, data))
        after = self._tail(shnum)[max(0, start - end) : stop - end] if stop > end else b""
        return self._header[start:stop] + bytes(blocks) + after


@lru_cache(maxsize=64)
def file_of(size: int, k: int, n: int, max_segment_size: int) -> ZeroFile:
    """The file of these sizes, made once."""
    return ZeroFile(size, k, n, max_segment_size)


@lru_cache(maxsize=256)
def _segment_hash(length: int) -> bytes:
    made: bytes = hashutil.crypttext_segment_hash(bytes(length))
    return made


@lru_cache(maxsize=256)
def _block_hash(length: int) -> bytes:
    made: bytes = hashutil.block_hash(bytes(length))
    return made


def _ueb(geometry: Geometry, crypttext_root: bytes, share_root: bytes) -> bytes:
    """The fields that a downloader reads, and those that encoders write next to them."""
    fields: dict[bytes, bytes] = {
        b"codec_name": b"crs",
        b"codec_params": b"%d-%d-%d" % (geometry.segment_size, geometry.k, geometry.n),
        b"crypttext_root_hash": crypttext_root,
        b"needed_shares": b"%d" % geometry.k,
        b"num_segments": b"%d" % geometry.num_segments,
        b"segment_size": b"%d" % geometry.segment_size,
        b"share_root_hash": share_root,
        b"size": b"%d" % geometry.size,
        b"total_shares": b"%d" % geometry.n,
    }
    return b"".join(
        b"%s:%d:%s," % (name, len(value), value) for name, value in sorted(fields.items())
    )
