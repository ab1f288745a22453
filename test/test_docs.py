"""The prose says what the code does, where a test can tell."""

from __future__ import annotations

import re
from pathlib import Path

from attrs import fields
from twisted.trial.unittest import SynchronousTestCase

from tahoe_fastdl.settings import SECTION, Settings, parse_settings

DOCS = Path(__file__).resolve().parent.parent / "docs"


class Configuration(SynchronousTestCase):
    """docs/configuration.rst and ``settings``."""

    def setUp(self) -> None:
        self.text = (DOCS / "configuration.rst").read_text(encoding="utf-8")

    def test_every_option_has_a_row(self) -> None:
        """The table has one row for each option and no other."""
        rows = re.findall(r"^``(\w+)``", self.text, re.MULTILINE)
        self.assertEqual(sorted(rows), sorted(field.name for field in fields(Settings)))

    def test_example_is_the_default(self) -> None:
        """The section shown in full is accepted and says what an empty one means."""
        shown = self.text.split(f"[{SECTION}]")[1].split("\n\n")[0]
        options = dict(re.findall(r"^\s+(\w+) = (.+)$", shown, re.MULTILINE))
        self.assertEqual(sorted(options), sorted(field.name for field in fields(Settings)))
        self.assertEqual(parse_settings(options), Settings())


class Readme(SynchronousTestCase):
    """README.rst."""

    def test_first_code_block(self) -> None:
        """It holds two commands, one a line, and the files they name are there."""
        text = (DOCS.parent / "README.rst").read_text(encoding="utf-8")
        block = text.split(".. code-block:: shell")[1].split("\n\n")[1]
        commands = [line.strip() for line in block.splitlines() if line.strip()]
        self.assertEqual(len(commands), 2)
        for command in commands:
            interpreter, script = command.split()
            self.assertEqual(interpreter, "python3")
            self.assertTrue((DOCS.parent / script).is_file(), script)
