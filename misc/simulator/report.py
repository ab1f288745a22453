"""The section "simulation" of docs/reliability.md; every number in it comes from the results."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from misc.bench.cases import MB, WIRE_TITLES, WIRES, Encoding, segment_title
from misc.bench.tables import NONE, table, three_digits
from misc.simulator import calibration, policies
from misc.simulator.studies import CROWD, HEDGES, LATE, RATES, TAILS
from tahoe_fastdl.core import covering, servers
from tahoe_fastdl.core.window import MIB

Line = Mapping[str, Any]

MIN_FOR_P999 = 1000  # fewer downloads have no such percentile
BUDGET_MIB = 64

CONSTANTS = """\
Fast, with servers that pause. LATE_FACTOR is after how many times its server's own estimate a
read is late, HEDGE_PART which part of the bytes fetched hedges may cost besides the first 256 KiB
(with 0 there are none, and only stalled reads are replaced). The core's own values are bold."""

RATE = """\
A server of which no rate is known is expected to be like the others, in the median, when shares are
chosen; while no server of the file has shown any, all are expected to have DEFAULT_RATE."""

CROWDS = """\
All are asked of one client within a second: 3-of-10, calm servers, a line of 125 MB/s. Times are
from each one's own request; "line used" is what was delivered until the last was done, of what
the line could carry until then."""


@dataclass(frozen=True)
class Group:
    """The lines of one study, in the order in which they were written."""

    lines: Sequence[Line]

    @classmethod
    def of(cls, lines: Sequence[Line], study: str) -> Group:
        """Those of *study*."""
        return cls([line for line in lines if line.get("study") == study])


def percentile(line: Line, part: float, what: str = "seconds") -> float | None:
    """Of the times of a setting's downloads; None if too few came to their end.

    Downloads that failed or hung count as longer than all others.
    """
    times, count = line.get(what, []), line["count"]
    place = int(part * count)
    return times[place] if place < len(times) else None


def section(lines: Sequence[Line], figures: Mapping[str, str]) -> str:
    """Its text.

    :param figures: paths of those that were drawn, with what they show.
    """
    parts = [introduction(lines)]
    parts += ["### Against the sweep", *compared(Group.of(lines, calibration.STUDY))]
    parts += ["### How long downloads take", tails(Group.of(lines, TAILS))]
    parts += ["### When a read is late, and what hedges may cost", CONSTANTS]
    parts += [constant(Group.of(lines, LATE), "late_factor", servers.LATE_FACTOR)]
    parts += [constant(Group.of(lines, HEDGES), "hedge_part", covering.HEDGE_PART)]
    parts += ["### What to expect of a server that has shown nothing", RATE]
    parts += [constant(Group.of(lines, RATES), "default_rate", servers.DEFAULT_RATE)]
    parts += ["### A thousand downloads at once", CROWDS, crowd(Group.of(lines, CROWD))]
    parts += [f"![{caption}]({path})" for path, caption in figures.items()]
    return "\n\n".join(part.strip() for part in parts if part.strip())


def introduction(lines: Sequence[Line]) -> str:
    """How much was simulated."""
    simulated = [line for line in lines if "count" in line]
    downloads = sum(line["count"] for line in simulated)
    reads = sum(line.get("reads", 0) for line in simulated)
    hung = sum(line.get("hung", 0) for line in simulated)
    return (
        f"{downloads:,} downloads with {reads:,} reads, {hung} of which never ended. Failed and"
        " hung downloads count as slower than all others; a percentile that falls among them"
        f" is shown as {NONE}."
    )


# ---------------------------------------------------------------- against the sweep


def compared(group: Group) -> list[str]:
    """Simulated / measured, by wire and encoding."""
    if not group.lines:
        return ["There were no results of the sweep to compare with."]
    encodings = sorted({_encoding(line) for line in group.lines})
    places: dict[tuple[int, int, int], dict[tuple[Encoding, str], Line]] = {}
    wires = list(WIRES)
    for line in group.lines:
        place = (wires.index(line["wire"]), line["segment_bytes"], line["length"])
        places.setdefault(place, {})[_encoding(line), line["policy"]] = line
    rows = [["fast / stock", *map(str, encodings)]]
    for (wire, segment, length), found in sorted(places.items()):
        title = f"{WIRE_TITLES[wires[wire]]}, {segment_title(segment)}, {length / MB:g} MB"
        cells = [
            " / ".join(
                _ratio(found.get((encoding, kind))) for kind in (policies.FAST.name, "stock")
            )
            for encoding in encodings
        ]
        rows.append([title, *cells])
    texts = [_summary(group, kind) for kind in (policies.FAST.name, "stock")]
    head = (
        "Simulated time by measured time, of every case of the sweep on a slow wire over"
        ' Foolscap; "~" marks a download that was given up, compared up to there. '
    )
    return [head + " ".join(texts), table(rows)]


