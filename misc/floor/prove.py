"""Floor (b): shares that are in memory, proved, decoded and decrypted in one thread.

A process of its own without a reactor. It uses hashlib, zfec and the AES of
``cryptography`` (twice as fast as pycryptodome's: 0.10 against 0.21 ms a MiB on an
AMD EPYC), and of the project only the parsers of share, UEB and hash tree. Buffers
are used over and over, and nothing is kept.

Two depths are told apart. What a cap needs is that every ciphertext segment
matches its leaf: that is the floor. Stock proves each block of each share as well
(share hash chain, block hash tree, block hash), which is measured beside it.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Appended: this is run as a script, and then ``misc`` is not on the path.
sys.path.append(str(Path(__file__).resolve().parent.parent.parent))

import zfec
from allmydata import uri
from allmydata.storage.immutable import ShareFile
from allmydata.util.hashutil import BLOCK_TAG, CIPHERTEXT_SEGMENT_TAG
from allmydata.util.netstring import netstring
from attrs import define, field, frozen
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from misc.floor import orders
from tahoe_fastdl.core.geometry import Geometry
from tahoe_fastdl.core.layout import HASH_SIZE, Layout, parse_header
from tahoe_fastdl.core.merkle import MerkleTree, share_hash_leaf
from tahoe_fastdl.core.ueb import UEB, parse_ueb

BATCH_BYTES = 1 << 20  # what fits a core's own cache, and what the worker takes at a time
EVERYTHING = 1 << 34  # more than a share has: reading stops at its end

_SEGMENT_HASHER = hashlib.sha256(netstring(CIPHERTEXT_SEGMENT_TAG))
_BLOCK_HASHER = hashlib.sha256(netstring(BLOCK_TAG))


class WrongShareError(Exception):
    """The shares do not give the file."""


@frozen
class Held:
    """One share in memory."""

    shnum: int
    share: memoryview
    layout: Layout

    def blocks(self, geometry: Geometry, first: int, stop: int) -> memoryview:
        """Blocks ``[first, stop)``, which lie side by side."""
        low = self.layout.data + geometry.block_start(first)
        return self.share[low : self.layout.data + geometry.block_start(stop)]

    def tree(self, start: int, page: tuple[int, int]) -> bytes:
        """Nodes of a hash tree that begins at *start*."""
        return bytes(self.share[start + page[0] : start + page[0] + page[1]])


@define
class Times:
    """Seconds by step; wall and CPU are the same in one thread that waits for nothing."""

    trees_s: float = 0.0  # UEB, and the ciphertext hash tree from its leaves
    decode_s: float = 0.0  # zfec, or with primaries alone the copy into order
    hash_s: float = 0.0  # each segment against its leaf
    decrypt_s: float = 0.0
    blocks_s: float = 0.0  # what stock checks besides

    @contextmanager
    def of(self, step: str) -> Iterator[None]:
        """Add the time of the ``with`` block to a step."""
        began = time.perf_counter()
        yield
        setattr(self, step, getattr(self, step) + time.perf_counter() - began)


@define
class Job:
    """A file by k of its shares."""

    cap: uri.CHKFileURI
    shares: list[Held]
    _ciphertext: bytearray = field(factory=bytearray)
    _plaintext: bytearray = field(factory=bytearray)

    def run(self, times: Times, output: hashlib._Hash | None = None) -> None:
        """All of it once, but for the blocks' own hashes.

        :param output: gets the plaintext; for a pass that is not timed.
        :raise WrongShareError: a segment does not match.
        """
        with times.of("trees_s"):
            _, geometry, tree = self._trees()
        decoder = zfec.Decoder(geometry.k, geometry.n)
        decryptor = Cipher(algorithms.AES(self.cap.key), modes.CTR(bytes(16))).encryptor()
        batch = max(1, BATCH_BYTES // geometry.segment_size)
        self._ciphertext = bytearray(batch * geometry.segment_size)
        self._plaintext = bytearray(batch * geometry.segment_size + 15)
        for first in range(0, geometry.num_segments, batch):
            stop = min(first + batch, geometry.num_segments)
            length = geometry.segment_start(stop) - geometry.segment_start(first)
            with times.of("decode_s"):
                self._decode(decoder, geometry, first, stop)
            with times.of("hash_s"):
                self._check(tree, geometry, first, stop)
            with times.of("decrypt_s"):
                view = memoryview(self._ciphertext)[:length]
                decryptor.update_into(view, self._plaintext)
            if output is not None:
                output.update(memoryview(self._plaintext)[:length])

    def _trees(self) -> tuple[UEB, Geometry, MerkleTree]:
        one = self.shares[0]
        at = one.layout.uri_extension
        length = one.layout.ueb_length(bytes(one.share[at : at + one.layout.field_size]))
        at += one.layout.field_size
        ueb = parse_ueb(bytes(one.share[at : at + length]), self.cap.uri_extension_hash)
        geometry = Geometry.of(
            self.cap.size, self.cap.needed_shares, self.cap.total_shares, ueb.segment_size
        )
        tree = MerkleTree(geometry.num_segments, ueb.crypttext_root_hash)
        _fill(tree, one, one.layout.crypttext_hash_tree)
        return ueb, geometry, tree

    def _decode(self, decoder: zfec.Decoder, geometry: Geometry, first: int, stop: int) -> None:
        """Segments into the buffer, one after another; the last one's padding after all."""
        # The code works byte by byte, so one call serves all segments of a batch.
        pieces = [share.blocks(geometry, first, stop) for share in self.shares]
        numbers = [share.shnum for share in self.shares]
        if max(numbers) >= geometry.k:
            pieces = [memoryview(each) for each in decoder.decode(pieces, numbers)]
        target, base, at = memoryview(self._ciphertext), geometry.block_start(first), 0
        for segnum in range(first, stop):
            low = geometry.block_start(segnum) - base
            length = geometry.block_length(segnum)
            for piece in pieces:
                part = piece[low : low + length]
                room = len(target) - at
                target[at : at + length] = part if room >= length else part[:room]
                at += length

    def _check(self, tree: MerkleTree, geometry: Geometry, first: int, stop: int) -> None:
        view, base = memoryview(self._ciphertext), geometry.segment_start(first)
        for segnum in range(first, stop):
            low = geometry.segment_start(segnum) - base
            data = view[low : low + geometry.segment_length(segnum)]
            if _double(_SEGMENT_HASHER, data) != tree.leaf(segnum):
                raise WrongShareError(f"segment {segnum} does not match its hash")

    def check_blocks(self, times: Times) -> None:
        """Each block of each share, as stock does.

        :raise WrongShareError: one does not match.
        """
        with times.of("blocks_s"):
            ueb, geometry, _ = self._trees()
            for held in self.shares:
                at = held.layout.share_hashes
                chain = bytes(held.share[at : at + held.layout.share_hashes_length()])
                root = share_hash_leaf(chain, held.shnum, geometry.n, ueb.share_root_hash)
                tree = MerkleTree(geometry.num_segments, root)
                _fill(tree, held, held.layout.block_hashes)
                for segnum in range(geometry.num_segments):
                    block = held.blocks(geometry, segnum, segnum + 1)
                    if _double(_BLOCK_HASHER, block) != tree.leaf(segnum):
                        raise WrongShareError(f"block {segnum} does not match its hash")


