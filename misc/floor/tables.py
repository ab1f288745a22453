"""What both sections of the page are made of: tables, cells, and on what it was measured. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from misc.bench.cases import MB, File, segment_title
from misc.bench.results import Spread, spread
from misc.floor.lines import Lines

NONE = "-"
LINE_LENGTH = 110


def table(rows: Sequence[Sequence[str]]) -> str:
    """The first row is the head, the first column is text."""
    head, *body = rows
    rule = [":--", *["--:"] * (len(head) - 1)]
    return "".join("| " + " | ".join(row) + " |\n" for row in (head, rule, *body))


def with_range(found: Spread | None) -> str:
    """``0.52 (0.49-0.60)``."""
    if found is None:
        return NONE
    if found.count == 1:
        return f"{found.median:.2f}"
    return f"{found.median:.2f} ({found.low:.2f}-{found.high:.2f})"


def number(value: float | None, form: str = ".2f") -> str:
    """A dash for None."""
    return NONE if value is None else format(value, form)


def from_to(values: Iterable[float], form: str = ".1f") -> str:
    """``1.2 to 3.4``; one of them where they look alike."""
    found = spread(values)
    if found is None:
        return NONE
    low, high = format(found.low, form), format(found.high, form)
    return low if low == high else f"{low} to {high}"


def paragraph(sentences: Iterable[str]) -> str:
    """One after another, in lines of moderate length."""
    lines, line = [], ""
    for word in " ".join(sentences).split():
        if line and len(line) + 1 + len(word) > LINE_LENGTH:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return "\n".join([*lines, line]) + "\n"


def file_title(file: File, of_all: Iterable[File]) -> str:
    """What tells a file from the others of a table; its length only where they differ in it."""
    title = f"{segment_title(file.segment_bytes)}, {file.encoding}"
    lengths = {each.length for each in of_all}
    return title if len(lengths) == 1 else f"{file.length / MB:g} MB, {title}"


def sessions_used(lines: Lines) -> list[dict[str, object]]:
    """In the order they were measured."""
    used = {line.session for line in lines.lines}
    return [lines.sessions[name] for name in sorted(used) if name in lines.sessions]


def cores(lines: Lines) -> int:
    """Of the machine; 1 if it is not known."""
    for session in reversed(sessions_used(lines)):
        machine = session["machine"]
        assert isinstance(machine, dict)
        return int(machine["cores"])
    return 1


def machine_words(lines: Lines) -> str:
    """On what it was measured, and how busy that was."""
    seen: dict[str, list[str]] = {}
    for session in sessions_used(lines):
        machine, versions = session["machine"], session["versions"]
        assert isinstance(machine, dict) and isinstance(versions, dict)
        programs = session.get("programs") or {}
        assert isinstance(programs, dict)
        text = (
            f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_bytes'] / 1e9:.0f} GB,"
            f" {machine['system']}, Python {machine['python']}; "
            + ", ".join(f"{name} {version}" for name, version in {**versions, **programs}.items())
            + f"; tahoe-fastdl {session['commit'] or 'not from a checkout'}"
            f" (sources {session['sources']})"
        )
        seen.setdefault(text, []).append(str(session["session"]))
    words = [f"Measured on {text}; {min(names)} to {max(names)}." for text, names in seen.items()]
    loads = spread(line.load for line in lines.lines)
    if loads is not None:
        words.append(
            f"The machine's load average before a run was {loads.median:.1f} at the median,"
            f" {loads.low:.1f} to {loads.high:.1f}; the nodes themselves are part of it."
        )
    return paragraph(words)
