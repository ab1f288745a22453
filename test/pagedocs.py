"""Downloads as the page's viewer reads them, made up: whose story is known, so is the verdict.

Times are seconds since the download started; what the columns of each array mean is in
docs/download-page.rst.
"""

from __future__ import annotations

from typing import Any, Callable

SEGMENT = 100_000
NEEDED = 3
SEGMENTS = 8
NAMES = ("north", "east", "south", "west")
TOOK_S = 0.2  # an ordinary read

Document = dict[str, Any]
Read = list[Any]
# Of a share and a run's number: when it was answered, if it is to be another than usual.
Delay = Callable[[int, int], float]


def read(
    share: int, run: int, sent: float, done: float | None, state: str = "done", *flags: str
) -> Read:
    """A read of two segments' blocks of a share."""
    length = 2 * SEGMENT // NEEDED
    first = 2 * run
    return [
        *(share, "blocks", first * SEGMENT // NEEDED, length, first, first + 2),
        *(sent, done, state, list(flags)),
    ]


def document(
    reads: list[Read],
    deliveries: list[tuple[float, int, int]],
    seconds: float,
    state: str = "done",
    **more: Any,
) -> Document:
    """A download of eight segments, 3-of-4, one share on each server.

    :param deliveries: when, and which segments ``[first, stop)``.
    """
    delivered = sum(stop - first for _, first, stop in deliveries) * SEGMENT
    received = sum(each[3] for each in reads if each[8] == "done")
    result: Document = {
        "format": "tahoe-fastdl-download",
        "version": 1,
        "plugin": "0.1.0",
        "tahoe": "1.20.0",
        "now_s": seconds,
        "servers": [{"name": name, "serverid": f"v0-{name}"} for name in NAMES],
        "shares": [{"shnum": number, "server": number} for number in range(len(NAMES))],
        "columns": {},
        "dyhb": [[server, 0.0, 0.02, [server], "ok"] for server in range(len(NAMES))],
        "reads": reads,
        "work": [["decode", at - 0.01, at, first, stop, 0] for at, first, stop in deliveries],
        "deliveries": [[0, at, a * SEGMENT, b * SEGMENT] for at, a, b in deliveries],
        "pauses": [],
        "samples": _samples(reads, deliveries, seconds),
        "map": _map(reads),
        "problems": [],
        "thinned": {},
    }
    result["summary"] = {
        "id": 7,
        "storage_index": "2dkcxa7lpv4bmzmrs6j5qkbwga",
        "kind": "fast",
        "state": state,
        "why": None,
        "size": SEGMENTS * SEGMENT,
        "k": NEEDED,
        "n": len(NAMES),
        "segment_size": SEGMENT,
        "num_segments": SEGMENTS,
        "started": 1_700_000_000.0,
        "seconds": seconds,
        "wanted_bytes": SEGMENTS * SEGMENT,
        "delivered_bytes": delivered,
        "rate_bytes_per_s": delivered / seconds,
        "first_byte_s": min((at for at, _, _ in deliveries), default=None),
        "reads": len(reads),
        "received_bytes": received,
        "wasted_bytes": sum(each[3] for each in reads if "wasted" in each[9]),
        "hedges": sum("hedge" in each[9] for each in reads),
        "servers": len({each[0] for each in reads}),
        "window_bytes": 0,
        "left_s": None,
    }
    result.update(more)
    return result


def _samples(
    reads: list[Read], deliveries: list[tuple[float, int, int]], seconds: float
) -> list[list[float]]:
    found = []
    for step in range(41):
        at = seconds * step / 40
        here = sum(each[3] for each in reads if each[7] is not None and each[7] <= at)
        sent = sum(each[3] for each in reads if each[6] <= at)
        out = sum(stop - first for when, first, stop in deliveries if when <= at) * SEGMENT
        found.append([at, out, here, sent - here, max(0, sent - out), 8_000_000, step * 3, step])
    return found


def _map(reads: list[Read]) -> list[list[Any]]:
    found: list[list[Any]] = []
    for share, _kind, _start, _length, first, stop, sent, done, state, _flags in reads:
        if first < 0:
            continue
        found.append([sent, share, first, stop, "pending"])
        if done is not None:
            found.append([done, share, first, stop, "have" if state == "done" else "gone"])
    return sorted(found, key=lambda event: float(event[0]))


def _run(took: Callable[[int, int], float]) -> tuple[list[Read], list[tuple[float, int, int]]]:
    """Four runs of two segments, one after the other, from the first three shares."""
    reads, deliveries = [], []
    at = 0.02
    for run in range(SEGMENTS // 2):
        ends = [at + took(share, run) for share in range(NEEDED)]
        reads += [read(share, run, at, end) for share, end in enumerate(ends)]
        at = max(ends)
        deliveries.append((at, 2 * run, 2 * run + 2))
    return reads, deliveries


def even() -> Document:
    """Nothing held it up."""
    reads, deliveries = _run(lambda share, run: TOOK_S + 0.001 * ((share + run) % 3))
    return document(reads, deliveries, deliveries[-1][0])


def slow_server() -> Document:
    """``south`` took a second for each read, the others a fifth of one."""
    reads, deliveries = _run(lambda share, _run: 1.0 if share == 2 else TOOK_S)
    for each in reads:
        if each[0] == 2:
            each[9] = ["late"]
    return document(reads, deliveries, deliveries[-1][0])


def hedged() -> Document:
    """``east`` never answered the second run; ``west`` was asked after a second, as a hedge."""
    reads, deliveries = _run(lambda _share, _run: TOOK_S)
    east = next(each for each in reads if each[0] == 1 and each[4] == 2)
    east[7], east[8], east[9] = None, "abandoned", ["late", "stalled"]
    sent = east[6]
    for each in reads:
        if each[4] > 2:
            each[6], each[7] = each[6] + 1.0, each[7] + 1.0
    reads.append(read(3, 1, sent + 1.0, sent + 1.2, "done", "hedge"))
    deliveries = [
        (at + (1.0 if first >= 2 else 0.0), first, stop) for at, first, stop in deliveries
    ]
    return document(reads, deliveries, deliveries[-1][0])


def paused() -> Document:
    """Whoever reads had paused for two seconds, while all was there."""
    reads, deliveries = _run(lambda _share, _run: TOOK_S)
    at, first, stop = deliveries[-1]
    deliveries[-1] = (at + 2.0, first, stop)
    return document(reads, deliveries, at + 2.0, pauses=[[0, deliveries[-2][0], at + 2.0]])


def waiting() -> Document:
    """It runs, and for two seconds only ``north`` has not answered."""
    reads, deliveries = _run(lambda _share, _run: TOOK_S)
    last = [each for each in reads if each[4] == 6]
    north = next(each for each in last if each[0] == 0)
    north[7], north[8], north[9] = None, "open", ["late"]
    return document(reads, deliveries[:-1], deliveries[-1][0] + 2.0, "running")


def failing() -> Document:
    """``north`` failed each time, and ``west`` was asked instead."""
    reads, deliveries = _run(lambda _share, _run: TOOK_S)
    shift = 0.0
    moved: list[tuple[float, int, int]] = []
    for run in range(SEGMENTS // 2):
        own = [each for each in reads if each[4] == 2 * run]
        for each in own:
            each[6], each[7] = each[6] + shift, each[7] + shift
        north = next(each for each in own if each[0] == 0)
        north[8] = "failed"
        reads.append(read(3, run, north[7], north[7] + TOOK_S))
        shift += TOOK_S
        at, first, stop = deliveries[run]
        moved.append((at + shift, first, stop))
    return document(reads, moved, moved[-1][0])


def crowded(count: int) -> Document:
    """So many reads that nothing of them may be slow to draw."""
    reads = []
    for number in range(count):
        sent = number * 0.001
        flags = [[], ["hedge"], ["late"], ["late", "stalled"], ["wasted"]][number % 5]
        reads.append(read(number % 4, number % 4, sent, sent + 0.05, "done", *flags))
    return document(reads, [(count * 0.001 + 0.05, 0, SEGMENTS)], count * 0.001 + 0.05)


HOSTILE_NAMES = (
    "<img src=x onerror=\"document.title='broken in'\">",
    "</script><script>document.title='broken in'</script>",
    "\u202egnp.exe \u2066 {{7*7}} %s javascript:alert(1)",
    "x" * 5000,
)


def hostile() -> Document:
    """Right in form, with names and notes that mean harm."""
    result = slow_server()
    for server, name in zip(result["servers"], HOSTILE_NAMES):
        server["name"] = name
    result["problems"] = [[0.5, name] for name in HOSTILE_NAMES]
    result["summary"]["why"] = HOSTILE_NAMES[0]
    result["summary"]["storage_index"] = HOSTILE_NAMES[1]
    return result


def damaged() -> dict[str, tuple[str, str]]:
    """Contents of files that must not be opened, and a word of why."""

    def changed(change: Callable[[Document], Any]) -> str:
        import json

        value = even()
        change(value)
        return json.dumps(value)

    return {
        "no JSON": ("not json {", "not JSON"),
        "null": ("null", "not a saved download"),
        "a list": ("[]", "not a saved download"),
        "another format": ('{"format": "x", "version": 1}', "not a saved download"),
        "a newer version": (changed(lambda d: d.update(version=2)), "version 2"),
        "no summary": (changed(lambda d: d.pop("summary")), "summary"),
        "a share of nobody": (changed(lambda d: d["shares"][0].update(server=99)), "shares[0]"),
        "a read of no share": (changed(lambda d: d["reads"][3].__setitem__(0, 400)), "reads[3]"),
        "a read in text": (changed(lambda d: d["reads"][3].__setitem__(6, "1")), "reads[3][6]"),
        "a negative time": (changed(lambda d: d["reads"][0].__setitem__(6, -1)), "reads[0][6]"),
        "an unknown state": (changed(lambda d: d["map"][0].__setitem__(4, "x")), "map[0][4]"),
        "rows that are none": (changed(lambda d: d.update(reads=[7])), "reads[0]"),
        "reads that are no list": (changed(lambda d: d.update(reads={"length": 3})), "reads"),
        "an endless time": (changed(lambda d: d["reads"][0].__setitem__(7, 1e300)), "reads[0][7]"),
        "stock, damaged": (
            '{"misc":[],"read":[null],"segment":[],"dyhb":[],"block":[],"server_info":{}}',
            "damaged",
        ),
    }


def stock_events() -> Document:
    """As Tahoe's ``event_json`` tells of two segments from two shares; ``bbbb`` was slow."""
    began = 1_700_000_000.0

    def block(server: str, shnum: int, start: int, length: int, sent: float, done: float) -> Any:
        return {
            "serverid": server,
            "shnum": shnum,
            "start": start,
            "length": length,
            "start_time": began + sent,
            "finish_time": began + done,
            "success": True,
            "response_length": length,
            "row": [0, 0],
        }

    def segment(number: int, active: float, done: float) -> Any:
        return {
            "segment_number": number,
            "start_time": began,
            "active_time": began + active,
            "finish_time": began + done,
            "success": True,
            "decode_time": 0.001,
            "row": 0,
            "segment_start": number * SEGMENT,
            "segment_length": SEGMENT,
        }

    half = SEGMENT // 2
    return {
        "misc": [
            {"what": what, "start_time": began + at, "finish_time": began + at + 0.001, "row": 0}
            for what, at in (("desire", 0.1), ("satisfy", 0.2), ("decode", 1.0), ("AES", 1.01))
        ],
        "read": [
            {
                "start": 0,
                "length": 2 * SEGMENT,
                "start_time": began,
                "finish_time": began + 2.0,
                "bytes_returned": 2 * SEGMENT,
                "row": 0,
                "decrypt_time": 0.01,
                "paused_time": 0,
            }
        ],
        "segment": [segment(0, 0.1, 1.0), segment(1, 1.0, 2.0)],
        "dyhb": [
            {
                "serverid": server,
                "start_time": began,
                "finish_time": began + 0.1,
                "success": True,
                "response_shnums": [shnum],
                "row": shnum,
            }
            for shnum, server in enumerate(("aaaa", "bbbb"))
        ],
        "block": [
            block("aaaa", 0, 0, 36, 0.1, 0.15),
            block("aaaa", 0, 36, half, 0.15, 0.3),
            block("bbbb", 1, 36, half, 0.15, 1.0),
            block("aaaa", 0, 36 + half, half, 1.0, 1.2),
            block("bbbb", 1, 36 + half, half, 1.0, 2.0),
        ],
        "block_rownums": [1, 1],
        "server_info": {
            "aaaa": {"num": 0, "color": "#abcdef", "short": "quick"},
            "bbbb": {"num": 1, "color": "#fedcba", "short": "sluggish"},
        },
        "num_serverids": 2,
        "serverids": {"0": "quick", "1": "sluggish"},
        "bounds": {"min": began, "max": began + 2.0},
    }
