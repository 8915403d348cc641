"""The counters of the SQLite outbox: messages and bytes of each subscription, by state, kept rather than counted.

In: which messages came into a state and left one. Out: the counters' rows, changed once for each subscription.
"""

from __future__ import annotations

import apsw

from hookline.outbox.sqlite_schema import DEAD, DELIVERED, PENDING

_STATES = len((PENDING, DELIVERED, DEAD))
_APPLY = """UPDATE subscriptions SET pending = pending + ?, delivered = delivered + ?, dead = dead + ?,
    pending_bytes = pending_bytes + ?, delivered_bytes = delivered_bytes + ?, dead_bytes = dead_bytes + ?
WHERE id = ?"""


class Tally:
    """Changes of the counters, collected here and written by ``apply``, in the transaction of what they count."""

    def __init__(self) -> None:
        self._changes: dict[int, list[int]] = {}

    def came(self, subscription: int, state: int, size: int, number: int = 1) -> None:
        """So many messages, of ``size`` bytes together, are in this state now."""
        change = self._changes.get(subscription)
        if change is None:
            change = self._changes[subscription] = [0] * (2 * _STATES)
        change[state] += number
        change[_STATES + state] += size

    def went(self, subscription: int, state: int, size: int, number: int = 1) -> None:
        """So many messages, of ``size`` bytes together, were in this state before."""
        self.came(subscription, state, -size, -number)

    def apply(self, connection: apsw.Connection) -> None:
        """Write the changes. A counter that would fall below zero fails the call: the schema has a check."""
        connection.executemany(_APPLY, ((*change, subscription) for subscription, change in self._changes.items()))
