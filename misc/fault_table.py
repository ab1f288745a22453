"""Writes what the fault matrix measured into docs/reliability.md.

    TAHOE_FASTDL_MATRIX=$PWD/misc/results/faults.jsonl python3 test/run.py test.test_fault_matrix
    python3 misc/fault_table.py

The first adds a line for each cell of the matrix; the second shows the newest line of each.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

# Appended: this is run as a command, and then ``misc`` is not on the path.
sys.path.append(str(Path(__file__).resolve().parent.parent))

from misc import sections

MISC = Path(__file__).resolve().parent
RESULTS = MISC / "results" / "faults.jsonl"
PAGE = MISC.parent / "docs" / "reliability.md"
SECTION = "faults"

ENOUGH, TOO_FEW = "enough", "too few"
TRANSPORTS = ("foolscap", "http")

Cells = Mapping[tuple[str, str, str], Mapping[str, Any]]


def read(lines: Iterable[str]) -> Cells:
    """The newest line of each cell, by fault, transport and what is left."""
    cells = {}
    for line in lines:
        cell = json.loads(line)
        cells[cell["fault"], cell["transport"], cell["left"]] = cell
    return cells


def table(cells: Cells) -> str:
    """A row for each fault, in the order in which they were first met."""
    rows = [
        "| fault | enough: Foolscap | HTTP | too few: Foolscap | HTTP"
        " | asked again: Foolscap | HTTP |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for fault in dict.fromkeys(fault for fault, _transport, _left in cells):
        shown = [
            _seconds(cells.get((fault, transport, left)), what)
            for left, what in ((ENOUGH, "seconds"), (TOO_FEW, "seconds"), (TOO_FEW, "refused_s"))
            for transport in TRANSPORTS
        ]
        rows.append(f"| {fault.replace('_', ' ')} | {' | '.join(shown)} |")
    return "\n".join(rows)


def _seconds(cell: Mapping[str, Any] | None, what: str) -> str:
    if cell is None or cell[what] is None:
        return "-"
    # Patience has to pass where nothing tells a silent server from a slow one.
    star = "*" if cell["left"] == TOO_FEW and cell["patience"] == "2 s" else ""
    return f"{cell[what]:.1f}{star}"


def main() -> int:
    """The command; returns its exit status."""
    try:
        text = table(read(RESULTS.read_text(encoding="utf-8").splitlines()))
        sections.write(PAGE, SECTION, text)
    except (OSError, sections.NoSectionError) as problem:
        print(problem, file=sys.stderr)
        return 1
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
