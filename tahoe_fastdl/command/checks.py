"""What ``tahoe-fastdl check`` looks at, from the node directory to the running node.

Touches the world through ``node_dir`` and ``running``; which words a find deserves is
the business of ``verdict``.  Changes nothing.
"""

from __future__ import annotations

import configparser
import sys
from pathlib import Path

import allmydata
from allmydata.interfaces import IFoolscapStoragePlugin
from attrs import frozen
from twisted.plugin import getPlugins

from .. import __version__, errors, seam
from ..settings import PLUGIN_NAME, SECTION, Settings
from ..status.text import MAX_TEXT, clean
from . import running
from .cfg_text import names_in, parsed
from .node_dir import CFG_NAME, CfgFile, read_cfg, why_no_client
from .verdict import RESTART, Finding, Outcome, on_enabled, on_use, read_overview

OK, FAILED, NOT_CHECKED = Outcome.OK, Outcome.FAILED, Outcome.NOT_CHECKED

# In the order in which they are shown; without tahoe.cfg those behind it cannot be done.
_OF_CFG = ("enabled", "options", "running", "in use")


@frozen
class _Node:
    """A node directory that can be read."""

    directory: Path
    cfg: CfgFile
    parser: configparser.ConfigParser

    def names(self, section: str, option: str) -> list[str]:
        """The plugins that an option names."""
        return names_in(self.parser.get(section, option, fallback=""))


def check(directory: Path) -> list[Finding]:
    """Everything there is to check about a node and our plugin."""
    node, finding = _node(directory)
    known = known_plugins()
    findings = [finding, _on_tahoe(), _on_plugin(known)]
    if node is None:
        return findings + [Finding(name, NOT_CHECKED, "without tahoe.cfg") for name in _OF_CFG]
    try:
        names, served = node.names("client", "storage.plugins"), node.names("storage", "plugins")
        enabled = on_enabled(names, served, known)
    except configparser.InterpolationError:
        names = []
        enabled = Finding("enabled", FAILED, "a % in the names of plugins makes no sense")
    settings, options = _on_options(node.parser)
    return [*findings, enabled, options, *_on_process(node, PLUGIN_NAME in names, settings)]


def known_plugins() -> list[str]:
    """The names of the storage plugins that Twisted finds in this environment."""
    return sorted({str(plugin.name) for plugin in getPlugins(IFoolscapStoragePlugin)})


def _node(directory: Path) -> tuple[_Node | None, Finding]:
    name = "node directory"
    why = why_no_client(directory)
    if why is not None:
        remedy = f"Name the directory that holds the client's {CFG_NAME}."
        return None, Finding(name, FAILED, f"{directory}: {why}", remedy)
    try:
        cfg = read_cfg(directory)
        node = _Node(directory, cfg, parsed(cfg.text))
    except errors.CannotEdit as error:
        path = directory / CFG_NAME
        return None, Finding(name, FAILED, f"{path}: {error}", "Put that right.")
    return node, Finding(name, OK, f"{directory} is a client's")


def _on_tahoe() -> Finding:
    # Puts the chooser in place in this process, which downloads nothing.
    version = allmydata.__version__
    if seam.put_chooser():
        return Finding("Tahoe-LAFS", OK, f"{version} is supported")
    why = f"{version} is not supported: {seam.unknown_tahoe()}"
    remedy = "Install one that is; with this one downloads use the stock downloader."
    return Finding("Tahoe-LAFS", FAILED, why, remedy)


def _on_plugin(known: list[str]) -> Finding:
    if PLUGIN_NAME in known:
        text = f"version {__version__} is found by the Twisted of {sys.prefix}"
        return Finding("plugin", OK, text)
    return Finding(
        "plugin",
        FAILED,
        f"it is installed in {sys.prefix}, but Twisted does not find its drop-in there",
        "Install it again.",
    )


def _on_options(parser: configparser.ConfigParser) -> tuple[Settings | None, Finding]:
    try:
        settings = seam.settings_of_config(parser)
    except errors.BadOption as error:
        text = clean(str(error), MAX_TEXT)  # a value in the wrong place may be anything
        return None, Finding("options", FAILED, text, f"Correct it. {RESTART}")
    except configparser.InterpolationError as error:
        text = f"[{SECTION}] {error.option}: a % in its value makes no sense"
        return None, Finding("options", FAILED, text, f"Correct it. {RESTART}")
    has_some = parser.has_section(SECTION) and parser.options(SECTION)
    text = f"those of [{SECTION}] are valid" if has_some else "the defaults"
    return settings, Finding("options", OK, text)


def _on_process(node: _Node, named: bool, settings: Settings | None) -> list[Finding]:
    try:
        process = running.find_process(node.directory)
    except errors.NotRunning as error:
        return [
            Finding("running", FAILED, f"the node does not run: {error}", "Start the node."),
            Finding("in use", NOT_CHECKED, "the node does not run"),
        ]
    return [
        Finding("running", OK, f"the node is process {process.pid}"),
        _on_use(node, named, settings, process),
    ]


def _on_use(
    node: _Node, named: bool, settings: Settings | None, process: running.Process
) -> Finding:
    web_port = node.parser.get("node", "web.port", fallback="", raw=True)
    try:
        address = running.web_address(node.directory, web_port, process)
        document = running.ask(address)
    except errors.CannotAsk as error:
        is_older = process.started < node.cfg.modified
        changed = f"tahoe.cfg was changed since the node was started. {RESTART}"
        return Finding("in use", NOT_CHECKED, str(error), changed if is_older else "")
    except errors.NoAnswer as error:
        remedy = "If it was started just now, try again; else see its log."
        return Finding("in use", FAILED, str(error), remedy)
    answer = None if document is None else read_overview(document)
    if document is not None and answer is None:
        return Finding("in use", FAILED, f"{address} is not this node's web port", RESTART)
    return on_use(named, settings, __version__, answer)
