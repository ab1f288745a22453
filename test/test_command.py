"""``tahoe-fastdl`` on real node directories, and on a real node that is started and stopped."""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from misc.make_nodes import make_node
from misc.node_process import NodeProcess
from tahoe_fastdl import __version__, errors
from tahoe_fastdl.command import main, node_dir
from tahoe_fastdl.command.cfg_text import LINE, enabled

COMMAND = Path(sys.executable).with_name("tahoe-fastdl")
NOBODY = 65534
START_S = 120.0
SECTION = "[storageclient.plugins.tahoe-fastdl]"


def new_node(directory: Path, *arguments: str, kind: str = "create-client") -> Path:
    """A new node directory, by Tahoe."""
    make_node([kind, *arguments, str(directory)])
    return directory


class Case(SynchronousTestCase):
    """The command, in this process or in one of its own."""

    def new_directory(self) -> Path:
        """One that any user can reach."""
        directory = Path(tempfile.mkdtemp(prefix="fastdl-command-"))
        directory.chmod(0o755)
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        return directory

    def command(self, *arguments: object) -> tuple[int, str, str]:
        """As its user runs it: exit status, standard output and error."""
        done = subprocess.run(
            [str(COMMAND), *map(str, arguments)], capture_output=True, text=True, check=False
        )
        self.assertNotIn("Traceback", done.stderr)
        return done.returncode, done.stdout, done.stderr

    def call(self, *arguments: object) -> tuple[int, str, str]:
        """The same in this process."""
        out, err = io.StringIO(), io.StringIO()
        status = main.main([str(argument) for argument in arguments], out, err)
        return status, out.getvalue(), err.getvalue()


class Usage(Case):
    """What is not about a node."""

    def test_wrong_usage(self) -> None:
        """2, and how it is used on standard error."""
        for arguments, words in (
            ([], "a command is needed"),
            (["frobnicate"], "Unknown command: frobnicate"),
            (["check"], "Wrong number of arguments"),
            (["check", ""], "NODEDIR is empty"),
            (["enable", "a", "b"], "Wrong number of arguments"),
            (["enable", "--json", "a"], "option --json not recognized"),
            (["check", "--dry-run", "a"], "option --dry-run not recognized"),
        ):
            status, out, err = self.command(*arguments)
            self.assertEqual((status, out), (2, ""), arguments)
            self.assertTrue(err.startswith("Usage: tahoe-fastdl "), err)
            self.assertEqual(err.splitlines()[-1].partition(words)[0], "tahoe-fastdl: ")

    def test_help(self) -> None:
        """0, on standard output, for the command and for each of its commands."""
        status, out, err = self.command("--help")
        self.assertEqual((status, err), (0, ""))
        for name in ("check", "enable", "disable"):
            self.assertIn(f"    {name} ", out)
            status, out_of_it, err = self.command(name, "--help")
            self.assertEqual((status, err), (0, ""))
            self.assertTrue(
                out_of_it.startswith(f"Usage: tahoe-fastdl {name} [options] NODEDIR\n"), out_of_it
            )

    def test_version(self) -> None:
        """The plugin's, not Twisted's."""
        for arguments in (["--version"], ["check", "--version"]):
            self.assertEqual(self.command(*arguments), (0, f"tahoe-fastdl {__version__}\n", ""))