def _double(tagged: hashlib._Hash, data: memoryview) -> bytes:
    """SHA-256d, as Tahoe hashes everything."""
    hasher = tagged.copy()
    hasher.update(data)
    return hashlib.sha256(hasher.digest()).digest()


def _fill(tree: MerkleTree, held: Held, start: int) -> None:
    """Prove all leaves, by the page."""
    for leaf in range(tree.num_leaves):
        while (page := tree.missing_page(leaf)) is not None:
            tree.accept(page, held.tree(start, tree.page_range(page)))


def _load(paths: dict[str, str]) -> list[Held]:
    shares = []
    for shnum, path in paths.items():
        share = memoryview(ShareFile(path).read_share_data(0, EVERYTHING))
        shares.append(Held(int(shnum), share, parse_header(bytes(share[: 4 * HASH_SIZE]))))
    return sorted(shares, key=lambda held: held.shnum)


class Prover:
    """Jobs by name."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}

    def obey(self, order: orders.Order) -> orders.Answer:
        """``forget`` all jobs, ``load`` one and try it, ``prove`` one against the clock."""
        if "forget" in order:
            self._jobs.clear()
            return {}
        if "load" in order:
            return self._take(**order["load"])
        job, times = self._jobs[order["prove"]], Times()
        began, cpu_s = time.perf_counter(), time.process_time()
        job.run(times)
        answer = {"wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu_s}
        job.check_blocks(times)
        steps = {step: getattr(times, step) for step in Times.__slots__ if step.endswith("_s")}
        return {**answer, "steps": steps}

    def _take(self, name: str, cap: str, paths: dict[str, str], sha256: str) -> orders.Answer:
        job = Job(uri.CHKFileURI.init_from_string(cap.encode("ascii")), _load(paths))
        output = hashlib.sha256()
        job.run(Times(), output)
        if output.hexdigest() != sha256:
            raise WrongShareError("the shares give another file than was uploaded")
        self._jobs[name] = job
        return {}


if __name__ == "__main__":
    orders.run_plain(Prover().obey)
