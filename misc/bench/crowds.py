"""Two studies of many files: small ones one after another, and large ones at once.

``--small-files``: 1,000 files of 10 KB, each once on stock and once on fast, over both
transports; one line a download. ``--crowd``: ten files of 100 MB at once and in turn, on
fast with two budgets; one line for each time that all were fetched. Both check each
download's bytes, and make a grid of their own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from misc.bench import study_rows
from misc.bench.cases import FAST, LAN, MB, SEGMENTS, STOCK, TRANSPORTS, USUAL, Case, File
from misc.bench.fetch import Fetched, fetch
from misc.bench.files import Content
from misc.bench.kept import Kept, Line, read_lines
from misc.bench.measure import Subject, WrongBytesError
from misc.bench.stage import Lane, Stage
from misc.bench.study_rows import AT_ONCE, WAYS
from misc.bench.together import fetch_together, make_buffers
from misc.command_line import Say
from misc.grid_client import COLD, FOOLSCAP, HTTP

LIMIT_S = 120.0
THREE, SEGMENT_BYTES = USUAL[0], SEGMENTS[-1]

SMALL_FILES = 1000
SMALL_BYTES = 10_000
BLOCK = 50  # then it is the other's turn: a slow second of the machine's hits both
SMALL_UPLOADS = 8
AS_BY_DEFAULT: dict[str, str] = {}  # nothing is fetched twice

CROWD = 10
CROWD_BYTES = 100 * MB
CROWD_UPLOADS = 1  # one keeps a core busy, and two would need more of the disk
CROWD_RUNS = 5
MEMORIES = ("64 MiB", "8 MiB")
DIGITS = 4


# ---------------------------------------------------------------- small files


def small_files(path: Path, say: Say, count: int = SMALL_FILES) -> None:
    """Measure what each of many small files takes.

    :raise GridError: a node did not do what it should.
    :raise WrongBytesError: a download gave other bytes than were uploaded.
    """
    kept = Kept(path)
    file = File(SMALL_BYTES, THREE, SEGMENT_BYTES)
    lane = Lane(LAN)
    with tempfile.TemporaryDirectory(prefix="tahoe-fastdl-small-files-") as directory:
        with Stage(Path(directory), say) as stage:
            say(f"uploading {count} files of {SMALL_BYTES} bytes")
            contents = stage.files.upload_many(file, count, SMALL_UPLOADS)
            stage.open({(lane, transport) for transport in TRANSPORTS}, AS_BY_DEFAULT)
            for transport in TRANSPORTS:
                say(f"{count} small files, {transport}")
                pair = stage.prepare(Case(file, transport, LAN), lane)
                for kind, number in small_turns(count):
                    found = _checked_fetch(pair[kind], contents[number])
                    kept.add(
                        transport=transport,
                        kind=kind,
                        number=number + 1,
                        seconds=found.last_byte_s,
                        first_byte_s=found.first_byte_s,
                    )
                stage.rest(lane, transport)
    for line in study_rows.small_summary(read_lines(path)):
        say(line)


def small_turns(count: int) -> Iterator[tuple[str, int]]:
    """Who fetches which file next: blocks of files, and neither kind always comes first."""
    for block, start in enumerate(range(0, count, BLOCK)):
        for kind in (STOCK, FAST) if block % 2 == 0 else (FAST, STOCK):
            for number in range(start, min(start + BLOCK, count)):
                yield kind, number


# ---------------------------------------------------------------- a crowd


@dataclass(frozen=True)
class Batch:
    """All files of the crowd, fetched once."""

    transport: str
    kind: str
    memory: str  # the option; stock has none
    way: str
    number: int

    def __str__(self) -> str:
        memory = f", memory = {self.memory}" if self.memory else ""
        return f"{self.way}, {self.kind}, {self.transport}{memory}"


def crowd(
    path: Path,
    say: Say,
    length: int = CROWD_BYTES,
    count: int = CROWD,
    runs: int = CROWD_RUNS,
) -> None:
    """Measure what several downloads at once cost each other.

    :raise GridError: a node did not do what it should.
    :raise WrongBytesError: a download gave other bytes than were uploaded.
    """
    kept = Kept(path)
    file = File(length, THREE, SEGMENT_BYTES)
    # A lane for each budget, so that its node is there when it is its turn.
    lanes = {memory: Lane(LAN, number) for number, memory in enumerate(MEMORIES)}
    lanes[""] = lanes[MEMORIES[0]]
    with tempfile.TemporaryDirectory(prefix="tahoe-fastdl-crowd-") as directory:
        with Stage(Path(directory), say) as stage:
            say(f"uploading {count} files of {length / MB:g} MB")
            contents = stage.files.upload_many(file, count, CROWD_UPLOADS)
            for memory in MEMORIES:
                options = {**COLD, "memory": memory}
                if memory == MEMORIES[0]:  # stock has no such option
                    stage.open({(lanes[memory], FOOLSCAP)}, options)
                places = {(lanes[memory], transport) for transport in TRANSPORTS}
                stage.open(places, options, kinds=(FAST,))
            buffers = make_buffers(count, length)
            for batch in batches(runs):
                say(str(batch))
                lane = lanes[batch.memory]
                case = Case(file, batch.transport, LAN)
                subject = stage.prepare(case, lane)[batch.kind]
                kept.add(
                    transport=batch.transport,
                    kind=batch.kind,
                    memory=batch.memory,
                    way=batch.way,
                    number=batch.number,
                    length=length,
                    **_fetch_all(subject, contents, batch.way, buffers),
                )
                stage.rest(lane, batch.transport)
    for row in study_rows.crowd(read_lines(path)):
        say(f"{row.title}: {row.measured} (wanted {row.wanted})")


def batches(runs: int) -> Iterator[Batch]:
    """What is fetched next: all so many times, stock once.

    Budgets and ways are interleaved, and none of them always comes first.
    """
    for transport in (FOOLSCAP, HTTP):
        for number in range(1, runs + 1):
            step = 1 if number % 2 else -1
            for memory in MEMORIES[::step]:
                for way in WAYS[::step]:
                    yield Batch(transport, FAST, memory, way, number)
            if number == 1 and transport == FOOLSCAP:
                for way in WAYS:
                    yield Batch(FOOLSCAP, STOCK, "", way, 1)


def _fetch_all(
    subject: Subject, contents: Sequence[Content], way: str, buffers: Sequence[bytearray]
) -> Line:
    client = subject.client
    # Each text of a cap is used once; see measure.py.
    cold = [(subject.cold_cap(cap), sha256) for cap, sha256 in contents]
    subject.rss_bytes()
    if way == AT_ONCE:
        seconds = _together(subject, cold, buffers)
        wall_s = max(seconds)
    else:
        seconds = [_together(subject, [content], buffers)[0] for content in cold]
        wall_s = sum(seconds)
    line: Line = {
        "wall_s": wall_s,
        "seconds": [round(each, DIGITS) for each in seconds],
        "memory_over_idle_bytes": max(0, client.peak_rss_bytes() - subject.idle_bytes),
    }
    if client.options.fast:
        counters = client.fast_counters()
        # Since the node was started: of this batch, and of those before it.
        line["memory_peak_bytes"] = counters["memory_peak_bytes"]
        line["memory_option_bytes"] = counters["memory_bytes"]
        line["fallbacks"] = counters["fallbacks"]
    return line


def _together(
    subject: Subject, contents: Sequence[Content], buffers: Sequence[bytearray]
) -> list[float]:
    """Each one's seconds from the first request."""
    found = fetch_together(subject.client, [cap for cap, _ in contents], buffers, LIMIT_S)
    if [sha256 for _, sha256 in found] != [sha256 for _, sha256 in contents]:
        raise _wrong_bytes(subject)
    return [seconds for seconds, _ in found]


def _checked_fetch(subject: Subject, content: Content) -> Fetched:
    cap, sha256 = content
    fetched = fetch(subject.client, cap, LIMIT_S)
    if not fetched.is_whole or fetched.sha256 != sha256:
        raise _wrong_bytes(subject)
    return fetched


def _wrong_bytes(subject: Subject) -> WrongBytesError:
    return WrongBytesError(f"{subject.client.name} delivered other bytes than were uploaded")
