"""Run by the Python of an environment that :mod:`misc.packaging_check` made: is the plugin there?

    python packaging_probe.py FOLDER [ORIGIN]

Without ORIGIN the plugin must not be found.  With it the plugin must be found once, come
from below ORIGIN, and a real node that names it must download a file with it and show its
page with all that the page names.  FOLDER is for the node's grid.  The exit status is 0 if
all is well; else the last line of what is printed says what is not.
"""

from __future__ import annotations

import os
import re
import sys
import zipfile
from pathlib import Path
from urllib.parse import urljoin
from urllib.request import urlopen

# Appended: the package must come from the environment.  Here lies a copy of ``misc``
# alone, not the checkout, in which Twisted would find the drop-in.
sys.path.append(str(Path(__file__).resolve().parent.parent))

from misc.grid import Client, ClientOptions, Grid
from misc.grid_client import FOOLSCAP, PLUGIN_NAME

# Twisted's own, with a traceback: it keeps a cache beside the plugins, which a zip has no room for.
NO_CACHE = "Unexpected error while writing cache file"

DATA = bytes(range(256)) * 1000


def main(folder: str, origin: str | None) -> None:
    """The command.

    :raise SystemExit: something is not as it should be.
    """
    found = plugins()
    if origin is None:
        _check(not found, "the plugin is still found")
        return
    _check(len(found) == 1, f"Twisted finds {len(found)} plugins of ours, not 1")
    import tahoe_fastdl
    from tahoe_fastdl import seam

    place = os.path.realpath(tahoe_fastdl.__file__)
    _check(place.startswith(os.path.realpath(origin) + os.sep), f"it comes from {place}")
    why = seam.unknown_tahoe_of_process()
    _check(why is None, f"it is not in place: {why}")
    options = ClientOptions(transport=FOOLSCAP, fast=True, needed=1, total=1)
    clients = {"client": options}
    with Grid(Path(folder), servers=1, transport=FOOLSCAP, clients=clients) as grid:
        client = grid.clients["client"]
        check_node(client)
        expected = client.log().count(NO_CACHE) if zipfile.is_zipfile(origin) else 0
        is_quiet = client.log().count("Traceback") == expected
        _check(is_quiet, "the node logged a traceback:\n" + client.log_tail())


def plugins() -> list[object]:
    """All of ours that Twisted finds."""
    from allmydata.interfaces import IFoolscapStoragePlugin
    from twisted.plugin import getPlugins

    return [each for each in getPlugins(IFoolscapStoragePlugin) if each.name == PLUGIN_NAME]


def check_node(client: Client) -> None:
    """One download and one look at the page.

    :raise SystemExit: see :func:`main`.
    """
    _check(client.get(client.put(DATA)) == DATA, "other bytes came back")
    counters = client.fast_counters()
    _check(counters["downloads"] == 1, "the download was not ours")
    _check(counters["fallbacks"] == 0, "the download fell back to stock")
    page = urljoin(client.url, f"/storage-plugins/{PLUGIN_NAME}/")
    text = urlopen(page, timeout=60).read().decode("utf-8")
    _check(PLUGIN_NAME in text, "the page does not name the plugin")
    files = re.findall(r"static/[\w.-]+", text)
    _check(len(files) >= 2, "the page names no files of its own")
    for name in files:
        _check(urlopen(urljoin(page, name), timeout=60).read() != b"", f"{name} is empty")


def _check(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise SystemExit(otherwise)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
