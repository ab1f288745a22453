"""Twisted's plugin system imports this at every start of a Tahoe client.

Nothing else of ours is called before the first download, so this is where
the chooser is put in place.  For a client whose tahoe.cfg does not name
tahoe-fastdl the chooser hands back the stock downloader itself.
"""

from tahoe_fastdl.plugin import FastDownloadPlugin
from tahoe_fastdl.seam import put_chooser

put_chooser()

tahoe_fastdl = FastDownloadPlugin()

__all__ = ["tahoe_fastdl"]
