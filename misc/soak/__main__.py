"""``python3 misc/soak``, or ``python3 -m misc.soak``: the command, in its environment."""

from __future__ import annotations

import sys
from pathlib import Path

# Appended, not put first: the package must come from the environment.
sys.path.append(str(Path(__file__).resolve().parent.parent.parent))

from misc import bootstrap

if __name__ == "__main__":
    bootstrap.enter()
    from misc.soak import command

    sys.exit(command.main())
