"""Lets each measuring command write its own part of a page, and leave the rest alone.

A page holds prose written by hand and sections written by commands. A section
stands between two marks, which are comments in Markdown; what stands between
them is replaced as a whole, and nothing else is touched.
"""

from __future__ import annotations

from pathlib import Path


class NoSectionError(Exception):
    """The page has no such section, or only one of its marks."""


def marks(name: str) -> tuple[str, str]:
    """The lines before and after a section."""
    return f"<!-- {name}: written by a command, begin -->", f"<!-- {name}: end -->"


def replaced(page: str, name: str, text: str) -> str:
    """The page with another text in that section.

    :raise NoSectionError: each mark must be there once, in their order.
    """
    begin, end = marks(name)
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
        raise NoSectionError(f"the page has no section {name!r} between {begin} and {end}")
    before = page[: page.index(begin)]
    after = page[page.index(end) + len(end) :]
    return f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}"


def write(path: Path, name: str, text: str) -> None:
    """Replace a section of a page on the disk.

    :raise NoSectionError: as :func:`replaced`; the page stays as it was.
    """
    path.write_text(replaced(path.read_text(encoding="utf-8"), name, text), encoding="utf-8")
