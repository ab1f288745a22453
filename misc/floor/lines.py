"""The raw results: a file of JSON lines, one a measured run, only ever added to.

Laws: a line is written and flushed when its run is over; a line cut short by a
crash is ignored; lines hold no cap.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from misc.bench.cases import Case, Encoding, File
from misc.bench.results import Spread, spread

NUMBERS = ("wall_s", "cpu_s", "servers_cpu_s", "reader_cpu_s")


@dataclass(frozen=True)
class Line:
    """One run of one part of a case; CPU is user and system together."""

    case: Case
    part: str
    number: int
    wall_s: float
    cpu_s: float = 0.0  # of the process that is measured
    servers_cpu_s: float = 0.0
    reader_cpu_s: float = 0.0  # of whoever takes the bytes from a web port
    session: str = ""
    load: float = 0.0  # the machine's load average just before
    details: dict[str, float] = field(default_factory=dict)

    @property
    def total_cpu_s(self) -> float:
        """Of all processes that take part."""
        return self.cpu_s + self.servers_cpu_s + self.reader_cpu_s

    def as_json(self) -> dict[str, Any]:
        """Flat, so that other tools can read it."""
        file = self.case.file
        line: dict[str, Any] = {
            "case": self.case.key,
            "length": file.length,
            "needed": file.encoding.needed,
            "total": file.encoding.total,
            "segment_bytes": file.segment_bytes,
            "transport": self.case.transport,
            "wire": self.case.wire,
            "details": {name: round(value, 6) for name, value in self.details.items()},
        }
        for name in ("part", "number", "session"):
            line[name] = getattr(self, name)
        for name in ("load", *NUMBERS):
            line[name] = round(getattr(self, name), 6)
        return line


def line_of_json(line: dict[str, Any]) -> Line:
    """The opposite of :meth:`Line.as_json`.

    :raise KeyError: something is missing.
    """
    encoding = Encoding(line["needed"], line["total"])
    file = File(line["length"], encoding, line["segment_bytes"])
    names = ("part", "number", "session", "load", "details", *NUMBERS)
    case = Case(file, line["transport"], line["wire"])
    return Line(case, **{name: line[name] for name in names})


class Lines:
    """All lines of a file, and the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sessions: dict[str, dict[str, Any]] = {}
        self.lines: list[Line] = []
        self._of: dict[tuple[str, str], list[Line]] = {}
        if path.exists():
            for text in path.read_text(encoding="utf-8").splitlines():
                self._take(text)

    def _take(self, text: str) -> None:
        try:
            line = json.loads(text)
            if "machine" in line:
                self.sessions[line["session"]] = line
            else:
                self._keep(line_of_json(line))
        except (ValueError, KeyError, TypeError):  # cut short when the command was killed
            return

    def _keep(self, line: Line) -> None:
        self.lines.append(line)
        self._of.setdefault((line.case.key, line.part), []).append(line)

    def add_session(self, session: str, about: dict[str, Any]) -> None:
        """A run of the command begins: on which machine, with which versions."""
        line = {"session": session, **about}
        self.sessions[session] = line
        self._write(line)

    def add(self, line: Line) -> None:
        """A run is over."""
        self._keep(line)
        self._write(line.as_json())

    def _write(self, line: dict[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        cut_short = False
        if self.path.exists() and self.path.stat().st_size:
            with open(self.path, "rb") as handle:
                handle.seek(-1, 2)
                cut_short = handle.read(1) != b"\n"
        with open(self.path, "a", encoding="utf-8") as handle:
            handle.write(("\n" if cut_short else "") + json.dumps(line, sort_keys=True) + "\n")

    # ------------------------------------------------------------ questions

    def of(self, case: Case, part: str) -> list[Line]:
        """The runs of a part of a case."""
        return self._of.get((case.key, part), [])

    def numbers(self, case: Case, part: str) -> set[int]:
        """Which runs are done."""
        return {line.number for line in self.of(case, part)}

    def spread(self, case: Case, part: str, what: Callable[[Line], float]) -> Spread | None:
        """Of one number over the runs of a part; None of none."""
        return spread(map(what, self.of(case, part)))

    def cases(self) -> list[Case]:
        """All that occur, each once, in the order of the tables."""
        found = {line.case.key: line.case for line in self.lines}
        return sorted(found.values(), key=_place)


def _place(case: Case) -> tuple[str, str, int, Encoding, int]:
    file = case.file
    return case.wire, case.transport, file.segment_bytes, file.encoding, file.length
