"""What ``tahoe-fastdl enable`` and ``disable`` make of the text of a tahoe.cfg."""

from __future__ import annotations

from allmydata.util.configutil import get_config_from_string
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tahoe_fastdl.command.cfg_text import (
    LINE,
    difference,
    disabled,
    enabled,
    names_in,
    plugin_names,
)
from tahoe_fastdl.errors import CannotEdit
from tahoe_fastdl.settings import PLUGIN_NAME

from .strategies import examples

Meaning = list[tuple[str, list[tuple[str, str]]]]


def meaning(text: str) -> tuple[list[str], Meaning]:
    """What Tahoe makes of it: the plugins, and all else in order, but an empty [client]."""
    parser = get_config_from_string(text)
    names = names_in(parser.get("client", "storage.plugins", fallback=""))
    rest: Meaning = []
    for section in parser.sections():
        options = [
            (name, value)
            for name, value in parser.items(section, raw=True)
            if (section, name) != ("client", "storage.plugins")
        ]
        if section != "client" or options:
            rest.append((section, options))
    return names, rest


# Everything a line of such a file can be, and some that none should be.
LINES = st.sampled_from(
    [
        "[client]",
        "[client]",
        " [client]",
        "[Client]",
        "[node]",
        "[storageclient.plugins.tahoe-fastdl]",
        "[DEFAULT]",
        "[broken",
        "storage.plugins = other",
        "storage.plugins=",
        "Storage.Plugins : tahoe-fastdl",
        "  storage.plugins = tahoe-fastdl, other, ",
        "storage.plugins = other,tahoe-fastdl ,tahoe-fastdl",
        "storage.plugins = %(x)s",
        "#storage.plugins = tahoe-fastdl",
        "   ; storage.plugins = other",
        "    tahoe-fastdl",
        "    tahoe-fastdl,",
        "    , other",
        "\ttahoe-fastdl, other",
        "helper.furl = pb://SECRET",
        "    introducer.furl: pb://SECRET",
        "    SECRET",
        "nickname = ü # no comment",
        "web.static == [public]",
        "= SECRET",
        "SECRET",
        "# comment SECRET",
        "  ; comment, tahoe-fastdl",
        "",
        "   ",
        "\x0c",
        "a\rb = c",
    ]
)


@st.composite
def any_text(draw: st.DrawFn) -> str:
    """Lines in any order, most of them no tahoe.cfg."""
    ending = draw(st.sampled_from(["\n", "\r\n"]))
    head = draw(st.sampled_from([[], ["[client]"], ["[node]", "nickname = a"]]))
    text = ending.join([*head, *draw(st.lists(LINES, max_size=12))])
    return text + draw(st.sampled_from(["", ending]))


NAMES = st.sampled_from(["other", "tahoe-lafs-dummy-v1", PLUGIN_NAME])
FILLER = st.lists(st.sampled_from(["", "# comment SECRET", "  # tahoe-fastdl"]), max_size=2)


@st.composite
def plugin_option(draw: st.DrawFn) -> list[str]:
    """``storage.plugins``, written in any of the ways that Tahoe reads."""
    name = draw(st.sampled_from(["storage.plugins", "STORAGE.plugins"]))
    delimiter = draw(st.sampled_from([" = ", "=", ":", "\t: ", " ="]))
    lines = [name + delimiter]
    for number, plugin in enumerate(draw(st.lists(NAMES, max_size=4))):
        if number:
            lines[-1] += draw(st.sampled_from([",", ", ", " , "]))
        if draw(st.booleans()):
            lines += [*draw(FILLER), draw(st.sampled_from(["  ", "\t"]))]
        lines[-1] += plugin
    lines[-1] += draw(st.sampled_from(["", ",", "  ", ", ,"]))
    return lines


@st.composite
def good_text(draw: st.DrawFn) -> str:
    """A tahoe.cfg that Tahoe takes: at most one [client] with at most one such option."""
    sections = []
    for header in draw(st.permutations(["[client]", "[node]", "[storage]"]))[
        : draw(st.integers(0, 3))
    ]:
        options = [["helper.furl = pb://SECRET"], ["shares.needed = 3", "  # SECRET", "  # more"]]
        if header == "[client]" and draw(st.booleans()):
            options.append(draw(plugin_option()))
        if draw(st.booleans()):
            options.append(["#storage.plugins = SECRET"])
        indent = draw(st.sampled_from(["", "", "  "]))
        lines = [header]
        for option in draw(st.permutations(options))[: draw(st.integers(0, len(options)))]:
            lines += [*draw(FILLER), *(indent + line if line else line for line in option)]
        sections.append([*lines, *draw(FILLER)])
    ending = draw(st.sampled_from(["\n", "\r\n"]))
    text = ending.join(line for section in sections for line in section)
    return text + (draw(st.sampled_from(["", ending])) if text else "")


