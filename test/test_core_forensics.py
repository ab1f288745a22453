"""Which block lied: verdicts on blocks of real shares, damaged in every way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tahoe_fastdl.core.forensics import (
    MAX_COMBINATIONS,
    Evidence,
    Inquest,
    Verdict,
    check_whole,
    examine,
    read_layout,
    whole_share_length,
)
from tahoe_fastdl.core.geometry import Geometry
from tahoe_fastdl.core.layout import expected_layout
from tahoe_fastdl.core.share import Fragment, Share
from tahoe_fastdl.core.ueb import UEB, parse_ueb

from .sharemaker import (
    BLOCK_HASHES,
    CRYPTTEXT,
    DATA,
    HEADER,
    PLAINTEXT,
    SHARE_HASHES,
    EncodedFile,
    encode,
    flip,
)
from .sharemaker import UEB as UEB_PART
from .strategies import examples


def geometry_of(file: EncodedFile) -> Geometry:
    """The file's sizes."""
    return Geometry.of(file.size, file.k, file.n, file.segment_size)


def ueb_of(file: EncodedFile) -> UEB:
    """The file's UEB."""
    return parse_ueb(file.ueb, file.ueb_hash)


def judge(file: EncodedFile, content: bytes, segnum: int, shnum: int = 0) -> Evidence:
    """Hold one block of a share against what the share itself says, asking as needed."""
    geometry, ueb = geometry_of(file), ueb_of(file)
    share = Share(1, shnum, 0)
    data, _stop = file.parts[DATA]
    blocks = memoryview(content)[data : data + geometry.share_data_size]
    share.keep_blocks(geometry, 0, geometry.num_segments, blocks, (1 << geometry.num_segments) - 1,
                      len(blocks))  # fmt: skip
    for _ in range(10):
        evidence = examine(share, segnum, geometry, ueb)
        if not evidence.needs:
            return evidence
        assert evidence.verdict is None
        for start, stop in evidence.needs:
            assert 0 <= start < stop
            share.keep_fragment(start, stop, content[start:stop])
    raise AssertionError("asks for ever")


