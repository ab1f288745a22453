"""The consumer that decrypts, as Tahoe's filenode makes it.

``ImmutableFileNode.read`` wraps every consumer in a ``DecryptingConsumer``.
Ours is the stock one and remembers what it was made of, so that our node can
decrypt in a worker and write to the inner consumer; a stock node never sees a
difference.
"""

from __future__ import annotations

from typing import Any

from allmydata.immutable.filenode import DecryptingConsumer as StockDecryptingConsumer


class DecryptingConsumer(StockDecryptingConsumer):  # type: ignore[misc]  # Tahoe is untyped
    """The stock consumer, with its parts in reach of :class:`FastDownloadNode`."""

    def __init__(self, consumer: Any, readkey: bytes, offset: int) -> None:
        super().__init__(consumer, readkey, offset)
        self.fastdl_inner = consumer
        self.fastdl_readkey = readkey
        self.fastdl_offset = offset
