"""Every byte and every field of a share that may be wrong, by the rules of ``liargrid``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from allmydata.interfaces import NotEnoughSharesError

from .gridcase import STOCK, some_bytes
from .liargrid import TOO_FEW, FaultCase
from .shareedit import cut, edit_share, fields_of, flip, overwrite, share_of


class EveryByte(FaultCase):
    """A small share on one server, each of its bytes flipped in turn."""

    servers = 4

    async def test_each_byte(self) -> None:
        """Whichever byte of one share is wrong, ours and stock deliver the file."""
        data = some_bytes(56)
        cap = await self.put(data, 3, 4, 30)
        (path,) = self.paths(cap, {0})
        good = share_of(path)
        for position in range(len(good)):
            edit_share(path, flip(position))
            await self.right(cap, data, position)
            edit_share(path, lambda _share: good)
        self.assertGreater(self.advisories(), 0)
        self.no_fallbacks()
        for position in range(0, len(good), 5):
            edit_share(path, flip(position))
            self.same(await self.outcome(self.node(cap, STOCK)), (data, None), position)
            edit_share(path, lambda _share: good)
        self.flushLoggedErrors()

    async def test_each_length(self) -> None:
        """However short one share is cut, the file is delivered."""
        data = some_bytes(56)
        cap = await self.put(data, 3, 4, 30)
        (path,) = self.paths(cap, {1})
        good = share_of(path)
        for length in range(0, len(good), 3):
            edit_share(path, cut(length))
            await self.right(cap, data, length)
            edit_share(path, lambda _share: good)
        edit_share(path, lambda share: share + b"junk" * 1000)
        await self.right(cap, data, "junk at the end")


class LargeShares(FaultCase):
    """Shares too large to be read whole: each field is fetched for itself, if at all."""

    servers = 4

    async def prepare(self) -> tuple[bytes, bytes, dict[str, tuple[int, int]]]:
        """A file of 34 segments, 3-of-4."""
        data = some_bytes(100_000)
        cap = await self.put(data, 3, 4, 3000)
        share = share_of(self.paths(cap)[0])
        self.assertGreater(len(share), 2 * 16 * 1024)
        return cap, data, fields_of(share)

    async def each_change(
        self, changes: dict[object, Callable[[bytes], bytes]], stock: bool = True
    ) -> None:
        """One share changed: the file comes.  Two of four: the file, or stock's error.

        :param stock: compare errors with stock's, which some faults make wait for ever.
        """
        cap, data, _fields = await self.prepare()
        shares = self.copy_shares(cap)
        for what, change in changes.items():
            for bad in ({0}, {3}, {1, 2}, {0, 3}):
                for path in self.paths(cap, bad):
                    edit_share(path, change)
                if len(bad) == 1:
                    await self.right(cap, data, (what, bad))
                else:
                    found = await self.right_or_named(cap, data, (what, bad))
                    self.assertEqual(self.flushLoggedErrors(), [], what)
                    if found[1] is not None and stock:
                        expected = await self.outcome(self.node(cap, STOCK))
                        self.flushLoggedErrors()
                        self.same(found, expected, (what, bad))
                self.restore_all_shares(shares)
        self.assertLessEqual(self.hub.budget.peak_bytes, 8 * 2**20)

    async def test_flipped_bytes(self) -> None:
        """A bit flipped at the start, middle or end of any field."""
        _cap, _data, fields = await self.prepare()
        changes: dict[object, Callable[[bytes], bytes]] = {}
        for name, (start, stop) in fields.items():
            for position in {start, (start + stop) // 2, stop - 1}:
                changes[name, position - start] = flip(position)
        await self.each_change(changes)

    async def test_fields_of_junk(self) -> None:
        """Any field overwritten from end to end."""
        _cap, _data, fields = await self.prepare()
        changes: dict[object, Callable[[bytes], bytes]] = {
            (name, fill): overwrite(start, fill * (stop - start))
            for name, (start, stop) in fields.items()
            for fill in (b"\0", b"\xff")
        }
        await self.each_change(changes, stock=False)

    async def test_offsets(self) -> None:
        """Offsets that point into the header, at each other, past the end or out of reach."""
        _cap, _data, fields = await self.prepare()
        changes: dict[object, Callable[[bytes], bytes]] = {}
        for name, (start, _stop) in fields.items():
            if name.startswith("offset of"):
                for value in (0, 1, 0x24, 0x25, 50_000, 2**31, 2**32 - 1):
                    changes[name, value] = overwrite(start, value.to_bytes(4, "big"))
        await self.each_change(changes, stock=False)

    async def test_ueb_lengths(self) -> None:
        """A UEB that claims to be empty, a byte too long or short, or of gigabytes."""
        _cap, _data, fields = await self.prepare()
        start, stop = fields["UEB length"]
        true = fields["UEB"][1] - fields["UEB"][0]
        changes: dict[object, Callable[[bytes], bytes]] = {
            length: overwrite(start, length.to_bytes(stop - start, "big"))
            for length in (0, 1, true - 1, true + 1, 2**16, 2**31, 2**32 - 1)
        }
        await self.each_change(changes, stock=False)

    async def test_truncated(self) -> None:
        """A share that ends at the start or in the middle of any field, or is empty."""
        _cap, _data, fields = await self.prepare()
        changes: dict[object, Callable[[bytes], bytes]] = {}
        for name, (start, stop) in fields.items():
            changes[name, "start"] = cut(start)
            changes[name, "middle"] = cut((start + stop) // 2)
            changes[name, "end"] = cut(stop - 1)
        await self.each_change(changes, stock=False)

    async def test_every_share_has_it(self) -> None:
        """A fault in all shares ends in the file or in a named error, and soon."""
        cap, data, fields = await self.prepare()
        shares = self.copy_shares(cap)
        length = fields["UEB length"][0]
        useless: dict[object, Callable[[bytes], bytes]] = {
            "empty": cut(0),
            "half a header": cut(0x12),
            "header only": cut(0x24),
            "version": overwrite(0, b"\0\0\0\x07"),
            "UEB empty": overwrite(length, b"\0\0\0\0"),
            "UEB of 2 GiB": overwrite(length, b"\x80\0\0\0"),
            "UEB": flip(fields["UEB"][0]),
            "ciphertext hashes": overwrite(fields["ciphertext hashes"][0], b"\0" * 4064),
            "first block": flip(fields["blocks"][0]),
        }
        for what, change in useless.items():
            for path in self.paths(cap):
                edit_share(path, change)
            text, error = await self.outcome(self.node(cap))
            self.assertEqual(text, b"", what)
            self.assertIn(error, TOO_FEW, what)
            self.restore_all_shares(shares)
        harmless = ("sizes", "offset of plaintext hashes", "plaintext hashes")
        for name in harmless:
            for path in self.paths(cap):
                edit_share(path, flip(fields[name][0]))
            await self.right(cap, data, name)
            self.restore_all_shares(shares)

    async def test_corruption_is_reported_and_survived(self) -> None:
        """N-k shares with bad blocks: the file comes and their servers are told, as with stock."""
        data = some_bytes(100_000)
        cap = await self.put(data, 2, 4, 3000)
        spies = self.spy()
        for path in self.paths(cap, {0, 1}):
            start, stop = fields_of(share_of(path))["blocks"]
            edit_share(path, overwrite(start, bytes(stop - start)))
        await self.right(cap, data)
        told = {shnum for spy in spies for shnum, _reason in spy.advice}
        self.assertEqual(told, {0, 1})
        for spy in spies:
            for _shnum, reason in spy.advice:
                self.assertIsInstance(reason, bytes)
        await self.turns(lambda: self.advisories() >= 2)

    async def test_one_share_too_many_is_corrupt(self) -> None:
        """N-k+1 shares with bad blocks: stock's error, and good ranges are delivered."""
        cap, data, fields = await self.prepare()
        for path in self.paths(cap, {0, 1}):
            edit_share(path, flip(fields["blocks"][0] + 20_000))
        found = await self.like_stock(cap)
        self.same(found, (data[:60_000], NotEnoughSharesError))
        self.same(await self.outcome(self.node(cap), 63_000), (data[63_000:], None))

    async def test_share_of_another_file(self) -> None:
        """A share that belongs to another file counts as a bad one."""
        cap, data, _fields = await self.prepare()
        other = await self.put(some_bytes(100_000, 1), 3, 4, 3000)
        strange = share_of(self.paths(other)[0])
        (path,) = self.paths(cap, {0})
        edit_share(path, lambda _share: strange)
        await self.right(cap, data)

    async def test_shares_under_wrong_numbers(self) -> None:
        """Two shares that changed places are bad ones; with k others the file comes."""
        data = some_bytes(100_000)
        cap = await self.put(data, 2, 4, 3000)
        (first,), (second,) = self.paths(cap, {0}), self.paths(cap, {1})
        one, other = share_of(first), share_of(second)
        edit_share(first, lambda _share: other)
        edit_share(second, lambda _share: one)
        await self.right(cap, data)
        edit_share(first, lambda _share: one)
        edit_share(second, lambda _share: one)
        await self.right(cap, data)


class LargeSharesEveryBlock(LargeShares):
    """The same with ``verify = blocks``: every block is held against its share's hashes."""

    options: ClassVar[Mapping[str, str]] = {
        "patience": "2 s",
        "memory": "8 MiB",
        "verify": "blocks",
    }
