"""Makes the checkout's private environment, so that one command is enough.

Owns ``.venv-fastdl/`` in the checkout: a virtual environment with this project,
Tahoe-LAFS and what they need.  A script calls :func:`enter` before anything
else; when that returns, the script runs inside the environment with the
checkout's sources of that moment installed.  Assumes a Python with ``venv`` and
``pip``, and nothing more.

Laws:

* The project is installed for real, never editable: a module that is missing
  from the package must be missed.
* It is built from a copy.  A build in the checkout leaves ``build/`` there, and
  the next one would install modules from it that were deleted since.
* The stamp is written last.  An environment without a stamp was interrupted
  while it was made, and is made anew.
* One process at a time works on the environment, under a lock beside it.  A
  process that already runs in it is not waited for: it has imported what it
  uses, and one that is kept up all day must not block another.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterable, Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
ENVIRONMENT = CHECKOUT / ".venv-fastdl"
LOCK = CHECKOUT / ".venv-fastdl.lock"
STAMP_NAME = "fastdl-stamp.json"

OLDEST_PYTHON = (3, 9)  # as setup.py says; Tahoe-LAFS 1.20 asks for the same

# The project installs beside any, and is fast with some: here it has to be one of these.
TAHOE = "tahoe-lafs == 1.20.*"

# Raise when a stamp of an older form must not be believed.
STAMP_FORM = 1

# What decides which other packages are installed.
REQUIREMENT_FILES = ("setup.py", "pyproject.toml")

# What goes into the package; all of it is copied and nothing else is built.
SOURCE_FILES = (*REQUIREMENT_FILES, "MANIFEST.in", "README.rst", "LICENSE", "CHANGELOG.rst")
SOURCE_FOLDERS = ("tahoe_fastdl", "twisted")

# A copy of the sources is taken without what runs leave in them.
LEFT_OVERS = shutil.ignore_patterns("__pycache__", "*.pyc", "*.pyo", "dropin.cache")

# Of pip's output, the lines that show that it is getting on.
PROGRESS_WORDS = ("Collecting", "Building wheel", "Installing collected")

# These would put other packages before the environment's.
HARMFUL_VARIABLES = ("PYTHONPATH", "PYTHONHOME", "__PYVENV_LAUNCHER__", "PIP_TARGET", "PIP_USER")


def enter(*extras: str) -> None:
    """Return only when this script runs in the up-to-date environment.

    Makes or refreshes the environment, and if this interpreter is not the
    environment's, runs the calling script again in it with the same arguments
    and ends this process with its exit status.

    :param extras: names of the project's extras that the script needs.
    :raise SystemExit: the environment could not be made; says why.

    Cost: some 20 ms when nothing changed; a few seconds when only the project's
    sources did; a minute or so the first time.
    """
    if sys.version_info < OLDEST_PYTHON:
        raise SystemExit(f"Python {'.'.join(map(str, OLDEST_PYTHON))} or newer is needed.")
    with _locked():
        _bring_up_to_date(frozenset(extras))
    if _is_inside():
        return
    python = str(_python())
    command = [python, os.path.abspath(sys.argv[0]), *sys.argv[1:]]
    sys.stdout.flush()
    sys.stderr.flush()
    environ = _clean_environ()
    if sys.platform == "win32":
        # execv() there starts a second process and lets the shell go on.
        raise SystemExit(subprocess.call(command, env=environ))
    os.execve(python, command, environ)


def _is_inside() -> bool:
    return Path(sys.prefix).resolve() == ENVIRONMENT.resolve()


def _python() -> Path:
    if sys.platform == "win32":
        return ENVIRONMENT / "Scripts" / "python.exe"
    return ENVIRONMENT / "bin" / "python"


def _clean_environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in HARMFUL_VARIABLES}


# ---------------------------------------------------------------- what is there


def _source_paths() -> Iterator[Path]:
    for name in SOURCE_FILES:
        path = CHECKOUT / name
        if path.is_file():
            yield path
    for folder in SOURCE_FOLDERS:
        for directory, subdirectories, names in os.walk(CHECKOUT / folder):
            ignored = LEFT_OVERS(directory, [*subdirectories, *names])
            subdirectories[:] = sorted(set(subdirectories) - ignored)
            for name in sorted(set(names) - ignored):
                yield Path(directory) / name


def _digest(paths: Iterable[Path]) -> str:
    """One hash over names and contents; times do not count, as a fresh clone has new ones."""
    hasher = hashlib.sha256()
    for path in paths:
        content = path.read_bytes()
        name = path.relative_to(CHECKOUT).as_posix()
        hasher.update(f"{name}\0{len(content)}\0".encode())
        hasher.update(content)
    return hasher.hexdigest()


def _read_stamp() -> dict[str, object] | None:
    """What the environment was made for; None if it is missing, half made or not this Python's."""
    try:
        stamp = json.loads((ENVIRONMENT / STAMP_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(stamp, dict) or stamp.get("form") != STAMP_FORM:
        return None
    if stamp.get("python") != _python_identity() or stamp.get("place") != str(ENVIRONMENT):
        return None
    # A symbolic link to a Python that was since removed, for instance.
    if not os.access(_python(), os.X_OK):
        return None
    return stamp


def _write_stamp(stamp: dict[str, object]) -> None:
    partial = ENVIRONMENT / (STAMP_NAME + ".partial")
    partial.write_text(json.dumps(stamp, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(partial, ENVIRONMENT / STAMP_NAME)


def _python_identity() -> str:
    return f"{sys.implementation.cache_tag} {sys.version_info[0]}.{sys.version_info[1]}"


# ---------------------------------------------------------------- making it


def _bring_up_to_date(extras: frozenset[str]) -> None:
    requirements = _digest(CHECKOUT / name for name in REQUIREMENT_FILES)
    sources = _digest(_source_paths())
    stamp = _read_stamp()
    made_for = frozenset(_names(stamp.get("extras"))) if stamp else frozenset()
    wanted = {
        "form": STAMP_FORM,
        "place": str(ENVIRONMENT),
        "python": _python_identity(),
        "requirements": requirements,
        "sources": sources,
        # An environment keeps the extras it has: two scripts with different
        # extras, run in turn, must not reinstall each time.
        "extras": sorted(made_for | extras),
    }
    if stamp == wanted:
        return
    started = time.monotonic()
    if stamp is None:
        _make_empty()
        _install_all(wanted)
    elif stamp["requirements"] != requirements or not extras <= made_for:
        (ENVIRONMENT / STAMP_NAME).unlink()
        _install_all(wanted)
    else:
        _install_project(stamp)
    _find_plugins()
    _write_stamp(dict(wanted))
    _say(f"the environment is ready ({time.monotonic() - started:.0f} s)")


def _names(value: object) -> list[str]:
    return [str(name) for name in value] if isinstance(value, list) else []


def _make_empty() -> None:
    if _is_inside():
        raise SystemExit(
            f"The environment {ENVIRONMENT} is not complete and cannot be made anew by its own"
            " Python. Run the same command with another python3."
        )
    _say(f"making a private environment in {ENVIRONMENT.name}/ (once; about a minute)")
    if ENVIRONMENT.exists():
        shutil.rmtree(ENVIRONMENT)
    try:
        venv.EnvBuilder(with_pip=True, symlinks=sys.platform != "win32").create(ENVIRONMENT)
    except (subprocess.CalledProcessError, ImportError) as problem:
        raise SystemExit(
            f"Python's venv could not make an environment: {problem}\nOn Debian and Ubuntu it is"
            " in a package of its own: apt install python3-venv"
        ) from problem


def _install_all(wanted: dict[str, object]) -> None:
    extras = ",".join(_names(wanted["extras"]))
    _say(f"installing tahoe-fastdl, Tahoe-LAFS and what they need ({extras or 'no extras'})")
    # The builder is kept in the environment, so that a later reinstall needs no
    # network and no second environment.
    _pip("install", "--upgrade", "pip", "setuptools >= 70.1")
    with _copy_of_sources() as copy:
        target = f"{copy}[{extras}]" if extras else str(copy)
        _pip("install", "--no-build-isolation", target, TAHOE)
        # The version did not change, so pip keeps an older build of ours.
        _pip_project(copy)


def _install_project(stamp: dict[str, object]) -> None:
    """The same requirements, other sources: the quick way.

    The old stamp stays but for the sources, so that an interrupted reinstall is
    repeated and does not cost a new environment.
    """
    _say("the sources changed: installing them again")
    _write_stamp({**stamp, "sources": ""})
    with _copy_of_sources() as copy:
        _pip_project(copy)


def _pip_project(copy: Path) -> None:
    _pip("install", "--no-deps", "--force-reinstall", "--no-build-isolation", str(copy))


@contextlib.contextmanager
def _copy_of_sources() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tahoe-fastdl-build-") as temporary:
        copy = Path(temporary) / "tahoe-fastdl"
        for path in _source_paths():
            target = copy / path.relative_to(CHECKOUT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        yield copy


def _find_plugins() -> None:
    """Let Twisted write its plugin cache now.

    Else a dozen nodes that start at once would each write it.
    """
    code = "import twisted.plugin as p; list(p.getPlugins(p.IPlugin))"
    subprocess.run(
        [str(_python()), "-c", code],
        cwd=ENVIRONMENT,
        env=_clean_environ(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )


def _pip(*arguments: str) -> None:
    """Run pip; show how it gets on, and all it said if it fails."""
    command = [
        str(_python()),
        *("-m", "pip", "--disable-pip-version-check", "--no-input"),
        *arguments,
        *("--progress-bar", "off", "--no-warn-script-location"),
    ]
    lines = []
    with subprocess.Popen(
        command,
        cwd=ENVIRONMENT,
        env=_clean_environ(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            words = line.strip()
            if words.startswith(PROGRESS_WORDS):
                _say_in_place("  " + words.split(" (")[0][:70])
    if sys.stdout.isatty():
        print(end="\r\033[K", flush=True)
    if process.returncode != 0:
        sys.stderr.writelines(lines)
        raise SystemExit(f"pip failed (exit status {process.returncode}); its output is above.")


# ---------------------------------------------------------------- small things


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """Hold the lock; the system frees it even if this process is killed."""
    with open(LOCK, "a+b") as handle:
        if sys.platform == "win32":
            import msvcrt

            handle.seek(0)
            while True:
                try:
                    msvcrt.locking(handle.fileno(), msvcrt.LK_LOCK, 1)
                    break
                except OSError:  # it gives up after ten seconds; the other may need minutes
                    time.sleep(0.1)
        else:
            import fcntl

            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _say("waiting for another process that works on the environment")
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _say(text: str) -> None:
    print(f"[bootstrap] {text}", flush=True)


def _say_in_place(text: str) -> None:
    """A line that the next one replaces; in a log, a line like any other."""
    if sys.stdout.isatty():
        print(f"\r\033[K[bootstrap] {text}", end="", flush=True)
    else:
        _say(text)
