"""The programs of the comparison: where they are, which version, or which package to install."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

NGINX, CURL, ARIA2 = "nginx", "curl", "aria2c"
# As Debian and Ubuntu name them.
PACKAGES = {NGINX: "nginx-light", CURL: "curl", ARIA2: "aria2"}
VERSION_OPTIONS = {NGINX: "-v", CURL: "--version", ARIA2: "--version"}
# Servers are often kept where an ordinary user's PATH does not look.
SERVER_PATHS = ("/usr/sbin", "/usr/local/sbin", "/sbin")


def find(name: str) -> str | None:
    """The program's path, if it is installed."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *SERVER_PATHS])
    return shutil.which(name, path=path)


def missing(names: tuple[str, ...] = (NGINX, CURL, ARIA2)) -> list[str]:
    """Which of them are not installed."""
    return [name for name in names if find(name) is None]


def advice(names: list[str]) -> str:
    """What to do about those that are missing."""
    packages = " ".join(PACKAGES[name] for name in names)
    return f"not installed: {', '.join(names)}. On Debian and Ubuntu: apt-get install {packages}"


def versions() -> dict[str, str]:
    """Of those that are installed."""
    found = {}
    for name, option in VERSION_OPTIONS.items():
        path = find(name)
        if path is not None:
            done = subprocess.run([path, option], capture_output=True, text=True, check=False)
            match = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
            found[name] = match.group() if match else "unknown"
    return found
