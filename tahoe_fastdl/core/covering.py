"""Which share gives which blocks: admission, choice, sending, hedging.

Pure.  A segment is *admitted* when there is room for it, *covered* when k
shares are counted on for it.  Whatever breaks a promise (a late, failed or
refused read) uncovers the segment, and the next plan counts again.
"""

from __future__ import annotations

from .books import Books
from .forensics import Inquest
from .geometry import mask_of
from .merkle import MAX_PAGES_HELD
from .plan import (
    BUSY,
    MAX_SPAN_BYTES,
    ZFEC_S_PER_BYTE_AND_K,
    choose_shares,
    count_bits,
    cut_reads,
    fitting_segments,
    max_span_bytes,
    nearest_blocks,
    runs_of,
    span_bytes,
)
from .proving import Proving
from .readers import Reader
from .reads import Kind, Read
from .servers import NEAR_S
from .window import KIB, MIB

# Reads longer than ``plan.MAX_SPAN_BYTES`` have to leave so many rounds of them to ask for.
LEAST_ROUNDS = 4

# How far ahead to ask, in seconds of what the servers have shown they can
# give.  More only makes whoever comes next wait behind it, for a Foolscap
# read cannot be taken back; less leaves the wire idle while we decode.
HORIZON_S = 0.5
# Before rates are known, and never less once they are.
FIRST_DEPTH_BYTES = 4 * MIB
MIN_DEPTH_BYTES = 512 * KIB

# A reader that has nothing gets its first segments in a stripe of their own, of what
# comes in this time, and no more if even that takes longer: what else is on its way
# shares the line with them and would hold up the first byte.
FIRST_STRIPE_S = 0.05
# If that and the answer to anything asked later are here within NEAR_S, asking waits until
# they are decoded: on a LAN what else arrives then stands in the node's own way.
# A rate is trusted for so many times the bytes that it was measured with.
TRUST = 12

# Near servers answer before what is here is used up: there more than this, or than two stripes,
# in the window only leaves the processor's caches.
NEAR_WINDOW_BYTES = 24 * MIB

# So many downloads at once keep near servers busy though each asks for one stripe at a time.
CROWD = 4

# Decoding that takes longer than this is worth waiting for the last servers' shares.
DEAR_S = 0.02

# Their hashes must all be at hand: half of the leaf pages that are held.
MAX_ADMITTED_SEGMENTS = MAX_PAGES_HELD * 1024 // 2

# Hedges may cost this part of what was fetched, and a small row at any time.
HEDGE_PART = 0.05
HEDGE_FREE_BYTES = 256 * KIB


