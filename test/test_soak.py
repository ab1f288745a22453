"""The soak: how reads and rests are judged; and a short soak on real nodes.

``TAHOE_FASTDL_SOAK_MINUTES`` says how long that one reads, 2 if it is not set.
"""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from misc import sections
from misc.soak import command, report
from misc.soak.readers import (
    CANCEL,
    EXCUSED,
    FAILED,
    KINDS,
    LEFT,
    PAUSE,
    RIGHT,
    WHOLE,
    WRONG,
    File,
    Plan,
    Readers,
    end_of,
    plan_of,
)
from misc.soak.stage import Order, soak
from misc.soak.trouble import HUNG, KILLED, Spell, Spells
from misc.soak.verdict import AT_REST, NEVER, SLACK_BYTES, Part, Rest, Soak
from misc.web_read import PROBLEM

MINUTES = float(os.environ.get("TAHOE_FASTDL_SOAK_MINUTES", "2"))
MB = 1_000_000

CONTENT = bytes(range(256)) * 10
NOBODY: Any = SimpleNamespace(name="nobody")  # in place of a client that is not asked


def plan(kind: str = WHOLE, start: int = 0, stop: int = 1000, leave_after: int = 1000) -> Plan:
    """A read of a file of 2560 bytes."""
    return Plan(
        File("file 0", "URI:CHK:secret", CONTENT), NOBODY, kind, start, stop, leave_after, ()
    )


def rest(rss_bytes: int = 50 * MB, **counters: int) -> Rest:
    """A client at rest, with nothing left but what is named."""
    return Rest(rss_bytes, {**dict.fromkeys((*AT_REST, NEVER), 0), **counters}, unhandled=0)


def soak_of(*rests: Rest, **changes: Any) -> Soak:
    """A good soak of one client, with these rests."""
    parts = [Part(60.0, 100, MB, {"fast-http": each}) for each in rests]
    whole = Soak("1", 20, 8, 3, parts, {WHOLE: 400}, {RIGHT: 400}, {KILLED: 7})
    return dataclasses.replace(whole, **changes)


class Reads(SynchronousTestCase):
    """How a read ended."""

    def test_right(self) -> None:
        """All bytes of the range, and no other."""
        self.assertEqual(end_of(plan(), CONTENT[:1000], ""), (RIGHT, ""))
        self.assertEqual(end_of(plan(start=5, stop=9), CONTENT[5:9], ""), (RIGHT, ""))

    def test_left(self) -> None:
        """Who leaves has right bytes until then."""
        left = plan(CANCEL, leave_after=100)
        self.assertEqual(end_of(left, CONTENT[:120], ""), (LEFT, ""))
        self.assertEqual(end_of(left, CONTENT[:120] + b"\0", "")[0], WRONG)

    def test_failed(self) -> None:
        """A refusal, and an end too soon that nobody wished, are failures, not wrong bytes."""
        for what, data, refusal in (
            (plan(), b"", "410: no shares"),
            (plan(), CONTENT[:999], ""),
            (plan(), CONTENT[:500] + PROBLEM, ""),
            (plan(CANCEL, leave_after=600), CONTENT[:500], ""),
            (plan(CANCEL, leave_after=500), CONTENT[:500] + PROBLEM, ""),
        ):
            self.assertEqual(end_of(what, data, refusal)[0], FAILED)

    def test_wrong(self) -> None:
        """One byte that is not the file's, wherever it is, or one too many."""
        for data in (b"x" + CONTENT[1:1000], CONTENT[:999] + b"x", CONTENT[:1001]):
            self.assertEqual(end_of(plan(), data, "")[0], WRONG)

    def test_excuses(self) -> None:
        """A failure is excused by too much trouble in its time; wrong bytes never are."""
        spells = Spells(4, [Spell(0, KILLED, 0.0, 1.0), Spell(1, HUNG, 0.0, 1.0)])
        for needed, end, expected in (
            (2, FAILED, FAILED),
            (3, FAILED, EXCUSED),
            (3, WRONG, WRONG),
            (3, RIGHT, RIGHT),
        ):
            readers = Readers(0, [], [], spells, needed, "seed")
            readers.enter(plan(), 10, end, "why", began=0.5)
            self.assertEqual(dict(readers.tally.ends), {expected: 1})
            self.assertEqual(len(readers.tally.problems), expected in (FAILED, WRONG))
            self.assertNotIn("secret", "".join(readers.tally.problems))

    def test_plans(self) -> None:
        """Every kind is drawn, within the file; who leaves does so before the end."""
        files = [File("small", "cap", b"x" * 7), File("large", "cap", b"x" * 5_000_000)]
        chance = random.Random(1)
        plans = [plan_of(chance, files, NOBODY) for _ in range(500)]
        self.assertEqual({each.kind for each in plans}, set(KINDS))
        for each in plans:
            self.assertLessEqual(0, each.start)
            self.assertLess(each.start, each.stop)
            self.assertLessEqual(each.stop, len(each.file.content))
            self.assertEqual(each.leave_after < each.stop - each.start, each.kind == CANCEL)
            self.assertEqual(bool(each.pauses), each.kind == PAUSE)


