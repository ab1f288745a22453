"""What the ticket's profile says: which rows vanished, what is left, and why.

The sentences are written by hand and say why; each number in them is filled in from
the profiles. A sentence that a later profile would make false is left out, or says
the opposite, by the conditions here.
"""

from __future__ import annotations

import textwrap

from misc.bench.cases import KIB, MB, Encoding, File
from misc.grid_client import FOOLSCAP, HTTP
from misc.profiling.results import Profile
from misc.profiling.rows import LOOP_TITLE, NEEDED_TITLE, PLAN_TITLE, ROWS, WAIT_TITLE

TICKET = File(10 * MB, Encoding(20, 60), 128 * KIB)

# Of stock's calls or of its time: what is so much rarer or quicker counts as gone.
VANISHED = 0.02
MIN_STOCK_CALLS = 500

MUCH_WAITING = 0.25  # of the wall time

WIDTH = 100

WHY_VANISHED = """\
Stock goes through a loop for each answer: it asks for one block of one segment and for the hashes
that prove it, and after every answer the share works out anew what is satisfied and what is
desired. The fast downloader keeps both as bitmaps, which change when something arrives, and plans
once a reactor turn. Blocks of one share lie side by side, so it asks for many segments in one read;
and it checks each segment against the file's own ciphertext hashes, fetched once, so no share hash
chain and no block hash tree is fetched or checked at all. Rows that count requests, answers, hashes
and spans fall with that, and so do the log calls, of which stock makes several for each of them."""

WHY_LEFT = {
    FOOLSCAP: """\
Bytes still have to come in: the kernel's copy, TLS, and Foolscap's parser, which joins what arrives
into one string for each answer. That is work for each byte, not for each message, and neither the
protocol nor the servers can be changed from here.""",
    HTTP: """\
Bytes still have to come in, through the kernel and TLS, and Tahoe's HTTP client builds a URL,
headers, a log action and a parser for each read, however long it is. The fewer reads, the less of
that; the client itself cannot be changed from here.""",
}

WORKERS = """\
Decoding, hashing and decrypting are not in the fast columns, for they happen in worker threads,
beside the reactor; what the table shows of them is the handing over."""


def read(stock: Profile, fast: Profile) -> str:
    """The text under a table of both kinds; with what vanished under the ticket's own."""
    is_tickets = (fast.file, fast.transport) == (TICKET, FOOLSCAP)
    parts = _vanished(stock, fast) if is_tickets else []
    parts += [_left(fast), _threads(stock, fast)]
    wrap = textwrap.TextWrapper(WIDTH, break_on_hyphens=False, break_long_words=False)
    return "\n\n".join(map(wrap.fill, parts))


def _vanished(stock: Profile, fast: Profile) -> list[str]:
    gone = []
    for row in ROWS:
        before, after = stock.row(row.title), fast.row(row.title)
        is_rare = after.calls <= VANISHED * before.calls
        is_cheap = after.cumulative_s <= VANISHED * before.cumulative_s
        if row.title != WAIT_TITLE and before.calls >= MIN_STOCK_CALLS and (is_rare or is_cheap):
            gone.append(
                f"{row.title} ({before.calls:,} calls and {before.cumulative_s:.2f} s, now"
                f" {after.calls:,} and {after.cumulative_s:.3f} s)"
            )
    loop, plan = stock.row(LOOP_TITLE), fast.row(PLAN_TITLE)
    needed = next(row.ticket_calls for row in ROWS if row.title == NEEDED_TITLE)
    return [
        f"**Which rows vanished.** {'; '.join(gone) or 'None'}.",
        f"**Why.** {WHY_VANISHED}",
        f"In numbers: {stock.reads:,} reads became {fast.reads:,}; {loop.calls:,} passes of the"
        f" loop, in which stock spends {loop.cumulative_s:.2f} of the {stock.busy_s:.2f} s its"
        f" reactor thread is busy, became {plan.calls:,} plans, which take"
        f" {plan.cumulative_s:.3f} s; {stock.calls:,} function calls in all became"
        f" {fast.calls:,}. Today's stock calls `needed_hashes`"
        f" {stock.row(NEEDED_TITLE).calls:,} times, where the ticket counted {needed or 0:,}:"
        " its structure is still that of 1.8.",
    ]


def _left(fast: Profile) -> str:
    largest = list(fast.layers.items())[:5]
    parts = ", ".join(f"{name} {100 * seconds / fast.busy_s:.0f} %" for name, seconds in largest)
    ours = sum(seconds for name, seconds in fast.layers.items() if name.startswith("fast:"))
    return (
        f"**What is left.** Of {fast.busy_s:.3f} s that the fast client's reactor thread is busy:"
        f" {parts}. Our own code in it is {100 * ours / fast.busy_s:.0f} %."
        f" {WHY_LEFT[fast.transport]} {WORKERS}"
    )


def _threads(stock: Profile, fast: Profile) -> str:
    workers = {each.kind: max(0.0, each.cpu_s - each.main_cpu_s) for each in (stock, fast)}
    waits = {each.kind: each.row(WAIT_TITLE).own_s for each in (stock, fast)}
    is_idle = any(waits[each.kind] > MUCH_WAITING * each.wall_s for each in (stock, fast))
    why = (
        "part of the time goes to waiting for servers, which share this machine"
        if is_idle
        else "on loopback it is the client's own work that takes the time, not the wire"
    )
    return (
        f"**What the profiler does not see.** Outside the reactor's thread stock used"
        f" {workers[stock.kind]:.2f} s of CPU and fast {workers[fast.kind]:.2f} s (counted in ticks"
        f" of 10 ms). The reactor waited {waits[stock.kind]:.2f} s in stock and"
        f" {waits[fast.kind]:.2f} s in fast: {why}."
    )
