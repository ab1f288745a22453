"""Text of strangers, as the page shows it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tahoe_fastdl.status.text import clean, clean_reason

from .strategies import examples

CAP = (
    "URI:CHK:pgcyy5xhvnj3hzdqk5vrvy2ruq:zeyvqnfuhvc4nqmnwxazyk2kgd5d3m4kdwi6ikgdqlpvqkoivaqa:3:10:9"
)


class Text(SynchronousTestCase):
    """``clean`` and ``clean_reason``."""

    def test_laws(self) -> None:
        """Whatever comes in, what goes out is one short line that UTF-8 can write."""

        @examples(200)
        @given(st.text(max_size=300), st.integers(2, 80))
        def check(text: str, longest: int) -> None:
            for shown in (clean(text, longest), clean_reason(text, longest)):
                self.assertLessEqual(len(shown), longest)
                self.assertEqual(len(shown.splitlines()), min(1, len(shown)))
                shown.encode("utf-8")

        check()

    def test_tricks(self) -> None:
        """Control characters and marks that turn text around become visible."""
        self.assertEqual(clean("a\x1b[31m\u202eb\x00\ud800\n"), "a\ufffd[31m\ufffdb\ufffd\ufffd ")

    def test_plain_names_stay(self) -> None:
        """Names in any script are shown as they are."""
        for name in ("storage-1", "Größe <b>", "сервер 5", "保存"):
            self.assertEqual(clean(name), name)

    def test_no_secrets(self) -> None:
        """Caps, keys and bytes that got into an error's text do not reach the page."""
        for secret in (CAP, CAP.split(":")[2], "b'plain text of the file'", 'b"more of it"'):
            shown = clean_reason(f"ValueError: bad thing {secret} here")
            self.assertNotIn(secret, shown)
            self.assertTrue(shown.startswith("ValueError: bad thing …"), shown)
