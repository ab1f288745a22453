"""Servers that are killed, stopped, hung, and come back, by the dice of a seed.

Owns the fate of the grid's servers while it runs. A server's trouble lasts from
before it is touched until every client is connected to it again; who reads may
count on all others. Laws: never are more than ``most_at_once`` in trouble, and
after ``end`` none is.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from misc.grid import Client, GridError, Server

KILLED, STOPPED, HUNG = "killed", "stopped", "hung"
KINDS = (KILLED, STOPPED, HUNG)

# Between two beginnings, and how long a server is away; some longer than patience.
PAUSE_S = (0.3, 3.0)
AWAY_S = (0.5, 12.0)
RETURN_LIMIT_S = 120.0
POLL_S = 0.2

FOR_EVER = float("inf")


@dataclass(eq=False)
class Spell:
    """One server's time of trouble; times are of ``time.monotonic()``."""

    server: int
    kind: str
    began: float
    back_at: float  # when it is let return
    ended: float = FOR_EVER


@dataclass
class Spells:
    """Every trouble there was and is."""

    servers: int
    all: list[Spell] = field(default_factory=list)

    def spared(self, began: float, ended: float) -> int:
        """How many servers were well all the time between these two."""
        hit = {each.server for each in self.all if each.began <= ended and began <= each.ended}
        return self.servers - len(hit)

    def now(self) -> list[Spell]:
        """Those that are not over."""
        return [each for each in self.all if each.ended == FOR_EVER]

    def count(self, kind: str) -> int:
        """How many of a kind there were."""
        return sum(each.kind == kind for each in self.all)


class Trouble:
    """Runs between ``begin`` and ``end``, as often as wanted.

    :param clients: who must be connected again before a trouble counts as over.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        clients: Sequence[Client],
        most_at_once: int,
        chance: random.Random,
    ) -> None:
        self.spells = Spells(len(servers))
        self._servers = servers
        self._clients = clients
        self._most_at_once = most_at_once
        self._chance = chance
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._problem: Exception | None = None

    def begin(self) -> None:
        """From now on things happen."""
        self._ending.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Nothing happens any more, and all servers are back.

        :raise GridError: one did not return.
        """
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._ending.set()
        thread.join()
        if self._problem is not None:
            raise GridError(f"the servers' trouble did not end: {self._problem}")

    # ------------------------------------------------------------ its thread

    def _run(self) -> None:
        try:
            next_at = time.monotonic()
            while not self._ending.wait(POLL_S):
                now = time.monotonic()
                for spell in self.spells.now():
                    if spell.back_at <= now:
                        self._bring_back(spell)
                if now >= next_at and len(self.spells.now()) < self._most_at_once:
                    self._strike()
                    next_at = time.monotonic() + self._chance.uniform(*PAUSE_S)
            for spell in self.spells.now():
                self._bring_back(spell)
        except (GridError, OSError) as problem:
            self._problem = problem

    def _strike(self) -> None:
        troubled = {spell.server for spell in self.spells.now()}
        number = self._chance.choice([n for n in range(len(self._servers)) if n not in troubled])
        server, kind = self._servers[number], self._chance.choice(KINDS)
        now = time.monotonic()
        self.spells.all.append(Spell(number, kind, now, now + self._chance.uniform(*AWAY_S)))
        if kind == KILLED:
            server.kill()
        elif kind == STOPPED:
            server.stop()
        else:
            server.suspend()

    def _bring_back(self, spell: Spell) -> None:
        server = self._servers[spell.server]
        deadline = time.monotonic() + RETURN_LIMIT_S
        if spell.kind == HUNG:
            server.resume()
        else:
            server.start_listening(deadline)
        for client in self._clients:
            self._wait(lambda: server.name in connected(client), deadline)  # noqa: B023
        spell.ended = time.monotonic()

    def _wait(self, is_so: Callable[[], bool], deadline: float) -> None:
        while not is_so():
            if time.monotonic() > deadline:
                raise GridError("a server that returned was not connected to in time")
            time.sleep(POLL_S)


def connected(client: Client) -> set[str]:
    """The names of the servers that a client is connected to, as far as it knows."""
    return {
        str(server["nickname"])
        for server in client.get_json("/?t=json")["servers"]
        if str(server["connection_status"]).lower().startswith("connected")
    }
