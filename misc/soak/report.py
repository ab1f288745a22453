"""A soak as lines of JSON, and as a section of docs/reliability.md."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from misc.bench import machine
from misc.soak.readers import EXCUSED, FAILED, KINDS, LEFT, RIGHT, WRONG
from misc.soak.trouble import KINDS as TROUBLES
from misc.soak.verdict import SLACK_BYTES, Part, Rest, Soak

MB = 1e6


class Kept:
    """The file of a soak that runs: it begins anew, and a line is written when its part is over.

    The first line says what it was measured on, the last is of the whole.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._path.write_text(json.dumps(machine.about()) + "\n", encoding="utf-8")

    def add_part(self, number: int, part: Part) -> None:
        """A part is over."""
        self._add({"part": number, **asdict(part)})

    def add_whole(self, soak: Soak) -> None:
        """All parts are over."""
        self._add({name: value for name, value in vars(soak).items() if name != "parts"})

    def _add(self, line: dict[str, Any]) -> None:
        with open(self._path, "a", encoding="utf-8") as handle:
            handle.write(json.dumps(line, sort_keys=True) + "\n")


def read(path: Path) -> tuple[Soak, dict[str, Any]] | None:
    """What was kept, and what it was measured on; None if no soak came to its end."""
    if not path.exists():
        return None
    about, *lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    whole = [line for line in lines if "part" not in line]
    if not whole:
        return None
    parts = [_part(line) for line in lines if "part" in line]
    return Soak(parts=parts, **whole[-1]), about


def _part(line: dict[str, Any]) -> Part:
    del line["part"]
    rests = {name: Rest(**rest) for name, rest in line.pop("rests").items()}
    return Part(rests=rests, **line)


def section(soak: Soak, about: dict[str, Any] | None = None) -> str:
    """The text of the section.

    :param about: what it was measured on.
    """
    problems = soak.problems()
    verdict = (
        "Nothing went wrong."
        if not problems
        else f"**{len(problems)} things went wrong:** " + "; ".join(problems[:10])
    )
    return "\n\n".join(
        [
            _head(soak, about),
            verdict,
            _reads_table(soak),
            _troubles_line(soak),
            _memory_table(soak),
            _memory_line(soak),
        ]
    )


def _head(soak: Soak, about: dict[str, Any] | None) -> str:
    machine = (about or {}).get("machine", {})
    where = f" on {machine['cores']} cores of {machine['cpu']}" if machine else ""
    return (
        f"{soak.seconds / 60:.0f} minutes, {soak.readers} readers, {soak.servers} servers, files"
        f" {soak.needed}-of-{soak.servers}, both transports{where}, seed `{soak.seed}`:"
        f" {sum(soak.reads.values()):,} reads, {soak.bytes_checked / MB:,.0f} MB, each byte"
        " compared with what was uploaded."
    )


def _reads_table(soak: Soak) -> str:
    kinds = ", ".join(f"{soak.reads.get(kind, 0):,} {kind}" for kind in KINDS)
    ends = {
        RIGHT: "ended with the right bytes",
        LEFT: "left in mid-file, with the right bytes until then",
        EXCUSED: f"ended in an error; fewer than {soak.needed} servers had been well throughout",
        FAILED: "ended in an error although enough servers were well",
        WRONG: "gave wrong bytes, or no answer at all",
    }
    rows = [f"| {soak.ends.get(end, 0):,} | {words} |" for end, words in ends.items()]
    head = [f"Reads: {kinds}.", "", "| reads | which |", "|--:|---|"]
    return "\n".join([*head, *rows])


def _troubles_line(soak: Soak) -> str:
    counts = ", ".join(f"{soak.troubles.get(kind, 0)} times {kind}" for kind in TROUBLES)
    return f"Meanwhile a server was {counts}, and came back."


def _memory_table(soak: Soak) -> str:
    numbers = range(1, len(soak.parts) + 1)
    lines = [
        "| MB at rest after part | " + " | ".join(map(str, numbers)) + " |",
        "|---|" + "--:|" * len(soak.parts),
    ]
    for client in soak.clients:
        held = " | ".join(f"{each / MB:.0f}" for each in soak.rss_bytes(client))
        lines.append(f"| {client} | {held} |")
    return "\n".join(lines)


def _memory_line(soak: Soak) -> str:
    growths = ", ".join(f"{soak.growth_bytes(each) / MB:+.1f} MB {each}" for each in soak.clients)
    return (
        f"From the most in the first half to the most in the second: {growths}; allowed are"
        f" {SLACK_BYTES / MB:+.1f} MB. After each part there was no read in flight, no byte of"
        " `memory` used, no timer of ours, no fallback and no unhandled error in the log, or it is"
        " named above."
    )
