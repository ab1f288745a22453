"""Scouts: first blocks, asked for before the UEB is here.

Pure.  Nothing is known then but the file's size, yet blocks begin at a known
place and the likely segment sizes are few: so each share is asked for its
first blocks as it turns up, in the same round trip as the UEB.
"""

from __future__ import annotations

from .books import Books
from .forensics import data_stop, whole_share_length
from .geometry import Geometry, mask_of
from .intake import Intake
from .layout import V2_HEADER_SIZE, expected_layout
from .metadata import UEB_READ_SIZE
from .plan import ZFEC_S_PER_BYTE_AND_K, choose_shares
from .reads import Kind, Stage
from .servers import CAUTIOUS_RATE, DEFAULT_LATENCY_S
from .share import Share
from .window import KIB

# A share of at most this length is fetched and checked whole.
SMALL_SHARE_BYTES = 16 * KIB
# Decoding that takes longer than this is worth waiting for other servers' primaries, so many
# times as long as the first needed to answer.  1 MB 80-of-240 on a LAN with segments of 1 MiB:
# 0.085 s, and 0.105 with the shares that were found first.
DEAR_S = 0.005
DEAR_PART = 2.0
# What comes in this time is asked for in the same message: that costs as much by itself.
MESSAGE_S = 0.001
# The rest of a share is asked for so long after its first blocks: else all machines work on it
# when those come.  10 MB 5-of-5 with segments of 1 MiB at 50 ms: the first byte after 0.119 s in
# place of 0.138, the last after 0.168 in place of 0.155.
REST_S = 0.015


