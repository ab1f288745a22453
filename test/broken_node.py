"""A Tahoe client whose plugin breaks in mid-download: ``broken_node.py run NODEDIR``.

The one way to see a real fallback on a real node: our own code has to break a law, and it does
so here after some answers, in each download.
"""

from __future__ import annotations

import sys
from typing import Any

ANSWERS = 6
REASON = "broken on purpose, <b>for a test</b>"


def main() -> int:
    """Break the core, and be a node until it is stopped."""
    sys.path.pop(0)  # no module of this directory in place of another
    from tahoe_fastdl.core import records
    from tahoe_fastdl.core.download import Download

    receive = Download.receive
    answers: dict[int, int] = {}

    def breaking(download: Any, event: Any, now: float) -> Any:
        if isinstance(event, records.ReadAnswered):
            answers[id(download)] = answers.get(id(download), 0) + 1
            if answers[id(download)] > ANSWERS:
                raise ValueError(REASON)
        return receive(download, event, now)

    Download.receive = breaking  # type: ignore[assignment,method-assign]
    from allmydata.scripts import runner

    return int(runner.run() or 0)


if __name__ == "__main__":
    sys.exit(main())
