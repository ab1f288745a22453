"""The section "floor" of docs/performance.md; no number in it comes from elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from misc.bench.cases import FAST, MB, STOCK, Case
from misc.floor.figures import FETCH, PROVE, PROVE_OTHERS, SERVE, Cost, Floors, cost, floors, step_s
from misc.floor.lines import Lines
from misc.floor.tables import (
    cores,
    file_title,
    from_to,
    machine_words,
    number,
    paragraph,
    table,
    with_range,
)

TARGET = 1.3  # fast / floor at most

PREAMBLE = """\
A download is made of three parts, each of which is measured by itself, in a process of its own,
in turn with real downloads and on the same grid ({sizes}, loopback):

* **(a) fetch**: a Tahoe client reads the blocks of k shares from the servers with Tahoe's own
  connections, in few large reads, and drops them;
* **(b) prove**: one thread checks UEB, ciphertext hash tree and each segment of the same shares in
  memory, decodes and decrypts them, with hashlib, zfec and OpenSSL's AES;
* **(c) serve**: a Twisted process with Tahoe's web site class sends as many bytes from memory, to
  the reader that real downloads have.

*Sum* is (a) + (b) + (c), as if one after another; *longest* is the longest of them, as if each had
a machine of its own. Neither is fair: a node does (b) in threads beside its reactor, the reactor
does both (a) and (c), and all of it shares {cores} cores with servers and reader.

**The floor** is the largest of: each part alone, the CPU of (a) and (c) in the one reactor thread,
and all CPU that the three parts cost client, servers and reader, spread evenly over the cores.
No client of this structure can get below any of these bounds on this machine, and to reach the
floor all its parts would have to overlap without a gap.

Seconds; median, and the least and the most of several runs:
"""


@dataclass(frozen=True)
class Row:
    """One case with all that the sentences are about."""

    case: Case
    floors: Floors
    fast: Cost
    stock: Cost | None
    file_title: str

    @property
    def title(self) -> str:
        """The first cell of its lines."""
        return f"{self.case.transport}, {self.file_title}"

    @property
    def over_floor(self) -> float:
        """Fast / floor."""
        return self.fast.wall_s / self.floors.floor_s


def rows_of(lines: Lines) -> list[Row]:
    """The cases that are complete."""
    rows = []
    files = [case.file for case in lines.cases()]
    for case in lines.cases():
        found, fast = floors(lines, case, cores(lines)), cost(lines, case, FAST)
        if found is not None and fast is not None:
            title = file_title(case.file, files)
            rows.append(Row(case, found, fast, cost(lines, case, STOCK), title))
    return rows


def section(lines: Lines) -> str:
    """The text between the section's marks."""
    rows = rows_of(lines)
    if not rows:
        return "Nothing was measured yet.\n"
    sizes = " and ".join(
        f"{length / MB:g} MB" for length in sorted({row.case.file.length for row in rows})
    )
    return "\n".join(
        [
            PREAMBLE.format(sizes=sizes, cores=cores(lines)),
            _times(lines, rows),
            paragraph(_reading(rows)),
            "CPU seconds: of the client alone, and of client, servers and reader together:\n",
            _cpu(rows),
            "The steps of (b), in seconds. With primary shares decoding is a copy; *others* is"
            " with none of them.\n*Blocks* is what stock checks besides (share hash chains, block"
            " hash trees, each block); a cap does\nnot need it, and it is not part of the floor:\n",
            _steps(lines, rows),
            paragraph(_reading_of_steps(lines, rows)),
            machine_words(lines),
        ]
    )


# ---------------------------------------------------------------- tables


def _times(lines: Lines, rows: Sequence[Row]) -> str:
    head = ["", "stock", "fast", "(a) fetch", "(b) prove", "(c) serve"]
    head += ["sum", "longest", "floor", "fast / sum", "fast / longest", "fast / floor"]
    body = []
    for row in rows:
        walls = [
            with_range(lines.spread(row.case, part, lambda line: line.wall_s))
            for part in (STOCK, FAST, FETCH, PROVE, SERVE)
        ]
        found, fast_s = row.floors, row.fast.wall_s
        bounds = [found.sum_s, found.longest_s, found.floor_s]
        ratios = [f"{fast_s / bound_s:.2f}" for bound_s in bounds]
        body.append([row.title, *walls, *(f"{bound_s:.2f}" for bound_s in bounds), *ratios])
    return table([head, *body])


