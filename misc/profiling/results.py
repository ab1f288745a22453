"""The profiles that were taken: a file of JSON lines, only ever added to.

Laws: a line is written when its profile is over; a line that was cut short is
ignored; lines hold no cap and no directory of the machine.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from misc.bench.cases import Encoding, File


@dataclass(frozen=True)
class RowCost:
    """One row of a table: what, how often, for how long."""

    title: str
    calls: int
    own_s: float
    cumulative_s: float


@dataclass(frozen=True)
class Profile:
    """One line: one download under the profiler, less the baseline."""

    kind: str
    file: File
    transport: str
    wall_s: float
    cpu_s: float  # of all threads
    main_cpu_s: float  # of the profiled one
    busy_s: float  # of the profiled one by the profiler's account: wall less waiting
    reads: int
    calls: int  # of any function
    rows: tuple[RowCost, ...]
    layers: dict[str, float]  # own seconds by whose code it is, the most first
    top: tuple[RowCost, ...]
    session: str = ""

    @property
    def case(self) -> tuple[File, str]:
        """What may be compared."""
        return self.file, self.transport

    def row(self, title: str) -> RowCost:
        """One of the ticket's rows; zeros if it was not there when this was measured."""
        return next((row for row in self.rows if row.title == title), RowCost(title, 0, 0.0, 0.0))

    def as_json(self) -> dict[str, Any]:
        """Flat but for the tables."""
        line = asdict(self)
        file = line.pop("file")
        line.update(length=file["length"], segment_bytes=file["segment_bytes"], **file["encoding"])
        return line


def profile_of_json(line: dict[str, Any]) -> Profile:
    """The opposite of :meth:`Profile.as_json`.

    :raise KeyError: something is missing.
    """
    encoding = Encoding(line["needed"], line["total"])
    values = {each.name: line[each.name] for each in fields(Profile) if each.name != "file"}
    for name in ("rows", "top"):
        values[name] = tuple(RowCost(**row) for row in values[name])
    values["layers"] = dict(sorted(values["layers"].items(), key=lambda item: -item[1]))
    return Profile(file=File(line["length"], encoding, line["segment_bytes"]), **values)


class Results:
    """All profiles of a file, and the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sessions: dict[str, dict[str, Any]] = {}
        self.profiles: list[Profile] = []
        if path.exists():
            for text in path.read_text(encoding="utf-8").splitlines():
                self._take(text)

    def _take(self, text: str) -> None:
        try:
            line = json.loads(text)
            if "machine" in line:
                self.sessions[line["session"]] = line
            else:
                self.profiles.append(profile_of_json(line))
        except (ValueError, KeyError, TypeError):  # cut short
            return

    def add_session(self, session: str, about: dict[str, Any]) -> None:
        """Profiles follow: of which machine, with which versions."""
        self.sessions[session] = {"session": session, **about}
        self._write(self.sessions[session])

    def add(self, profile: Profile) -> None:
        """A profile is over."""
        self.profiles.append(profile)
        self._write(profile.as_json())

    def _write(self, line: dict[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a+b") as handle:
            cut_short = False
            if handle.tell():
                handle.seek(-1, 2)
                cut_short = handle.read(1) != b"\n"
            text = ("\n" if cut_short else "") + json.dumps(line, sort_keys=True) + "\n"
            handle.write(text.encode())

    def newest(self) -> dict[tuple[File, str], dict[str, Profile]]:
        """By what was downloaded and how, then by kind: the last of each."""
        found: dict[tuple[File, str], dict[str, Profile]] = {}
        for profile in self.profiles:
            found.setdefault(profile.case, {})[profile.kind] = profile
        return found
