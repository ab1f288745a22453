"""The prose says what the code does, where a test can tell."""

from __future__ import annotations

import re
from pathlib import Path

from attrs import fields
from twisted.trial.unittest import SynchronousTestCase

from tahoe_fastdl.command.checks import check
from tahoe_fastdl.command.main import DONE, FAILED, WRONG_USAGE, Options
from tahoe_fastdl.core.watching import Standing
from tahoe_fastdl.settings import SECTION, Settings, parse_settings
from tahoe_fastdl.shell.hub import Hub
from tahoe_fastdl.shell.recording import FileFacts, ServerFacts
from tahoe_fastdl.status import views
from tahoe_fastdl.status.counters import counters
from tahoe_fastdl.status.journal import Journal
from tahoe_fastdl.status.metrics import PREFIX, metrics

from .metricscheck import parse

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


class Command(SynchronousTestCase):
    """docs/command.rst and ``tahoe-fastdl``."""

    def setUp(self) -> None:
        self.text = (DOCS / "command.rst").read_text(encoding="utf-8")

    def test_checks(self) -> None:
        """Each check has a row, in the order of the lines, and no other has one."""
        rows = re.findall(r"^``([\w -]+)`` +\S", self.text.split("\ncheck\n-----")[1], re.MULTILINE)
        found = check(Path(self.mktemp()).absolute())
        self.assertEqual(rows, [finding.check for finding in found])

    def test_usage(self) -> None:
        """Each command is shown with its flags, and no other."""
        shown = dict(
            re.findall(r"^    tahoe-fastdl (\w+) \[--([\w-]+)\] NODEDIR$", self.text, re.M)
        )
        defined = {name: options.optFlags[0][0] for name, _, options, _ in Options.subCommands}
        self.assertEqual(shown, defined)

    def test_exit_statuses(self) -> None:
        """The table has a row for each."""
        rows = [int(number) for number in re.findall(r"^(\d) ", self.text, re.MULTILINE)]
        self.assertEqual(rows, [DONE, FAILED, WRONG_USAGE])


class DownloadPage(SynchronousTestCase):
    """docs/download-page.rst and what the page gives."""

    def setUp(self) -> None:
        self.text = (DOCS / "download-page.rst").read_text(encoding="utf-8")

    def fields_after(self, words: str) -> set[str]:
        """The names in the first column of the first table after these words."""
        table = self.text.split(words, 1)[1].split("\n\n", 2)[1]
        names: set[str] = set()
        width = len(table.split(" ", 1)[0])
        for line in table.splitlines():
            names.update(re.findall(r"``([a-z_]+)``", line[:width]))
        return names

    def test_documents(self) -> None:
        """Each field of the overview, of a server and of a summary is listed, and no other."""
        hub = Hub(Settings())
        journal = hub.recorder = Journal()
        journal.know(hub.server_id(_Server()), self, lambda: ServerFacts("name", "id", ""))
        record = journal.begin(FileFacts("", 1, 1, 1), lambda: Standing(0, 0, 0, 0, 0, 1, 1))
        overview = views.overview(hub, None, "", "", [], counters(hub))
        self.assertEqual(self.fields_after("v1/overview.json\n----"), set(overview))
        (server,) = overview["servers"]
        self.assertEqual(self.fields_after("Of a server:"), set(server))
        self.assertEqual(self.fields_after("A summary:"), set(views.summary(record)))

    def test_columns(self) -> None:
        """Each table's paragraph names its columns in their order."""
        section = self.text.split("v1/downloads/N.json\n----")[1]
        for table, columns in views.COLUMNS.items():
            paragraph = re.split(r"\n``\w+``\n", section.split(f"\n``{table}``\n", 1)[1])[0]
            named = [n for n in re.findall(r"``(\w+)``", paragraph) if n in columns]
            self.assertEqual(list(dict.fromkeys(named)), columns, table)

    def test_metrics(self) -> None:
        """Each metric is listed with its type, and no other."""
        hub = Hub(Settings())
        journal = hub.recorder = Journal()
        number = hub.server_id(_Server())
        journal.know(number, self, lambda: ServerFacts("name", "id", ""))
        hub.servers[number].latency_s = hub.servers[number].rate = 1.0
        journal.peers.on_fallback(1, "KeyError: 5")
        found = {
            name[len(PREFIX) :]: family.kind
            for name, family in parse(metrics(hub, True, "1", "2")).items()
        }
        listed = dict(
            re.findall(
                r"^``(\w+)`` +(info|gauge|counter|histogram) ", self.text.split("Metrics\n---")[1],
                re.MULTILINE,
            )
        )  # fmt: skip
        self.assertEqual(listed, found)


class _Server:
    """As much of an ``IServer`` as a hub numbers."""

    def get_serverid(self) -> bytes:
        """Any."""
        return b"v0-some"
