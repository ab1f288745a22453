"""Real nodes, each a process of its own, over both transports, as their users meet them.

One grid for the whole module: six servers, a stock client that uploads, a fast
client for each transport, and one whose options are wrong.  It is started by the
first test that needs it and ends with this process, whose pipes its nodes hold.
"""

from __future__ import annotations

import atexit
import configparser
import hashlib
import json
import re
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

from allmydata import uri
from allmydata.storage.common import si_b2a
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from misc.grid import Client, ClientOptions, Grid, GridError, Server, free_ports

from .gridcase import some_bytes
from .metricscheck import parse
from .recordcheck import check_document, check_trace

SEGMENT = 128 * 1024
RESTART_S = 60.0

FAST = ("fast-foolscap", "fast-http")

_grids: list[Grid] = []


def the_grid() -> Grid:
    """The module's grid; started on the first call."""
    if not _grids:
        base = Path(tempfile.mkdtemp(prefix="fastdl-grid-"))
        atexit.register(shutil.rmtree, base, ignore_errors=True)

        def fast(transport: str, memory: str) -> ClientOptions:
            return ClientOptions(
                transport=transport,
                fast=True,
                fast_options={"memory": memory},
                max_segment_bytes=SEGMENT,
            )

        grid = Grid(
            base / "grid",
            servers=6,
            clients={
                "uploader": ClientOptions(transport="http", max_segment_bytes=SEGMENT),
                "fast-foolscap": fast("foolscap", "4 MiB"),
                "fast-http": fast("http", "4 MiB"),
                "wrong": fast("http", "lots"),
            },
        )
        atexit.register(grid.stop)
        grid.start()
        _grids.append(grid)
    return _grids[0]


def storage_index_of(cap: str) -> str:
    """A file's storage index as Tahoe shows it."""
    index: bytes = si_b2a(uri.from_string(cap.encode("ascii")).get_storage_index())
    return index.decode("ascii")


