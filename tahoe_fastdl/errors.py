"""Every error this package raises, split by whose fault it is.

``node.py`` turns those that reach a reader into the classes that the stock
downloader raises, so that nothing above the downloader sees a new one.
"""

from __future__ import annotations


class FastDLError(Exception):
    """Base of all errors of this package."""


# -- the caller ---------------------------------------------------------------


class CallerError(FastDLError):
    """Asked for something that cannot be.  Only that request fails."""


class BadSegmentNumber(CallerError):
    """A segment number past the end of the file."""


class BadOption(CallerError):
    """tahoe.cfg names an unknown option or a bad value.  The node runs on stock."""


class CannotEdit(CallerError):
    """tahoe.cfg cannot be read, or not be changed safely.  It stays as it is."""


# -- the node that runs -------------------------------------------------------


class NodeError(FastDLError):
    """The command learns nothing of a running node.  It says so; the node is as before."""


class NotRunning(NodeError):
    """There is no such process; the text says how that is known."""


class CannotAsk(NodeError):
    """The web port is none that the command can ask."""


class NoAnswer(NodeError):
    """The web port should answer and does not, or not as a node does."""


# -- one share ----------------------------------------------------------------


class ShareError(FastDLError):
    """Bytes of one share are no good.  Its server is told, other shares go on."""


class LayoutInvalid(ShareError):
    """The header of a share makes no sense.  The share is retired."""


class BadHash(ShareError):
    """A hash did not match.  What it covered is asked of another share."""


# -- the file -----------------------------------------------------------------


class FileError(FastDLError):
    """The file cannot be had.  Reads that need the part fail, later ones may work."""


class NoShares(FileError):
    """No share was found that is of any use."""


class NotEnoughShares(FileError):
    """Some shares, but fewer than k good blocks of a segment."""


class BadCiphertextHash(FileError):
    """Every block proved good and the segment is still wrong: the uploader's fault."""


class MalformedUEB(FileError):
    """The cap vouches for a URI extension block that no encoder makes."""


class FileTooLarge(FileError):
    """More segments than this downloader keeps books for.  Stock takes over."""
