"""Three small studies: what seeks cost, what memory buys, and what a second read takes.

``--seeks``: random ranges of 4 KiB of a 100 MB file, on stock and fast.
``--memory-study``: the whole file on fast, with several budgets. ``--second-reads``: a
small file, again and again. Each makes a grid of its own, takes less than two minutes
and keeps one JSON line a read.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

from misc.bench.cases import FAST, KINDS, LAN, MB, SEGMENTS, TRANSPORTS, USUAL, WIRES, Case, File
from misc.bench.fetch import fetch
from misc.bench.kept import Kept
from misc.bench.measure import measure
from misc.bench.results import Measures
from misc.bench.stage import Lane, Stage
from misc.command_line import Say
from misc.grid_client import COLD, FOOLSCAP

LENGTH = 100 * MB
SEEK_BYTES = 4 << 10
SEEKS = 20
SEEK_WIRES = (LAN, "50ms", "2.5MB/s-in-all")
MEMORIES = ("8 MiB", "64 MiB", "256 MiB")
MEMORY_WIRES = (LAN, "200ms")
MEMORY_RUNS = 3
AGAIN_WIRES = (LAN, "50ms")
AGAIN_FILE = File(1 * MB, USUAL[0], SEGMENTS[-1])
AGAIN_READS = 10
LIMIT_S = 60.0
REMEMBERING: dict[str, str] = {}  # where one file is read again and again: as a user has it


def _cases(wires: Sequence[str], segments: Sequence[int]) -> list[Case]:
    return [
        Case(File(LENGTH, USUAL[0], segment_bytes), FOOLSCAP, wire)
        for segment_bytes in segments
        for wire in wires
    ]


def seeks(path: Path, say: Say) -> None:
    """Measure what a seeking reader waits for.

    The file is opened by its first seek, so that is not counted: the others tell
    what each next one costs.

    :raise GridError: a node did not do what it should.
    """
    kept = Kept(path)
    cases = _cases(SEEK_WIRES, SEGMENTS)
    with tempfile.TemporaryDirectory(prefix="tahoe-fastdl-seeks-") as directory:
        with Stage(Path(directory), say) as stage:
            stage.open({(Lane(case.wire), case.transport) for case in cases}, REMEMBERING)
            for case in cases:
                cap, _ = stage.files.upload(case.file)
                pair = stage.prepare(case, Lane(case.wire))
                places = random.Random("seeks").sample(range(LENGTH - SEEK_BYTES), SEEKS + 1)
                for kind in KINDS:
                    say(f"seeks, {kind}: {case}")
                    subject = pair[kind]
                    cold_cap = subject.cold_cap(cap)
                    for number, start in enumerate(places):
                        found = fetch(
                            subject.client, cold_cap, LIMIT_S, start=start, stop=start + SEEK_BYTES
                        )
                        if number:
                            kept.add(
                                wire=case.wire,
                                segment_bytes=case.file.segment_bytes,
                                kind=kind,
                                seconds=found.last_byte_s,
                            )


def memory(path: Path, say: Say) -> None:
    """Measure what a larger budget buys.

    :raise GridError: a node did not do what it should.
    :raise WrongBytesError: a download gave other bytes than were uploaded.
    """
    kept = Kept(path)
    cases = _cases(MEMORY_WIRES, SEGMENTS)
    with tempfile.TemporaryDirectory(prefix="tahoe-fastdl-memory-") as directory:
        with Stage(Path(directory), say) as stage:
            for budget in MEMORIES:
                options = {**COLD, "memory": budget}
                stage.open({(Lane(case.wire), case.transport) for case in cases}, options)
                for case in cases:
                    content = stage.files.upload(case.file)
                    say(f"memory = {budget}: {case}")
                    subject = stage.prepare(case, Lane(case.wire))[FAST]
                    for _ in range(MEMORY_RUNS):
                        found = measure(subject, stage.servers, *content, LIMIT_S, LENGTH)
                        if isinstance(found, Measures):
                            kept.add(
                                wire=case.wire,
                                segment_bytes=case.file.segment_bytes,
                                memory=budget,
                                seconds=found.seconds,
                                memory_bytes=found.memory_bytes,
                            )
                stage.close()


def second_reads(path: Path, say: Say, count: int = AGAIN_READS) -> None:
    """Measure what it takes to read a file again by another request.

    :param count: how often it is read after the first time, which is number 0.
    :raise GridError: a node did not do what it should.
    """
    kept = Kept(path)
    with tempfile.TemporaryDirectory(prefix="tahoe-fastdl-again-") as directory:
        with Stage(Path(directory), say) as stage:
            lanes = [Lane(wire) for wire in AGAIN_WIRES]
            stage.open({(lane, each) for lane in lanes for each in TRANSPORTS}, REMEMBERING)
            cap, _ = stage.files.upload(AGAIN_FILE)
            for transport in TRANSPORTS:
                for lane in lanes:
                    case = Case(AGAIN_FILE, transport, lane.wire)
                    pair = stage.prepare(case, lane)
                    for kind in KINDS:
                        say(f"read again, {kind}: {case}")
                        for number in range(count + 1):
                            found = fetch(pair[kind].client, cap, LIMIT_S)
                            kept.add(
                                transport=transport,
                                kind=kind,
                                number=number,
                                seconds=found.last_byte_s,
                                first_byte_s=found.first_byte_s,
                                round_trip_s=2 * WIRES[lane.wire].delay_s,
                            )
                    stage.rest(lane, transport)
