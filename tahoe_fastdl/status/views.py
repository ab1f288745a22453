"""What the page shows, as JSON: the overview and one download.

Pure functions of a hub and its journal, worked out when they are asked for.
docs/download-page.rst describes both documents; ``COLUMNS`` below is what it
lists and what each saved file carries.  A change that a reader of version 1
would trip over needs a new version and a new address.
"""

from __future__ import annotations

import time
from typing import Any

from ..core.servers import Server
from ..shell.hub import Hub
from .journal import Journal
from .record import BLOCK_STATES, FLAG_NAMES, KINDS, READ_STATES, WORK_KINDS, Record
from .tables import DONE, OPEN, WASTED

Json = dict[str, Any]

VERSION = 1

COLUMNS = {
    "dyhb": ["server", "sent_s", "answered_s", "shnums", "state"],
    "reads": [
        "share", "kind", "start", "length", "first_segment", "stop_segment", "sent_s", "done_s",
        "state", "flags",
    ],
    "work": ["kind", "began_s", "ended_s", "first_segment", "stop_segment", "worker"],
    "deliveries": ["reader", "at_s", "start", "stop"],
    "pauses": ["reader", "from_s", "to_s"],
    "samples": [
        "at_s", "delivered_bytes", "received_bytes", "in_flight_bytes", "held_bytes",
        "limit_bytes", "changes", "recomputations",
    ],
    "map": ["at_s", "share", "first_segment", "stop_segment", "state"],
    "problems": ["at_s", "text"],
}  # fmt: skip

RATE_OVER_S = 3.0  # what "now" means in the rate of a download that runs


def seconds(value: float) -> float:
    """Rounded to microseconds, which is finer than anything here is measured."""
    return round(value, 6)


def _seconds_or_none(value: float | None) -> float | None:
    return None if value is None else seconds(value)


# -- the overview -------------------------------------------------------------


def overview(
    hub: Hub | None,
    why_not: str | None,
    plugin: str,
    tahoe: str,
    options: list[tuple[str, str]],
    totals: dict[str, int],
) -> Json:
    """The document at ``v1/overview.json``.

    :param hub: None before the first download.
    :param totals: the counters of ``counters.json``.
    """
    journal = journal_of(hub)
    downloads = [summary(record) for record in journal]
    last = journal.peers.last_fallback
    return {
        "format": "tahoe-fastdl-overview",
        "version": VERSION,
        "now": time.time(),
        "active": why_not is None,
        "why_not": why_not,
        "plugin": plugin,
        "tahoe": tahoe,
        "options": [list(option) for option in options],
        "totals": {**totals, **_sums(journal)},
        "memory": {
            "total_bytes": totals["memory_bytes"],
            "used_bytes": totals["memory_used_bytes"],
            "peak_bytes": totals["memory_peak_bytes"],
        },
        "last_fallback": None
        if last is None
        else {"at": last.at, "reason": last.reason, "id": last.download},
        "downloads": downloads,
        "servers": [] if hub is None else servers(hub, journal),
    }


def journal_of(hub: Hub | None) -> Journal:
    """What the hub's downloads were recorded in; an empty one if they were not."""
    recorder = hub.recorder if hub is not None else None
    return recorder if isinstance(recorder, Journal) else Journal()


def _sums(journal: Journal) -> dict[str, int]:
    totals = journal.peers.totals
    return {
        "received_bytes": totals.received_bytes,
        "delivered_bytes": totals.delivered_bytes,
        "wasted_bytes": totals.wasted_bytes,
        **{f"ended_{state}": number for state, number in totals.ended.items()},
    }


def servers(hub: Hub, journal: Journal) -> list[Json]:
    """Every server that was asked something, in the order they were first asked."""
    found = []
    for number, peer in journal.peers.by_number.items():
        server = hub.servers.get(number) or Server()
        found.append(
            {
                "name": journal.peers.name(number),
                "serverid": peer.serverid,
                "transport": peer.transport,
                "latency_s": _seconds_or_none(server.latency_s),
                "rate_bytes_per_s": None if server.rate is None else round(server.rate, 1),
                "in_flight_bytes": server.bytes_in_flight,
                "reads": peer.reads,
                "bytes": peer.received_bytes,
                "errors": peer.errors,
                "lies": peer.lies,
                "hedged": peer.hedged,
                "stalled": bool(server.stalled),
            }
        )
    return found


def summary(record: Record) -> Json:
    """One download in a line."""
    standing = record.standing()  # first, for looking brings the record up to date
    tally = record.tally
    rate = _rate(record)
    is_running = record.seconds is None
    left_bytes = max(0, tally.wanted_bytes - tally.delivered_bytes)
    return {
        "id": record.id,
        "storage_index": record.facts.storage_index,
        "kind": "fallback" if record.state == "fallback" else "fast",
        "state": "running" if is_running else record.state,
        "why": record.why,
        "size": record.facts.size,
        "k": record.facts.k,
        "n": record.facts.n,
        "segment_size": standing.segment_size if standing else None,
        "num_segments": standing.num_segments if standing else None,
        "started": record.started_unix,
        "seconds": seconds(record.now_s),
        "wanted_bytes": tally.wanted_bytes,
        "delivered_bytes": tally.delivered_bytes,
        "rate_bytes_per_s": round(rate, 1),
        "first_byte_s": _seconds_or_none(record.first_byte_s),
        "reads": tally.reads,
        "received_bytes": tally.received_bytes,
        "wasted_bytes": tally.wasted_bytes,
        "hedges": tally.hedges,
        "servers": len(record.asked_servers),
        "window_bytes": standing.in_flight_bytes if standing and is_running else 0,
        "left_s": seconds(left_bytes / rate) if is_running and rate > 0 else None,
    }


