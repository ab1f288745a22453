"""What is measured: each case is one file, fetched over one transport through one wire.

Pure. The grid is that of ticket #1264's "atlasperf1" (k = N from 1 to 60), the
encodings that people use, both segment sizes, both transports, and the wires
below.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from misc.grid_client import DEFAULT_SEGMENT_BYTES, FOOLSCAP, HTTP, OLD_SEGMENT_BYTES
from misc.wan_wire import Wire

MB = 1_000_000
KIB = 1 << 10

SERVERS = 6
LAN = "lan"  # loopback itself: no pipe in between, which would cost CPU

# Speed-limited lines have a round trip too, that of a near server.
NEAR_S = 0.010
WIRES: dict[str, Wire] = {
    LAN: Wire(),
    "20ms": Wire(delay_s=0.010),
    "50ms": Wire(delay_s=0.025),
    "200ms": Wire(delay_s=0.100),
    "1MB/s-a-server": Wire(delay_s=NEAR_S, server_rate=1 * MB),
    "10MB/s-a-server": Wire(delay_s=NEAR_S, server_rate=10 * MB),
    "2.5MB/s-in-all": Wire(delay_s=NEAR_S, downlink_rate=2.5 * MB),
    "5MB/s-a-server": Wire(delay_s=NEAR_S, server_rate=5 * MB),
}
# On these the machine waits for the wire, and several downloads may run side by side, each
# with a pipe and clients of its own: on how many such lanes. By how much there is to do, and
# so few that the machine is idle for most of the time.
LANES = {"1MB/s-a-server": 3, "2.5MB/s-in-all": 4}
WIRE_TITLES = {
    LAN: "loopback",
    "20ms": "20 ms round trip",
    "50ms": "50 ms round trip",
    "200ms": "200 ms round trip",
    "1MB/s-a-server": "1 MB/s a server, 20 ms",
    "10MB/s-a-server": "10 MB/s a server, 20 ms",
    "2.5MB/s-in-all": "2.5 MB/s in all, 20 ms",
    "5MB/s-a-server": "5 MB/s a server, 20 ms",
}
SWEPT_WIRES = tuple(wire for wire in WIRES if wire != "5MB/s-a-server")

STOCK = "stock"
FAST = "fast"
KINDS = (STOCK, FAST)

TRANSPORTS = (FOOLSCAP, HTTP)
SEGMENTS = (OLD_SEGMENT_BYTES, DEFAULT_SEGMENT_BYTES)


@dataclass(frozen=True, order=True)
class Encoding:
    """k of N."""

    needed: int
    total: int

    def __str__(self) -> str:
        return f"{self.needed}-of-{self.total}"


LADDER = tuple(Encoding(k, k) for k in (1, 3, 5, 10, 15, 20, 30, 45, 60))
USUAL = (Encoding(3, 10), Encoding(20, 60), Encoding(80, 240))
ENCODINGS = (*LADDER, *USUAL)


def segment_title(segment_bytes: int) -> str:
    """``128 KiB``, ``1 MiB``."""
    kib = segment_bytes / KIB
    return f"{kib / KIB:g} MiB" if kib >= KIB else f"{kib:g} KiB"


@dataclass(frozen=True)
class File:
    """A file of the sweep; its bytes follow from this."""

    length: int
    encoding: Encoding
    segment_bytes: int

    def __str__(self) -> str:
        length = f"{self.length / MB:g} MB"
        return f"{length}, {self.encoding}, {segment_title(self.segment_bytes)} segments"


@dataclass(frozen=True)
class Case:
    """A file, a transport and a wire; at most ``runs`` downloads of each of ``kinds``."""

    file: File
    transport: str
    wire: str
    runs: int = 3
    kinds: Sequence[str] = KINDS

    @property
    def key(self) -> str:
        """Names the case in the results."""
        return f"{self.file.length}/{self.family}"

    @property
    def family(self) -> str:
        """Names all cases that differ in the file's length alone."""
        file = self.file
        return f"{file.encoding}/{file.segment_bytes}/{self.transport}/{self.wire}"

    @property
    def links_rate(self) -> float:
        """Bytes a second of all links that can be used together; infinite on a LAN."""
        wire = WIRES[self.wire]
        rates = [float("inf")]
        if wire.server_rate:
            rates.append(wire.server_rate * min(SERVERS, self.file.encoding.total))
        if wire.downlink_rate:
            rates.append(wire.downlink_rate)
        return min(rates)

    @property
    def drain_s(self) -> float:
        """How long at most a segment is still on its way to a client that was given up."""
        wire = WIRES[self.wire]
        rates = [rate for rate in wire.rates if rate]
        return 2 * wire.delay_s + (self.file.segment_bytes / min(rates) if rates else 0.0)

    def on_wire(self, wire: str) -> Case:
        """The same through another wire."""
        return replace(self, wire=wire)

    def with_length(self, length: int) -> Case:
        """The same of another length."""
        return replace(self, file=replace(self.file, length=length))

    def __str__(self) -> str:
        return f"{self.file}, {self.transport}, {WIRE_TITLES[self.wire]}"


@dataclass(frozen=True)
class Block:
    """All combinations of these."""

    sizes: Sequence[int] = (1 * MB, 10 * MB, 100 * MB)
    encodings: Sequence[Encoding] = ENCODINGS
    segments: Sequence[int] = SEGMENTS
    transports: Sequence[str] = TRANSPORTS
    wires: Sequence[str] = SWEPT_WIRES
    runs: int = 3
    kinds: Sequence[str] = KINDS

    def cases(self) -> Iterator[Case]:
        """Each of them."""
        for segment_bytes in self.segments:
            for encoding in self.encodings:
                for length in self.sizes:
                    file = File(length, encoding, segment_bytes)
                    for transport in self.transports:
                        for wire in self.wires:
                            yield Case(file, transport, wire, self.runs, self.kinds)


