"""Builds the package and installs it in every way there is: wheel, sdist, editable, zip.

``python3 misc/packaging_check.py`` builds an sdist and, from that, a wheel; looks at what
is in both and at what an index would show; fetches what the wheel declares into a folder;
and installs from that folder alone, in fresh environments without an index.  In each,
Twisted must find the plugin and a real node must download with it.  Some two minutes; its
last line is ``N passed, N failed``, the exit status is 0 only if nothing failed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import traceback
import venv
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

# Appended, not put first: what is imported must come from the environment.
sys.path.append(str(Path(__file__).resolve().parent.parent))

from misc import bootstrap

PACKAGE = "tahoe_fastdl"
DISTRIBUTION = "tahoe-fastdl"
DROPIN = "twisted/plugins/tahoe_fastdl_dropin.py"

# What work in a checkout leaves behind, as .gitignore lists it.
NO_SOURCES = (
    *(".git", ".venv-fastdl*", ".tox", ".hypothesis", ".mypy_cache", ".ruff_cache"),
    *("_trial_temp*", "*.egg-info", "build", "dist", "_build", "eliot.log"),
    *("quick.jsonl", "simulator-quick.jsonl", "callgrind", "traces"),
    *("__pycache__", "*.pyc", "*.pyo", "dropin.cache"),
)


class Failed(Exception):
    """One check did not hold; the text says what is wrong."""


class Checks:
    """The package as it is built, and the environments it is installed in, in one folder."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.checkout = base / "checkout"
        self.wheels = base / "wheels"  # of what the package needs
        self.view = base / "view"  # a copy of misc/ and no more, for the probe
        shutil.copytree(
            bootstrap.CHECKOUT, self.checkout, ignore=shutil.ignore_patterns(*NO_SOURCES)
        )
        shutil.copytree(self.checkout / "misc", self.view / "misc")
        self.sources = set(_files_below(self.checkout, "."))  # a build adds to them

    @property
    def wheel(self) -> Path:
        """The one that was built."""
        (path,) = (self.base / "dist").glob("*.whl")
        return path

    @property
    def sdist(self) -> Path:
        """The one that was built."""
        (path,) = (self.base / "dist").glob("*.tar.gz")
        return path

    # ------------------------------------------------------------ what is built

    def build(self) -> None:
        """An sdist and a wheel can be built, the wheel from the sdist."""
        command = ["-m", "build", "--no-isolation", "--outdir", str(self.base / "dist")]
        _run([sys.executable, *command, str(self.checkout)], self.base)

    def wheel_contents(self) -> None:
        """The wheel has the package, all of it, the drop-in and nothing else."""
        expected = {DROPIN, *(n for n in self.sources if n.startswith(f"{PACKAGE}/"))}
        found = set(zipfile.ZipFile(self.wheel).namelist())
        metadata = {name for name in found if name.split("/")[0].endswith(".dist-info")}
        _same(expected, found - metadata)
        if not any(name.endswith("/LICENSE") for name in metadata):
            raise Failed("the licence is missing")

    def sdist_contents(self) -> None:
        """The sdist has every file of the checkout, and what setuptools adds."""
        with tarfile.open(self.sdist) as archive:
            names = [each.name for each in archive.getmembers() if each.isfile()]
        found = {name.split("/", 1)[1] for name in names}
        added = {n for n in found if n in ("PKG-INFO", "setup.cfg") or ".egg-info/" in n}
        _same(self.sources, found - added)

    def metadata(self) -> None:
        """An index takes the metadata, and can show the long description."""
        files = [str(self.wheel), str(self.sdist)]
        _run([sys.executable, "-m", "twine", "check", "--strict", *files], self.base)

    def requirements(self) -> None:
        """What the wheel declares can be had; from here on nothing else can."""
        # The builder is for the sdist and the editable install.
        what = [str(self.wheel), "setuptools >= 70.1"]
        _run([*_pip(Path(sys.prefix)), "wheel", "-q", "-w", str(self.wheels), *what], self.base)
        (self.wheels / self.wheel.name).unlink()

    # ------------------------------------------------------------ the ways to install

    def from_wheel(self) -> None:
        """A wheel, in a fresh environment."""
        self._make("from-wheel")
        self._install("from-wheel", str(self.wheel))
        self._probe("from-wheel", self.base / "from-wheel")

    def from_sdist(self) -> None:
        """An sdist, in a fresh environment."""
        self._make("from-sdist")
        self._install("from-sdist", str(self.sdist))
        self._probe("from-sdist", self.base / "from-sdist")

    def removed(self) -> None:
        """Once it is uninstalled Twisted finds nothing of ours."""
        _run([*_pip(self.base / "from-wheel"), "uninstall", "-q", "-y", DISTRIBUTION], self.base)
        self._probe("from-wheel", None)

    def zipped(self) -> None:
        """A zip on the module path, where the wheel was."""
        archive = self.base / f"{PACKAGE}.zip"
        shutil.copyfile(self.wheel, archive)
        self._probe("from-wheel", archive, {"PYTHONPATH": str(archive)})

    def editable(self) -> None:
        """An editable install, where the wheel was."""
        self._install("from-wheel", "--editable", str(self.checkout))
        self._probe("from-wheel", self.checkout)

    # ------------------------------------------------------------ how

    def _make(self, name: str) -> None:
        venv.EnvBuilder(with_pip=True, symlinks=sys.platform != "win32").create(self.base / name)

    def _install(self, name: str, *what: str) -> None:
        """From the folder alone; no settings of this machine add an index."""
        source = ["--no-index", "--find-links", str(self.wheels)]
        _run([*_pip(self.base / name), "install", "-q", *source, *what], self.base)

    def _probe(self, name: str, origin: Path | None, environ: dict[str, str] | None = None) -> None:
        grid = tempfile.mkdtemp(prefix="grid-", dir=self.base)
        command = [str(_python(self.base / name)), str(self.view / "misc" / "packaging_probe.py")]
        arguments = [str(Path(grid) / "grid"), *([str(origin)] if origin else [])]
        _run([*command, *arguments], self.base, environ)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.parse_args(arguments)
    bootstrap.enter("packaging")
    with tempfile.TemporaryDirectory(prefix="tahoe-fastdl-packaging-") as temporary:
        checks = Checks(Path(temporary))
        outcomes = [
            _holds(check)
            for check in (
                *(checks.build, checks.wheel_contents, checks.sdist_contents, checks.metadata),
                *(checks.requirements, checks.from_wheel, checks.from_sdist),
                *(checks.removed, checks.zipped, checks.editable),
            )
        ]
    print(f"{outcomes.count(True)} passed, {outcomes.count(False)} failed", flush=True)
    return 0 if all(outcomes) else 1


