"""What Tahoe loads when tahoe.cfg names tahoe-fastdl.

Tahoe has no extension point for downloaders, but it loads enabled
storage plugins when the client is built and mounts their web resource.  We
are one that serves no storage: a server that announces one of our name is
treated as if nobody had enabled us.
"""

from __future__ import annotations

from typing import Any

from allmydata.interfaces import IFoolscapStoragePlugin
from allmydata.storage_client import AnnouncementNotMatched
from twisted.internet import defer
from zope.interface import implementer

from .settings import PLUGIN_NAME


@implementer(IFoolscapStoragePlugin)
class FastDownloadPlugin:
    """The plugin object that the drop-in names."""

    name = PLUGIN_NAME

    def get_storage_server(self, configuration: Any, get_anonymous_storage_server: Any) -> Any:
        """We serve no storage.

        :raise ValueError: in the Deferred; tahoe.cfg names us in ``[storage] plugins``.
        """
        return defer.fail(
            ValueError(
                f"{PLUGIN_NAME} speeds up downloads and stores nothing: name it in"
                " [client] storage.plugins, not in [storage] plugins"
            )
        )

    def get_storage_client(self, configuration: Any, announcement: Any, get_rref: Any) -> Any:
        """A server announces storage under our name: there is no such thing.

        :raise AnnouncementNotMatched: always; Tahoe then goes on with the
            server's anonymous storage.
        """
        raise AnnouncementNotMatched(PLUGIN_NAME)

    def get_client_resource(self, configuration: Any) -> Any:
        """The page at /storage-plugins/tahoe-fastdl/, made at its first request."""
        from .status.page import StatusPage

        return StatusPage(configuration)
