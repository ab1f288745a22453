"""What each server has shown: latency, rate, how late it is.

Pure.  Shared by all downloads of a client.  Times are monotonic seconds,
rates bytes a second.  A server's rate is what came of it, from all reads, in
the life of each: so it is the same whether reads are answered one after another
(Foolscap) or side by side, all at the end (HTTP).
"""

from __future__ import annotations

from attrs import frozen

from .window import Line

# Before anything is measured: a home line's ping, a slow disk's rate.
DEFAULT_LATENCY_S = 0.1
DEFAULT_RATE = 20e6
# The same for judging whether it is late: nobody is blamed for a rate we made up.
CAUTIOUS_RATE = 1e6

# A server that answers sooner than this is near: on a LAN.  Fewer connections to it do: ten
# instead of four bring no more, and the handshakes take 0.2 s of a first download's time.
NEAR_S = 0.02
NEAR_READS = 4

SMOOTHING = 0.25  # weight of a new sample
# The same for how far away a server is: a busy client makes all of them seem farther, for a while.
MOVING = 0.001
MIN_RATE_SAMPLE_BYTES = 16 * 1024  # fewer bytes measure latency, not rate
FULL_RATE_SAMPLE_BYTES = 256 * 1024  # fewer say less of it

# A read is late after this many times its own server's estimate, and never
# sooner than the floor: a busy reactor alone can cost a few hundredths.
LATE_FACTOR = 3.0
LATE_FLOOR_S = 0.3
# Past this it counts as not coming: its blocks are asked of others at once.
STALLED_FACTOR = 10.0
STALLED_FLOOR_S = 1.5

# Over HTTP: who says nothing at all for this many times what all that it owes was to take is
# silent.  Its next answer is due long before, so less is needed than for a single read.
SILENT_FACTOR = 1.5
# What is slower than this part of what was expected is not excused by others being as slow.
LEAST_PACE = 0.5

NEVER = float("-inf")


@frozen
class Sending:
    """What was so of a server when a read was sent to it."""

    at: float
    queued_bytes: int  # with this read, all that it owed us
    received_bytes: int
    rate: float | None
    late_at: float
    stalled_at: float


