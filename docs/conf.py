"""How Sphinx builds these pages: ``sphinx-build -W --keep-going -n docs docs/_build``.

Owns the settings of that build and imports nothing of ours, so that the pages can be
built where the plugin is not installed.  ``test/test_docs_build.py`` builds them.
"""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
_PACKAGE = (HERE.parent / "tahoe_fastdl" / "__init__.py").read_text(encoding="utf-8")

project = "tahoe-fastdl"
author = "the authors of tahoe-fastdl"
release = version = re.findall(r'^__version__ = "(.+)"$', _PACKAGE, re.MULTILINE)[0]

extensions = ["myst_parser"]
exclude_patterns = ["_build", "newsfragments"]
nitpicky = True
language = "en"
smartquotes = False  # -- and ... are options and commands more often than dashes

# Headings that can be linked to, as on the forges that show the .md pages.
myst_heading_anchors = 3

html_theme = "alabaster"  # comes with Sphinx: nothing more to install
html_theme_options = {
    "description": "A faster downloader for Tahoe-LAFS",
    "fixed_sidebar": True,
    "page_width": "76rem",
    "body_max_width": "none",
    "show_powered_by": False,
}
html_static_path = ["static"]
html_css_files = ["wide.css"]
html_show_copyright = False
html_copy_source = False
