"""Runs the parts of each case in turn, on one grid, with real downloads between them.

Owns the order. Runs are interleaved, forwards and then backwards, so that whatever
else the machine does falls on all parts alike.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from misc.bench.cases import FAST, SERVERS, STOCK, Case
from misc.command_line import Say
from misc.floor import expect
from misc.floor.figures import FETCH, PROVE, PROVE_OTHERS, SERVE
from misc.floor.lines import Line, Lines
from misc.floor.parts import SPAN_BYTES, Parts, has_others
from misc.floor.scene import Scene


def parts_of(case: Case, number: int, with_stock: bool) -> list[str]:
    """What is measured in one run of a case, in order; stock once, at the end of the first."""
    parts = [FAST, FETCH, PROVE, SERVE]
    if has_others(case.file):
        parts.append(PROVE_OTHERS)
    if number % 2:
        parts.reverse()
    if with_stock and number == 0:
        parts.append(STOCK)
    return parts


class Floor:
    """Measures what the results lack.

    :param directory: for nodes, shares and logs.
    :param stock_limit_s: stock is measured where it is expected to take less.
    """

    def __init__(
        self,
        directory: Path,
        lines: Lines,
        session: str,
        stock_limit_s: float,
        span_bytes: int = SPAN_BYTES,
        say: Say = print,
    ) -> None:
        self._directory = directory
        self._lines = lines
        self._session = session
        self._stock_limit_s = stock_limit_s
        self._span_bytes = span_bytes
        self._say = say

    def due(self, case: Case) -> Iterator[tuple[str, int]]:
        """Parts and the numbers of their runs, in order."""
        with_stock = expect.stock_s(case, SERVERS) <= self._stock_limit_s
        for number in range(case.runs):
            for part in parts_of(case, number, with_stock):
                if number not in self._lines.numbers(case, part):
                    yield part, number

    def run(self, cases: Sequence[Case]) -> None:
        """All of it; every process has ended when this returns or raises.

        :raise GridError: a process failed.
        :raise WrongBytesError: a download gave other bytes than were uploaded.
        """
        left = [case for case in cases if any(self.due(case))]
        if not left:
            return
        with ExitStack() as running:
            scene = running.enter_context(Scene(self._directory, left, self._say))
            parts = Parts(self._directory, scene.servers, self._span_bytes)
            running.enter_context(parts)
            known = scene.static_servers()
            for transport in sorted({case.transport for case in left}):
                parts.connect(transport, known)
            for case in left:
                if scene.put(case.file):
                    parts.load(case.file, scene.cap, scene.sha256)
                self._run_case(scene, parts, case)

    def _run_case(self, scene: Scene, parts: Parts, case: Case) -> None:
        began, walls = time.monotonic(), {}
        for part, number in self.due(case):
            load = os.getloadavg()[0]
            is_download = part in (FAST, STOCK)
            numbers = scene.download(case, part) if is_download else parts.run(part, case)
            line = Line(case, part, number, session=self._session, load=load, **numbers)
            self._lines.add(line)
            walls[part] = line.wall_s
        said = ", ".join(f"{part} {wall_s:.2f}" for part, wall_s in walls.items())
        self._say(f"{case}: {said} s; {time.monotonic() - began:.0f} s in all")
