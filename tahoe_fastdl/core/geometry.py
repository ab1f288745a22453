"""Sizes of one file and its shares.

Pure and frozen.  All lengths and positions are bytes; segment numbers count
from 0.  Source: Tahoe-LAFS docs/specifications/file-encoding.rst, and the
sizes that ``allmydata.immutable.encode`` and ``downloader.node`` compute.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from ..errors import FileTooLarge, MalformedUEB

# Masks hold a bit a segment, so this bounds one mask at 512 KiB.  2**22
# segments are 512 GiB of the smallest segments any Tahoe wrote by default.
MAX_SEGMENTS = 2**22


def ceil_div(numerator: int, denominator: int) -> int:
    """``numerator / denominator`` rounded up; both are >= 0, > 0."""
    return -(-numerator // denominator)


def next_power_of_two(number: int) -> int:
    """The smallest power of two that is at least *number* (>= 1)."""
    return 1 << (number - 1).bit_length()


def mask_of(first: int, stop: int) -> int:
    """The bits ``[first, stop)``."""
    return (1 << stop) - (1 << first)


@frozen
class Geometry:
    """Where segments and blocks lie.  Make it with :meth:`of` or :meth:`guess`."""

    size: int
    k: int
    n: int
    segment_size: int
    num_segments: int
    block_size: int
    tail_segment_size: int
    tail_block_size: int
    share_data_size: int  # bytes of blocks in one share, whatever the segment size

    @classmethod
    def of(cls, size: int, k: int, n: int, segment_size: int) -> Geometry:
        """The geometry of a file of *size* >= 1 bytes.

        :raise MalformedUEB: no encoder makes this segment size.
        :raise FileTooLarge: more than ``MAX_SEGMENTS`` segments.
        """
        if segment_size < 1 or segment_size % k:
            raise MalformedUEB(f"segment_size {segment_size} is not a positive multiple of k={k}")
        num_segments = ceil_div(size, segment_size)
        if num_segments > MAX_SEGMENTS:
            raise FileTooLarge(f"{num_segments} segments, at most {MAX_SEGMENTS} are supported")
        tail = size - (num_segments - 1) * segment_size
        return cls(
            size=size,
            k=k,
            n=n,
            segment_size=segment_size,
            num_segments=num_segments,
            block_size=segment_size // k,
            tail_segment_size=tail,
            tail_block_size=ceil_div(tail, k),
            share_data_size=ceil_div(size, k),
        )

    @classmethod
    def guess(cls, size: int, k: int, n: int, max_segment_size: int) -> Geometry:
        """What an uploader with this *max_segment_size* makes of the file."""
        return cls.of(size, k, n, ceil_div(min(size, max_segment_size), k) * k)

    def max_segment_size(self, likely: Sequence[int]) -> int | None:
        """What the uploader allowed, as far as the file tells: :meth:`guess` the other way round.

        :param likely: sizes that it probably was, for segments are rounded up to a
            multiple of k.
        :return: None of a file of one segment, which may have been allowed more.
        """
        if self.num_segments < 2:
            return None
        for size in likely:
            if ceil_div(size, self.k) * self.k == self.segment_size:
                return size
        return self.segment_size

    def expect_of_next(self, expected: int, likely: Sequence[int]) -> int:
        """The segment size to expect of the next file, after this one.

        :param expected: what was expected of this one, which a file of one segment
            refutes only if it is larger.
        """
        size = self.max_segment_size(likely)
        if size is None and self.size > expected:
            size = min((each for each in likely if each >= self.size), default=self.segment_size)
        return expected if size is None else size

    def block_start(self, segnum: int) -> int:
        """Where block *segnum* begins, from the start of the share's data.

        ``num_segments`` is allowed and gives the end of the data.
        """
        return min(segnum * self.block_size, self.share_data_size)

    def block_length(self, segnum: int) -> int:
        """Length of block *segnum* in every share."""
        return self.tail_block_size if segnum == self.num_segments - 1 else self.block_size

    def segment_start(self, segnum: int) -> int:
        """File position of segment *segnum*; ``num_segments`` gives the file's end."""
        return min(segnum * self.segment_size, self.size)

    def segment_length(self, segnum: int) -> int:
        """Length of segment *segnum* without padding."""
        return self.tail_segment_size if segnum == self.num_segments - 1 else self.segment_size

    def segments_of(self, start: int, stop: int) -> tuple[int, int]:
        """The segments ``[first, stop)`` that hold file bytes ``[start, stop)``."""
        if stop <= start:
            first = min(start // self.segment_size, self.num_segments)
            return first, first
        return start // self.segment_size, ceil_div(stop, self.segment_size)

    def whole_blocks(self, start: int, stop: int) -> tuple[int, int]:
        """The blocks ``[first, stop)`` wholly inside data bytes ``[start, stop)``."""
        first = ceil_div(max(start, 0), self.block_size)
        if stop >= self.share_data_size:
            last = self.num_segments
        else:
            last = max(stop, 0) // self.block_size
        first = min(first, self.num_segments)
        return first, max(first, last)
