"""The files of a sweep: made, uploaded once, and found again by what they are.

Owns an uploader. How a file is encoded stands in tahoe.cfg of whoever uploads it,
so the uploader is started anew for each encoding and segment size.
"""

from __future__ import annotations

import hashlib
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from misc.bench.cases import File
from misc.grid import Client, ClientOptions, Grid

PIECE_BYTES = 16 << 20
SMALL_FILE_BYTES = 200_000
UPLOAD_TIMEOUT_S = 3600.0

Content = tuple[str, str]  # a cap, and the SHA-256 of its bytes


class Files:
    """What is on the servers.

    :param directory: for a file that is being uploaded.
    """

    def __init__(self, grid: Grid, uploader: Client, directory: Path) -> None:
        self._grid = grid
        self._uploader = uploader
        self._directory = directory
        self._caps: dict[File, Content] = {}
        self.small_cap = uploader.put(random.Random("small").randbytes(SMALL_FILE_BYTES))

    def has(self, file: File) -> bool:
        """Whether it was uploaded."""
        return file in self._caps

    def upload(self, file: File) -> Content:
        """Put a file on the servers, unless it is there; its cap and the SHA-256 of its bytes."""
        found = self._caps.get(file)
        if found is None:
            self._prepare(file)
            found = self._caps[file] = self._put("upload", file, str(file))
        return found

    def upload_many(self, file: File, count: int, at_once: int) -> list[Content]:
        """Put so many different files of a kind on the servers, with bytes of their own.

        :param at_once: how many are uploaded side by side.
        """
        self._prepare(file)
        with ThreadPoolExecutor(at_once) as pool:
            names = [f"upload-{number}" for number in range(count)]
            return list(pool.map(lambda name: self._put(name, file, f"{file} {name}"), names))

    def _put(self, name: str, file: File, seed: str) -> Content:
        path = self._directory / name
        sha256 = _write_file(path, file.length, seed)
        try:
            return self._uploader.put(path, timeout_s=UPLOAD_TIMEOUT_S), sha256
        finally:
            path.unlink()

    def _prepare(self, file: File) -> None:
        options = ClientOptions(
            needed=file.encoding.needed,
            total=file.encoding.total,
            max_segment_bytes=file.segment_bytes,
        )
        client = self._uploader
        if client.options != options:
            client.options = options
            client.stop()
            client.configure(options.as_config())
            client.start()
            self._grid.wait_connected(clients=[client])


def _write_file(path: Path, length: int, seed: str) -> str:
    """The bytes of a file, the same each time; returns their SHA-256."""
    hasher = hashlib.sha256()
    with open(path, "wb") as handle:
        for start in range(0, length, PIECE_BYTES):
            piece_bytes = min(PIECE_BYTES, length - start)
            piece = random.Random(f"{seed} {start}").randbytes(piece_bytes)
            hasher.update(piece)
            handle.write(piece)
    return hasher.hexdigest()
