"""Every fault a server or a cap can have, by the rules of ``liargrid``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from allmydata import uri
from allmydata.interfaces import NoSharesError, NotEnoughSharesError
from foolscap.api import DeadReferenceError, fireEventually
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from .gridcase import STOCK, some_bytes
from .liargrid import TOO_FEW, FaultCase
from .shareedit import edit_share, fields_of, overwrite, share_of
from .spies import Ask, SpyRead, SpyServer


def raise_at_once(*_anything: Any) -> Any:
    """The call itself raises."""
    raise DeadReferenceError("Connection was lost")


def fail_later(*_anything: Any) -> Any:
    """The answer is an error, a turn later."""

    def lost(_: Any) -> Failure:
        return Failure(DeadReferenceError("Connection was lost"))

    return fireEventually().addCallback(lost)


def never(*_anything: Any) -> Any:
    """No answer ever comes."""
    return Deferred()


class Servers(FaultCase):
    """Servers that break, vanish, hang or talk nonsense: 3-of-10, a share on each of ten."""

    async def prepare(self, size: int = 300_000) -> tuple[bytes, bytes, list[SpyServer]]:
        """A file of segments of 3000 bytes, and spies."""
        data = some_bytes(size)
        cap = await self.put(data, 3, 10, 3000)
        self.assertEqual(len({server for _, server, _ in self.find_uri_shares(cap)}), 10)
        return cap, data, self.spy()

    async def buckets_fault(self, policy: Callable[[Ask], Any], stock: bool = True) -> None:
        """Seven servers with it do no harm; with eight it is NotEnoughSharesError."""
        cap, data, spies = await self.prepare(30_000)
        for spy in spies[:7]:
            spy.answer_buckets = policy
        await self.right(cap, data)
        spies[7].answer_buckets = policy
        self.same(await self.outcome(self.node(cap)), (b"", NotEnoughSharesError))
        for spy in spies[8:]:
            spy.answer_buckets = policy
        self.same(await self.outcome(self.node(cap)), (b"", NoSharesError))
        if stock:
            self.no_fallbacks()
            self.same(await self.outcome(self.node(cap, STOCK)), (b"", NoSharesError))
            self.flushLoggedErrors()
        for spy in spies:
            spy.answer_buckets = lambda ask: ask()
        await self.right(cap, data)

    async def reads_fault(self, policy: Callable[[SpyRead, Ask], Any]) -> None:
        """Seven servers with it do no harm; with eight it is NotEnoughSharesError."""
        cap, data, spies = await self.prepare()
        for bad in (spies[:7], spies[3:]):
            for spy in spies:
                spy.answer_read = policy if spy in bad else lambda _read, ask: ask()
            await self.right(cap, data)
        for spy in spies[:3]:
            spy.answer_read = policy
        node = self.node(cap)
        text, error = await self.outcome(node)
        self.assertIn(error, TOO_FEW)
        self.assertTrue(data.startswith(text))
        for spy in spies:
            spy.answer_read = lambda _read, ask: ask()
        self.same(await self.outcome(node), (data, None), "the same node, once it is over")

    async def test_search_raises_at_once(self) -> None:
        """``get_buckets`` raises instead of returning a Deferred."""
        await self.buckets_fault(raise_at_once, stock=False)

    async def test_search_fails_later(self) -> None:
        """``get_buckets`` ends in an error."""
        await self.buckets_fault(fail_later)

    async def test_search_is_never_answered(self) -> None:
        """``get_buckets`` gives no answer."""
        await self.buckets_fault(never, stock=False)

    async def test_search_finds_nothing(self) -> None:
        """The server has no share of this file."""
        await self.buckets_fault(lambda _ask: succeed({}))

    async def test_search_answers_of_the_wrong_type(self) -> None:
        """Not a dict of buckets, or not buckets in the dict."""
        cap, data, spies = await self.prepare(5000)
        for answer in (None, "none", b"none", [], 7, [0, 1], {0: None}, {1: "bucket"}):
            for spy in spies[:7]:
                spy.answer_buckets = lambda _ask, answer=answer: succeed(answer)  # type: ignore[misc]  # default binds it
            await self.right(cap, data, answer)

    async def test_impossible_share_numbers(self) -> None:
        """Numbers that no share of this file can have are passed over, real ones count."""
        cap, data, spies = await self.prepare(30_000)
        numbers: tuple[Any, ...] = (10, 255, 256, -1, 2**31, 2**70, "0", b"0", None, 0.5, (0,))

        def add(ask: Ask) -> Any:
            def more(buckets: dict[Any, Any]) -> dict[Any, Any]:
                (bucket,) = buckets.values()
                return {**dict.fromkeys(numbers, bucket), **buckets}

            return ask().addCallback(more)

        for spy in spies:
            spy.answer_buckets = add
        await self.right(cap, data)
        asked = {read.shnum for spy in spies for read in spy.reads}
        self.assertLessEqual(asked, set(range(10)))

    async def test_only_impossible_share_numbers(self) -> None:
        """If nothing else is claimed there are no shares; a bool is not a number."""
        cap, _data, spies = await self.prepare(30_000)
        for number in (True, False, 10, -3, "1"):

            def rename(ask: Ask, number: Any = number) -> Any:
                return ask().addCallback(lambda found: dict.fromkeys([number], *found.values()))

            for spy in spies:
                spy.answer_buckets = rename
            self.same(await self.outcome(self.node(cap)), (b"", NoSharesError), number)
        self.assertEqual([spy.reads for spy in spies], [[]] * 10)

    async def test_every_server_claims_every_share(self) -> None:
        """Claims of shares that are others' lead to bad blocks, and the file comes."""
        cap, data, spies = await self.prepare(30_000)

        def claim_all(ask: Ask) -> Any:
            return ask().addCallback(lambda found: dict.fromkeys(range(10), *found.values()))

        for spy in spies[:7]:
            spy.answer_buckets = claim_all
        await self.right(cap, data)

    async def test_not_connected(self) -> None:
        """``get_storage_server()`` is None."""
        cap, data, spies = await self.prepare()
        for spy in spies[:7]:
            spy.is_connected = False
        await self.right(cap, data)
        spies[7].is_connected = False
        self.same(await self.outcome(self.node(cap)), (b"", NotEnoughSharesError))
        for spy in spies:
            spy.is_connected = False
        node = self.node(cap)
        self.same(await self.outcome(node), (b"", NoSharesError))
        for spy in spies:
            spy.is_connected = True
        self.same(await self.outcome(node), (data, None))

    async def test_no_servers(self) -> None:
        """A client that knows no server at all says so."""
        cap = await self.put(some_bytes(1000))
        for client in self.g.clients:
            client._servers = frozenset()
        found = await self.like_stock(cap)
        self.same(found, (b"", NoSharesError))

    async def test_reads_raise_at_once(self) -> None:
        """``callRemote`` raises instead of returning a Deferred."""
        await self.reads_fault(raise_at_once)

    async def test_reads_fail_later(self) -> None:
        """Reads end in an error."""
        await self.reads_fault(fail_later)

    async def test_reads_are_never_answered(self) -> None:
        """Reads give no answer."""
        await self.reads_fault(never)

    async def test_reads_answer_short(self) -> None:
        """A byte is missing from every answer."""
        await self.reads_fault(lambda _read, ask: ask().addCallback(lambda data: data[:-1]))

    async def test_reads_answer_nothing(self) -> None:
        """Every answer is empty."""
        await self.reads_fault(lambda _read, _ask: succeed(b""))

    async def test_reads_answer_long(self) -> None:
        """Every answer has more than was asked for."""
        await self.reads_fault(lambda read, _ask: succeed(b"x" * (read.length + 1)))

    async def test_reads_answer_junk(self) -> None:
        """Every answer has the right length and nothing else."""
        await self.reads_fault(lambda read, _ask: succeed(b"x" * read.length))

    async def test_reads_answer_zeros(self) -> None:
        """Every answer is zeros, as from a sparse file."""
        await self.reads_fault(lambda read, _ask: succeed(bytes(read.length)))

    async def test_reads_answer_text(self) -> None:
        """Every answer is a str."""
        await self.reads_fault(lambda read, _ask: succeed("x" * read.length))

    async def test_reads_answer_other_types(self) -> None:
        """Answers that are not bytes at all."""
        cap, data, spies = await self.prepare(30_000)
        answers: tuple[Any, ...] = (None, [b"x"], 7, {}, bytearray(10), (), True)
        for answer in answers:
            for spy in spies[:7]:
                spy.answer_read = lambda _read, _ask, answer=answer: succeed(answer)  # type: ignore[misc]  # default binds it
            await self.right(cap, data, answer)

    async def test_not_a_deferred(self) -> None:
        """An answer that is given at once, without a Deferred, is as good as any."""
        data = some_bytes(1000)
        cap = await self.put(data, 3, 10, 3000)
        spies = self.spy()
        stored = {shnum: share_of(path) for shnum, _server, path in self.find_uri_shares(cap)}
        for spy in spies:
            spy.answer_read = lambda read, _ask: stored[read.shnum][
                read.start : read.start + read.length
            ]
        await self.right(cap, data)

    async def test_vanishing_in_mid_file(self) -> None:
        """Servers that were answering lose their connection; others finish the file."""
        cap, data, spies = await self.prepare(3_000_000)
        for policy in (raise_at_once, fail_later):
            for spy in spies:
                spy.answer_read = lambda _read, ask: ask()
            for spy in spies[:7]:
                spy.answer_read = self.after(2, policy)
            await self.right(cap, data)

    async def test_hanging_in_mid_file(self) -> None:
        """Servers that were answering fall silent; others finish the file."""
        self.enable({"memory": "4 MiB", "patience": "60 s"})
        cap, data, spies = await self.prepare(6_000_000)
        for spy in spies[:7]:
            spy.answer_read = self.after(2, never)
        await self.right(cap, data)

    async def test_all_but_k_hang_from_the_start(self) -> None:
        """Silence is not waited for as long as the operator's patience."""
        self.enable({"patience": "3600 s"})
        cap, data, spies = await self.prepare()
        for spy in spies[:7]:
            spy.answer_read = never
        await self.right(cap, data)

    async def test_silent_searches_are_not_waited_for(self) -> None:
        """Seven servers that do not answer the search delay nothing for their patience."""
        self.enable({"patience": "3600 s"})
        cap, data, spies = await self.prepare()
        for spy in spies[:7]:
            spy.answer_buckets = never
        await self.right(cap, data)

    def after(
        self, answers: int, policy: Callable[[SpyRead, Ask], Any]
    ) -> Callable[[SpyRead, Ask], Any]:
        """Honest for some answers, then *policy*."""
        left = iter(range(answers))
        return lambda read, ask: ask() if next(left, None) is not None else policy(read, ask)

    async def test_late_answers_are_harmless(self) -> None:
        """Answers that come after the file is done, good or bad, change nothing."""
        cap, data, spies = await self.prepare()
        late: list[tuple[Deferred[Any], Ask]] = []
        holding: set[int] = set()  # the first that are asked: which these are, the file decides

        def policy(number: int) -> Callable[[SpyRead, Ask], Any]:
            def answer(_read: SpyRead, ask: Ask) -> Any:
                if len(holding) < 7:
                    holding.add(number)
                if number not in holding:
                    return ask()
                late.append((Deferred(), ask))
                return late[-1][0]

            return answer

        for number, spy in enumerate(spies):
            spy.answer_read = policy(number)
        node = self.node(cap)
        self.same(await self.outcome(node), (data, None))
        self.assertTrue(late)
        for i, (d, ask) in enumerate(late):
            if i % 3 == 0:
                d.callback(await ask())
            elif i % 3 == 1:
                d.callback("junk")
            else:
                d.errback(DeadReferenceError("Connection was lost"))
        self.same(await self.outcome(node), (data, None))
        await self.turns(lambda: self.hub.budget.used_bytes == 0)

    async def test_reports_of_corruption_fail(self) -> None:
        """A server that does not take the report of its corruption stops nothing."""
        cap, data, spies = await self.prepare(60_000)
        for path in self.paths(cap, set(range(7))):
            start, stop = fields_of(share_of(path))["blocks"]
            edit_share(path, overwrite(start, bytes(stop - start)))
        for policy in (raise_at_once, fail_later, never, lambda _ask: succeed("thanks")):
            for spy in spies:
                spy.answer_advice = policy
                spy.advice.clear()
            await self.right(cap, data)
            told = {shnum for spy in spies for shnum, _reason in spy.advice}
            self.assertTrue(told)
            self.assertLessEqual(told, set(range(7)))

    async def test_one_server_has_all_shares(self) -> None:
        """Many shares on one server are read side by side."""
        cap, data, spies = await self.prepare()
        for client in self.g.clients:
            client._servers = frozenset(spies[:1])
        its_id = spies[0].get_serverid()
        (home,) = (Path(p) for _n, server, p in self.find_uri_shares(cap) if server == its_id)
        for shnum, _server, path in self.find_uri_shares(cap):
            target = home.parent / str(shnum)
            if not target.exists():
                target.write_bytes(Path(path).read_bytes())
        await self.right(cap, data)
        self.assertEqual(len({read.shnum for read in spies[0].reads}), 3)


