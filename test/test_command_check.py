"""What ``tahoe-fastdl check`` makes of what it finds, where no node has to run for it."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from misc.make_nodes import make_node
from tahoe_fastdl import errors
from tahoe_fastdl.command import running
from tahoe_fastdl.command.verdict import (
    Finding,
    Outcome,
    Running,
    as_json,
    as_lines,
    exit_status,
    on_enabled,
    on_use,
    read_overview,
)
from tahoe_fastdl.settings import PLUGIN_NAME, Settings, as_text, parse_settings
from tahoe_fastdl.shell.hub import Hub
from tahoe_fastdl.status import views
from tahoe_fastdl.status.counters import counters

from .strategies import examples

VERSION = "1.2"

NO_DROP_IN = "import twisted.plugins; twisted.plugins.__path__ = []"

FIELDS = st.sampled_from(["totals", "options", "plugin", "why_not", "downloads", "fallbacks"])
DOCUMENTS = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner),
)


class Words(SynchronousTestCase):
    """Findings as they are shown."""

    def test_lines(self) -> None:
        """A line each, with the remedy behind it."""
        findings = [
            Finding("a", Outcome.OK, "is there"),
            Finding("b", Outcome.FAILED, "is not", "Get it."),
            Finding("c", Outcome.NOT_CHECKED, "without b"),
        ]
        self.assertEqual(
            as_lines(findings),
            "ok           a: is there\n"
            "failed       b: is not. Get it.\n"
            "not checked  c: without b\n",
        )
        document = json.loads(as_json(findings))
        self.assertIs(document["ok"], False)
        outcomes = [each["outcome"] for each in document["checks"]]
        self.assertEqual(outcomes, ["ok", "failed", "not checked"])
        self.assertEqual(exit_status(findings), 1)
        self.assertEqual(exit_status([findings[0], findings[2]]), 0)

    def test_enabled(self) -> None:
        """What can be wrong with names, each with its own words."""
        known = [PLUGIN_NAME, "other"]
        for names, served, words in (
            ([], [], "does not name tahoe-fastdl"),
            (["tahoe-fastdl # fast"], [], "a comment behind the name"),
            (["tahoe-fastdl", "gone"], [], "names gone too"),
            (["tahoe-fastdl"], ["tahoe-fastdl"], "[storage] plugins names tahoe-fastdl"),
            (["other", "tahoe-fastdl"], ["else"], ""),
        ):
            finding = on_enabled(names, served, known)
            self.assertEqual(finding.outcome, Outcome.FAILED if words else Outcome.OK)
            self.assertEqual(bool(finding.remedy), bool(words))
            self.assertIn(words, finding.text)

    def test_use(self) -> None:
        """The running node against tahoe.cfg: what differs first is what is said."""
        settings = Settings()
        fast = Running(VERSION, None, as_text(settings), 3, 1)
        for named, now, node, words in (
            (True, settings, None, "before tahoe.cfg named"),
            (False, settings, None, "stock downloader"),
            (False, settings, fast, "while tahoe.cfg named"),
            (True, settings, evolve(fast, why_not="of rain"), "set it aside, because of rain"),
            (True, settings, evolve(fast, plugin="1.1"), "version 1.1, and 1.2 is installed"),
            (True, parse_settings({"patience": "9 s"}), fast, "runs with patience = 120 s;"),
        ):
            finding = on_use(named, now, VERSION, node)
            self.assertEqual(finding.outcome, Outcome.FAILED)
            self.assertTrue(finding.remedy)
            self.assertIn(words, finding.text)
        finding = on_use(True, settings, VERSION, fast)
        self.assertEqual((finding.outcome, finding.remedy), (Outcome.OK, ""))
        self.assertIn("downloads: 3, fallbacks: 1", finding.text)

    def test_overview(self) -> None:
        """The page's own overview is understood."""
        options = as_text(Settings())
        hub = Hub(Settings())
        document = views.overview(hub, None, VERSION, "1.20.0", options, counters(hub))
        decoded = json.loads(json.dumps(document))
        self.assertEqual(read_overview(decoded), Running(VERSION, None, options, 0, 0))
        for field in ("format", "plugin", "options", "totals", "why_not"):
            self.assertIsNone(read_overview({k: v for k, v in decoded.items() if k != field}))

    @examples(100)
    @given(DOCUMENTS)
    def test_any_document(self, document: Any) -> None:
        """Whatever else answers is told from a node."""
        if isinstance(document, dict):
            document = {**document, "format": "tahoe-fastdl-overview"}
        found = read_overview(document)
        self.assertIsInstance(found, (Running, type(None)))


