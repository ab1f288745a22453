"""Reads on their way: who was asked for what, when it is late, what it reserved.

Pure.  Laws: a read is reserved in the account when it is sent and released
exactly once; each read is late, stalled, abandoned at most once, in that order.
A server that is silent for longer than one of its reads was to take gives none of them.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from enum import Enum

from attrs import define

from .servers import CAUTIOUS_RATE, STALLED_FLOOR_S, Sending, Server
from .share import Share
from .window import Account


class Kind(Enum):
    """What a read is for."""

    BLOCKS = "blocks"
    METADATA = "metadata"  # UEB, ciphertext hashes
    EVIDENCE = "evidence"  # header, share hashes, block hashes of a suspect


class Stage(Enum):
    """How patient we are with a read."""

    SENT = "sent"
    LATE = "late"  # past its server's own standard: hedged if that is cheap
    STALLED = "stalled"  # counts as not coming: replaced
    ABANDONED = "abandoned"  # counts as failed


NEXT_STAGE = {Stage.SENT: Stage.LATE, Stage.LATE: Stage.STALLED, Stage.STALLED: Stage.ABANDONED}


@define(eq=False)
class Read:
    """One message to one server; *mask* are the blocks it is to bring."""

    id: int
    share: Share
    kind: Kind
    start: int
    length: int
    mask: int
    sending: Sending
    late_at: float
    stalled_at: float
    abandon_at: float
    stage: Stage = Stage.SENT
    data_start: int = -1  # where the share's blocks were thought to begin

    @property
    def stop(self) -> int:
        """End of the range asked for."""
        return self.start + self.length

    def deadline(self) -> float:
        """When the next stage begins."""
        return {
            Stage.SENT: self.late_at,
            Stage.LATE: self.stalled_at,
            Stage.STALLED: self.abandon_at,
        }[self.stage]


class ReadBook:
    """All reads of one download that have not ended."""

    def __init__(self, servers: dict[int, Server], patience_s: float) -> None:
        self._servers = servers
        self._patience_s = patience_s
        self._reads: dict[int, Read] = {}
        self._deadlines: list[tuple[float, int]] = []
        self._next_id = 0

    def __len__(self) -> int:
        return len(self._reads)

    def __iter__(self) -> Iterator[Read]:
        return iter(list(self._reads.values()))

    def send(
        self,
        account: Account,
        share: Share,
        kind: Kind,
        start: int,
        length: int,
        mask: int,
        now: float,
    ) -> Read:
        """Enter a read and reserve its bytes."""
        server = self._servers[share.server]
        # A slow line may take longer than the operator's patience for a large
        # read, but one odd estimate must not make us wait for ever.
        slow_s = min(20 * server.expected_s(length), 5 * self._patience_s)
        patience = max(self._patience_s, slow_s)
        account.reserve(length)
        sending = server.on_sent(length, now)
        self._next_id += 1
        read = Read(
            self._next_id,
            share,
            kind,
            start,
            length,
            mask,
            sending,
            sending.late_at,
            sending.stalled_at,
            max(now + patience, sending.stalled_at),
        )
        self._reads[read.id] = read
        heapq.heappush(self._deadlines, (read.deadline(), read.id))
        return read

    def find(self, read_id: int) -> Read | None:
        """The read of this number, if it has not ended."""
        return self._reads.get(read_id)

    def take(self, read_id: int) -> Read | None:
        """Remove a read that ended; None if it ended before."""
        read = self._reads.pop(read_id, None)
        if read is not None and read.stage is Stage.STALLED:
            self._servers[read.share.server].stalled -= 1
        return read

    def drop_all(self) -> None:
        """Nobody waits for any of them now; their answers will find no read."""
        for read in self:
            self.take(read.id)
            self._servers[read.share.server].on_retired(read.length)

    def is_asked(self, share: Share, start: int, stop: int) -> bool:
        """Whether a read under way will bring ``[start, stop)`` of *share*."""
        return any(
            r.share is share and r.start <= start and stop <= r.stop for r in self._reads.values()
        )

    def next_deadline(self) -> float | None:
        """When the next read changes its stage."""
        while self._deadlines:
            when, read_id = self._deadlines[0]
            read = self._reads.get(read_id)
            if read is not None and read.deadline() == when:
                return when
            heapq.heappop(self._deadlines)
        return None

    def take_overdue(self, now: float) -> list[Read]:
        """Move every read whose deadline has passed on to the stage it is in now.

        :return: each of them once, also if the process slept through several
            of its deadlines.
        """
        moved: dict[int, Read] = {}
        while True:
            when = self.next_deadline()
            if when is None or when > now:
                return list(moved.values())
            _when, read_id = heapq.heappop(self._deadlines)
            read = self._reads[read_id]
            if read.stage is Stage.LATE and self._is_excused(read, now):
                heapq.heappush(self._deadlines, (read.deadline(), read_id))
                continue
            self._advance(read, NEXT_STAGE[read.stage])
            moved[read_id] = read
            if read.stage is Stage.LATE:
                read.stalled_at = self._stalled_at(read, now)
            elif read.stage is Stage.STALLED and self._silent_at(read) <= now:
                for other in self._fellows(read):
                    self._advance(other, Stage.STALLED)
                    moved[other.id] = other
            if read.stage is not Stage.ABANDONED:
                heapq.heappush(self._deadlines, (read.deadline(), read_id))

    def _advance(self, read: Read, stage: Stage) -> None:
        server = self._servers[read.share.server]
        server.stalled += (stage is Stage.STALLED) - (read.stage is Stage.STALLED)
        read.stage = stage
        if stage is Stage.ABANDONED:
            del self._reads[read.id]

    def _fellows(self, read: Read) -> list[Read]:
        """Whatever else the silent server of *read* owes: it will not come any sooner."""
        fellows = [
            other
            for other in self
            if other.share.server == read.share.server and other.stage in (Stage.SENT, Stage.LATE)
        ]
        for other in fellows:
            heapq.heappush(self._deadlines, (other.abandon_at, other.id))
        return fellows

    def _silent_at(self, read: Read) -> float:
        """When the server of *read* has said nothing at all for the time that it was to take."""
        since = max(self._servers[read.share.server].answered_at, read.sending.at)
        return since + read.late_at - read.sending.at

    def _stalled_at(self, read: Read, now: float) -> float:
        """When *read*, which is late, counts as not coming, by what is known now.

        What was known when it was sent may have been wrong.  A server that falls silent
        gets no more time than one read was to take.  But when most servers are late while
        its own goes on answering, the wire that they share is slow: to ask others as well
        would only make it slower.
        """
        server = self._servers[read.share.server]
        _late_at, stalled_at = server.deadlines(read.sending.queued_bytes, read.sending.at)
        if self._is_wire_slow(read, now):
            stalled_at = max(stalled_at, server.answered_at + STALLED_FLOOR_S)
        else:
            stalled_at = min(stalled_at, self._silent_at(read))
        return min(stalled_at, read.abandon_at)

    def _is_excused(self, read: Read, now: float) -> bool:
        """Move the time at which *read* counts as stalled, if there is a reason."""
        stalled_at = self._stalled_at(read, now)
        if stalled_at <= now:
            return False
        read.stalled_at = stalled_at
        return True

    def compare(self) -> None:
        """Hold servers that have not shown their rate to the slowest of those that have.

        Cost: O(reads) while there is such a server, else O(servers).
        """
        known = [server.rate for server in self._servers.values() if server.rate is not None]
        unknown = {
            number
            for number, server in self._servers.items()
            if server.rate is None and server.reads_in_flight
        }
        if not known or not unknown:
            return
        rate = max(CAUTIOUS_RATE, min(known))
        for read in self:
            if read.share.server in unknown and read.stage is Stage.SENT:
                server, sending = self._servers[read.share.server], read.sending
                late_at, _stalled_at = server.deadlines(sending.queued_bytes, sending.at, rate)
                if late_at < read.late_at:
                    read.late_at = late_at
                    heapq.heappush(self._deadlines, (late_at, read.id))

    def _is_wire_slow(self, read: Read, now: float) -> bool:
        late = {r.share.server for r in self._reads.values() if r.late_at <= now}
        asked = {r.share.server for r in self._reads.values()}
        asked |= {n for n, server in self._servers.items() if server.answered_at >= read.sending.at}
        return 2 * len(late) > len(asked)
