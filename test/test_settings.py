"""Options of tahoe.cfg: every default, unit and bound, and how a bad one is named."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tahoe_fastdl.errors import BadOption
from tahoe_fastdl.settings import SECTION, Settings, parse_settings

MIB = 2**20


class Defaults(SynchronousTestCase):
    """What holds when nothing is said."""

    def test_nothing_given(self) -> None:
        """An empty section means 64 MiB, segments, 120 seconds."""
        settings = parse_settings({})
        self.assertEqual(settings, Settings(64 * MIB, "segments", patience=120.0, remember=300.0))

    def test_one_given(self) -> None:
        """An option that is given leaves the others at their defaults."""
        self.assertEqual(parse_settings({"verify": "blocks"}), Settings(verify="blocks"))

    def test_frozen(self) -> None:
        """Settings cannot be changed behind a hub's back."""
        with self.assertRaises(AttributeError):
            parse_settings({}).memory = 1  # type: ignore[misc]  # that is the point


class Accepted(SynchronousTestCase):
    """Values and units."""

    def memory(self, text: str) -> int:
        """The bytes that *text* means."""
        return parse_settings({"memory": text}).memory

    def patience(self, text: str) -> float:
        """The seconds that *text* means."""
        return parse_settings({"patience": text}).patience

    def test_memory_units(self) -> None:
        """Sizes take decimal and binary units, in any case, with or without a blank."""
        for text, expected in (
            ("8388608", 8 * MIB),
            ("8388608B", 8 * MIB),
            ("8192 KiB", 8 * MIB),
            ("8192K", 8 * MIB),
            ("8 MiB", 8 * MIB),
            ("8mib", 8 * MIB),
            ("8M", 8 * MIB),
            ("  8  MiB  ", 8 * MIB),
            ("8000 kB", 8_000_000),
            ("8 MB", 8_000_000),
            ("1 GB", 10**9),
            ("1 GiB", 2**30),
            ("1g", 2**30),
        ):
            self.assertEqual(self.memory(text), expected, text)

    def test_memory_bounds(self) -> None:
        """4 MiB and 64 GiB are accepted, a byte less or more is not."""
        self.assertEqual(self.memory("4 MiB"), 4 * MIB)
        self.assertEqual(self.memory("64 GiB"), 64 * 2**30)
        for value in (4 * MIB - 1, 64 * 2**30 + 1):
            with self.assertRaises(BadOption):
                self.memory(str(value))

    def test_patience_units(self) -> None:
        """Times take ms, s and min, and fractions."""
        for text, expected in (
            ("30", 30.0),
            ("30s", 30.0),
            ("30 S", 30.0),
            ("2500 ms", 2.5),
            ("1.5 min", 90.0),
            ("2.25 s", 2.25),
        ):
            self.assertAlmostEqual(self.patience(text), expected, msg=text)

    def test_patience_bounds(self) -> None:
        """1 s and 3600 s are accepted, less and more are not."""
        self.assertEqual(self.patience("1 s"), 1.0)
        self.assertEqual(self.patience("60 min"), 3600.0)
        for text in ("0.999 s", "999 ms", "0", "3600.1 s", "61 min"):
            with self.assertRaises(BadOption):
                self.patience(text)

    def test_remember(self) -> None:
        """From nothing to an hour."""
        for text, expected in (("0", 0.0), ("0 s", 0.0), ("90", 90.0), ("60 min", 3600.0)):
            self.assertEqual(parse_settings({"remember": text}).remember, expected, text)

    def test_verify_values(self) -> None:
        """``segments`` and ``blocks``, in any case."""
        for text in ("segments", "blocks", " Blocks ", "SEGMENTS"):
            self.assertEqual(parse_settings({"verify": text}).verify, text.strip().lower())

    @given(st.integers(4 * MIB, 64 * 2**30))
    def test_any_number_of_bytes(self, value: int) -> None:
        """A plain number within bounds is that many bytes."""
        self.assertEqual(self.memory(str(value)), value)


class Refused(SynchronousTestCase):
    """A refusal names section, option, value and what is accepted."""

    def refusal(self, option: str, value: str) -> str:
        """The text of the error."""
        error = self.assertRaises(BadOption, parse_settings, {option: value})
        text = str(error)
        self.assertEqual(len(text.splitlines()), 1 + value.count("\n"))
        self.assertTrue(text.startswith(f"[{SECTION}] {option} = {value}: accepted is "), text)
        return text

    def test_bad_values(self) -> None:
        """Whatever is no size, time or choice."""
        values = {
            "memory": ("", "lots", "-8 MiB", "8 MiB MiB", "8.5 MiB", "0x800000", "8 TiB", "1e9"),
            "verify": ("", "yes", "true", "segment", "segments, blocks"),
            "patience": ("", "long", "-5 s", "5 h", "nan", "inf", "1e3", "5 s 5 ms", "1,5 s"),
            "remember": ("", "for ever", "-1 s", "2 h", "61 min", "nan", "3600.1"),
        }
        accepted = {
            "memory": "a size from 4 MiB to 64 GiB, such as 64 MiB",
            "verify": "segments or blocks",
            "patience": "a time from 1 s to 3600 s, such as 120 s",
            "remember": "a time from 0 s to 3600 s, such as 5 min",
        }
        for option, texts in values.items():
            for text in texts:
                self.assertTrue(self.refusal(option, text).endswith(accepted[option]))

    def test_unknown_option(self) -> None:
        """A misspelt option is named, and so are those there are."""
        for option in ("memroy", "Memory", "max_memory", ""):
            text = self.refusal(option, "64 MiB")
            self.assertTrue(
                text.endswith("one of the options memory, patience, remember, verify"), text
            )

    def test_section_is_the_one_tahoe_reads(self) -> None:
        """The section in the message is where Tahoe looks for a plugin's options."""
        self.assertEqual(SECTION, "storageclient.plugins.tahoe-fastdl")

    @given(st.sampled_from(["memory", "verify", "patience", "remember"]), st.text(max_size=30))
    def test_any_text(self, option: str, text: str) -> None:
        """Any text is accepted within bounds or refused as a bad option, nothing else."""
        try:
            settings = parse_settings({option: text})
        except BadOption as error:
            self.assertIn(f"{option} = {text}", str(error))
            return
        self.assertTrue(4 * MIB <= settings.memory <= 64 * 2**30)
        self.assertTrue(1.0 <= settings.patience <= 3600.0)
        self.assertTrue(0.0 <= settings.remember <= 3600.0)
        self.assertIn(settings.verify, ("segments", "blocks"))