class Troubles(SynchronousTestCase):
    """Who was well."""

    def test_spared(self) -> None:
        """Servers count that no trouble touched from the first moment to the last."""
        spells = Spells(4, [Spell(0, KILLED, 10.0, 12.0, ended=15.0), Spell(1, HUNG, 20.0, 22.0)])
        for began, ended, expected in (
            (0.0, 9.0, 4),
            (0.0, 10.0, 3),
            (14.0, 16.0, 3),
            (16.0, 19.0, 4),
            (14.0, 20.0, 2),
            (30.0, 31.0, 3),
        ):
            self.assertEqual(spells.spared(began, ended), expected, (began, ended))
        self.assertEqual([spell.server for spell in spells.now()], [1])


class Verdicts(SynchronousTestCase):
    """What a soak may not show."""

    def test_good(self) -> None:
        """Flat memory and nothing left at rest is all that is asked."""
        self.assertEqual(
            soak_of(rest(), rest(60 * MB), rest(55 * MB), rest(62 * MB)).problems(), []
        )

    def test_growth(self) -> None:
        """More at rest in the second half than in the first, by more than the slack."""
        for growth, count in ((SLACK_BYTES, 0), (SLACK_BYTES + 1, 1)):
            found = soak_of(rest(), rest(), rest(), rest(50 * MB + growth)).problems()
            self.assertEqual(len(found), count, found)

    def test_left_over(self) -> None:
        """Any gauge that is not 0 at rest, a fallback, an unhandled error, a read's problem."""
        for name in (*AT_REST, NEVER):
            (found,) = soak_of(rest(), rest(**{name: 2})).problems()
            self.assertIn(name, found)
            self.assertIn("part 2", found)
        (found,) = soak_of(dataclasses.replace(rest(), unhandled=1)).problems()
        self.assertIn("unhandled", found)
        self.assertEqual(soak_of(rest(), read_problems=["x"]).problems(), ["x"])

    def test_nothing_read(self) -> None:
        """A soak that read nothing shows nothing."""
        self.assertNotEqual(soak_of().problems(), [])


class Page(SynchronousTestCase):
    """What is kept and written."""

    def test_kept(self) -> None:
        """What was written is read again; a soak that did not end is none."""
        path = Path(self.mktemp())
        self.assertIsNone(report.read(path))
        whole = soak_of(rest(), rest(60 * MB))
        kept = report.Kept(path)
        for number, part in enumerate(whole.parts, 1):
            kept.add_part(number, part)
        self.assertIsNone(report.read(path))
        kept.add_whole(whole)
        found = report.read(path)
        assert found is not None
        self.assertEqual(found[0], whole)
        self.assertIn("machine", found[1])

    def test_section(self) -> None:
        """It says what went wrong, or that nothing did; and the page has a place for it."""
        self.assertIn("Nothing went wrong", report.section(soak_of(rest(), rest()), {}))
        bad = report.section(soak_of(rest(fallbacks=3)), {})
        self.assertIn("**1 things went wrong:** part 1: fast-http counted 3 fallbacks", bad)
        page = command.PAGE.read_text(encoding="utf-8")
        self.assertIn("text", sections.replaced(page, command.SECTION, "text"))


class RealNodes(SynchronousTestCase):
    """A short soak."""

    timeout = 60 * (MINUTES + 10)

    def test_soak(self) -> None:
        """Readers and troubles for some minutes: every byte right, nothing left at rest."""
        directory = Path(tempfile.mkdtemp(prefix="fastdl-soak-"))
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        order = Order(seconds=60 * MINUTES, readers=20, parts=4, seed="test")
        parts: list[int] = []
        found = soak(order, directory, print, lambda number, _part: parts.append(number))
        self.assertEqual(parts, [1, 2, 3, 4])
        self.assertEqual(found.problems(), [])
        for kind in KINDS:
            self.assertGreater(found.reads[kind], 0, kind)
        self.assertGreater(found.ends[RIGHT], 0)
        self.assertGreater(sum(found.troubles.values()), 0)
