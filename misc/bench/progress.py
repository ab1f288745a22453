"""What the sweep shows while it runs: a bar at a terminal, a line a case elsewhere."""

from __future__ import annotations

import shutil
import sys
import time

from misc.bench import estimates
from misc.bench.cases import FAST, STOCK, Case
from misc.bench.results import Results

BAR_WIDTH = 24


def duration(seconds: float) -> str:
    """As a person would say it: ``40 s``, ``12 min``, ``3 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


class Progress:
    """How far a sweep is.

    :param total: how many cases it has.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._remaining_s: float | None = None
        self._began = time.monotonic()
        self._is_terminal = sys.stdout.isatty()

    def on_start(self, remaining_s: float) -> None:
        """The sweep begins, and this is what it expects."""
        self._remaining_s = remaining_s
        self._print(f"{self._total} cases, about {duration(remaining_s)}")

    def on_step(self, what: str) -> None:
        """Something begins; shown until the next thing does."""
        if not self._is_terminal:
            return
        done = self._done / max(1, self._total)
        bar = "#" * round(BAR_WIDTH * done)
        left = "" if self._remaining_s is None else f", about {duration(self._remaining_s)} more"
        text = f"[{bar:.<{BAR_WIDTH}}] {self._done}/{self._total}{left} | {what}"
        width = shutil.get_terminal_size().columns - 1
        print(f"\r\033[K{text[:width]}", end="", flush=True)

    def on_case(self, case: Case, results: Results, left: int, remaining_s: float) -> None:
        """A case is over."""
        self._done = self._total - left
        self._remaining_s = remaining_s
        times = []
        for kind in (STOCK, FAST):
            shown = estimates.seconds(results, case, kind)
            mark = "about " if shown and shown.is_estimate else ""
            times.append(f"{kind} {mark}{shown.value:.2f} s" if shown else f"{kind} -")
        self._print(
            f"[{self._done}/{self._total}, {duration(remaining_s)} more] {case}: {', '.join(times)}"
        )

    def on_failure(self, what: str) -> None:
        """Something went wrong; the sweep goes on."""
        self._print(f"FAILED {what}")

    def say(self, text: str) -> None:
        """Anything else worth a line."""
        self._print(text)

    def _print(self, text: str) -> None:
        start = "\r\033[K" if self._is_terminal else ""
        print(f"{start}{time.monotonic() - self._began:6.1f} s  {text}", flush=True)
