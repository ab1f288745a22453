"""Sizes, held against Tahoe's own arithmetic and a naive model."""

from __future__ import annotations

from types import SimpleNamespace

from allmydata.immutable.downloader.node import DownloadNode
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tahoe_fastdl.core.geometry import (
    MAX_SEGMENTS,
    Geometry,
    ceil_div,
    mask_of,
    next_power_of_two,
)
from tahoe_fastdl.errors import FileTooLarge, MalformedUEB

from .sharemaker import encode, segment_size_of
from .strategies import examples

MIB = 1024 * 1024
LIKELY = (MIB, 128 * 1024)


def tahoe_sizes(size: int, k: int, segment_size: int) -> dict[str, int]:
    """What Tahoe's downloader computes for a file."""
    node = SimpleNamespace(_verifycap=SimpleNamespace(size=size, needed_shares=k))
    sizes: dict[str, int] = DownloadNode._calculate_sizes(node, segment_size)
    return sizes


def our_sizes(geometry: Geometry) -> dict[str, int]:
    """The same of ours."""
    return {
        "tail_segment_size": geometry.tail_segment_size,
        "tail_segment_padded": geometry.tail_block_size * geometry.k,
        "num_segments": geometry.num_segments,
        "block_size": geometry.block_size,
        "tail_block_size": geometry.tail_block_size,
    }


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    """Files of some segments."""
    k = draw(st.integers(1, 255))
    segment_size = k * draw(st.integers(1, 50))
    size = draw(st.integers(1, 12 * segment_size))
    return Geometry.of(size, k, draw(st.integers(k, 256)), segment_size)


