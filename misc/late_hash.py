"""SHA-256 of what is received, taken when it has come: hashing on the way takes a core's time.

On a machine with as many busy nodes as cores that time would count as the node's.
"""

from __future__ import annotations

import hashlib

HELD_BYTES = 128 << 20  # then it is hashed on the way after all


class LateHash:
    """Like a hash of ``hashlib``, which it takes later."""

    def __init__(self) -> None:
        self._hasher = hashlib.sha256()
        self._held: list[bytes] = []
        self._held_bytes = 0

    def update(self, data: bytes) -> None:
        """Hash *data* at some time."""
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > HELD_BYTES:
            self._catch_up()

    def hexdigest(self) -> str:
        """Of all that came until now."""
        self._catch_up()
        return self._hasher.hexdigest()

    def _catch_up(self) -> None:
        for data in self._held:
            self._hasher.update(data)
        self._held.clear()
        self._held_bytes = 0
