"""Takes shares on disk apart and spoils them.

A share file of Tahoe's storage server is a container header, the share, and the
leases.  Only the share is touched here, and may change its length.
Source: ``allmydata.storage.immutable.ShareFile``, ``allmydata.immutable.layout``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from allmydata import hashtree, uri
from allmydata.util import hashutil

CONTAINER_HEADER = 12
LEASE_BYTES = 72
HASH_BYTES = 32

V1 = 1


def edit_share(path: str, change: Callable[[bytes], bytes]) -> None:
    """Replace a stored share by what *change* makes of it."""
    stored = Path(path).read_bytes()
    (leases,) = struct.unpack_from(">L", stored, 8)
    stop = len(stored) - leases * LEASE_BYTES
    share = change(stored[CONTAINER_HEADER:stop])
    Path(path).write_bytes(stored[:CONTAINER_HEADER] + share + stored[stop:])


def share_of(path: str) -> bytes:
    """A stored share."""
    kept: list[bytes] = []

    def look(share: bytes) -> bytes:
        kept.append(share)
        return share

    edit_share(path, look)
    return kept[0]


def fields_of(share: bytes) -> dict[str, tuple[int, int]]:
    """Where each part of a good share lies, ``[start, stop)``, in order."""
    (version,) = struct.unpack_from(">L", share)
    form, at, width = (">6L", 0x0C, 4) if version == V1 else (">6Q", 0x14, 8)
    data, plaintext, crypttext, blocks, chain, ueb = struct.unpack_from(form, share, at)
    return {
        "version": (0, 4),
        "sizes": (4, at),
        "offset of data": (at, at + width),
        "offset of plaintext hashes": (at + width, at + 2 * width),
        "offset of ciphertext hashes": (at + 2 * width, at + 3 * width),
        "offset of block hashes": (at + 3 * width, at + 4 * width),
        "offset of share hashes": (at + 4 * width, at + 5 * width),
        "offset of UEB": (at + 5 * width, at + 6 * width),
        "blocks": (data, plaintext),
        "plaintext hashes": (plaintext, crypttext),
        "ciphertext hashes": (crypttext, blocks),
        "block hashes": (blocks, chain),
        "share hashes": (chain, ueb),
        "UEB length": (ueb, ueb + width),
        "UEB": (ueb + width, len(share)),
    }


def flip(position: int, bits: int = 0x80) -> Callable[[bytes], bytes]:
    """A change of one byte."""

    def change(share: bytes) -> bytes:
        return share[:position] + bytes([share[position] ^ bits]) + share[position + 1 :]

    return change


def overwrite(start: int, data: bytes) -> Callable[[bytes], bytes]:
    """A change of the bytes from *start*."""
    return lambda share: share[:start] + data + share[start + len(data) :]


def cut(length: int) -> Callable[[bytes], bytes]:
    """Only the first *length* bytes are left."""
    return lambda share: share[:length]


def forge_ueb(cap: bytes, paths: list[str], change: Callable[[bytes], bytes]) -> bytes:
    """Give all shares of a file another UEB.

    :return: the cap that vouches for it.
    """
    forged: list[bytes] = []

    def replace(share: bytes) -> bytes:
        at, body = fields_of(share)["UEB length"]
        ueb = change(share[body:])
        forged.append(ueb)
        return share[:at] + len(ueb).to_bytes(body - at, "big") + ueb

    for path in paths:
        edit_share(path, replace)
    old: Any = uri.from_string(cap)
    new: bytes = uri.CHKFileURI(
        old.key,
        hashutil.uri_extension_hash(forged[0]),
        old.needed_shares,
        old.total_shares,
        old.size,
    ).to_string()
    return new


def forge_ciphertext_leaf(cap: bytes, paths: list[str], segnum: int) -> bytes:
    """An uploader's lie: the hash of one segment does not fit, all else does.

    :return: the cap that vouches for the lie.
    """
    share = share_of(paths[0])
    start, stop = fields_of(share)["ciphertext hashes"]
    nodes = [share[at : at + HASH_BYTES] for at in range(start, stop, HASH_BYTES)]
    leaves = nodes[len(nodes) // 2 :]
    leaves[segnum] = hashutil.tagged_hash(b"test", b"a lie")
    tree = list(hashtree.HashTree(leaves))
    assert len(tree) == len(nodes)
    for path in paths:
        edit_share(path, overwrite(start, b"".join(tree)))
    return forge_ueb(cap, paths, lambda ueb: ueb.replace(nodes[0], tree[0]))
