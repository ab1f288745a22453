"""The other programs at work: nginx with a file and its shares, curl and aria2 to fetch them.

Both write files to a temporary directory, whose bytes are compared afterwards, off
the clock.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from misc.bench.cases import LAN, SERVERS, WIRES
from misc.bench.measure import WrongBytesError
from misc.floor import programs
from misc.floor.nginx import Nginx, ProgramError
from misc.floor.shares import Piece
from misc.wan import Wan

ARIA2, CURL = "aria2", "curl"
PROGRAM_TIMEOUT_S = 600.0
COPY_BYTES = 4 << 20
WHOLE = "whole"  # the name of the file itself, beside share0, share1, ...


class Web:
    """nginx with the file and its shares, behind a wire if need be.

    Its processes run inside the ``with`` block.
    """

    def __init__(self, directory: Path, is_far: bool) -> None:
        self._directory = directory
        self._nginx = Nginx(directory / "nginx", SERVERS)
        self._is_far = is_far
        self._wan: Wan | None = None
        self._running = ExitStack()
        self._ports: list[int] = []
        self._hashes: dict[str, str] = {}  # of what is served, by name
        self._places: dict[str, int] = {}  # which of the servers has it

    def __enter__(self) -> Web:
        try:
            self._running.enter_context(self._nginx)
            if self._is_far:
                self._wan = self._running.enter_context(Wan(self._nginx.ports))
        except BaseException:
            self._running.close()
            raise
        return self

    def __exit__(self, *problem: object) -> None:
        self._running.close()

    def use(self, wire: str) -> None:
        """Be reached through this wire from now on."""
        self._ports = self._nginx.ports
        if wire != LAN:
            assert self._wan is not None
            self._wan.use(WIRES[wire])
            self._ports = self._wan.ports

    def take(self, whole: bytes, blocks: Mapping[int, Piece]) -> None:
        """Serve this file, and these blocks of its shares, each from its own server's port."""
        for name in self._hashes:
            (self._nginx.files / name).unlink()
        (self._nginx.files / WHOLE).write_bytes(whole)
        self._hashes, self._places = {WHOLE: hashlib.sha256(whole).hexdigest()}, {WHOLE: 0}
        for shnum, piece in blocks.items():
            name = f"share{shnum}"
            self._hashes[name] = copy_piece(piece, self._nginx.files / name)
            self._places[name] = piece.server

    def run(self, program: str) -> dict[str, Any]:
        """One download; returns the numbers of a line.

        :raise ProgramError: the program failed.
        :raise WrongBytesError: it wrote other bytes than are served.
        """
        target = self._directory / "downloaded"
        target.mkdir()
        try:
            names = [name for name in self._hashes if (name == WHOLE) == (program == CURL)]
            urls = [f"https://localhost:{self._ports[self._places[name]]}/{name}" for name in names]
            nginx_s = self._nginx.cpu_seconds()
            make = curl_command if program == CURL else aria2_command
            numbers = timed(make(urls, target, self._nginx.certificate), self._directory)
            numbers["servers_cpu_s"] = self._nginx.cpu_seconds() - nginx_s
            for name in names:
                if sha256_of(target / name) != self._hashes[name]:
                    raise WrongBytesError(f"{program} wrote other bytes than {name} has")
            return numbers
        finally:
            shutil.rmtree(target)


def curl_command(urls: Sequence[str], target: Path, certificate: Path) -> list[str]:
    """One file; without the user's own configuration."""
    (url,) = urls
    return [
        *(programs.find(programs.CURL) or "curl", "-q", "--silent", "--show-error", "--fail"),
        *("--noproxy", "*", "--ipv4", "--cacert", str(certificate)),
        *("--output", str(target / url.rpartition("/")[2]), url),
    ]


def aria2_command(urls: Sequence[str], target: Path, certificate: Path) -> list[str]:
    """All files at once, one connection each."""
    listed = target / "urls"
    listed.write_text("\n".join(urls) + "\n", encoding="ascii")
    return [
        *(programs.find(programs.ARIA2) or "aria2c", "--no-conf", "--quiet", "--disable-ipv6"),
        *("--check-certificate=true", f"--ca-certificate={certificate}", "--no-proxy=*"),
        *("--file-allocation=none", f"--max-concurrent-downloads={len(urls)}"),
        *("--split=1", "--max-connection-per-server=1", "--dir", str(target)),
        *("--input-file", str(listed)),
    ]


def timed(command: Sequence[str], directory: Path) -> dict[str, Any]:
    """Run a program to its end: from its start, and its CPU time.

    :raise ProgramError: it failed or took too long; carries what it said.
    """
    log_path = directory / "program.log"
    began = time.perf_counter()
    with open(log_path, "wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    stopper = threading.Timer(PROGRAM_TIMEOUT_S, process.kill)
    stopper.start()
    try:
        _, status, usage = os.wait4(process.pid, 0)  # the only way to learn its CPU time alone
        wall_s = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        stopper.cancel()
        if process.returncode is None:
            process.kill()
            process.wait()
    if process.returncode != 0:
        said = log_path.read_text(encoding="utf-8", errors="replace")[-1000:]
        raise ProgramError(f"{Path(command[0]).name} failed ({process.returncode}): {said}")
    return {"wall_s": wall_s, "cpu_s": usage.ru_utime + usage.ru_stime}


def copy_piece(piece: Piece, target: Path) -> str:
    """Part of a file into another; the SHA-256 of its bytes."""
    hasher, length = hashlib.sha256(), piece.length
    with open(piece.path, "rb") as reading, open(target, "wb") as writing:
        reading.seek(piece.start)
        while length and (data := reading.read(min(length, COPY_BYTES))):
            hasher.update(data)
            writing.write(data)
            length -= len(data)
    return hasher.hexdigest()


def sha256_of(path: Path) -> str:
    """Of a whole file."""
    hasher = hashlib.sha256()
    with open(path, "rb") as handle:
        while data := handle.read(COPY_BYTES):
            hasher.update(data)
    return hasher.hexdigest()
