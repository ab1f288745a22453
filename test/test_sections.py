"""Pages of which commands write parts."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from misc import sections

BEGIN, END = sections.marks("sweep")
PAGE = f"# Title\n\n{BEGIN}\nold\n{END}\n\nBy hand.\n"


class SectionsTests(SynchronousTestCase):
    """What is replaced, and what is not."""

    def test_replaced(self) -> None:
        """The section's text is another one; what stands around it is as it was."""
        once = sections.replaced(PAGE, "sweep", "new\n")
        self.assertEqual(once, f"# Title\n\n{BEGIN}\n\nnew\n\n{END}\n\nBy hand.\n")
        self.assertEqual(sections.replaced(once, "sweep", "new"), once)

    def test_written(self) -> None:
        """The page on the disk changes; one that lacks the section stays as it was."""
        path = Path(self.mktemp())
        path.write_text(PAGE)
        sections.write(path, "sweep", "new")
        self.assertIn("\nnew\n", path.read_text())
        before = path.read_bytes()
        self.assertRaises(sections.NoSectionError, sections.write, path, "trace", "text")
        self.assertEqual(path.read_bytes(), before)

    def test_marks_must_be_whole(self) -> None:
        """A mark that is missing, doubled or before the other is refused."""
        for page in (BEGIN, END, f"{END}\n{BEGIN}", PAGE + PAGE, ""):
            self.assertRaises(sections.NoSectionError, sections.replaced, page, "sweep", "text")
