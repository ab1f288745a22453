"""The lines of a study: a file of JSON lines that begins anew, since a study is short.

The first line says what it was measured on. What is zero, empty or unknown is left
out of a line, so numbers of runs begin at 1.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from misc.bench import machine
from misc.bench.results import compact

Line = dict[str, Any]


class Kept:
    """The file of a study that is being measured."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._path.write_text(json.dumps(machine.about()) + "\n", encoding="utf-8")

    def add(self, **line: Any) -> None:
        """One measurement."""
        with open(self._path, "a", encoding="utf-8") as handle:
            handle.write(json.dumps(compact(line), separators=(",", ":")) + "\n")


def read_lines(path: Path) -> list[Line]:
    """What a study kept; a line cut short is ignored, and so is what it was measured on."""
    found = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if "machine" not in line:
            found.append(line)
    return found