class Edited(SynchronousTestCase):
    """Laws of both edits."""

    def check(self, before: str, after: str, names: list[str]) -> None:
        """The edit did what it should and nothing else, and shows no secret."""
        found, rest = meaning(after)
        self.assertEqual(found, names)
        self.assertEqual(rest, meaning(before)[1])
        shown = difference(before, after, "tahoe.cfg")
        self.assertNotIn("helper.furl", shown)
        self.assertEqual(shown == "", before == after)
        if "\r\n" in before:
            self.assertNotRegex(after.replace("\r\n", ""), r"\n")

    @examples(300)
    @given(good_text())
    def test_good_text(self, text: str) -> None:
        """No tahoe.cfg that Tahoe takes is refused, and each edit can be done again."""
        names, _ = meaning(text)
        others = [name for name in names if name != PLUGIN_NAME]
        on, off = enabled(text), disabled(text)
        self.check(text, on, names if PLUGIN_NAME in names else [*names, PLUGIN_NAME])
        self.check(text, off, others)
        self.check(text, disabled(on), others)
        self.assertEqual(enabled(on), on)
        self.assertEqual(disabled(off), off)
        self.assertEqual(on == text, PLUGIN_NAME in names)
        self.assertEqual(off == text, PLUGIN_NAME not in names)

    @examples(300)
    @given(good_text())
    def test_every_line_stays(self, text: str) -> None:
        """Comments, blank lines and other options stay as they are and in their order."""
        rest = iter(enabled(text).splitlines())
        for line in text.splitlines():
            if not line.strip() or line.lstrip()[0] in "#;" or "SECRET" in line:
                self.assertIn(line, rest)

    @examples(300)
    @given(any_text())
    def test_any_text(self, text: str) -> None:
        """Whatever it is, it is edited as intended or refused without being shown."""
        for edit in (enabled, disabled):
            try:
                after = edit(text)
            except CannotEdit as error:
                self.assertNotIn("SECRET", str(error))
                continue
            names = meaning(text)[0]
            others = [name for name in names if name != PLUGIN_NAME]
            on = names if PLUGIN_NAME in names else [*names, PLUGIN_NAME]
            self.check(text, after, on if edit is enabled else others)

    @examples(300)
    @given(good_text())
    def test_there_and_back(self, text: str) -> None:
        """Where there was a [client] without the option, both edits undo each other."""
        parser = get_config_from_string(text)
        if parser.has_section("client") and not parser.has_option("client", "storage.plugins"):
            self.assertEqual(disabled(enabled(text)), text)


