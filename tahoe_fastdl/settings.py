"""Options of ``[storageclient.plugins.tahoe-fastdl]``: unit, default, bounds.

Pure.  docs/configuration.rst lists the same table; a test compares.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from .errors import BadOption

PLUGIN_NAME = "tahoe-fastdl"
SECTION = f"storageclient.plugins.{PLUGIN_NAME}"

_UNITS = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "k": 2**10,
    "m": 2**20,
    "g": 2**30,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
}
_DURATIONS = {"": 1.0, "s": 1.0, "ms": 0.001, "min": 60.0}

MIN_MEMORY_BYTES = 4 * 2**20
MAX_MEMORY_BYTES = 64 * 2**30
MIN_PATIENCE_S, MAX_PATIENCE_S = 1.0, 3600.0
MIN_REMEMBER_S, MAX_REMEMBER_S = 0.0, 3600.0


@frozen
class Settings:
    """What the operator chose."""

    memory: int = 64 * 2**20  # bytes requested, received and decoded, all downloads together
    verify: str = "segments"  # what is checked before delivery: segments, or every block too
    patience: float = 120.0  # seconds of silence before a server counts as not answering
    remember: float = 300.0  # seconds that shares and hashes of a file are kept for its next reader


def _refuse(option: str, value: str, accepted: str) -> BadOption:
    return BadOption(f"[{SECTION}] {option} = {value}: accepted is {accepted}")


def _memory(value: str) -> int:
    accepted = "a size from 4 MiB to 64 GiB, such as 64 MiB"
    match = re.fullmatch(r"\s*(\d{1,15})\s*([A-Za-z]*)\s*", value)
    unit = _UNITS.get(match.group(2).lower()) if match else None
    size = int(match.group(1)) * unit if match and unit else 0
    if not MIN_MEMORY_BYTES <= size <= MAX_MEMORY_BYTES:
        raise _refuse("memory", value, accepted)
    return size


def _verify(value: str) -> str:
    if value.strip().lower() not in ("segments", "blocks"):
        raise _refuse("verify", value, "segments or blocks")
    return value.strip().lower()


def _seconds(value: str, least: float, most: float) -> float | None:
    """The time that *value* names; None: it names none, or one out of bounds."""
    match = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*([A-Za-z]*)\s*", value)
    unit = _DURATIONS.get(match.group(2).lower()) if match else None
    if match is None or unit is None or not least <= float(match.group(1)) * unit <= most:
        return None
    return float(match.group(1)) * unit


def _patience(value: str) -> float:
    seconds = _seconds(value, MIN_PATIENCE_S, MAX_PATIENCE_S)
    if seconds is None:
        raise _refuse("patience", value, "a time from 1 s to 3600 s, such as 120 s")
    return seconds


def _remember(value: str) -> float:
    seconds = _seconds(value, MIN_REMEMBER_S, MAX_REMEMBER_S)
    if seconds is None:
        raise _refuse("remember", value, "a time from 0 s to 3600 s, such as 5 min")
    return seconds


_PARSERS = {"memory": _memory, "verify": _verify, "patience": _patience, "remember": _remember}


def parse_settings(options: Mapping[str, str]) -> Settings:
    """The settings a section of tahoe.cfg asks for.

    :param options: option name -> text, as in tahoe.cfg.
    :raise BadOption: an unknown option or a bad value; the text names section,
        option, value and what is accepted.
    """
    parsed: dict[str, Any] = {}
    for option, value in options.items():
        parser = _PARSERS.get(option)
        if parser is None:
            raise _refuse(option, value, "one of the options " + ", ".join(sorted(_PARSERS)))
        parsed[option] = parser(value)
    return Settings(**parsed)


def as_text(settings: Settings) -> list[tuple[str, str]]:
    """Option and value, as somebody could have written them in tahoe.cfg; in a fixed order."""
    memory = settings.memory
    size = f"{memory // 2**20} MiB" if memory % 2**20 == 0 else f"{memory} B"
    return [
        ("memory", size),
        ("verify", settings.verify),
        ("patience", f"{settings.patience:g} s"),
        ("remember", f"{settings.remember:g} s"),
    ]
