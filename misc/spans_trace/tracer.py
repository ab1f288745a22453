"""Notes in a running node every event that ``operations`` names.

Methods are wrapped on their classes, so whoever made an object, its calls are seen.
Only the outermost call is an event. All of it happens in the reactor's thread. No byte
of data is noted, and no cap: of a file there are its size and its encoding.

The node is slower by some microseconds an event and decides as it would without.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from misc.spans_trace import operations
from misc.spans_trace.operations import CREATE, Kind, Operation, Result

ATTRIBUTE = "_trace_number"


class Tracer:
    """Writes the trace of this process."""

    def __init__(self, path: Path) -> None:
        # A line at a time: twistd ends by a signal of its own, and nothing runs then.
        self._handle = open(path, "w", buffering=1, encoding="utf-8")
        self._depth = 0
        self._count = 0
        # Of objects that take no attribute, which must then not be freed.
        self._kept: dict[int, tuple[int, object]] = {}

    def close(self) -> None:
        """Nothing more will be noted."""
        self._handle.close()

    # ------------------------------------------------------------ numbers

    def number_of(self, found: object) -> int:
        """The same for the same object, as long as the process lives."""
        if hasattr(found, "__dict__"):
            if ATTRIBUTE not in vars(found):
                self._count += 1
                vars(found)[ATTRIBUTE] = self._count
            return int(vars(found)[ATTRIBUTE])
        if id(found) not in self._kept:
            self._count += 1
            self._kept[id(found)] = (self._count, found)
        return self._kept[id(found)][0]

    def _encoded(self, kind: Kind, value: Any) -> Any:
        if kind in (Kind.NUMBER, Kind.PAIR):
            return value
        if kind is Kind.MASK:
            from tahoe_fastdl.core.plan import runs_of  # a stock node need not have it

            return [end for run in runs_of(value) for end in run]
        if kind is Kind.DATA:
            return len(value)
        if kind is Kind.OBJECT:
            return self.number_of(value)
        if kind is Kind.OBJECTS:
            return [self.number_of(each) for each in value]
        return None

    def _write(self, line: object) -> None:
        self._handle.write(json.dumps(line, separators=(",", ":")) + "\n")

    # ------------------------------------------------------------ wrapping

    def trace_method(self, owner: type, operation: Operation) -> None:
        """From now on calls of it are events.

        :raise AttributeError: the class has no such method.
        """
        original = getattr(owner, operation.method)

        @functools.wraps(original)
        def traced(target: object, *arguments: Any) -> Any:
            return self._call(operation, original, target, arguments)

        setattr(owner, operation.method, traced)

    def trace_function(self, modules: list[Any], operation: Operation) -> None:
        """The same for a function that these modules have imported; some of them may not."""
        for module in modules:
            original = getattr(module, operation.method, None)
            if original is not None:
                setattr(module, operation.method, self._traced_function(original, operation))

    def _traced_function(self, original: Callable[..., Any], operation: Operation) -> Any:
        @functools.wraps(original)
        def traced(*arguments: Any) -> Any:
            return self._call(operation, original, None, arguments)

        return traced

    def _call(
        self,
        operation: Operation,
        original: Callable[..., Any],
        target: object | None,
        arguments: tuple[Any, ...],
    ) -> Any:
        call = arguments if target is None else (target, *arguments)
        if self._depth:
            return original(*call)
        assert len(arguments) == len(operation.kinds), operation.name
        # Before the call: it may use an iterable up.
        encoded = list(map(self._encoded, operation.kinds, arguments))
        self._depth += 1
        try:
            result = original(*call)
        finally:
            self._depth -= 1
        line = [operation.name, 0 if target is None else self.number_of(target), *encoded]
        if operation.result is Result.OBJECT:
            line.append(self.number_of(result))
        elif operation.result is Result.HIT:
            line.append(int(bool(result)))
        elif operation.result is Result.LEDGER:
            assert target is not None
            line.append(self.number_of(vars(target)["ledger"]))
        self._write(line)
        return result

    def mark(self, owner: type, method: str, describe: Callable[..., Mapping[str, Any]]) -> None:
        """From now on a call of it begins something.

        :param describe: the marker, from the call's arguments.
        """
        original = getattr(owner, method)

        @functools.wraps(original)
        def marked(*arguments: Any, **named: Any) -> Any:
            self._write(dict(describe(*arguments, **named)))
            return original(*arguments, **named)

        setattr(owner, method, marked)


# ---------------------------------------------------------------- the two downloaders


def trace_stock(tracer: Tracer) -> None:
    """Trace Tahoe's own downloader."""
    from allmydata.immutable.downloader import node, share
    from allmydata.util import spans

    for operation in (*operations.SPANS, *operations.DATA_SPANS):
        tracer.trace_method(getattr(spans, operation.owner), operation)
    number = tracer.number_of

    def file_opened(opened: Any, verifycap: Any, *_rest: Any) -> Mapping[str, Any]:
        return {
            "begin": operations.FILE,
            "file": number(opened),
            "size": verifycap.size,
            "needed": verifycap.needed_shares,
            "total": verifycap.total_shares,
        }

    def share_found(
        found: Any, _rref: Any, _server: Any, _cap: Any, _common: Any, of: Any, *_rest: Any
    ) -> Mapping[str, Any]:
        begin = operations.SHARE_FOUND
        return {"begin": begin, "file": number(of), "share": number(found)}

    def of_share(begin: str) -> Callable[..., Mapping[str, Any]]:
        def describe(found: Any, *_rest: Any) -> Mapping[str, Any]:
            return {"begin": begin, "file": number(found._node), "share": number(found)}

        return describe

    tracer.mark(node.DownloadNode, CREATE, file_opened)
    tracer.mark(share.Share, CREATE, share_found)
    tracer.mark(share.Share, "loop", of_share(operations.PASS))
    tracer.mark(share.Share, "_got_data", of_share(operations.ANSWER))


def trace_fast(tracer: Tracer) -> None:
    """Trace the plugin."""
    from tahoe_fastdl.core import books, covering, download, ledger, opening, rows, share

    classes = {"Ledger": ledger.Ledger, "Share": share.Share, "Rows": rows.Rows}
    for operation in (*operations.LEDGER, *operations.SHARE, *operations.ROWS):
        tracer.trace_method(classes[operation.owner], operation)
    for operation in operations.CUTS:
        tracer.trace_function([books, covering, download, opening], operation)
    number = tracer.number_of

    def file_opened(opened: Any, size: int, k: int, n: int, *_rest: Any) -> Mapping[str, Any]:
        return {
            "begin": operations.FILE,
            "file": number(opened),
            "size": size,
            "needed": k,
            "total": n,
        }

    def event_taken(taker: Any, event: object, *_rest: Any) -> Mapping[str, Any]:
        return {"begin": type(event).__name__, "file": number(taker)}

    tracer.mark(download.Download, CREATE, file_opened)
    tracer.mark(download.Download, "receive", event_taken)
