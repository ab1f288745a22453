"""``python3 misc/fuzz``: the command, in its environment."""

from __future__ import annotations

import sys
from pathlib import Path

# Appended, not put first: the package must come from the environment.
sys.path.append(str(Path(__file__).resolve().parent.parent.parent))

from misc import bootstrap

if __name__ == "__main__":
    bootstrap.enter("fuzz")
    from misc.fuzz import command

    sys.exit(command.main())
