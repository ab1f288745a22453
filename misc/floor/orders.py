"""The child's side of a measuring process: takes orders, gives answers, a JSON line each.

Orders come on standard input and may hold a cap; answers hold none. The process
ends when its input does, so it does not outlive a parent that was killed.
Whatever else writes to standard output lands in the log instead.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from collections.abc import Awaitable
from typing import Any, Callable, TextIO

Order = dict[str, Any]
Answer = dict[str, Any]


def run_plain(obey: Callable[[Order], Answer]) -> None:
    """Obey until the input ends; one thread, no reactor."""
    out = _take_stdout()
    for line in sys.stdin.buffer:
        try:
            _say(out, obey(json.loads(line)))
        except Exception as problem:  # noqa: BLE001 - the parent is told whatever it was
            _say(out, _complaint(problem))


def run_twisted(obey: Callable[[Order], Awaitable[Answer]]) -> None:
    """The same on Twisted's reactor, which runs meanwhile."""
    from twisted.internet import defer
    from twisted.internet import reactor as chosen_reactor
    from twisted.python.failure import Failure

    reactor: Any = chosen_reactor  # its type says nothing of threads
    out = _take_stdout()

    def take(line: bytes) -> None:
        async def answer() -> None:
            _say(out, await obey(json.loads(line)))

        def failed(failure: Failure) -> None:
            assert failure.value is not None
            _say(out, _complaint(failure.value))

        defer.ensureDeferred(answer()).addErrback(failed)

    def read_orders() -> None:
        for line in sys.stdin.buffer:
            reactor.callFromThread(take, line)
        reactor.callFromThread(reactor.stop)

    threading.Thread(target=read_orders, daemon=True).start()
    reactor.run()


def _take_stdout() -> TextIO:
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return out


def _complaint(problem: BaseException) -> Answer:
    traceback.print_exception(type(problem), problem, problem.__traceback__)
    return {"error": f"{type(problem).__name__}: {problem}"}


def _say(out: TextIO, answer: Answer) -> None:
    print(json.dumps(answer), file=out, flush=True)
