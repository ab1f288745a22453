"""Reads on their way: who was asked for what, when it is late, what it reserved.

Pure.  Laws: a read is reserved in the account when it is sent and released
exactly once; each read is late, stalled, abandoned at most once, in that order.
A server that falls silent (``silence``) gives none of them.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from enum import Enum

from attrs import define

from .servers import CAUTIOUS_RATE, STALLED_FLOOR_S, Sending, Server
from .share import Share
from .silence import SilenceWatch
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

    @property
    def is_awaited(self) -> bool:
        """Whether it counts as coming."""
        return self.stage in (Stage.SENT, Stage.LATE)

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
        self._silence = SilenceWatch(servers)
        self._dropped: dict[int, int] = {}  # their servers, until they answer after all
        self.bytes_awaited = 0  # of reads that do not count as stalled
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
        self.bytes_awaited += length
        self._silence.begin(read, now)
        heapq.heappush(self._deadlines, (read.deadline(), read.id))
        return read

    def find(self, read_id: int) -> Read | None:
        """The read of this number, if it has not ended."""
        return self._reads.get(read_id)

    def take(self, read_id: int) -> Read | None:
        """Remove a read that ended; None if it ended before."""
        read = self._reads.pop(read_id, None)
        if read is not None:
            if read.is_awaited:
                self.bytes_awaited -= read.length
                self._silence.end(read)
            else:
                self._servers[read.share.server].stalled -= 1
        return read

    def drop_all(self) -> None:
        """Nobody waits for any of them now; their answers will find no read."""
        for read in self:
            self.take(read.id)
            self._dropped[read.id] = read.share.server
            self._servers[read.share.server].on_retired(read.length)

    def on_stray(self, read_id: int, now: float) -> None:
        """An answer that nobody waits for: what was asked after it could not come sooner."""
        number = self._dropped.pop(read_id, None)
        if number is not None:
            self._servers[number].answered_at = now

    def is_asked(self, share: Share, start: int, stop: int) -> bool:
        """Whether a read under way will bring ``[start, stop)`` of *share*."""
        return any(
            r.share is share and r.start <= start and stop <= r.stop for r in self._reads.values()
        )

    def next_deadline(self) -> float | None:
        """When the next read changes its stage, or a server has to be looked at."""
        while self._deadlines:
            when, read_id = self._deadlines[0]
            read = self._reads.get(read_id)
            if read is not None and read.deadline() == when:
                break
            heapq.heappop(self._deadlines)
        times = [self._silence.next_look()]
        if self._deadlines:
            times.append(self._deadlines[0][0])
        return min((when for when in times if when is not None), default=None)

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
            if self._silence.next_look() == when:
                changed = self._silence.take_silent(now)
                for read in changed:
                    self._advance(read, Stage.STALLED)
            else:
                _when, read_id = heapq.heappop(self._deadlines)
                read = self._reads[read_id]
                if self._is_excused(read, now):
                    heapq.heappush(self._deadlines, (read.deadline(), read_id))
                    continue
                changed = [read]
                self._advance(read, NEXT_STAGE[read.stage])
            moved.update((read.id, read) for read in changed)

    def _advance(self, read: Read, stage: Stage) -> None:
        server = self._servers[read.share.server]
        server.stalled += (stage is Stage.STALLED) - (read.stage is Stage.STALLED)
        read.stage = stage
        if stage is Stage.LATE:
            read.stalled_at = self._stalled_at(read)
        elif stage is Stage.STALLED:
            self.bytes_awaited -= read.length
            self._silence.end(read)
        elif stage is Stage.ABANDONED:
            del self._reads[read.id]
            self._dropped[read.id] = read.share.server
            return
        heapq.heappush(self._deadlines, (read.deadline(), read.id))

    # -- late reads -----------------------------------------------------------

    def _stalled_at(self, read: Read) -> float:
        """When *read*, which is late, counts as not coming, by what is known now.

        What was known when it was sent may have been wrong.  But when most servers are late
        while its own goes on answering, the wire that they share is slow.
        """
        server = self._servers[read.share.server]
        _late_at, stalled_at = server.deadlines(server.owed_bytes(read.sending), read.sending.at)
        if self._is_wire_slow(read):
            stalled_at = max(stalled_at, server.answered_at + STALLED_FLOOR_S)
        return min(stalled_at, read.abandon_at)

    def _is_excused(self, read: Read, now: float) -> bool:
        """Move the time at which *read* counts as late or stalled, if there is a reason."""
        if read.stage is Stage.SENT:
            return self._shares_its_line(read, now)
        if read.stage is not Stage.LATE:
            return False
        stalled_at = self._stalled_at(read)
        if stalled_at <= now:
            return False
        read.stalled_at = stalled_at
        return True

    def _shares_its_line(self, read: Read, now: float) -> bool:
        """Move the time at which *read* counts as late, if its server was asked for more since
        and sends all of it side by side."""
        server, sending = self._servers[read.share.server], read.sending
        owed = server.owed_bytes(sending)
        if owed > sending.queued_bytes:
            late_at, _stalled_at = server.deadlines(owed, sending.at)
            read.late_at = min(max(read.late_at, late_at), read.abandon_at)
        return read.late_at > now

    def compare(self) -> None:
        """Hold servers that have not shown their rate to the slowest of those that have.

        Cost: O(reads) while there is such a server, else O(servers).
        """
        known = [server.rate for server in self._servers.values() if server.rate is not None]
        if known:
            self._silence.unknown_rate = max(CAUTIOUS_RATE, min(known))
        unknown = {
            number
            for number, server in self._servers.items()
            if server.rate is None and server.reads_in_flight
        }
        if not known or not unknown:
            return
        for read in self:
            if read.share.server in unknown and read.stage is Stage.SENT:
                server, sending = self._servers[read.share.server], read.sending
                late_at, _stalled_at = server.deadlines(
                    sending.queued_bytes, sending.at, self._silence.unknown_rate
                )
                if late_at < read.late_at:
                    read.late_at = late_at
                    heapq.heappush(self._deadlines, (late_at, read.id))

    def _is_wire_slow(self, read: Read) -> bool:
        late = {r.share.server for r in self._reads.values() if r.stage is not Stage.SENT}
        asked = {r.share.server for r in self._reads.values()}
        asked |= {n for n, server in self._servers.items() if server.answered_at >= read.sending.at}
        return 2 * len(late) > len(asked)
