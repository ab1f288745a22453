"""How tahoe-fastdl is packaged.

Owns the distribution's metadata and nothing else.  Laws:

* The Twisted drop-in ``twisted/plugins/tahoe_fastdl_dropin.py`` is installed into
  Twisted's own ``twisted.plugins`` package, which has no ``__init__.py`` here and
  must never get one: Twisted only looks into plugin directories that are not
  packages.
* ``package_dir`` names the root although that is the default.  Only then does an
  editable install put the whole checkout on the module path, where Twisted finds
  the drop-in; else it would map ``tahoe_fastdl`` and Twisted would find nothing.

``misc/packaging_check.py`` installs what this makes in every way there is.
"""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent


def version() -> str:
    """As the package says it, without importing it: that would need Tahoe-LAFS here."""
    text = (HERE / "tahoe_fastdl" / "__init__.py").read_text(encoding="utf-8")
    (found,) = re.findall(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    return str(found)


def description_for_an_index() -> str:
    """The README without what points into the checkout: an index shows only the text."""
    text = (HERE / "README.rst").read_text(encoding="utf-8")
    text = re.sub(r"(?m)^\.\. image:: (?!https?:).*\n(?:[ \t]+\S.*\n)*\n?", "", text)
    return re.sub(r"`([^`<]+?)\s+<(?!https?:)[^>]+>`_", r"``\1``", text)


# Lower bounds are what misc/lowest.txt names and tox's environment ``lowest`` runs.
# Upper ones stand where the next major may change what we call; Twisted, Foolscap
# and attrs number by year, so there a bound would say nothing.
REQUIREMENTS = [
    # Which releases are sped up is the seam's to say, at run time; docs/supported.rst
    # lists them.  Others install, so that pip never stands between an operator and
    # a newer Tahoe-LAFS, and run on the stock downloader.
    "tahoe-lafs >= 1.17.1, < 2",
    "attrs >= 21.3.0",  # the first with the name ``attrs``
    "foolscap >= 21.7.0",
    "psutil >= 5.9.0",
    "pycryptodome >= 3.10.1, < 5",
    "twisted >= 22.8.0",
    "zfec >= 1.5.7.2, < 2",
    "zope.interface >= 5.4.0",
    # Without these a node of Tahoe-LAFS 1.20.0 does not start, and it asks
    # for neither: it imports ``cgi``, which Python dropped; and the last
    # Twisted for 3.9 uses ``OpenSSL.crypto.X509Req``, gone in pyOpenSSL 26.3.
    'legacy-cgi >= 2.6, < 3; python_version >= "3.13"',
    'pyOpenSSL >= 23.2.0, < 26.3; python_version < "3.10"',
]

DOCS_REQUIREMENTS = ["myst-parser >= 2", "sphinx >= 7"]

# What Tahoe's own tests need beside Tahoe, as its ``test`` extra names it, less
# the pins that no longer install on newer Pythons; and what checks our sources.
TEST_REQUIREMENTS = [
    "beautifulsoup4",
    "fixtures",
    "html5lib",
    "hypothesis >= 6.80",
    "mock",
    "mypy >= 1.10",
    "mypy-zope",
    *DOCS_REQUIREMENTS,  # the pages in docs/ are built in a test
    "packaging",
    "paramiko",
    "ruff >= 0.5",
    "setuptools >= 70.1",  # builds the package in a test
    "testtools",
    "types-setuptools",
]

setup(
    name="tahoe-fastdl",
    version=version(),
    description="A fast immutable downloader for Tahoe-LAFS, as a drop-in plugin",
    long_description=description_for_an_index(),
    long_description_content_type="text/x-rst",
    license="GPL-2.0-or-later",
    license_files=["LICENSE"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Plugins",
        "Framework :: Twisted",
        "Intended Audience :: System Administrators",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.9",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: System :: Filesystems",
    ],
    python_requires=">=3.9",
    package_dir={"": "."},
    packages=[*find_packages(include=["tahoe_fastdl", "tahoe_fastdl.*"]), "twisted.plugins"],
    package_data={
        "tahoe_fastdl": ["py.typed"],
        "tahoe_fastdl.status": ["static/*.css", "static/*.js", "templates/*.xhtml"],
    },
    entry_points={"console_scripts": ["tahoe-fastdl = tahoe_fastdl.command.main:run"]},
    install_requires=REQUIREMENTS,
    extras_require={
        "test": TEST_REQUIREMENTS,
        "bench": ["matplotlib >= 3.9.0", "pyprof2calltree >= 1.4.5"],
        "docs": DOCS_REQUIREMENTS,
        "packaging": ["build >= 1.0", "twine >= 6.1"],
        # There are no wheels of it for other Pythons.
        "fuzz": ['atheris >= 3.0; python_version >= "3.11" and python_version < "3.14"'],
    },
    zip_safe=True,
)
