"""The section "comparison" of docs/performance.md; no number in it comes from elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from misc.bench.cases import (
    FAST,
    MB,
    SERVERS,
    STOCK,
    WIRE_TITLES,
    WIRES,
    Case,
    File,
)
from misc.floor.figures import cost
from misc.floor.lines import Lines
from misc.floor.others import ARIA2, CURL, HTTPS
from misc.floor.tables import (
    file_title,
    from_to,
    machine_words,
    number,
    paragraph,
    table,
    with_range,
)

PREAMBLE = """\
What else gets {sizes} from here to there, on the same machine and through the same wire:

* **curl** fetches the whole file from one HTTPS server (nginx). It checks the server's certificate
  and nothing about the file: it has no cap to verify it against, whoever runs that server can read
  and change it, and when that server is down it is gone. It has the rate of one server.
* **aria2** fetches the blocks of k shares, a file each, from {servers} such servers at once, as the
  shares lie on the grid: the bytes that a Tahoe download must fetch. It leaves them as they are:
  not verified, not decoded, not decrypted.
* **stock** and **fast** find the shares, verify against the cap, decode and decrypt. Their
  connections are TLS as well, and a node hands the file on through its web port.

curl and aria2 are timed from the start of the program to its end, with the TLS handshake, and write
files; the nodes run and are connected to their servers, and write to a reader that hashes. All
bytes are compared by hash. Seconds; median, least and most of several runs; CPU of the client's
process:
"""


def section(lines: Lines) -> str:
    """The text between the section's marks."""
    cases = [case for case in lines.cases() if lines.of(case, FAST)]
    if not cases:
        return "Nothing was measured yet.\n"
    lengths = sorted({case.file.length for case in cases})
    sizes = " or ".join(f"{length / MB:g} MB" for length in lengths)
    parts = [PREAMBLE.format(sizes=sizes, servers=SERVERS)]
    for wire in WIRES:
        here = [case for case in cases if case.wire == wire]
        if here:
            parts += [f"**Through {WIRE_TITLES[wire]}**\n", _table(lines, here)]
    parts += [paragraph(_reading(lines, cases)), machine_words(lines)]
    return "\n".join(parts)


def _columns(case: Case, transports: Iterable[str]) -> list[tuple[Case, str]]:
    """What is shown of a file and a wire, in order."""
    found = [(_over(case, HTTPS), CURL), (_over(case, HTTPS), ARIA2)]
    for transport in transports:
        found += [(_over(case, transport), kind) for kind in (FAST, STOCK)]
    return found


def _over(case: Case, transport: str) -> Case:
    return Case(case.file, transport, case.wire)


def _table(lines: Lines, cases: Sequence[Case]) -> str:
    transports = sorted({case.transport for case in cases})
    files: dict[File, Case] = {case.file: case for case in cases}
    head = ["", "curl", "CPU", "aria2", "CPU"]
    for transport in transports:
        head += [f"fast, {transport}", "CPU", f"stock, {transport}", "CPU"]
    body = []
    for file, case in files.items():
        row = [file_title(file, files)]
        for kept, part in _columns(case, transports):
            found = cost(lines, kept, part)
            row.append(with_range(lines.spread(kept, part, lambda line: line.wall_s)))
            row.append(number(None if found is None else found.cpu_s))
        body.append(row)
    return table([head, *body])


def _reading(lines: Lines, cases: Sequence[Case]) -> list[str]:
    words = []
    for wire in WIRES:
        here = [case for case in cases if case.wire == wire]
        for transport in sorted({case.transport for case in here}):
            those = [case for case in here if case.transport == transport]
            said = [
                f"{from_to(ratios)} times as long as {other}"
                for other in (CURL, ARIA2)
                if (ratios := _ratios(lines, those, other))
            ]
            if said:
                where = f"{WIRE_TITLES[wire]}, {transport}"
                words.append(f"With {where}, fast takes {' and '.join(said)}.")
    faster = [
        stock.wall_s / fast.wall_s
        for case in cases
        if (stock := cost(lines, case, STOCK)) and (fast := cost(lines, case, FAST))
    ]
    if faster:
        words.append(
            f"Stock, where it was measured, takes {from_to(faster)} times as long as fast."
        )
    over = [
        fast.cpu_s / other.cpu_s
        for case in cases
        if (other := cost(lines, _over(case, HTTPS), ARIA2)) and (fast := cost(lines, case, FAST))
    ]
    if over:
        words.append(
            f"A fast client uses {from_to(over)} times the CPU of aria2, and what it has at the end"
            " is the file, proved and in the clear."
        )
    missing = [name for name in (CURL, ARIA2) if not any(line.part == name for line in lines.lines)]
    if missing:
        words.append(f"Not installed, and so not measured: {', '.join(missing)}.")
    return words


def _ratios(lines: Lines, cases: Sequence[Case], other: str) -> list[float]:
    """Fast / other, for each case that has both."""
    return [
        fast.wall_s / beside.wall_s
        for case in cases
        if (fast := cost(lines, case, FAST)) and (beside := cost(lines, _over(case, HTTPS), other))
    ]
