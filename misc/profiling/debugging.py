"""Refuses profiles that would show debugging instead of downloading.

With deferred debugging on (``twistd --debug`` calls ``defer.setDebugging``) Twisted
formats a stack for each Deferred made and fired; in the ticket's first profile that
was a quarter of the time.
"""

from __future__ import annotations

import getopt
import subprocess
import sys
from collections.abc import Sequence

from twisted.scripts import twistd

from misc.profiling.rows import resolve
from misc.profiling.stats import Stats, cost

# Options of twistd that turn it on, and one that traces every line besides.
SPOILING = frozenset({"--debug", "-b", "--spew"})

# Ours: a second of the kind would win over it.
OURS = frozenset({"--profile", "-p", "--profiler", "--savestats", "--nodaemon", "-n"})

# A healthy download formats none; the stock one a handful when something fails.
FEW_TRACEBACKS = 100
TRACEBACKS_A_DEFERRED = 0.05

FORMATTING = ("traceback:format_stack", "twisted.python.failure:Failure.printTraceback")
DEFERRED = "twisted.internet.defer:Deferred.__init__"

# Whatever a Python start runs (sitecustomize, a plugin's module) may turn it on.
PROBE = """
from twisted.internet import defer
import twisted.plugin, allmydata.interfaces
list(twisted.plugin.getPlugins(allmydata.interfaces.IFoolscapStoragePlugin))
print(defer.getDebugging())
"""
PROBE_TIMEOUT_S = 120.0


class RefusedError(Exception):
    """A profile of this would mislead; the text says why."""


def check_options(arguments: Sequence[str]) -> None:
    """Refuse options for twistd that debug or trace, or that are ours to give.

    They are read as twistd reads them: shortened, and letters put together.

    :raise RefusedError: one of them does, or twistd has no such option.
    """
    known = twistd.ServerOptions()  # type: ignore[attr-defined]  # the platform's own
    try:
        found, rest = getopt.getopt(list(arguments), known.shortOpt, known.longOpt)
    except getopt.error as problem:
        raise RefusedError(f"twistd takes no such option: {problem}") from problem
    if rest:
        raise RefusedError(f"not an option of twistd: {rest[0]}")
    names = {name for name, _ in found}
    if names & SPOILING:
        raise RefusedError(
            f"{', '.join(sorted(names & SPOILING))}: with deferred debugging or tracing on, the"
            " profile would show the formatting of tracebacks and not the download. Leave it out."
        )
    if names & OURS:
        raise RefusedError(f"{', '.join(sorted(names & OURS))}: this command gives that itself")


def check_environment() -> None:
    """Refuse an environment in which a node would start with deferred debugging on.

    :raise RefusedError: it would.
    """
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PROBE_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise RefusedError(f"Tahoe cannot be imported here:\n{done.stderr[-2000:]}")
    if done.stdout.split()[-1:] != ["False"]:
        raise RefusedError(
            "deferred debugging is on in every node that starts in this environment"
            " (defer.setDebugging was called by sitecustomize or by a plugin); turn it off first."
        )


def check_stats(stats: Stats) -> None:
    """Refuse what a node wrote that had it on all the same.

    :raise RefusedError: tracebacks were formatted for many of the Deferreds.
    """
    formatted = cost(stats, map(resolve, FORMATTING)).calls
    deferreds = cost(stats, [resolve(DEFERRED)]).calls
    if formatted > FEW_TRACEBACKS and formatted > TRACEBACKS_A_DEFERRED * deferreds:
        raise RefusedError(
            f"{formatted} tracebacks were formatted for {deferreds} Deferreds: the node ran with"
            " deferred debugging on, and its profile is of no use."
        )