class Edits(Case):
    """``enable`` and ``disable`` on a directory that Tahoe made."""

    def setUp(self) -> None:
        """A client that never ran."""
        self.node = new_node(self.new_directory() / "node", "--webport=none")
        self.cfg = self.node / "tahoe.cfg"
        self.before = self.cfg.read_bytes()

    def refuses(self, words: str, path: Path | None = None) -> None:
        """Both edits do, in one line on standard error, and the file stays as it is."""
        content = self.cfg.read_bytes() if self.cfg.is_file() else None
        for name in ("enable", "disable"):
            status, out, err = self.call(name, path or self.node)
            self.assertEqual((status, out, err.count("\n")), (1, "", 1))
            self.assertTrue(err.startswith(f"tahoe-fastdl: {path or self.node}"), err)
            self.assertIn(words, err)
        self.assertEqual(self.cfg.read_bytes() if self.cfg.is_file() else None, content)

    @contextlib.contextmanager
    def as_nobody(self) -> Iterator[None]:
        """While this lasts, root has no more rights than others."""
        if not hasattr(os, "geteuid") or os.geteuid() != 0:
            yield
            return
        os.seteuid(NOBODY)
        try:
            if not os.access(errors.__file__, os.R_OK, effective_ids=True):
                raise SkipTest("nobody but root can read what is installed here")
            yield
        finally:
            os.seteuid(0)

    def test_there_and_back(self) -> None:
        """One line is put in, and shown; the second time nothing happens; then it goes again."""
        status, out, err = self.command("enable", self.node)
        self.assertEqual((status, err), (0, ""))
        self.assertEqual([line for line in out.splitlines() if line[:1] in "+-"][2:], [f"+{LINE}"])
        self.assertIn("restart the node", out)
        after = self.cfg.read_bytes()
        self.assertEqual(after, self.before.replace(b"[client]\n", f"[client]\n{LINE}\n".encode()))
        changed = self.cfg.stat().st_mtime_ns
        status, out, _ = self.command("enable", self.node)
        self.assertEqual((status, out), (0, f"tahoe-fastdl is enabled in {self.cfg} already\n"))
        self.assertEqual(self.cfg.stat().st_mtime_ns, changed)
        self.assertEqual(self.command("disable", self.node)[0], 0)
        self.assertEqual(self.cfg.read_bytes(), self.before)
        status, out, _ = self.command("disable", self.node)
        self.assertEqual((status, out), (0, f"tahoe-fastdl is disabled in {self.cfg} already\n"))
        self.assertEqual(sorted(self.node.glob("*tahoe.cfg*")), [self.cfg])

    def test_dry_run(self) -> None:
        """The difference is shown and not made."""
        status, out, _ = self.call("enable", "--dry-run", self.node)
        self.assertEqual(status, 0)
        self.assertIn(f"\n+{LINE}\n", out)
        self.assertNotIn("restart", out)
        self.assertEqual(self.cfg.read_bytes(), self.before)

    def test_bytes_stay(self) -> None:
        """A byte order mark, CRLF and what is not ASCII stay; no secret is shown."""
        self.cfg.write_bytes(
            b"\xef\xbb\xbf[node]\r\nnickname = \xc3\xbc\r\n[client]\r\nhelper.furl = SECRET"
        )
        status, out, _ = self.call("enable", self.node)
        self.assertEqual(status, 0)
        self.assertNotIn("SECRET", out)
        self.assertEqual(
            self.cfg.read_bytes(),
            b"\xef\xbb\xbf[node]\r\nnickname = \xc3\xbc\r\n[client]\r\n"
            b"storage.plugins = tahoe-fastdl\r\nhelper.furl = SECRET",
        )

    def test_own_section_stays(self) -> None:
        """Disabling keeps our options, and says so."""
        self.cfg.write_bytes(self.before + f"{SECTION}\nmemory = 8 MiB\n".encode())
        self.call("enable", self.node)
        _, out, _ = self.call("disable", self.node)
        self.assertIn(f"{SECTION} stays", out)
        self.assertTrue(self.cfg.read_bytes().endswith(b"memory = 8 MiB\n"))

    def test_mode_and_owner_stay(self) -> None:
        """The new file has the mode and the owner of the old one."""
        self.cfg.chmod(0o640)
        if os.geteuid() == 0:
            os.chown(self.cfg, NOBODY, NOBODY)
        before = self.cfg.stat()
        self.assertEqual(self.call("enable", self.node)[0], 0)
        after = self.cfg.stat()
        for name in ("st_mode", "st_uid", "st_gid"):
            self.assertEqual(getattr(after, name), getattr(before, name), name)
        self.assertNotEqual(after.st_ino, before.st_ino)

    def test_link_stays(self) -> None:
        """A tahoe.cfg that is a link stays one; the file it leads to is edited."""
        elsewhere = self.new_directory() / "real.cfg"
        self.cfg.rename(elsewhere)
        self.cfg.symlink_to(elsewhere)
        self.assertEqual(self.call("enable", self.node)[0], 0)
        self.assertTrue(self.cfg.is_symlink())
        self.assertIn(LINE.encode(), elsewhere.read_bytes())

    def test_home(self) -> None:
        """A ~ that the shell left alone is the user's home."""
        self.patch(os, "environ", {**os.environ, "HOME": str(self.node.parent)})
        self.assertEqual(self.call("enable", "~/node")[0], 0)
        self.assertIn(LINE.encode(), self.cfg.read_bytes())

    def test_no_client(self) -> None:
        """What is no client's node directory is not touched."""
        parent = self.node.parent
        (parent / "empty").mkdir()
        introducer = new_node(
            parent / "introducer", "--port=tcp:1", "--location=tcp:h:1", kind="create-introducer"
        )
        self.refuses("there is no such directory", parent / "none")
        self.refuses("not a directory", self.cfg)
        self.refuses("not the directory of a Tahoe node", parent / "empty")
        self.refuses("an introducer, which downloads nothing", introducer)
        self.assertNotIn(b"fastdl", (introducer / "tahoe.cfg").read_bytes())

    def test_unreadable_text(self) -> None:
        """What Tahoe could not read is not edited, and not shown."""
        self.cfg.write_bytes(b"[client]\nhelper.furl = \xff\n")
        self.refuses("not UTF-8 at byte 23")
        self.cfg.write_bytes(b"[client]\nSECRET\n")
        self.refuses("no option and no [section] in line 2\n")
        self.cfg.unlink()
        self.refuses("cannot be read (No such file or directory)")

    def test_forbidden(self) -> None:
        """Who must not read or write it is told so."""
        for path, mode, words in (
            (self.cfg, 0o444, "must not be written by this user"),
            (self.cfg, 0o000, "cannot be read (Permission denied)"),
            (self.node, 0o000, "must not be read by this user"),
        ):
            self.node.chmod(0o755)
            path.chmod(mode)
            with self.as_nobody():
                status, out, err = self.call("enable", self.node)
            self.assertEqual((status, out), (1, ""))
            self.assertIn(words, err)
        self.node.chmod(0o755)
        self.cfg.chmod(0o644)
        self.assertEqual(self.cfg.read_bytes(), self.before)

    def test_forbidden_directory(self) -> None:
        """Where no file can be put beside it, or not with its owner, it stays."""
        if os.geteuid() != 0:
            raise SkipTest("only root can give files away")
        self.cfg.chmod(0o666)
        self.node.chmod(0o755)
        for mode, words in (
            (0o755, "nothing can be written"),
            (0o777, "owner and group"),
        ):
            self.node.chmod(mode)
            with self.as_nobody():
                status, out, err = self.call("enable", self.node)
            self.assertEqual((status, out), (1, ""))
            self.assertIn(words, err)
            self.assertEqual(self.cfg.read_bytes(), self.before)
            self.assertEqual(sorted(self.node.glob("*.cfg*")), [self.cfg])

    def test_changed_meanwhile(self) -> None:
        """What somebody wrote since it was read is not lost."""
        cfg = node_dir.read_cfg(self.node)
        self.cfg.write_bytes(self.before + b"# new\n")
        error = self.assertRaises(errors.CannotEdit, node_dir.replace_cfg, cfg, enabled(cfg.text))
        self.assertIn("try again", str(error))
        self.assertEqual(self.cfg.read_bytes(), self.before + b"# new\n")


