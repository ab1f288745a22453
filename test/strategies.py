"""What hypothesis may draw: files, damaged shares, bad servers, impatient readers.

How many examples a property gets is scaled by ``TAHOE_FASTDL_HYPOTHESIS_PROFILE``:
``steady`` (the default: the same examples every time), ``quick`` or ``thorough``.
Tahoe's own tests set hypothesis's global profile, so it is left alone here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from .sharemaker import (
    BLOCK_HASHES,
    CRYPTTEXT,
    DATA,
    HEADER,
    PARTS,
    SHARE_HASHES,
    UEB,
    EncodedFile,
    encode,
)
from .worlds import Damage, Mood, PlacedShare, ReaderSpec, ServerSpec, World

# Examples are multiplied by the first; the second says whether they are always the same.
PROFILES = {"steady": (1.0, True), "quick": (0.2, False), "thorough": (20.0, False)}
_FACTOR, _SAME = PROFILES[os.environ.get("TAHOE_FASTDL_HYPOTHESIS_PROFILE", "steady")]


def examples(count: int, **more: Any) -> settings:
    """Settings for a property that usually gets *count* examples."""
    return settings(
        max_examples=max(5, int(count * _FACTOR)),
        deadline=None,
        derandomize=_SAME,
        database=None,
        report_multiple_bugs=False,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        **more,
    )


def masks(bits: int) -> SearchStrategy[int]:
    """Sets of at most *bits* segments, often runs."""
    runs = st.tuples(st.integers(0, bits), st.integers(0, bits)).map(
        lambda ends: (1 << max(ends)) - (1 << min(ends))
    )
    return st.one_of(runs, st.integers(0, (1 << bits) - 1))


@st.composite
def encodings(draw: DrawFn) -> tuple[int, int]:
    """k and N, mostly small."""
    k = draw(st.sampled_from([1, 1, 2, 2, 3, 3, 4, 5, 7]))
    return k, k + draw(st.integers(0, 5))


@st.composite
def files(draw: DrawFn) -> EncodedFile:
    """Files of 1 byte to 120 kB, of 1 to some dozens of segments."""
    k, n = draw(encodings())
    segment_size = draw(st.sampled_from([7, 100, 1024, 4000, 16384]))
    segments = draw(st.integers(1, 40))
    size = min((segments - 1) * segment_size + draw(st.integers(1, segment_size)), 120_000)
    version = draw(st.sampled_from([1, 1, 1, 2]))
    wrong: frozenset[int] = frozenset()
    if draw(st.integers(0, 19)) == 19:
        wrong = frozenset({draw(st.integers(0, -(-size // segment_size) - 1))})
        size = max(size, 1)
    return encode(size, k, n, segment_size, version=version, wrong_segments=wrong)


@st.composite
def damages(draw: DrawFn, file: EncodedFile) -> Damage:
    """One thing wrong with a share, in any of its parts."""
    part = draw(st.sampled_from([DATA, DATA, DATA, *PARTS, HEADER, CRYPTTEXT, BLOCK_HASHES,
                                 SHARE_HASHES, UEB]))  # fmt: skip
    start, stop = file.parts[part]
    position = draw(st.integers(start, stop - 1))
    kind = draw(st.sampled_from(["byte", "byte", "part", "cut"]))
    if kind == "cut":
        return Damage(position)
    return Damage(position, position + 1) if kind == "byte" else Damage(start, stop)


READ_MOODS: tuple[tuple[Mood, ...], ...] = (
    (Mood.NEVER,),
    (Mood.FAIL,),
    (Mood.SLOW,),
    (Mood.OVERDUE,),
    (Mood.SHORT,),
    (Mood.EMPTY,),
    (Mood.GARBLED,),
    (Mood.GOOD, Mood.NEVER),
    (Mood.GOOD, Mood.GOOD, Mood.NEVER),
    (Mood.GOOD, Mood.FAIL),
    (Mood.GOOD, Mood.SLOW),
    (Mood.SLOW, Mood.GOOD),
    (Mood.GOOD, Mood.GARBLED),
    (Mood.GOOD, Mood.SHORT),
    (Mood.NEVER, Mood.GOOD),
    (Mood.FAIL, Mood.GOOD),
)
SEARCH_MOODS: tuple[tuple[Mood, ...], ...] = (
    (Mood.NEVER,),
    (Mood.FAIL,),
    (Mood.SLOW,),
    (Mood.OVERDUE,),
    (Mood.FAIL, Mood.GOOD),
)


@st.composite
def server_specs(
    draw: DrawFn, shares: tuple[PlacedShare, ...], badness: Callable[[], bool]
) -> ServerSpec:
    """A server with these shares; its moods are good unless *badness*."""
    return ServerSpec(
        shares,
        latency_s=draw(st.sampled_from([0.0, 0.001, 0.03, 0.3])),
        rate=draw(st.sampled_from([1e9, 1e7, 1e5])),
        searches=draw(st.sampled_from(SEARCH_MOODS)) if badness() else (Mood.GOOD,),
        reads=draw(st.sampled_from(READ_MOODS)) if badness() else (Mood.GOOD,),
        max_reads=draw(st.sampled_from([0, 0, 1, 2, 10])),
    )


@st.composite
def reader_specs(draw: DrawFn, file: EncodedFile) -> ReaderSpec:
    """Somebody who reads a range, a segment or the segment size, for a while."""
    joins_at = draw(st.sampled_from([0.0, 0.0, 0.0, 0.01, 0.05, 1.0, 30.0]))
    leaves_at: float | None = None
    leaves_after: int | None = None
    pauses_s: tuple[float, ...] = ()
    leaving = draw(st.integers(0, 7))
    if leaving == 6:
        leaves_at = joins_at + draw(st.sampled_from([0.0, 0.005, 0.02, 0.1, 2.0]))
    elif leaving == 7:
        leaves_after = draw(st.integers(1, file.size))
    if draw(st.integers(0, 3)) == 3:
        pauses_s = tuple(draw(st.lists(st.sampled_from([0.0, 0.02, 1.0, 200.0]), min_size=1,
                                       max_size=3)))  # fmt: skip
    kind = draw(st.sampled_from(["all", "range", "range", "range", "segment", "size"]))
    start, stop, segnum = None, None, None
    if kind == "all":
        start, stop = 0, file.size
    elif kind == "range":
        start = draw(st.integers(0, file.size - 1))
        stop = draw(st.integers(start + 1, file.size))
    elif kind == "segment":
        segnum = draw(st.integers(0, file.num_segments))
    return ReaderSpec(start, stop, segnum, joins_at, leaves_at, leaves_after, pauses_s)


@st.composite
def worlds(draw: DrawFn, faults: int = 3) -> World:
    """A file, its shares on some servers, at most about *faults* wrong, and readers."""
    file = draw(files())
    count = draw(st.integers(1, 6))
    places = [(shnum, draw(st.integers(0, count - 1))) for shnum in range(file.n)]
    for _ in range(draw(st.integers(0, 3))):
        extra = draw(st.integers(0, file.n - 1)), draw(st.integers(0, count - 1))
        if extra not in places:
            places.append(extra)
    left = draw(st.integers(0, faults))
    broken: dict[tuple[int, int], list[Damage]] = {}
    bad_servers = 0
    for _ in range(left):
        if draw(st.booleans()):
            bad_servers += 1
        else:
            place = draw(st.sampled_from(places))
            broken.setdefault(place, []).append(draw(damages(file)))
    bad = set(draw(st.permutations(range(count)))[:bad_servers])
    servers = []
    for number in range(count):
        shares = tuple(
            PlacedShare(shnum, tuple(broken.get((shnum, server), ())))
            for shnum, server in places
            if server == number
        )
        is_bad = number in bad

        def badness(is_bad: bool = is_bad) -> bool:
            return is_bad and draw(st.booleans())

        servers.append(draw(server_specs(shares, badness)))
    readers = draw(st.lists(reader_specs(file), min_size=1, max_size=4))
    return World(
        file,
        tuple(servers),
        tuple(readers),
        budget_bytes=draw(st.sampled_from([1000, 30_000, 300_000, 64 * 1024 * 1024])),
        segment_size_hint=draw(st.sampled_from([file.segment_size, 1024 * 1024])),
        verify_blocks=draw(st.integers(0, 4)) == 4,
        cpu_busy=draw(st.sampled_from([0.0, 1.0])),
        seed=draw(st.integers(0, 2**16)),
        shuffle=draw(st.sampled_from([0.0, 0.5, 20.0])),
    )
