"""One share on one server, as far as this download has seen it.

Pure.  Holds the ledger of its blocks, the blocks that arrived and are not yet
decoded, and the other bytes (header, hashes, UEB) that arrived with them or
for themselves.  It decides nothing: ``plan`` chooses what to ask, ``metadata``
and ``forensics`` read what they need through :meth:`Share.peek`.
"""

from __future__ import annotations

from attrs import define

from .geometry import Geometry, mask_of
from .layout import Layout
from .ledger import Ledger
from .merkle import MerkleTree


@define(eq=False)
class Fragment:
    """Share bytes ``[start, start + len(data))`` of a read up to *asked_stop*."""

    start: int
    asked_stop: int
    data: bytes
    is_reserved: bool = True  # for itself, and not for a buffer that has the same bytes

    def peek(self, start: int, length: int) -> bytes | None:
        """Share bytes ``[start, start + length)`` if this answer has them all."""
        skip = start - self.start
        if skip >= 0 and skip + length <= len(self.data):
            return self.data[skip : skip + length]
        return None


@define(eq=False)
class Buffer:
    """Blocks ``[first, stop)`` of one answer, *live* ones still needed.

    ``reserved_bytes`` of the budget go back when the last block is used up.
    """

    first: int
    stop: int
    blocks: memoryview
    live: int
    reserved_bytes: int


class Share:
    """What is known of share *shnum* on one server."""

    def __init__(self, share: int, shnum: int, server: int) -> None:
        self.id = share
        self.shnum = shnum
        self.server = server
        self.ledger = Ledger()
        self.layout: Layout | None = None  # read from its own header
        self.retired = False  # the server failed or the header is nonsense
        self.suspect = False  # a block of it was proved wrong
        self.late = 0  # blocks asked for, late, and asked of others as well
        self.ueb_bad = False
        self.hashes_bad = False  # its ciphertext hash tree did not check out
        self.block_tree: MerkleTree | None = None  # proved by its share hash chain
        self.proof_bad = False  # its own hashes cannot prove its blocks
        self.data_start = -1  # where the held blocks were taken to begin
        self.evidence_open = False  # a verdict waits for more of its bytes
        self._fragments: list[Fragment] = []
        self._buffers: list[Buffer] = []

    def forgive(self) -> None:
        """A reader failed and another comes: what was wrong may have been mended."""
        self.ledger.on_forgiven()
        self.ueb_bad = self.hashes_bad = self.proof_bad = False
        self.layout = self.block_tree = None
        self.data_start = -1

    def rest(self) -> None:
        """Nobody reads any more: keep what is known, forget what was held."""
        self.ledger.on_unwanted(self.ledger.wanted | self.ledger.have)
        self.ledger.on_lost(self.ledger.pending)
        self.late = 0
        self.evidence_open = False
        self._buffers.clear()
        self._fragments.clear()

    # -- bytes that are not blocks --------------------------------------------

    def keep_fragment(self, start: int, asked_stop: int, data: bytes) -> None:
        """Remember an answer for :meth:`peek`."""
        self._fragments.append(Fragment(start, asked_stop, data))

    def fragments(self) -> list[Fragment]:
        """The answers that are remembered."""
        return list(self._fragments)

    def drop_fragments(self) -> int:
        """Forget all of them; the bytes that freed."""
        freed = sum(len(f.data) for f in self._fragments if f.is_reserved)
        self._fragments.clear()
        return freed

    def peek(self, start: int, length: int) -> bytes | None:
        """Share bytes ``[start, start + length)`` if one answer has them all."""
        for fragment in self._fragments:
            data = fragment.peek(start, length)
            if data is not None:
                return data
        return None

    def was_asked(self, start: int, length: int) -> bool:
        """Whether an answer should have held ``[start, start + length)``.

        With :meth:`peek` returning None that means the share ends before.
        """
        return any(f.start <= start and start + length <= f.asked_stop for f in self._fragments)

    # -- blocks ---------------------------------------------------------------

    def assigned(self) -> int:
        """Blocks this share gives or is counted on to give."""
        return (self.ledger.wanted | self.ledger.have) & ~self.ledger.bad & ~self.late

    def expected(self) -> int:
        """Blocks that are not here and that this share was or will be asked for."""
        return (self.ledger.wanted | self.ledger.pending) & ~(self.ledger.have | self.ledger.bad)

    def potential(self) -> int:
        """Blocks that may still come from what was asked, late ones included."""
        return (self.ledger.wanted | self.ledger.have | self.ledger.pending) & ~self.ledger.bad

    def keep_blocks(
        self,
        geometry: Geometry,
        first: int,
        stop: int,
        data: memoryview,
        live: int,
        reserved_bytes: int,
    ) -> None:
        """Keep the blocks ``[first, stop)``; *data* begins with block *first*."""
        length = geometry.block_start(stop) - geometry.block_start(first)
        self._buffers.append(Buffer(first, stop, data[:length], live, reserved_bytes))

    def block_run(self, segnum: int, stop: int) -> int:
        """How far one buffer holds blocks ``[segnum, ...)``, at most to *stop*."""
        buffer = self._buffer_of(segnum)
        if buffer is None:
            return segnum
        gaps = ~buffer.live & mask_of(segnum, buffer.stop)
        end = buffer.stop if not gaps else (gaps & -gaps).bit_length() - 1
        return min(stop, end)

    def blocks(self, geometry: Geometry, first: int, stop: int) -> memoryview:
        """The blocks ``[first, stop)``; :meth:`block_run` said they are here."""
        buffer = self._buffer_of(first)
        assert buffer is not None and stop <= buffer.stop
        base = geometry.block_start(buffer.first)
        return buffer.blocks[geometry.block_start(first) - base : geometry.block_start(stop) - base]

    def _buffer_of(self, segnum: int) -> Buffer | None:
        for buffer in self._buffers:
            if buffer.live >> segnum & 1:
                return buffer
        return None

    def would_free(self, mask: int) -> int:
        """The reserved bytes that :meth:`use_up` would free."""
        return sum(
            buffer.reserved_bytes
            for buffer in self._buffers
            if buffer.live and not buffer.live & ~mask
        )

    def use_up(self, mask: int) -> int:
        """These held blocks are not needed any more; the reserved bytes that freed."""
        freed = 0
        for buffer in self._buffers:
            buffer.live &= ~mask
            if not buffer.live:
                freed += buffer.reserved_bytes
        if freed or any(not buffer.live for buffer in self._buffers):
            self._buffers = [buffer for buffer in self._buffers if buffer.live]
        return freed
