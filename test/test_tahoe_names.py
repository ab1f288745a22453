"""Every name of Tahoe's that this plugin relies on is there, and can be called as we call it.

One test a name, so that under a new Tahoe-LAFS the list of failures is the list of
what moved. What the names do is for the other tests to say.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import Any, Optional

from allmydata import uri
from twisted.trial.unittest import SynchronousTestCase

import tahoe_fastdl

from .gridcase import broker_of

PACKAGE = Path(tahoe_fastdl.__file__).parent

# What something is called with: how many arguments by place, and which by name. None: it
# is not called, or is an error, which takes anything.
Call = Optional[tuple[int, tuple[str, ...]]]

# What we import.
IMPORTED: dict[str, Call] = {
    "allmydata:__version__": None,
    "allmydata.hashtree:BadHashError": None,
    "allmydata.hashtree:IncompleteHashTree": (1, ()),
    "allmydata.hashtree:NotEnoughHashesError": None,
    "allmydata.hashtree:empty_leaf_hash": (1, ()),
    "allmydata.immutable:filenode": None,
    "allmydata.immutable.downloader:node": None,
    "allmydata.immutable.downloader.common:BadCiphertextHashError": None,
    "allmydata.immutable.downloader.common:BadSegmentNumberError": None,
    "allmydata.immutable.downloader.node:Cancel": (1, ()),
    "allmydata.immutable.downloader.node:IDownloadStatusHandlingConsumer": None,
    "allmydata.immutable.filenode:DecryptingConsumer": (3, ()),
    "allmydata.interfaces:DownloadStopped": None,
    "allmydata.interfaces:IFoolscapStoragePlugin": None,
    "allmydata.interfaces:NoSharesError": None,
    "allmydata.interfaces:NotEnoughSharesError": None,
    "allmydata.scripts.tahoe_run:identify_node_type": (1, ()),
    "allmydata.storage_client:AnnouncementNotMatched": None,
    "allmydata.storage_client:HTTPNativeStorageServer": None,
    "allmydata.storage_client:NativeStorageServer": None,
    "allmydata.util:base32": None,
    "allmydata.util:hashutil": None,
    "allmydata.util:log": None,
    "allmydata.util.configutil:get_config_from_string": (1, ()),
    "allmydata.util.cputhreadpool:defer_to_thread": (5, ()),
    "allmydata.util.hashutil:CIPHERTEXT_SEGMENT_TAG": None,
    "allmydata.util.netstring:netstring": (1, ()),
    "allmydata.util.pid:InvalidPidFile": None,
    "allmydata.util.pid:parse_pidfile": (1, ()),
}

# What we use of them, or of objects that Tahoe hands us. Methods count ``self``.
USED: dict[str, Call] = {
    "allmydata.hashtree:IncompleteHashTree.get_leaf": (2, ()),
    "allmydata.hashtree:IncompleteHashTree.needed_hashes": (2, ("include_leaf",)),
    "allmydata.hashtree:IncompleteHashTree.set_hashes": (2, ()),
    "allmydata.immutable.downloader.node:Cancel.cancel": (1, ()),
    "allmydata.immutable.downloader.node:DownloadNode": (6, ()),
    "allmydata.immutable.downloader.node:DownloadNode.get_segment": (3, ()),
    "allmydata.immutable.downloader.node:DownloadNode.get_segsize": (1, ()),
    "allmydata.immutable.downloader.node:DownloadNode.read": (4, ()),
    "allmydata.immutable.downloader.node:DownloadNode.stop": (1, ()),
    "allmydata.immutable.downloader.status:BlockRequestEvent.error": (2, ()),
    "allmydata.immutable.downloader.status:BlockRequestEvent.finished": (3, ()),
    "allmydata.immutable.downloader.status:DYHBEvent.error": (2, ()),
    "allmydata.immutable.downloader.status:DYHBEvent.finished": (3, ()),
    "allmydata.immutable.downloader.status:DownloadStatus.add_block_request": (6, ()),
    "allmydata.immutable.downloader.status:DownloadStatus.add_dyhb_request": (3, ()),
    "allmydata.immutable.downloader.status:DownloadStatus.add_known_share": (3, ()),
    "allmydata.immutable.downloader.status:DownloadStatus.add_misc_event": (4, ()),
    "allmydata.immutable.downloader.status:DownloadStatus.add_problem": (2, ()),
    "allmydata.immutable.downloader.status:DownloadStatus.add_read_event": (4, ()),
    "allmydata.immutable.downloader.status:DownloadStatus.add_segment_request": (3, ()),
    "allmydata.immutable.downloader.status:ReadEvent.finished": (2, ()),
    "allmydata.immutable.downloader.status:ReadEvent.update": (4, ()),
    "allmydata.immutable.downloader.status:SegmentEvent.activate": (2, ()),
    "allmydata.immutable.downloader.status:SegmentEvent.deliver": (5, ()),
    "allmydata.immutable.downloader.status:SegmentEvent.error": (2, ()),
    "allmydata.immutable.filenode:DecryptingConsumer.registerProducer": (3, ()),
    "allmydata.immutable.filenode:DecryptingConsumer.unregisterProducer": (1, ()),
    "allmydata.immutable.filenode:DecryptingConsumer.write": (2, ()),
    "allmydata.immutable.filenode:DownloadNode": (6, ()),
    "allmydata.storage_client:HTTPNativeStorageServer.get_longname": (1, ()),
    "allmydata.storage_client:HTTPNativeStorageServer.get_name": (1, ()),
    "allmydata.storage_client:HTTPNativeStorageServer.get_nickname": (1, ()),
    "allmydata.storage_client:HTTPNativeStorageServer.get_serverid": (1, ()),
    "allmydata.storage_client:HTTPNativeStorageServer.get_storage_server": (1, ()),
    "allmydata.storage_client:NativeStorageServer.get_longname": (1, ()),
    "allmydata.storage_client:NativeStorageServer.get_name": (1, ()),
    "allmydata.storage_client:NativeStorageServer.get_nickname": (1, ()),
    "allmydata.storage_client:NativeStorageServer.get_serverid": (1, ()),
    "allmydata.storage_client:NativeStorageServer.get_storage_server": (1, ()),
    "allmydata.storage_client:StorageFarmBroker.get_servers_for_psi": (2, ()),
    "allmydata.storage_client:_FakeRemoteReference.callRemote": (4, ()),
    "allmydata.storage_client:_HTTPBucketReader.read": (3, ()),
    "allmydata.storage_client:_HTTPBucketReader.advise_corrupt_share": (2, ()),
    "allmydata.storage_client:_HTTPStorageServer.get_buckets": (2, ()),
    "allmydata.storage_client:_StorageServer.get_buckets": (2, ()),
    "allmydata.util.base32:b2a": (1, ()),
    "allmydata.util.hashutil:block_hash": (1, ()),
    "allmydata.util.hashutil:uri_extension_hash": (1, ()),
    "allmydata.util.log:UNUSUAL": None,
    "allmydata.util.log:WEIRD": None,
    "allmydata.util.log:err": (2, ("level",)),
    "allmydata.util.log:msg": (0, ("format", "level", "facility")),
}

# Attributes of objects that Tahoe hands us.
VERIFYCAP = (
    "needed_shares", "size", "storage_index", "to_string", "total_shares", "uri_extension_hash",
)  # fmt: skip
BROKER = ("node_config", "storage_client_config")


def _found(name: str) -> Any:
    module, _colon, path = name.partition(":")
    try:
        return reduce(getattr, path.split("."), import_module(module))
    except AttributeError:
        if "." in path:
            raise
        return import_module(f"{module}.{path}")  # ``from package import module``


class Names(SynchronousTestCase):
    """Gets a test for each name, below."""

    def test_every_import(self) -> None:
        """Whatever the package imports from Tahoe is listed here, and nothing else is."""
        imported: set[str] = set()
        for path in PACKAGE.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("allmydata"):
                    imported.update(f"{node.module}:{alias.name}" for alias in node.names)
                elif isinstance(node, ast.Import):
                    imported.update(
                        f"{alias.name}:__version__"
                        for alias in node.names
                        if alias.name.startswith("allmydata")
                    )
        self.assertEqual(sorted(imported), sorted(IMPORTED))

    def test_verifycap(self) -> None:
        """The cap that a download node is made for has what we read of it."""
        cap = uri.CHKFileVerifierURI(b"s" * 16, b"u" * 32, 3, 10, 1000)
        self.assertEqual([name for name in VERIFYCAP if not hasattr(cap, name)], [])

    def test_broker(self) -> None:
        """A client's broker names its configuration, and which plugins that enables."""
        broker = broker_of("[client]\nstorage.plugins = tahoe-fastdl\n")
        self.assertEqual([name for name in BROKER if not hasattr(broker, name)], [])
        self.assertIn("tahoe-fastdl", broker.storage_client_config.storage_plugins)
        self.assertTrue(callable(broker.node_config.items))


def _test_of(name: str, call: Call) -> Callable[[Names], None]:
    def test(_self: Names) -> None:
        found = _found(name)
        if call is not None:
            places, by_name = call
            inspect.signature(found).bind(*[None] * places, **dict.fromkeys(by_name))

    test.__doc__ = f"{name} is there" + ("." if call is None else ", and takes what we give it.")
    return test


for _name, _call in {**IMPORTED, **USED}.items():
    _method = "test_" + _name.replace("allmydata", "").strip(".:").replace(".", "_").replace(
        ":", "__"
    )
    setattr(Names, _method, _test_of(_name, _call))
