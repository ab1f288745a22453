"""The text of a tahoe.cfg: which storage plugins it names, and how to name ours or not.

Pure.  Reads as Tahoe does, with the parser of ``allmydata.util.configutil``; edits
lines, so that comments, order, spacing and line endings stay.  Laws:

* an edited text means, to that parser, what was intended and else what it meant before;
  what would break this is refused (:class:`~tahoe_fastdl.errors.CannotEdit`);
* no error and no difference holds a line that is not of ``storage.plugins``: tahoe.cfg
  has secrets in it.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator

from allmydata.util.configutil import get_config_from_string
from attrs import define, field

from ..errors import CannotEdit
from ..settings import PLUGIN_NAME

CLIENT, OPTION = "client", "storage.plugins"
LINE = f"{OPTION} = {PLUGIN_NAME}"

_COMMENTED_OUT = re.compile(rf"\s*[#;]\s*{re.escape(OPTION)}\s*[=:]", re.IGNORECASE)


@define
class _Option:
    """One option, where it stands."""

    name: str
    value_column: int  # in its first line
    lines: list[int]  # those that hold text of it: no comments, no blank ones


@define
class _Section:
    """One section, where it stands."""

    name: str
    header: int  # its line
    options: list[_Option] = field(factory=list)


# -- reading --------------------------------------------------------------------


def parsed(text: str) -> configparser.ConfigParser:
    """A tahoe.cfg, as Tahoe reads it.

    :raise CannotEdit: Tahoe could not; says in which line, and does not show it.
    """
    try:
        parser: configparser.ConfigParser = get_config_from_string(text)
    except configparser.MissingSectionHeaderError as error:
        raise CannotEdit(f"line {error.lineno} is before the first [section]") from None
    except configparser.ParsingError as error:
        numbers = ", ".join(str(number) for number, _line in error.errors)
        raise CannotEdit(f"no option and no [section] in line {numbers}") from None
    return parser


def names_in(value: str) -> list[str]:
    """The plugins that a value of ``storage.plugins`` names."""
    return [name.strip() for name in value.split(",") if name.strip()]


def plugin_names(text: str) -> list[str]:
    """The storage plugins that the client of this tahoe.cfg loads.

    :raise CannotEdit: this cannot be read.
    """
    return _names(parsed(text))


def _names(parser: configparser.ConfigParser) -> list[str]:
    try:
        return names_in(parser.get(CLIENT, OPTION, fallback=""))
    except configparser.InterpolationError:
        raise CannotEdit(f"a % in [{CLIENT}] {OPTION} does not make sense") from None


# -- editing --------------------------------------------------------------------


def enabled(text: str) -> str:
    """The same tahoe.cfg, which names our plugin; the same text if it does already.

    :raise CannotEdit: it cannot be read, or not changed safely.
    """
    names = plugin_names(text)
    if PLUGIN_NAME in names:
        return text
    lines = text.split("\n")
    client, option = _find(lines)
    intended = [*names, PLUGIN_NAME]
    if option is not None:
        return _verified(text, _appended(lines, option), intended)
    if client is None:
        return _verified(text, _with_section(lines), intended)
    for above in _commented_out(lines, client):
        try:
            return _verified(text, _inserted(lines, client, above), intended)
        except CannotEdit:
            continue  # a comment in the middle of another option's lines
    return _verified(text, _inserted(lines, client, client.header), intended)


def disabled(text: str) -> str:
    """The same tahoe.cfg, which does not name our plugin; the same text if it does not.

    An option that named nothing else goes; what is in our own section stays.

    :raise CannotEdit: it cannot be read, or not changed safely.
    """
    names = plugin_names(text)
    intended = [name for name in names if name != PLUGIN_NAME]
    if intended == names:
        return text
    after = text
    for _ in range(len(names) - len(intended)):
        lines = after.split("\n")
        _, option = _find(lines)
        if option is None:
            break
        after = _without(lines, option) if intended else _dropped(lines, option.lines)
    return _verified(text, after, intended)


def difference(before: str, after: str, path: str) -> str:
    """What an edit changed, as a unified diff without context; empty if nothing.

    Only the lines from the first that changed to the last.  difflib promises no
    such thing, and one line more could be a secret.
    """
    old, new = _shown(before), _shown(after)
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    old, new = old[start : len(old) - end], new[start : len(new) - end]
    if not old and not new:
        return ""
    hunk = f"@@ -{_range(start, len(old))} +{_range(start, len(new))} @@"
    changes = [*("-" + line for line in old), *("+" + line for line in new)]
    return "\n".join([f"--- {path}", f"+++ {path}", hunk, *changes]) + "\n"


def _shown(text: str) -> list[str]:
    lines = [line.rstrip("\r") for line in text.split("\n")]
    return lines[:-1] if lines[-1] == "" else lines


def _range(start: int, count: int) -> str:
    return f"{start + 1 if count else start},{count}"


# -- finding one's way ----------------------------------------------------------


def _find(lines: list[str]) -> tuple[_Section | None, _Option | None]:
    """``[client]`` and its ``storage.plugins``.

    :raise CannotEdit: one is there twice, so that it is not clear which to edit.
    """
    sections = [section for section in _sections(lines) if section.name == CLIENT]
    options = [option for section in sections for option in section.options]
    options = [option for option in options if option.name == OPTION]
    if len(sections) > 1:
        numbers = ", ".join(str(section.header + 1) for section in sections)
        raise CannotEdit(f"there is more than one [{CLIENT}] (lines {numbers})")
    if len(options) > 1:
        numbers = ", ".join(str(option.lines[0] + 1) for option in options)
        raise CannotEdit(f"[{CLIENT}] has more than one {OPTION} (lines {numbers})")
    return (sections[0] if sections else None), (options[0] if options else None)


def _sections(lines: list[str]) -> Iterator[_Section]:
    """As ``configparser.RawConfigParser._read`` tells lines from each other."""
    section: _Section | None = None
    option: _Option | None = None
    depth = 0  # of the line that the next must be right of to go on with it
    for number, line in enumerate(lines):
        content = line.strip()
        if not content or content[0] in "#;":
            continue
        indent = len(line) - len(line.lstrip())
        if option is not None and indent > depth:
            option.lines.append(number)
            continue
        depth, option = indent, None
        header = configparser.ConfigParser.SECTCRE.match(content)
        if header is not None:
            if section is not None:
                yield section
            section = _Section(header.group("header"), number)
            continue
        named = configparser.ConfigParser.OPTCRE.match(content)
        if named is not None and section is not None:
            name = named.group("option").rstrip().lower()
            option = _Option(name, indent + named.start("value"), [number])
            section.options.append(option)
    if section is not None:
        yield section


def _commented_out(lines: list[str], client: _Section) -> Iterator[int]:
    """Lines in ``[client]`` that show where its author had the option."""
    for number in range(client.header + 1, len(lines)):
        if lines[number].lstrip().startswith("["):
            return
        if _COMMENTED_OUT.match(lines[number]):
            yield number


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


# -- changing lines -------------------------------------------------------------


def _verified(before: str, after: str, intended: list[str]) -> str:
    """*after*, if it means what it should.

    :raise CannotEdit: it does not.
    """
    old, new = parsed(before), parsed(after)
    if _names(new) != intended or _all_else(old) != _all_else(new):
        raise CannotEdit(f"[{CLIENT}] {OPTION} could not be changed alone; please edit it by hand")
    return after


def _all_else(parser: configparser.ConfigParser) -> list[tuple[str, list[tuple[str, str]]]]:
    """All but our option, in order."""
    found = [("", list(parser.defaults().items()))]
    for name in parser.sections():
        options = parser.items(name, raw=True)
        if name == CLIENT:
            options = [item for item in options if item[0] != OPTION]
            if not options:
                continue  # an empty one and none are the same to Tahoe
        found.append((name, options))
    return found


def _ending(line: str) -> str:
    """What stands before the newline."""
    return "\r" if line.endswith("\r") else ""


def _put(lines: list[str], at: int, new: list[str]) -> str:
    """With *new* lines before line *at*."""
    ending = _ending(lines[0])
    if at < len(lines):
        return "\n".join([*lines[:at], *(line + ending for line in new), *lines[at:]])
    # Behind a last line without a newline: the new last line has none, too.
    return (ending + "\n").join(["\n".join(lines), *new])


def _inserted(lines: list[str], client: _Section, above: int) -> str:
    """With the option below line *above*, as far right as its neighbours."""
    firsts = [option.lines[0] for option in client.options]
    before = [first for first in firsts if first < above]
    neighbour = (before[-1:] or firsts[:1] or [client.header])[0]
    return _put(lines, above + 1, [_indent(lines[neighbour]) + LINE])


def _with_section(lines: list[str]) -> str:
    """With ``[client]`` at the end."""
    at = len(lines) - 1 if lines[-1] == "" else len(lines)
    is_apart = at == 0 or not lines[at - 1].strip()
    return _put(lines, at, [*([] if is_apart else [""]), f"[{CLIENT}]", LINE])


def _appended(lines: list[str], option: _Option) -> str:
    """With our name behind the others."""
    number = option.lines[-1]
    content = lines[number].rstrip()
    is_empty = len(option.lines) == 1 and len(content) <= option.value_column
    gap = " " if is_empty or content.endswith(",") else ", "
    changed = content + gap + PLUGIN_NAME + _ending(lines[number])
    return "\n".join([*lines[:number], changed, *lines[number + 1 :]])


def _without(lines: list[str], option: _Option) -> str:
    """Without the first of our names, and with the commas that the others need."""
    places: list[tuple[int, int]] = []  # line and column of each character of the value
    value = ""
    for number in option.lines:
        start = option.value_column if number == option.lines[0] else 0
        content = lines[number].rstrip()[start:] + "\n"
        places += [(number, start + column) for column in range(len(content))]
        value += content
    gone = {places[index] for index in _cut(value)}
    kept, emptied = list(lines), []
    for number in {number for number, _column in gone}:
        letters = [c for column, c in enumerate(lines[number]) if (number, column) not in gone]
        kept[number] = "".join(letters).rstrip() + _ending(lines[number])
        if not kept[number].strip():
            emptied.append(number)
    return _dropped(kept, emptied)


def _cut(value: str) -> set[int]:
    """Which characters have to go for the first of our names to go: it and one comma."""
    start = 0
    for item in value.split(","):
        if item.strip() == PLUGIN_NAME:
            break
        start += len(item) + 1
    name = start + item.index(PLUGIN_NAME)
    behind, before = start + len(item), start - 1
    cut = set(range(name, name + len(PLUGIN_NAME)))
    on_its_line = "\n" not in value[name:behind]
    if behind == len(value) or (before >= 0 and not on_its_line):
        return cut | {before}
    cut.add(behind)
    while on_its_line and value[behind + 1] in " \t":
        behind += 1
        cut.add(behind)
    return cut


def _dropped(lines: list[str], numbers: list[int]) -> str:
    """Without these lines."""
    kept = [line for number, line in enumerate(lines) if number not in numbers]
    is_last = len(lines) - 1 in numbers
    return "\n".join(kept).rstrip("\r") if is_last else "\n".join(kept)
