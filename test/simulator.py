"""Downloads driven in virtual time, against servers that may be bad.

Stands where ``shell.driver``, ``shell.delivery``, ``shell.finder`` and
``shell.wire`` stand, and keeps their promises: events wait their turn while
actions are carried out, one ``TurnEnded`` follows what changed something,
``TimePassed`` comes when a deadline is due, exactly one answer or failure
follows a read unless the server is silent.  Everything else is up to the
``World``.  After each event the laws that tie the parts together are checked.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial
from typing import Union

from attrs import define, field, frozen

from misc.simulator.loop import Loop
from tahoe_fastdl.core import records as r
from tahoe_fastdl.core.download import Download, Options
from tahoe_fastdl.core.geometry import Geometry
from tahoe_fastdl.core.servers import Server
from tahoe_fastdl.core.window import MIB, Budget
from tahoe_fastdl.errors import FileError
from tahoe_fastdl.shell.worker import Decoded, decode_batch

from .sharemaker import flip
from .worlds import HONEST, Mood, ReaderSpec, ServerSpec, World

Answer = Union[r.ReadAnswered, r.ReadFailed]
MAX_EVENTS = 20_000


class End(Enum):
    """What became of a reader."""

    WAITING = "waiting"
    SERVED = "served"
    FAILED = "failed"
    LEFT = "left"


@define(eq=False)
class SimReader:
    """One reader and what it got."""

    id: int
    spec: ReaderSpec
    segment_range: tuple[int, int] | None = None
    segment_size: int | None = None
    position: int = 0
    data: bytearray = field(factory=bytearray, repr=False)
    pieces: dict[int, bytes] = field(factory=dict, repr=False)
    joined: bool = False
    paused: bool = False
    pauses: int = 0
    end: End = End.WAITING
    ended_at: float = -1.0
    error: Exception | None = None

    @property
    def range(self) -> tuple[int, int] | None:
        """The file bytes it is to get, once that is known."""
        if self.spec.start is not None and self.spec.stop is not None:
            return self.spec.start, self.spec.stop
        return self.segment_range


@define(eq=False)
class SimServer:
    """One server at work."""

    spec: ServerSpec
    contents: dict[int, bytes]
    searches: int = 0
    reads: int = 0
    busy_until: float = 0.0


@frozen
class SentRead:
    """One read as a server saw it."""

    when: float
    server: int
    shnum: int
    start: int
    length: int


class Simulation(Loop):
    """Runs a world.  ``run()`` ends when nothing can happen any more."""

    def __init__(self, world: World, beside: Simulation | None = None) -> None:
        """:param beside: a download by the same node, of the same servers."""
        super().__init__()
        self.world = world
        self.now = 0.0
        self.random = random.Random(world.seed)
        self.budget: Budget = Budget(world.budget_bytes) if beside is None else beside.budget
        self.records: dict[int, Server] = {
            i: Server(spec.max_reads) for i, spec in enumerate(world.servers)
        }
        if beside is not None:
            self.records = beside.records
        self.is_alone = beside is None
        if beside is not None:
            beside.is_alone = False
        self.servers: list[SimServer] = []
        self.readers: dict[int, SimReader] = {}
        self.sent: list[SentRead] = []
        self.advices: list[tuple[int, int, r.AdviseCorrupt]] = []  # server, shnum
        self.searches = 0
        self.most_decodes = 0
        file = world.file
        self.core = Download(
            file.size if world.claimed_size is None else world.claimed_size,
            file.k,
            file.n,
            file.ueb_hash,
            self.budget,
            self.records,
            Options(
                verify_blocks=world.verify_blocks,
                patience_s=world.patience_s,
                segment_size_hint=world.segment_size_hint,
            ),
        )
        self._timeline: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        self._share_ids: dict[int, tuple[int, int]] = {}
        self._waiting = 0  # servers that have not said which shares they have
        self._in_worker: dict[int, r.Decode] = {}
        self._decoded: dict[int, Decoded] = {}
        self._bad: dict[int, tuple[int, ...]] = {}
        self._answered: set[int] = set()
        self._on_the_way: dict[int, int] = {}  # read -> length
        for server in world.servers:
            self._add_server(server)
        for reader in world.readers:
            self.add_reader(reader)

    # -- changing the world ---------------------------------------------------

    def _add_server(self, spec: ServerSpec) -> None:
        contents = {}
        for placed in spec.shares:
            share = self.world.file.shares[placed.shnum]
            for damage in placed.damage:
                share = damage.apply(share)
            contents[placed.shnum] = share
        self.servers.append(SimServer(spec, contents))

    def change_server(self, number: int, spec: ServerSpec) -> None:
        """From now on the server is another: repaired, or broken."""
        self._add_server(spec)
        self.servers[number] = self.servers.pop()

    def add_reader(self, spec: ReaderSpec) -> SimReader:
        """Somebody will read; ``joins_at`` is not before now."""
        reader = SimReader(len(self.readers) + 1, spec)
        self.readers[reader.id] = reader
        self.at(spec.joins_at, lambda: self._join(reader))
        if spec.leaves_at is not None:
            self.at(max(spec.joins_at, spec.leaves_at), lambda: self._leave(reader, End.LEFT))
        return reader

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Do something later."""
        self._sequence += 1
        heapq.heappush(self._timeline, (max(when, self.now), self._sequence, what))

    def _after(self, delay_s: float, what: Callable[[], None], mood: Mood = Mood.GOOD) -> None:
        delay_s *= 1 + self.world.shuffle * self.random.random()
        patience_s = self.world.patience_s
        if mood is Mood.SLOW:
            delay_s += patience_s * (0.02 + 0.5 * self.random.random())
        if mood in HONEST:
            delay_s = min(delay_s, 0.9 * patience_s)
        elif mood is Mood.OVERDUE:
            delay_s += 25 * patience_s
        self.at(self.now + delay_s, what)

    # -- the loop -------------------------------------------------------------

    def run(self, until: float = float("inf")) -> Simulation:
        """Let time pass until nothing is left to happen, or to a moment."""
        while True:
            when = self.next_time()
            if when is None or when > until:
                break
            self.step()
        if until != float("inf"):
            self.now = max(self.now, until)
        return self

    def next_time(self) -> float | None:
        """When something happens next; None: never again."""
        deadline = self.core.next_deadline()
        due = self._timeline[0][0] if self._timeline else None
        return min((when for when in (deadline, due) if when is not None), default=None)

    def step(self) -> None:
        """Let the next thing happen."""
        deadline = self.core.next_deadline()
        if deadline is not None and (not self._timeline or deadline < self._timeline[0][0]):
            self._pass_time(deadline)
            return
        due, _sequence, what = heapq.heappop(self._timeline)
        self.now = max(self.now, due)
        what()

    def _pass_time(self, deadline: float) -> None:
        self.now = max(self.now, deadline)
        self.feed(r.TimePassed())
        upcoming = self.core.next_deadline()
        assert upcoming is None or upcoming > deadline, "time passed and nothing moved"

    def clock(self) -> float:
        """Virtual seconds."""
        return self.now

    def cpu_busy(self) -> float:
        """As the world has it."""
        return self.world.cpu_busy

    def on_fed(self) -> None:
        """After each event all laws hold, and there are not too many of them."""
        assert self.events < MAX_EVENTS, "no end in sight"
        self.check_laws()

    def schedule_turn(self) -> None:
        """The turn ends now, or a little later if events are shuffled."""
        self._after(1e-4 if self.world.shuffle else 0.0, self.end_turn)

    # -- readers --------------------------------------------------------------

    def _join(self, reader: SimReader) -> None:
        if reader.end is not End.WAITING:
            return
        spec, reader.joined = reader.spec, True
        if spec.start is not None and spec.stop is not None:
            reader.position = spec.start
            self.feed(r.ReaderJoined(reader.id, spec.start, spec.stop))
        elif spec.segnum is not None:
            self.feed(r.SegmentAsked(reader.id, spec.segnum))
        else:
            self.feed(r.SegmentSizeAsked(reader.id))

    def _end(self, reader: SimReader, end: End) -> None:
        assert reader.end is End.WAITING, (reader, end)
        reader.end, reader.ended_at = end, self.now
        reader.pieces.clear()

    def _leave(self, reader: SimReader, end: End) -> None:
        if reader.end is End.WAITING:
            self._end(reader, end)
            self.feed(r.ReaderLeft(reader.id))

    def _take(self, reader: SimReader, start: int, data: bytes) -> None:
        assert reader.range is not None
        low, high = reader.range
        assert low <= start < start + len(data) <= high, "bytes nobody asked for"
        assert data == self.world.file.ciphertext[start : start + len(data)], "wrong bytes"
        assert start >= reader.position and start not in reader.pieces, "bytes delivered twice"
        reader.pieces[start] = data
        self._write(reader)

    def _write(self, reader: SimReader) -> None:
        spec, before = reader.spec, reader.position
        while not reader.paused and reader.position in reader.pieces:
            data = reader.pieces.pop(reader.position)
            reader.data += data
            reader.position += len(data)
            if spec.pauses_s:
                pause_s = spec.pauses_s[reader.pauses % len(spec.pauses_s)]
                reader.pauses += 1
                if pause_s:
                    reader.paused = True
                    self.at(self.now + pause_s, lambda: self._resume(reader))
        if reader.position > before:
            self.feed(r.ReaderDelivered(reader.id, reader.position))
        assert reader.range is not None
        if spec.leaves_after is not None and len(reader.data) >= spec.leaves_after:
            self._leave(reader, End.LEFT)
        elif reader.position >= reader.range[1]:
            self._leave(reader, End.SERVED)

    def _resume(self, reader: SimReader) -> None:
        if reader.end is End.WAITING:
            reader.paused = False
            self._write(reader)

    # -- actions --------------------------------------------------------------

    def obey(self, action: r.Action) -> None:
        """Carry it out, as the driver does."""
        if isinstance(action, r.SendRead):
            self._read(action)
        elif isinstance(action, r.FindShares):
            self._find()
        elif isinstance(action, r.Decode):
            self._decode(action)
        elif isinstance(action, r.Deliver):
            self._deliver(action)
        elif isinstance(action, r.DropBatch):
            del self._decoded[action.batch]
        elif isinstance(action, r.AdviseCorrupt):
            server, shnum = self._share_ids[action.share]
            assert 0 <= action.start <= action.stop
            self.advices.append((server, shnum, action))
        else:
            self._answer(action)

    def _answer(self, action: r.Action) -> None:
        assert isinstance(action, (r.FailReader, r.TellSegmentSize, r.ReaderResolved))
        reader = self.readers[action.reader]
        if isinstance(action, r.FailReader):
            reader.error = action.error
            self._end(reader, End.FAILED)
            self.feed(r.ReaderLeft(reader.id))
        elif isinstance(action, r.TellSegmentSize):
            reader.segment_size = action.segment_size
            self._end(reader, End.SERVED)
        else:
            reader.segment_range = action.start, action.stop
            reader.position = action.start

    # -- servers --------------------------------------------------------------

    @staticmethod
    def _mood(moods: tuple[Mood, ...], number: int) -> Mood:
        return moods[min(number, len(moods) - 1)]

    def _find(self) -> None:
        self.searches += 1
        self._waiting += len(self.servers) + 1
        for number, server in enumerate(self.servers):
            mood = self._mood(server.spec.searches, server.searches)
            server.searches += 1
            latency_s = server.spec.latency_s
            if mood is Mood.FAIL:
                self._after(latency_s, self._search_done)
            elif mood is not Mood.NEVER:
                self._after(latency_s, partial(self._found, number, self.now), mood)
        self._search_done()

    def _found(self, number: int, asked: float) -> None:
        found = []
        for shnum in self.servers[number].contents:
            share = len(self._share_ids) + 1
            self._share_ids[share] = number, shnum
            found.append((share, shnum))
        self.feed(r.ServerAnswered(number, self.now - asked, tuple(found)))
        self._search_done()

    def _search_done(self) -> None:
        self._waiting -= 1
        if self._waiting == 0:
            self.feed(r.SearchEnded())

    def _read(self, action: r.SendRead) -> None:
        number, shnum = self._share_ids[action.share]
        server, record = self.servers[number], self.records[number]
        assert any(
            reader.joined and reader.end is End.WAITING for reader in self.readers.values()
        ), "a read and nobody to read it for"
        assert 0 <= action.start < 2**63 and 0 < action.length <= 4 * MIB, action
        assert record.max_reads == 0 or record.reads_in_flight <= record.max_reads, "no slot"
        assert action.read not in self._on_the_way and action.read not in self._answered
        self.sent.append(SentRead(self.now, number, shnum, action.start, action.length))
        self._on_the_way[action.read] = action.length
        mood = self._mood(server.spec.reads, server.reads)
        server.reads += 1
        data = server.contents[shnum][action.start : action.start + action.length]
        if mood is Mood.SHORT:
            data = data[: self.random.randrange(len(data) + 1)]
        elif mood is Mood.EMPTY:
            data = b""
        elif mood is Mood.GARBLED and data:
            data = flip(data, self.random.randrange(len(data)), self.random.randrange(1, 256))
        event: Answer = r.ReadAnswered(action.read, data)
        if mood is Mood.FAIL:
            event = r.ReadFailed(action.read, "gone")
        self._transmit(number, event, len(data), mood)

    def _transmit(self, number: int, event: Answer, length: int, mood: Mood) -> None:
        """Let *event* come when the server has sent *length* bytes, one answer after another."""
        server = self.servers[number]
        server.busy_until = max(self.now, server.busy_until) + length / server.spec.rate
        delay_s = server.busy_until - self.now + server.spec.latency_s
        if mood is not Mood.NEVER:
            self._after(delay_s, partial(self._come_back, event), mood)

    def _come_back(self, event: Answer) -> None:
        del self._on_the_way[event.read]
        self._answered.add(event.read)
        self.feed(event)

    # -- the worker -----------------------------------------------------------

    @property
    def geometry(self) -> Geometry:
        """The core's, which must be the file's."""
        geometry = self.core.geometry
        assert geometry is not None
        return geometry

    def _decode(self, action: r.Decode) -> None:
        geometry, file = self.geometry, self.world.file
        assert 0 <= action.first < action.stop <= file.num_segments
        length = geometry.block_start(action.stop) - geometry.block_start(action.first)
        assert len({source.shnum for source in action.sources}) == len(action.sources) == file.k
        assert all(len(source.blocks) == length for source in action.sources)
        assert action.hashes == file.leaves[action.first : action.stop], "unproved hashes"
        assert action.batch not in self._bad and action.batch not in self._in_worker
        self._in_worker[action.batch] = action
        self.most_decodes = max(self.most_decodes, len(self._in_worker))
        self._after(1e-3, lambda: self._on_decoded(action))

    def _on_decoded(self, action: r.Decode) -> None:
        del self._in_worker[action.batch]
        decoded = decode_batch(action, self.geometry, frozenset(), True)
        self._decoded[action.batch] = decoded
        self._bad[action.batch] = decoded.bad
        self.feed(r.BatchDecoded(action.batch, decoded.bad))

    def _deliver(self, action: r.Deliver) -> None:
        reader, decoded = self.readers[action.reader], self._decoded[action.batch]
        geometry = self.geometry
        for segnum in range(*geometry.segments_of(action.start, action.stop)):
            assert segnum not in self._bad[action.batch], "a bad segment is delivered"
        assert decoded.ciphertext is not None
        assert decoded.start <= action.start < action.stop
        assert action.stop <= decoded.start + len(decoded.ciphertext)
        if reader.end is not End.WAITING:  # it left while actions were carried out
            return
        data = decoded.ciphertext[action.start - decoded.start : action.stop - decoded.start]
        self._take(reader, action.start, data)

    # -- laws -----------------------------------------------------------------

    def check_laws(self) -> None:
        """:raise AssertionError: something does not add up."""
        core = self.core
        core.rows.check_invariants()
        for share in core.shares.values():
            share.ledger.check_invariants()
        assert core.counters.plans <= core.counters.changes
        assert self.budget.used_bytes >= 0
        for record in self.records.values():
            assert record.reads_in_flight >= 0 and record.bytes_in_flight >= 0
            assert 0 <= record.stalled <= record.reads_in_flight
        if not core.readers and self.is_alone:
            assert self.budget.used_bytes == 0, "bytes held for nobody"
        held = sum(len(d.ciphertext or b"") for d in self._decoded.values())
        if not self._queue:
            assert held <= self.budget.used_bytes, "decoded bytes outside the books"

    def _segments_of(self, reader: SimReader) -> tuple[int, int]:
        """The segments ``[first, stop)`` that *reader* needs."""
        file = self.world.file
        if reader.range is not None:
            start, stop = reader.range
            return start // file.segment_size, -(-stop // file.segment_size)
        segnum = reader.spec.segnum
        return (0, 0) if segnum is None else (segnum, min(segnum + 1, file.num_segments))

    def check_end(self) -> None:
        """:raise AssertionError: a reader was not served as the world allows."""
        world = self.world
        for reader in self.readers.values():
            if reader.spec.may_leave and reader.end is End.LEFT:
                continue
            assert reader.end is not End.WAITING, f"waits for ever: {reader}"
            if reader.end is End.SERVED:
                assert reader.error is None
                if reader.range is not None:
                    low, high = reader.range
                    assert not world.file.wrong_segments.intersection(
                        range(*self._segments_of(reader))
                    )
                    assert bytes(reader.data) == world.file.ciphertext[low:high]
            elif reader.spec.segnum is None or reader.spec.segnum < world.file.num_segments:
                first, stop = self._segments_of(reader)
                if world.is_possible(first, stop):
                    # Which error it is depends on whether all proofs came in time.
                    wrong = world.file.wrong_segments.intersection(range(first, stop))
                    assert wrong, f"{reader.error!r} in a good world"
                    assert isinstance(reader.error, FileError), reader.error
        assert not self.core.readers
        assert self.budget.used_bytes == 0
        assert not self._decoded and not self._in_worker
        if self.is_alone and not self._on_the_way:
            for record in self.records.values():
                assert record.reads_in_flight == record.bytes_in_flight == record.stalled == 0


def run_together(simulations: Sequence[Simulation]) -> None:
    """Run downloads of one node side by side to their end, and check them."""
    while True:
        times = [(s.next_time(), i) for i, s in enumerate(simulations)]
        due = min(((when, i) for when, i in times if when is not None), default=None)
        if due is None:
            break
        for simulation in simulations:
            simulation.now = max(simulation.now, due[0])
        simulations[due[1]].step()
        if simulations[due[1]].take_turn():
            for i, simulation in enumerate(simulations):
                if i != due[1]:
                    simulation.wake()
    for simulation in simulations:
        simulation.check_end()


def simulate(world: World) -> Simulation:
    """Run *world* to its end and check it."""
    simulation = Simulation(world).run()
    simulation.check_end()
    return simulation
