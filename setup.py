"""How tahoe-fastdl is packaged.

Owns the distribution's metadata and nothing else.  One law: the Twisted
drop-in ``twisted/plugins/tahoe_fastdl_dropin.py`` is installed into Twisted's
own ``twisted.plugins`` package, which has no ``__init__.py`` here and must
never get one: Twisted only looks into plugin directories that are not
packages.  An editable install does not put the drop-in there, so the plugin is
not found after one; install for real.
"""

from __future__ import annotations

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent

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
    "myst-parser >= 2",  # the pages in docs/ are built in a test
    "sphinx >= 7",
    "paramiko",
    "ruff >= 0.5",
    "testtools",
    "types-setuptools",
]

setup(
    name="tahoe-fastdl",
    version="0.1.0",
    description="A fast immutable downloader for Tahoe-LAFS, as a drop-in plugin",
    long_description=(HERE / "README.rst").read_text(encoding="utf-8"),
    long_description_content_type="text/x-rst",
    license="GPL-2.0-or-later",
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
    packages=[*find_packages(include=["tahoe_fastdl", "tahoe_fastdl.*"]), "twisted.plugins"],
    package_data={
        "tahoe_fastdl": ["py.typed"],
        "tahoe_fastdl.status": ["static/*.css", "static/*.js", "templates/*.xhtml"],
    },
    entry_points={"console_scripts": ["tahoe-fastdl = tahoe_fastdl.command.main:run"]},
    install_requires=[
        # The seam stands on names inside this release; another one is refused
        # at run time too, but pip can say so sooner.
        "tahoe-lafs == 1.20.*",
        "attrs",
        "foolscap",
        "psutil",
        "pycryptodome",
        "twisted",
        "zfec",
        "zope.interface",
        # Without these a node of Tahoe-LAFS 1.20.0 does not start, and it asks
        # for neither: it imports ``cgi``, which Python dropped; and the last
        # Twisted for 3.9 uses ``OpenSSL.crypto.X509Req``, gone in pyOpenSSL 26.3.
        'legacy-cgi; python_version >= "3.13"',
        'pyOpenSSL < 26.3; python_version < "3.10"',
    ],
    extras_require={
        "test": TEST_REQUIREMENTS,
        "bench": ["matplotlib", "pyprof2calltree"],
        # There are no wheels of it for other Pythons.
        "fuzz": ['atheris; python_version >= "3.11" and python_version < "3.14"'],
    },
    zip_safe=False,
)
