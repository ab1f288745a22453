"""Runs nodes under twistd's profiler and takes from each one download.

Owns a loopback grid of six servers and an uploader. Each profile takes two nodes,
one after the other and alike: both start, connect, read a small file, are asked the
same questions and are stopped by SIGTERM, at which twistd writes its stats; only the
second downloads the file. See ``stats`` for what is done with the first.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType

from misc.bench.cases import File
from misc.bench.measure import WrongBytesError
from misc.bench.results import FAST
from misc.command_line import Say
from misc.grid import Client, ClientOptions, Grid, GridError
from misc.profiling import debugging, stats
from misc.profiling.results import Profile, RowCost
from misc.profiling.rows import LOOP_TITLE, READS_TITLE, ROWS, WAIT_TITLE
from misc.profiling.stats import Stats

SERVERS = 6
UPLOADER = "uploader"

# What a first download costs once (imports, TLS sessions, tables) goes to the
# baseline: both nodes read this first.
SMALL_FILE_BYTES = 200_000

# To close its connections and to write some thousand functions.
STOP_GRACE_S = 60.0

KEPT_TOP = 25


@dataclass(frozen=True)
class Times:
    """One download under the profiler, from outside."""

    wall_s: float
    cpu_s: float  # of the whole process
    main_cpu_s: float  # of the thread that was profiled


class Stage:
    """The grid with one file on it; inside its ``with`` block.

    :param directory: for nodes and for what the profiler writes.
    :param twistd: more options for the profiled nodes.
    """

    def __init__(
        self,
        directory: Path,
        file: File,
        transport: str,
        twistd: Sequence[str],
        say: Say,
    ) -> None:
        self._directory = directory
        self._file = file
        self._transport = transport
        self._twistd = tuple(twistd)
        self._say = say
        uploader = ClientOptions(
            transport=transport,
            needed=file.encoding.needed,
            total=file.encoding.total,
            max_segment_bytes=file.segment_bytes,
        )
        self._grid = Grid(
            directory / "grid", servers=SERVERS, clients={UPLOADER: uploader}, say=say
        )
        self._cap = self._small_cap = self._sha256 = ""

    def __enter__(self) -> Stage:
        self._grid.__enter__()
        try:
            self._upload()
        except BaseException as problem:
            self._grid.__exit__(type(problem), problem, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._grid.__exit__(kind, problem, trace)

    def _upload(self) -> None:
        uploader = self._grid.clients[UPLOADER]
        self._say(f"uploading {self._file}")
        self._small_cap = uploader.put(random.Random("small").randbytes(SMALL_FILE_BYTES))
        data = random.Random(str(self._file)).randbytes(self._file.length)
        self._sha256 = sha256(data).hexdigest()
        self._cap = uploader.put(data)
        uploader.stop()

    def profile(self, kind: str, session: str) -> tuple[Profile, Stats]:
        """Profile one download with the stock or the fast downloader.

        :raise GridError: a node did not do its part, the plugin fell back to stock, or
            the node ran other sources than are imported here.
        :raise WrongBytesError: other bytes came than were uploaded.
        :raise RefusedError: the node ran with deferred debugging on.
        """
        self._say(f"{kind}: a node that only starts and stops")
        baseline, _ = self._run(kind, f"{kind}-baseline", is_baseline=True)
        self._say(f"{kind}: the node that downloads")
        raw, times = self._run(kind, kind, is_baseline=False)
        debugging.check_stats(raw)
        found = stats.subtract(raw, baseline)
        profile = profile_of(kind, self._file, self._transport, found, times, session)
        check_rows(profile)
        self._say(f"{kind}: {times.wall_s:.2f} s under the profiler, {profile.reads} reads")
        return profile, found

    def _run(self, kind: str, name: str, is_baseline: bool) -> tuple[Stats, Times]:
        path = self._directory / f"{name}.stats"
        client = self._grid.add_client(
            name,
            transport=self._transport,
            fast=kind == FAST,
            run_arguments=(
                "--nodaemon",
                f"--profile={path}",
                "--profiler=cprofile",
                "--savestats",
                *self._twistd,
            ),
        )
        client.get(self._small_cap)
        times = Times(0.0, 0.0, 0.0) if is_baseline else self._download(client)
        if kind == FAST and client.fast_counters()["fallbacks"]:
            raise GridError(f"{name}: a read fell back to the stock downloader")
        client.signal(signal.SIGTERM)
        client.wait_stopped(STOP_GRACE_S)
        if not path.is_file():
            raise GridError(f"{name} ended without writing its profile")
        return stats.load(path), times

    def _download(self, client: Client) -> Times:
        cpu_s, main_cpu_s = client.cpu_seconds(), main_thread_cpu_seconds(client.pid)
        download = client.download(self._cap, timeout_s=3600.0)
        times = Times(
            download.seconds,
            client.cpu_seconds() - cpu_s,
            main_thread_cpu_seconds(client.pid) - main_cpu_s,
        )
        if download.sha256 != self._sha256:
            raise WrongBytesError(f"{client.name} delivered other bytes than were uploaded")
        return times


def check_rows(profile: Profile) -> None:
    """See that the functions that are looked at are those that ran.

    :raise GridError: they are not: a table of zeros would be taken for a result.
    """
    for title in (LOOP_TITLE, READS_TITLE):
        if not profile.row(title).calls:
            raise GridError(
                f"no calls in the row {title!r} of {profile.kind}: did the node import the same"
                " tahoe_fastdl as this command?"
            )


def main_thread_cpu_seconds(pid: int) -> float:
    """CPU time of a process's first thread, which runs the reactor. Linux only."""
    text = Path(f"/proc/{pid}/task/{pid}/stat").read_text(encoding="ascii", errors="replace")
    # The second field is the command's name and may hold blanks: count from its end.
    user_ticks, system_ticks = text.rpartition(")")[2].split()[11:13]
    return (int(user_ticks) + int(system_ticks)) / os.sysconf("SC_CLK_TCK")


def profile_of(
    kind: str, file: File, transport: str, found: Stats, times: Times, session: str
) -> Profile:
    """The rows of the ticket's table, from stats that hold the download alone.

    The wait is what is left of the download's wall time: measured as such it would be
    the difference of two idle starts, each some seconds long and none like the other.
    """
    busy_s = stats.busy_s(found)
    wait_s = max(0.0, times.wall_s - busy_s)
    rows = []
    for row in ROWS:
        cost = stats.cost(found, row.keys_of(kind))
        if row.title == WAIT_TITLE:
            cost = stats.Cost(stats.waiting(found).calls, wait_s, wait_s)
        rows.append(RowCost(row.title, cost.calls, cost.own_s, cost.cumulative_s))
    return Profile(
        kind=kind,
        file=file,
        transport=transport,
        wall_s=times.wall_s,
        cpu_s=times.cpu_s,
        main_cpu_s=times.main_cpu_s,
        busy_s=busy_s,
        reads=next(row.calls for row in rows if row.title == READS_TITLE),
        calls=sum(numbers[1] for numbers in found.values()),
        rows=tuple(rows),
        layers=stats.layers(found),
        top=tuple(
            RowCost(title, cost.calls, cost.own_s, cost.cumulative_s)
            for title, cost in stats.top(found, KEPT_TOP)
        ),
        session=session,
    )