def _rate(record: Record) -> float:
    """Bytes a second: of the last seconds while it runs, else the mean."""
    now_s, delivered = record.now_s, record.tally.delivered_bytes
    if record.seconds is None and now_s > RATE_OVER_S:
        # No sample since then means that nothing came: each delivery is followed by one.
        before = [row[1] for row in record.samples.rows() if row[0] <= now_s - RATE_OVER_S]
        return (delivered - (before[-1] if before else 0)) / RATE_OVER_S
    return delivered / now_s if now_s > 0 else 0.0


# -- one download -------------------------------------------------------------


def download(record: Record, journal: Journal, plugin: str, tahoe: str) -> Json:
    """The document at ``v1/downloads/N.json``."""
    peers, parties = journal.peers, record.parties
    line = summary(record)  # first, for looking at a download brings its record up to date
    reads = list(record.reads.rows())
    blocks, blocks_left_out = _map(record, reads)
    return {
        "format": "tahoe-fastdl-download",
        "version": VERSION,
        "plugin": plugin,
        "tahoe": tahoe,
        "now_s": seconds(record.now_s),
        "summary": line,
        "servers": [
            {"name": peers.name(number), "serverid": peers.of(number).serverid}
            for number in parties.servers
        ],
        "shares": [{"shnum": shnum, "server": server} for shnum, server in parties.shares],
        "columns": COLUMNS,
        "dyhb": [
            [q.server, seconds(q.sent_s), _seconds_or_none(q.answered_s), list(q.shnums), q.state]
            for q in parties.questions
        ],
        "reads": [_read(row) for row in reads],
        "work": [row for batch in record.work.rows() for row in _work(*batch)],
        "deliveries": [
            [reader, seconds(at), start, stop]
            for reader, at, start, stop in record.deliveries.rows()
        ],
        "pauses": _pauses(record),
        "samples": [[seconds(row[0]), *row[1:]] for row in record.samples.rows()],
        "map": blocks,
        "problems": [[seconds(at), text] for at, text in record.problems()],
        "thinned": _thinned(record, blocks_left_out),
    }


def _pauses(record: Record) -> list[list[Any]]:
    """Those that are over, and those that are not."""
    over = [[reader, seconds(start), seconds(stop)] for reader, start, stop in record.pauses.rows()]
    return over + [[reader, seconds(start), None] for reader, start in record.open_pauses.items()]


def _thinned(record: Record, blocks_left_out: int) -> dict[str, int]:
    """How many rows of each kind happened and are not in the document."""
    return {
        "dyhb": record.parties.questions_left_out,
        "reads": record.reads.left_out,
        "work": len(WORK_KINDS) * record.work.left_out,
        "deliveries": record.deliveries.left_out,
        "pauses": record.pauses.left_out,
        "samples": record.samples.left_out,
        "map": blocks_left_out,
        "problems": record.problems_left_out,
    }


def _work(began: float, *batch: Any) -> list[list[Any]]:
    """The three steps of a batch, as far as it took them."""
    *spent, first, stop, worker = batch
    rows = []
    for kind, took in zip(WORK_KINDS, spent):
        if took > 0:
            rows.append([kind, seconds(began), seconds(began + took), first, stop, worker])
        began += took
    return rows


def _read(row: tuple[Any, ...]) -> list[Any]:
    share, kind, start, length, first, stop, sent, done, state, flags = row
    return [
        share, KINDS[kind].value, start, length, first, stop, seconds(sent),
        seconds(done) if done >= 0 else None, READ_STATES[state],
        [name for flag, name in FLAG_NAMES.items() if flags & flag],
    ]  # fmt: skip


def _map(record: Record, reads: list[tuple[Any, ...]]) -> tuple[list[list[Any]], int]:
    """What became of blocks: most of it is in the reads, and is not kept twice.

    Two rows of each read that is left out are counted: sent and ended.
    """
    rows = [
        [seconds(at), share, first, stop, BLOCK_STATES[state]]
        for at, share, first, stop, state in record.map.rows()
    ]
    end = seconds(record.now_s)
    for share, _kind, _start, _length, first, stop, sent, done, state, flags in reads:
        if first < 0:
            continue
        rows.append([seconds(sent), share, first, stop, "pending"])
        if state == DONE and not flags & WASTED:
            rows.append([seconds(done), share, first, stop, "have"])
        elif state != OPEN:
            rows.append([seconds(done) if done >= 0 else end, share, first, stop, "gone"])
    # "bad" comes last of what happened at one moment: it is a verdict on what came
    order = {"wanted": 0, "pending": 1, "have": 2, "gone": 3, "bad": 4}
    rows.sort(key=lambda row: (row[0], order[row[4]]))
    return rows, record.map.left_out + 2 * record.reads.left_out
