"""One download in the Chrome trace format, which Perfetto opens.

Pure: made from the document of ``v1/downloads/N.json`` alone.  Each server is
a process whose threads are lanes, as many as reads overlap, for events of one
thread must not; then come the workers, the readers and the curves.

Source: "Trace Event Format", complete (X), counter (C) and metadata (M)
events; times are microseconds.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

DOWNLOAD, WORKERS, READERS, SERVERS = 1, 2, 3, 10  # process numbers; servers count from the last


def trace(document: Json) -> Json:
    """The trace of *document*."""
    summary = document["summary"]
    return {
        "traceEvents": [
            *_curves(document),
            *_workers(document),
            *_readers(document),
            *_servers(document),
        ],
        "displayTimeUnit": "ms",
        "otherData": {
            "format": "tahoe-fastdl-trace",
            "version": document["version"],
            "plugin": document["plugin"],
            "tahoe": document["tahoe"],
            "storage_index": summary["storage_index"],
            "started": summary["started"],
            "thinned": document["thinned"],
        },
    }


def _us(seconds: float) -> float:
    return round(seconds * 1e6, 1)


def _span(
    name: str, kind: str, began: float, ended: float, pid: int, tid: int, /, **about: Any
) -> Json:
    return {
        "name": name, "cat": kind, "ph": "X", "ts": _us(began),
        "dur": max(0.0, round(_us(ended) - _us(began), 1)), "pid": pid, "tid": tid, "args": about,
    }  # fmt: skip


def _process(pid: int, name: str) -> list[Json]:
    about = {"ph": "M", "ts": 0, "pid": pid, "tid": 0}
    return [
        {**about, "name": "process_name", "args": {"name": name}},
        {**about, "name": "process_sort_index", "args": {"sort_index": pid}},
    ]


def _thread(pid: int, tid: int, name: str) -> Json:
    return {
        "name": "thread_name", "ph": "M", "ts": 0, "pid": pid, "tid": tid, "args": {"name": name}
    }  # fmt: skip


def _curves(document: Json) -> list[Json]:
    summary = document["summary"]
    events = _process(DOWNLOAD, f"download {summary['id']} of {summary['storage_index']}")
    for sample in document["samples"]:
        row = dict(zip(document["columns"]["samples"], sample))
        for name, columns in (
            ("bytes", ("delivered_bytes", "received_bytes")),
            ("memory", ("in_flight_bytes", "held_bytes", "limit_bytes")),
            ("books", ("changes", "recomputations")),
        ):
            values = {column: row[column] for column in columns}
            events.append(
                {
                    "name": name,
                    "ph": "C",
                    "ts": _us(row["at_s"]),
                    "pid": DOWNLOAD,
                    "tid": 0,
                    "args": values,
                }
            )
    if document["problems"]:
        events.append(_thread(DOWNLOAD, 1, "problems"))
    events += [_span(text, "problem", at, at, DOWNLOAD, 1) for at, text in document["problems"]]
    return events


def _workers(document: Json) -> list[Json]:
    events = _process(WORKERS, "workers") if document["work"] else []
    for worker in sorted({row[5] for row in document["work"]}):
        events.append(_thread(WORKERS, worker, f"worker {worker}"))
    for kind, began, ended, first, stop, worker in document["work"]:
        about = {"first_segment": first, "stop_segment": stop}
        events.append(_span(kind, "work", began, ended, WORKERS, worker, **about))
    return events


def _readers(document: Json) -> list[Json]:
    deliveries, pauses = document["deliveries"], document["pauses"]
    readers = sorted({row[0] for row in (*deliveries, *pauses)})
    events = _process(READERS, "readers") if readers else []
    for reader in readers:
        events.append(_thread(READERS, 2 * reader, f"delivered to reader {reader}"))
        events.append(_thread(READERS, 2 * reader + 1, f"pauses of reader {reader}"))
    for reader, at, start, stop in deliveries:
        events.append(
            _span("delivery", "delivery", at, at, READERS, 2 * reader, start=start, stop=stop)
        )
    for reader, began, ended in pauses:
        end = document["now_s"] if ended is None else ended
        events.append(_span("pause", "pause", began, end, READERS, 2 * reader + 1))
    return events


def _servers(document: Json) -> list[Json]:
    now = document["now_s"]
    spans: list[list[Json]] = [[] for _server in document["servers"]]
    for server, sent, answered, shnums, state in document["dyhb"]:
        end = now if answered is None else answered
        about = {"shnums": shnums, "state": state}
        spans[server].append(_span("DYHB", "dyhb", sent, end, SERVERS + server, 0, **about))
    for row in document["reads"]:
        read = dict(zip(document["columns"]["reads"], row))
        share = document["shares"][read["share"]]
        end = now if read["done_s"] is None else read["done_s"]
        name = " ".join([f"sh{share['shnum']}", read["kind"], *read["flags"]])
        about = {name: read[name] for name in read if not name.endswith("_s")}
        about["shnum"] = share["shnum"]
        spans[share["server"]].append(
            _span(name, "read", read["sent_s"], end, SERVERS + share["server"], 0, **about)
        )
    events: list[Json] = []
    for index, server in enumerate(document["servers"]):
        events += _process(SERVERS + index, f"{server['name']} ({server['serverid']})")
        lanes = _spread(spans[index])
        events += [_thread(SERVERS + index, lane, f"lane {lane}") for lane in range(lanes)]
        events += spans[index]
    return events


def _spread(spans: list[Json]) -> int:
    """Give each span the first lane that is free when it begins; how many lanes that takes."""
    ends: list[float] = []
    for span in sorted(spans, key=lambda span: span["ts"]):
        free = next((lane for lane, end in enumerate(ends) if end <= span["ts"]), len(ends))
        if free == len(ends):
            ends.append(0.0)
        span["tid"] = free
        ends[free] = span["ts"] + span["dur"]
    return len(ends)