class Server:
    """The record of one server.

    :param max_reads: to have on their way at once; over HTTP, where answers come side by
        side; near by NEAR_READS do. 0: no limit, and they come one after another, as over Foolscap.
    """

    def __init__(self, max_reads: int = 0) -> None:
        self.max_reads = max_reads
        self.line = Line()  # of downloads that wait for a slot
        self.latency_s: float | None = None
        self.distance_s: float | None = None  # the least latency of late, seconds
        self.deviation_s = 0.0
        self._was_late = False  # the newest small answer
        self.rate: float | None = None
        self.pace: float | None = None  # the newest rate, as a part of what was expected
        self.received_bytes = 0  # what the rate is known from
        self.answered_at = NEVER  # the newest answer, monotonic seconds
        self.reads_in_flight = 0
        self.bytes_in_flight = 0
        self.stalled = 0  # reads given up as not coming and still out

    @property
    def is_side_by_side(self) -> bool:
        """Whether its answers come side by side, not one after another."""
        return self.max_reads != 0

    @property
    def is_near(self) -> bool:
        """Whether it is on our LAN, by all that is known."""
        return self.distance_s is not None and self.distance_s < NEAR_S

    def has_slot(self) -> bool:
        """Whether one more read may be sent now."""
        if not self.is_side_by_side:
            return True
        most = min(NEAR_READS, self.max_reads) if self.is_near else self.max_reads
        return self.reads_in_flight < most

    def expected_s(self, length: int, unknown_rate: float = DEFAULT_RATE) -> float:
        """Seconds until *length* more bytes would be here, behind all that was asked.

        :param unknown_rate: what to expect if the server has shown no rate yet.
        """
        return self._seconds(self.bytes_in_flight + length, unknown_rate)

    def _seconds(self, length: int, default_rate: float) -> float:
        latency = DEFAULT_LATENCY_S if self.latency_s is None else self.latency_s
        return latency + length / (default_rate if self.rate is None else self.rate)

    def owed_bytes(self, sending: Sending) -> int:
        """What may come before the last byte of a read that is on its way, with that read.

        Side by side, what was asked after it comes as soon.
        """
        if not self.is_side_by_side:
            return sending.queued_bytes
        return max(sending.queued_bytes, self.bytes_in_flight)

    def on_latency(self, seconds: float) -> None:
        """A small question (DYHB, a header) took this long.

        One that is late once was held up by something, a pause or a broken wire, and says
        nothing of the next.  If more are late they count as just late: at full length the
        answers that come after an outage would excuse a silence of minutes.
        """
        if self.distance_s is None:
            self.distance_s = seconds
        self.distance_s = min(seconds, self.distance_s + MOVING * (seconds - self.distance_s))
        if self.latency_s is None:
            self.latency_s, self.deviation_s = seconds, seconds / 2
            return
        late_s, was_late = self._late_s(self.latency_s), self._was_late
        self._was_late = seconds > late_s
        if was_late or not self._was_late:
            seconds = min(seconds, late_s)
            self.deviation_s += SMOOTHING * (abs(seconds - self.latency_s) - self.deviation_s)
            self.latency_s += SMOOTHING * (seconds - self.latency_s)

    def on_sent(self, length: int, now: float) -> Sending:
        """A read of *length* bytes leaves."""
        self.reads_in_flight += 1
        self.bytes_in_flight += length
        queued = self.bytes_in_flight
        late_at, stalled_at = self.deadlines(queued, now)
        return Sending(now, queued, self.received_bytes, self.rate, late_at, stalled_at)

    def deadlines(
        self, length: int, sent: float, default_rate: float = CAUTIOUS_RATE
    ) -> tuple[float, float]:
        """When a read is late and when it is stalled, by what is known now.

        :param length: of the read and of what was asked before it and had not come.
        :param default_rate: taken for its own as long as that is not known.
        """
        expected = self._seconds(length, default_rate)
        stalled = max(STALLED_FLOOR_S, STALLED_FACTOR * expected + 4 * self.deviation_s)
        return sent + self._late_s(expected), sent + stalled

    def silent_s(self, next_length: int, default_rate: float, pace: float | None) -> float:
        """For how many seconds it may say nothing while it owes us answers.

        :param next_length: of the answer that comes next, at most, bytes.  Side by side all
            may come at the end, together.
        :param pace: that of other servers since, if known.  If they are slower than they were
            thought to be, it is the line that they share.
        """
        if not self.is_side_by_side:
            factor, pace = LATE_FACTOR, 1.0 if pace is None else pace
        else:
            factor, pace = SILENT_FACTOR, LEAST_PACE if pace is None else pace
            next_length = self.bytes_in_flight
        expected = self._seconds(next_length, default_rate) / min(1.0, max(pace, LEAST_PACE))
        return max(LATE_FLOOR_S, factor * expected + 4 * self.deviation_s)

    def _late_s(self, expected: float) -> float:
        """After how many seconds an answer is late that was expected after *expected*."""
        return max(LATE_FLOOR_S, LATE_FACTOR * expected + 4 * self.deviation_s)

    def on_answered(self, length: int, asked_length: int, sending: Sending, now: float) -> None:
        """*length* bytes arrived for a read of *asked_length*."""
        self.on_retired(asked_length)
        self.received_bytes += length
        self.answered_at = now
        passed = now - sending.at
        came = self.received_bytes - sending.received_bytes
        if came < MIN_RATE_SAMPLE_BYTES:
            if sending.queued_bytes == asked_length and self.reads_in_flight == 0:
                self.on_latency(passed)
            return
        if self.latency_s is not None:
            passed = max(passed - self.latency_s, passed / 4)
        sample = came / max(passed, 1e-3)
        weight = SMOOTHING * min(1.0, came / FULL_RATE_SAMPLE_BYTES)
        self.pace = None if sending.rate is None else sample / sending.rate
        self.rate = sample if self.rate is None else self.rate + weight * (sample - self.rate)

    def on_retired(self, asked_length: int) -> None:
        """A read is over, with or without an answer."""
        self.reads_in_flight -= 1
        self.bytes_in_flight -= asked_length
