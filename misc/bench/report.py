"""docs/performance.md out of the raw results."""

from __future__ import annotations
from collections.abc import Sequence
from pathlib import Path
from misc.bench.cases import Case
from misc.bench.results import FAST, STOCK, Results


def write(results: Results, docs: Path) -> None:
    """stub"""


def short_table(results: Results, chosen: Sequence[Case]) -> str:
    """stub"""
    lines = []
    for case in chosen:
        a = results.measured(case, STOCK)
        b = results.measured(case, FAST)
        lines.append(f"{case} {a} {b}")
    return "\n".join(lines)
