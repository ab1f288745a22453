"""What ``tahoe-fastdl check`` found out, in words.

Pure.  A finding is one line: an outcome, what was looked at, what was found; and what
to do if that is not as it should be.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from enum import Enum
from typing import Any

from attrs import frozen

from ..settings import PLUGIN_NAME, Settings, as_text
from ..status.text import MAX_TEXT, clean

RESTART = "Restart the node."
ENABLE = f"Run: {PLUGIN_NAME} enable NODEDIR, and restart the node."


class Outcome(Enum):
    """What became of a check."""

    OK = "ok"
    FAILED = "failed"
    NOT_CHECKED = "not checked"


@frozen
class Finding:
    """One check."""

    check: str
    outcome: Outcome
    text: str
    remedy: str = ""


@frozen
class Running:
    """What a running node says of our plugin."""

    plugin: str  # its version
    why_not: str | None  # why its downloads use stock, or None: they do not
    options: list[tuple[str, str]]  # those in force
    downloads: int
    fallbacks: int


def exit_status(findings: Sequence[Finding]) -> int:
    """0 if nothing failed, else 1."""
    return int(any(finding.outcome is Outcome.FAILED for finding in findings))


def as_lines(findings: Sequence[Finding]) -> str:
    """For people."""
    return "".join(
        f"{each.outcome.value:<12} {each.check}: {each.text}"
        + (f". {each.remedy}\n" if each.remedy else "\n")
        for each in findings
    )


def as_json(findings: Sequence[Finding]) -> str:
    """For scripts: one object."""
    checks = [
        {"check": f.check, "outcome": f.outcome.value, "text": f.text, "remedy": f.remedy}
        for f in findings
    ]
    return json.dumps({"ok": exit_status(findings) == 0, "checks": checks}, indent=1) + "\n"


def on_enabled(names: Sequence[str], served: Sequence[str], known: Sequence[str]) -> Finding:
    """What tahoe.cfg names.

    :param names: in ``[client] storage.plugins``.
    :param served: in ``[storage] plugins``.
    :param known: the storage plugins that Twisted finds.
    """
    check = "enabled"
    if PLUGIN_NAME in served:
        return Finding(
            check,
            Outcome.FAILED,
            f"[storage] plugins names {PLUGIN_NAME}, which stores nothing",
            f"Take it out there; its place is [client] storage.plugins. {RESTART}",
        )
    if any(re.match(rf"{PLUGIN_NAME}\s*[#;]", name) for name in names):
        return Finding(
            check,
            Outcome.FAILED,
            "[client] storage.plugins has a comment behind the name: to Tahoe, a part of it",
            f"Give the comment a line of its own. {RESTART}",
        )
    if PLUGIN_NAME not in names:
        return Finding(
            check, Outcome.FAILED, f"[client] storage.plugins does not name {PLUGIN_NAME}", ENABLE
        )
    missing = [name for name in names if name not in known and name != PLUGIN_NAME]
    if missing:
        return Finding(
            check,
            Outcome.FAILED,
            f"[client] storage.plugins names {', '.join(missing)} too, which is not installed here:"
            " a node does not start like that",
            "Install it, or take it out.",
        )
    return Finding(check, Outcome.OK, f"[client] storage.plugins names {PLUGIN_NAME}")


def on_use(
    named: bool, settings: Settings | None, version: str, running: Running | None
) -> Finding:
    """What the running node does, held against what tahoe.cfg says now.

    :param named: tahoe.cfg names us.
    :param settings: that tahoe.cfg asks for; None if they are no good.
    :param version: of the plugin that is installed.
    :param running: None: the node runs without us.
    """
    text, remedy = _use(named, settings, version, running)
    if remedy:
        return Finding("in use", Outcome.FAILED, text, remedy)
    return Finding("in use", Outcome.OK, text)


def _use(
    named: bool, settings: Settings | None, version: str, running: Running | None
) -> tuple[str, str]:
    if running is None:
        if named:
            return f"the node was started before tahoe.cfg named {PLUGIN_NAME}", RESTART
        return "the node downloads with the stock downloader", ENABLE
    if not named:
        return f"the node was started while tahoe.cfg named {PLUGIN_NAME}, and uses it", RESTART
    if running.why_not is not None:
        return (
            f"the node has loaded {PLUGIN_NAME} and set it aside, because {running.why_not}",
            f"Put that right. {RESTART}",
        )
    if running.plugin != version:
        return f"the node runs version {running.plugin}, and {version} is installed", RESTART
    if settings is not None and running.options != as_text(settings):
        other = [f"{name} = {value}" for name, value in running.options]
        differing = [text for text in other if text not in _options(settings)]
        return f"the node runs with {', '.join(differing or other)}; tahoe.cfg has changed", RESTART
    return (
        f"the node downloads with {PLUGIN_NAME} {version}; downloads: {running.downloads},"
        f" fallbacks: {running.fallbacks}",
        "",
    )


def _options(settings: Settings) -> list[str]:
    return [f"{name} = {value}" for name, value in as_text(settings)]


def read_overview(document: Any) -> Running | None:
    """What a node's ``v1/overview.json`` says; None if this is not one."""
    try:
        if document["format"] != f"{PLUGIN_NAME}-overview":
            return None
        totals, why_not = document["totals"], document["why_not"]
        return Running(
            plugin=clean(str(document["plugin"])),
            why_not=None if why_not is None else clean(str(why_not), MAX_TEXT),
            options=[(clean(str(name)), clean(str(value))) for name, value in document["options"]],
            downloads=int(totals["downloads"]),
            fallbacks=int(totals["fallbacks"]),
        )
    except (KeyError, TypeError, ValueError):
        return None
