"""The replays that were timed: a file of JSON lines, only ever added to.

Laws: a line is written when its replay is over; a line that was cut short is ignored;
lines hold no cap and no directory of the machine. Of a file the newest counts.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from misc.bench.cases import FAST, MB, STOCK, Encoding, File
from misc.spans_trace.replay import geometry_of

# What is replayed, besides STOCK and FAST.
SILENT = "silent"  # stock without the text it makes for log messages
BITMAPS = "bitmaps"  # stock's events on our bitmaps
REPLAYS = (STOCK, SILENT, BITMAPS, FAST)


@dataclass(frozen=True)
class Cost:
    """One line: one trace replayed. Times are of the whole download, in nanoseconds."""

    file: File
    replay: str
    events: int
    groups: dict[str, int]  # by what began them
    ns: float
    low_ns: float
    high_ns: float
    runs: int
    ns_by_begin: dict[str, float]
    # Of all ledgers; for stock there are none.
    asked: int = 0  # how often somebody wanted to know the desire
    changes: int = 0
    recomputations: int = 0
    # Of a translation; see there.
    units: int = 0
    checked: int = 0
    differences: int = 0
    session: str = ""

    @property
    def segments(self) -> int:
        """Of the file, all of which were delivered."""
        return geometry_of(self.file).num_segments

    @property
    def us_an_event(self) -> float:
        """Microseconds."""
        return self.ns / 1e3 / max(1, self.events)

    @property
    def us_a_segment(self) -> float:
        """Microseconds for each segment that was delivered."""
        return self.ns / 1e3 / self.segments

    @property
    def events_a_segment(self) -> float:
        """For each segment that was delivered."""
        return self.events / self.segments

    @property
    def us_a_megabyte(self) -> float:
        """Microseconds for each MB that was delivered."""
        return self.ns / 1e3 / (self.file.length / MB)

    def part(self, *begins: str) -> float:
        """Which part of the time goes to what these began."""
        return sum(self.ns_by_begin.get(each, 0.0) for each in begins) / max(1.0, self.ns)

    def count(self, *begins: str) -> int:
        """How often these began something."""
        return sum(self.groups.get(each, 0) for each in begins)

    def as_json(self) -> dict[str, Any]:
        """Flat but for the tables."""
        line = asdict(self)
        file = line.pop("file")
        line.update(length=file["length"], segment_bytes=file["segment_bytes"], **file["encoding"])
        for name in ("ns", "low_ns", "high_ns"):
            line[name] = round(line[name])
        line["ns_by_begin"] = {begin: round(ns) for begin, ns in self.ns_by_begin.items()}
        return line


def cost_of_json(line: dict[str, Any]) -> Cost:
    """The opposite of :meth:`Cost.as_json`.

    :raise KeyError: something is missing.
    """
    file = File(line["length"], Encoding(line["needed"], line["total"]), line["segment_bytes"])
    return Cost(file, **{each.name: line[each.name] for each in fields(Cost)[1:]})


@dataclass
class Results:
    """All lines of a file, and the file."""

    path: Path
    sessions: dict[str, dict[str, Any]] = field(default_factory=dict)
    costs: list[Cost] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.path.exists():
            for text in self.path.read_text(encoding="utf-8").splitlines():
                self._take(text)

    def _take(self, text: str) -> None:
        try:
            line = json.loads(text)
            if "machine" in line:
                self.sessions[line["session"]] = line
            else:
                self.costs.append(cost_of_json(line))
        except (ValueError, KeyError, TypeError):  # cut short
            return

    def add_session(self, session: str, about: dict[str, Any]) -> None:
        """Replays follow: on which machine, with which versions."""
        self.sessions[session] = {"session": session, **about}
        self._write(self.sessions[session])

    def add(self, cost: Cost) -> None:
        """A replay is over."""
        self.costs.append(cost)
        self._write(cost.as_json())

    def _write(self, line: dict[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a+b") as handle:
            cut_short = False
            if handle.tell():
                handle.seek(-1, 2)
                cut_short = handle.read(1) != b"\n"
            text = ("\n" if cut_short else "") + json.dumps(line, sort_keys=True) + "\n"
            handle.write(text.encode())

    def newest(self) -> dict[File, dict[str, Cost]]:
        """By file, those of which all replays are there; by k, then by segments."""
        found: dict[File, dict[str, Cost]] = {}
        for cost in self.costs:
            found.setdefault(cost.file, {})[cost.replay] = cost
        whole = [file for file, costs in found.items() if costs.keys() == set(REPLAYS)]
        return {file: found[file] for file in sorted(whole, key=_place)}


def _place(file: File) -> tuple[Encoding, int, int]:
    return file.encoding, file.segment_bytes, file.length


Costs = Mapping[File, Mapping[str, Cost]]


# ---------------------------------------------------------------- what is compared


def by_k(found: Costs) -> list[File]:
    """The files that differ in k alone, as many as there are."""
    counts = Counter((file.length, file.segment_bytes) for file in found)
    if not counts:
        return []
    chosen = max(counts, key=lambda each: (counts[each], each))
    files = [file for file in found if (file.length, file.segment_bytes) == chosen]
    return sorted(files, key=lambda file: file.encoding)


def by_segments(found: Costs) -> list[File]:
    """The files that differ in their segments alone; of the largest k that has most."""
    counts = Counter(file.encoding for file in found)
    if not counts:
        return []
    chosen = max(counts, key=lambda each: (counts[each], each))
    files = [file for file in found if file.encoding == chosen]
    return sorted(files, key=lambda file: found[file][STOCK].segments)
