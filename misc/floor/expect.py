"""About how long stock takes, to leave out what is not worth the wait. Pure.

From ``python3 misc/bench`` on a 2-core AMD EPYC, 100 MB at 3-of-10 to 60-of-60: each
block is a read of its own, 1.3 ms over Foolscap and 11 ms over HTTP, and segments
are fetched one after another, each a round trip at least.
"""

from __future__ import annotations

from misc.bench.cases import MB, WIRES, Case
from misc.grid_client import HTTP

BLOCK_S = 0.0013
HTTP_BLOCK_S = 0.011
REST_S = 0.7  # for each 100 MB: hashing, decoding, decrypting, delivering


def stock_s(case: Case, servers: int) -> float:
    """Seconds of one download, good to a third or so."""
    file, wire = case.file, WIRES[case.wire]
    segments = -(-file.length // file.segment_bytes)
    block_s = HTTP_BLOCK_S if case.transport == HTTP else BLOCK_S
    total = segments * (file.encoding.needed * block_s + 2 * wire.delay_s)
    total += REST_S * file.length / (100 * MB)
    if wire.server_rate:
        total += file.length / (wire.server_rate * min(servers, file.encoding.needed))
    if wire.downlink_rate:
        total += file.length / wire.downlink_rate
    return total
