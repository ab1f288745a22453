"""What the profiler wrote, less what the node did without the download.

Pure. twistd profiles the reactor from its start to its end, so a node's stats hold
imports, connecting and stopping too. A second node of the same kind does all that
and no download; its stats are the *baseline*. Rules of the subtraction, for each
function and each caller of it:

* calls and seconds are subtracted and are never below zero;
* what was not called more often than in the baseline is dropped with its time, which
  is noise then: a start takes seconds, and no two the same;
* a function that is kept only because it called others (the reactor's main loop) keeps
  its count.

Times are wall seconds under the profiler, which slows Python code down and compiled
code hardly at all: good for shares, not for speeds.
"""

from __future__ import annotations

import functools
import pstats
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from misc.profiling.rows import Key

# pstats: primitive calls, calls, own seconds, cumulative seconds.
Numbers = tuple[int, int, float, float]
Stats = dict[Key, tuple[int, int, float, float, dict[Key, Numbers]]]

BUILTIN = "~"  # pstats' file of compiled functions
WAITING = (
    "<method 'poll' of 'select.epoll' objects>",
    "<method 'poll' of 'select.poll' objects>",
    "<method 'control' of 'select.kqueue' objects>",
    "<built-in method select.select>",
)

# The first that fits; of compiled functions by the caller, but for the kernel's.
LAYERS: tuple[tuple[str, str], ...] = (
    ("tahoe_fastdl/core/", "fast: core"),
    ("tahoe_fastdl/", "fast: shell"),
    ("allmydata/immutable/downloader/", "stock downloader"),
    ("allmydata/hashtree.py", "hash trees"),
    ("allmydata/util/spans.py", "spans"),
    ("allmydata/util/log.py", "logging"),
    ("allmydata/", "the rest of Tahoe"),
    ("foolscap/logging/", "logging"),
    ("foolscap/", "Foolscap"),
    ("OpenSSL/", "TLS"),
    ("twisted/protocols/tls.py", "TLS"),
    ("twisted/logger/", "logging"),
    ("twisted/python/log.py", "logging"),
    ("twisted/web/", "HTTP"),
    ("treq/", "HTTP"),
    ("hyperlink/", "HTTP"),
    ("werkzeug/", "HTTP"),
    ("twisted/", "Twisted"),
)
SOCKETS = "sockets (kernel)"
OTHER = "other"


@dataclass(frozen=True)
class Cost:
    """Calls and seconds, of one function or of several."""

    calls: int = 0
    own_s: float = 0.0
    cumulative_s: float = 0.0


def load(path: Path) -> Stats:
    """What a node wrote when it ended."""
    return stats_of(pstats.Stats(str(path)))


def stats_of(profile: Any) -> Stats:
    """The table of a ``pstats.Stats``, or of a ``cProfile.Profile`` that is over."""
    source = profile if isinstance(profile, pstats.Stats) else pstats.Stats(profile)
    return dict(source.stats)  # type: ignore[attr-defined]  # typeshed leaves it out


def as_pstats(stats: Stats) -> pstats.Stats:
    """The opposite: for whoever reads nothing else."""
    made = pstats.Stats()
    made.stats = stats  # type: ignore[attr-defined]  # as above
    return made


def subtract(stats: Stats, baseline: Stats) -> Stats:
    """What *stats* has more than *baseline*; the module's docstring has the rules."""
    edges: dict[Key, dict[Key, Numbers]] = {}
    callers: set[Key] = set()
    for key, (_, _, _, _, by_caller) in stats.items():
        before = baseline[key][4] if key in baseline else {}
        more = {
            caller: _more(numbers, before.get(caller, (0, 0, 0.0, 0.0)))
            for caller, numbers in by_caller.items()
        }
        edges[key] = {caller: numbers for caller, numbers in more.items() if numbers[1]}
        callers.update(edges[key])
    left: Stats = {}
    for key, (primitive, calls, own_s, cumulative_s, _) in stats.items():
        before_it = baseline.get(key, (0, 0, 0.0, 0.0, {}))[:4]
        rest = _more((primitive, calls, own_s, cumulative_s), before_it)
        if rest[1]:
            left[key] = (*rest, edges[key])
        elif key in callers:
            left[key] = (primitive, calls, rest[2], rest[3], edges[key])
    return left


