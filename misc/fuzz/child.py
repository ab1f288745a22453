"""Fuzzes one target in this process, which libFuzzer ends: ``child.py TARGET [options of its]``."""

from __future__ import annotations

import sys
from pathlib import Path

# Appended, not put first: the package must come from the environment.
sys.path.append(str(Path(__file__).resolve().parent.parent.parent))

if __name__ == "__main__":
    import atheris

    # What is imported here is watched: our own code, for all of Tahoe takes minutes to prepare.
    with atheris.instrument_imports(include=["tahoe_fastdl.core", "misc.fuzz.targets"]):
        from misc.fuzz import targets

    atheris.Setup(sys.argv[1:], targets.TARGETS[sys.argv[1]])
    atheris.Fuzz()