class AgainstTahoe(SynchronousTestCase):
    """Same numbers as ``allmydata``."""

    def test_every_k(self) -> None:
        """For each k and sizes a byte around each boundary all sizes are Tahoe's."""
        for k in range(1, 256):
            for blocks in (1, 2, 7):
                segment_size = k * blocks
                around = (1, k, segment_size, 2 * segment_size, 5 * segment_size)
                for size in {edge + d for edge in around for d in (-1, 0, 1)} - {0}:
                    geometry = Geometry.of(size, k, 256, segment_size)
                    self.assertEqual(tahoe_sizes(size, k, segment_size), our_sizes(geometry))

    def test_any(self) -> None:
        """For any file all sizes are Tahoe's, up to many gigabytes."""

        @examples(200)
        @given(st.integers(1, 2**45), st.integers(1, 255), st.integers(1, 2**22))
        def check(size: int, k: int, block_size: int) -> None:
            segment_size = k * block_size
            if ceil_div(size, segment_size) <= MAX_SEGMENTS:
                geometry = Geometry.of(size, k, 255, segment_size)
                self.assertEqual(tahoe_sizes(size, k, segment_size), our_sizes(geometry))

        check()

    def test_guess(self) -> None:
        """The guess for an uploader's maximum is the segment size that uploader picks."""

        @examples(200)
        @given(st.integers(1, 10_000), st.integers(1, 255), st.integers(1, 5000))
        def check(size: int, k: int, max_segment_size: int) -> None:
            guess = Geometry.guess(size, k, 255, max_segment_size)
            self.assertEqual(segment_size_of(size, k, max_segment_size), guess.segment_size)

        check()

    def test_max_segment_size(self) -> None:
        """What a file of some segments tells fits the next file, of whatever k; of one, nothing."""

        @examples(200)
        @given(
            st.integers(1, 10**8), st.integers(1, 255), st.integers(1, 255), st.sampled_from(LIKELY)
        )
        def check(size: int, k: int, other_k: int, allowed: int) -> None:
            known = Geometry.guess(size, k, k, allowed).max_segment_size(LIKELY)
            if known is None:
                self.assertLessEqual(size, -(-allowed // k) * k)
                return
            guessed = Geometry.guess(10**7, other_k, other_k, known)
            self.assertEqual(guessed, Geometry.guess(10**7, other_k, other_k, allowed))

        check()
        self.assertEqual(Geometry.of(100, 5, 5, 35).max_segment_size(LIKELY), 35)

    def test_expect_of_next(self) -> None:
        """A file of one segment tells only that a smaller size was wrong."""
        for size, allowed, expected, told in (
            (10**7, 131072, MIB, 131072),
            (10**5, MIB, 131072, 131072),
            (10**6, MIB, 131072, MIB),
            (10**6, MIB, MIB, MIB),
            (10**6, MIB, 9 * MIB, 9 * MIB),
            (5 * MIB, 8 * MIB, MIB, 5 * MIB),
        ):
            geometry = Geometry.guess(size, 1, 1, allowed)
            self.assertEqual(told, geometry.expect_of_next(expected, LIKELY), (size, expected))

    def test_real_shares(self) -> None:
        """Blocks lie in a real share where the geometry says, and end where its data ends."""
        for size, k, segment_size in ((1, 1, 1), (1000, 3, 99), (999, 3, 99), (5, 7, 70)):
            file = encode(size, k, k + 1, segment_size)
            geometry = Geometry.of(size, k, k + 1, file.segment_size)
            start, stop = file.parts["data"]
            self.assertEqual(stop - start, geometry.share_data_size)
            for segnum in range(geometry.num_segments):
                first, last = file.block_range(segnum)
                self.assertEqual(first - start, geometry.block_start(segnum))
                self.assertEqual(last - first, geometry.block_length(segnum))


class Model(SynchronousTestCase):
    """Against counting byte by byte."""

    def test_segments_add_up(self) -> None:
        """Segments and blocks follow each other without gap and fill file and share."""

        @examples(200)
        @given(geometries())
        def check(geometry: Geometry) -> None:
            file_position = share_position = 0
            for segnum in range(geometry.num_segments):
                self.assertEqual(file_position, geometry.segment_start(segnum))
                self.assertEqual(share_position, geometry.block_start(segnum))
                self.assertGreater(geometry.segment_length(segnum), 0)
                file_position += geometry.segment_length(segnum)
                share_position += geometry.block_length(segnum)
            self.assertEqual(geometry.size, file_position)
            self.assertEqual(geometry.size, geometry.segment_start(geometry.num_segments))
            self.assertEqual(geometry.share_data_size, share_position)
            self.assertEqual(share_position, geometry.block_start(geometry.num_segments))

        check()

    def test_segments_of(self) -> None:
        """The segments of a range are those that have a byte of it."""

        @examples(300)
        @given(geometries(), st.data())
        def check(geometry: Geometry, data: st.DataObject) -> None:
            start = data.draw(st.integers(0, geometry.size))
            stop = data.draw(st.integers(start, geometry.size))
            touched = [
                segnum
                for segnum in range(geometry.num_segments)
                if max(start, geometry.segment_start(segnum))
                < min(stop, geometry.segment_start(segnum + 1))
            ]
            self.assertEqual(touched, list(range(*geometry.segments_of(start, stop))))

        check()

    def test_whole_blocks(self) -> None:
        """The whole blocks of a span are those that lie in it from end to end."""

        @examples(300)
        @given(geometries(), st.data())
        def check(geometry: Geometry, data: st.DataObject) -> None:
            most = geometry.share_data_size + 20
            start = data.draw(st.integers(-20, most))
            stop = data.draw(st.integers(start, most))
            inside = [
                segnum
                for segnum in range(geometry.num_segments)
                if start <= geometry.block_start(segnum)
                and geometry.block_start(segnum + 1) <= stop
            ]
            self.assertEqual(inside, list(range(*geometry.whole_blocks(start, stop))))

        check()

    def test_helpers(self) -> None:
        """Rounding and masks are what counting gives."""
        for number in range(1, 300):
            power = next_power_of_two(number)
            self.assertTrue(power >= number > power // 2 and bin(power).count("1") == 1)
            self.assertEqual(-(-number // 7), ceil_div(number, 7))
            self.assertEqual(sum(1 << bit for bit in range(3, 3 + number)), mask_of(3, 3 + number))
        self.assertEqual(0, mask_of(5, 5))


class Refused(SynchronousTestCase):
    """What no encoder makes."""

    def test_segment_size(self) -> None:
        """A segment size that is no positive multiple of k is the uploader's fault."""
        for segment_size in (-3, 0, 1, 2, 4, 100):
            self.assertRaises(MalformedUEB, Geometry.of, 10, 3, 5, segment_size)

    def test_too_many_segments(self) -> None:
        """One segment more than the books have room for is refused, so many are not."""
        self.assertEqual(MAX_SEGMENTS, Geometry.of(3 * MAX_SEGMENTS, 3, 5, 3).num_segments)
        self.assertRaises(FileTooLarge, Geometry.of, 3 * MAX_SEGMENTS + 1, 3, 5, 3)
