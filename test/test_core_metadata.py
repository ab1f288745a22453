"""Finding the UEB and the ciphertext hashes in one share."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tahoe_fastdl.core.geometry import Geometry
from tahoe_fastdl.core.layout import V1_HEADER_SIZE, V2_HEADER_SIZE
from tahoe_fastdl.core.metadata import Metadata, merge
from tahoe_fastdl.core.share import Share
from tahoe_fastdl.errors import FileTooLarge, MalformedUEB

from .sharemaker import CRYPTTEXT, HEADER, UEB, EncodedFile, encode, flip, make_ueb
from .strategies import examples

HINT = 1024 * 1024


def metadata_of(file: EncodedFile, hint: int = HINT, size: int | None = None) -> Metadata:
    """What is known of a file before anything is read."""
    return Metadata(size or file.size, file.k, file.n, file.ueb_hash, hint)


def answer(share: Share, content: bytes, ranges: list[tuple[int, int]]) -> None:
    """The server's answers."""
    for start, stop in ranges:
        share.keep_fragment(start, stop, content[start:stop])


def seek_ueb(metadata: Metadata, content: bytes, first_byte: int = 0) -> tuple[Share, int]:
    """Ask one share for the UEB until it is here or hopeless; also how often it was asked."""
    share = Share(1, 0, 0)
    for rounds in range(10):
        needs = metadata.seek_ueb(share, first_byte)
        if not needs:
            return share, rounds
        assert all(0 <= start < stop for start, stop in needs)
        assert metadata.ueb is None
        answer(share, content, needs)
    raise AssertionError("asks for ever")


class TheUEB(SynchronousTestCase):
    """``seek_ueb``."""

    def test_first_guess(self) -> None:
        """A file with a common segment size, or the one seen last, takes one round."""
        for size, segment_size, hint in ((300_000, 131072, HINT), (3_000_000, 131072, HINT),
                                         (3_000_000, HINT, 131072), (5000, 99, 99)):  # fmt: skip
            file = encode(size, 3, 5, segment_size)
            metadata = metadata_of(file, hint)
            share, rounds = seek_ueb(metadata, file.shares[0])
            self.assertEqual(1, rounds)
            self.assertEqual(Geometry.of(size, 3, 5, file.segment_size), metadata.geometry)
            self.assertEqual(([], False), (metadata.faults, share.ueb_bad))

    def test_unusual(self) -> None:
        """Any other file takes three: guess, header, and where the header says."""
        for version in (1, 2):
            for size, segment_size in ((5000, 99), (300_000, 3000)):
                file = encode(size, 3, 5, segment_size, version=version)
                metadata = metadata_of(file)
                _share, rounds = seek_ueb(metadata, file.shares[0])
                self.assertLessEqual(rounds, 3)
                self.assertIsNotNone(metadata.ueb)

    def test_known_layout(self) -> None:
        """Once the share's header is known it is believed, and the UEB takes one round."""
        file = encode(5000, 3, 5, 99, version=2)
        metadata = metadata_of(file)
        share, _rounds = seek_ueb(metadata, file.shares[0])
        second = metadata_of(file)
        other = Share(2, 1, 0)
        other.layout = share.layout
        needs = second.seek_ueb(other, 0)
        answer(other, file.shares[1], needs)
        self.assertEqual([], second.seek_ueb(other, 0))
        self.assertIsNotNone(second.ueb)

    def test_brings_hashes(self) -> None:
        """The read that brings the UEB brings the hashes of where reading begins as well."""
        file = encode(5_000_000, 3, 5, 131072)
        metadata = metadata_of(file, 131072)
        share, _rounds = seek_ueb(metadata, file.shares[0], first_byte=4_000_000)
        assert metadata.tree is not None
        page = metadata.tree.missing_page(30)
        assert page is not None
        self.assertEqual([], metadata.seek_page(share, page))
        self.assertEqual(file.leaves[30], metadata.tree.leaf(30))

    def test_every_byte(self) -> None:
        """With any byte of header or UEB wrong the UEB is found all the same, or the share is
        given up and its server told; nothing is asked for ever."""
        for version, header in ((1, V1_HEADER_SIZE), (2, V2_HEADER_SIZE)):
            file = encode(5000, 3, 5, 99, version=version)
            ueb = file.parts[UEB]
            for position in (*range(header), *range(*ueb)):
                for mask in (1, 0x80):
                    metadata = metadata_of(file)
                    content = flip(file.shares[0], position, mask)
                    share, _rounds = seek_ueb(metadata, content)
                    self.assertEqual(metadata.ueb is None, share.ueb_bad)
                    self.assertEqual(share.ueb_bad, bool(metadata.faults))
                    if position >= ueb[0]:
                        self.assertTrue(share.ueb_bad)

    def test_every_truncation(self) -> None:
        """A share cut short anywhere is given up after a few rounds."""
        file = encode(300, 3, 5, 99)
        for length in range(len(file.shares[0])):
            for hint in (99, HINT):
                metadata = metadata_of(file, hint)
                share, rounds = seek_ueb(metadata, file.shares[0][:length])
                self.assertTrue(share.ueb_bad)
                self.assertLessEqual(rounds, 4)
                self.assertEqual([share], [fault.share for fault in metadata.faults])

    def test_junk(self) -> None:
        """Any bytes in a share's place are asked for a few times and given up."""
        file = encode(300, 3, 5, 99)

        @examples(200)
        @given(st.binary(max_size=400), st.sampled_from([0, 1, 2]))
        def check(content: bytes, version: int) -> None:
            metadata = metadata_of(file)
            share, _rounds = seek_ueb(metadata, version.to_bytes(4, "big") + content)
            self.assertTrue(share.ueb_bad)
            self.assertIsNone(metadata.ueb)

        check()

    def test_wrong_file(self) -> None:
        """A good share of another file is given up."""
        file, other = encode(5000, 3, 5, 99), encode(5000, 3, 5, 99, seed=1)
        metadata = metadata_of(file)
        share, _rounds = seek_ueb(metadata, other.shares[0])
        self.assertTrue(share.ueb_bad)

    def test_uploader_wrong(self) -> None:
        """A UEB that the cap vouches for and that makes no sense is raised, not given up."""
        hashes = {"crypttext_root_hash": bytes(32), "share_root_hash": bytes(32)}
        for fields in ({"segment_size": 99, "size": 301}, {"segment_size": 100}, {"size": 300}):
            file = encode(300, 3, 5, 99, ueb_override=make_ueb({**hashes, **fields}))
            self.assertRaises(MalformedUEB, seek_ueb, metadata_of(file, 99), file.shares[0])
        file = encode(300, 3, 5, 99, ueb_override=make_ueb({**hashes, "segment_size": 3}))
        metadata = metadata_of(file, 99, size=3 * 2**30)
        share = Share(1, 0, 0)
        for _ in range(2):
            answer(share, file.shares[0], metadata.seek_ueb(share, 0))
        self.assertRaises(FileTooLarge, seek_ueb, metadata, file.shares[0])

    def test_huge_size(self) -> None:
        """A cap that claims any size at all gives guesses, and none with too many segments."""
        for size in (1, 2**40, 2**50, 2**63):
            metadata = Metadata(size, 3, 10, bytes(32), 3)
            for guess in metadata.guesses:
                self.assertLessEqual(guess.num_segments, 2**22)
            self.assertEqual(not metadata.guesses, metadata.best_guess is None)