def _holds(check: Callable[[], None]) -> bool:
    """Run one check and say what became of it; the others go on."""
    claim = (check.__doc__ or "").splitlines()[0]
    try:
        check()
    except Failed as failure:
        print(f"FAILED  {claim}\n{failure}", flush=True)
    except (OSError, ValueError):  # an earlier one failed, and its file is not there
        print(f"FAILED  {claim}\n{traceback.format_exc()}", flush=True)
    else:
        print(f"ok      {claim}", flush=True)
        return True
    return False


def _run(command: Sequence[str], folder: Path, environ: dict[str, str] | None = None) -> None:
    clean = {k: v for k, v in os.environ.items() if k not in bootstrap.HARMFUL_VARIABLES}
    done = subprocess.run(
        command,
        cwd=folder,
        env={**clean, **(environ or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-40:])
        raise Failed(f"{' '.join(command)}\nexit status {done.returncode}\n{tail}")


def _python(environment: Path) -> Path:
    folder = "Scripts" if sys.platform == "win32" else "bin"
    return environment / folder / ("python.exe" if sys.platform == "win32" else "python")


def _pip(environment: Path) -> list[str]:
    return [str(_python(environment)), "-m", "pip", "--disable-pip-version-check", "--no-input"]


def _files_below(root: Path, folder: str) -> list[str]:
    paths = sorted((root / folder).rglob("*"))
    return [path.relative_to(root).as_posix() for path in paths if path.is_file()]


def _same(expected: set[str], found: set[str]) -> None:
    if expected != found:
        raise Failed(f"missing: {sorted(expected - found)}\nextra: {sorted(found - expected)}")


if __name__ == "__main__":
    sys.exit(main())
