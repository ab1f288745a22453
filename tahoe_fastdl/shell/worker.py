"""Decode, check and decrypt one batch, off the reactor.

zfec, hashlib and pycryptodome release the GIL, so a worker thread runs beside
the reactor.  Source of the formats: Tahoe-LAFS
docs/specifications/file-encoding.rst; AES-128-CTR with the file position in
16-byte blocks as counter, ``allmydata.immutable.filenode.DecryptingConsumer``.
"""

from __future__ import annotations

import hashlib
import threading
import time

import zfec
from allmydata.util.hashutil import CIPHERTEXT_SEGMENT_TAG
from allmydata.util.netstring import netstring
from attrs import define
from Crypto.Cipher import AES

from ..core.geometry import Geometry
from ..core.records import Decode

_LEAF_HASHER = hashlib.sha256(netstring(CIPHERTEXT_SEGMENT_TAG))


def crypt(data: bytes, readkey: bytes, position: int) -> bytes:
    """AES-CTR of file bytes that begin at *position*; its own inverse."""
    cipher = AES.new(readkey, AES.MODE_CTR, nonce=b"", initial_value=position // 16)
    if position % 16:
        cipher.encrypt(b"\0" * (position % 16))
    result: bytes = cipher.encrypt(data)
    return result


@define
class Decoded:
    """What a batch became: file bytes from *start*."""

    start: int
    ciphertext: bytes | None  # None: every reader wants plaintext
    plaintexts: dict[bytes, bytes]  # by read key
    bad: tuple[int, ...]  # segments that do not match their leaf
    decode_s: float
    hash_s: float
    decrypt_s: float
    began: float = 0.0  # monotonic seconds
    thread: int = 0  # which worker, as threads name themselves

    def spent(self) -> tuple[float, float, float]:
        """Seconds of decoding, of verifying and of decrypting, in this order."""
        return self.decode_s, self.hash_s, self.decrypt_s

    def text(self, readkey: bytes | None) -> bytes:
        """The batch for a reader with this key, or ciphertext for None."""
        if readkey is None and self.ciphertext is not None:
            return self.ciphertext
        if readkey in self.plaintexts:
            return self.plaintexts[readkey]
        if self.ciphertext is None:  # a reader came while the worker was busy
            key, plaintext = next(iter(self.plaintexts.items()))
            self.ciphertext = crypt(plaintext, key, self.start)
        if readkey is None:
            return self.ciphertext
        self.plaintexts[readkey] = crypt(self.ciphertext, readkey, self.start)
        return self.plaintexts[readkey]


def _primaries(job: Decode, geometry: Geometry) -> list[memoryview]:
    sources = sorted(job.sources, key=lambda source: source.shnum)
    if all(source.shnum < geometry.k for source in sources):
        return [source.blocks for source in sources]
    # The code works byte by byte, so one call serves all segments of the batch.
    # zfec wants each primary block that is present at its own place.
    places: list[int | None] = [None] * geometry.k
    secondary = []
    for i, source in enumerate(sources):
        if source.shnum < geometry.k:
            places[source.shnum] = i
        else:
            secondary.append(i)
    order = [secondary.pop() if place is None else place for place in places]
    decoder = zfec.Decoder(geometry.k, geometry.n)
    blocks = decoder.decode([sources[i].blocks for i in order], [sources[i].shnum for i in order])
    return [memoryview(block) for block in blocks]


def _joined(pieces: list[memoryview], job: Decode, geometry: Geometry) -> bytes:
    """The segments of a batch out of the primary blocks of all of them."""
    if job.stop - job.first == 1:
        ciphertext = b"".join(pieces)
    else:
        base = geometry.block_start(job.first)
        parts = []
        for segnum in range(job.first, job.stop):
            low = geometry.block_start(segnum) - base
            high = low + geometry.block_length(segnum)
            parts += [piece[low:high] for piece in pieces]
        ciphertext = b"".join(parts)
    length = geometry.segment_start(job.stop) - geometry.segment_start(job.first)
    # What is beyond is padding of the tail.
    return ciphertext[:length] if len(ciphertext) > length else ciphertext


def _bad_segments(ciphertext: memoryview, job: Decode, geometry: Geometry) -> tuple[int, ...]:
    """The segments that do not match their leaf."""
    bad = []
    start = geometry.segment_start(job.first)
    for segnum, leaf in zip(range(job.first, job.stop), job.hashes):
        low = geometry.segment_start(segnum) - start
        hasher = _LEAF_HASHER.copy()
        hasher.update(ciphertext[low : low + geometry.segment_length(segnum)])
        if hashlib.sha256(hasher.digest()).digest() != leaf:
            bad.append(segnum)
    return tuple(bad)


def decode_batch(
    job: Decode, geometry: Geometry, readkeys: frozenset[bytes], keep_ciphertext: bool
) -> Decoded:
    """Rebuild segments ``[job.first, job.stop)``, check each hash, decrypt.

    Runs in any thread.  A segment that does not match is named in ``bad``;
    its bytes are in the result and must not be delivered.

    :param geometry: of the file that *job* is from.
    :param readkeys: of all that want plaintext.
    :param keep_ciphertext: somebody wants that.
    """
    began, began_at = time.perf_counter(), time.monotonic()
    start = geometry.segment_start(job.first)
    ciphertext = _joined(_primaries(job, geometry), job, geometry)
    decoded = time.perf_counter()
    bad = _bad_segments(memoryview(ciphertext), job, geometry)
    hashed = time.perf_counter()
    plaintexts = {key: crypt(ciphertext, key, start) for key in readkeys}
    done = time.perf_counter()
    return Decoded(
        start=start,
        ciphertext=ciphertext if keep_ciphertext or not readkeys else None,
        plaintexts=plaintexts,
        bad=bad,
        decode_s=decoded - began,
        hash_s=hashed - decoded,
        decrypt_s=done - hashed,
        began=began_at,
        thread=threading.get_ident(),
    )
