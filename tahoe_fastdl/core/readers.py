"""Who wants what: readers of byte ranges, of one segment, of the segment size.

Pure.  A reader's ``todo`` has a bit for each segment it still needs; it goes
when the segment is decoded, and ``position`` moves when the consumer took it.
"""

from __future__ import annotations

from attrs import define, field

from .geometry import Geometry, mask_of


@define(eq=False)
class Reader:
    """One reader.  ``start`` and ``stop`` are file bytes, None until they are known."""

    id: int
    start: int | None = None
    stop: int | None = None
    segnum: int | None = None  # a reader of one whole segment
    position: int = 0
    todo: int = 0
    held_bytes: int = 0  # decoded for it and not delivered
    failed: bool = False  # its failure is told; it goes at the end of the turn

    @property
    def wants_bytes(self) -> bool:
        """False for a reader that only asks for the segment size."""
        return self.start is not None or self.segnum is not None

    def resolve(self, geometry: Geometry) -> None:
        """The geometry is known: fill in range and ``todo``."""
        if self.segnum is not None:
            self.start = geometry.segment_start(self.segnum)
            self.stop = geometry.segment_start(self.segnum + 1)
        if self.start is None or self.stop is None:
            return
        self.position = max(self.position, self.start)
        self.todo = mask_of(*geometry.segments_of(self.start, self.stop))

    def has_begun(self) -> bool:
        """Whether some of its bytes are decoded or delivered."""
        return self.held_bytes > 0 or self.position != self.start

    def guess_start(self, geometry: Geometry) -> int | None:
        """Where reading begins, as far as can be told before the UEB is here."""
        if self.segnum is not None:
            return min(self.segnum, geometry.num_segments - 1) * geometry.segment_size
        return self.start


@define(eq=False)
class Held:
    """Decoded segments some readers have not delivered, *since* when, and their end for each."""

    reserved_bytes: int
    since: float
    waiting: dict[int, int] = field(factory=dict)  # reader -> file position that frees it
