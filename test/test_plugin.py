"""The plugin as Tahoe meets it: found, loaded, asked for a client and for a web page."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from allmydata.interfaces import IFoolscapStoragePlugin
from allmydata.storage.common import si_b2a
from allmydata.storage_client import AnnouncementNotMatched, StorageClientConfig
from allmydata.test.common import UseTestPlugins
from allmydata.test.storage_plugin import DummyStorageClient
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource, getChildForRequest
from twisted.web.test.requesthelper import DummyRequest
from zope.interface.verify import verifyObject

from tahoe_fastdl import seam
from tahoe_fastdl.plugin import FastDownloadPlugin
from tahoe_fastdl.settings import PLUGIN_NAME

from .gridcase import FAST, GridCase, broker_of, config_of, some_bytes

SERVER_ID = b"v0-4uazse3xb6uu5qpkb7tel2bm6bpea4jhuigdhqcuvvse7hugtsia"
FURL = "pb://q5l37rle6pojjnllrwjyryulavpqdlq5@127.0.0.1:9876/anonymous"
PLUGIN_FURL = "pb://q5l37rle6pojjnllrwjyryulavpqdlq5@127.0.0.1:9876/plugin"
DUMMY = "tahoe-lafs-dummy-v1"


def ours() -> Any:
    """Our plugin, as Twisted finds it."""
    (plugin,) = (p for p in getPlugins(IFoolscapStoragePlugin) if p.name == PLUGIN_NAME)
    return plugin


class Found(SynchronousTestCase):
    """Twisted and Tahoe find the drop-in."""

    def test_twisted_finds_it(self) -> None:
        """It is there once, and is what Tahoe asks for."""
        plugin = ours()
        self.assertIsInstance(plugin, FastDownloadPlugin)
        self.assertTrue(verifyObject(IFoolscapStoragePlugin, plugin))

    def test_finding_it_puts_the_chooser_in_place(self) -> None:
        """Nothing else of ours is called before the first download."""
        ours()
        self.assertIsNone(seam.unknown_tahoe_of_process())

    def test_tahoe_loads_it(self) -> None:
        """A client that names us gets us, and one that does not starts without."""
        config = StorageClientConfig(storage_plugins={PLUGIN_NAME: {}})
        self.assertEqual(list(config.get_configured_storage_plugins()), [PLUGIN_NAME])
        self.assertEqual(StorageClientConfig().get_configured_storage_plugins(), {})

    def test_serves_no_storage(self) -> None:
        """Named in [storage] plugins it says where its name belongs."""
        failure = self.failureResultOf(ours().get_storage_server({}, lambda: None), ValueError)
        self.assertIn("[client] storage.plugins", str(failure.value))

    def test_importing_us_imports_nothing_of_tahoe(self) -> None:
        """``import tahoe_fastdl`` alone does nothing."""
        program = "import sys, tahoe_fastdl; sys.exit('allmydata' in sys.modules)"
        done = subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONPATH": ":".join(sys.path)}, check=False
        )
        self.assertEqual(done.returncode, 0)


class Announcements(SynchronousTestCase):
    """What becomes of servers while we are enabled."""

    def setUp(self) -> None:
        """Tahoe's own test plugins are there too."""
        plugins = UseTestPlugins()
        plugins.setUp()
        self.addCleanup(plugins.cleanUp)

    def server(self, announcement: dict[str, Any], plugins: str) -> Any:
        """The IServer a client with these plugins makes of an announcement."""
        text = f"[client]\nstorage.plugins = {plugins}\nforce_foolscap = true\n"
        return broker_of(text)._make_storage_server(SERVER_ID, {"ann": announcement})

    def test_raises_what_tahoe_expects(self) -> None:
        """Asked for a storage client, we say that the announcement is not for us."""
        with self.assertRaises(AnnouncementNotMatched):
            ours().get_storage_client(None, {"name": PLUGIN_NAME}, lambda: None)

    def test_anonymous_storage(self) -> None:
        """A plain server is the same with and without us."""
        for announcement in (
            {"anonymous-storage-FURL": FURL},
            {"anonymous-storage-FURL": FURL, "storage-options": []},
        ):
            with_us = self.server(announcement, PLUGIN_NAME)
            without = self.server(announcement, "")
            self.assertIs(type(with_us._storage), type(without._storage))
            self.assertEqual(with_us._storage.storage_server.__class__.__name__, "_StorageServer")

    def test_server_that_announces_our_name(self) -> None:
        """Its anonymous storage is used, as if nobody had enabled us."""
        option = {"name": PLUGIN_NAME, "storage-server-FURL": PLUGIN_FURL}
        announcement = {"anonymous-storage-FURL": FURL, "storage-options": [option]}
        with_us = self.server(announcement, PLUGIN_NAME)
        without = self.server(announcement, "")
        self.assertIs(type(with_us._storage), type(without._storage))
        self.assertEqual(with_us._storage._furl, without._storage._furl)

    def test_server_that_announces_only_our_name(self) -> None:
        """Without anonymous storage it is a server nobody can use, and no traceback."""
        option = {"name": PLUGIN_NAME, "storage-server-FURL": PLUGIN_FURL}
        announcement = {"storage-options": [option]}
        with_us, without = (self.server(announcement, each) for each in (PLUGIN_NAME, ""))
        self.assertIs(type(with_us._storage), type(without._storage))

    def test_other_plugins_keep_working(self) -> None:
        """A storage plugin named in the same line serves its servers."""
        option = {"name": DUMMY, "storage-server-FURL": PLUGIN_FURL}
        announcement = {"anonymous-storage-FURL": FURL, "storage-options": [option]}
        for line in (f"{PLUGIN_NAME},{DUMMY}", f"{DUMMY}, {PLUGIN_NAME}"):
            server = self.server(announcement, line)
            self.assertIsInstance(server._storage.storage_server, DummyStorageClient, line)

    def test_web_resources_of_all(self) -> None:
        """Each enabled plugin has its page."""
        text = f"[client]\nstorage.plugins = {DUMMY},{PLUGIN_NAME}\n"
        resources = broker_of(text).get_client_storage_plugin_web_resources(config_of(text))
        self.assertEqual(set(resources), {DUMMY, PLUGIN_NAME})
        for resource in resources.values():
            self.assertTrue(IResource.providedBy(resource))


