"""A node directory: what kind of node it is for, and its tahoe.cfg.

Touches files.  Laws: tahoe.cfg is replaced as a whole or not at all, keeps its mode,
owner and extended attributes, and is not replaced if it changed since it was read.
"""

from __future__ import annotations

import codecs
import os
import shutil
import tempfile
from pathlib import Path

from allmydata.scripts.tahoe_run import identify_node_type
from attrs import frozen

from ..errors import CannotEdit

CFG_NAME = "tahoe.cfg"


@frozen
class CfgFile:
    """A tahoe.cfg as it was read."""

    path: Path  # of the file itself, where tahoe.cfg is a link to it
    content: bytes
    modified: float  # unix time

    @property
    def text(self) -> str:
        """Without a byte order mark; newlines as they are.

        :raise CannotEdit: it is not UTF-8, and Tahoe reads nothing else.
        """
        try:
            return self.content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise CannotEdit(f"it is not UTF-8 at byte {error.start}") from None

    def encoded(self, text: str) -> bytes:
        """Another text as this file would hold it."""
        mark = codecs.BOM_UTF8 if self.content.startswith(codecs.BOM_UTF8) else b""
        return mark + text.encode("utf-8")


def why_no_client(directory: Path) -> str | None:
    """Why this is not the directory of a Tahoe node that downloads, or None: it is."""
    if not directory.exists():
        return "there is no such directory"
    if not directory.is_dir():
        return "it is not a directory"
    if not _may(directory, os.R_OK | os.X_OK):
        return "it must not be read by this user"
    kind = identify_node_type(str(directory))
    if kind is None:
        return "it is not the directory of a Tahoe node"
    if kind != "client":
        return f"its node is an {kind}, which downloads nothing"
    return None


def read_cfg(directory: Path) -> CfgFile:
    """Its tahoe.cfg.

    :raise CannotEdit: it is not there, or must not be read.
    """
    path = Path(os.path.realpath(directory / CFG_NAME))
    try:
        return CfgFile(path, path.read_bytes(), path.stat().st_mtime)
    except OSError as error:
        raise CannotEdit(f"it cannot be read ({error.strerror})") from None


def replace_cfg(cfg: CfgFile, text: str) -> None:
    """Put *text* in its place.

    :raise CannotEdit: that cannot be done; the file is as before.
    """
    # A rename asks only for rights to the directory: the file's own are looked at here.
    if not _may(cfg.path, os.W_OK):
        raise CannotEdit("it must not be written by this user")
    try:
        number, name = tempfile.mkstemp(prefix=f".{CFG_NAME}.", dir=cfg.path.parent)
    except OSError as error:
        raise CannotEdit(f"nothing can be written beside it ({error.strerror})") from None
    try:
        with open(number, "wb") as handle:
            handle.write(cfg.encoded(text))
            handle.flush()
            os.fsync(number)
        _become(Path(name), cfg.path)
        if cfg.path.read_bytes() != cfg.content:
            raise CannotEdit("somebody else changed it at this moment; try again")
        os.replace(name, cfg.path)
    except OSError as error:
        raise CannotEdit(f"it cannot be replaced ({error.strerror})") from None
    finally:
        Path(name).unlink(missing_ok=True)


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _become(new: Path, old: Path) -> None:
    """Give *new* the mode, owner and attributes of *old*.

    :raise CannotEdit: this user must not; a file of another owner may be out of its
        node's reach.
    """
    status = old.stat()
    made = new.stat()
    if hasattr(os, "chown") and (status.st_uid, status.st_gid) != (made.st_uid, made.st_gid):
        try:
            os.chown(new, status.st_uid, status.st_gid)
        except PermissionError:
            raise CannotEdit(
                "its owner and group cannot be kept by this user; run this as the node's user"
            ) from None
    shutil.copystat(old, new)  # after chown(2), which takes bits of the mode away
    os.utime(new)  # it was changed now
