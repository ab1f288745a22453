"""A Tahoe client that notes its downloads: ``traced_node.py KIND TRACE run NODEDIR``.

Run by ``record`` as a program of its own; what follows the trace's path is for Tahoe.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> int:
    """Trace, and be a node until it is stopped."""
    _script, kind, path, *arguments = sys.argv
    # Our checkout is on the path for two imports only: the node must find the plugin
    # where it is installed, and no module of this directory in place of another.
    checkout = str(Path(__file__).resolve().parent.parent.parent)
    sys.path[0] = checkout
    from misc.spans_trace import tracer

    sys.path.remove(checkout)
    trace = tracer.Tracer(Path(path))
    {"stock": tracer.trace_stock, "fast": tracer.trace_fast}[kind](trace)
    sys.argv = ["tahoe", *arguments]
    from allmydata.scripts import runner

    return int(runner.run() or 0)


if __name__ == "__main__":
    sys.exit(main())
