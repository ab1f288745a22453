"""tahoe-fastdl: a fast immutable downloader for Tahoe-LAFS, as a drop-in plugin.

A node enables it with ``storage.plugins = tahoe-fastdl`` in ``[client]`` of
tahoe.cfg.  :func:`install` switches the whole process instead, for tests and
for programs that embed Tahoe.  Importing this package does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

__version__ = "0.1.0"

__all__ = ["install", "uninstall", "__version__"]


def install(options: Mapping[str, str] | None = None) -> None:
    """Every immutable download of this process uses tahoe-fastdl.

    Nodes that were read from before keep the downloader they have.  May be
    called twice; the later *options* hold.

    :param options: as in ``[storageclient.plugins.tahoe-fastdl]``.
    :raise tahoe_fastdl.errors.BadOption: an option is unknown or out of bounds.
    :raise RuntimeError: this Tahoe-LAFS is not one we know.
    """
    from . import seam, settings

    chosen = settings.parse_settings(options or {})
    if not seam.put_chooser():
        raise RuntimeError(f"tahoe-fastdl does not know this Tahoe-LAFS: {seam.unknown_tahoe()}")
    seam.switch_everywhere(chosen)


def uninstall() -> None:
    """Undo :func:`install`: only clients whose tahoe.cfg names us stay fast.

    May be called twice, or without :func:`install`.
    """
    from . import seam

    seam.switch_everywhere(None)
