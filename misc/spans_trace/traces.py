"""Traces: taken apart by file, kept, and read again.

A node writes one trace of all its downloads. Kept is one for each file and downloader,
compressed, as ``operations`` describes; a marker of the file comes first.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from misc.bench.cases import File
from misc.spans_trace import operations
from misc.spans_trace.operations import OPERATIONS, Operation, Result

SUFFIX = ".jsonl.gz"


class NoTraceError(Exception):
    """There is no trace of a download, or not a whole one."""


@dataclass(frozen=True)
class Event:
    """One call; *target* and *result* are numbers, 0 where there is none."""

    operation: Operation
    target: int
    arguments: list[Any]
    result: int = 0

    @property
    def name(self) -> str:
        """As ``operations`` has it."""
        return self.operation.name


@dataclass(frozen=True)
class Group:
    """What happened in one go: a pass of a share's loop, an answer, a plan."""

    begin: str
    share: int  # 0: of no single one
    events: list[Event] = field(default_factory=list)


@dataclass(frozen=True)
class Trace:
    """One download."""

    file: File
    groups: list[Group]

    def names(self) -> dict[str, int]:
        """How often each event happened."""
        found: dict[str, int] = {}
        for group in self.groups:
            for event in group.events:
                found[event.name] = found.get(event.name, 0) + 1
        return found


def path_of(directory: Path, file: File, kind: str) -> Path:
    """Where the trace of a download is kept."""
    name = f"{file.encoding}-{file.length}-{file.segment_bytes}-{kind}"
    return directory / (name + SUFFIX)


# ---------------------------------------------------------------- what a node wrote


def keep(raw: Path, files: Sequence[File], kind: str, directory: Path) -> None:
    """Take a node's trace apart.

    :param files: what was downloaded; no two of the same length and encoding.
    :raise NoTraceError: one of them is not in it.
    """
    lines: dict[int, list[str]] = {}
    numbers: dict[tuple[int, int, int], int] = {}
    current: list[str] = []
    with open(raw, encoding="utf-8") as handle:
        for line in handle:
            if line.startswith("{"):
                marker = json.loads(line)
                number = marker["file"]
                current = lines.setdefault(number, [])
                if marker["begin"] == operations.FILE:
                    key = (marker["size"], marker["needed"], marker["total"])
                    numbers[key] = number
            current.append(line)
    directory.mkdir(parents=True, exist_ok=True)
    for file in files:
        key = (file.length, file.encoding.needed, file.encoding.total)
        if key not in numbers:
            raise NoTraceError(f"{kind}: no trace of {file}")
        path = path_of(directory, file, kind)
        partial = path.with_name(path.name + ".partial")
        with gzip.open(partial, "wt", encoding="utf-8", compresslevel=6) as kept:
            kept.writelines(lines[numbers[key]])
        partial.replace(path)


# ---------------------------------------------------------------- what was kept


def load(directory: Path, file: File, kind: str) -> Trace:
    """The trace of a download.

    :raise NoTraceError: it was not recorded, or by another version of this command.
    """
    path = path_of(directory, file, kind)
    if not path.exists():
        raise NoTraceError(f"{kind}: {file} was not recorded")
    try:
        groups = list(_groups(path))
    except (ValueError, KeyError, TypeError, IndexError, EOFError, OSError) as problem:
        raise NoTraceError(f"{kind}: the trace of {file} cannot be read: {problem!r}") from problem
    return Trace(file, groups)


def _groups(path: Path) -> Iterator[Group]:
    group: Group | None = None
    with gzip.open(path, "rt", encoding="utf-8") as handle:
        for text in handle:
            line = json.loads(text)
            if isinstance(line, list):
                if group is None:
                    raise ValueError("an event of no file")
                group.events.append(_event(line))
                continue
            if group is not None:
                yield group
            group = Group(line["begin"], line.get("share", 0))
    if group is not None:
        yield group


def _event(line: list[Any]) -> Event:
    name, target, *arguments = line
    operation = OPERATIONS[name]
    result = 0 if operation.result is Result.NOTHING else int(arguments.pop())
    if len(arguments) != len(operation.kinds):
        raise ValueError(f"{name} with {len(arguments)} arguments")
    return Event(operation, target, arguments, result)
