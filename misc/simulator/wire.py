"""Virtual time, and what bytes pass on their way to the client: server, downlink, client's CPU.

Pure and seeded. What is modelled of one server, reached over one connection:

* a round trip, half of it each way; answers come in the order of the questions;
* a time for each answer before its first byte, and a rate: what is asked while it
  still sends waits;
* now and then a pause in which it does nothing, at times of its own, whatever it is
  asked; and its death: from then on an error for whatever is asked, or silence until
  the connection is found broken.

The downlink is shared by all servers in equal parts (fluid fair queueing), and carries
one answer of each after another. An answer is
through when both its server and the downlink had time for its bytes; so a slow
server's bytes may pass the downlink ahead of themselves, and no line ever carries
more than its rate. The client handles one answer after another.

Not modelled: loss, TCP's slow start, connections being made, jitter within an answer.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

Act = Callable[[], None]


class Timeline:
    """Things that will happen, in their order."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Act]] = []
        self._number = 0

    def at(self, when: float, act: Act) -> None:
        """Do something at that time, or now if it has passed."""
        self._number += 1
        heapq.heappush(self._due, (max(when, self.now), self._number, act))

    def run(self, is_over: Callable[[], bool] = lambda: False) -> None:
        """Until that, or until nothing is left to happen."""
        due = self._due
        while due and not is_over():
            self.now, _number, act = heapq.heappop(due)
            act()


@dataclass
class Downlink:
    """The client's line; a rate of 0 is no limit. Bytes a second."""

    timeline: Timeline
    rate: float = 0.0
    _virtual: float = 0.0  # bytes that each of those under way has got, ever
    _updated: float = 0.0
    _number: int = 0
    _plans: int = 0
    _active: list[tuple[float, int, Act]] = field(default_factory=list)

    def carry(self, length: int, done: Act) -> None:
        """Bytes begin to come now; *done* when the last is through."""
        if not self.rate:
            done()
            return
        self._advance()
        self._number += 1
        heapq.heappush(self._active, (self._virtual + length, self._number, done))
        self._plan()

    def _advance(self) -> None:
        now = self.timeline.now
        if self._active:
            self._virtual += (now - self._updated) * self.rate / len(self._active)
        self._updated = now

    def _plan(self) -> None:
        self._plans += 1
        if self._active:
            left = max(0.0, self._active[0][0] - self._virtual)
            when = self.timeline.now + left * len(self._active) / self.rate
            number = self._plans
            self.timeline.at(when, lambda: self._end(number))

    def _end(self, number: int) -> None:
        if number != self._plans:
            return  # something began meanwhile
        self._advance()
        finish, _number, done = heapq.heappop(self._active)
        self._virtual = max(self._virtual, finish)
        self._plan()
        done()


@dataclass
class Processor:
    """The client's CPU: one reactor, and two workers beside it."""

    timeline: Timeline
    used_s: float = 0.0
    _free_at: float = 0.0
    _workers: list[float] = field(default_factory=lambda: [0.0, 0.0])
    _sampled: tuple[float, float] = (0.0, 0.0)
    _busy: float = 1.0

    def handle(self, seconds: float, act: Act) -> None:
        """Do something on the reactor, which takes this long, when its turn comes."""
        self._free_at = max(self.timeline.now, self._free_at) + seconds
        self.used_s += seconds
        self.timeline.at(self._free_at, act)

    def work(self, seconds: float, act: Act) -> None:
        """Do something on a worker, whichever is free first."""
        free_at = max(self.timeline.now, heapq.heappop(self._workers)) + seconds
        heapq.heappush(self._workers, free_at)
        self.used_s += seconds
        self.timeline.at(free_at, act)

    def busy(self, sample_s: float = 0.05) -> float:
        """The part of a core that was used of late; as ``shell.hub`` samples it."""
        wall = self.timeline.now
        passed = wall - self._sampled[0]
        if passed >= sample_s:
            self._busy = min(1.0, (self.used_s - self._sampled[1]) / passed)
            self._sampled = (wall, self.used_s)
        return self._busy


