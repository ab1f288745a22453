"""The core decides; it must not be able to act."""

from __future__ import annotations

import os
import pkgutil
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import tahoe_fastdl.core

# What would let the core do I/O, wait, or know the time.
FORBIDDEN = ("twisted", "foolscap", "asyncio", "socket", "time", "threading", "logging")

PROGRAM = """
import importlib, sys
before = set(sys.modules)
for name in sys.argv[1:]:
    importlib.import_module(name)
print("\\n".join(sorted(set(sys.modules) - before)))
"""


def core_modules() -> list[str]:
    """All modules of the core."""
    return [
        f"tahoe_fastdl.core.{module.name}"
        for module in pkgutil.iter_modules(tahoe_fastdl.core.__path__)
    ]


class Purity(SynchronousTestCase):
    """Seen from outside, in a fresh interpreter."""

    def imported(self, *names: str) -> set[str]:
        """The modules that importing *names* brings in."""
        root = str(Path(tahoe_fastdl.core.__file__).resolve().parents[2])
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *names],
            capture_output=True,
            check=True,
            text=True,
            env={**os.environ, "PYTHONPATH": root},
        )
        return set(done.stdout.split())

    def test_no_reactor(self) -> None:
        """Importing all of the core brings in neither Twisted nor Foolscap."""
        names = core_modules()
        self.assertIn("tahoe_fastdl.core.download", names)
        came = self.imported(*names)
        self.assertTrue(set(names) <= came)
        self.assertEqual(
            set(), {name for name in came if name.split(".")[0] in ("twisted", "foolscap")}
        )
        self.assertEqual(set(), {name for name in came if name.startswith("tahoe_fastdl.shell")})

    def test_the_test_works(self) -> None:
        """A module of the shell would be caught."""
        came = self.imported("tahoe_fastdl.shell.wire")
        self.assertIn("twisted", {name.split(".")[0] for name in came})

    def test_no_clock(self) -> None:
        """No module of the core names a clock, a thread, a socket or a log."""
        for name in core_modules():
            module = __import__(name, fromlist=["_"])
            held = {
                getattr(value, "__name__", "").split(".")[0]
                for value in vars(module).values()
                if type(value) is type(os)
            }
            self.assertEqual(set(), held.intersection(FORBIDDEN), name)
