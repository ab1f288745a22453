"""Servers that lie on purpose: no wrong byte, no crash, no hang, no memory to speak of.

``test_faults_in_shares.py`` has every field and length of a share, ``test_faults.py`` every
answer's type; here are those who change their minds, answer with gigabytes, send what belongs
elsewhere, write offsets that wrap.  The rules are the same: with k honest shares the file comes,
with fewer it is the file or a named error; and a liar is dropped for this file after the first
proof, and named.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from allmydata.immutable import layout
from allmydata.interfaces import NoSharesError, NotEnoughSharesError
from allmydata.util import log
from twisted.internet.defer import Deferred, succeed

from .gridcase import some_bytes
from .liargrid import TOO_FEW, FaultCase
from .shareedit import HASH_BYTES, edit_share, fields_of, flip, forge_ueb, overwrite, share_of
from .spies import Ask, SpyRead, SpyServer

CHAIN_ENTRY = 2 + HASH_BYTES
BUDGET = 8 * 2**20

Change = Callable[[bytes], bytes]


class HostileCase(FaultCase):
    """Checks after each read that everything reserved was given back."""

    async def right(self, cap: bytes, data: bytes, what: object = "") -> None:
        """A new node delivers the file, and then the budget is free again."""
        await super().right(cap, data, what)
        await self.turns(lambda: self.hub.budget.used_bytes == 0)
        self.assertLessEqual(self.hub.budget.peak_bytes, BUDGET, what)

    async def named(self, cap: bytes, data: bytes, what: object = "") -> None:
        """A new node delivers the file or a named error, and then the budget is free again."""
        await self.right_or_named(cap, data, what)
        await self.turns(lambda: self.hub.budget.used_bytes == 0)
        self.assertLessEqual(self.hub.budget.peak_bytes, BUDGET, what)


class Liars(HostileCase):
    """Servers that serve 3-of-10, a share on each, and lie when it suits them."""

    servers = 10

    async def prepare(self, size: int = 300_000) -> tuple[bytes, bytes, list[SpyServer]]:
        """A file of segments of 3000 bytes, and spies."""
        data = some_bytes(size)
        return await self.put(data, 3, 10, 3000), data, self.spy()

    async def survive(self, lie: Callable[[SpyServer], Callable[[SpyRead, Ask], Any]]) -> None:
        """Seven liars of ten do no harm, twice; ten of them end in a named error."""
        cap, data, spies = await self.prepare()
        for spy in spies[:7]:
            spy.answer_read = lie(spy)
        await self.right(cap, data, "seven of ten")
        await self.right(cap, data, "again")
        for spy in spies:
            spy.answer_read = lie(spy)
        await self.named(cap, data, "all")
        for spy in spies:
            spy.answer_read = lambda _read, ask: ask()
        await self.right(cap, data, "honest again")

    async def test_honest_then_garbage(self) -> None:
        """Good for a few answers, then noise of the right length."""

        def lie(_spy: SpyServer) -> Callable[[SpyRead, Ask], Any]:
            good = iter(range(3))
            return lambda read, ask: ask() if next(good, None) is not None else noise(read)

        await self.survive(lie)

    async def test_every_other_answer(self) -> None:
        """Now good, now noise."""

        def lie(_spy: SpyServer) -> Callable[[SpyRead, Ask], Any]:
            turn = [0]

            def answer(read: SpyRead, ask: Ask) -> Any:
                turn[0] += 1
                return ask() if turn[0] % 2 else noise(read)

            return answer

        await self.survive(lie)

    async def test_another_answer_each_time(self) -> None:
        """Short, long, empty, of the wrong type, noise, an error, or the truth: as dice fall."""

        def lie(spy: SpyServer) -> Callable[[SpyRead, Ask], Any]:
            dice = random.Random(spy.get_serverid())

            def fail(read: SpyRead) -> Any:
                raise KeyError(read.shnum)

            lies: list[Callable[[SpyRead], Any]] = [
                noise,
                lambda read: succeed(bytes(read.length // 2)),
                lambda read: succeed(bytes(read.length + 1)),
                lambda _read: succeed(b""),
                lambda _read: succeed([]),
                fail,
            ]

            def answer(read: SpyRead, ask: Ask) -> Any:
                face = dice.randrange(len(lies) + 2)
                return lies[face](read) if face < len(lies) else ask()

            return answer

        await self.survive(lie)

    async def test_hundreds_of_megabytes(self) -> None:
        """An answer of far more than was asked is refused as it is, and not kept."""
        huge = bytes(200 * 2**20)
        await self.survive(lambda _spy: lambda _read, _ask: succeed(huge))

    async def test_another_place_of_the_share(self) -> None:
        """Each answer is true, but of bytes that lie elsewhere in the share."""
        cap, data, spies = await self.prepare()
        stored = {shnum: share_of(path) for shnum, _server, path in self.find_uri_shares(cap)}
        for spy in spies[:7]:
            spy.answer_read = lambda read, _ask: succeed(
                stored[read.shnum][read.start + 1000 : read.start + 1000 + read.length]
            )
        await self.right(cap, data)

    async def test_blocks_of_another_share(self) -> None:
        """Each answer is true, but of another share of the file."""
        cap, data, spies = await self.prepare()
        stored = {shnum: share_of(path) for shnum, _server, path in self.find_uri_shares(cap)}
        for spy in spies[:7]:
            spy.answer_read = lambda read, _ask: succeed(
                stored[(read.shnum + 1) % 10][read.start : read.start + read.length]
            )
        await self.right(cap, data)

    async def test_thousands_of_shares(self) -> None:
        """A server that claims a hundred thousand shares has those that the file can have."""
        cap, data, spies = await self.prepare(30_000)

        def claim(ask: Ask) -> Any:
            def more(found: dict[Any, Any]) -> dict[Any, Any]:
                (bucket,) = found.values()
                return {**dict.fromkeys(range(100_000), bucket), **found}

            return ask().addCallback(more)

        for spy in spies[:3]:
            spy.answer_buckets = claim
        logged: list[Any] = []
        self.patch(log, "msg", lambda *_a, **event: logged.append(event))
        await self.right(cap, data)
        claims = [event for event in logged if "claims" in event.get("format", "")]
        self.assertTrue(3 <= len(claims) < 30)  # a line for each server and search

    async def test_a_liar_is_dropped_and_named(self) -> None:
        """One proof is enough: its share is asked for no more blocks while others are there."""
        cap, data, spies = await self.prepare(3_000_000)
        (path,) = self.paths(cap, {0})
        start, stop = fields_of(share_of(path))["blocks"]
        edit_share(path, overwrite(start, bytes(stop - start)))
        (liar,) = (spy for spy in spies if any(r[1] == spy.get_serverid() and r[0] == 0
                                               for r in self.find_uri_shares(cap)))  # fmt: skip
        told: list[Any] = []
        real = log.msg

        def msg(*arguments: Any, **event: Any) -> Any:
            told.append(event)
            return real(*arguments, **event)

        self.patch(log, "msg", msg)
        node = self.node(cap)
        self.same(await self.outcome(node), (data, None))
        self.assertTrue(liar.advice)
        name = str(liar.get_name(), "ascii")
        self.assertTrue([e for e in told if e.get("server") == name and e.get("shnum") == 0])
        asked = len(liar.reads)
        self.same(await self.outcome(node, 1_000_000, 1_000_000), (data[1_000_000:2_000_000], None))
        self.assertEqual(len(liar.reads), asked)


def noise(read: SpyRead) -> Any:
    """Bytes of the length that was asked, never the same."""
    return succeed(random.Random(repr(read)).randbytes(read.length))


class WrappedOffsets(HostileCase):
    """Shares in the layout for large files, whose offsets have 64 bits to lie with."""

    servers = 4

    async def prepare(self) -> tuple[bytes, bytes, dict[str, tuple[int, int]]]:
        """A file of 34 segments, 3-of-4."""
        self.patch(layout, "FORCE_V2", True)
        data = some_bytes(100_000)
        cap = await self.put(data, 3, 4, 3000)
        share = share_of(self.paths(cap)[0])
        self.assertEqual(share[3], 2)
        return cap, data, fields_of(share)

    async def each(self, changes: dict[object, Change]) -> None:
        """One share changed: the file. All four: the file or a named error."""
        cap, data, _fields = await self.prepare()
        kept = self.copy_shares(cap)
        spies = self.spy()
        for what, change in changes.items():
            for bad in ({0}, {0, 1, 2, 3}):
                for path in self.paths(cap, bad):
                    edit_share(path, change)
                await (self.right if len(bad) == 1 else self.named)(cap, data, (what, bad))
                self.restore_all_shares(kept)
        self.assertLess(max(read.length for spy in spies for read in spy.reads), 2**20)
        self.assertLess(max(read.start for spy in spies for read in spy.reads), 2**63)

    async def test_each_offset(self) -> None:
        """At the header, at nothing, past the end, at the edges of 32 and 64 bits."""
        _cap, _data, fields = await self.prepare()
        values = (0, 1, 0x43, 0x45, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1)
        await self.each(
            {
                (name, value): overwrite(start, value.to_bytes(8, "big"))
                for name, (start, _stop) in fields.items()
                if name.startswith("offset of")
                for value in values
            }
        )

    async def test_all_offsets(self) -> None:
        """All the same, in the wrong order, and so that sums of them wrap."""
        _cap, _data, fields = await self.prepare()
        start = fields["offset of data"][0]
        true = [fields[name][0] for name in fields if name.startswith("offset of")]
        await self.each(
            {
                "the same": overwrite(start, struct.pack(">6Q", *[0x44] * 6)),
                "backwards": overwrite(start, struct.pack(">6Q", *true[::-1])),
                "wrap": overwrite(start, struct.pack(">6Q", 0x44, *[2**64 - 100] * 5)),
                "wrap past": overwrite(start, struct.pack(">6Q", 0x44, *[2**63 - 8] * 5)),
            }
        )

    async def test_ueb_lengths(self) -> None:
        """A UEB of exabytes, or of none."""
        _cap, _data, fields = await self.prepare()
        start = fields["UEB length"][0]
        lengths = (0, 1, 2**16 + 1, 2**32, 2**63, 2**64 - 1)
        await self.each({n: overwrite(start, n.to_bytes(8, "big")) for n in lengths})


class HashChains(HostileCase):
    """Chains that lead nowhere; with a wrong block, so that they are looked at."""

    servers = 4

    async def test_each_chain(self) -> None:
        """Numbers out of range, twice, of others; no entries, too many, half of one."""
        data = some_bytes(100_000)
        cap = await self.put(data, 2, 4, 3000)
        share = share_of(self.paths(cap, {0})[0])
        fields = fields_of(share)
        start, stop = fields["share hashes"]
        entries = (stop - start) // CHAIN_ENTRY
        at = fields["offset of share hashes"][0]
        chains: dict[object, Change] = {
            "out of range": overwrite(start, b"\xff\xff"),
            "just out of range": overwrite(start, b"\0\x07"),
            "the root": overwrite(start, b"\0\0"),
            "twice the same": overwrite(start, share[start : start + CHAIN_ENTRY] * entries),
            "in another order": overwrite(start, share[start + CHAIN_ENTRY : stop]),
            "no entries": overwrite(at, struct.pack(">L", stop)),
            "half an entry": overwrite(at, struct.pack(">L", start + CHAIN_ENTRY // 2)),
            "thousands of entries": overwrite(at, struct.pack(">L", 0x24)),
            "a wrong hash": flip(start + 5),
            "block hashes": overwrite(fields["block hashes"][0], b"\xff" * 64),
            "block hashes elsewhere": overwrite(at - 4, struct.pack(">L", 0x24)),
        }
        kept = self.copy_shares(cap)
        for what, change in chains.items():
            for bad in ({0}, {0, 1}, {0, 1, 2}):
                for path in self.paths(cap, bad):
                    edit_share(path, flip(fields["blocks"][0] + 20_000))
                    edit_share(path, change)
                await (self.right if len(bad) < 3 else self.named)(cap, data, (what, bad))
                self.restore_all_shares(kept)

    async def test_evidence_withheld(self) -> None:
        """Wrong blocks, and no hashes to prove them by: others give them, or it is an error."""

        def fail(_read: SpyRead) -> Any:
            raise KeyError("no")

        ways: list[Callable[[SpyRead], Any]] = [
            fail,
            lambda _read: succeed(b""),
            lambda _read: Deferred(),
        ]
        data = some_bytes(100_000)
        cap = await self.put(data, 2, 4, 3000)
        spies = self.spy()
        start, stop = fields_of(share_of(self.paths(cap)[0]))["blocks"]
        for path in self.paths(cap, {0, 1}):
            edit_share(path, overwrite(start + 20_000, b"wrong" * 10))
        for way in ways:
            for allowed in (1, 2, 3, 4):
                answered = iter(range(allowed))

                def answer(
                    read: SpyRead, ask: Ask, way: Any = way, answered: Any = answered
                ) -> Any:
                    is_evidence = read.start >= stop and next(answered, None) is None
                    return way(read) if is_evidence else ask()

                before = sum(len(spy.reads) for spy in spies)
                for spy in spies:
                    spy.answer_read = answer
                await self.named(cap, data, (way, allowed))
                self.assertLess(sum(len(spy.reads) for spy in spies) - before, 200)

    async def test_true_blocks_with_chains_that_lie(self) -> None:
        """A share whose blocks are good is used although it cannot prove them."""
        data = some_bytes(100_000)
        cap = await self.put(data, 2, 4, 3000)
        for path in self.paths(cap):
            start, stop = fields_of(share_of(path))["share hashes"]
            edit_share(path, overwrite(start, bytes(stop - start)))
        await self.right(cap, data)


class Uploaders(HostileCase):
    """A UEB that the cap vouches for, and that makes no sense."""

    servers = 4

    async def test_absurd_uebs(self) -> None:
        """Each ends in a named error, or in the file if the field is one nobody needs."""
        data = some_bytes(30_000)
        size = b"segment_size:4:3000,"
        absurd: dict[bytes, tuple[bytes, bytes, bool]] = {
            b"not a multiple of k": (size, b"segment_size:4:3001,", False),
            b"zero": (size, b"segment_size:1:0,", False),
            b"negative": (size, b"segment_size:5:-3000,", False),
            b"a few bytes": (size, b"segment_size:1:3,", False),
            b"gigantic": (size, b"segment_size:18:999999999999999999,", False),
            b"of 100 digits": (size, b"segment_size:100:" + b"9" * 100 + b",", False),
            b"another multiple": (size, b"segment_size:4:6000,", False),
            b"twice": (size, size + b"segment_size:4:6000,", False),
            b"another file's size": (b",size:5:30000,", b",size:5:30001,", False),
            b"no size": (b",size:5:30000,", b",sise:5:30000,", True),
            b"k": (b"needed_shares:1:3,", b"needed_shares:1:4,", True),
            b"n": (b"total_shares:1:4,", b"total_shares:1:3,", True),
            b"segments": (b"num_segments:2:10,", b"num_segments:2:99,", True),
            b"codec": (b"codec_params:8:3000-3-4,", b"codec_params:8:9999-9-9,", True),
        }
        for what, (old, new, is_harmless) in absurd.items():
            cap = await self.put(data, 3, 4, 3000)
            seen: list[bool] = []

            def forge(ueb: bytes, old: bytes = old, new: bytes = new) -> bytes:
                seen.append(old in ueb)  # noqa: B023 - called before the next round
                return ueb.replace(old, new, 1)

            forged = forge_ueb(cap, self.paths(cap), forge)
            self.assertTrue(all(seen), what)
            text, error = await self.outcome(self.node(forged))
            if is_harmless:
                self.same((text, error), (data, None), what)
            else:
                self.assertIn(error, (*TOO_FEW, NoSharesError, NotEnoughSharesError), what)
                self.assertEqual(text, b"", what)
            await self.turns(lambda: self.hub.budget.used_bytes == 0)
            for path in self.paths(cap):
                Path(path).unlink()
