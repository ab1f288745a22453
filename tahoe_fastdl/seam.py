"""The one place that touches Tahoe: fast or stock, for each client.

``allmydata.immutable.filenode`` builds every download through two names of
its own, ``DownloadNode`` and ``DecryptingConsumer``.  :func:`put_chooser`
lays a chooser under the first and our consumer, which is a stock one that
remembers its arguments, under the second.  The chooser looks at the storage
broker it is given: a client whose tahoe.cfg names us gets our node, any other
the stock object itself.  Nothing is put in place in a Tahoe we do not know.
"""

from __future__ import annotations

import inspect
from configparser import NoSectionError
from typing import Any
from weakref import WeakKeyDictionary

import allmydata
from allmydata.immutable import filenode
from allmydata.immutable.downloader import node as stock_module
from twisted.logger import Logger

from . import errors
from .settings import PLUGIN_NAME, SECTION, Settings, parse_settings
from .shell.hub import Hub
from .status.journal import Journal

SUPPORTED_RELEASES = ("1.19.", "1.20.")

_NODE_ARGUMENTS = (
    "self",
    "verifycap",
    "storage_broker",
    "secret_holder",
    "terminator",
    "history",
    "download_status",
)
_NODE_METHODS = ("read", "get_segment", "get_segsize", "stop")
_CONSUMER_ARGUMENTS = ("self", "consumer", "readkey", "offset")
_CONSUMER_METHODS = (
    "registerProducer",
    "unregisterProducer",
    "write",
    "set_download_status_read_event",
    "set_download_status",
)

_log = Logger(namespace="tahoe_fastdl")


class _Seam:
    """What was put in place, and what stood there before."""

    def __init__(self) -> None:
        self.stock_node: Any = None  # None: the chooser is not in place
        self.stock_consumer: Any = None
        self.refused = False  # this Tahoe was looked at and is not known
        self.everywhere: Settings | None = None  # install() is in force
        self.hubs: WeakKeyDictionary[Any, Hub | None] = WeakKeyDictionary()


_seam = _Seam()


def unknown_tahoe() -> str | None:
    """Why this Tahoe is not one we know, or None."""
    version = str(allmydata.__version__)
    if not version.startswith(SUPPORTED_RELEASES):
        return f"version {version} is not one of {', '.join(r + 'x' for r in SUPPORTED_RELEASES)}"
    if filenode.DownloadNode is not stock_module.DownloadNode:
        return "something else replaced allmydata.immutable.filenode.DownloadNode"
    for cls, arguments, methods in (
        (filenode.DownloadNode, _NODE_ARGUMENTS, _NODE_METHODS),
        (filenode.DecryptingConsumer, _CONSUMER_ARGUMENTS, _CONSUMER_METHODS),
    ):
        if not inspect.isclass(cls):
            return f"{cls!r} is not a class"
        found = tuple(inspect.signature(cls.__init__).parameters)
        if found != arguments:
            return f"{cls.__name__} takes {found}"
        missing = [name for name in methods if not callable(getattr(cls, name, None))]
        if missing:
            return f"{cls.__name__} has no {', '.join(missing)}"
    return _what_cannot_be_imported()


def _what_cannot_be_imported() -> str | None:
    """What of ours finds a name of Tahoe's gone: now, and not at the first download."""
    try:
        from . import consumers, node  # noqa: F401 - they import all the rest
    except ImportError as error:
        return str(error)
    return None


def unknown_tahoe_of_process() -> str | None:
    """Why the chooser is not in place in this process, or None: it is."""
    return None if _seam.stock_node is not None else unknown_tahoe() or "not installed"


