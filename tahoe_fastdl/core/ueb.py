"""The URI extension block (UEB): what the cap's hash vouches for.

Pure.  A netstring-like list ``key:length:value,``.  Source: Tahoe-LAFS
docs/specifications/file-encoding.rst and ``allmydata.uri.unpack_extension``.
Only the fields the download needs are read; the rest is redundant with the
cap and is ignored, as stock does, so UEBs of old and new clients both work.
"""

from __future__ import annotations

from allmydata.util import hashutil
from attrs import frozen

from ..errors import BadHash, MalformedUEB
from .layout import HASH_SIZE


@frozen
class UEB:
    """The fields of a UEB that a download uses."""

    segment_size: int
    size: int | None  # of the file; every encoder since 2007 writes it
    crypttext_root_hash: bytes
    share_root_hash: bytes


def _number(text: bytes, what: str) -> int:
    if not text.isdigit() or len(text) > 20:
        raise MalformedUEB(f"{what} is not a number")
    return int(text)


def unpack(data: bytes) -> dict[bytes, bytes]:
    """The fields of a UEB.

    :raise MalformedUEB: anything but a list of ``key:length:value,``.
    """
    fields: dict[bytes, bytes] = {}
    position = 0
    while position < len(data):
        colon = data.find(b":", position)
        second = data.find(b":", colon + 1)
        if colon < 0 or second < 0:
            raise MalformedUEB("field without a name or length")
        key = data[position:colon]
        start = second + 1
        stop = start + _number(data[colon + 1 : second], "a field's length")
        if data[stop : stop + 1] != b",":
            raise MalformedUEB("field does not end with a comma")
        fields[key] = data[start:stop]
        position = stop + 1
    return fields


def parse_ueb(data: bytes, expected_hash: bytes) -> UEB:
    """Check a UEB against the cap's hash and read it.

    :raise BadHash: these are not the bytes the cap names: the share's fault.
    :raise MalformedUEB: they are, and they make no sense: the uploader's fault.
    """
    if hashutil.uri_extension_hash(data) != expected_hash:
        raise BadHash("URI extension block does not match the cap")
    fields = unpack(data)
    try:
        segment_size = _number(fields[b"segment_size"], "segment_size")
        size = _number(fields[b"size"], "size") if b"size" in fields else None
        crypttext_root, share_root = fields[b"crypttext_root_hash"], fields[b"share_root_hash"]
    except KeyError as missing:
        raise MalformedUEB(f"no field {missing.args[0]!r}") from None
    if len(crypttext_root) != HASH_SIZE or len(share_root) != HASH_SIZE:
        raise MalformedUEB("a root hash is not 32 bytes long")
    return UEB(segment_size, size, crypttext_root, share_root)
