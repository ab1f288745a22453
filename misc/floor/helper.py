"""The parent's side of a measuring process: started, given orders, ended."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from misc.node_process import GridError, without_caps

HERE = Path(__file__).resolve().parent
STOP_GRACE_S = 5.0


class Helper:
    """Runs one of this directory's modules inside its ``with`` block.

    :param module: its name, without ``.py``.
    :param log_path: for what it says besides its answers.
    """

    def __init__(self, module: str, log_path: Path) -> None:
        self._module = module
        self._log_path = log_path
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Helper:
        with open(self._log_path, "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(HERE / f"{self._module}.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # a Ctrl-C reaches the parent alone
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        """Have an order obeyed; returns the answer.

        :raise GridError: it could not obey, or ended.
        """
        if self._process is None:
            raise GridError(f"the process {self._module} is not running")
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failure("ended") from None
        line = self._process.stdout.readline()
        if not line:
            raise self._failure("ended")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise self._failure(f"failed ({answer['error']})")
        return answer

    def _failure(self, what: str) -> GridError:
        text = self._log_path.read_text(encoding="utf-8", errors="replace")
        tail = "\n".join(text.splitlines()[-25:])
        return GridError(without_caps(f"{self._module} {what}; the end of its log:\n{tail}"))
