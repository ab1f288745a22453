"""Share headers, held against those Tahoe writes; and headers nobody writes."""

from __future__ import annotations

import struct

from allmydata.immutable.layout import FileTooLargeError, WriteBucketProxy, WriteBucketProxy_v2
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tahoe_fastdl.core.geometry import Geometry
from tahoe_fastdl.core.layout import (
    CHAIN_ENTRY_SIZE,
    MAX_UEB_SIZE,
    V1_HEADER_SIZE,
    V2_HEADER_SIZE,
    Layout,
    expected_layout,
    parse_header,
)
from tahoe_fastdl.errors import LayoutInvalid

from .sharemaker import PARTS, encode, flip
from .strategies import examples


def tahoe_writer(geometry: Geometry, version: int) -> WriteBucketProxy:
    """Tahoe's writer of a share of this geometry."""
    return (WriteBucketProxy if version == 1 else WriteBucketProxy_v2)(
        None, None, geometry.share_data_size, geometry.block_size, geometry.num_segments,
        (geometry.n - 1).bit_length() + 1, 300,
    )  # fmt: skip


def as_layout(writer: WriteBucketProxy, version: int) -> Layout:
    """Where Tahoe's writer puts the parts."""
    return Layout(version, *(writer._offsets[part] for part in PARTS[1:] if part[0] != "p"))


class Expected(SynchronousTestCase):
    """Where the parts of a share lie."""

    def check(self, geometry: Geometry) -> None:
        """Ours is Tahoe's, in both versions and in the one Tahoe picks."""
        for version in (1, 2):
            try:
                writer = tahoe_writer(geometry, version)
            except FileTooLargeError:
                self.assertEqual(2, expected_layout(geometry).version)
                continue
            layout = as_layout(writer, version)
            self.assertEqual(layout, expected_layout(geometry, version))
            self.assertEqual(layout, parse_header(writer._offset_data))
            self.assertEqual(writer.fieldsize, layout.field_size)
            self.assertEqual(
                CHAIN_ENTRY_SIZE * ((geometry.n - 1).bit_length() + 1),
                layout.share_hashes_length(),
            )
            if version == 1:
                self.assertEqual(layout, expected_layout(geometry))

    def test_every_n(self) -> None:
        """For every N the share hash chain has the length Tahoe gives it."""
        for n in range(1, 257):
            self.check(Geometry.of(1000, 1, n, 100))

    def test_any(self) -> None:
        """For any file the parts lie where Tahoe puts them."""

        @examples(200)
        @given(st.integers(1, 2**42), st.integers(1, 255), st.integers(2**14, 2**21))
        def check(size: int, k: int, block_size: int) -> None:
            self.check(Geometry.guess(size, k, 255, max(size // 2**20, k * block_size)))

        check()

    def test_around_the_limit_of_version_1(self) -> None:
        """Version 2 begins at the very byte at which Tahoe's encoder changes over."""
        k, segment_size = 3, 3 * 2**20
        low, high = 1, 2**36

        def is_version_1(size: int) -> bool:
            try:
                tahoe_writer(Geometry.of(size, k, 10, segment_size), 1)
            except FileTooLargeError:
                return False
            return True

        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if is_version_1(middle) else (low, middle)
        for size in range(low - 5, low + 6):
            self.check(Geometry.of(size, k, 10, segment_size))
        self.assertEqual(1, expected_layout(Geometry.of(low, k, 10, segment_size)).version)
        self.assertEqual(2, expected_layout(Geometry.of(low + 1, k, 10, segment_size)).version)


class Headers(SynchronousTestCase):
    """Bytes from a server."""

    def setUp(self) -> None:
        files = [encode(1000, 3, 10, 99, version=version) for version in (1, 2)]
        self.headers = [
            (version, file.shares[0][:size])
            for version, size, file in zip((1, 2), (V1_HEADER_SIZE, V2_HEADER_SIZE), files)
        ]

    def test_every_prefix(self) -> None:
        """A header cut short is refused, wherever it is cut."""
        for _version, header in self.headers:
            for length in range(len(header)):
                self.assertRaises(LayoutInvalid, parse_header, header[:length])

    def test_trailing_junk(self) -> None:
        """What follows the header changes nothing."""
        for version, header in self.headers:
            layout = parse_header(header)
            self.assertEqual(version, layout.version)
            for junk in (b"\0", b"\xff" * 100, header):
                self.assertEqual(layout, parse_header(header + junk))

    def test_every_byte(self) -> None:
        """Any byte may be any other: there is a layout, or LayoutInvalid, and no other error."""
        for _version, header in self.headers:
            for position in range(len(header)):
                for mask in (1, 0x80, 0xFF):
                    try:
                        layout = parse_header(flip(header, position, mask))
                    except LayoutInvalid:
                        continue
                    self.assertGreaterEqual(layout.data, V1_HEADER_SIZE)
                    self.assertLess(layout.data, 2**62)

    def test_unused_fields(self) -> None:
        """Block size, data size and the plaintext tree's place are ignored, as by stock."""
        for unused, (_version, header) in zip(
            ((*range(4, 12), *range(16, 20)), (*range(4, 20), *range(28, 36))), self.headers
        ):
            for position in unused:
                self.assertEqual(parse_header(header), parse_header(flip(header, position, 0xFF)))

    def test_junk(self) -> None:
        """Any bytes give a layout or LayoutInvalid."""

        @examples(300)
        @given(st.integers(0, 3), st.binary(max_size=100))
        def check(version: int, rest: bytes) -> None:
            try:
                layout = parse_header(struct.pack(">L", version) + rest)
            except LayoutInvalid:
                return
            self.assertIn(version, (1, 2))
            self.assertEqual(version, layout.version)

        check()

    def test_unknown_version(self) -> None:
        """Versions 0 and 3 are refused and named."""
        for version in (0, 3, 2**32 - 1):
            error = self.assertRaises(LayoutInvalid, parse_header, struct.pack(">L96x", version))
            self.assertIn(str(version), str(error))


class Lengths(SynchronousTestCase):
    """The two lengths that a share gives itself."""

    def test_ueb(self) -> None:
        """A UEB's length is from 1 to MAX_UEB_SIZE; 0 and 2 GiB are refused."""
        layouts = [expected_layout(Geometry.of(10, 1, 1, 10), version) for version in (1, 2)]
        for layout in layouts:
            for length in (1, 330, MAX_UEB_SIZE):
                field = length.to_bytes(layout.field_size, "big")
                self.assertEqual(length, layout.ueb_length(field))
            for length in (0, MAX_UEB_SIZE + 1, 2**31, 2**32 - 1):
                field = length.to_bytes(layout.field_size, "big")
                self.assertRaises(LayoutInvalid, layout.ueb_length, field)

    def test_share_hashes(self) -> None:
        """A share hash chain that is empty, ragged, backwards or huge is refused."""
        for length in (-34, -1, 0, 1, 33, 35, 513 * 34, 2**40):
            layout = Layout(1, 36, 100, 200, 300, 300 + length)
            self.assertRaises(LayoutInvalid, layout.share_hashes_length)
        for entries in (1, 9, 512):
            layout = Layout(1, 36, 100, 200, 300, 300 + 34 * entries)
            self.assertEqual(34 * entries, layout.share_hashes_length())
