"""Profiles for KCachegrind: one file each, in the callgrind format."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from misc.profiling.stats import Stats, as_pstats


class NoConverterError(Exception):
    """The package that writes the format is not installed."""


def check() -> None:
    """See that :func:`write` will do, before minutes are spent on a profile.

    :raise NoConverterError: pyprof2calltree, of the ``bench`` extra, is missing.
    """
    if importlib.util.find_spec("pyprof2calltree") is None:
        raise NoConverterError("pyprof2calltree is missing: pip install '.[bench]'")


def write(stats: Stats, path: Path) -> None:
    """Write a profile; its directory is made.

    :raise NoConverterError: as :func:`check`.
    """
    check()
    from pyprof2calltree import convert  # only the ``bench`` extra has it

    path.parent.mkdir(parents=True, exist_ok=True)
    convert(as_pstats(stats), str(path))
