"""The built package: what is in it, and where Twisted finds the drop-in: in a zip, in a checkout.

misc/packaging_check.py does the same with pip, fresh environments and nodes; this is what can be
told in seconds, with the setuptools that is here.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from email.message import Message
from email.parser import Parser
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from misc import bootstrap
from tahoe_fastdl import __version__

ROOT = Path(__file__).resolve().parent.parent
DROPIN = "twisted/plugins/tahoe_fastdl_dropin.py"

# In a Python that starts with no site-packages: the paths it is given, and what is found there.
PROGRAM = """
import json, sys
sys.path += sys.argv[1:]
from twisted.plugin import getPlugins
from allmydata.interfaces import IFoolscapStoragePlugin
found = [p for p in getPlugins(IFoolscapStoragePlugin) if p.name == "tahoe-fastdl"]
import tahoe_fastdl
from tahoe_fastdl import seam
from tahoe_fastdl.status.shells import OverviewShell
from tahoe_fastdl.status.web import StaticFiles, NotFound
is_there = not isinstance(StaticFiles().getChild(b"page.css", None), NotFound)
print(json.dumps([len(found), tahoe_fastdl.__file__, seam.unknown_tahoe_of_process(), is_there]))
"""

BUILDER = """
from setuptools import build_meta
print(build_meta.build_wheel("dist"))
print(build_meta.build_editable("dist"))
"""


def needs_setuptools() -> None:
    """Skip the test where pip would fetch a newer builder than is here."""
    (needed,) = re.findall(
        r"setuptools >= ([\d.]+)", (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    )
    try:
        found = version("setuptools")
    except PackageNotFoundError:
        raise SkipTest("there is no setuptools") from None
    if Version(found) < Version(needed):
        raise SkipTest(f"setuptools {found} is older than {needed}")


def copy_of_sources(folder: Path) -> Path:
    """What a build needs of the checkout, so that it leaves nothing there."""
    folder.mkdir(parents=True)
    for name in bootstrap.SOURCE_FILES:
        shutil.copyfile(ROOT / name, folder / name)
    for name in bootstrap.SOURCE_FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=bootstrap.LEFT_OVERS)
    return folder


def others(folder: Path) -> Path:
    """Links to all that is installed here but us."""
    for kind in ("purelib", "platlib"):
        installed = Path(sysconfig.get_paths()[kind])
        _link_all(installed, folder, r"tahoe_fastdl|__editable__|.*\.pth|twisted$")
    _link_all(installed / "twisted", folder / "twisted", "plugins")
    _link_all(installed / "twisted/plugins", folder / "twisted/plugins", r"tahoe_fastdl|dropin\.c")
    return folder


def _link_all(source: Path, target: Path, but: str) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        link = target / path.name
        if path.name != "__pycache__" and not re.match(but, path.name) and not link.exists():
            link.symlink_to(path)


class Built(SynchronousTestCase):
    """A wheel and an editable install, built from a copy of the checkout."""

    folder: Path  # made by the first test, for all of them

    def setUp(self) -> None:
        """Build both, once."""
        needs_setuptools()
        if not hasattr(Built, "folder"):
            folder = Path(self.mktemp()).resolve()
            subprocess.run(
                [sys.executable, "-c", BUILDER],
                cwd=copy_of_sources(folder / "checkout"),
                check=True,
                capture_output=True,
            )
            others(folder / "others")
            Built.folder = folder
        self.checkout, self.others = self.folder / "checkout", self.folder / "others"
        self.editable, self.wheel = sorted((self.checkout / "dist").iterdir(), key=_is_wheel)

    def found_with(self, *paths: Path) -> list[object]:
        """How many plugins of ours Twisted finds, where we are, why not, and if files are found."""
        answer = subprocess.run(
            [sys.executable, "-I", "-S", "-c", PROGRAM, *map(str, (*paths, self.others))],
            cwd=self.folder,
            check=False,
            capture_output=True,
            encoding="utf-8",
        )
        if answer.returncode != 0:
            raise ImportError(answer.stderr.splitlines()[-1])
        found: list[object] = json.loads(answer.stdout.splitlines()[-1])
        return found

    def metadata(self) -> Message:
        """The wheel's."""
        with zipfile.ZipFile(self.wheel) as archive:
            (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
            return Parser().parsestr(archive.read(name).decode("utf-8"))

    def test_without_us(self) -> None:
        """The paths that the other tests add us to do not have us."""
        error = self.assertRaises(ImportError, self.found_with)
        self.assertIn("No module named 'tahoe_fastdl'", str(error))

    def test_zip(self) -> None:
        """From a zip on the module path: the plugin is found, and the page's files."""
        place = str(self.wheel / "tahoe_fastdl" / "__init__.py")
        self.assertEqual(self.found_with(self.wheel), [1, place, None, True])

    def test_editable(self) -> None:
        """An editable install puts the checkout on the module path, and the plugin is found."""
        with zipfile.ZipFile(self.editable) as archive:
            added = [n for n in archive.namelist() if ".dist-info/" not in n]
            (line,) = archive.read(added[0]).decode("utf-8").split()
        self.assertEqual((len(added), Path(added[0]).suffix), (1, ".pth"))
        self.assertEqual(Path(line).resolve(), self.checkout)
        place = str(self.checkout / "tahoe_fastdl" / "__init__.py")
        self.assertEqual(self.found_with(self.checkout), [1, place, None, True])

    def test_contents(self) -> None:
        """The wheel has every file of the package, the drop-in, its metadata and no more."""
        paths = (self.checkout / "tahoe_fastdl").rglob("*")
        files = {p.relative_to(self.checkout).as_posix() for p in paths if p.is_file()}
        with zipfile.ZipFile(self.wheel) as archive:
            names = {name for name in archive.namelist() if ".dist-info/" not in name}
        self.assertEqual(names, {DROPIN, *files})

    def test_version(self) -> None:
        """There is one, and the package says it."""
        self.assertEqual(self.metadata()["Version"], __version__)

    def test_licence(self) -> None:
        """Its text is in the wheel."""
        with zipfile.ZipFile(self.wheel) as archive:
            (name,) = (n for n in archive.namelist() if n.endswith("/LICENSE"))
            self.assertEqual(archive.read(name), (ROOT / "LICENSE").read_bytes())

    def test_description(self) -> None:
        """What an index shows points to nothing that is only in the checkout."""
        text = str(self.metadata().get_payload())
        self.assertIn("Installing\n----------", text)
        targets = re.findall(r"`[^`]*<([^>]+)>`_|\.\. (?:image|figure|include):: *(\S+)", text)
        for target in ("".join(pair) for pair in targets):
            self.assertRegex(target, "^https://")

    def test_requirements(self) -> None:
        """Each requirement has a lower bound."""
        for text in self.metadata().get_all("Requires-Dist", []):
            each = Requirement(text)
            if "extra" not in str(each.marker):
                self.assertIn(">=", [part.operator for part in each.specifier], text)


def _is_wheel(path: Path) -> bool:
    """Not the editable one, which has ``0.editable`` for its build."""
    return "editable" not in path.name