class Verdicts(SynchronousTestCase):
    """``examine``."""

    def test_good(self) -> None:
        """Every block of every good share is good, in both layouts and at any k and N."""
        for k, n, size, segment_size in ((1, 1, 1, 1), (3, 10, 1000, 99), (7, 7, 777, 700),
                                         (1, 2, 3000, 1)):  # fmt: skip
            for version in (1, 2):
                file = encode(size, k, n, segment_size, version=version)
                for shnum in range(n):
                    for segnum in {0, file.num_segments // 2, file.num_segments - 1}:
                        evidence = judge(file, file.shares[shnum], segnum, shnum)
                        self.assertIs(Verdict.GOOD, evidence.verdict, evidence)

    def test_every_byte_of_a_block(self) -> None:
        """A block with any byte wrong is bad, the others of its share are not."""
        file = encode(300, 3, 5, 99)
        for segnum in range(file.num_segments):
            start, stop = file.block_range(segnum)
            for position in range(start, stop):
                content = flip(file.shares[0], position)
                for other in range(file.num_segments):
                    evidence = judge(file, content, other)
                    expected = Verdict.BAD if other == segnum else Verdict.GOOD
                    self.assertIs(expected, evidence.verdict)
                    if other == segnum:
                        self.assertEqual((start, stop), evidence.culprit)

    def test_every_byte_of_the_proof(self) -> None:
        """With any byte of the chain or of the leaves wrong nothing can be proved, least of all
        that the block is bad; the culprit is the part that holds the byte."""
        file = encode(300, 3, 5, 99)
        leaves = file.parts[BLOCK_HASHES][0] + 32 * 3
        for position in (*range(*file.parts[SHARE_HASHES]), *range(leaves, leaves + 32 * 4)):
            evidence = judge(file, flip(file.shares[0], position), 1)
            self.assertIs(Verdict.UNPROVABLE, evidence.verdict, position)
            start, stop = evidence.culprit
            self.assertTrue(start <= position < stop, (position, evidence))

    def test_elsewhere(self) -> None:
        """Wrong bytes in parts that are not looked at change no verdict."""
        file = encode(300, 3, 5, 99)
        for part in (PLAINTEXT, CRYPTTEXT, UEB_PART):
            for position in range(*file.parts[part]):
                evidence = judge(file, flip(file.shares[0], position), 1)
                self.assertIs(Verdict.GOOD, evidence.verdict)

    def test_header(self) -> None:
        """A wrong header may make the share unprovable; it never makes a good block bad."""
        file = encode(300, 3, 5, 99)
        data_field = range(12, 16)
        for position in range(*file.parts[HEADER]):
            for mask in (1, 0x80, 0xFF):
                evidence = judge(file, flip(file.shares[0], position, mask), 1)
                if position not in data_field:
                    self.assertIsNot(Verdict.BAD, evidence.verdict)

    def test_every_truncation(self) -> None:
        """A share that ends before its proof is complete is unprovable."""
        file = encode(300, 3, 5, 99)
        end = file.parts[SHARE_HASHES][1]
        for length in range(file.parts[DATA][1], len(file.shares[0])):
            evidence = judge(file, file.shares[0][:length], 1)
            expected = Verdict.UNPROVABLE if length < end else Verdict.GOOD
            self.assertIs(expected, evidence.verdict)

    def test_wrong_share(self) -> None:
        """A share in another's place is unprovable."""
        file = encode(300, 3, 5, 99)
        self.assertIs(Verdict.UNPROVABLE, judge(file, file.shares[1], 0, shnum=0).verdict)

    def test_cost(self) -> None:
        """A second block of a share under one page of hashes needs nothing more."""
        file = encode(300, 3, 5, 99)
        geometry, ueb = geometry_of(file), ueb_of(file)
        share = Share(1, 0, 0)
        content = file.shares[0]
        share.keep_blocks(geometry, 0, 4, memoryview(content)[36:], 0b1111, 0)
        asked = 0
        while examine(share, 0, geometry, ueb).needs:
            for start, stop in examine(share, 0, geometry, ueb).needs:
                share.keep_fragment(start, stop, content[start:stop])
                asked += 1
        self.assertEqual(3, asked)
        for segnum in range(4):
            self.assertIs(Verdict.GOOD, examine(share, segnum, geometry, ueb).verdict)

    def test_given_up(self) -> None:
        """A share whose proof was found wanting is not asked again."""
        share = Share(1, 0, 0)
        share.proof_bad = True
        file = encode(300, 3, 5, 99)
        evidence = examine(share, 0, geometry_of(file), ueb_of(file))
        self.assertEqual((Verdict.UNPROVABLE, ()), (evidence.verdict, evidence.needs))


class Layouts(SynchronousTestCase):
    """``read_layout``."""

    def test_learned(self) -> None:
        """The header is asked for once, and then known."""
        file = encode(300, 3, 5, 99, version=2)
        share = Share(1, 0, 0)
        evidence = read_layout(share)
        assert evidence is not None
        ((start, stop),) = evidence.needs
        share.keep_fragment(start, stop, file.shares[0][start:stop])
        self.assertIsNone(read_layout(share))
        self.assertEqual(expected_layout(geometry_of(file), 2), share.layout)

    def test_nonsense(self) -> None:
        """A header of nonsense, or none at all, leaves the share unprovable."""
        for header in (b"", b"\0" * 68, b"\0\0\0\x01" + bytes(64), b"\xff" * 68):
            share = Share(1, 0, 0)
            share.keep_fragment(0, 68, header)
            evidence = read_layout(share)
            assert evidence is not None
            self.assertIs(Verdict.UNPROVABLE, evidence.verdict)
            self.assertIsNone(share.layout)


class Whole(SynchronousTestCase):
    """``check_whole``."""

    def faults(
        self, file: EncodedFile, content: bytes, version: int = 1
    ) -> list[tuple[int, str, int, int]]:
        """The check of a whole share."""
        geometry = geometry_of(file)
        return check_whole(
            Fragment(0, len(content) + 100, content), 0, expected_layout(geometry, version),
            geometry, ueb_of(file), list(range(geometry.num_segments)),
        )  # fmt: skip

    def test_good(self) -> None:
        """A good share has no faults, whatever its shape."""
        for size, k, segment_size in ((1, 1, 1), (1, 3, 3), (300, 3, 99), (1000, 3, 30)):
            for version in (1, 2):
                file = encode(size, k, 5, segment_size, version=version)
                self.assertEqual([], self.faults(file, file.shares[0], version))

    def test_every_byte(self) -> None:
        """A wrong byte in a block condemns that block; in a needed hash all that hang from it;
        elsewhere nothing."""
        file = encode(300, 3, 5, 99)
        for part, (start, stop) in file.parts.items():
            if part == HEADER:
                continue
            for position in range(start, stop):
                faults = self.faults(file, flip(file.shares[0], position))
                segments = [fault[0] for fault in faults]
                if part == DATA:
                    self.assertEqual([(position - start) // file.block_size], segments)
                elif part in (PLAINTEXT, UEB_PART):
                    self.assertEqual([], segments)
                elif part == SHARE_HASHES:
                    self.assertEqual([0, 1, 2, 3], segments)
                elif position >= start + 32 * 3:  # what lies above the leaves follows from them
                    self.assertTrue(segments, (part, position - start))
                for _segnum, _reason, first, last in faults:
                    self.assertTrue(0 <= first <= position < last)

    def test_every_truncation(self) -> None:
        """A share cut short before its hashes end is condemned whole."""
        file = encode(300, 3, 5, 99)
        for length in range(file.parts[SHARE_HASHES][1]):
            segments = [fault[0] for fault in self.faults(file, file.shares[0][:length])]
            self.assertEqual([0, 1, 2, 3], segments)

    def test_length(self) -> None:
        """The length of a whole share ends where its UEB begins."""
        for size, segment_size in ((1, 3), (300, 99), (1000, 30)):
            file = encode(size, 3, 5, segment_size)
            self.assertEqual(file.parts[UEB_PART][0], whole_share_length(geometry_of(file)))


class Guesses(SynchronousTestCase):
    """``Inquest.next_guess``."""

    def test_model(self) -> None:
        """Guesses are distinct, of k distinct share numbers, keep all that is proved, and end."""

        @examples(150)
        @given(
            st.integers(1, 4),
            st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.booleans()), max_size=8),
        )
        def check(k: int, holders: list[tuple[int, bool, bool]]) -> None:
            inquest = Inquest()
            by_share = {}
            for share, (shnum, is_good, has_block) in enumerate(holders):
                (inquest.good if is_good else inquest.unprovable).add(share)
                if has_block:
                    by_share[share] = shnum
            good = {by_share[share] for share in inquest.good if share in by_share}
            seen: list[list[int]] = []
            while (guess := inquest.next_guess(k, by_share)) is not None:
                numbers = [by_share[share] for share in guess]
                self.assertEqual(k, len(set(numbers)))
                self.assertEqual(k, len(numbers))
                self.assertTrue(set(numbers) <= good or good <= set(numbers))
                self.assertNotIn(sorted(guess), seen)
                seen.append(sorted(guess))
            self.assertEqual(len(set(by_share.values())) >= k, bool(seen))
            self.assertIsNone(inquest.next_guess(k, by_share))

        check()

    def test_bounded(self) -> None:
        """However many could be tried, only so many are."""
        inquest = Inquest(unprovable=set(range(100)))
        by_share = {share: share for share in range(100)}
        count = 0
        while inquest.next_guess(20, by_share) is not None:
            count += 1
        self.assertEqual(MAX_COMBINATIONS, count)