def _encoding(line: Line) -> Encoding:
    return Encoding(line["needed"], line["total"])


def _ratio(line: Line | None) -> str:
    if line is None:
        return NONE
    return ("~ " if line.get("part") else "") + f"{line['simulated_s'] / line['measured_s']:.2f}"


def _summary(group: Group, kind: str) -> str:
    ratios = sorted(
        line["simulated_s"] / line["measured_s"] for line in group.lines if line["policy"] == kind
    )
    if not ratios:
        return ""
    near = sum(abs(ratio - 1) <= calibration.TOLERANCE for ratio in ratios)
    return (
        f"Of {len(ratios)} cases of {kind}, {near} are within {calibration.TOLERANCE:.0%}; the"
        f" median is {statistics.median(ratios):.2f}, the middle four fifths lie between"
        f" {ratios[len(ratios) // 10]:.2f} and {ratios[-1 - len(ratios) // 10]:.2f}."
    )


# ---------------------------------------------------------------- tails


def tails(group: Group) -> str:
    """Percentiles and costs by trouble, encoding and policy."""
    rows = [
        ["", "policy", "downloads", "p50 s", "p99 s", "p99.9 s", "worst s", "reads each",
         "fetched", "hedges each", "failed"],
    ]  # fmt: skip
    for line in group.lines:
        title = f"{line['needed']}-of-{line['total']}, {line['trouble']}"
        rows.append([title, line["policy"], f"{line['count']}", *_times(line), *_costs(line)])
    return table(rows)


def _times(line: Line) -> list[str]:
    cells = [_shown(percentile(line, 0.5)), _shown(percentile(line, 0.99))]
    enough = line["count"] >= MIN_FOR_P999
    cells.append(_shown(percentile(line, 0.999) if enough else None))
    return [*cells, _shown(max(line.get("seconds", []), default=None))]


def _costs(line: Line) -> list[str]:
    count = line["count"]
    hedges = (line.get("hedges", 0) + line.get("replaced", 0)) / count
    return [
        f"{line.get('reads', 0) / count:.0f}",
        f"{fetched(line):.3f}",
        f"{hedges:.2f}",
        f"{line.get('failed', 0) + line.get('hung', 0)}",
    ]


def fetched(line: Line) -> float:
    """Bytes asked for, as a multiple of those delivered."""
    delivered: float = line["length"] * line["count"]
    return float(line.get("fetched_bytes", 0)) / delivered


def _shown(seconds: float | None) -> str:
    return NONE if seconds is None else three_digits(seconds)


# ---------------------------------------------------------------- constants


def constant(group: Group, name: str, own: float) -> str:
    """One of the core's constants: percentiles and costs at several values."""
    rows = [
        ["", f"{name.upper()}", "p50 s", "p99 s", "p99.9 s", "worst s", "reads each", "fetched",
         "hedges each", "failed"],
    ]  # fmt: skip
    for line in group.lines:
        value = line.get(name, 0.0)
        text = f"{value / MB:g} MB/s" if name.endswith("rate") else f"{value:g}"
        shown = f"**{text}**" if value == own else text
        title = f"{line['needed']}-of-{line['total']}"
        rows.append([title, shown, *_times(line), *_costs(line)])
    return table(rows) if len(rows) > 1 else ""


# ---------------------------------------------------------------- a crowd


def crowd(group: Group) -> str:
    """Finishing times and memory of many downloads by one client."""
    rows = [
        ["", "downloads", "never ended", "first done s", "p10 s", "median s", "p90 s", "last s",
         "last / median", "slowest first byte s", "line used", "peak MiB", "budget MiB"],
    ]  # fmt: skip
    for line in group.lines:
        times, count = line.get("seconds", []), line["count"]
        if not times:
            continue
        middle = statistics.median(times)
        used = len(times) * line["length"] / line["downlink"] / times[-1]
        rows.append([
            f"{line['length'] / MB:g} MB, {segment_title(line['segment_bytes'])} segments",
            f"{count}",
            f"{line.get('hung', 0) + line.get('failed', 0)}",
            _shown(times[0]),
            _shown(percentile(line, 0.1)),
            _shown(middle),
            _shown(percentile(line, 0.9)),
            _shown(times[-1]),
            f"{times[-1] / middle:.2f}",
            _shown(line["first_byte_s"][-1]),
            f"{used:.0%}",
            f"{line['peak_bytes'] / MIB:.0f}",
            f"{BUDGET_MIB}",
        ])  # fmt: skip
    return table(rows) if len(rows) > 1 else ""
