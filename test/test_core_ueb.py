"""URI extension blocks: Tahoe's, and what hostile or broken uploaders write."""

from __future__ import annotations

from allmydata import uri
from allmydata.util import hashutil
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tahoe_fastdl.core.ueb import UEB, parse_ueb, unpack
from tahoe_fastdl.errors import BadHash, MalformedUEB

from .sharemaker import encode, flip, make_ueb
from .strategies import examples


def vouched(data: bytes) -> UEB:
    """Parse *data* as if the cap named it."""
    return parse_ueb(data, hashutil.uri_extension_hash(data))


class Real(SynchronousTestCase):
    """UEBs that Tahoe's code writes."""

    def test_fields(self) -> None:
        """All fields are those ``uri.unpack_extension`` finds, and ours have their values."""
        file = encode(1000, 3, 10, 99)
        theirs = uri.unpack_extension(file.ueb)
        ours = unpack(file.ueb)
        self.assertEqual(set(theirs), {key.decode() for key in ours})
        ueb = vouched(file.ueb)
        self.assertEqual(theirs["segment_size"], ueb.segment_size)
        self.assertEqual(theirs["size"], ueb.size)
        self.assertEqual(theirs["crypttext_root_hash"], ueb.crypttext_root_hash)
        self.assertEqual(theirs["share_root_hash"], ueb.share_root_hash)

    def test_round_trip(self) -> None:
        """Whatever ``uri.pack_extension`` packs is unpacked, separators in values included."""

        @examples(200)
        @given(
            st.dictionaries(
                st.text("abcdefghijklmnopqrstuvwxyz_-", min_size=1),
                st.one_of(st.binary(), st.integers(0, 2**64)),
            )
        )
        def check(fields: dict[str, int | bytes]) -> None:
            expected = {
                key.encode(): value if isinstance(value, bytes) else b"%d" % value
                for key, value in fields.items()
            }
            self.assertEqual(expected, unpack(make_ueb(fields)))

        check()

    def test_more_fields(self) -> None:
        """Fields of the future are ignored."""
        file = encode(1000, 3, 10, 99)
        more = dict(uri.unpack_extension(file.ueb), zebra=b":,:", aardvark=12)
        self.assertEqual(vouched(file.ueb), vouched(make_ueb(more)))

    def test_old_fields(self) -> None:
        """Only what the download needs has to be there."""
        ueb = make_ueb(
            {"segment_size": 99, "crypttext_root_hash": b"c" * 32, "share_root_hash": b"s" * 32}
        )
        self.assertEqual(UEB(99, None, b"c" * 32, b"s" * 32), vouched(ueb))


class Bad(SynchronousTestCase):
    """UEBs that are the share's fault, or the uploader's."""

    def setUp(self) -> None:
        self.file = encode(1000, 3, 10, 99)

    def test_not_what_the_cap_names(self) -> None:
        """Any other bytes are the share's fault: flipped, cut short or with junk behind."""
        data, expected = self.file.ueb, self.file.ueb_hash
        for position in range(len(data)):
            self.assertRaises(BadHash, parse_ueb, flip(data, position), expected)
            self.assertRaises(BadHash, parse_ueb, data[:position], expected)
        self.assertRaises(BadHash, parse_ueb, data + b"\0", expected)

    def test_vouched_and_cut_short(self) -> None:
        """A UEB that the cap vouches for is the uploader's fault wherever it is cut short,
        unless it ends with a field and has all we need."""
        whole = vouched(self.file.ueb)
        for length in range(len(self.file.ueb)):
            try:
                ueb = vouched(self.file.ueb[:length])
            except MalformedUEB:
                continue
            self.assertEqual(b",", self.file.ueb[length - 1 : length])
            self.assertGreaterEqual(length, self.file.ueb.index(b"share_root_hash") + 32)
            self.assertEqual(whole.segment_size, ueb.segment_size)

    def test_vouched_and_flipped(self) -> None:
        """With any byte flipped it is readable or MalformedUEB, never another error."""
        refused = 0
        for position in range(len(self.file.ueb)):
            for mask in (1, 0x10, 0x80):
                try:
                    vouched(flip(self.file.ueb, position, mask))
                except MalformedUEB:
                    refused += 1
        self.assertGreater(refused, 100)

    def test_vouched_junk(self) -> None:
        """Any bytes at all are MalformedUEB at worst."""
        pieces = st.lists(
            st.sampled_from([b":", b",", b"0", b"9", b"-", b"segment_size", b"size", b"\xff", b" "])
        ).map(b"".join)

        @examples(300)
        @given(st.one_of(st.binary(), pieces))
        def check(data: bytes) -> None:
            self.assertRaises(MalformedUEB, vouched, data)

        check()

    def test_numbers(self) -> None:
        """Numbers that are empty, signed, huge or no numbers are refused, in any field we read."""
        hashes = {"crypttext_root_hash": bytes(32), "share_root_hash": bytes(32)}
        for text in (b"", b"-1", b"+1", b" 1", b"1_0", b"0x10", b"9" * 21, b"9" * 10_000, b"\xb2"):
            for name in ("segment_size", "size"):
                fields = {"segment_size": b"3", "size": b"3", **hashes, name: text}
                self.assertRaises(MalformedUEB, vouched, make_ueb(fields))

    def test_huge_lengths(self) -> None:
        """A field's length past the end, or with thousands of digits, is refused."""
        for length in (b"5", b"99999999999999999999", b"9" * 5000, b"", b"-1"):
            self.assertRaises(MalformedUEB, unpack, b"key:" + length + b":abcd,")

    def test_missing(self) -> None:
        """Each of the fields we need is missed when it is not there, or has a wrong length."""
        fields = {"segment_size": 3, "crypttext_root_hash": bytes(32), "share_root_hash": bytes(32)}
        vouched(make_ueb(fields))
        for name in fields:
            less = {key: value for key, value in fields.items() if key != name}
            self.assertRaises(MalformedUEB, vouched, make_ueb(less))
        for name in ("crypttext_root_hash", "share_root_hash"):
            for length in (0, 31, 33):
                wrong = {**fields, name: bytes(length)}
                self.assertRaises(MalformedUEB, vouched, make_ueb(wrong))