class RealNodes(SynchronousTestCase):
    """See the module's docstring."""

    def setUp(self) -> None:
        """Have a grid whose nodes all run."""
        self.grid = the_grid()

    def client(self, name: str) -> Client:
        """One of the clients."""
        return self.grid.clients[name]

    def put(self, data: bytes) -> str:
        """Upload through the stock client."""
        return self.client("uploader").put(data)

    def each_fast(self) -> Iterator[Client]:
        """Both fast clients, and afterwards a check that they stayed so."""
        for name in FAST:
            client = self.client(name)
            before = client.fast_counters()["downloads"]
            yield client
            counters = client.fast_counters()
            self.assertGreater(counters["downloads"], before, name)
            self.assertEqual(counters["fallbacks"], 0, name)
            self.assertEqual(counters["unsupported"], 0, name)
            self.assertEqual(counters["memory_used_bytes"], 0, name)
            self.assertNotIn("Traceback", client.log(), name)

    def ask(self, client: Client, method: str, path: str, body: bytes | None = None) -> bytes:
        """A request to a client's web port."""
        request = urllib.request.Request(client.url.rstrip("/") + path, body, method=method)
        with urllib.request.urlopen(request, timeout=RESTART_S) as response:
            answer: bytes = response.read()
        return answer

    def shares(self, cap: str) -> Iterator[tuple[Server, Path]]:
        """Where a file's shares lie."""
        index = storage_index_of(cap)
        for server in self.grid.servers:
            for path in (server.shares_directory / index[:2] / index).glob("*"):
                yield server, path

    def restart(self, client: Client) -> None:
        """Stop and start a client, whose configuration was changed."""
        client.stop()
        client.start()
        self.grid.wait_connected(RESTART_S)

    # -- downloads ------------------------------------------------------------

    def test_web_whole_and_ranges(self) -> None:
        """GET gives the right bytes with and without a Range, small and large files."""
        for size in (56, 1000, SEGMENT, 3_000_000):
            data = some_bytes(size)
            cap = self.put(data)
            for client in self.each_fast():
                self.assertTrue(client.get(cap) == data, size)
                for start, stop in ((0, 1), (size - 1, size), (size // 3, size // 2), (17, None)):
                    self.assertTrue(client.get(cap, start, stop) == data[start:stop], start)

    def test_tahoe_get(self) -> None:
        """The command line gets the right file."""
        data = some_bytes(500_000)
        cap = self.put(data)
        for client in self.each_fast():
            path = Path(self.mktemp())
            client.tahoe_get(cap, path.resolve())
            self.assertTrue(path.read_bytes() == data)

    def test_reads_at_once(self) -> None:
        """Several downloads at the same time, of one file and of others, are all right."""
        texts = [some_bytes(2_000_000, seed) for seed in range(3)]
        caps = [self.put(text) for text in texts]
        for client in self.each_fast():
            jobs = [(0, 0, None), (0, 1_000_000, None), (1, 0, None), (2, 5, 1_500_000)]
            with ThreadPoolExecutor(len(jobs)) as pool:
                found = list(
                    pool.map(lambda job: client.get(caps[job[0]], *job[1:]), jobs)  # noqa: B023
                )
            for (which, start, stop), text in zip(jobs, found):
                self.assertTrue(text == texts[which][start:stop], (which, start))

    def test_download_page(self) -> None:
        """The page tells each download with its reads, its servers and their transport, and
        Tahoe's own pages stay right."""
        data = some_bytes(3_000_000)
        cap = self.put(data)
        page = "/storage-plugins/tahoe-fastdl/"
        for client in self.each_fast():
            self.assertTrue(client.get(cap) == data)
            overview = self.settled(client)
            newest = overview["downloads"][0]
            self.assertEqual((newest["state"], newest["kind"]), ("done", "fast"), newest)
            self.assertEqual(newest["storage_index"], storage_index_of(cap))
            self.assertEqual(newest["delivered_bytes"], len(data))
            transport = "HTTP" if client.name == "fast-http" else "Foolscap"
            self.assertEqual({each["transport"] for each in overview["servers"]}, {transport})
            document = client.get_json(f"{page}v1/downloads/{newest['id']}.json")
            check_document(self, document)
            check_trace(self, document)
            self.assertEqual(len(document["reads"]), newest["reads"])
            parse(self.ask(client, "GET", page + "metrics").decode("utf-8"))
            for path in ("", f"download?id={newest['id']}"):
                self.assertIn(b"<main id=", self.ask(client, "GET", page + path))
            status = self.ask(client, "GET", "/status/").decode("utf-8")
            numbers = [int(number) for number in re.findall(r"/status/down-(\d+)", status)]
            own = client.get_json(f"/status/down-{max(numbers)}/event_json")
            self.assertEqual(sum(read["bytes_returned"] for read in own["read"]), len(data))
            self.assertEqual(len(own["block"]), newest["reads"])
            self.ask(client, "GET", f"/status/down-{max(numbers)}")
            self.ask(client, "GET", "/statistics")

    def settled(self, client: Client) -> Any:
        """The overview of a client's page once no download runs."""
        until = time.monotonic() + RESTART_S
        while True:
            overview = client.get_json("/storage-plugins/tahoe-fastdl/v1/overview.json")
            if all(each["state"] != "running" for each in overview["downloads"]):
                return overview
            self.assertLess(time.monotonic(), until, "a download runs on and on")
            time.sleep(0.05)

    def test_missing_file(self) -> None:
        """A file without shares is the web error that stock gives."""
        cap = self.put(some_bytes(100_000))
        for _server, path in list(self.shares(cap)):
            path.unlink()
        said = []
        for name in (*FAST, "uploader"):
            with self.assertRaises(GridError) as caught:
                self.client(name).get(cap)
            said.append(str(caught.exception).partition(" answered ")[2][:30])
        self.assertEqual(len(set(said)), 1, said)
        self.assertTrue(said[0].startswith("410"), said)

    def test_server_dies_in_mid_download(self) -> None:
        """A server that is killed while the file is on its way costs no byte."""
        data = some_bytes(20_000_000)
        cap = self.put(data)
        victim = next(server for server, path in self.shares(cap) if path.name == "0")
        for client in self.each_fast():
            url = client.url.rstrip("/") + "/uri/" + quote(cap, safe="")
            hasher, length = hashlib.sha256(), 0
            with urllib.request.urlopen(url, timeout=RESTART_S) as response:
                while True:
                    piece = response.read1(100_000)
                    if not piece:
                        break
                    hasher.update(piece)
                    length += len(piece)
                    if length > 1_000_000 and victim.is_running():
                        victim.kill()
            self.assertFalse(victim.is_running())
            self.assertEqual(length, len(data))
            self.assertEqual(hasher.digest(), hashlib.sha256(data).digest())
            victim.start_listening(time.monotonic() + RESTART_S)
            self.grid.wait_connected(RESTART_S)

    def test_servers_hang_in_mid_download(self) -> None:
        """Servers that stop answering, connected as they are, are not waited for."""
        data = some_bytes(20_000_000)
        cap = self.put(data)
        victim = next(server for server, path in self.shares(cap) if path.name == "1")
        self.addCleanup(victim.resume)
        for client in self.each_fast():
            url = client.url.rstrip("/") + "/uri/" + quote(cap, safe="")
            text = b""
            with urllib.request.urlopen(url, timeout=RESTART_S) as response:
                while len(text) < len(data):
                    text += response.read1(1_000_000)
                    victim.suspend()
            self.assertTrue(text == data)
            victim.resume()

    def test_sftp(self) -> None:
        """SFTP, whose reads jump about, gets the right bytes."""
        try:
            import paramiko  # type: ignore[import-untyped,unused-ignore]  # has no annotations
        except ImportError:
            raise SkipTest("needs paramiko") from None
        data = some_bytes(700_000)
        root = self.ask(self.client("uploader"), "POST", "/uri?t=mkdir").decode("ascii")
        self.ask(self.client("uploader"), "PUT", f"/uri/{quote(root, safe='')}/file", data)
        client = self.client("fast-foolscap")
        keys = client.directory / "private"
        host, user = paramiko.RSAKey.generate(2048), paramiko.RSAKey.generate(2048)
        host.write_private_key_file(str(keys / "host"))
        (keys / "host.pub").write_text(f"ssh-rsa {host.get_base64()}\n")
        (keys / "accounts").write_text(f"alice ssh-rsa {user.get_base64()} {root}\n")
        (port,) = free_ports(1)
        client.configure(
            {
                "sftpd": {
                    "enabled": "true",
                    "port": f"tcp:{port}:interface=127.0.0.1",
                    "host_pubkey_file": str(keys / "host.pub"),
                    "host_privkey_file": str(keys / "host"),
                    "accounts.file": str(keys / "accounts"),
                }
            }
        )
        self.restart(client)
        transport = paramiko.Transport(("127.0.0.1", port))
        self.addCleanup(transport.close)
        transport.connect(username="alice", pkey=user)
        session = paramiko.SFTPClient.from_transport(transport)
        with session.open("file", "rb") as handle:
            handle.seek(600_000)
            self.assertTrue(handle.read(1000) == data[600_000:601_000])
            handle.seek(0)
            self.assertTrue(handle.read() == data)
        counters = client.fast_counters()
        self.assertGreater(counters["downloads"], 0)
        self.assertEqual(counters["fallbacks"], 0)

    # -- check and repair -----------------------------------------------------

    def test_repair(self) -> None:
        """Check-and-repair through a fast client brings lost shares back."""
        for number, client in enumerate(self.each_fast()):
            data = some_bytes(1_000_000, number)
            cap = self.put(data)
            found = list(self.shares(cap))
            self.assertEqual(len(found), 10)
            lost = {found[0][0], found[-1][0]}
            for server, path in found:
                if server in lost:
                    path.unlink()
            query = f"/uri/{quote(cap, safe='')}?t=check&repair=true&output=JSON"
            results = json.loads(self.ask(client, "POST", query, b""))
            self.assertTrue(results["repair-attempted"])
            self.assertTrue(results["repair-successful"])
            self.assertEqual({path.name for _server, path in self.shares(cap)}, set("0123456789"))
            self.assertTrue(client.get(cap) == data)

    def test_deep_check(self) -> None:
        """A deep check with repair of a directory mends what is in it."""
        uploader = self.client("uploader")
        for number, client in enumerate(self.each_fast()):
            root = self.ask(uploader, "POST", "/uri?t=mkdir").decode("ascii")
            data = some_bytes(300_000, 10 + number)
            cap = self.ask(uploader, "PUT", f"/uri/{quote(root, safe='')}/file", data)
            for _server, path in list(self.shares(cap.decode("ascii"))):
                if path.name in "012":
                    path.unlink()
            query = "t=stream-deep-check&repair=true&verify=true"
            lines = self.ask(client, "POST", f"/uri/{quote(root, safe='')}?{query}", b"")
            units = [json.loads(line) for line in lines.splitlines()]
            self.assertEqual(units[-1]["type"], "stats")
            (unit,) = [unit for unit in units if unit.get("path") == ["file"]]
            results = unit["check-and-repair-results"]
            self.assertTrue(results["repair-successful"])
            self.assertTrue(results["post-repair-results"]["results"]["healthy"])

    # -- what people see ------------------------------------------------------

    def test_status_pages(self) -> None:
        """Tahoe's status pages show our downloads, and the counters page shows no cap."""
        data = some_bytes(2_000_000, 99)  # not a file of another test, which would be listed there
        cap = self.put(data)
        for client in self.each_fast():
            client.get(cap, 100_000, 1_900_000)
            events = client.download_events(storage_index_of(cap))
            for kind in ("dyhb", "block", "segment", "read"):
                self.assertTrue(events[kind], kind)
            (read,) = events["read"]
            self.assertEqual(read["bytes_returned"], 1_800_000)
            self.assertTrue(all(event["success"] for event in events["block"]))
            numbers = re.findall(rb"/status/down-(\d+)", self.ask(client, "GET", "/status/"))
            newest = max(int(number) for number in numbers)
            self.assertIn(b"Download Status", self.ask(client, "GET", f"/status/down-{newest}"))
            for path in ("", "counters.json"):
                shown = self.ask(client, "GET", f"/storage-plugins/tahoe-fastdl/{path}")
                self.assertNotIn(b"URI:", shown)
                self.assertIn(b"fallbacks", shown)

    def test_wrong_option(self) -> None:
        """A bad option is one line in the log that names all of it; the node is on stock."""
        client = self.client("wrong")
        for size in (1000, 300_000):
            data = some_bytes(size, 7)
            self.assertTrue(client.get(self.put(data)) == data)
        lines = [line for line in client.log().splitlines() if "[tahoe_fastdl" in line]
        self.assertEqual(len(lines), 1, lines)
        self.assertIn("[storageclient.plugins.tahoe-fastdl] memory = lots", lines[0])
        self.assertIn("a size from 4 MiB to 64 GiB", lines[0])
        self.assertEqual(client.fast_counters()["downloads"], 0)
        page = self.ask(client, "GET", "/storage-plugins/tahoe-fastdl/").decode("utf-8")
        self.assertIn("memory = lots", page)

    def test_disabled_again(self) -> None:
        """Without its line in tahoe.cfg a client is on stock and has no page of ours."""
        client = self.client("wrong")
        path = client.directory / "tahoe.cfg"
        before = path.read_text(encoding="utf-8")

        def enable_again() -> None:
            path.write_text(before, encoding="utf-8")
            self.restart(client)

        self.addCleanup(enable_again)
        parser = configparser.RawConfigParser(strict=False)
        parser.read_string(before)
        parser.remove_option("client", "storage.plugins")
        with open(path, "w", encoding="utf-8") as handle:
            parser.write(handle)
        self.restart(client)
        data = some_bytes(300_000, 8)
        self.assertTrue(client.get(self.put(data)) == data)
        with self.assertRaises(GridError):
            client.fast_counters()
        self.assertNotIn("[tahoe_fastdl", client.log())
