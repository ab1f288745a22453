"""What stock wanted, asked, got and used, in the same order, on our bitmaps.

The fairest comparison: our own downloads have fewer events. Stock's byte ranges become
*units*: the version, the offset table, each block, each node of the block hash tree and
of the ciphertext hash tree, the share hash chain, the UEB's length and the UEB, each a
bit of one ``Ledger`` for each share. A range stands for the units that are wholly
inside it, so stock's guesses at a wrong segment size mostly stand for none.

One event becomes one call, or none where bitmaps need none (copies and sums of spans,
text for log messages). Passes that find nothing are kept.

Law: what the ledger desires in a pass is what stock asks for in it, and what the ledger
holds is what stock finds; *differences* counts where that is not so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from misc.bench.cases import File
from misc.spans_trace import operations
from misc.spans_trace.operations import CREATE
from misc.spans_trace.replay import NONE, Call, Program, begin_of, geometry_of
from misc.spans_trace.traces import Event, Group, NoTraceError, Trace
from tahoe_fastdl.core.geometry import ceil_div, mask_of
from tahoe_fastdl.core.layout import HASH_SIZE, expected_layout
from tahoe_fastdl.core.ledger import Ledger
from tahoe_fastdl.core.plan import runs_of

VERSION_BYTES = 4


@dataclass(frozen=True)
class Section:
    """*count* units of the same length, one after another in the share."""

    start: int
    unit_bytes: int
    count: int
    first_bit: int


class Units:
    """Which units a byte range of a file's shares holds."""

    def __init__(self, file: File) -> None:
        self._geometry = geometry_of(file)
        layout = expected_layout(self._geometry)
        self.data_start = layout.data
        self._sections: list[Section] = []
        self._bits = self._geometry.num_segments  # the blocks come first
        self._masks: dict[tuple[int, int], int] = {}
        nodes = (layout.share_hashes - layout.block_hashes) // HASH_SIZE
        self._add(0, VERSION_BYTES)
        # The offset table is the end of the header: six numbers.
        self._add(layout.data - 6 * layout.field_size, 6 * layout.field_size)
        self._add(layout.block_hashes, HASH_SIZE, nodes)
        self._add(layout.crypttext_hash_tree, HASH_SIZE, nodes)
        self._add(layout.share_hashes, layout.share_hashes_length())
        self._add(layout.uri_extension, layout.field_size)
        # No trace says how long the UEB is; nothing but it is ever asked from there.
        self._add(layout.uri_extension + layout.field_size, 1)

    def _add(self, start: int, unit_bytes: int, count: int = 1) -> None:
        self._sections.append(Section(start, unit_bytes, count, self._bits))
        self._bits += count

    @property
    def count(self) -> int:
        """Of all units of a share: the length of its masks."""
        return self._bits

    def mask(self, start: int, length: int) -> int:
        """The units wholly in ``[start, start + length)``."""
        found = self._masks.get((start, length))
        if found is None:
            found = self._masks[start, length] = self._mask(start, start + length)
        return found

    def _mask(self, start: int, stop: int) -> int:
        mask = mask_of(
            *self._geometry.whole_blocks(start - self.data_start, stop - self.data_start)
        )
        for section in self._sections:
            first = max(0, ceil_div(start - section.start, section.unit_bytes))
            last = min(section.count, (stop - section.start) // section.unit_bytes)
            if first < last:
                mask |= mask_of(section.first_bit + first, section.first_bit + last)
        return mask


# ---------------------------------------------------------------- calls of one event


def _wants(ledger: Ledger) -> list[tuple[int, int]]:
    """What is to be asked, as runs; ``cut_reads`` would do the same."""
    return list(runs_of(ledger.desire()))


def _holds(ledger: Ledger, mask: int) -> bool:
    return ledger.have & mask == mask


def _let_go(ledger: Ledger) -> None:
    ledger.on_unwanted(ledger.have)


def _is_disappointed(ledger: Ledger) -> bool:
    return bool(ledger.wanted & ledger.bad)


# ---------------------------------------------------------------- translation


@dataclass(frozen=True)
class Translation:
    """A program for our bitmaps, and how well it agrees with what it was made of."""

    program: Program
    units: int  # of a share
    checked: int  # passes that could ask, and questions what is held
    differences: int


@dataclass
class _Spans:
    """The numbers of one share's long-lived spans, and the ledger that takes their place."""

    ledger: Ledger
    place: int
    pending: int
    received: int
    unavailable: int


def translate(trace: Trace) -> Translation:
    """Make the program.

    :raise NoTraceError: the trace is not one of stock's.
    """
    return _Translator(trace).translation()


class _Translator:
    """Goes through a trace once, and does on ledgers of its own what it writes down."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._units = Units(trace.file)
        self._shares: dict[int, _Spans] = {}
        self._calls: list[Call] = []
        self._checked = self._differences = 0

    def translation(self) -> Translation:
        program = Program(lambda: [Ledger() for _ in self._shares])
        for group in self._trace.groups:
            self._calls = []
            if group.begin == operations.SHARE_FOUND:
                self._add_share(group)
            elif group.share:
                self._take(group)
            program.groups.append((begin_of(group), self._calls))
            program.events += len(self._calls)
        return Translation(program, self._units.count, self._checked, self._differences)

    def _add_share(self, group: Group) -> None:
        """A share begins with its spans, in this order: pending, received, unavailable."""
        made = [event.target for event in group.events if event.operation.method == CREATE]
        if len(made) != 3:
            raise NoTraceError(f"a share that begins with {len(made)} spans")
        self._shares[group.share] = _Spans(Ledger(), len(self._shares), *made)

    def _call(self, share: _Spans, function: Callable[..., Any], *arguments: int) -> Any:
        """Do it now, and when the program is run."""
        self._calls.append((function, share.place, NONE, arguments, NONE))
        return function(share.ledger, *arguments)

    def _expect(self, is_so: bool) -> None:
        self._checked += 1
        self._differences += not is_so

    def _take(self, group: Group) -> None:
        if group.share not in self._shares:
            raise NoTraceError("a share without a beginning")
        share = self._shares[group.share]
        desired, asked = None, 0
        for event in group.events:
            if event.operation.owner == "DataSpans":
                self._take_data(share, event)
            elif event.name == "Spans.add":
                mask = self._units.mask(*event.arguments)
                self._call(share, self._meaning_of_add(share, event.target), mask)
                asked |= mask if event.target == share.pending else 0
            elif event.name == "Spans.__iter__":
                desired = share.ledger.desire()
                self._call(share, _wants)
            elif event.name == "Spans.__and__":
                self._call(share, _is_disappointed)
        if desired is not None:
            self._expect(desired == asked)

    @staticmethod
    def _meaning_of_add(share: _Spans, target: int) -> Callable[[Ledger, int], None]:
        if target == share.pending:
            return Ledger.on_asked
        if target == share.unavailable:
            return Ledger.on_refused
        return Ledger.on_wanted  # one of the spans that a pass makes for its desires

    def _take_data(self, share: _Spans, event: Event) -> None:
        if event.operation.method == CREATE:  # stock drops all that it still holds
            share.received = event.target
            self._call(share, _let_go)
        elif event.operation.method in ("get", "pop"):
            mask = self._units.mask(*event.arguments)
            is_held = self._call(share, _holds, mask)
            if mask:
                self._expect(is_held == bool(event.result))
            if event.operation.method == "pop" and event.result:
                self._call(share, Ledger.on_unwanted, mask)
        elif event.operation.method == "remove":
            self._call(share, Ledger.on_unwanted, self._units.mask(*event.arguments))
        elif event.operation.method == "add":
            self._call(share, Ledger.on_answered, self._units.mask(*event.arguments))