class RunningNode(Case):
    """``check`` on a node that is started and stopped."""

    def node(self, *arguments: str) -> NodeProcess:
        """A client, not started."""
        node = NodeProcess("node", new_node(self.new_directory() / "node", *arguments))
        self.addCleanup(node.stop)
        return node

    def restart(self, node: NodeProcess) -> None:
        """Have it run, with its web port open."""
        node.stop()
        node.start()
        node.wait_for("node.url", time.monotonic() + START_S)

    def findings(self, node: NodeProcess, status: int) -> dict[str, tuple[str, str]]:
        """Outcome and text of each check; fails unless it exits with this status."""
        found, out, err = self.command("check", "--json", node.directory)
        self.assertEqual((found, err), (status, ""), out)
        document = json.loads(out)
        self.assertEqual(document["ok"], status == 0)
        return {
            each["check"]: (each["outcome"], f"{each['text']}. {each['remedy']}")
            for each in document["checks"]
        }

    def use(self, node: NodeProcess, status: int, outcome: str, *words: str) -> None:
        """The last check ends so; nothing else is wrong with the node directory."""
        findings = self.findings(node, status)
        self.assertEqual(findings["in use"][0], outcome, findings)
        for text in words:
            self.assertIn(text, findings["in use"][1])

    def test_from_stock_to_fast_and_back(self) -> None:
        """After each step it says what the node does, and what to do."""
        node = self.node("--webport=tcp:0:interface=127.0.0.1")
        self.restart(node)
        findings = self.findings(node, 1)
        self.assertEqual(findings["enabled"][0], "failed")
        self.assertIn("Run: tahoe-fastdl enable", findings["enabled"][1])
        self.assertEqual(findings["running"], ("ok", f"the node is process {node.pid}. "))
        self.use(node, 1, "failed", "downloads with the stock downloader")

        self.assertEqual(self.command("enable", node.directory)[0], 0)
        self.use(node, 1, "failed", "started before tahoe.cfg named", "Restart the node")
        self.restart(node)
        self.use(node, 0, "ok", f"tahoe-fastdl {__version__}; downloads: 0, fallbacks: 0")
        self.assertEqual({each[0] for each in self.findings(node, 0).values()}, {"ok"})

        node.configure({SECTION[1:-1]: {"memory": "8 MiB"}})
        self.use(node, 1, "failed", "runs with memory = 64 MiB", "Restart the node")
        self.assertEqual(self.command("disable", node.directory)[0], 0)
        self.use(node, 1, "failed", "while tahoe.cfg named tahoe-fastdl", "Restart the node")

    def test_set_aside(self) -> None:
        """A node whose options are no good names the option, and so does its running self."""
        node = self.node("--webport=tcp:0:interface=127.0.0.1")
        node.configure({SECTION[1:-1]: {"memory": "lots"}})
        self.assertEqual(self.command("enable", node.directory)[0], 0)
        self.restart(node)
        findings = self.findings(node, 1)
        for name in ("options", "in use"):
            self.assertEqual(findings[name][0], "failed")
            self.assertIn("memory = lots: accepted is a size from", findings[name][1])
        self.assertIn("set it aside", findings["in use"][1])

    def test_not_running(self) -> None:
        """Before its first start, after its end and after a crash a node does not run."""
        node = self.node("--webport=none")
        self.command("enable", node.directory)
        findings = self.findings(node, 1)
        self.assertIn("there is no running.process. Start the node", findings["running"][1])
        self.assertEqual(findings["in use"], ("not checked", "the node does not run. "))
        node.start()
        node.wait_for("running.process", time.monotonic() + START_S)
        pid = node.pid
        # Without a web port nothing is wrong, and the last thing stays unknown.
        self.use(node, 0, "not checked", "has no web port")
        node.kill()
        findings = self.findings(node, 1)
        self.assertIn(f"process {pid} of running.process has ended", findings["running"][1])

    def test_https(self) -> None:
        """A web port with a certificate of its own is not asked, and a changed file is said."""
        node = self.node("--webport=tcp:0:interface=127.0.0.1")
        certificate = make_certificate(node.directory)
        node.configure(
            {
                "node": {
                    "web.port": f"ssl:0:privateKey={certificate}:certKey={certificate}"
                    ":interface=127.0.0.1"
                }
            }
        )
        self.restart(node)
        self.assertEqual(self.command("enable", node.directory)[0], 0)
        self.use(node, 0, "not checked", "cannot be verified", "changed since the node was started")


def make_certificate(directory: Path) -> Path:
    """A file with a key and a certificate that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime(2020, 1, 1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=36500))
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8
    path = directory / "web.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path