class Caps(FaultCase):
    """Caps that lie about their file."""

    def change(self, cap: bytes, **changes: Any) -> bytes:
        """A cap with other fields."""
        old: Any = uri.from_string(cap)
        fields = {
            "key": old.key,
            "uri_extension_hash": old.uri_extension_hash,
            "needed_shares": old.needed_shares,
            "total_shares": old.total_shares,
            "size": old.size,
        }
        new: bytes = uri.CHKFileURI(**{**fields, **changes}).to_string()
        return new

    async def test_wrong_ueb_hash(self) -> None:
        """A cap that names another UEB finds no usable share."""
        for size in (1000, 300_000):
            cap = await self.put(some_bytes(size), 3, 10, 3000)
            wrong = self.change(cap, uri_extension_hash=b"\0" * 32)
            self.same(await self.outcome(self.node(wrong)), (b"", NoSharesError))
            self.no_fallbacks()
            # stock's error depends on how far its other shares had got
            text, error = await self.outcome(self.node(wrong, STOCK))
            self.assertEqual(text, b"")
            self.assertIn(error, TOO_FEW)

    async def test_wrong_size(self) -> None:
        """A cap with another size is an error or a prefix, never wrong bytes, never a wait."""
        data = some_bytes(30_000)
        cap = await self.put(data, 3, 10, 3000)
        for size in (1, 56, 29_999, 30_001, 33_000, 60_000, 300_000):
            text, error = await self.outcome(self.node(self.change(cap, size=size)))
            self.assertTrue(data.startswith(text), size)
            self.assertTrue(error is None or issubclass(error, Exception))
            self.assertTrue(error is not None or len(text) == size, size)

    async def test_huge_size(self) -> None:
        """A cap that claims terabytes over a small file is an error; nothing huge is asked."""
        for real in (1000, 300_000):
            cap = await self.put(some_bytes(real), 3, 10, 300)
            spies = self.spy()
            for size in (10**9, 2**40, 2**50, 2**63):
                wrong = self.change(cap, size=size)
                for start in (0, 10_000, size - 10):
                    _text, error = await self.outcome(self.node(wrong), start, 10)
                    self.assertIn(error, TOO_FEW, (real, size, start))
            self.assertLessEqual(self.hub.budget.peak_bytes, 8 * 2**20)
            self.assertLess(max(read.length for spy in spies for read in spy.reads), 2**20)
            self.assertEqual(self.hub.totals.get("unsupported", 0), 0)

    async def test_wrong_key(self) -> None:
        """A cap with another key has another storage index: there are no shares."""
        cap = await self.put(some_bytes(1000))
        found = await self.like_stock(self.change(cap, key=b"\0" * 16))
        self.same(found, (b"", NoSharesError))

    async def test_wrong_k(self) -> None:
        """A cap that names another k ends in an error or the file, never in wrong bytes."""
        data = some_bytes(30_000)
        cap = await self.put(data, 3, 10, 3000)
        for k, n in ((1, 10), (2, 10), (4, 10), (10, 10), (3, 4), (3, 20), (3, 256), (256, 256)):
            wrong = self.change(cap, needed_shares=k, total_shares=n)
            text, error = await self.outcome(self.node(wrong))
            self.assertTrue(data.startswith(text), (k, n))
            if error is None:
                self.assertTrue(text == data, (k, n))
