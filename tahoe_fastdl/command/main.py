"""``tahoe-fastdl``, the command.

Owns its options, what it prints and its exit status: 0 if it was done or all is well,
1 if something was refused or a check failed, 2 if it was called wrongly.  Errors go to
standard error.  The options are Twisted's, as those of ``tahoe`` and ``twist`` are.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, TextIO

from twisted.python import usage

from .. import __version__
from ..errors import CannotEdit
from ..settings import PLUGIN_NAME, SECTION

DONE, FAILED, WRONG_USAGE = 0, 1, 2


class _Options(usage.Options):
    """What all of them have."""

    def opt_version(self) -> None:
        """Show the version and exit."""
        print(f"{PLUGIN_NAME} {__version__}")  # noqa: T201
        raise SystemExit(DONE)


class _NodeOptions(_Options):
    """One node directory."""

    synopsis = "[options] NODEDIR"

    def parseArgs(self, nodedir: str) -> None:  # type: ignore[override]  # Twisted's way
        """The argument behind the options."""
        if not nodedir:
            raise usage.UsageError("NODEDIR is empty")
        self["nodedir"] = Path(os.path.expanduser(nodedir)).absolute()


class CheckOptions(_NodeOptions):
    """Of ``check``."""

    optFlags: ClassVar[list[Any]] = [["json", None, "Print JSON, for scripts."]]
    longdesc = (
        "Says in a line each whether the plugin is installed, supported, enabled and valid, and"
        " whether the running node uses it. Exits with 1 if one of them failed."
    )


class EditOptions(_NodeOptions):
    """Of ``enable`` and ``disable``."""

    optFlags: ClassVar[list[Any]] = [
        ["dry-run", "n", "Show what would change, and change nothing."]
    ]
    longdesc = (
        "Changes [client] storage.plugins in NODEDIR/tahoe.cfg, nothing else, and shows the"
        " difference. The node has to be restarted afterwards."
    )


class Options(_Options):
    """Of the command."""

    longdesc = "NODEDIR is the directory of a Tahoe-LAFS client, such as ~/.tahoe"
    subCommands: ClassVar[list[Any]] = [
        ["check", None, CheckOptions, "Is the plugin in use? If not, why?"],
        ["enable", None, EditOptions, "Let a node download with the plugin."],
        ["disable", None, EditOptions, "Let a node download without it."],
    ]

    def getSynopsis(self) -> str:
        """The first line of its help, and the head of its commands'."""
        rest = " COMMAND [options] NODEDIR" if self.subCommand is None else ""
        return f"Usage: {PLUGIN_NAME}{rest}"

    def postOptions(self) -> None:
        """There must be a command."""
        if self.subCommand is None:
            raise usage.UsageError("a command is needed")


def run() -> None:
    """The entry point."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a path can hold any byte
    raise SystemExit(main(sys.argv[1:], sys.stdout, sys.stderr))


def main(arguments: Sequence[str], out: TextIO, err: TextIO) -> int:
    """Do what the arguments say; returns the exit status.

    :raise SystemExit: with 0, after ``--help`` and ``--version``.
    """
    options = Options()
    try:
        options.parseOptions(list(arguments))
    except usage.UsageError as error:
        # Of the command, if it got so far.
        err.write(f"{getattr(options, 'subOptions', options)}\n{PLUGIN_NAME}: {error}\n")
        return WRONG_USAGE
    chosen: Any = options.subOptions
    if options.subCommand == "check":
        return _check(chosen["nodedir"], bool(chosen["json"]), out)
    is_enabling = options.subCommand == "enable"
    try:
        return _edit(chosen["nodedir"], is_enabling, bool(chosen["dry-run"]), out)
    except CannotEdit as error:
        err.write(f"{PLUGIN_NAME}: {error}\n")
        return FAILED


def _check(directory: Path, is_json: bool, out: TextIO) -> int:
    # Imported here, as in what follows: Tahoe takes a second, and --help should not.
    from .checks import check
    from .verdict import as_json, as_lines, exit_status

    findings = check(directory)
    out.write(as_json(findings) if is_json else as_lines(findings))
    return exit_status(findings)


def _edit(directory: Path, is_enabling: bool, is_dry: bool, out: TextIO) -> int:
    """Let a node's tahoe.cfg name our plugin, or not name it.

    :raise CannotEdit: it stays as it is; says what file and why.
    """
    from . import node_dir
    from .cfg_text import difference, disabled, enabled

    why = node_dir.why_no_client(directory)
    if why is not None:
        raise CannotEdit(f"{directory}: {why}")
    if is_enabling:
        _refuse_without_drop_in()
    path = directory / node_dir.CFG_NAME
    state, edit = ("enabled", enabled) if is_enabling else ("disabled", disabled)
    try:
        cfg = node_dir.read_cfg(directory)
        text = edit(cfg.text)
        if text == cfg.text:
            out.write(f"{PLUGIN_NAME} is {state} in {path} already\n")
            return DONE
        if not is_dry:
            node_dir.replace_cfg(cfg, text)
    except CannotEdit as error:
        raise CannotEdit(f"{path}: {error}") from None
    out.write(difference(cfg.text, text, str(path)))
    if is_dry:
        out.write(f"{path} stays as it is: this was a dry run\n")
        return DONE
    if not is_enabling and f"[{SECTION}]" in text:
        out.write(f"[{SECTION}] stays, for the next time\n")
    out.write(f"{PLUGIN_NAME} is {state} in {path}; restart the node\n")
    return DONE


def _refuse_without_drop_in() -> None:
    """Tahoe does not start a node whose tahoe.cfg names a plugin that is not found.

    :raise CannotEdit: ours is not.
    """
    from .checks import known_plugins

    if PLUGIN_NAME not in known_plugins():
        raise CannotEdit(
            f"Twisted does not find the plugin in {sys.prefix}, and a node that names it would not"
            " start; install it again"
        )