class Scouts:
    """The part of a download that reads on a guess."""

    def __init__(self, books: Books, intake: Intake) -> None:
        self._books = books
        self._intake = intake
        self._scouted: set[int] = set()  # shares asked before the geometry was known
        self._rests: list[tuple[float, Share, int, int]] = []  # when to ask whom, whence, how much
        self._whole: int | None = None  # what whole_length says once the geometry is known

    def reset(self) -> None:
        """Nobody reads any more, or nothing is a guess any more."""
        self._scouted.clear()
        self._rests.clear()

    def has_asked(self, share: Share) -> bool:
        """Whether *share* was asked on a guess, and it is not known yet what that brings."""
        return share.id in self._scouted

    def distrust(self, share: Share) -> None:
        """A scout is late: its share counts as not asked."""
        if self._books.metadata.geometry is None and share.id in self._scouted:
            share.late |= 1

    def first_byte(self) -> int:
        """The lowest byte of the file that a reader wants, by the best guess; 0 without one."""
        guess = self._books.metadata.best_guess
        readers = self._books.readers.values() if guess is not None else ()
        starts = [reader.guess_start(guess) for reader in readers if guess is not None]
        return min((start for start in starts if start is not None), default=0)

    def whole_length(self) -> int:
        """How much to read of a share small enough to be read whole, or 0."""
        books = self._books
        if not any(reader.wants_bytes for reader in books.readers.values()):
            return 0
        if self._whole is not None:
            return self._whole
        known = [books.metadata.geometry] if books.metadata.geometry else books.metadata.guesses
        length = max((whole_share_length(g) for g in known), default=SMALL_SHARE_BYTES + 1)
        # with a v2 header all of it lies a little further on
        whole = length + V2_HEADER_SIZE + UEB_READ_SIZE if length <= SMALL_SHARE_BYTES else 0
        if books.metadata.geometry is not None:
            self._whole = whole
        return whole

    def _first_blocks(self) -> tuple[int, int] | None:
        """Which bytes of each share to ask for on a guess: all of it, if it is small."""
        books = self._books
        guess = books.metadata.best_guess
        if guess is None or not any(reader.wants_bytes for reader in books.readers.values()):
            return None
        whole = self.whole_length()
        if whole:
            return 0, whole
        first = min(self.first_byte() // guess.segment_size, guess.num_segments - 1)
        data = expected_layout(guess).data
        return data + guess.block_start(first) if first else 0, data + guess.block_start(first + 1)

    def is_in_the_way(self) -> bool:
        """Whether an answer behind that to a scout, which over Foolscap comes in order, is
        much later for it.  Not if the scout brings the UEB itself."""
        span, numbers = self._first_blocks(), self._books.live_servers()
        if span is None or self.whole_length():
            return False
        if any(self._books.servers[number].is_side_by_side for number in numbers):
            return False
        return any(self._is_long(number, span[1] - span[0]) for number in numbers)

    def _is_long(self, number: int, length: int) -> bool:
        """Whether a server needs longer for so many bytes than a message costs by itself."""
        return length > MESSAGE_S * (self._books.servers[number].rate or CAUTIOUS_RATE)

    def scout(self, now: float) -> None:
        """Read first blocks before anything is known but the file's size."""
        books, span = self._books, self._first_blocks()
        if span is None:
            return
        self._send_rests(now)
        start, stop = span
        if not self._scouted and not books.turns.has_room(books.k * (stop - start)):
            if not books.turns.account.is_alone() and not books.turns.starve(now):
                books.turns.wait_for_room(books.k * (stop - start), now)
                return
        shares = [share for share in books.shares.values() if not share.late]
        scouted = [s for s in shares if s.id in self._scouted and not s.retired]
        asked, servers = {s.shnum for s in scouted}, {s.server for s in scouted}
        fresh = [share for share in shares if share.id not in self._scouted]
        chosen = choose_shares(
            fresh, books.servers, 1, asked, books.k - len(asked), stop - start, books.k,
            books.cpu_busy,
        )  # fmt: skip
        secondaries = sum(share.shnum >= books.k for share in chosen)
        decode_s = ZFEC_S_PER_BYTE_AND_K * books.k * secondaries * (stop - start)
        for share in chosen:
            # A second share of a server comes behind the first: perhaps another has it too.
            if share.server in servers and self._is_long(share.server, stop - start):
                if books.search.wait_for_more(now):
                    continue
            # Primaries that turn up meanwhile spare more decoding than the wait is long.
            if share.shnum >= books.k and decode_s > DEAR_S:
                if books.search.wait_for_more(now, DEAR_PART, decode_s):
                    continue
            if books.turns.has_slot(books.servers[share.server]):
                self._scouted.add(share.id)
                servers.add(share.server)
                self._send_scout(share, start, stop, now)

    def _send_scout(self, share: Share, start: int, stop: int, now: float) -> None:
        """Ask for the first blocks, and for the rest of the share too, if all of it is here
        before an answer to another question could be."""
        books = self._books
        server = books.servers[share.server]
        rest = self._rest_of(share, start, stop)
        rate = server.rate or CAUTIOUS_RATE
        latency = DEFAULT_LATENCY_S if server.latency_s is None else server.latency_s
        # Over HTTP the first blocks and what is on its way come in either case, and a UEB
        # that is asked for apart takes a connection more, two round trips.
        before = 0 if server.is_side_by_side else server.bytes_in_flight + stop - start
        if before + rest > rate * latency:
            rest = 0
        # Over Foolscap the answer to a second read comes right behind that to the first;
        # over HTTP it would take a connection of its own.  But if all of the share may be
        # one block, it must not be cut in two.
        is_one_block = any(guess.num_segments == 1 for guess in books.metadata.guesses)
        if rest > MESSAGE_S * rate and not server.is_side_by_side and not is_one_block:
            books.send(share, Kind.BLOCKS, start, stop - start, now)
            self._rests.append((now + REST_S, share, stop, rest))
            books.search.look_again(now + REST_S, now)
        else:
            books.send(share, Kind.BLOCKS, start, stop + rest - start, now)

    def _send_rests(self, now: float) -> None:
        """Ask for what was put off until now, if nobody took its room meanwhile."""
        books, rests = self._books, self._rests
        self._rests = [rest for rest in rests if rest[0] > now]
        for when, share, start, length in rests:
            if when > now:
                books.search.look_again(when, now)
            elif not (share.retired or share.late) and books.turns.has_room(length):
                books.send(share, Kind.BLOCKS, start, length, now)

    def _rest_of(self, share: Share, start: int, stop: int) -> int:
        """How many bytes a share that is scouted up to *stop* may have behind that which are
        wanted: none if not all of the file is, or if other shares may be better."""
        books, guesses = self._books, self._books.metadata.guesses
        size = guesses[0].size
        is_wanted = start == 0 and any(
            reader.start == 0 and reader.stop is not None and reader.stop >= size
            for reader in books.readers.values()
        )
        if not is_wanted:
            return 0
        hashes = max(whole_share_length(guess) - data_stop(guess) for guess in guesses)
        rest = max(data_stop(guess) for guess in guesses) + V2_HEADER_SIZE - stop
        if books.servers[share.server].is_side_by_side and hashes <= SMALL_SHARE_BYTES:
            rest += hashes + UEB_READ_SIZE  # or the UEB would take another connection
        # A primary share spares decoding, and may turn up yet.
        if share.shnum >= books.k and ZFEC_S_PER_BYTE_AND_K * books.k * rest > MESSAGE_S:
            return 0
        is_small = books.k * rest <= books.turns.account.limit_bytes // 3
        return rest if rest > 0 and is_small and books.turns.has_room(stop + rest) else 0

    def convert(self) -> None:
        """The geometry is known: what was read on a guess becomes blocks."""
        books, geometry = self._books, self._books.geometry
        todo = 0
        for reader in books.readers.values():
            todo |= reader.todo
        for share in books.shares.values():
            share.late = 0
        scouted = self._scouted & books.shares.keys()
        for share_id in sorted(scouted):
            self._take_scouted(books.shares[share_id], geometry, todo)
        for read in books.reads:
            if read.kind is not Kind.BLOCKS or read.share.id not in scouted:
                continue
            share = read.share
            data = books.layout_of(share).data
            mask = todo & mask_of(*geometry.whole_blocks(read.start - data, read.stop - data))
            books.admit(mask & ~books.rows.admitted)
            books.count_on(share, mask)
            share.ledger.on_asked(mask)
            read.mask, read.data_start = mask, data
            if read.stage is Stage.STALLED:  # it will not get to that stage any more
                share.late |= mask
        self.reset()

    def _take_scouted(self, share: Share, geometry: Geometry, todo: int) -> None:
        books = self._books
        layout = books.layout_of(share)
        for fragment in share.fragments():
            base = fragment.start - layout.data
            blocks = geometry.whole_blocks(base, base + len(fragment.data))
            mask = todo & mask_of(*blocks) & ~share.ledger.have
            if share.retired or not mask:
                continue
            books.admit(mask & ~books.rows.admitted)
            books.count_on(share, mask)
            kept = self._intake.keep_blocks(share, fragment, mask, layout.data)
            if kept and not fragment.is_reserved:
                books.turns.account.reserve(kept)
            elif kept:
                fragment.is_reserved = False
