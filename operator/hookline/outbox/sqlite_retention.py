"""What is kept of finished messages in the SQLite outbox: for a time, and in a bounded room.

In: bounds. Out: deleted rows, counted, and a file that shrinks. Runs in the writer's thread (``sqlite_writer``), inside
its transaction; how the room is shared between subscriptions is told in ``retention``.
"""

from __future__ import annotations

from collections.abc import Iterator

import apsw

from hookline.model import Counts
from hookline.outbox.retention import fair_level
from hookline.outbox.sqlite_counts import Tally
from hookline.outbox.sqlite_schema import DEAD, DELIVERED
from hookline.stored import Pruned, Retention

# CROSS, so that each subscription's oldest are looked for, rather than all that is kept read through.
_AGED = """DELETE FROM messages WHERE row IN (
    SELECT row FROM subscriptions CROSS JOIN messages INDEXED BY messages_finished
    ON messages.subscription = subscriptions.id AND state = ? AND finished < ? LIMIT ?)
RETURNING subscription, size"""
_HELD = {
    DELIVERED: "SELECT id, delivered_bytes FROM subscriptions WHERE delivered > 0",
    DEAD: "SELECT id, dead_bytes FROM subscriptions WHERE dead > 0",
}
_OLDEST = """SELECT row, size FROM messages INDEXED BY messages_finished
WHERE subscription = ? AND state = ? AND finished IS NOT NULL ORDER BY finished LIMIT ?"""
_SHRINK_PAGES = 4096


class Keeper:
    """Deletes what is kept no longer, on one connection."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._db = connection

    def prune(self, delivered: Retention, dead: Retention, limit: int) -> Pruned:
        """Delete at most ``limit`` messages, see ``Store.prune``; then give room back to the volume."""
        left = max(limit, 0)
        gone: dict[tuple[int, bool], int] = {}
        for state, bound in ((DELIVERED, delivered), (DEAD, dead)):
            for crowded in (False, True):
                number = self._crowded(state, bound.size, left) if crowded else self._aged(state, bound.since, left)
                gone[state, crowded] = number
                left -= number
        self._shrink()
        return Pruned(*(Counts(0, gone[DELIVERED, why], gone[DEAD, why]) for why in (False, True)))

    def _aged(self, state: int, since: float, limit: int) -> int:
        """Delete what finished before ``since``. Returns how many went."""
        tally, number = Tally(), 0
        for owner, size in self._db.execute(_AGED, (state, since, limit)):
            tally.went(owner, state, size)
            number += 1
        tally.apply(self._db)
        return number

    def _crowded(self, state: int, room: int, limit: int) -> int:
        """Delete the oldest of those who hold more than their share of ``room`` bytes. Returns how many went."""
        held: dict[int, int] = dict(self._db.execute(_HELD[state]))
        level = fair_level(held.values(), room)
        tally, rows = Tally(), list[tuple[int]]()
        for owner, size in held.items():
            for row, freed in self._oldest(owner, state, size - level, limit - len(rows)):
                tally.went(owner, state, freed)
                rows.append((row,))
        self._db.executemany("DELETE FROM messages WHERE row = ?", rows)
        tally.apply(self._db)
        return len(rows)

    def _oldest(self, owner: int, state: int, excess: int, limit: int) -> Iterator[tuple[int, int]]:
        """The oldest messages of one subscription whose sizes make up for ``excess``, as (row, size)."""
        if excess > 0 and limit > 0:
            for row, size in self._db.execute(_OLDEST, (owner, state, limit)):
                yield row, size
                excess -= size
                if excess <= 0:
                    return

    def _shrink(self) -> None:
        """Return a piece of the file to the volume when most of it is free; less is left for the next messages."""
        if 2 * self._db.pragma("freelist_count") > self._db.pragma("page_count"):
            self._db.execute(f"PRAGMA incremental_vacuum({_SHRINK_PAGES})").fetchall()
