"""Decoding, checking and decrypting, held against Tahoe's own codec and decryptor."""

from __future__ import annotations

import random

from allmydata.codec import CRSEncoder
from allmydata.immutable.filenode import DecryptingConsumer
from allmydata.util import hashutil
from allmydata.util.cputhreadpool import disable_thread_pool_for_test
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tahoe_fastdl.core.geometry import Geometry
from tahoe_fastdl.core.records import Decode, Source
from tahoe_fastdl.shell.worker import Decoded, crypt, decode_batch

from .gridcase import Reader

KEY, OTHER_KEY = b"k" * 16, b"o" * 16


def stock_crypt(data: bytes, readkey: bytes, position: int) -> bytes:
    """What Tahoe's consumer makes of ciphertext that begins at *position*."""
    reader = Reader()
    DecryptingConsumer(reader, readkey, position).write(data)
    return reader.text


@frozen
class World:
    """A file encoded by Tahoe's codec: each share's blocks, each segment's hash."""

    geometry: Geometry
    ciphertext: bytes
    shares: dict[int, bytes]
    leaves: tuple[bytes, ...]

    def job(self, first: int, stop: int, shnums: list[int]) -> Decode:
        """The decoding of segments ``[first, stop)`` from these shares."""
        low, high = self.geometry.block_start(first), self.geometry.block_start(stop)
        sources = (Source(n, memoryview(self.shares[n])[low:high]) for n in shnums)
        return Decode(1, first, stop, tuple(sources), self.leaves[first:stop])

    def text(self, first: int, stop: int) -> bytes:
        """The ciphertext of these segments."""
        geometry = self.geometry
        return self.ciphertext[geometry.segment_start(first) : geometry.segment_start(stop)]


