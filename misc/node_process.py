"""One real Tahoe node: its directory, its process, its log.

Owns the life of the process: started, looked after, stopped, and not left
behind.  What ends it, in the order it is tried:

* ``stop()``: SIGTERM, and SIGKILL when the grace is over;
* the end of its standard input.  ``tahoe run`` exits then, and only this process
  holds the other end, so that a node does not outlive a parent that was killed
  without a chance to clean up;
* each node is in a session of its own, so a Ctrl-C at the terminal reaches the
  parent alone, which then stops its nodes in order.
"""

from __future__ import annotations

import configparser
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

# A cap is a key to the file: it goes into no message, quoted for a URL or not.
CAP_PATTERN = re.compile(r"URI(?::|%3A)[^\s\"'<>&]*", re.IGNORECASE)

# An event in a log that twistd writes: a line, and behind it what begins with a tab.
UNHANDLED_PATTERN = re.compile(r"^.*unhandled error.*(?:\n\t.*)*", re.IGNORECASE | re.MULTILINE)

# As soon as Tahoe is connected to a server it asks for the version, here; when the connection is
# lost before the answer, it writes that down like an error that nobody took, and tries again.
ASKS_VERSION = "allmydata/util/rrefutil.py"
LOST = re.compile(r"\b(?:DeadReferenceError|ConnectionLost|ConnectionDone)\b")

Config = Mapping[str, Mapping[str, str]]

TAHOE = ("-m", "allmydata")


class GridError(Exception):
    """A node of the grid did not do what it should; the text says which, and shows its log."""


def without_caps(text: str) -> str:
    """The same text, with whatever looks like a cap taken out."""
    return CAP_PATTERN.sub("URI:[removed]", text)


def unhandled_in(log: str) -> list[str]:
    """The errors in a node's log that nobody took, each with its traceback.

    Not among them: a server that was lost before it told its version, which is Tahoe's to
    log and happens wherever servers come and go.
    """
    return [
        error
        for error in UNHANDLED_PATTERN.findall(log)
        if not (ASKS_VERSION in error and LOST.search(error))
    ]


class NodeProcess:
    """A node directory and, between ``start`` and ``stop``, the process that runs it."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.directory = directory
        self.log_path = directory / "node.log"
        # What Python runs; what follows is as for ``tahoe``.
        self.program: Sequence[str] = TAHOE
        # For twistd, as they would follow the directory on the command line.
        self.run_arguments: Sequence[str] = ()
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start_bytes = 0

    # ------------------------------------------------------------ its configuration

    def configure(self, config: Config) -> None:
        """Set options in tahoe.cfg; other options stay."""
        path = self.directory / "tahoe.cfg"
        parser = configparser.RawConfigParser(strict=False)
        parser.read(path, encoding="utf-8")
        for section, options in config.items():
            if not parser.has_section(section):
                parser.add_section(section)
            for option, value in options.items():
                parser.set(section, option, value)
        with open(path, "w", encoding="utf-8") as handle:
            parser.write(handle)

    def set_introducer(self, furl: str) -> None:
        """Tell the node where its grid's introducer is."""
        path = self.directory / "private" / "introducers.yaml"
        path.write_text(f"introducers:\n  grid:\n    furl: {furl}\n", encoding="utf-8")

    # ------------------------------------------------------------ its life

    @property
    def pid(self) -> int:
        """The process id, while it runs."""
        if self._process is None:
            raise GridError(f"{self.name} is not running")
        return self._process.pid

    def is_running(self) -> bool:
        """Whether it was started, was not stopped and did not end by itself."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process; returns long before the node answers."""
        if self._process is not None:
            raise GridError(f"{self.name} is running already")
        for name in ("node.url", "running.process"):
            (self.directory / name).unlink(missing_ok=True)
        with open(self.log_path, "ab") as log:
            self._log_start_bytes = log.tell()
            self._process = subprocess.Popen(
                [
                    *(sys.executable, *self.program, "run", str(self.directory)),
                    *self.run_arguments,
                ],
                # ``-m`` puts the working directory first on the module path;
                # here it holds no modules.
                cwd=self.directory,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def ask_to_stop(self) -> None:
        """Send SIGTERM and end its input, without waiting."""
        if self._process is None:
            return
        if self._process.stdin is not None:
            self._process.stdin.close()
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)

    def wait_stopped(self, grace_s: float) -> None:
        """Wait for its end after ``ask_to_stop``, and kill it when the grace is over."""
        if self._process is None:
            return
        try:
            self._process.wait(timeout=max(0.0, grace_s))
        except subprocess.TimeoutExpired:
            pass
        finally:
            # Also on a second Ctrl-C: nothing is left behind.
            self.kill()

    def stop(self, grace_s: float = 5.0) -> None:
        """End the process in order, by force if need be."""
        self.ask_to_stop()
        self.wait_stopped(grace_s)

    def kill(self) -> None:
        """End the process at once, as a crash would."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdin is not None:
            process.stdin.close()

    def suspend(self) -> None:
        """Make the node hang: it keeps its connections and answers nothing."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo ``suspend``."""
        self.signal(signal.SIGCONT)

    def signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.is_running():
            os.kill(self.pid, number)

    # ------------------------------------------------------------ what it says and costs

    def log(self) -> str:
        """All it said since it was last started."""
        try:
            with open(self.log_path, "rb") as handle:
                handle.seek(self._log_start_bytes)
                return handle.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def unhandled_errors(self) -> list[str]:
        """Those in its log, as :func:`unhandled_in` finds them, fit to be shown."""
        return [without_caps(error) for error in unhandled_in(self.log())]

    def log_tail(self, lines: int = 25) -> str:
        """The end of its log, fit to be shown."""
        return without_caps("\n".join(self.log().splitlines()[-lines:]))

    def failure(self, what: str) -> GridError:
        """An error that names this node and shows the end of its log."""
        return GridError(f"{self.name} {what}; the end of its log:\n{self.log_tail()}")

    def wait_for(self, relative_path: str, deadline: float) -> str:
        """The content of a file that the node writes once it is up.

        :param deadline: of ``time.monotonic()``.
        :raise GridError: it ended, or did not write the file in time.
        """
        path = self.directory / relative_path
        while True:
            if path.exists():
                content = path.read_text(encoding="utf-8").strip()
                if content:
                    return content
            if not self.is_running():
                raise self.failure("ended while it was starting")
            if time.monotonic() > deadline:
                raise self.failure("did not start in time")
            time.sleep(0.05)

    def cpu_seconds(self) -> float:
        """CPU time of all its threads since it was started, user and system. Linux only."""
        # clock_getcpuclockid(3) of a process: to the nanosecond, where /proc counts ticks of 10 ms.
        return time.clock_gettime((~self.pid << 3) | 2)

    def peak_rss_bytes(self) -> int:
        """The most memory it held at once since the start or the last reset. Linux only."""
        text = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii", errors="replace")
        for line in text.splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise self.failure("has no memory any more")

    def reset_peak_rss(self) -> None:
        """Let ``peak_rss_bytes`` count from what it holds now."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5", encoding="ascii")
