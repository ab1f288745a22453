"""Runs the WAN pipe as a process of its own, and measures whether it keeps its word.

    with Wan([server.port for server in grid.servers]) as wan:
        ...  # let clients connect to wan.ports instead of the servers' own
        wan.use(Wire(delay_s=0.025, server_rate=1e6))
        wan.run_script([Event(at_s=2.0, server=3, kind="silent")])

``python3 misc/wan.py --check`` sends pings and bulk data through several wires and
prints what was asked and what came; its exit status is 0 if all are within 5 %.

Parent and pipe speak JSON, a line each way, over standard input and output; the
pipe ends when its input does, so it does not outlive a parent that was killed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

# Appended: this is run as a command too, and then ``misc`` is not on the path.
sys.path.append(str(Path(__file__).resolve().parent.parent))

from misc.wan_pipe import Pipe
from misc.wan_wire import Event, Wire

__all__ = ["Event", "Wan", "WanError", "Wire"]

STOP_GRACE_S = 5.0


class WanError(Exception):
    """The pipe's process refused or ended; the text says why."""


class Wan:
    """The pipe's process; runs inside the ``with`` block.

    :param server_ports: the real ports. ``ports`` are the pipe's, in the same order.
    """

    def __init__(self, server_ports: Sequence[int], wire: Wire | None = None) -> None:
        self.ports: list[int] = []
        self._server_ports = list(server_ports)
        self._first_wire = wire or Wire()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Wan:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the process and open the ports.

        :raise WanError: it did not come up.
        """
        command = [sys.executable, str(Path(__file__).resolve()), "--serve"]
        self._process = subprocess.Popen(
            [*command, *map(str, self._server_ports)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            self.ports = [int(port) for port in self._answer()["ports"]]
            self.use(self._first_wire)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the process; harmless when it has ended."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.close()
            process.wait(timeout=STOP_GRACE_S)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            pass
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    def use(self, wire: Wire) -> None:
        """Be this wire from now on; ends a script."""
        self._ask({"use": asdict(wire)})

    def run_script(self, events: Sequence[Event]) -> None:
        """Let these happen, counted from now.

        :raise WanError: an event cannot happen on this wire.
        """
        self._ask({"script": [asdict(event) for event in events]})

    @property
    def pid(self) -> int:
        """The process id, while it runs."""
        if self._process is None:
            raise WanError("the pipe is not running")
        return self._process.pid

    def _ask(self, request: dict[str, Any]) -> None:
        if self._process is None or self._process.stdin is None:
            raise WanError("the pipe is not running")
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as problem:
            raise WanError("the pipe ended") from problem
        self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process is not None and self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise WanError("the pipe ended")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WanError(answer["error"])
        return answer


# ---------------------------------------------------------------- the process


async def _serve(server_ports: Sequence[int]) -> None:
    loop = asyncio.get_running_loop()
    pipe = Pipe(server_ports)
    _say({"ports": await pipe.listen()})
    ended = asyncio.Event()

    def obey(line: bytes) -> None:
        try:
            _obey(pipe, json.loads(line))
        except (TypeError, ValueError) as problem:
            _say({"error": str(problem)})
        else:
            _say({})

    def read_orders() -> None:
        for line in sys.stdin.buffer:
            loop.call_soon_threadsafe(obey, line)
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=read_orders, daemon=True).start()
    await ended.wait()


def _obey(pipe: Pipe, request: dict[str, Any]) -> None:
    if "use" in request:
        pipe.use(Wire(**request["use"]))
    else:
        pipe.run_script([Event(**event) for event in request["script"]])


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--check", action="store_true", help="measure the pipe and print a table")
    what.add_argument(
        "--serve", nargs="+", type=int, metavar="PORT", help="carry connections to these ports"
    )
    options = parser.parse_args(arguments)
    if options.serve:
        asyncio.run(_serve(options.serve))
        return 0
    from misc import wan_check  # it needs this module in turn

    return wan_check.show()


if __name__ == "__main__":
    sys.exit(main())