def encoded(size: int, k: int, n: int, segment_size: int) -> World:
    """Encode as ``allmydata.immutable.encode`` does: the tail has a codec of its own."""
    geometry = Geometry.guess(size, k, n, segment_size)
    ciphertext = random.Random(size).randbytes(size)
    shares: dict[int, list[bytes]] = {shnum: [] for shnum in range(n)}
    leaves = []
    for segnum in range(geometry.num_segments):
        start = geometry.segment_start(segnum)
        segment = ciphertext[start : start + geometry.segment_length(segnum)]
        leaves.append(hashutil.crypttext_segment_hash(segment))
        padded = segment + b"\0" * (-len(segment) % k)
        codec = CRSEncoder()
        codec.set_params(len(padded), k, n)
        width = len(padded) // k
        blocks, shnums = SynchronousTestCase().successResultOf(
            codec.encode([padded[i * width : (i + 1) * width] for i in range(k)])
        )
        for shnum, block in zip(shnums, blocks):
            shares[shnum].append(block)
    joined = {shnum: b"".join(blocks) for shnum, blocks in shares.items()}
    return World(geometry, ciphertext, joined, tuple(leaves))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Small files of any shape."""
    k = draw(st.integers(1, 12))
    n = draw(st.integers(k, 16))
    return encoded(draw(st.integers(1, 600)), k, n, draw(st.integers(1, 200)))


class Decoding(SynchronousTestCase):
    """decode_batch."""

    def setUp(self) -> None:
        """Let Tahoe's encoder work in this thread."""
        disable_thread_pool_for_test(self)

    @given(worlds(), st.data())
    def test_any_k_shares_and_any_run(self, world: World, data: st.DataObject) -> None:
        """Any k shares in any order rebuild any run of segments, the tail too."""
        geometry = world.geometry
        shnums = data.draw(st.permutations(range(geometry.n)))[: geometry.k]
        first = data.draw(st.integers(0, geometry.num_segments - 1))
        stop = data.draw(st.integers(first + 1, geometry.num_segments))
        found = decode_batch(world.job(first, stop, shnums), geometry, frozenset(), True)
        self.assertEqual(found.start, geometry.segment_start(first))
        self.assertEqual(found.ciphertext, world.text(first, stop))
        self.assertEqual(found.bad, ())
        self.assertEqual(found.plaintexts, {})

    @given(worlds(), st.data())
    def test_a_flipped_byte_is_found(self, world: World, data: st.DataObject) -> None:
        """One wrong byte in one block marks that block's segment bad and no other."""
        geometry = world.geometry
        shnums = data.draw(st.permutations(range(geometry.n)))[: geometry.k]
        position = data.draw(st.integers(0, geometry.share_data_size - 1))
        spoiled = bytearray(world.shares[shnums[0]])
        spoiled[position] ^= data.draw(st.integers(1, 255))
        segnum = min(position // geometry.block_size, geometry.num_segments - 1)
        job = World(
            geometry, world.ciphertext, {**world.shares, shnums[0]: bytes(spoiled)}, world.leaves
        ).job(0, geometry.num_segments, shnums)
        found = decode_batch(job, geometry, frozenset(), True)
        assert found.ciphertext is not None
        wrong = [
            number
            for number in range(geometry.num_segments)
            if found.ciphertext[geometry.segment_start(number) : geometry.segment_start(number + 1)]
            != world.text(number, number + 1)
        ]
        # a byte of the padding may be wrong without a byte of the file being so
        self.assertIn(wrong, ([segnum], []))
        self.assertEqual(list(found.bad), wrong)

    def test_wrong_leaf(self) -> None:
        """A segment that does not match its hash is named, the others are not."""
        world = encoded(1000, 3, 10, 102)
        job = world.job(2, 8, [0, 1, 2])
        leaves = list(job.hashes)
        leaves[3] = b"\0" * 32
        found = decode_batch(
            Decode(1, 2, 8, job.sources, tuple(leaves)), world.geometry, frozenset(), True
        )
        self.assertEqual(found.bad, (5,))

    def test_largest_codes(self) -> None:
        """255-of-256 and 1-of-256, primaries present and missing."""
        for k, shnums in ((255, list(range(1, 256))), (255, list(range(255))), (1, [200])):
            world = encoded(2000, k, 256, 510)
            stop = world.geometry.num_segments
            found = decode_batch(world.job(0, stop, shnums), world.geometry, frozenset(), True)
            self.assertEqual((found.ciphertext, found.bad), (world.ciphertext, ()))

    def test_plaintexts(self) -> None:
        """Each read key gets its own plaintext; ciphertext is kept only if it is wanted."""
        world = encoded(1000, 3, 10, 102)
        job = world.job(1, 4, [7, 2, 9])
        start = world.geometry.segment_start(1)
        for keys, keep in (([], False), ([KEY], False), ([KEY], True), ([KEY, OTHER_KEY], False)):
            found = decode_batch(job, world.geometry, frozenset(keys), keep)
            self.assertEqual(found.ciphertext is None, bool(keys) and not keep)
            self.assertEqual(set(found.plaintexts), set(keys))
            for key in (KEY, OTHER_KEY, None):
                expected = world.text(1, 4)
                if key is not None:
                    expected = stock_crypt(expected, key, start)
                self.assertEqual(found.text(key), expected, (keys, keep, key))

    def test_a_reader_of_ciphertext_who_came_late(self) -> None:
        """Ciphertext can be had from a batch that was made for readers of plaintext."""
        ciphertext = bytes(range(100))
        for start in (0, 5, 16, 33):
            plain = stock_crypt(ciphertext, KEY, start)
            decoded = Decoded(start, None, {KEY: plain}, (), 0.0, 0.0, 0.0)
            self.assertEqual(decoded.text(None), ciphertext)
            decoded = Decoded(start, None, {KEY: plain}, (), 0.0, 0.0, 0.0)
            other = stock_crypt(ciphertext, OTHER_KEY, start)
            self.assertEqual(decoded.text(OTHER_KEY), other)


class Decrypting(SynchronousTestCase):
    """crypt."""

    @given(
        st.binary(max_size=200),
        st.binary(min_size=16, max_size=16),
        st.one_of(st.integers(0, 300), st.integers(0, 2**63)),
    )
    def test_like_stock_at_any_position(self, data: bytes, key: bytes, position: int) -> None:
        """The same bytes as Tahoe's DecryptingConsumer, at any file position."""
        self.assertEqual(crypt(data, key, position), stock_crypt(data, key, position))

    @given(st.binary(max_size=200), st.integers(0, 10**12))
    def test_its_own_inverse(self, data: bytes, position: int) -> None:
        """Twice is nothing."""
        self.assertEqual(crypt(crypt(data, KEY, position), KEY, position), data)

    def test_pieces(self) -> None:
        """Pieces decrypt to pieces of the whole, wherever they are cut."""
        whole = crypt(bytes(100), KEY, 7)
        for cut in range(101):
            pieces = crypt(bytes(cut), KEY, 7) + crypt(bytes(100 - cut), KEY, 7 + cut)
            self.assertEqual(pieces, whole)