# 1 GB is there for its memory.
GIGABYTE = Block((1000 * MB,), (Encoding(3, 10),), SEGMENTS[1:], TRANSPORTS, (LAN,), 1)
FAR = tuple(wire for wire in SWEPT_WIRES if wire != LAN)
FEW_K = (Encoding(3, 10), Encoding(20, 60), Encoding(60, 60))
FEW = (Encoding(1, 1), Encoding(3, 10), Encoding(10, 10), Encoding(20, 60), Encoding(60, 60))

PRESETS: dict[str, tuple[Block, ...]] = {
    "full": (Block(), GIGABYTE),
    # What the figures need: the far wires on fewer encodings, one size and Foolscap.
    "standard": (
        Block(wires=(LAN,)),
        Block((10 * MB,), FEW, SEGMENTS, (FOOLSCAP,), FAR, 3),
        Block((10 * MB,), USUAL[:2], SEGMENTS, (HTTP,), ("50ms",), 3),
        GIGABYTE,
    ),
    "quick": (
        Block((1 * MB, 10 * MB), USUAL[:2], SEGMENTS[:1], TRANSPORTS, (LAN,), 1),
        Block((10 * MB,), USUAL[:2], SEGMENTS[:1], (FOOLSCAP,), ("50ms", "10MB/s-a-server"), 1),
        Block((10 * MB,), USUAL[1:2], SEGMENTS[1:], (FOOLSCAP,), (LAN, "50ms"), 1),
    ),
    # The rows of targets.py, and all encodings on fast alone: is it equally fast at each k?
    "targets": (
        Block((100 * MB,), FEW_K, SEGMENTS, (FOOLSCAP,), (LAN,)),
        Block((10 * MB,), USUAL[1:2], SEGMENTS[:1], (FOOLSCAP,), (LAN,)),
        Block((100 * MB,), (Encoding(60, 60), Encoding(3, 10)), SEGMENTS[1:], (HTTP,), (LAN,)),
        Block((10 * MB,), LADDER[-1:], SEGMENTS[:1], (HTTP,), (LAN,)),
        Block((100 * MB,), USUAL[:1], SEGMENTS[:1], (FOOLSCAP,), ("50ms",)),
        Block((100 * MB,), LADDER[-1:], SEGMENTS[1:], (FOOLSCAP,), ("50ms",)),
        Block((1 * MB,), USUAL[:1], SEGMENTS[1:], (FOOLSCAP,), ("50ms",)),
        Block((100 * MB,), FEW_K, SEGMENTS, (FOOLSCAP,), ("5MB/s-a-server",), kinds=(FAST,)),
        Block((100 * MB,), ENCODINGS, SEGMENTS, TRANSPORTS, (LAN,), kinds=(FAST,)),
    ),
}

# A download of half a second takes now 0.4 and now 0.6; three of them say too little.
PRESETS["targets"] = tuple(replace(block, runs=9) for block in PRESETS["targets"])


def in_order(cases: Iterable[Case]) -> list[Case]:
    """Without repetitions, and so that one file after another is uploaded.

    The small file first: how long stock takes for it tells whether the large one
    is worth the wait.
    """
    seen: dict[str, Case] = {}
    for case in cases:
        seen.setdefault(case.key, case)
    wires = list(WIRES)
    return sorted(
        seen.values(),
        key=lambda case: (
            case.file.segment_bytes,
            case.file.encoding,
            case.file.length,
            case.transport,
            wires.index(case.wire),
        ),
    )


def parse_size(text: str) -> int:
    """``10``, ``10MB`` or ``0.5GB``; megabytes without a unit."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(kb|mb|gb|)", text.strip().lower())
    if match is None or not float(match.group(1)):
        raise ValueError(f"not a size: {text}")
    unit = {"kb": 1000, "mb": MB, "": MB, "gb": 1000 * MB}[match.group(2)]
    return int(float(match.group(1)) * unit)


def parse_segment(text: str) -> int:
    """``128KiB``, ``1MiB``, or a number of KiB."""
    match = re.fullmatch(r"(\d+)\s*(kib|mib|)", text.strip().lower())
    if match is None or not int(match.group(1)):
        raise ValueError(f"not a segment size: {text}")
    return int(match.group(1)) * KIB * (KIB if match.group(2) == "mib" else 1)


def parse_encoding(text: str) -> Encoding:
    """``20-of-60``, or ``20`` for 20-of-20."""
    match = re.fullmatch(r"(\d+)(?:-of-(\d+))?", text.strip())
    if match is None:
        raise ValueError(f"not an encoding: {text}")
    needed = int(match.group(1))
    encoding = Encoding(needed, int(match.group(2) or needed))
    if not 1 <= encoding.needed <= encoding.total <= 256:
        raise ValueError(f"not an encoding: {text}")
    return encoding


def parse_transport(text: str) -> str:
    """One of ``TRANSPORTS``."""
    if text not in TRANSPORTS:
        raise ValueError(f"not a transport: {text}")
    return text


def parse_wire(text: str) -> str:
    """A name of ``WIRES``."""
    if text not in WIRES:
        raise ValueError(f"not a wire: {text}; there are {', '.join(WIRES)}")
    return text
