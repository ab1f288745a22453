"""What the results were measured on: kept with them, shown beside them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import tahoe_fastdl

CHECKOUT = Path(__file__).resolve().parent.parent.parent
DISTRIBUTIONS = ("tahoe-lafs", "foolscap", "twisted", "zfec", "pycryptodome")


def about() -> dict[str, Any]:
    """The machine and the versions, without names of hosts, users or directories."""
    return {
        "machine": {
            "cpu": _cpu_model(),
            "cores": len(os.sched_getaffinity(0)),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "system": f"{platform.system()} {platform.release().split('-')[0]}",
            "python": platform.python_version(),
        },
        "versions": {name: importlib.metadata.version(name) for name in DISTRIBUTIONS},
        "commit": _commit(),
        "sources": _sources_digest(),
    }


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.machine()


def _commit() -> str:
    """Which commit is checked out, if this is a checkout."""
    try:
        done = subprocess.run(
            ["git", "-C", str(CHECKOUT), "describe", "--always", "--dirty"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def _sources_digest() -> str:
    """Names the downloader that was measured, be it committed or not."""
    root = Path(tahoe_fastdl.__file__).parent
    hasher = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        hasher.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return hasher.hexdigest()[:12]
