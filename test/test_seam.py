"""The seam: which client gets which downloader, and what happens in a Tahoe we do not know."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from typing import Any

import allmydata
from allmydata import uri
from allmydata.immutable import filenode
from allmydata.immutable.downloader import node as stock_module
from allmydata.immutable.downloader.node import DownloadNode
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import provider

import tahoe_fastdl
from tahoe_fastdl import seam
from tahoe_fastdl.errors import BadOption
from tahoe_fastdl.node import FastDownloadNode
from tahoe_fastdl.settings import Settings

from .gridcase import broker_of

STOCK_CONSUMER = filenode.DecryptingConsumer

ENABLED = "[client]\nstorage.plugins = tahoe-fastdl\n"
OPTIONS = "[storageclient.plugins.tahoe-fastdl]\n"


def verify_cap() -> Any:
    """Of some file."""
    return uri.CHKFileVerifierURI(b"s" * 16, b"u" * 32, 3, 10, 1000)


class SeamCase(SynchronousTestCase):
    """Begins and ends with Tahoe untouched; keeps what we log."""

    def setUp(self) -> None:
        """Take the chooser away and listen."""
        self.leave_tahoe_alone()
        self.addCleanup(self.leave_tahoe_alone)
        self.events: list[LogEvent] = []

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            self.events.append(event)

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def leave_tahoe_alone(self) -> None:
        """As if we had never been imported."""
        tahoe_fastdl.uninstall()
        seam.take_chooser_away()

    def our_lines(self) -> list[str]:
        """What we said in the log."""
        return [
            formatEvent(event)
            for event in self.events
            if str(event.get("log_namespace", "")).startswith("tahoe_fastdl")
        ]

    def made_for(self, broker: Any) -> type:
        """The class of the downloader that a file node of this client gets."""
        node = filenode.CiphertextFileNode(verify_cap(), broker, None, None, None)
        node._maybe_create_download_node()
        return type(node._node)


class Chooser(SeamCase):
    """Who gets what."""

    def test_each_client_its_own(self) -> None:
        """Of two clients in one process only the one whose tahoe.cfg names us is fast."""
        self.assertTrue(seam.put_chooser())
        named, other = broker_of(ENABLED), broker_of("")
        for _ in range(2):
            self.assertIs(self.made_for(named), FastDownloadNode)
            self.assertIs(self.made_for(other), DownloadNode)
        self.assertEqual(self.our_lines(), [])

    def test_options_without_the_name(self) -> None:
        """A section of options alone enables nothing."""
        seam.put_chooser()
        self.assertIs(self.made_for(broker_of(OPTIONS + "memory = 8 MiB\n")), DownloadNode)

    def test_without_a_broker(self) -> None:
        """A node made without any storage broker is not ours to speed up."""
        seam.put_chooser()
        self.assertIsNone(seam.hub_for(None))

    def test_options_reach_the_client(self) -> None:
        """Each client has the options of its own tahoe.cfg."""
        seam.put_chooser()
        small = broker_of(ENABLED + OPTIONS + "memory = 8 MiB\nverify = blocks\n")
        usual = broker_of(ENABLED)
        hubs = [seam.hub_for(broker) for broker in (small, usual)]
        assert hubs[0] is not None and hubs[1] is not None
        self.assertEqual(hubs[0].settings, Settings(memory=8 * 2**20, verify="blocks"))
        self.assertEqual(hubs[1].settings, Settings())
        self.assertIs(seam.hub_for(small), hubs[0])

    def test_one_hub_a_client(self) -> None:
        """All downloads of a client share one budget, two clients share none."""
        seam.put_chooser()
        first, second = broker_of(ENABLED), broker_of(ENABLED)
        self.assertIs(seam.hub_for(first), seam.hub_for(first))
        self.assertIsNot(seam.hub_for(first), seam.hub_for(second))

    def test_name_among_others(self) -> None:
        """Our name is found wherever in the line it stands."""
        seam.put_chooser()
        for line in ("tahoe-fastdl,other", "other, tahoe-fastdl", " other ,tahoe-fastdl , more"):
            broker = broker_of(f"[client]\nstorage.plugins = {line}\n")
            self.assertIs(self.made_for(broker), FastDownloadNode, line)

    def test_a_broker_goes(self) -> None:
        """A client that is gone is not kept alive by its hub."""
        seam.put_chooser()
        broker = broker_of(ENABLED)
        gone = weakref.ref(broker)
        self.assertIs(self.made_for(broker), FastDownloadNode)
        del broker
        gc.collect()
        self.assertIsNone(gone())

    def test_idempotent_and_reversible(self) -> None:
        """Putting it twice and taking it away twice leaves Tahoe as it was."""
        for _ in range(2):
            self.assertTrue(seam.put_chooser())
            self.assertIsNot(filenode.DownloadNode, DownloadNode)
        self.assertIsNone(seam.unknown_tahoe_of_process())
        for _ in range(2):
            seam.take_chooser_away()
            self.assertIs(filenode.DownloadNode, DownloadNode)
            self.assertIs(filenode.DecryptingConsumer, STOCK_CONSUMER)

    def test_consumer_is_a_stock_one(self) -> None:
        """What stands for DecryptingConsumer is one, so a stock node sees no difference."""
        seam.put_chooser()
        self.assertTrue(issubclass(filenode.DecryptingConsumer, STOCK_CONSUMER))


class Install(SeamCase):
    """The whole process."""

    def test_every_client(self) -> None:
        """install() makes every client fast, uninstall() only those that are named in theirs."""
        named, other = broker_of(ENABLED), broker_of("")
        tahoe_fastdl.install({"memory": "8 MiB"})
        self.assertIs(self.made_for(named), FastDownloadNode)
        self.assertIs(self.made_for(other), FastDownloadNode)
        self.assertIs(self.made_for(UnknownBroker()), FastDownloadNode)
        tahoe_fastdl.uninstall()
        self.assertIs(self.made_for(named), FastDownloadNode)
        self.assertIs(self.made_for(other), DownloadNode)

    def test_twice(self) -> None:
        """Both may be called twice; the later options hold."""
        broker = broker_of("")
        tahoe_fastdl.install()
        tahoe_fastdl.install({"memory": "8 MiB"})
        hub = seam.hub_for(broker)
        assert hub is not None
        self.assertEqual(hub.settings.memory, 8 * 2**20)
        tahoe_fastdl.uninstall()
        tahoe_fastdl.uninstall()
        self.assertIs(self.made_for(broker), DownloadNode)
        self.assertEqual(self.our_lines(), [])

    def test_uninstall_without_install(self) -> None:
        """uninstall() alone changes nothing."""
        tahoe_fastdl.uninstall()
        self.assertIs(filenode.DownloadNode, DownloadNode)

    def test_bad_options(self) -> None:
        """A bad option is raised and nothing is switched."""
        with self.assertRaises(BadOption):
            tahoe_fastdl.install({"memory": "lots"})
        self.assertIs(self.made_for(broker_of("")), DownloadNode)

    def test_unknown_tahoe(self) -> None:
        """An unknown Tahoe is an error with its reason, and nothing is switched."""
        self.patch(allmydata, "__version__", "1.21.0")
        error = self.assertRaises(RuntimeError, tahoe_fastdl.install)
        self.assertIn("version 1.21.0", str(error))
        self.assertIs(self.made_for(broker_of("")), DownloadNode)
        self.assertIs(filenode.DownloadNode, DownloadNode)


class BadOptions(SeamCase):
    """tahoe.cfg is wrong."""

    def test_one_line_then_stock(self) -> None:
        """A bad option is one log line that names all of it; the client is on stock."""
        seam.put_chooser()
        for options, parts in (
            ("memory = lots\n", ("memory = lots", "4 MiB to 64 GiB")),
            ("memroy = 8 MiB\n", ("memroy = 8 MiB", "memory, patience, remember, verify")),
        ):
            self.events.clear()
            broker = broker_of(ENABLED + OPTIONS + options)
            for _ in range(3):
                self.assertIs(self.made_for(broker), DownloadNode)
            (line,) = self.our_lines()
            for part in ("[storageclient.plugins.tahoe-fastdl]", "stock", *parts):
                self.assertIn(part, line)

    def test_others_are_not_touched(self) -> None:
        """A bad option of one client is not another's."""
        seam.put_chooser()
        bad, good = broker_of(ENABLED + OPTIONS + "verify = maybe\n"), broker_of(ENABLED)
        self.assertIs(self.made_for(bad), DownloadNode)
        self.assertIs(self.made_for(good), FastDownloadNode)


