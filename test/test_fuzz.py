"""The fuzzer's corpus, replayed: what was found once is tried in every run of the tests.

``python3 misc/fuzz`` looks for more; see ``misc/fuzz/targets.py`` for the laws.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from misc.fuzz import targets
from misc.fuzz.targets import HONEST_SHARE, SEGMENT_SIZE, SIZE, K, N
from tahoe_fastdl.core.merkle import MerkleTree
from tahoe_fastdl.errors import BadHash

from .sharemaker import encode
from .strategies import examples

MOST_BYTES = 200_000


class Corpus(SynchronousTestCase):
    """Each target with its corpus, and with what is near it."""

    def replay(self, name: str) -> None:
        """Every input of the corpus, as it is, cut, and with some bytes changed."""
        target, inputs = targets.TARGETS[name], [p.read_bytes() for p in targets.seeds(name)]
        self.assertGreater(len(inputs), 3)
        for data in inputs:
            target(data)

        @examples(300)
        @given(
            st.sampled_from(inputs),
            st.lists(st.tuples(st.integers(0, 5000), st.binary(max_size=9)), max_size=4),
            st.integers(0, 5000),
        )
        def near(data: bytes, edits: list[tuple[int, bytes]], length: int) -> None:
            for position, new in edits:
                at = position % (len(data) + 1)
                data = data[:at] + new + data[at + len(new) :]
            target(data)
            target(data[: length % (len(data) + 1)])

        near()

    def test_header(self) -> None:
        """Headers of shares."""
        self.replay("header")

    def test_ueb(self) -> None:
        """UEBs that a cap vouches for."""
        self.replay("ueb")

    def test_chain(self) -> None:
        """Share hash chains."""
        self.replay("chain")

    def test_page(self) -> None:
        """Pages of hashes."""
        self.replay("page")

    def test_share(self) -> None:
        """Whole shares, damaged."""
        self.replay("share")

    def test_every_target_has_its_corpus(self) -> None:
        """No folder without a target, and small enough to be kept."""
        folders = {path.name for path in targets.CORPUS.iterdir() if path.is_dir()}
        self.assertEqual(folders, set(targets.TARGETS))
        files = [path for path in targets.CORPUS.rglob("*") if path.is_file()]
        self.assertLess(sum(path.stat().st_size for path in files), MOST_BYTES)

    def test_the_honest_share(self) -> None:
        """It is what Tahoe's encoder would write."""
        self.assertEqual(
            encode(SIZE, K, N, SEGMENT_SIZE).shares[0].hex(), HONEST_SHARE.read_bytes().hex()
        )

    def test_what_a_law_is_worth(self) -> None:
        """A parser that takes a wrong hash for right would fall."""
        self.patch(MerkleTree, "_node_above", lambda tree, _page: tree.root)
        real = MerkleTree.accept

        def credulous(tree: MerkleTree, page: object, data: bytes) -> None:
            tree.root = b""
            try:
                real(tree, page, data)  # type: ignore[arg-type]
            except BadHash:
                return

        self.patch(MerkleTree, "accept", credulous)
        seed = max(targets.seeds("page"), key=lambda path: path.stat().st_size).read_bytes()
        with self.assertRaises(AssertionError):
            targets.page(b"\0\0\xff" + seed[3:])
