"""What each server has shown: latency, rate, how late it is, lies.

Pure.  Shared by all downloads of a client.  Times are monotonic seconds,
rates bytes a second.  A server answers one connection's reads in order, so
while it has something to do its rate is what comes over any stretch of time.
"""

from __future__ import annotations

# Before anything is measured: a home line's ping, a slow disk's rate.
DEFAULT_LATENCY_S = 0.1
DEFAULT_RATE = 20e6

SMOOTHING = 0.25  # weight of a new sample
MIN_RATE_SAMPLE_BYTES = 16 * 1024  # fewer bytes measure latency, not rate
# Several answers may come out of one system call: a rate is taken over at least so long.
RATE_SAMPLE_S = 0.02

# A read is late after this many times its own server's estimate, and never
# sooner than the floor: a busy reactor alone can cost a few hundredths.
LATE_FACTOR = 3.0
LATE_FLOOR_S = 0.3
# Past this it counts as not coming: its blocks are asked of others at once.
STALLED_FACTOR = 10.0
STALLED_FLOOR_S = 1.5


class Server:
    """The record of one server.  ``max_reads`` 0 means no limit."""

    def __init__(self, max_reads: int = 0) -> None:
        self.max_reads = max_reads
        self.latency_s: float | None = None
        self.deviation_s = 0.0
        self.rate: float | None = None
        self.reads_in_flight = 0
        self.bytes_in_flight = 0
        self.lies = 0
        self.stalled = 0  # reads given up as not coming and still out
        self._sample_since = 0.0  # when the bytes below began to come
        self._sample_bytes = 0
        self._alone = False  # they began with a question to an idle server

    def has_slot(self) -> bool:
        """Whether one more read may be sent now."""
        return self.max_reads == 0 or self.reads_in_flight < self.max_reads

    def expected_s(self, length: int) -> float:
        """Seconds until *length* more bytes would be here, behind all that was asked."""
        latency = DEFAULT_LATENCY_S if self.latency_s is None else self.latency_s
        rate = DEFAULT_RATE if self.rate is None else self.rate
        return latency + (self.bytes_in_flight + length) / rate

    def on_latency(self, seconds: float) -> None:
        """A small question (DYHB, a header) took this long."""
        if self.latency_s is None:
            self.latency_s, self.deviation_s = seconds, seconds / 2
        else:
            self.deviation_s += SMOOTHING * (abs(seconds - self.latency_s) - self.deviation_s)
            self.latency_s += SMOOTHING * (seconds - self.latency_s)

    def on_sent(self, length: int, now: float) -> tuple[float, float]:
        """A read of *length* bytes leaves.

        :return: when it is late, and when it counts as stalled.
        """
        expected = self.expected_s(length)
        spread = 4 * self.deviation_s
        if self.reads_in_flight <= self.stalled:  # what is stalled says nothing of its rate
            self._sample_since, self._sample_bytes, self._alone = now, 0, True
        self.reads_in_flight += 1
        self.bytes_in_flight += length
        late = now + max(LATE_FLOOR_S, LATE_FACTOR * expected + spread)
        stalled = now + max(STALLED_FLOOR_S, STALLED_FACTOR * expected + spread)
        return late, stalled

    def on_answered(self, length: int, asked_length: int, sent: float, now: float) -> None:
        """*length* bytes arrived for a read of *asked_length* sent at *sent*."""
        self.on_retired(asked_length)
        self._sample_bytes += length
        passed = now - self._sample_since
        if self._sample_bytes < MIN_RATE_SAMPLE_BYTES:
            if self._alone and self.reads_in_flight == 0:
                self.on_latency(now - sent)
            return
        if passed < RATE_SAMPLE_S and self.reads_in_flight:
            return  # more is coming
        if self._alone and self.latency_s is not None:
            passed = max(passed - self.latency_s, passed / 4)
        sample = self._sample_bytes / max(passed, 1e-3)
        self.rate = sample if self.rate is None else self.rate + SMOOTHING * (sample - self.rate)
        self._sample_since, self._sample_bytes, self._alone = now, 0, False

    def on_retired(self, asked_length: int) -> None:
        """A read is over, with or without an answer."""
        self.reads_in_flight -= 1
        self.bytes_in_flight -= asked_length
