"""Shares made for tests are the shares Tahoe makes."""

from __future__ import annotations

from typing import Any

from allmydata.immutable.encode import Encoder
from allmydata.immutable.layout import WriteBucketProxy, WriteBucketProxy_v2
from allmydata.interfaces import IEncryptedUploadable
from allmydata.util import hashutil
from twisted.internet import defer
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from .sharemaker import EncodedFile, encode


@implementer(IEncryptedUploadable)
class Ciphertext:
    """Feeds Tahoe's encoder with bytes that are encrypted already."""

    def __init__(self, file: EncodedFile) -> None:
        self._file = file
        self._position = 0

    def set_upload_status(self, upload_status: Any) -> None:
        """Nobody watches."""

    def get_size(self) -> defer.Deferred[int]:
        """Of the file."""
        return defer.succeed(self._file.size)

    def get_all_encoding_parameters(self) -> defer.Deferred[tuple[int, int, int, int]]:
        """k, happiness, N, segment size."""
        file = self._file
        return defer.succeed((file.k, 1, file.n, file.segment_size))

    def get_storage_index(self) -> defer.Deferred[bytes]:
        """Any will do."""
        return defer.succeed(bytes(16))

    def read_encrypted(self, length: int, hash_only: bool) -> defer.Deferred[list[bytes]]:
        """The next bytes."""
        start, self._position = self._position, self._position + length
        return defer.succeed([self._file.ciphertext[start : start + length]])

    def close(self) -> None:
        """Nothing is open."""


class Disk:
    """The remote end of a WriteBucketProxy: keeps what is written."""

    def __init__(self) -> None:
        self.share = bytearray()

    def get_name(self) -> str:
        """As a server; the encoder logs it."""
        return "disk"

    def callRemote(self, method: str, *arguments: Any) -> defer.Deferred[None]:
        """``write`` in order, then ``close``."""
        if method == "write":
            start, data = arguments
            assert start == len(self.share)
            self.share += data
        return defer.succeed(None)


class SameAsTahoe(TestCase):
    """Held against ``allmydata.immutable.encode``."""

    @defer.inlineCallbacks
    def test_same_bytes(self) -> Any:
        """Every byte of every share is what Tahoe's encoder writes, and so is the UEB hash."""
        shapes = ((1, 1, 1, 100), (1, 3, 10, 100), (1000, 3, 10, 100), (900, 3, 10, 90),
                  (77, 7, 7, 70), (5000, 20, 60, 1000))  # fmt: skip
        for size, k, n, segment_size in shapes:
            for version, proxy in ((1, WriteBucketProxy), (2, WriteBucketProxy_v2)):
                file = encode(size, k, n, segment_size, version=version)
                encoder = Encoder()
                yield encoder.set_encrypted_uploadable(Ciphertext(file))
                disks = [Disk() for _ in range(n)]
                chain = len(range(n - 1)).bit_length() + 1
                landlords = {
                    shnum: proxy(disk, disk, encoder.get_param("share_size"),
                                 encoder.get_param("block_size"), file.num_segments, chain,
                                 encoder.get_uri_extension_size())
                    for shnum, disk in enumerate(disks)
                }  # fmt: skip
                encoder.set_shareholders(landlords, {shnum: {b"server"} for shnum in range(n)})
                verifycap = yield encoder.start()
                self.assertEqual(file.ueb_hash, verifycap.uri_extension_hash)
                self.assertEqual(list(file.shares), [bytes(disk.share) for disk in disks])

    def test_wrong_on_purpose(self) -> None:
        """A wrong segment changes the ciphertext hashes and nothing else in the shares."""
        good = encode(100, 2, 3, 50)
        bad = encode(100, 2, 3, 50, wrong_segments=frozenset({1}))
        self.assertEqual(good.leaves[0], bad.leaves[0])
        self.assertEqual(hashutil.crypttext_segment_hash(good.segment(1)), good.leaves[1])
        self.assertNotEqual(good.leaves[1], bad.leaves[1])
        for name, (start, stop) in good.parts.items():
            same = good.shares[0][start:stop] == bad.shares[0][start:stop]
            self.assertEqual(name not in ("crypttext_hash_tree", "uri_extension"), same, name)
