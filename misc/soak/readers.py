"""Readers that download, jump, leave and dawdle, each by dice of its own, and check every byte.

A read must succeed if enough servers were well all the while it lasted. One that met
more trouble may also end in an error, but in no wrong byte and not in silence.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from misc.grid import Client, GridError
from misc.soak.trouble import Spells
from misc.web_read import PIECE_BYTES, PROBLEM, WebRead

WHOLE, RANGE, CANCEL, PAUSE = "whole", "range", "cancel", "pause"
KINDS = (WHOLE, RANGE, CANCEL, PAUSE)
WEIGHTS = (30, 40, 15, 15)

RIGHT, LEFT, FAILED, WRONG, EXCUSED = "right", "left", "failed", "wrong", "excused"

# A node that is silent for so long to a reader who waits has forgotten him.
SILENCE_S = 120.0
PAUSE_S = (0.1, 4.0)
PAUSES = 3
IDLE_S = (0.0, 0.5)


@dataclass(frozen=True)
class File:
    """A file that was uploaded."""

    name: str
    cap: str
    content: bytes


@dataclass
class Tally:
    """What became of the reads so far."""

    reads: Counter[str] = field(default_factory=Counter)  # by kind
    ends: Counter[str] = field(default_factory=Counter)
    bytes_checked: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """One read: what is wanted, and how."""

    file: File
    client: Client
    kind: str
    start: int
    stop: int
    leave_after: int  # bytes
    pauses: tuple[tuple[int, float], ...]  # after so many bytes, so many seconds

    def __str__(self) -> str:
        return (
            f"{self.client.name}, {self.kind} read of {self.file.name} [{self.start}:{self.stop})"
        )


def plan_of(chance: random.Random, files: Sequence[File], client: Client) -> Plan:
    """The next read of a reader."""
    file = chance.choice(files)
    (kind,) = chance.choices(KINDS, WEIGHTS)
    size = len(file.content)
    start, stop = 0, size
    if kind == RANGE or (kind != WHOLE and chance.random() < 0.5):
        start = chance.randrange(size)
        stop = min(size, start + chance.choice((1, 1000, 100_000, 1_000_000, size)))
    length = stop - start
    leave_after = chance.randrange(length) if kind == CANCEL else length
    pauses: tuple[tuple[int, float], ...] = ()
    if kind == PAUSE:
        places = sorted(chance.randrange(length) for _ in range(chance.randint(1, PAUSES)))
        pauses = tuple((place, chance.uniform(*PAUSE_S)) for place in places)
    return Plan(file, client, kind, start, stop, leave_after, pauses)


def take_all(plan: Plan, reading: WebRead) -> bytes:
    """What comes, at this reader's pace, until its end or his."""
    pieces, pauses = [], list(plan.pauses)
    while reading.taken < plan.leave_after or plan.leave_after == plan.stop - plan.start:
        while pauses and reading.taken >= pauses[0][0]:
            time.sleep(pauses.pop(0)[1])
        piece = reading.take(PIECE_BYTES)
        if not piece:
            break
        pieces.append(piece)
    return b"".join(pieces)


def end_of(plan: Plan, data: bytes, refusal: str) -> tuple[str, str]:
    """How a read ended: RIGHT, LEFT, FAILED or WRONG, and in words if it was not well."""
    expected = plan.file.content[plan.start : plan.stop]
    if refusal:
        return FAILED, f"refused with {refusal.splitlines()[0][:200]}"
    if data == expected:
        return RIGHT, ""
    is_broken_off = data.endswith(PROBLEM)
    good = data[: -len(PROBLEM)] if is_broken_off else data
    if not expected.startswith(good):
        return WRONG, f"wrong bytes among {len(good)}"
    if plan.kind == CANCEL and len(good) >= plan.leave_after and not is_broken_off:
        return LEFT, ""
    return FAILED, f"broken off after {len(good)} bytes"


class Readers:
    """So many threads that read.

    :param needed: servers that must have been well for a read to be sure of its file.
    """

    def __init__(
        self,
        count: int,
        clients: Sequence[Client],
        files: Sequence[File],
        spells: Spells,
        needed: int,
        seed: str,
    ) -> None:
        self.tally = Tally()
        self._clients = clients
        self._files = files
        self._spells = spells
        self._needed = needed
        self._lock = threading.Lock()
        self._chances = [random.Random(f"{seed} reader {number}") for number in range(count)]

    def run_for(self, seconds: float) -> None:
        """Let all read; returns when each has ended the read that it had begun."""
        end_at = time.monotonic() + seconds
        threads = [
            threading.Thread(target=self._run, args=(number, end_at), daemon=True)
            for number in range(len(self._chances))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _run(self, number: int, end_at: float) -> None:
        chance = self._chances[number]
        client = self._clients[number % len(self._clients)]
        while time.monotonic() < end_at:
            self._read(plan_of(chance, self._files, client))
            time.sleep(chance.uniform(*IDLE_S))

    def _read(self, plan: Plan) -> None:
        began = time.monotonic()
        data = b""
        try:
            with WebRead(
                plan.client, plan.file.cap, plan.start, plan.stop, timeout_s=SILENCE_S
            ) as reading:
                data = take_all(plan, reading)
                end, fault = end_of(plan, data, reading.refusal)
        except (GridError, OSError) as problem:
            end, fault = WRONG, repr(problem)
        self.enter(plan, len(data), end, fault, began)

    def enter(self, plan: Plan, length: int, end: str, fault: str, began: float) -> None:
        """A read is over; whether a failure is excused depends on its time."""
        ended = time.monotonic()
        with self._lock:
            spared = self._spells.spared(began, ended)
            if end == FAILED and spared < self._needed:
                end = EXCUSED
            self.tally.reads[plan.kind] += 1
            self.tally.ends[end] += 1
            self.tally.bytes_checked += length
            if end in (FAILED, WRONG):
                self.tally.problems.append(
                    f"{plan}: {fault}, after {ended - began:.1f} s; {spared} servers were well"
                )
