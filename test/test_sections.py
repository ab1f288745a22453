"""Pages of which commands write parts."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from misc import fault_table, sections

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


class FaultTable(SynchronousTestCase):
    """What docs/reliability.md shows of the fault matrix."""

    def line(self, fault: str, transport: str, left: str, seconds: float, **changes: object) -> str:
        """As the matrix writes it."""
        refused_s = 0.04 if left == fault_table.TOO_FEW else None
        cell = {"fault": fault, "transport": transport, "left": left, "patience": "600 s"}
        return json.dumps({**cell, "seconds": seconds, "refused_s": refused_s, **changes})

    def test_rows(self) -> None:
        """A row for each fault, with its newest seconds; a star where patience had to pass."""
        few, enough = fault_table.TOO_FEW, fault_table.ENOUGH
        lines = [
            self.line("disk_full", "foolscap", enough, 1.0),
            self.line("cut", "http", few, 4.26, patience="2 s"),
            self.line("disk_full", "foolscap", enough, 2.0),
        ]
        *_head, first, second = fault_table.table(fault_table.read(lines)).splitlines()
        self.assertEqual(first, "| disk full | 2.0 | - | - | - | - | - |")
        self.assertEqual(second, "| cut | - | - | - | 4.3* | - | 0.0* |")

    def test_page(self) -> None:
        """The page has a place for it."""
        page = fault_table.PAGE.read_text(encoding="utf-8")
        self.assertIn("text", sections.replaced(page, fault_table.SECTION, "text"))
