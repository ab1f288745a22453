"""What a user would pick instead, beside real downloads on the same machine and wire.

``curl`` fetches the whole file from an HTTPS server; ``aria2c`` fetches the blocks of
k shares, a file each, from as many ports as the grid has servers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from misc.bench.cases import FAST, LAN, SERVERS, STOCK, Case
from misc.command_line import Say
from misc.floor import expect, programs
from misc.floor.lines import Line, Lines
from misc.floor.nginx import ProgramError
from misc.floor.scene import Scene
from misc.floor.web import ARIA2, CURL, Web

__all__ = ["ARIA2", "CURL", "HTTPS", "Comparison", "ProgramError", "https_case"]

# The other programs know no transports; their lines have this in its place.
HTTPS = "https"
NEEDS = {CURL: (programs.NGINX, programs.CURL), ARIA2: (programs.NGINX, programs.ARIA2)}


def https_case(case: Case) -> Case:
    """The case under which what the other programs took for this file is kept."""
    return Case(case.file, HTTPS, case.wire, case.runs)


class Comparison:
    """Measures what the results lack; leaves out programs that are not installed.

    :param directory: for nodes, shares, and what is downloaded.
    :param stock_limit_s: stock is measured where it is expected to take less.
    """

    def __init__(
        self,
        directory: Path,
        lines: Lines,
        session: str,
        stock_limit_s: float,
        say: Say = print,
    ) -> None:
        self._directory = directory
        self._lines = lines
        self._session = session
        self._stock_limit_s = stock_limit_s
        self._say = say
        self._programs = [name for name, needs in NEEDS.items() if not programs.missing(needs)]

    def due(self, case: Case) -> Iterator[tuple[Case, str, int]]:
        """Under which case what is to be measured, and the number of the run, in order."""
        for number in range(case.runs):
            turn = [(case, FAST), *((https_case(case), name) for name in self._programs)]
            if number % 2:
                turn.reverse()
            elif number == 0 and expect.stock_s(case, SERVERS) <= self._stock_limit_s:
                turn.append((case, STOCK))
            for kept, part in turn:
                if number not in self._lines.numbers(kept, part):
                    yield kept, part, number

    def run(self, cases: Sequence[Case]) -> None:
        """All of it; every process has ended when this returns or raises.

        :raise GridError: a node failed.
        :raise WanError: a pipe failed.
        :raise ProgramError: another program failed.
        :raise WrongBytesError: a download gave other bytes than there are.
        """
        missing = programs.missing()
        if missing:
            self._say(programs.advice(missing))
        left = [case for case in cases if any(self.due(case))]
        if not left:
            return
        with ExitStack() as running:
            scene = running.enter_context(Scene(self._directory, left, self._say))
            web = None
            if self._programs:
                is_far = any(case.wire != LAN for case in left)
                web = running.enter_context(Web(self._directory, is_far))
            for case in left:
                if scene.put(case.file) and web is not None:
                    web.take(scene.bytes_of_file(), scene.blocks(case.file))
                self._run_case(scene, web, case)

    def _run_case(self, scene: Scene, web: Web | None, case: Case) -> None:
        if web is not None:
            web.use(case.wire)
        walls = {}
        for kept, part, number in self.due(case):
            load = os.getloadavg()[0]
            if part in (FAST, STOCK):
                numbers = scene.download(case, part)
            else:
                assert web is not None
                numbers = web.run(part)
            line = Line(kept, part, number, session=self._session, load=load, **numbers)
            self._lines.add(line)
            walls[part] = line.wall_s
        said = ", ".join(f"{part} {wall_s:.2f}" for part, wall_s in walls.items())
        self._say(f"{case}: {said} s")