class Environment(SynchronousTestCase):
    """What the environment may lack."""

    def setUp(self) -> None:
        """A client that never ran."""
        self.directory = Path(self.mktemp()).absolute()
        make_node(["create-client", "--webport=none", str(self.directory)])

    def command(self, preparation: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What the command says in a Python where this was done before."""
        program = f"{preparation}; from tahoe_fastdl.command.main import run; run()"
        return subprocess.run(
            [sys.executable, "-c", program, *arguments, str(self.directory)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )

    def findings(self, preparation: str) -> dict[str, tuple[str, str]]:
        """Outcome and text of each check."""
        done = self.command(preparation, "check", "--json")
        self.assertEqual(done.returncode, 1, done.stderr)
        checks = json.loads(done.stdout)["checks"]
        return {each["check"]: (each["outcome"], each["text"]) for each in checks}

    def test_unknown_tahoe(self) -> None:
        """A Tahoe-LAFS that we do not know."""
        findings = self.findings("import allmydata; allmydata.__version__ = '1.99.0'")
        self.assertEqual(findings["Tahoe-LAFS"][0], "failed")
        self.assertIn("1.99.0 is not supported", findings["Tahoe-LAFS"][1])

    def test_no_drop_in(self) -> None:
        """As without the drop-in: we can be imported, and Twisted does not find us."""
        findings = self.findings(NO_DROP_IN)
        self.assertEqual(findings["plugin"][0], "failed")
        self.assertIn("does not find its drop-in", findings["plugin"][1])
        self.assertEqual(findings["Tahoe-LAFS"][0], "ok")

    def test_no_drop_in_no_edit(self) -> None:
        """A node is not told to load what it would not find: it would not start."""
        before = (self.directory / "tahoe.cfg").read_bytes()
        done = self.command(NO_DROP_IN, "enable")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("would not start", done.stderr)
        self.assertEqual((self.directory / "tahoe.cfg").read_bytes(), before)


class Processes(SynchronousTestCase):
    """What running.process says."""

    def find(self, content: str) -> running.Process:
        """The process, where the file holds this."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        (directory / "running.process").write_text(content)
        return running.find_process(directory)

    def test_this_one(self) -> None:
        """A process that was started when the file says is the node's."""
        started = psutil.Process().create_time()
        found = self.find(f"{os.getpid()} {started}\n")
        self.assertEqual(found, running.Process(os.getpid(), started))

    def test_another(self) -> None:
        """One that has the number of a node that ended is not."""
        for pid, started in (
            (os.getpid(), psutil.Process().create_time() - 3600),
            (2**31 - 1, time.time()),
            (2**70, time.time()),
            (-1, time.time()),
        ):
            error = self.assertRaises(errors.NotRunning, self.find, f"{pid} {started}")
            self.assertEqual(str(error), f"process {pid} of running.process has ended")

    def test_anything_else(self) -> None:
        """What Tahoe did not write names no process."""
        for content in ("", "1", "one two", "1 2 3"):
            error = self.assertRaises(errors.NotRunning, self.find, content)
            self.assertIn("cannot be read", str(error))


class WebPort(SynchronousTestCase):
    """Where the web port is, and how it answers."""

    def setUp(self) -> None:
        """A node directory with a node.url of now."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        (self.directory / "node.url").write_text("http://127.0.0.1:3456/\n")
        self.process = running.Process(1, time.time())

    def address(self, web_port: str) -> str:
        """Of a node with this [node] web.port."""
        return running.web_address(self.directory, web_port, self.process)

    def test_addresses(self) -> None:
        """The port is of node.url, which knows it; the interface is of tahoe.cfg."""
        for web_port, expected in (
            ("3456", "http://127.0.0.1:3456"),
            ("tcp:0", "http://127.0.0.1:3456"),
            ("tcp:3456:interface=127.0.0.1", "http://127.0.0.1:3456"),
            ("tcp:3456:interface=0.0.0.0:backlog=5", "http://127.0.0.1:3456"),
            ("tcp:3456:interface=10.1.2.3:backlog=5", "http://10.1.2.3:3456"),
            (r"tcp6:3456:interface=\:\:1", "http://[::1]:3456"),
        ):
            self.assertEqual(self.address(web_port), expected, web_port)

    def test_none_to_ask(self) -> None:
        """No web port, or an odd one, is no failure."""
        for web_port, words in (
            ("", "no web port"),
            ("unix:/tmp/x", "'unix'"),
            ("onion:80", "'onion'"),
        ):
            error = self.assertRaises(errors.CannotAsk, self.address, web_port)
            self.assertIn(words, str(error))

    def test_not_open(self) -> None:
        """A node.url of an earlier run, an empty one or none: the port is not open."""
        path = self.directory / "node.url"
        os.utime(path, (self.process.started - 60,) * 2)
        self.assertRaises(errors.NoAnswer, self.address, "3456")
        path.write_text("")
        self.assertRaises(errors.NoAnswer, self.address, "3456")
        path.unlink()
        self.assertRaises(errors.NoAnswer, self.address, "3456")

    @contextlib.contextmanager
    def server(self, status: int, body: bytes) -> Iterator[str]:
        """An HTTP server that answers so, whatever it is asked."""

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None:
                pass

        with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}"
            finally:
                server.shutdown()
                thread.join()

    def test_answers(self) -> None:
        """A page of ours, none, and what is neither."""
        with self.server(200, b'{"a": 1}') as address:
            self.assertEqual(running.ask(address), {"a": 1})
        with self.server(404, b"nothing here") as address:
            self.assertIsNone(running.ask(address))
        for status, body, words in (
            (500, b"", "answers 500"),
            (302, b"", "answers 302"),
            (200, b"<html>", "something else than JSON"),
            (200, b"\xff", "something else than JSON"),
        ):
            with self.server(status, body) as address:
                error = self.assertRaises(errors.NoAnswer, running.ask, address)
                self.assertIn(words, str(error))
        error = self.assertRaises(errors.NoAnswer, running.ask, address)
        self.assertIn("does not answer", str(error))

    def test_silence(self) -> None:
        """A node that hangs is not waited for."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            address = f"http://127.0.0.1:{silent.getsockname()[1]}"
            error = self.assertRaises(errors.NoAnswer, running.ask, address, 0.05)
        self.assertIn("timed out", str(error))