def _more(numbers: Numbers, before: Numbers) -> Numbers:
    return (
        max(0, numbers[0] - before[0]),
        max(0, numbers[1] - before[1]),
        max(0.0, numbers[2] - before[2]),
        max(0.0, numbers[3] - before[3]),
    )


def cost(stats: Stats, keys: Iterable[Key]) -> Cost:
    """Of several functions together; where one called another that is not counted twice."""
    members = set(keys)
    calls, own_s, cumulative_s = 0, 0.0, 0.0
    for key in members & stats.keys():
        _, called, own, cumulative, callers = stats[key]
        calls += called
        own_s += own
        within = (callers[other][3] for other in members - {key} if other in callers)
        cumulative_s += max(0.0, cumulative - sum(within))
    return Cost(calls, own_s, cumulative_s)


def waiting(stats: Stats) -> Cost:
    """What the reactor waited for the next event, baseline's idling and all."""
    return cost(stats, [key for key in stats if is_waiting(key)])


def is_waiting(key: Key) -> bool:
    """Whether this is the reactor's wait."""
    return key[0] == BUILTIN and key[2] in WAITING


def busy_s(stats: Stats) -> float:
    """Seconds of the profiled thread outside of the wait."""
    return sum(numbers[2] for key, numbers in stats.items() if not is_waiting(key))


def layers(stats: Stats) -> dict[str, float]:
    """Own seconds by whose code it is, the most first; without the wait."""
    found: dict[str, float] = {}

    def add(layer: str, seconds: float) -> None:
        found[layer] = found.get(layer, 0.0) + seconds

    for key, (_, _, own_s, _, callers) in stats.items():
        if is_waiting(key):
            continue
        if key[0] != BUILTIN:
            add(layer_of(key), own_s)
        elif "_socket.socket" in key[2]:
            add(SOCKETS, own_s)
        else:
            total = sum(numbers[2] for numbers in callers.values())
            if not total:  # no caller is known: the profiler's own end
                add(OTHER, own_s)
                continue
            # Shares, since the callers' parts were subtracted each by itself.
            for caller, numbers in callers.items():
                add(layer_of(caller), own_s * numbers[2] / total)
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def layer_of(key: Key) -> str:
    """Whose code a function is."""
    place = short_path(key[0])
    return next((layer for start, layer in LAYERS if place.startswith(start)), OTHER)


def top(stats: Stats, count: int) -> list[tuple[str, Cost]]:
    """The functions with most seconds of their own, without the wait."""
    worst = sorted((key for key in stats if not is_waiting(key)), key=lambda key: -stats[key][2])[
        :count
    ]
    return [(title(key), Cost(stats[key][1], *stats[key][2:4])) for key in worst]


def title(key: Key) -> str:
    """A function for the reader: ``foolscap/banana.py:622 dataReceived``."""
    if key[0] == BUILTIN:
        return key[2]
    return f"{short_path(key[0])}:{key[1]} {key[2]}"


def short_path(path: str) -> str:
    """A file as its package names it: no directory of this machine is shown."""
    for root in _roots():
        if path.startswith(root):
            return path[len(root) :]
    return Path(path).name if path.startswith("/") else path


@functools.lru_cache(maxsize=1)
def _roots() -> list[str]:
    """Where packages are looked for; the longest first, for some lie within others."""
    places = {place for place in sys.path if Path(place).is_dir()}
    places.add(sysconfig.get_path("stdlib"))
    return sorted((place.rstrip("/") + "/" for place in places), key=len, reverse=True)
