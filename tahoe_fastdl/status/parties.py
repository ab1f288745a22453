"""Who takes part in one download: servers, their shares, and what servers were asked.

Rows of a record name a share or a server by its index here.  Bounded: shares and
questions beyond their capacity are counted and not kept; servers come with those two
and with nothing else.
"""

from __future__ import annotations

from attrs import define

from .peers import Peers


@define
class Question:
    """A server that was asked for shares.  *shnums* a byte each: N is at most 256."""

    server: int  # an index
    sent_s: float
    answered_s: float | None = None
    shnums: bytes = b""
    state: str = "open"


class Parties:
    """See the module's docstring.

    Servers and shares have two numbers: the node's, under which events come, and the
    index here.
    """

    def __init__(self, max_shares: int, max_questions: int, peers: Peers) -> None:
        """:param peers: know what servers are called."""
        self.servers: list[int] = []  # the node's number of each server heard of
        self.shares: list[tuple[int, int]] = []  # shnum and server, an index into servers
        self.questions: list[Question] = []
        self.questions_left_out = 0
        self._max_shares = max_shares
        self._max_questions = max_questions
        self._peers = peers
        self._server_index: dict[int, int] = {}
        self._share_index: dict[int, int] = {}

    def _server(self, number: int) -> int:
        index = self._server_index.get(number)
        if index is None:
            index = self._server_index[number] = len(self.servers)
            self.servers.append(number)
        return index

    def enter(self, share: int, shnum: int, server: int) -> int | None:
        """The index of a share, known by now; None: there are too many.

        :param share: the node's number, as *server* is.
        """
        index = self._share_index.get(share)
        if index is None:
            if len(self.shares) >= self._max_shares:
                return None
            index = self._share_index[share] = len(self.shares)
            self.shares.append((shnum, self._server(server)))
        return index

    def find(self, share: int) -> int | None:
        """The index of a share by the node's number of it; None: it was never entered."""
        return self._share_index.get(share)

    def server_of(self, index: int) -> int:
        """The node's number of a share's server."""
        server = self.shares[index][1]
        return self.servers[server]

    def share_name(self, index: int) -> str:
        """What to call a share: text that is fit to be shown."""
        shnum = self.shares[index][0]
        return f"sh{shnum} on {self._peers.name(self.server_of(index))}"

    def ask(self, server: int, at_s: float) -> int:
        """A server, by the node's number, is asked for shares.

        :return: the number of the question; -1 of one that is not kept.
        """
        if len(self.questions) >= self._max_questions:
            self.questions_left_out += 1
            return -1
        self.questions.append(Question(self._server(server), at_s))
        return len(self.questions) - 1

    def answer(self, question: int, at_s: float, shnums: list[int] | None) -> None:
        """It named these, or (None) failed; nothing if the question is not kept."""
        if not 0 <= question < len(self.questions):
            return
        asked = self.questions[question]
        asked.answered_s = at_s
        asked.state = "error" if shnums is None else "ok"
        asked.shnums = bytes(shnum for shnum in shnums or () if shnum < 256)
