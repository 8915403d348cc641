"""Which messages of the SQLite outbox are handed out: in memory, since a claim ends with the process that holds it.

In: rows as they are claimed, recorded and released. Out: what ``sqlite_messages`` must not hand out again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

Holder = tuple[str, str]
"""The subscription and the object that a claimed row belongs to."""


class Claims:
    """Which rows are handed out, and to which subscription and object they belong.

    Later calls in the same transaction see what is taken and dropped; a rollback undoes it with the rest.
    """

    def __init__(self) -> None:
        self._owners: dict[int, Holder] = {}
        self._counts: Counter[str] = Counter()
        self._objects: Counter[Holder] = Counter()
        self._undo: list[tuple[int, Holder | None]] = []

    def __contains__(self, row: int) -> bool:
        return row in self._owners

    def count(self, subscription: str) -> int:
        """How many rows of this subscription are handed out."""
        return self._counts[subscription]

    def holds(self, subscription: str, object_uid: str) -> bool:
        """Whether a row of this object is handed out for this subscription."""
        return (subscription, object_uid) in self._objects

    def take(self, rows: Mapping[int, Holder]) -> None:
        """Hand out rows."""
        for row, holder in rows.items():
            self._undo.append((row, self._set(row, holder)))

    def drop(self, rows: Iterable[int]) -> None:
        """Take rows back; those not handed out are ignored."""
        self._undo.extend((row, self._set(row, None)) for row in rows)

    def drop_subscription(self, subscription: str) -> None:
        """Take all rows of one subscription back."""
        self.drop([row for row, (owner, _) in self._owners.items() if owner == subscription])

    def settle(self, *, kept: bool) -> None:
        """The transaction ended: ``kept`` says whether what it did is durable."""
        if not kept:
            for row, before in reversed(self._undo):
                self._set(row, before)
        self._undo.clear()

    def _set(self, row: int, holder: Holder | None) -> Holder | None:
        """Change a row's holder (None: nobody). Returns the one before."""
        before = self._owners.pop(row, None)
        if before is not None:
            self._count(before, -1)
        if holder is not None:
            self._owners[row] = holder
            self._count(holder, 1)
        return before

    def _count(self, holder: Holder, change: int) -> None:
        self._counts[holder[0]] += change
        self._objects[holder] += change
        if not self._objects[holder]:
            del self._objects[holder]
        if not self._counts[holder[0]]:
            del self._counts[holder[0]]