class Page(GridCase):
    """The page and its counters."""

    servers = 4

    def page(self, path: bytes = b"", options: str = "") -> tuple[bytes, bytes]:
        """What the client's page shows, and its content type."""
        broker = self.g.clients[FAST].storage_broker
        config = config_of(options)
        broker.node_config = config
        request: Any = DummyRequest([path])
        resource = getChildForRequest(ours().get_client_resource(config), request)
        body = resource.render(request)
        (kind,) = request.responseHeaders.getRawHeaders(b"content-type")
        return body, kind

    async def test_counters(self) -> None:
        """counters.json is a flat object of integers, before and after downloads."""
        body, kind = self.page(b"counters.json")
        before = json.loads(body)
        self.assertEqual(kind, b"application/json")
        data = some_bytes(300_000)
        cap = await self.put(data, 3, 4, 3000)
        await self.read(self.node(cap))
        after = json.loads(self.page(b"counters.json")[0])
        self.assertLessEqual(set(before), set(after))
        for counters in (before, after):
            self.assertTrue(all(type(value) is int for value in counters.values()), counters)
        self.assertEqual(before["downloads"], 0)
        self.assertEqual(after["downloads"], 1)
        self.assertEqual(after["fallbacks"], 0)
        self.assertEqual(after["memory_bytes"], 8 * 2**20)
        self.assertGreater(after["memory_peak_bytes"], 0)
        self.assertGreater(after["reads_sent"], 0)

    async def test_no_secrets(self) -> None:
        """Neither page names a cap, a key, a storage index or file content."""
        data = some_bytes(300_000)
        cap = await self.put(data, 3, 4, 3000)
        node = self.node(cap)
        await self.read(node)
        _uri, _chk, key, ueb_hash, *_rest = cap.split(b":")
        secrets = (b"URI:", key, ueb_hash, si_b2a(node.get_storage_index()), data[:16])
        for path in (b"", b"counters.json"):
            body, _kind = self.page(path)
            for secret in secrets:
                self.assertNotIn(secret, body)

    async def test_page(self) -> None:
        """The page says that it is on and links to the counters."""
        body, kind = self.page()
        self.assertTrue(kind.startswith(b"text/html"))
        self.assertIn(b"<p>on</p>", body)
        self.assertIn(b"counters.json", body)

    async def test_page_with_bad_options(self) -> None:
        """With a bad option the page says that it is off and why, escaped."""
        options = f"[storageclient.plugins.{PLUGIN_NAME}]\nmemory = <b>lots</b>\n"
        body, _kind = self.page(options=options)
        self.assertIn(b"off, downloads use stock", body)
        self.assertIn(b"&lt;b&gt;lots", body)
        self.assertNotIn(b"<b>lots", body)

    async def test_asking_for_the_page_enables_nothing(self) -> None:
        """get_client_resource, which Tahoe calls at the first web request, switches nothing."""
        other = self.g.clients[1].storage_broker
        ours().get_client_resource(config_of(""))
        self.assertIsNone(seam.hub_for(other))