def put_chooser() -> bool:
    """Put the chooser in place; False if this Tahoe is not known.  Idempotent."""
    if _seam.stock_node is not None:
        return True
    if _seam.refused:
        return False
    why = unknown_tahoe()
    if why is not None:
        _seam.refused = True
        _log.warn(
            "tahoe-fastdl does not know this Tahoe-LAFS ({why});"
            " downloads use the stock downloader",
            why=why,
        )
        return False
    from .consumers import DecryptingConsumer

    _seam.stock_node = filenode.DownloadNode
    _seam.stock_consumer = filenode.DecryptingConsumer
    filenode.DownloadNode = choose_node
    filenode.DecryptingConsumer = DecryptingConsumer
    return True


def take_chooser_away() -> None:
    """Undo :func:`put_chooser`; nodes that exist go on as they are.  Idempotent."""
    if _seam.stock_node is not None:
        filenode.DownloadNode = _seam.stock_node
        filenode.DecryptingConsumer = _seam.stock_consumer
        _seam.stock_node = _seam.stock_consumer = None
    _seam.refused = False


def switch_everywhere(settings: Settings | None) -> None:
    """Fast downloads for every client of this process, or (None) only for those
    whose tahoe.cfg names us."""
    _seam.everywhere = settings
    _seam.hubs.clear()


def hub_for(storage_broker: Any) -> Hub | None:
    """The hub of the client with this broker, or None: that client is on stock."""
    if storage_broker is None:
        return None
    if storage_broker in _seam.hubs:
        return _seam.hubs[storage_broker]
    hub = _make_hub(storage_broker)
    _seam.hubs[storage_broker] = hub
    return hub


def _make_hub(storage_broker: Any) -> Hub | None:
    if _seam.everywhere is not None:
        return _recorded(Hub(_seam.everywhere))
    config = getattr(storage_broker, "storage_client_config", None)
    options = getattr(config, "storage_plugins", {}).get(PLUGIN_NAME)
    if options is None:
        return None
    try:
        return _recorded(Hub(parse_settings(options)))
    except errors.BadOption as error:
        _log.warn("tahoe-fastdl: {error}; this node uses the stock downloader", error=str(error))
        return None


def _recorded(hub: Hub) -> Hub:
    """With what the page at /storage-plugins/tahoe-fastdl/ shows."""
    hub.recorder = Journal()
    return hub


def hub_of_config(node_config: Any) -> Hub | None:
    """The hub of the client with this tahoe.cfg, or None before its first download."""
    for broker, hub in list(_seam.hubs.items()):
        if getattr(broker, "node_config", None) is node_config:
            return hub
    return None


def settings_of_config(node_config: Any) -> Settings:
    """The settings in force for the client with this tahoe.cfg.

    :raise BadOption: they are no good, and the client is on stock.
    :raise configparser.InterpolationError: a ``%`` in them makes no sense; a client does
        not start with such a tahoe.cfg.
    """
    if _seam.everywhere is not None:
        return _seam.everywhere
    try:
        options = dict(node_config.items(SECTION))
    except NoSectionError:
        options = {}
    return parse_settings(options)


def check_options(node_config: Any) -> str | None:
    """What is wrong with the options in this tahoe.cfg, or None."""
    try:
        settings_of_config(node_config)
    except errors.BadOption as error:
        return str(error)
    return None


def choose_node(
    verifycap: Any,
    storage_broker: Any,
    secret_holder: Any,
    terminator: Any,
    history: Any,
    download_status: Any,
) -> Any:
    """Stands where ``DownloadNode`` stood: our node or the stock one."""
    stock = _seam.stock_node or stock_module.DownloadNode
    arguments = (verifycap, storage_broker, secret_holder, terminator, history, download_status)
    hub = None
    try:
        hub = hub_for(storage_broker)
        if hub is not None:
            from .node import FastDownloadNode

            return FastDownloadNode(*arguments, hub, stock)
    except Exception:  # noqa: BLE001 - whatever it is, this file is read all the same
        _log.failure("tahoe-fastdl: internal error, using the stock downloader")
        if hub is not None:
            hub.count("fallbacks")
    return stock(*arguments)
