"""How busy the machine is, from /proc/stat. Linux only."""

from __future__ import annotations

from pathlib import Path

IDLE, IO_WAIT, GUEST = 3, 4, 8  # places in the line; a guest's time is in "user" as well


class Busy:
    """Of all CPU time since this was made, how much was used."""

    def __init__(self) -> None:
        self._used, self._total = _ticks()

    def fraction(self) -> float:
        """0 to 1."""
        used, total = _ticks()
        return (used - self._used) / max(1, total - self._total)


def _ticks() -> tuple[int, int]:
    first = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
    ticks = [int(each) for each in first.split()[1 : GUEST + 1]]
    return sum(ticks) - ticks[IDLE] - ticks[IO_WAIT], sum(ticks)
