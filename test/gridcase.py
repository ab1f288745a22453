"""Test cases on Tahoe's in-process grid, where one client is fast and one is stock.

Both clients see the same servers and the same shares on disk.  The fast one is
enabled as an operator does it, by its storage client configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from allmydata import uri
from allmydata.client import _valid_config
from allmydata.immutable import upload
from allmydata.immutable.downloader.node import DownloadNode
from allmydata.immutable.filenode import ImmutableFileNode
from allmydata.node import config_from_string
from allmydata.storage_client import StorageClientConfig, StorageFarmBroker
from allmydata.test.no_network import GridTestMixin
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from tahoe_fastdl import seam
from tahoe_fastdl.node import FastDownloadNode
from tahoe_fastdl.settings import PLUGIN_NAME
from tahoe_fastdl.shell.hub import Hub

from .spies import SpyServer, spy_on

FAST, STOCK = 0, 1

Outcome = tuple[bytes, "type[BaseException] | None"]


@implementer(IConsumer)
class Reader:
    """A consumer that keeps what it gets; hooks may pause or stop its producer."""

    def __init__(
        self,
        on_write: Callable[[Reader], None] | None = None,
        on_register: Callable[[Reader], None] | None = None,
    ) -> None:
        self.chunks: list[bytes] = []
        self.producer: Any = None
        self.registered = 0
        self.unregistered = 0
        self._on_write = on_write
        self._on_register = on_register

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """As ``IConsumer``; only push producers are expected."""
        assert streaming
        self.registered += 1
        self.producer = producer
        if self._on_register is not None:
            self._on_register(self)

    def unregisterProducer(self) -> None:
        """As ``IConsumer``."""
        self.unregistered += 1

    def write(self, data: bytes) -> None:
        """As ``IConsumer``."""
        assert type(data) is bytes, type(data)
        self.chunks.append(data)
        if self._on_write is not None:
            self._on_write(self)

    @property
    def text(self) -> bytes:
        """All it got."""
        return b"".join(self.chunks)


def some_bytes(length: int, seed: int = 0) -> bytes:
    """Bytes in which no two segments are alike."""
    numbers = range(seed, seed + length // 4 + 1)
    return b"".join((n * 2654435761 & 0xFFFFFFFF).to_bytes(4, "big") for n in numbers)[:length]


def config_of(text: str) -> Any:
    """A client's configuration, for this tahoe.cfg."""
    return config_from_string("/dev/null", "tub.port", text, _valid_config())


def broker_of(text: str) -> StorageFarmBroker:
    """A client's real storage broker, for this tahoe.cfg."""
    config = config_of(text)
    return StorageFarmBroker(
        True, lambda _overrides: None, config, StorageClientConfig.from_node_config(config)
    )


class GridCase(GridTestMixin, TestCase):
    """A grid of *servers* servers and two clients."""

    servers = 10
    options: ClassVar[Mapping[str, str]] = {"patience": "2 s", "memory": "8 MiB"}
    timeout = 120

    def setUp(self) -> Any:
        """Start the grid."""
        done = super().setUp()
        self.basedir = self.mktemp()
        self.set_up_grid(num_clients=2, num_servers=self.servers)
        seam.put_chooser()
        self.enable(dict(self.options))
        return done

    def enable(self, options: dict[str, str]) -> None:
        """The fast client's tahoe.cfg has these options; counters begin again."""
        broker = self.g.clients[FAST].storage_broker
        broker.storage_client_config = StorageClientConfig(storage_plugins={PLUGIN_NAME: options})
        seam.switch_everywhere(None)  # forgets all hubs

    @property
    def hub(self) -> Hub:
        """What the fast client's downloads share."""
        hub = seam.hub_for(self.g.clients[FAST].storage_broker)
        assert hub is not None
        return hub

    def spy(self) -> list[SpyServer]:
        """From now on both clients see spies before the servers."""
        return spy_on(self.g.clients)

    # -- files ----------------------------------------------------------------

    async def put(self, data: bytes, k: int = 3, n: int = 10, segment: int = 128 * 1024) -> bytes:
        """Upload; returns the read cap."""
        upload_data = upload.Data(data, convergence=b"")
        upload_data.encoding_param_k = k
        upload_data.encoding_param_happy = 1
        upload_data.encoding_param_n = n
        upload_data.max_segment_size = segment
        results = await self.g.clients[STOCK].upload(upload_data)
        cap: bytes = results.get_uri()
        return cap

    def paths(self, cap: bytes, shnums: set[int] | None = None) -> list[str]:
        """The files of the shares, by share number."""
        return [
            path
            for shnum, _server, path in self.find_uri_shares(cap)
            if shnums is None or shnum in shnums
        ]

    def node(self, cap: bytes, which: int = FAST) -> Any:
        """A new file node of a client's, which knows nothing of the file yet."""
        self.hub.parking.stop()
        return self.another_node(cap, which)

    def another_node(self, cap: bytes, which: int = FAST) -> Any:
        """The same, but what the client knows of the file from other nodes stays."""
        client = self.g.clients[which]
        return ImmutableFileNode(
            uri.from_string(cap),
            client.storage_broker,
            client._secret_holder,
            client.terminator,
            client.history,
        )

    async def read(
        self, node: Any, start: int = 0, size: int | None = None, reader: Reader | None = None
    ) -> bytes:
        """Read and return the bytes; errors are raised."""
        reader = reader or Reader()
        returned = await node.read(reader, start, size)
        assert returned is reader
        self.assertEqual(reader.registered, reader.unregistered)
        return reader.text

    async def outcome(self, node: Any, start: int = 0, size: int | None = None) -> Outcome:
        """What a read delivers, and the class of the error it ends with."""
        reader = Reader()
        try:
            await self.read(node, start, size, reader)
        except Exception as error:  # noqa: BLE001 - which it is, is what the tests compare
            self.assertEqual(reader.registered, reader.unregistered)
            return reader.text, type(error)
        return reader.text, None

    async def like_stock(
        self, cap: bytes, start: int = 0, size: int | None = None, what: object = ""
    ) -> Outcome:
        """Read with both, on new nodes; fails unless both end the same way.

        What stock logs by the way is not ours to answer for.
        """
        fast = await self.outcome(self.node(cap), start, size)
        self.assertEqual(self.flushLoggedErrors(), [], what)
        stock = await self.outcome(self.node(cap, STOCK), start, size)
        self.flushLoggedErrors()
        self.same(fast, stock, (what, start, size))
        return fast

    def same(self, found: Outcome, expected: Outcome, what: object = "") -> None:
        """Fail, without printing all bytes, unless two outcomes are equal."""
        if found != expected:
            self.fail(
                f"{what}: {len(found[0])} bytes and {found[1]},"
                f" expected {len(expected[0])} bytes and {expected[1]};"
                f" bytes equal: {found[0] == expected[0]}"
            )

    def served_by(self, node: Any) -> type:
        """The class of the downloader under a node that was read from."""
        kind: type = type(node._cnode._node)
        assert kind in (FastDownloadNode, DownloadNode)
        return kind

    def no_fallbacks(self) -> None:
        """Fail if our code broke."""
        self.assertEqual(self.hub.totals.get("fallbacks", 0), 0)
        self.assertEqual(self.flushLoggedErrors(), [])

    async def turns(self, condition: Callable[[], Any]) -> None:
        """Let the reactor turn until *condition* holds; the test's timeout bounds it."""
        while not condition():
            turned: Deferred[None] = Deferred()
            reactor.callLater(0, turned.callback, None)
            await turned
