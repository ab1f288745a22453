"""A grid whose servers lie, and the two rules that every fault is held to.

While k good shares are left the right bytes are delivered, whatever the others do.
With fewer the read ends in stock's error, except that ours, which does not look at
what it does not need, may also succeed.  Our code never breaks.
"""

from __future__ import annotations

import os
from typing import Any

from allmydata.interfaces import NoSharesError, NotEnoughSharesError

from .gridcase import GridCase, Outcome

TOO_FEW = (NoSharesError, NotEnoughSharesError)


class FaultCase(GridCase):
    """Checks after each test that our code did not break."""

    timeout = 180

    def setUp(self) -> Any:
        """Start the grid."""
        self.addCleanup(self.no_fallbacks)
        return super().setUp()

    async def right(self, cap: bytes, data: bytes, what: object = "") -> None:
        """A new node delivers the file."""
        self.same(await self.outcome(self.node(cap)), (data, None), what)

    async def right_or_named(self, cap: bytes, data: bytes, what: object = "") -> Outcome:
        """A new node delivers the file, or what comes before a shortage of shares."""
        text, error = await self.outcome(self.node(cap))
        if error is None:
            self.assertTrue(text == data, what)
        else:
            self.assertIn(error, TOO_FEW, what)
            self.assertTrue(data.startswith(text), what)
        return text, error

    def advisories(self) -> int:
        """How many reports of corruption the servers have written down."""
        return sum(
            len(os.listdir(server.corruption_advisory_dir))
            for server in self.g.servers_by_number.values()
        )
