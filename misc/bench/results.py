"""The raw results: a file of JSON lines, one a run, only ever added to.

Laws: a line is written and flushed when its run is over, so that a sweep can be
stopped anywhere; a line cut short by a crash is ignored; lines hold no cap.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from misc.bench.cases import Case, Encoding, File

STOCK = "stock"
FAST = "fast"
KINDS = (STOCK, FAST)

OK = "ok"
OVER_LIMIT = "over limit"  # stopped after ``limit_s``
SKIPPED = "skipped"  # would have taken ``expected_s``, which is over the limit
FAILED = "failed"  # broke off, or gave wrong bytes; tried again by the next sweep


@dataclass(frozen=True)
class Measures:
    """What one download took."""

    seconds: float
    first_byte_s: float
    client_cpu_s: float
    servers_cpu_s: float
    idle_bytes: int  # the client's memory when it was started and had read a small file
    before_bytes: int  # just before the download
    peak_bytes: int  # the most during it
    # None where the node was not asked for them; see sweep.py.
    reads: int | None = None
    fetched_bytes: int | None = None
    # The plugin's counters: what this download added. Empty for stock.
    counters: dict[str, int] = field(default_factory=dict)

    @property
    def memory_bytes(self) -> int:
        """The peak over the idle client."""
        return max(0, self.peak_bytes - self.idle_bytes)


@dataclass(frozen=True)
class Run:
    """One line."""

    case: Case
    kind: str
    number: int
    outcome: str
    session: str  # when the sweep that measured it began
    load: float = 0.0  # the machine's load average just before
    measures: Measures | None = None
    limit_s: float = 0.0
    expected_s: float = 0.0

    def is_given_up(self, limit_s: float) -> bool:
        """Whether this says that with such a limit, too, nothing would come of it."""
        return self.outcome in (OVER_LIMIT, SKIPPED) and self.limit_s >= limit_s

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
        }
        for name in ("kind", "number", "outcome", "session", "load", "limit_s", "expected_s"):
            line[name] = getattr(self, name)
        if self.measures is not None:
            line.update(asdict(self.measures))
        return line


def run_of_json(line: dict[str, Any]) -> Run:
    """The opposite of :meth:`Run.as_json`.

    :raise KeyError: something is missing.
    """
    encoding = Encoding(line["needed"], line["total"])
    file = File(line["length"], encoding, line["segment_bytes"])
    measures = None
    if line["outcome"] == OK:
        measures = Measures(**{name: line[name] for name in Measures.__dataclass_fields__})
    names = ("kind", "number", "outcome", "session", "load", "limit_s", "expected_s")
    return Run(
        Case(file, line["transport"], line["wire"]),
        measures=measures,
        **{name: line[name] for name in names},
    )


@dataclass(frozen=True)
class Spread:
    """A median with what lies around it."""

    median: float
    low: float
    high: float
    count: int


def spread(values: Iterable[float]) -> Spread | None:
    """None of none."""
    found = sorted(values)
    if not found:
        return None
    return Spread(statistics.median(found), found[0], found[-1], len(found))


class Results:
    """All runs of a file, and the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sessions: dict[str, dict[str, Any]] = {}
        self.runs: list[Run] = []
        self._of: dict[tuple[str, str], list[Run]] = {}
        self._of_family: dict[tuple[str, str], list[Run]] = {}
        if path.exists():
            for text in path.read_text(encoding="utf-8").splitlines():
                self._take(text)

    def _take(self, text: str) -> None:
        try:
            line = json.loads(text)
            if "machine" in line:
                self.sessions[line["session"]] = line
            else:
                self._keep(run_of_json(line))
        except (ValueError, KeyError):  # cut short when the sweep was killed
            return

    def _keep(self, run: Run) -> None:
        self.runs.append(run)
        self._of.setdefault((run.case.key, run.kind), []).append(run)
        self._of_family.setdefault((run.case.family, run.kind), []).append(run)

    def add_session(self, session: str, about: dict[str, Any]) -> None:
        """A sweep begins: on which machine, with which versions."""
        line = {"session": session, **about}
        self.sessions[session] = line
        self._write(line)

    def add(self, run: Run) -> None:
        """A run is over."""
        self._keep(run)
        self._write(run.as_json())

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

    def of(self, case: Case, kind: str) -> list[Run]:
        """The runs of a case, good or not."""
        return self._of.get((case.key, kind), [])

    def of_family(self, case: Case, kind: str) -> list[Run]:
        """The runs of a case and of those that differ in the file's length alone."""
        return self._of_family.get((case.family, kind), [])

    def numbers(self, case: Case, kind: str) -> set[int]:
        """Which runs of a case are done."""
        return {run.number for run in self.of(case, kind) if run.measures is not None}

    def measured(self, case: Case, kind: str) -> list[Measures]:
        """Those that came to their end."""
        return [run.measures for run in self.of(case, kind) if run.measures is not None]

    def is_given_up(self, case: Case, kind: str, limit_s: float) -> bool:
        """Whether it took, or would take, longer than allowed now."""
        return any(run.is_given_up(limit_s) for run in self.of(case, kind))

    def spread(
        self, case: Case, kind: str, what: Callable[[Measures], float | None]
    ) -> Spread | None:
        """Of one number over the runs of a case."""
        values = map(what, self.measured(case, kind))
        return spread(value for value in values if value is not None)

    def cases(self) -> list[Case]:
        """All that occur, each once."""
        return list({run.case.key: run.case for run in self.runs}.values())
