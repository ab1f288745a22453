"""Which shares give a run of blocks, how long runs are, and how reads are cut.

Pure.  Functions only: what they weigh comes in as arguments.  docs/architecture.md
says how the figures were chosen.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from statistics import median_low

from .servers import DEFAULT_RATE, Server
from .share import Share
from .window import KIB

# A message costs the same whatever it carries, so reads are as long as their server
# sends in this time, within bounds: longer ones only make others wait behind them.
SPAN_S = 0.03
MIN_SPAN_BYTES = 256 * KIB
MAX_SPAN_BYTES = 1024 * KIB  # longer ones bring nothing any more; neighbouring spans neither
# Over HTTP, where answers come side by side, a message costs client and server three times as
# much, 1 ms and 1.5: servers that send MAX_SPAN_BYTES in less than SPAN_S are asked for twice as
# much as in that time.  100 MB on a LAN took 0.84 of the time so (k = 1, 3, 20); from slower
# ones longer reads only came later (1.1 times as long at 10 MB/s a server).
MAX_SIDE_BY_SIDE_BYTES = 4096 * KIB

# zfec takes 1.2 s for 100 MB at k=20 with every primary missing:
# 0.6 ns for each byte of a missing primary block and each of the k blocks.
ZFEC_S_PER_BYTE_AND_K = 0.6e-9
# With the reactor's core busy, decoding competes with receiving, and a server seems slow
# only because we are: primaries are then worth waiting for, as much longer as zfec reckons
# longer.  Who waits in vain is not busy any more.
BUSY_PATIENCE_S_PER_K = 0.05
MAX_PATIENCE_S = 1.0
IDLE, BUSY = 0.3, 0.7  # of a core; between them in proportion
# Shares that lied and servers that stopped answering are the last resort.
SUSPECT_S = 1e3
STALLED_S = 1e4


def runs_of(mask: int) -> Iterator[tuple[int, int]]:
    """The runs ``[first, stop)`` of set bits in *mask*, ascending."""
    position = 0
    while mask:
        skip = (mask & -mask).bit_length() - 1
        mask >>= skip
        position += skip
        length = (~mask & (mask + 1)).bit_length() - 1
        yield position, position + length
        mask >>= length
        position += length


def count_bits(mask: int) -> int:
    """How many bits of *mask* are set; cost by their spread, not by where they begin."""
    return bin(mask >> ((mask & -mask).bit_length() - 1)).count("1") if mask else 0


def choose_shares(
    shares: Iterable[Share],
    servers: Mapping[int, Server],
    mask: int,
    taken: set[int],
    count: int,
    length: int,
    k: int,
    cpu_busy: float,
) -> list[Share]:
    """The *count* cheapest shares for the blocks in *mask*, *length* bytes each.

    Cost is when the server would be done, with what this choice adds to its
    queue, and the decoding that this and the other secondary shares make necessary.

    :param taken: shnums that are provided for already.
    :return: shares of distinct shnums, fewer than *count* if there are no more.
    """
    decode_s = ZFEC_S_PER_BYTE_AND_K * k * length
    busy = max(0.0, min(1.0, (cpu_busy - IDLE) / (BUSY - IDLE)))
    patience_s = busy * min(MAX_PATIENCE_S, k * BUSY_PATIENCE_S_PER_K)
    by_server: dict[int, list[tuple[float, int, int, Share]]] = {}
    for share in shares:
        if share.retired or share.shnum in taken or share.ledger.bad & mask or share.late & mask:
            continue
        cost = 0.0
        if share.shnum >= k:
            cost += decode_s + patience_s
        if share.suspect:
            cost += SUSPECT_S
        if servers[share.server].stalled:
            cost += STALLED_S
        by_server.setdefault(share.server, []).append((cost, share.shnum, share.id, share))
    # One of which nothing is known must not look better than those that answer.
    rates = [rate for rate in (servers[server].rate for server in by_server) if rate is not None]
    typical = median_low(rates) if rates else DEFAULT_RATE
    heap: list[tuple[float, int, int, int]] = []  # the last: secondaries that it counts
    waits: dict[int, tuple[float, float]] = {}
    for server, offers in by_server.items():
        offers.sort(reverse=True)
        first, second = (servers[server].expected_s(length * times, typical) for times in (1, 2))
        waits[server] = (first, second - first)
        heap.append((first + offers[-1][0], server, 0, 0))
    heapq.heapify(heap)
    taken = set(taken)
    chosen: list[Share] = []
    secondaries = 0
    while heap and len(chosen) < count:
        cost, server, given, counted = heapq.heappop(heap)
        offers = by_server[server]
        share = offers[-1][3]
        if share.shnum >= k and counted < secondaries:
            cost += (secondaries - counted) * decode_s
            heapq.heappush(heap, (cost, server, given, secondaries))
            continue
        offers.pop()
        if share.shnum not in taken:
            taken.add(share.shnum)
            chosen.append(share)
            secondaries += share.shnum >= k
            given += 1
        if offers:
            first, each = waits[server]
            cost = first + given * each + offers[-1][0]
            heapq.heappush(heap, (cost, server, given, 0))
    return chosen


def span_bytes(rate: float, is_side_by_side: bool) -> int:
    """How much to ask of one share in a round, of servers that give *rate* bytes a second.

    :param is_side_by_side: whether their answers come so.
    """
    span = int(rate * SPAN_S)
    if is_side_by_side and span > MAX_SPAN_BYTES:
        span *= 2
    return max(MIN_SPAN_BYTES, min(max_span_bytes(is_side_by_side), span))


def max_span_bytes(is_side_by_side: bool) -> int:
    """The most that one read brings."""
    return MAX_SIDE_BY_SIDE_BYTES if is_side_by_side else MAX_SPAN_BYTES


def nearest_blocks(length: int, block_size: int) -> int:
    """The number of whole blocks nearest to *length* bytes, >= 1.

    Three blocks of 349,526 bytes are two bytes more than 1 MiB: two of them at a time, as a
    limit would have it, are a half more messages.
    """
    return max(1, (length + block_size // 2) // block_size)


def fitting_segments(segment_size: int, limit_bytes: int, stripes: int) -> int:
    """How many segments a round of reads may carry, >= 1, if so many rounds should fit into
    *limit_bytes*.  A tenth is left for what the scouts brought, or the last would not fit."""
    return max(1, 9 * limit_bytes // (10 * stripes * segment_size))


def cut_reads(desire: int, block_size: int, max_bytes: int) -> Iterator[tuple[int, int]]:
    """The block runs ``[first, stop)`` to read for *desire*, each at most as many blocks as
    are nearest to *max_bytes*, and equal in length as near as may be."""
    most = nearest_blocks(max_bytes, block_size)
    for first, stop in runs_of(desire):
        pieces = -(-(stop - first) // most)
        for i in range(pieces):
            yield first + (stop - first) * i // pieces, first + (stop - first) * (i + 1) // pieces