@dataclass(frozen=True)
class Trouble:
    """How often, and how badly, servers misbehave."""

    pause_every_s: float = 0.0  # on average; 0: never
    pause_least_s: float = 0.5
    pause_tail: float = 1.1  # Pareto's exponent: the smaller, the longer
    pause_most_s: float = 60.0
    death_chance: float = 0.0  # for each server and download, within its first seconds
    death_within_s: float = 3.0
    silent_chance: float = 0.5  # of the dead
    silence_s: float = 60.0  # until the connection is found broken


@dataclass(frozen=True)
class ServerSpec:
    """One server. Seconds, bytes a second."""

    round_trip_s: float
    rate: float
    seek_s: float = 0.0
    per_byte_s: float = 0.0  # its CPU, besides the line


@dataclass
class Server:
    """One server at work for one client."""

    spec: ServerSpec
    trouble: Trouble
    random: random.Random
    timeline: Timeline
    downlink: Downlink
    dies_at: float = float("inf")
    is_silent: bool = False
    reads: int = 0
    sent_bytes: int = 0
    _free_at: float = 0.0
    _last_due: float = 0.0
    _pauses_at: float = float("inf")
    _queue: deque[tuple[int, Act]] = field(default_factory=deque)  # the first is in the downlink

    def __post_init__(self) -> None:
        trouble = self.trouble
        if trouble.pause_every_s:
            self._pauses_at = self.random.expovariate(1 / trouble.pause_every_s)
        if trouble.death_chance and self.random.random() < trouble.death_chance:
            self.dies_at = self.random.random() * trouble.death_within_s
            self.is_silent = self.random.random() < trouble.silent_chance

    def ask(self, length: int, done: Callable[[bool], None]) -> None:
        """A question whose answer has *length* bytes; *done* when it is here.

        The argument of *done* is False if there is none: the server died.
        """
        one_way_s = self.spec.round_trip_s / 2
        start = max(self.timeline.now + one_way_s, self._free_at)
        self.reads += 1
        if start >= self.dies_at:
            wait_s = self.trouble.silence_s if self.is_silent else one_way_s
            self.timeline.at(start + wait_s, lambda: done(False))
            return
        spec = self.spec
        start = self._after_pauses(start) + spec.seek_s
        served_at = start + length * (1.0 / spec.rate + spec.per_byte_s)
        while self._pauses_at < served_at:
            served_at += self._take_pause()
        self._free_at = served_at
        self.sent_bytes += length
        if self.downlink.rate:
            arrive = partial(self._arrive, served_at, done)
            self.timeline.at(start, lambda: self._send(length, arrive))
        else:
            self._arrive(served_at, done)

    def _after_pauses(self, when: float) -> float:
        """When it can begin what it would begin then."""
        while self._pauses_at <= when:
            began = self._pauses_at
            when = max(when, began + self._take_pause())
        return when

    def _take_pause(self) -> float:
        """How long the next pause is; then another is the next."""
        trouble = self.trouble
        length_s = trouble.pause_least_s * self.random.paretovariate(trouble.pause_tail)
        length_s = min(trouble.pause_most_s, length_s)
        self._pauses_at += length_s + self.random.expovariate(1 / trouble.pause_every_s)
        return length_s

    def _send(self, length: int, arrive: Act) -> None:
        self._queue.append((length, arrive))
        if len(self._queue) == 1:
            self.downlink.carry(length, self._send_next)

    def _send_next(self) -> None:
        _length, arrive = self._queue.popleft()
        if self._queue:
            self.downlink.carry(self._queue[0][0], self._send_next)
        arrive()

    def _arrive(self, served_at: float, done: Callable[[bool], None]) -> None:
        """The downlink is through with it; half a round trip later it is here."""
        through = max(self.timeline.now, served_at)
        self._last_due = max(self._last_due, through + self.spec.round_trip_s / 2)
        self.timeline.at(self._last_due, partial(done, True))
