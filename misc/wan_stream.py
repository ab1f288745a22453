"""One direction of one connection through the pipe: its queue, its rates, its delay line.

:mod:`misc.wan_pipe` says what is modelled; here is how.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from misc.wan_wire import Limiter, Wire

JITTER_UNIT_BYTES = 16 << 10

# One direction of one connection: at 50 ms one way 80 MB/s, as a TCP window of
# 8 MiB gives, since an acknowledgement takes the other half of the round trip.
FLIGHT_BYTES = 4 << 20
QUEUE_BYTES = 128 << 10

# A rate is spent in slices of some milliseconds: shorter ones cost more timers,
# longer ones make a slow line deliver in lumps.
SLICE_S = 0.004
MIN_SLICE_BYTES = 1460
MAX_SLICE_BYTES = 64 << 10

# epoll waits whole milliseconds, rounded up: half of one early is right on average.
EARLY_S = 0.0005


@dataclass
class Weather:
    """What is true of one server's wire now."""

    wire: Wire = field(default_factory=Wire)
    factor: float = 1.0  # how many times slower than the wire it is
    silent: bool = False

    def on_wire(self, wire: Wire) -> None:
        """The wire is another one, and nothing is wrong with it."""
        self.wire, self.factor, self.silent = wire, 1.0, False


class Stream:
    """One direction of one connection: queue, rates, delay line."""

    def __init__(
        self,
        weather: Weather,
        limiters: Sequence[Limiter],
        not_before: float,
        on_finished: Callable[[], None],
    ) -> None:
        self.source: asyncio.Transport | None = None
        self.sink: asyncio.Transport | None = None
        self.is_finished = False
        self._weather = weather
        self._limiters = limiters
        self._on_finished = on_finished
        self._loop = asyncio.get_running_loop()
        self._random = random.Random()
        self._jitter_s = 0.0
        self._jitter_stop = 0  # the place in the stream up to which that jitter holds
        self._place = 0
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._flight: deque[tuple[float, bytes]] = deque()
        self._flying = 0
        self._last_due = not_before
        self._has_ended = False
        self._is_paused = False
        self._is_sink_full = False
        # One slice at a time asks for rates; those it has passed are not asked again.
        self._slice = b""
        self._passed = 0
        self._through = 0.0
        self._rate_timer: asyncio.TimerHandle | None = None
        self._flight_timer: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------ what happens to it

    def on_data(self, data: bytes) -> None:
        """The source sent something."""
        self._queue.append(data)
        self._queued += len(data)
        self._move()

    def on_end(self) -> None:
        """The source sends no more; the sink hears of it when all has arrived."""
        self._has_ended = True
        self._move()

    def on_sink(self, full: bool) -> None:
        """The sink's socket is full, or not any more."""
        self._is_sink_full = full
        if not full:
            self._move()

    def on_change(self) -> None:
        """The sink is there, or the server's state changed."""
        self._move()

    def seed(self, name: str) -> None:
        """Draw jitter from this seed from here on."""
        self._random.seed(name)
        self._place = self._jitter_stop = 0

    def close(self) -> None:
        """Forget everything under way."""
        for timer in (self._rate_timer, self._flight_timer):
            if timer is not None:
                timer.cancel()
        self._rate_timer = self._flight_timer = None
        self._queue.clear()
        self._flight.clear()
        self._queued = self._flying = 0
        self._slice = b""
        self._has_ended = False

    # ------------------------------------------------------------ moving

    def _move(self) -> None:
        while True:
            self._enter()
            self._leave()
            if self._rate_timer or not self._queued or self._flying >= FLIGHT_BYTES:
                break
        held = self._queued >= QUEUE_BYTES
        if self.source is not None and held != self._is_paused:
            self._is_paused = held
            if held:
                self.source.pause_reading()
            else:
                self.source.resume_reading()

    def _enter(self) -> None:
        """From the queue, through the rates, into the delay line."""
        if self._rate_timer is not None:
            return
        while (self._queued or self._slice) and self._flying < FLIGHT_BYTES:
            now = self._loop.time()
            if not self._slice:
                self._slice = self._take_slice()
                self._passed, self._through = 0, now
            while self._passed < len(self._limiters):
                limiter = self._limiters[self._passed]
                self._passed += 1
                factor = 1.0 if limiter.is_shared else self._weather.factor
                start, through = limiter.book(len(self._slice) * factor, now)
                self._through = max(self._through, through)
                if start - EARLY_S > now:
                    self._rate_timer = self._loop.call_at(start - EARLY_S, self._on_rate)
                    return
            self._fly(self._slice)
            self._slice = b""

    def _take_slice(self) -> bytes:
        data = self._queue.popleft()
        rates = [limiter.rate for limiter in self._limiters if limiter.rate]
        limit = len(data)
        if rates:
            wanted = int(min(rates) * SLICE_S / self._weather.factor)
            limit = max(MIN_SLICE_BYTES, min(wanted, MAX_SLICE_BYTES))
        if len(data) > limit:
            self._queue.appendleft(data[limit:])
            data = data[:limit]
        self._queued -= len(data)
        return data

    def _fly(self, data: bytes) -> None:
        self._place += len(data)
        delay_s = (self._weather.wire.delay_s + self._next_jitter()) * self._weather.factor
        self._last_due = max(self._last_due, self._through + delay_s)
        self._flight.append((self._last_due, data))
        self._flying += len(data)

    def _next_jitter(self) -> float:
        jitter_s = self._weather.wire.jitter_s
        if not jitter_s:
            return 0.0
        while self._jitter_stop < self._place:
            self._jitter_stop += JITTER_UNIT_BYTES
            self._jitter_s = self._random.uniform(0.0, jitter_s)
        return self._jitter_s

    def _leave(self) -> None:
        """Out of the delay line, into the sink."""
        if self._flight_timer is not None or self.sink is None or self._weather.silent:
            return
        soon = self._loop.time() + EARLY_S
        while self._flight and not self._is_sink_full:
            due, data = self._flight[0]
            if due > soon:
                self._flight_timer = self._loop.call_at(due - EARLY_S, self._on_due)
                return
            self._flight.popleft()
            self._flying -= len(data)
            self.sink.write(data)
        if self._has_ended and not (self._flight or self._queued or self._slice):
            self._has_ended, self.is_finished = False, True
            self.sink.write_eof()
            self._on_finished()

    def _on_rate(self) -> None:
        self._rate_timer = None
        self._move()

    def _on_due(self) -> None:
        self._flight_timer = None
        self._move()