class Examples(SynchronousTestCase):
    """The text itself."""

    def edits(self, before: str, after: str) -> None:
        """Enabling makes *after* of *before*; a bar stands for a newline."""
        self.assertEqual(enabled(before.replace("|", "\n")), after.replace("|", "\n"))

    def drops(self, before: str, after: str) -> None:
        """Likewise, disabling."""
        self.assertEqual(disabled(before.replace("|", "\n")), after.replace("|", "\n"))

    def test_no_option(self) -> None:
        """It is put below the header, or below a line that was a comment."""
        self.edits("[client]|a = 1|", f"[client]|{LINE}|a = 1|")
        self.edits("[client]|  a = 1|", f"[client]|  {LINE}|  a = 1|")
        self.edits(
            "[client]|a = 1|#storage.plugins =|", f"[client]|a = 1|#storage.plugins =|{LINE}|"
        )
        self.edits(
            "[client]|a = 1|  # storage.plugins =|  2",
            f"[client]|{LINE}|a = 1|  # storage.plugins =|  2",
        )

    def test_no_section(self) -> None:
        """It is put at the end, after a blank line."""
        self.edits("", f"[client]|{LINE}|")
        self.edits("[node]|a = 1", f"[node]|a = 1||[client]|{LINE}")
        self.edits("[Client]|a = 1|", f"[Client]|a = 1||[client]|{LINE}|")
        self.edits("[node]|a = 1||", f"[node]|a = 1||[client]|{LINE}|")

    def test_option(self) -> None:
        """Our name goes behind the others, however they are written."""
        self.edits("[client]|storage.plugins =  |", f"[client]|{LINE}|")
        self.edits("[client]|storage.plugins:a|", "[client]|storage.plugins:a, tahoe-fastdl|")
        self.edits("[client]|storage.plugins =a,|", "[client]|storage.plugins =a, tahoe-fastdl|")
        self.edits(
            "[client]|storage.plugins =|  a,|  # why|  b||[node]|",
            "[client]|storage.plugins =|  a,|  # why|  b, tahoe-fastdl||[node]|",
        )

    def test_disabled(self) -> None:
        """Our name goes with one comma, and a line of its own with its newline."""
        head = "[client]|storage.plugins = "
        self.drops(f"{head}tahoe-fastdl|a = 1", "[client]|a = 1")
        self.drops(f"{head}a, tahoe-fastdl, b", f"{head}a, b")
        self.drops(f"{head}a,tahoe-fastdl", f"{head}a")
        self.drops(f"{head}a,|  tahoe-fastdl,|  b", f"{head}a,|  b")
        self.drops(f"{head}a,|  # why|  tahoe-fastdl|", f"{head}a|  # why|")
        self.drops(f"{head}a|  , tahoe-fastdl|  , b", f"{head}a|  , b")
        self.drops(f"{head}tahoe-fastdl, a, tahoe-fastdl", f"{head}a")

    def test_own_section_stays(self) -> None:
        """The options of our own section are kept for the next time."""
        section = "||[storageclient.plugins.tahoe-fastdl]|memory = 8 MiB|"
        self.drops(f"[client]|{LINE}{section}", f"[client]{section}")


class Refused(SynchronousTestCase):
    """What is left to its author."""

    def refuses(self, text: str, words: str) -> None:
        """Both edits do, in these words."""
        for edit in (enabled, disabled):
            if edit is disabled and PLUGIN_NAME not in text:
                continue
            error = self.assertRaises(CannotEdit, edit, text)
            self.assertIn(words, str(error))

    def test_twice(self) -> None:
        """The same thing twice: Tahoe takes the last, its author may not know."""
        option = "storage.plugins = other"
        for edit, text, words in (
            (enabled, f"[client]|{option}|{option}|", "more than one storage.plugins (lines 2, 3)"),
            (disabled, f"[client]|{option}|{LINE}|", "more than one storage.plugins (lines 2, 3)"),
            (enabled, "[client]|[node]|[client]|", "more than one [client] (lines 1, 3)"),
            (disabled, f"[client]|[client]|{LINE}|", "more than one [client] (lines 1, 2)"),
        ):
            error = self.assertRaises(CannotEdit, edit, text.replace("|", "\n"))
            self.assertIn(words, str(error))

    def test_not_a_configuration(self) -> None:
        """The line is named and not shown."""
        self.refuses("tahoe-fastdl\n[client]\n", "line 1 is before the first [section]")
        self.refuses("[client]\nx = tahoe-fastdl\nSECRET\n", "no option and no [section] in line 3")

    def test_interpolation(self) -> None:
        """A value that Tahoe cannot make out is named."""
        self.refuses(
            "[client]\nstorage.plugins = %tahoe-fastdl\n", "a % in [client] storage.plugins"
        )

    def test_named_by_default(self) -> None:
        """Our name in [DEFAULT] is nothing that can be taken out of [client]."""
        error = self.assertRaises(CannotEdit, disabled, f"[DEFAULT]\n{LINE}\n[client]\n")
        self.assertIn("edit it by hand", str(error))


class Difference(SynchronousTestCase):
    """What is shown of an edit."""

    def test_form(self) -> None:
        """The lines that changed, and none around them."""
        before = "[client]\r\nhelper.furl = SECRET"
        self.assertEqual(
            difference(before, enabled(before), "tahoe.cfg"),
            f"--- tahoe.cfg\n+++ tahoe.cfg\n@@ -1,0 +2,1 @@\n+{LINE}\n",
        )
        self.assertEqual(difference(before, before, "tahoe.cfg"), "")

    def test_names(self) -> None:
        """Names are read as Tahoe reads them: no comments at the end of a line."""
        text = "[client]\nstorage.plugins = a, ,b\n # c\n ,tahoe-fastdl # fast\n"
        self.assertEqual(plugin_names(text), ["a", "b", "tahoe-fastdl # fast"])