class UnknownTahoe(SeamCase):
    """A Tahoe that is not the one this seam was made for."""

    def refused(self, reason: str) -> None:
        """Nothing is put in place; one line says why, however often it is tried."""
        before = (filenode.DownloadNode, filenode.DecryptingConsumer)
        for _ in range(3):
            self.assertFalse(seam.put_chooser())
        self.assertEqual((filenode.DownloadNode, filenode.DecryptingConsumer), before)
        (line,) = self.our_lines()
        self.assertIn(reason, line)
        self.assertIn("stock", line)
        self.assertIn(reason, seam.unknown_tahoe_of_process() or "")

    def both(self, cls: Any) -> None:
        """Tahoe has this for its DownloadNode."""
        self.patch(stock_module, "DownloadNode", cls)
        self.patch(filenode, "DownloadNode", cls)

    def test_version(self) -> None:
        """Another release is not touched."""
        for version in ("1.18.0", "1.21.0", "2.0", "1.2", "unknown"):
            self.patch(allmydata, "__version__", version)
            self.events.clear()
            self.refused(f"version {version}")
            seam.take_chooser_away()

    def test_patch_releases(self) -> None:
        """A patch release with the same signatures is."""
        self.patch(allmydata, "__version__", "1.20.7.post3")
        self.assertTrue(seam.put_chooser())

    def test_an_import_that_fails(self) -> None:
        """A Tahoe without a name that only a download imports is found out at the start."""
        program = (
            "from allmydata import storage_client; del storage_client.HTTPNativeStorageServer\n"
            "from tahoe_fastdl import seam; print(seam.put_chooser(), seam.unknown_tahoe())"
        )
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONPATH": ":".join(sys.path)},
            check=True,
            capture_output=True,
            encoding="utf-8",
        )
        self.assertRegex(done.stdout, "^False cannot import name 'HTTPNativeStorageServer'")

    def test_changed_constructor(self) -> None:
        """A DownloadNode that takes other arguments."""

        class Changed(DownloadNode):
            def __init__(self, verifycap: Any, storage_broker: Any, new: Any) -> None:
                """Different."""

        self.both(Changed)
        self.refused("Changed takes")

    def test_missing_method(self) -> None:
        """A DownloadNode without one of its methods."""

        class Poor:
            def __init__(
                self,
                verifycap: Any,
                storage_broker: Any,
                secret_holder: Any,
                terminator: Any,
                history: Any,
                download_status: Any,
            ) -> None:
                """The right arguments."""

            def read(self) -> None:
                """There."""

        self.both(Poor)
        self.refused("Poor has no get_segment, get_segsize, stop")

    def test_not_a_class(self) -> None:
        """A factory in its place."""

        def make(*_arguments: Any) -> None:
            """Not a class."""

        self.both(make)
        self.refused("is not a class")

    def test_somebody_else_was_there(self) -> None:
        """Another program's replacement of the same name is left alone."""

        class Theirs(DownloadNode):
            pass

        self.patch(filenode, "DownloadNode", Theirs)
        self.refused("something else replaced")

    def test_changed_consumer(self) -> None:
        """A DecryptingConsumer that takes other arguments."""

        class Changed(STOCK_CONSUMER):  # type: ignore[misc,valid-type]  # Tahoe is untyped
            def __init__(self, consumer: Any, readkey: bytes) -> None:
                """Different."""

        self.patch(filenode, "DecryptingConsumer", Changed)
        self.refused("Changed takes")

    def test_clients_work_on(self) -> None:
        """A client that names us downloads with stock."""
        self.patch(allmydata, "__version__", "1.21.0")
        self.assertFalse(seam.put_chooser())
        self.assertIs(self.made_for(broker_of(ENABLED)), DownloadNode)


class UnknownBroker:
    """A broker of a kind nobody knows, as test grids have."""
