"""Who may write to the SQLite outbox: the epoch that is stored must be the one that this connection works under.

In: the epoch of an acquired Lease. Out: ``Fenced`` for whoever works under an older one. Every method runs in the
writer's thread (``sqlite_writer``), inside its transaction.
"""

from __future__ import annotations

import apsw

from hookline.errors import Fenced


class Fence:
    """The epoch of one connection: the one found when it was opened, until ``take_over``."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._db = connection
        self._own = self._before = self._stored()

    def take_over(self, epoch: int) -> None:
        """Store a new epoch and work under it. Raises Fenced, with the stored one, when that is later."""
        stored = self._stored()
        if epoch < stored:
            raise Fenced(f"the outbox is at epoch {stored} already, this process has {epoch}", stored)
        self._db.execute("UPDATE epoch SET number = ?", (epoch,))
        self._own = epoch

    def check(self) -> None:
        """Raises Fenced when another process took over since."""
        stored = self._stored()
        if stored != self._own:
            raise Fenced(f"another process took the outbox over (epoch {stored}, this one has {self._own})", stored)

    def settle(self, *, kept: bool) -> None:
        """The transaction ended: ``kept`` says whether what it did is durable."""
        if kept:
            self._before = self._own
        else:
            self._own = self._before

    def _stored(self) -> int:
        number: int = self._db.execute("SELECT number FROM epoch").get
        return number