def _cpu(rows: Sequence[Row]) -> str:
    head = ["", "fast: client", "(a)", "(b)", "(c)", "(a) + (b) + (c)", "fast / parts"]
    head += ["fast: all", "(a) + (b) + (c): all", "fast / parts"]
    body = []
    for row in rows:
        all_s = row.floors.machine_s * row.floors.cores
        numbers = [
            row.fast.cpu_s,
            *(part.cpu_s for part in row.floors.parts),
            row.floors.client_cpu_s,
            row.fast.cpu_s / row.floors.client_cpu_s,
            row.fast.total_cpu_s,
            all_s,
            row.fast.total_cpu_s / all_s,
        ]
        body.append([row.title, *(f"{value:.2f}" for value in numbers)])
    return table([head, *body])


def _one_of_each_file(rows: Sequence[Row]) -> list[Row]:
    """(b) knows no transport: its steps are shown once a file."""
    return list({row.case.file: row for row in reversed(rows)}.values())[::-1]


def _steps(lines: Lines, rows: Sequence[Row]) -> str:
    steps = ("trees_s", "decode_s", "hash_s", "decrypt_s")
    head = ["", "trees", "decode", "hash", "decrypt", "(b)"]
    head += ["blocks", "decode, others", "(b), others"]
    body = []
    for row in _one_of_each_file(rows):
        case = row.case
        numbers = [step_s(lines, case, PROVE, step) for step in steps]
        numbers.append(row.floors.prove.wall_s)
        numbers.append(step_s(lines, case, PROVE, "blocks_s"))
        numbers.append(step_s(lines, case, PROVE_OTHERS, "decode_s"))
        others = cost(lines, case, PROVE_OTHERS)
        numbers.append(None if others is None else others.wall_s)
        body.append([row.file_title, *(number(value, ".3f") for value in numbers)])
    return table([head, *body])


# ---------------------------------------------------------------- sentences


def _reading(rows: Sequence[Row]) -> list[str]:
    near = min(rows, key=lambda row: row.over_floor)
    far = max(rows, key=lambda row: row.over_floor)
    within = sum(row.over_floor <= TARGET for row in rows)
    words = [
        f"Fast takes {from_to((row.over_floor for row in rows), '.2f')} times the floor: nearest to"
        f" it at {near.title}, farthest at {far.title}; {within} of {len(rows)} cases are within"
        f" {TARGET} times."
    ]
    stock = [row.stock.wall_s / row.floors.floor_s for row in rows if row.stock is not None]
    if stock:
        words.append(f"Stock, where it was measured, takes {from_to(stock)} times the floor.")
    bounds: dict[str, int] = {}
    for row in rows:
        bounds[row.floors.bound_by] = bounds.get(row.floors.bound_by, 0) + 1
    most = max(bounds, key=lambda name: bounds[name])
    words.append(f"The floor is set by {most} in {bounds[most]} of {len(rows)} cases.")
    parts = (("fetching", 0), ("proving", 1), ("serving", 2))
    shares = ", ".join(
        f"{name} {from_to((r.floors.parts[i].cpu_s / r.floors.client_cpu_s for r in rows), '.0%')}"
        for name, i in parts
    )
    words.append(f"Of the CPU that the parts cost a client, {shares}.")
    over = from_to((row.fast.cpu_s / row.floors.client_cpu_s for row in rows), ".2f")
    words.append(f"Fast's client uses {over} times the CPU of the parts.")
    return words


def _reading_of_steps(lines: Lines, rows: Sequence[Row]) -> list[str]:
    chosen = _one_of_each_file(rows)
    blocks = [step_s(lines, row.case, PROVE, "blocks_s") for row in chosen]
    more = [
        blocks_s / row.floors.prove.wall_s
        for row, blocks_s in zip(chosen, blocks)
        if blocks_s is not None
    ]
    words = [f"Checking each block too would cost {from_to(more, '.1f')} times (b) once more."]
    slower = []
    for row in chosen:
        others = cost(lines, row.case, PROVE_OTHERS)
        if others is not None:
            slower.append((others.wall_s / row.floors.prove.wall_s, row.case.file.encoding))
    if slower:
        worst, encoding = max(slower)
        words.append(
            f"Without a primary share (b) takes up to {worst:.1f} times as long, at {encoding}:"
            " zfec reckons then, where it only copied."
        )
    return words
