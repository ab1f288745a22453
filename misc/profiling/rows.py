"""The rows of the ticket's table: which function of which downloader stands in each.

A function is named as ``module:Class.method`` and found by import, so a row whose
function is gone raises instead of showing a zero. What is found is the key under
which the profiler counts it: file, line and name of the code.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import CodeType

from misc.bench.results import FAST, STOCK

Key = tuple[str, int, str]

SHARE = "allmydata.immutable.downloader.share:Share"
CORE = "tahoe_fastdl.core"
SHELL = "tahoe_fastdl.shell"

WAIT_TITLE = "reactor wait"
LOOP_TITLE = "loop, or events taken"
PLAN_TITLE = "one pass, or one plan"
NEEDED_TITLE = "hash trees: needed"
READS_TITLE = "reads sent"


class NoFunctionError(Exception):
    """A row names a function that is not there."""


@dataclass(frozen=True)
class Row:
    """One row: functions that do the same in both downloaders.

    ``both`` are counted for either kind. A row without functions is filled in by
    whoever measures. ``ticket_calls`` and ``ticket_s``: what the ticket says of 1.8.
    """

    title: str
    stock: tuple[str, ...] = ()
    fast: tuple[str, ...] = ()
    both: tuple[str, ...] = ()
    ticket_calls: int | None = None
    ticket_s: float | None = None
    keys: dict[str, frozenset[Key]] = field(default_factory=dict, compare=False, repr=False)

    def names(self, kind: str) -> tuple[str, ...]:
        """The functions of this row for stock or fast."""
        return self.both + {STOCK: self.stock, FAST: self.fast}[kind]

    def keys_of(self, kind: str) -> frozenset[Key]:
        """The same as the profiler names them.

        :raise NoFunctionError: one does not exist.
        """
        found = self.keys.get(kind)
        if found is None:
            found = self.keys[kind] = frozenset(map(resolve, self.names(kind)))
        return found


def resolve(name: str) -> Key:
    """The profiler's key of the function that ``module:qualified.name`` names.

    :raise NoFunctionError: there is none, or it is not written in Python.
    """
    module_name, _, path = name.partition(":")
    try:
        found: object = importlib.import_module(module_name)
        for part in path.split("."):
            found = inspect.getattr_static(found, part)
    except (ImportError, AttributeError) as problem:
        raise NoFunctionError(f"a row of the profile names {name}: {problem}") from problem
    if isinstance(found, (staticmethod, classmethod)):
        found = found.__func__
    code = getattr(inspect.unwrap(found), "__code__", None)  # type: ignore[arg-type]  # checked here
    if not isinstance(code, CodeType):
        raise NoFunctionError(f"a row of the profile names {name}, which is no function")
    return code.co_filename, code.co_firstlineno, code.co_name


def short_names(names: Iterable[str]) -> str:
    """For the reader: without modules."""
    return ", ".join(f"`{name.partition(':')[2]}`" for name in names)


ROWS: tuple[Row, ...] = (
    Row(WAIT_TITLE, ticket_calls=1705, ticket_s=101.4),
    Row(
        LOOP_TITLE,
        (f"{SHARE}.loop",),
        (f"{SHELL}.driver:Driver.feed",),
        ticket_calls=6428,
        ticket_s=17.6,
    ),
    Row(
        PLAN_TITLE,
        (f"{SHARE}._do_loop",),
        (f"{CORE}.download:Download._on_turn_ended",),
        ticket_calls=6428,
        ticket_s=16.2,
    ),
    Row(
        "desire",
        (f"{SHARE}._desire",),
        (f"{CORE}.ledger:Ledger.desire",),
        ticket_calls=6428,
        ticket_s=2.8,
    ),
    Row(
        "satisfaction",
        (f"{SHARE}._get_satisfaction",),
        (f"{CORE}.intake:Intake.keep", f"{CORE}.proving:Proving.finish"),
        ticket_calls=8028,
        ticket_s=3.1,
    ),
    Row(
        "what to fetch next",
        ("allmydata.immutable.downloader.fetcher:SegmentFetcher._do_loop",),
        (f"{CORE}.covering:Covering.cover", f"{CORE}.covering:Covering.admit"),
    ),
    Row(
        "send: all that is desired",
        (f"{SHARE}._send_requests",),
        (f"{CORE}.covering:Covering.send_desires",),
        ticket_calls=6428,
        ticket_s=9.3,
    ),
    Row(
        "send: one request",
        (f"{SHARE}._send_request",),
        (f"{SHELL}.wire:Wire.send",),
        ticket_calls=4828,
        ticket_s=7.1,
    ),
    Row(
        READS_TITLE,
        both=("allmydata.immutable.downloader.status:DownloadStatus.add_block_request",),
    ),
    Row(
        "one answer",
        (f"{SHARE}._got_data",),
        (f"{SHELL}.wire:Wire._answered",),
    ),
    Row("banana out", both=("foolscap.banana:Banana.send",), ticket_calls=5050, ticket_s=6.5),
    Row(
        "banana in", both=("foolscap.banana:Banana.dataReceived",), ticket_calls=1891, ticket_s=5.5
    ),
    Row("HTTP out and in", both=("allmydata.storage.http_client:read_share_chunk",)),
    Row("HTTP in", both=("twisted.web._newclient:HTTP11ClientProtocol.dataReceived",)),
    Row("TLS in", both=("twisted.protocols.tls:TLSMemoryBIOProtocol.dataReceived",)),
    Row(
        NEEDED_TITLE,
        (),
        (f"{CORE}.merkle:MerkleTree.missing_page",),
        ("allmydata.hashtree:IncompleteHashTree.needed_hashes",),
        ticket_calls=23231,
        ticket_s=3.1,
    ),
    Row(
        "hash trees: sibling",
        both=("allmydata.hashtree:CompleteBinaryTreeMixin.sibling",),
        ticket_calls=150076,
        ticket_s=1.7,
    ),
    Row(
        "hash trees: checked",
        (),
        (f"{CORE}.merkle:MerkleTree.accept",),
        ("allmydata.hashtree:IncompleteHashTree.set_hashes",),
    ),
    Row("log calls", both=("allmydata.util.log:msg",), ticket_calls=44426, ticket_s=2.5),
    Row(
        "spans, or masks set",
        (),
        (f"{CORE}.ledger:Ledger._set",),
        ("allmydata.util.spans:Spans.__init__",),
        ticket_calls=61062,
        ticket_s=1.4,
    ),
    Row(
        "decode, or hand to a worker",
        ("allmydata.immutable.downloader.node:DownloadNode._decode_blocks",),
        (f"{SHELL}.driver:Driver._decode",),
    ),
    Row(
        "check and decrypt here",
        ("allmydata.immutable.downloader.node:DownloadNode._check_ciphertext_hash",),
        (),
        ("allmydata.crypto.aes:decrypt_data",),
    ),
    Row(
        "delivery",
        ("allmydata.immutable.downloader.segmentation:Segmentation._got_segment",),
        (f"{SHELL}.delivery:Delivery.take",),
    ),
)
