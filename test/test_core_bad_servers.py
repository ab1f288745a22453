"""Servers that fail, lie or are slow, and shares that are damaged, in virtual time.

``simulator`` checks that no wrong byte is delivered and that whoever can be served is.
"""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tahoe_fastdl import errors
from tahoe_fastdl.core.window import KIB, MIB

from .sharemaker import (
    BLOCK_HASHES,
    CRYPTTEXT,
    HEADER,
    PLAINTEXT,
    SHARE_HASHES,
    UEB,
    encode,
    make_ueb,
)
from .simulator import End, Simulation, simulate
from .worldmaker import damaged, only_reader, part, whole, with_moods
from .worlds import (
    PATIENCE_S,
    Damage,
    Mood,
    PlacedShare,
    ReaderSpec,
    ServerSpec,
    World,
    read,
    spread,
)

SEGMENT = 128 * KIB


class BadServers(SynchronousTestCase):
    """Servers that are late, gone, or talk nonsense."""

    def setUp(self) -> None:
        self.file = encode(3_000_000, 3, 6, SEGMENT)
        self.servers = spread(self.file, 6)

    def test_hung_server(self) -> None:
        """A server that never answers, from the start or later, is replaced within seconds."""
        for number in range(6):
            for good in range(4):
                servers = with_moods(self.servers, number, *[Mood.GOOD] * good, Mood.NEVER)
                simulation = simulate(World(self.file, servers, (whole(self.file),)))
                self.assertLess(only_reader(simulation).ended_at, 5.0)

    def test_hung_without_spare(self) -> None:
        """With no share to spare a hung server ends the read after our patience, not before."""
        servers = with_moods(self.servers[:3], 1, Mood.GOOD, Mood.NEVER)
        simulation = simulate(World(self.file, servers, (whole(self.file),)))
        reader = only_reader(simulation)
        self.assertIsInstance(reader.error, errors.NotEnoughShares)
        self.assertGreaterEqual(reader.ended_at, PATIENCE_S)
        self.assertLess(reader.ended_at, 4 * PATIENCE_S)

    def test_slow_without_spare(self) -> None:
        """A server later than expected is still waited for when nobody else has the block."""
        servers = with_moods(self.servers[:3], 1, Mood.SLOW)
        for verify_blocks in (False, True):
            simulate(World(self.file, servers, (whole(self.file),), verify_blocks=verify_blocks))

    def test_straggler_is_hedged(self) -> None:
        """A late read is asked of one other share; wasted is only what was on its way by then."""
        file = encode(20_000_000, 3, 6, SEGMENT)
        servers = with_moods(spread(file, 6), 0, Mood.GOOD, Mood.GOOD, Mood.SLOW)
        simulation = simulate(World(file, servers, (whole(file),)))
        counters = simulation.core.counters
        self.assertGreater(counters.hedges + counters.replaced, 0)
        self.assertLess(counters.bytes_wasted, 0.2 * file.size)

    def test_short_answers(self) -> None:
        """Answers that are empty or cut short are not asked for again and again."""
        for mood in (Mood.EMPTY, Mood.SHORT, Mood.FAIL):
            for good in range(4):
                servers = with_moods(self.servers, 0, *[Mood.GOOD] * good, mood)
                simulation = simulate(World(self.file, servers, (whole(self.file),)))
                asked = [sent for sent in simulation.sent if sent.server == 0]
                self.assertLessEqual(len(asked), 20, mood)

    def test_every_truncation(self) -> None:
        """A share cut off anywhere costs nothing but itself."""
        file = encode(60, 2, 3, 30)
        for length in range(len(file.shares[0])):
            servers = damaged(file, 3, {0: Damage(length)})
            simulation = simulate(World(file, servers, (whole(file),)))
            self.assertLessEqual(len(simulation.sent), 20)

    def test_every_truncation_of_a_long_share(self) -> None:
        """The same, for a share too long to be read whole."""
        file = encode(40_000, 2, 3, 4096)
        for name, (start, stop) in file.parts.items():
            for length in sorted({start, start + 1, (start + stop) // 2, stop - 1}):
                servers = damaged(file, 3, {0: Damage(length)})
                for hint in (4096, MIB):
                    simulation = simulate(
                        World(file, servers, (whole(file),), segment_size_hint=hint)
                    )
                    self.assertLessEqual(len(simulation.sent), 40, name)

    def test_silent_search(self) -> None:
        """A server that never says what it holds delays nobody who can do without it."""
        servers = (*self.servers[:5], evolve(self.servers[5], searches=(Mood.NEVER,)))
        simulation = simulate(World(self.file, servers, (whole(self.file),)))
        self.assertLess(only_reader(simulation).ended_at, 1.0)

    def test_nobody_answers(self) -> None:
        """If no server ever answers the read fails with NoShares when patience ends."""
        servers = tuple(evolve(server, searches=(Mood.NEVER,)) for server in self.servers)
        reader = only_reader(simulate(World(self.file, servers, (whole(self.file),))))
        self.assertIsInstance(reader.error, errors.NoShares)
        self.assertLessEqual(reader.ended_at, 2.1 * PATIENCE_S)

    def test_no_servers(self) -> None:
        """With no server at all the read fails at once."""
        reader = only_reader(simulate(World(self.file, (), (whole(self.file),))))
        self.assertIsInstance(reader.error, errors.NoShares)
        self.assertLess(reader.ended_at, 0.1)

    def test_too_few_shares(self) -> None:
        """Fewer shares than k fail at once and the error names what is there."""
        reader = only_reader(simulate(World(self.file, self.servers[:2], (whole(self.file),))))
        self.assertIsInstance(reader.error, errors.NotEnoughShares)
        self.assertLess(reader.ended_at, 1.0)
        self.assertIn("need 3", str(reader.error))

    def test_recovers(self) -> None:
        """After any failure the next read works, once the servers do."""
        for mood in (Mood.FAIL, Mood.EMPTY, Mood.NEVER, Mood.GARBLED):
            bad = tuple(evolve(server, reads=(mood,)) for server in self.servers)
            simulation = Simulation(World(self.file, bad, (whole(self.file),))).run()
            self.assertIs(End.FAILED, only_reader(simulation).end, mood)
            for number, server in enumerate(self.servers):
                simulation.change_server(number, server)
            second = simulation.add_reader(whole(self.file, joins_at=simulation.now + 100))
            simulation.run()
            self.assertIs(End.SERVED, second.end, mood)
            self.assertEqual(self.file.ciphertext, bytes(second.data))

    def test_returns_during_the_read(self) -> None:
        """Before giving up servers are asked once more: one that came back saves the read."""
        servers = (
            *self.servers[:2],
            evolve(self.servers[2], reads=(Mood.GOOD, Mood.FAIL, Mood.GOOD)),
        )
        reader = only_reader(simulate(World(self.file, servers, (whole(self.file),))))
        self.assertIs(End.SERVED, reader.end)

    def test_few_slots(self) -> None:
        """Servers that take one read at a time serve a file all the same."""
        servers = tuple(evolve(server, max_reads=1) for server in self.servers)
        for verify_blocks in (False, True):
            simulate(
                World(
                    self.file,
                    servers,
                    (whole(self.file), read(2_000_000, 2_500_000)),
                    verify_blocks=verify_blocks,
                )
            )


class BadShares(SynchronousTestCase):
    """Shares with wrong bytes."""

    def test_every_byte(self) -> None:
        """Any byte of a small share may be wrong: the file arrives, from the others if need be."""
        file = encode(60, 2, 3, 30)
        unused = range(*file.parts[PLAINTEXT])
        for position in range(len(file.shares[0])):
            servers = damaged(file, 3, {0: Damage(position, position + 1)})
            simulation = simulate(World(file, servers, (whole(file),)))
            if position in unused:
                self.assertEqual([], simulation.advices)

    def test_every_part(self) -> None:
        """The same, for a share too long to be read whole, also where all blocks are verified."""
        file = encode(40_000, 2, 3, 4096)
        for start, stop in file.parts.values():
            for position in {*range(start, min(stop, start + 70)), (start + stop) // 2, stop - 1}:
                servers = damaged(file, 3, {0: Damage(position, position + 1)})
                for verify_blocks in (False, True):
                    simulate(
                        World(
                            file,
                            servers,
                            (whole(file),),
                            segment_size_hint=4096,
                            verify_blocks=verify_blocks,
                        )
                    )

    def test_liar_is_found(self) -> None:
        """The one server whose block is wrong is told which bytes; nobody else is."""
        file = encode(600_000, 3, 5, SEGMENT)
        for segnum in range(file.num_segments):
            block = file.block_range(segnum)
            servers = damaged(file, 5, {1: Damage(*block)})
            simulation = simulate(World(file, servers, (whole(file),)))
            told = [(server, shnum, a.start, a.stop) for server, shnum, a in simulation.advices]
            self.assertEqual([(1, 1, *block)], told)
            self.assertEqual(1, simulation.core.counters.inquests)

    def test_all_but_k_lie(self) -> None:
        """k good shares among many liars are found, wherever the lie is."""
        file = encode(40_000, 3, 8, 4098)
        for name in (HEADER, CRYPTTEXT, BLOCK_HASHES, SHARE_HASHES, UEB, "data"):
            damage = {shnum: part(file, name) for shnum in (0, 1, 2, 3, 4)}
            for hint in (4098, MIB):
                simulation = simulate(
                    World(file, damaged(file, 4, damage), (whole(file),), segment_size_hint=hint)
                )
                self.assertIs(End.SERVED, only_reader(simulation).end, name)

    def test_lost_segment(self) -> None:
        """A lost segment fails who needs it, when they get there, and nobody else."""
        file = encode(1_000_000, 3, 4, SEGMENT)
        size = file.segment_size
        for lost in (0, 3, file.num_segments - 1):
            block = Damage(*file.block_range(lost))
            servers = damaged(file, 4, {0: block, 1: block})
            readers = [whole(file), ReaderSpec(segnum=lost)]
            if lost:
                readers.append(read(0, lost * size))
            if lost < file.num_segments - 1:
                readers.append(read((lost + 1) * size, file.size))
            for alone in (*readers, None):
                some = tuple(readers) if alone is None else (alone,)
                simulation = simulate(World(file, servers, some))
                for reader in simulation.readers.values():
                    start, stop = reader.range or (0, 0)
                    needs_it = start < (lost + 1) * size and stop > lost * size
                    if needs_it or reader.spec.segnum is not None:
                        self.assertIsInstance(reader.error, errors.NotEnoughShares)
                        self.assertEqual(max(lost * size - start, 0), len(reader.data))
                    else:
                        self.assertIs(End.SERVED, reader.end)

    def test_all_uebs_bad(self) -> None:
        """Without one good UEB there is no share of any use, and every server hears why."""
        file = encode(300_000, 3, 5, SEGMENT)
        servers = damaged(file, 5, {shnum: part(file, UEB) for shnum in range(5)})
        readers = (whole(file), ReaderSpec(), ReaderSpec(segnum=1))
        simulation = simulate(World(file, servers, readers))
        for reader in simulation.readers.values():
            self.assertIsInstance(reader.error, errors.NoShares)
        self.assertEqual(set(range(5)), {shnum for _server, shnum, _advice in simulation.advices})

    def test_one_good_ueb(self) -> None:
        """One share with a good UEB and good ciphertext hashes speaks for all."""
        for size, segment_size in ((60, 30), (300_000, SEGMENT)):
            file = encode(size, 3, 5, segment_size)
            damage = {shnum: part(file, UEB) for shnum in range(4)}
            simulate(World(file, damaged(file, 5, damage), (whole(file),)))
        damage = {shnum: part(file, CRYPTTEXT) for shnum in range(4)}
        reader = only_reader(simulate(World(file, damaged(file, 5, damage), (whole(file),))))
        self.assertIs(End.SERVED, reader.end)

    def test_proofs_gone(self) -> None:
        """Blocks that no hash can prove are tried together; the segment's own hash decides."""
        file = encode(300_000, 2, 4, SEGMENT)
        hashes = part(file, SHARE_HASHES)
        servers = list(damaged(file, 4, dict.fromkeys(range(4), hashes)))
        liar = PlacedShare(0, (hashes, Damage(*file.block_range(1))))
        servers[0] = ServerSpec((liar,))
        reader = only_reader(simulate(World(file, tuple(servers), (whole(file),))))
        self.assertIs(End.SERVED, reader.end)

    def test_uploader_was_wrong(self) -> None:
        """If every block proves good and the segment is wrong, no server is to blame."""
        for size, segment_size in ((60, 30), (600_000, SEGMENT)):
            file = encode(size, 3, 5, segment_size, wrong_segments=frozenset({1}))
            for verify_blocks in (False, True):
                readers = (whole(file), read(0, segment_size), ReaderSpec(segnum=1))
                simulation = simulate(
                    World(file, spread(file, 5), readers, verify_blocks=verify_blocks)
                )
                everything, first, second = simulation.readers.values()
                self.assertIsInstance(everything.error, errors.BadCiphertextHash)
                self.assertEqual(file.segment(0), bytes(everything.data))
                self.assertIs(End.SERVED, first.end)
                self.assertIsInstance(second.error, errors.BadCiphertextHash)
                self.assertEqual([], simulation.advices)

    def test_after_a_wrong_segment(self) -> None:
        """A segment that cannot be right does not spoil the next read, as it does with stock."""
        file = encode(600_000, 3, 5, SEGMENT, wrong_segments=frozenset({1}))
        size = file.segment_size
        later = read(2 * size, file.size, joins_at=50.0)
        simulation = simulate(World(file, spread(file, 5), (whole(file), later)))
        self.assertIs(End.SERVED, simulation.readers[2].end)

    def test_malformed_ueb(self) -> None:
        """A UEB that the cap vouches for and nobody understands is the uploader's fault."""
        hash_fields: dict[str, int | bytes] = {
            "crypttext_root_hash": bytes(32),
            "share_root_hash": bytes(32),
        }
        for ueb in (
            b"",
            b"junk",
            make_ueb(hash_fields),
            make_ueb({**hash_fields, "segment_size": 100_000}),
            make_ueb({**hash_fields, "segment_size": 0}),
            make_ueb({**hash_fields, "segment_size": 99_999, "share_root_hash": b"short"}),
        ):
            file = encode(300_000, 3, 5, SEGMENT, ueb_override=ueb)
            simulation = Simulation(
                World(file, spread(file, 5), (whole(file), ReaderSpec(), ReaderSpec(segnum=0)))
            ).run()
            for reader in simulation.readers.values():
                expected = errors.MalformedUEB if ueb else errors.NoShares
                self.assertIsInstance(reader.error, expected, ueb)
            self.assertEqual(0, simulation.budget.used_bytes)

    def test_verify_blocks(self) -> None:
        """With ``verify = blocks`` a lie is found even where it would have done no harm."""
        file = encode(300_000, 3, 5, SEGMENT)
        simulation = simulate(World(file, spread(file, 5), (whole(file),), verify_blocks=True))
        self.assertEqual([], simulation.advices)
        for share, chain in ((0, SHARE_HASHES), (1, BLOCK_HASHES)):
            servers = damaged(file, 5, {share: part(file, chain)})
            quick, eager = (
                simulate(World(file, servers, (whole(file),), verify_blocks=verify))
                for verify in (False, True)
            )
            self.assertEqual([], quick.advices)
            self.assertEqual([share], [shnum for _server, shnum, _advice in eager.advices])
