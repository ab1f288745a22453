"""A client in virtual time: what its downloads share, and one download by the plugin's core.

Stands where ``shell.hub``, ``shell.driver``, ``shell.finder``, ``shell.wire``,
``shell.worker`` and ``shell.delivery`` stand. The core is the real one, with its own
budget and server records; bytes are those of a ``ZeroFile``, and a batch is
answered as decoded without decoding it. Readers take what is delivered at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from misc.simulator.loop import Loop
from misc.simulator.wire import Downlink, Processor, Server, Timeline
from misc.simulator.zero_file import ZeroFile
from tahoe_fastdl.core import records as r
from tahoe_fastdl.core import servers as core_servers
from tahoe_fastdl.core.download import Download, Options
from tahoe_fastdl.core.window import MIB, Budget

DYHB_BYTES = 200
READER = 1


@dataclass(frozen=True)
class Costs:
    """What the client's machine takes for it. Seconds.

    Least squares over the sweep's runs on loopback (``misc/bench``, Foolscap, 73 cases of
    fast; for stock 28 of them), by time and not by CPU: there servers and wire run on the
    client's two cores, so what a message costs all of them is put on the client. On fast a
    request took 9 ms, a message 0.25 ms, a megabyte 2.9 ms; on stock 6, 0.36 and 6.5 ms, of
    which 1.5 ms a megabyte are a worker's, for hashes and AES: stock waits for it, fast
    does not.
    """

    request_s: float = 0.009
    message_s: float = 0.25e-3
    byte_s: float = 2.9e-9
    worked_byte_s: float = 1.5e-9

    def of_answer(self, length: int) -> float:
        """Of taking one answer."""
        return self.message_s + length * self.byte_s


FAST_COSTS = Costs()
STOCK_COSTS = Costs(request_s=0.006, message_s=0.36e-3, byte_s=5.0e-9)


@dataclass
class Client:
    """What downloads of one client share."""

    timeline: Timeline
    downlink: Downlink
    processor: Processor
    budget: Budget = field(default_factory=lambda: Budget(64 * MIB))
    records: dict[int, core_servers.Server] = field(default_factory=dict)
    downloads: list[FastDownload] = field(default_factory=list)
    _is_waking: bool = False

    @classmethod
    def behind(cls, downlink_rate: float, memory: int = 64 * MIB) -> Client:
        """One that was just started, with a line of this rate; 0 is no limit."""
        timeline = Timeline()
        downlink = Downlink(timeline, downlink_rate)
        return cls(timeline, downlink, Processor(timeline), Budget(memory))

    def wake_later(self, who: FastDownload) -> None:
        """*who* had a turn: others may find what they wait for."""
        if not self._is_waking and len(self.downloads) > 1:
            self._is_waking = True
            self.timeline.at(self.timeline.now, self._wake)

    def _wake(self) -> None:
        self._is_waking = False
        for download in self.downloads:
            download.wake()


@dataclass(frozen=True)
class Outcome:
    """What a download took. Times from its start."""

    seconds: float
    first_byte_s: float
    reads: int
    fetched_bytes: int  # all that servers were asked for: a read cannot be taken back
    hedges: int = 0
    replaced: int = 0
    failed: str = ""


class FastDownload(Loop):
    """One reader of one whole file."""

    def __init__(
        self, client: Client, file: ZeroFile, servers: Sequence[tuple[int, Server, Sequence[int]]]
    ) -> None:
        """
        :param servers: number in the client's records, the server, the shares it has.
        """
        super().__init__()
        geometry = file.geometry
        self.client = client
        self.file = file
        self.outcome: Outcome | None = None
        self._servers = servers
        self._shares: dict[int, tuple[Server, int]] = {}
        self._answers_due = 0
        self._timer: float | None = None
        self._pieces: dict[int, int] = {}
        self._position = 0
        self._fetched = 0
        self._began = 0.0
        self._first_byte_s = 0.0
        for number, _server, _shnums in servers:
            client.records.setdefault(number, core_servers.Server())
        # The client has last seen a file of the same segment size.
        options = Options(segment_size_hint=geometry.segment_size)
        self.core = Download(
            geometry.size, geometry.k, geometry.n, file.ueb_hash, client.budget, client.records,
            options,
        )  # fmt: skip

    def start(self) -> None:
        """The request comes in now."""
        self._began = self.client.timeline.now
        self.client.downloads.append(self)
        join = r.ReaderJoined(READER, 0, self.file.geometry.size)
        self.client.processor.handle(FAST_COSTS.request_s, partial(self.feed, join))

    # -- the loop ---------------------------------------------------------------

    def clock(self) -> float:
        """Virtual seconds."""
        return self.client.timeline.now

    def cpu_busy(self) -> float:
        """Of the client."""
        return self.client.processor.busy()

    def schedule_turn(self) -> None:
        """After what is due at this very moment."""
        self.client.timeline.at(self.client.timeline.now, self._turn)

    def _turn(self) -> None:
        self.end_turn()
        self._set_timer()
        self.client.wake_later(self)

    def _set_timer(self) -> None:
        when = self.core.next_deadline()
        if when is None or (self._timer is not None and self._timer <= when):
            return  # it fires early enough, and then sets itself again
        self._timer = when
        self.client.timeline.at(when, partial(self._time_passed, when))

    def _time_passed(self, when: float) -> None:
        if self._timer != when:
            return  # an earlier one took its place
        self._timer = None
        deadline = self.core.next_deadline()
        if deadline is not None and deadline <= self.client.timeline.now:
            self.feed(r.TimePassed())
        self._set_timer()

    # -- actions ----------------------------------------------------------------

    def obey(self, action: r.Action) -> None:
        """Carry it out; there is nothing to do for those of other readers."""
        if isinstance(action, r.SendRead):
            self._read(action)
        elif isinstance(action, r.Decode):
            self._decode(action)
        elif isinstance(action, r.Deliver):
            self._pieces[action.start] = action.stop
            self._write()
        elif isinstance(action, r.FindShares):
            self._find()
        elif isinstance(action, r.FailReader):
            self._end(type(action.error).__name__)
        else:
            assert isinstance(action, r.DropBatch), action  # zeros are proved, no share lies

    def _find(self) -> None:
        self._answers_due += len(self._servers)
        for number, server, shnums in self._servers:
            asked = self.client.timeline.now
            server.ask(DYHB_BYTES, partial(self._found, number, server, shnums, asked))

    def _found(
        self, number: int, server: Server, shnums: Sequence[int], asked: float, is_here: bool
    ) -> None:
        self.client.processor.handle(
            FAST_COSTS.message_s, partial(self._take_found, number, server, shnums, asked, is_here)
        )

    def _take_found(
        self, number: int, server: Server, shnums: Sequence[int], asked: float, is_here: bool
    ) -> None:
        if self.outcome is not None:
            return
        if is_here:
            found = []
            for shnum in shnums:
                share = len(self._shares) + 1
                self._shares[share] = server, shnum
                found.append((share, shnum))
            passed = self.client.timeline.now - asked
            self.feed(r.ServerAnswered(number, passed, tuple(found)))
        self._answers_due -= 1
        if not self._answers_due:
            self.feed(r.SearchEnded())

    def _read(self, action: r.SendRead) -> None:
        server, shnum = self._shares[action.share]
        data = self.file.read(shnum, action.start, action.length)
        self._fetched += len(data)
        server.ask(len(data), partial(self._answered, action.read, data))

    def _answered(self, read: int, data: bytes, is_here: bool) -> None:
        event = r.ReadAnswered(read, data) if is_here else r.ReadFailed(read, "connection lost")
        cost = FAST_COSTS.of_answer(len(data) if is_here else 0)
        self.client.processor.handle(cost, partial(self._take_answer, event))

    def _take_answer(self, event: r.Event) -> None:
        if self.outcome is None:
            self.feed(event)

    def _decode(self, action: r.Decode) -> None:
        geometry = self.file.geometry
        length = geometry.segment_start(action.stop) - geometry.segment_start(action.first)
        missing = sum(source.shnum >= geometry.k for source in action.sources)
        # As ``plan.ZFEC_S_PER_BYTE_AND_K`` has it, for each missing block's bytes.
        zfec_s = 0.6e-9 * missing * length
        decoded = r.BatchDecoded(action.batch, ())
        self.client.processor.work(
            length * FAST_COSTS.worked_byte_s + zfec_s, partial(self._take_answer, decoded)
        )

    # -- the reader -------------------------------------------------------------

    def _write(self) -> None:
        before = self._position
        while self._position in self._pieces:
            self._position = self._pieces.pop(self._position)
        if self._position == before:
            return
        if not before:
            self._first_byte_s = self.client.timeline.now - self._began
        self.feed(r.ReaderDelivered(READER, self._position))
        if self._position == self.file.geometry.size:
            self._end()

    def _end(self, failed: str = "") -> None:
        counters = self.core.counters
        self.outcome = Outcome(
            self.client.timeline.now - self._began,
            self._first_byte_s,
            counters.reads_sent,
            self._fetched,
            counters.hedges,
            counters.replaced,
            failed,
        )
        self.feed(r.ReaderLeft(READER))
        self.client.downloads.remove(self)
        self.client.wake_later(self)