class Covering:
    """The part of a download that chooses and asks shares."""

    def __init__(self, books: Books, proving: Proving) -> None:
        self._books = books
        self._proving = proving
        self._depth_bytes = FIRST_DEPTH_BYTES  # file bytes to have on their way at once
        self._span_bytes = span_bytes(0.0, False)  # to ask of one share in a round
        self._first_bytes = 0.0  # file bytes that come within FIRST_STRIPE_S
        self._near_bytes = 0.0  # that come within NEAR_S, were they asked for now
        self._is_near = False
        self._is_side_by_side = False
        self._hedging_bytes = 0  # hedged since the last plan, and so not reserved yet

    # -- late reads -----------------------------------------------------------

    def hedge(self, read: Read) -> None:
        """Ask another share for a late read's blocks too, while that stays cheap."""
        books, counters = self._books, self._books.counters
        mask = self._spare(read, read.mask & books.rows.admitted & ~read.share.late)
        allowed = HEDGE_FREE_BYTES + HEDGE_PART * counters.bytes_received
        cheap = counters.bytes_hedged + read.length <= allowed
        fits = books.turns.budget.is_free(self._hedging_bytes + read.length)
        if mask and cheap and fits:
            counters.hedges += 1
            counters.bytes_hedged += read.length
            self._hedging_bytes += read.length
            read.share.late |= mask
            books.rows.uncover(mask)

    def replace(self, read: Read) -> None:
        """A read counts as not coming: others give its blocks, whatever that costs."""
        mask = self._spare(read, read.mask & self._books.rows.admitted & ~read.share.late)
        if mask:
            self._books.counters.replaced += 1
            read.share.late |= mask
            self._books.rows.uncover(mask)
        self._take_back_waiting(read)

    def _take_back_waiting(self, read: Read) -> None:
        """What waits for a slot of that server would wait as long, and is nobody's late read."""
        books = self._books
        for share in books.shares.values():
            if share.server == read.share.server:
                waiting = share.ledger.desire()
                if waiting:
                    share.ledger.on_unwanted(waiting)
                    books.rows.uncover(waiting)

    def _spare(self, read: Read, mask: int) -> int:
        """Those of the blocks in *mask* that some share could give on which nobody counts."""
        books, spare = self._books, 0
        for share in books.shares.values():
            is_able = not (share.retired or books.servers[share.server].stalled)
            if is_able and share is not read.share:
                spare |= mask & ~(share.assigned() | share.late | share.ledger.bad)
        return spare

    # -- admission ------------------------------------------------------------

    def upcoming(self) -> int:
        """Segments some reader needs and nobody works on, none past a lost one.

        A reader that does not take what is decoded for it gets no more than its
        part of the room, or one that pauses would starve the others.
        """
        todo = 0
        for reader in self._books.readers.values():
            todo |= self._upcoming_of(reader)
        return todo

    def _upcoming_of(self, reader: Reader) -> int:
        books = self._books
        if books.has_its_part(reader):
            return 0
        mine = reader.todo
        lost = [segnum for segnum in books.rows.lost if mine >> segnum & 1]
        if lost:
            mine &= mask_of(0, min(lost))
        return mine & ~books.rows.admitted

    def admit(self, whole: int, now: float) -> None:
        """Take segments into the window while there is room, and ask for them.

        :param whole: see ``Opening.whole_length``.
        """
        self._measure_pace()
        self._books.turns.take_long(self._gains_by_turns(), now)
        while not self.send_desires(whole, now):  # what waits for a slot goes first
            reader = self._next_reader()
            if reader is None:
                return
            todo = self._upcoming_of(reader)
            first = (todo & -todo).bit_length() - 1
            rest = todo >> first
            run = (~rest & (rest + 1)).bit_length() - 1
            length = self._stripe(run, reader, now)
            if length is None:
                self._feed_starving(whole, now)
            if not length:
                return
            self._admit_run(first, first + length, now)

    def _next_reader(self) -> Reader | None:
        """The reader with the least on its way, of those that need more: one that
        seeks to the end of a file must not wait for one that reads all of it."""
        books = self._books
        needy = [reader for reader in books.readers.values() if self._upcoming_of(reader)]
        if len(needy) < 2:
            return needy[0] if needy else None
        admitted = books.rows.admitted
        return min(needy, key=lambda reader: (count_bits(reader.todo & admitted), reader.id))

    def _admit_run(self, first: int, stop: int, now: float) -> None:
        self._books.admit(mask_of(first, stop))
        self._cover(first, stop, now)

    def _feed_starving(self, whole: int, now: float) -> None:
        """There is no room, but a reader that has nothing must get its next segment:
        who holds the room may pause for ever."""
        books = self._books
        for reader in books.readers.values():
            if not books.is_starving(reader):
                continue
            if not books.turns.starve(now):
                return
            segnum = (reader.todo & -reader.todo).bit_length() - 1
            if segnum not in books.rows.lost and not books.rows.admitted >> segnum & 1:
                self._admit_run(segnum, segnum + 1, now)
                self.send_desires(whole, now)

    def _measure_pace(self) -> None:
        """How deep and how long to ask, from measured rates and latencies."""
        books = self._books
        depth, received, rates, distances, is_side_by_side = 0.0, 0, [], [], True
        for number in books.live_servers():
            server = books.servers[number]
            if server.rate is not None and not server.stalled:
                most = TRUST * server.received_bytes
                depth += min(most, server.rate * (HORIZON_S + 2 * (server.latency_s or 0.0)))
                received += server.received_bytes
                rates.append(server.rate)
                distances.append(server.distance_s or 0.0)
                is_side_by_side = is_side_by_side and server.is_side_by_side
        self._first_bytes = FIRST_STRIPE_S * sum(rates)
        distance_s = sum(distances) / len(distances) if distances else NEAR_S
        self._near_bytes = (NEAR_S - distance_s) * sum(rates)
        self._is_near = distance_s < NEAR_S
        known = received >= FIRST_DEPTH_BYTES
        self._depth_bytes = max(MIN_DEPTH_BYTES if known else FIRST_DEPTH_BYTES, int(depth))
        rate = sum(rates) / len(rates) if rates else 0.0
        self._is_side_by_side = is_side_by_side
        self._span_bytes = span_bytes(rate, is_side_by_side)

    def _stripe(self, run: int, reader: Reader, now: float) -> int | None:
        """How many of the next *run* segments to admit for *reader* now; 0: none yet;
        None: there is no room for one."""
        books, geometry = self._books, self._books.geometry
        account, size = books.turns.account, self._books.geometry.segment_size
        limit = account.limit_bytes
        # Of a small file, or at the end of one, what is decoded later is asked for apart.
        part = max(MAX_SPAN_BYTES, run * geometry.block_size // LEAST_ROUNDS)
        span, stripes = min(self._span_bytes, part), self._stripes()
        fitting = fitting_segments(size, limit, stripes)
        most = min(nearest_blocks(span, geometry.block_size), fitting)
        rounds = max(1, (run + most // 2) // most)
        if rounds <= 2:  # no short stripe at the end
            most = -(-run // (rounds if run <= rounds * fitting else rounds + 1))
        length = min(run, most, MAX_ADMITTED_SEGMENTS // 2)
        if self._is_ample(length * size, most * size):
            return 0
        rows = books.rows
        is_waiting = bool(rows.admitted & ~rows.decoding) or self._can_wait()
        is_waiting = is_waiting or books.turns.is_in_turn()
        flight = books.reads.bytes_awaited  # about as many bytes of shares as of the file
        if count_bits(rows.admitted) >= MAX_ADMITTED_SEGMENTS:
            return 0
        if not reader.todo & rows.admitted:
            flight = 0  # its first bytes need not wait for those of others
            if not reader.has_begun():
                length = min(length, max(1, int(self._first_bytes // size)))
        elif not reader.has_begun() and self._stands_in_the_way(flight):
            return 0
        if books.search.is_young(now):
            room = self._cheap_bytes(run * size) - flight
            if room < size and flight:
                return 0
            length = min(length, max(1, room // size))
        depth = self._depth_bytes
        if flight and flight + length * size > depth + size:
            if flight >= depth // 2 or (depth - flight) // size < 1:
                return 0  # a short stripe now would only cost more messages
            length = min(length, (depth - flight) // size)
        elif not flight:
            length = min(length, max(1, depth // size))
        while not books.turns.has_room(length * size):
            if is_waiting or (length == 1 and (self._will_free() or not account.is_alone())):
                books.turns.wait_for_room(length * size, now)
                return None
            if length == 1:
                break  # nothing will ever make more room: a segment larger than it
            length //= 2
        return length

    def _stripes(self) -> int:
        """How many stripes should fit into what this download may hold: one that arrives and
        one that is asked for, or servers wait for us.  Near ones wait no longer than it takes
        to decode the rest, and not even that for a crowd.  Over HTTP they gain more by reads
        twice as long: 0.8 of the time at 60-of-60; over Foolscap, where a message costs less,
        a download by itself gains nothing."""
        is_better = self._is_side_by_side or self._books.turns.budget.accounts >= CROWD
        return 1 if is_better and self._is_alone_and_near() else 2

    def _can_wait(self) -> bool:
        """Whether to wait until there is room for a full stripe: near servers answer so soon
        that this costs less than reads cut short."""
        return self._is_alone_and_near() and self._will_free()

    def _is_alone_and_near(self) -> bool:
        """Whether servers are near, and no other reader of ours, who may pause, holds room."""
        return self._is_near and len(self._books.readers) == 1

    def _gains_by_turns(self) -> bool:
        """Whether a crowd is quicker by long stripes in turn: fewer messages cost less of our
        time, if that is what we have too little of, but not all servers are busy always."""
        budget, size = self._books.turns.budget, self._books.geometry.segment_size
        if budget.accounts < CROWD or not self._is_alone_and_near():
            return False
        fair, long = (
            fitting_segments(size, most, 1) for most in (budget.fair_bytes(), budget.long_bytes())
        )
        return self._books.cpu_busy > BUSY and long >= 2 * fair

    def _is_ample(self, length: int, stripe_bytes: int) -> bool:
        """Whether what is held and on its way is enough without *length* bytes more."""
        account = self._books.turns.account
        held_bytes = account.used_bytes + account.promised_bytes
        ample_bytes = max(NEAR_WINDOW_BYTES, 20 * stripe_bytes // 9)
        return self._is_near and held_bytes + length > ample_bytes and self._will_free()

    def _stands_in_the_way(self, flight: int) -> bool:
        """Whether asking for more would delay first bytes, of which *flight* are on their way."""
        return flight > self._first_bytes or 0 < flight < self._near_bytes

    def _cheap_bytes(self, run_bytes: int) -> int:
        """How much of the next *run_bytes* to ask for before all servers had time to say
        what they have: where secondary shares stand in for primaries that may yet turn up,
        as much as is decoded soon."""
        books = self._books
        found = {share.shnum for share in books.shares.values() if not share.retired}
        missing = sum(shnum not in found for shnum in range(books.k))
        decode_s = ZFEC_S_PER_BYTE_AND_K * missing * run_bytes
        return run_bytes if decode_s <= DEAR_S else int(run_bytes * DEAR_S / decode_s)

    def _will_free(self) -> bool:
        """Whether something under way will give bytes back."""
        books = self._books
        return bool(books.rows.admitted) or any(
            reader.held_bytes and not books.is_starving(reader) for reader in books.readers.values()
        )

    # -- choice ---------------------------------------------------------------

    def cover(self, now: float) -> None:
        """Count on k shares for every admitted segment."""
        self._hedging_bytes = 0
        rows = self._books.rows
        for first, stop in runs_of(rows.admitted & ~rows.covered & ~rows.decoding):
            self._cover(first, stop, now)

    def _cover(self, first: int, stop: int, now: float) -> None:
        while first < stop:
            first = self._cover_run(first, stop, now)

    def _cover_run(self, first: int, stop: int, now: float) -> int:
        """Cover the segments from *first* that the same shares serve now.

        :return: where that run ends, at most *stop*.
        """
        books = self._books
        inquest = books.rows.inquests.get(first)
        stop = min([stop, *(s if s > first else s + 1 for s in books.rows.inquests if first <= s)])
        doubted = inquest.unprovable if inquest is not None else frozenset()
        assigned: set[int] = set()
        for share in books.counted_on.values():
            here = share.assigned() >> first
            change = (~here if here & 1 else here) & mask_of(0, stop - first)
            if change:
                stop = first + (change & -change).bit_length() - 1
            if here & 1 and share.id not in doubted:
                assigned.add(share.shnum)
        mask = mask_of(first, stop)
        missing = books.k - len(assigned)
        if missing > 0:
            geometry = books.geometry
            chosen = choose_shares(
                [
                    share
                    for share in books.shares.values()
                    if share.id not in doubted and not share.ledger.have & mask
                ],
                books.servers, mask, assigned, missing,
                geometry.block_start(stop) - geometry.block_start(first),
                books.k, books.cpu_busy,
            )  # fmt: skip
            if len(chosen) < missing and stop - first > 1:
                # perhaps one bad block is in the way: look at each half
                return self._cover_run(first, first + (stop - first) // 2, now)
            for share in chosen:
                books.count_on(share, mask)
            if len(chosen) < missing:
                self._fall_short(first, inquest, now)
                return stop
        books.rows.covered |= mask & books.rows.admitted
        return stop

    def _fall_short(self, segnum: int, inquest: Inquest | None, now: float) -> None:
        """Too few shares for a segment: wait, search again, or give it up."""
        books, bit = self._books, 1 << segnum
        if books.search.until is not None:
            return
        coming = [
            share
            for share in books.shares.values()
            if not share.retired and share.expected() & ~share.late & bit
        ]
        if coming:
            return  # soon we know more, at least which error it is
        if inquest is not None:
            if not self._proving.is_examining(segnum, inquest) and not books.search_again(now):
                late = any(share.ledger.pending & bit for share in books.shares.values())
                self._proving.guess(segnum, inquest, is_last=not late)
            return
        possible = {share.shnum for share in books.shares.values() if share.potential() & bit}
        if len(possible) < books.k and not books.search_again(now):
            books.lose(segnum, books.shortage(segnum))

    # -- sending --------------------------------------------------------------

    def send_desires(self, whole: int, now: float) -> bool:
        """Ask for every block that is desired; whether some wait for a slot."""
        books, geometry = self._books, self._books.geometry
        waiting = 0
        for share in books.counted_on.values():
            desire = share.ledger.desire()
            if not desire or share.retired:
                continue
            data, server = books.layout_of(share).data, books.servers[share.server]
            if whole and books.turns.has_slot(server):
                books.send(share, Kind.BLOCKS, 0, whole, now, desire, data)
                continue
            longest = max_span_bytes(server.is_side_by_side)
            for first, stop in cut_reads(desire, geometry.block_size, longest):
                if not books.turns.has_slot(server):
                    waiting += count_bits(share.ledger.desire()) * geometry.block_size
                    break
                start = data + geometry.block_start(first)
                length = geometry.block_start(stop) - geometry.block_start(first)
                books.send(share, Kind.BLOCKS, start, length, now, mask_of(first, stop), data)
        books.turns.account.promise(waiting)
        return waiting > 0