class Pages(SynchronousTestCase):
    """``seek_page``."""

    def opened(self, file: EncodedFile, hint: int = HINT) -> Metadata:
        """The UEB is here, from some other share."""
        metadata = metadata_of(file, hint)
        seek_ueb(metadata, file.shares[-1])
        assert metadata.tree is not None
        return metadata

    def seek(self, metadata: Metadata, content: bytes) -> Share:
        """Ask one share for the first page until it is here or hopeless."""
        assert metadata.tree is not None
        share = Share(1, 0, 0)
        for _ in range(6):
            page = metadata.tree.missing_page(0)
            if page is None:
                return share
            needs = metadata.seek_page(share, page)
            if not needs:
                return share
            answer(share, content, needs)
        raise AssertionError("asks for ever")

    def test_good(self) -> None:
        """Hashes come from a share of which nothing else is known, in either version."""
        for version in (1, 2):
            file = encode(5000, 3, 5, 99, version=version)
            metadata = self.opened(file)
            share = self.seek(metadata, file.shares[0])
            assert metadata.tree is not None
            self.assertEqual(file.leaves[7], metadata.tree.leaf(7))
            self.assertFalse(share.hashes_bad)

    def test_every_byte(self) -> None:
        """A wrong byte among the leaves is found out and told; what is not needed does no harm."""
        file = encode(900, 3, 5, 99)
        start, stop = file.parts[CRYPTTEXT]
        first_leaf = start + 32 * 15
        for position in range(start, stop):
            metadata = self.opened(file)
            share = self.seek(metadata, flip(file.shares[0], position))
            is_leaf = first_leaf <= position < first_leaf + 32 * file.num_segments
            self.assertEqual(is_leaf, share.hashes_bad, position)
            self.assertEqual(is_leaf, bool(metadata.faults))

    def test_every_truncation(self) -> None:
        """A share cut short before its leaves end is given up."""
        file = encode(900, 3, 5, 99)
        end = file.parts[CRYPTTEXT][0] + 32 * (15 + file.num_segments)
        for length in range(0, len(file.shares[0]), 7):
            metadata = self.opened(file)
            share = self.seek(metadata, file.shares[0][:length])
            self.assertEqual(length < end, share.hashes_bad, length)

    def test_wrong_header(self) -> None:
        """A header that leads elsewhere costs the share, not an endless search."""
        file = encode(900, 3, 5, 99)
        for position in range(*file.parts[HEADER]):
            for mask in (1, 0xFF):
                metadata = self.opened(file)
                share = self.seek(metadata, flip(file.shares[0], position, mask))
                assert metadata.tree is not None
                self.assertEqual(metadata.tree.leaf(0) is None, share.hashes_bad)


class Merging(SynchronousTestCase):
    """``merge``."""

    def test_model(self) -> None:
        """Merged ranges are ascending, further apart than the gap, and cover what went in."""
        ranges = st.lists(
            st.tuples(st.integers(0, 200), st.integers(1, 30)).map(lambda r: (r[0], r[0] + r[1]))
        )

        @examples(200)
        @given(ranges, st.integers(0, 20))
        def check(ranges: list[tuple[int, int]], gap: int) -> None:
            merged = merge(ranges, gap)
            wanted = {i for start, stop in ranges for i in range(start, stop)}
            covered = {i for start, stop in merged for i in range(start, stop)}
            self.assertTrue(wanted <= covered)
            for (_start, stop), (start, _stop) in zip(merged, merged[1:]):
                self.assertGreater(start, stop + gap)
            for start, stop in merged:
                self.assertTrue(start in wanted and stop - 1 in wanted)
                holes = "".join("x" if i in wanted else "." for i in range(start, stop))
                self.assertNotIn("." * (gap + 1), holes)

        check()
