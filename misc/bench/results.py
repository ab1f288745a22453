"""The raw results: a file of JSON lines, one a run, only ever added to.

Laws: a line is written and flushed when its run is over, so that a sweep can be
stopped anywhere; a line cut short by a crash is ignored; lines hold no cap. What
is zero, empty or unknown is left out of a line, and numbers have four digits.
"""

from __future__ import annotations

import json
import statistics
import threading
from collections.abc import Callable, Iterable
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from misc.bench.cases import FAST, KINDS, STOCK, Case, Encoding, File

__all__ = ["FAST", "KINDS", "STOCK", "Measures", "Results", "Run", "Spread", "Stopped", "spread"]

OK = "ok"
OVER_LIMIT = "over limit"  # given up after ``limit_s``
FAILED = "failed"  # broke off, or gave wrong bytes; tried again by the next sweep

DIGITS = 4


@dataclass(frozen=True)
class Measures:
    """What one download took."""

    seconds: float
    first_byte_s: float
    client_cpu_s: float
    idle_bytes: int  # the client's memory when it was started and had read a small file
    peak_bytes: int  # the most during the download
    # None where it cannot be told: other downloads were served at the same time.
    servers_cpu_s: float | None = None
    # None where the node was not asked for them; see sweep.py.
    reads: int | None = None
    fetched_bytes: int | None = None
    # The plugin's counters: what this download added. Empty for stock.
    counters: dict[str, int] = field(default_factory=dict)

    @property
    def memory_bytes(self) -> int:
        """The peak over the idle client."""
        return max(0, self.peak_bytes - self.idle_bytes)

    def count(self, name: str) -> int:
        """One of the plugin's counters."""
        return self.counters.get(name, 0)


@dataclass(frozen=True)
class Stopped:
    """How far a download came that was given up; times from the request."""

    delivered_bytes: int
    first_byte_s: float
    last_byte_s: float
    client_cpu_s: float
    reads: int | None = None


@dataclass(frozen=True)
class Run:
    """One line."""

    case: Case
    kind: str
    number: int
    outcome: str
    session: str  # when the sweep that measured it began
    lanes: int = 1  # how many downloads ran at once
    busy: float = 0.0  # of all the machine's CPU time meanwhile, how much was used
    measures: Measures | None = None
    stopped: Stopped | None = None
    limit_s: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Flat, so that other tools can read it."""
        file = self.case.file
        line: dict[str, Any] = {
            "length": file.length,
            "needed": file.encoding.needed,
            "total": file.encoding.total,
            "segment_bytes": file.segment_bytes,
            "transport": self.case.transport,
            "wire": self.case.wire,
        }
        for name in RUN_FIELDS:
            line[name] = getattr(self, name)
        for part in (self.measures, self.stopped):
            if part is not None:
                line.update(asdict(part))
        return compact(line)


RUN_FIELDS = ("kind", "number", "outcome", "session", "lanes", "busy", "limit_s")
# Left out of a line when they have this value, as everything is that is 0, empty or None.
DEFAULTS = {"lanes": 1, "outcome": OK}


def compact(line: dict[str, Any]) -> dict[str, Any]:
    """Without defaults, and rounded."""
    kept: dict[str, Any] = {}
    for name, value in line.items():
        short = _short(value)
        if short and DEFAULTS.get(name) != short:
            kept[name] = short
    return kept


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return compact(value)
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def run_of_json(line: dict[str, Any]) -> Run:
    """The opposite of :meth:`Run.as_json`.

    :raise KeyError: something is missing.
    :raise TypeError: it is no run.
    """
    encoding = Encoding(line["needed"], line["total"])
    file = File(line["length"], encoding, line["segment_bytes"])
    names = {"number": 0, "outcome": OK, "lanes": 1, "busy": 0.0, "limit_s": 0.0}
    values = {name: line.get(name, default) for name, default in names.items()}
    return Run(
        Case(file, line["transport"], line["wire"]),
        kind=line["kind"],
        session=line["session"],
        measures=_part(Measures, line) if values["outcome"] == OK else None,
        stopped=_part(Stopped, line) if values["outcome"] == OVER_LIMIT else None,
        **values,
    )


def _part(made: Any, line: dict[str, Any]) -> Any:
    """Measures or Stopped; what a line leaves out has its default, or is 0."""
    values = {}
    for each in fields(made):
        if each.name in line:
            values[each.name] = line[each.name]
        elif each.default is MISSING and each.default_factory is MISSING:
            values[each.name] = 0
    return made(**values)


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
        self._lock = threading.Lock()  # downloads side by side end when they like
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
        except (ValueError, KeyError, TypeError):  # cut short when the sweep was killed
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
        with self._lock:
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
            text = json.dumps(line, separators=(",", ":"))
            handle.write(("\n" if cut_short else "") + text + "\n")

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

    def stopped(self, case: Case, kind: str) -> list[Run]:
        """Those that were given up."""
        return [run for run in self.of(case, kind) if run.stopped is not None]

    def spread(
        self, case: Case, kind: str, what: Callable[[Measures], float | None]
    ) -> Spread | None:
        """Of one number over the runs of a case."""
        values = map(what, self.measured(case, kind))
        return spread(value for value in values if value is not None)

    def cases(self) -> list[Case]:
        """All that occur, each once."""
        return list({run.case.key: run.case for run in self.runs}.values())
