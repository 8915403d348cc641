"""The messages of the SQLite outbox: added, claimed, recorded, pruned.

In: ``Message`` and ``Attempt``. Out: ``Claimed``, counters, due times. Every method runs in the writer's thread
(``sqlite_writer``), inside its transaction; the memory of claims changes as a method's last act, so that a method
that raises has changed nothing.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import apsw
import orjson

from hookline.model import Attempt, Claimed, Counts, Message, Outcome
from hookline.outbox.sqlite_schema import DEAD, DELIVERED, PENDING

_STATES = {Outcome.RETRY: PENDING, Outcome.DELIVERED: DELIVERED, Outcome.DEAD: DEAD}

# INDEXED BY is a promise, not a hint: a schema in which a claim would have to scan refuses to run it.
_DUE = """SELECT due, row FROM messages INDEXED BY messages_pending
WHERE state = 0 AND subscription = (SELECT id FROM subscriptions WHERE uid = ?) AND due <= ?
ORDER BY due, row LIMIT ?"""
_LOAD = """SELECT row, id, sequence, object_uid, event_type, headers, body, observed, attempts, stored
FROM messages JOIN contents USING (row) WHERE row = ?"""
_FIRST_DUE = """SELECT uid, (SELECT due FROM messages INDEXED BY messages_pending
    WHERE state = 0 AND subscription = subscriptions.id ORDER BY due LIMIT 1)
FROM subscriptions WHERE pending > 0"""
_INSERT = """INSERT INTO messages (row, subscription, id, sequence, object_uid, event_type, observed, stored, due)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (subscription, id) DO NOTHING RETURNING row"""
_RECORD = """UPDATE messages SET state = ?, due = ?, attempts = attempts + 1, reason = ?, status_code = ?, finished = ?
WHERE row = ? AND state = 0 RETURNING subscription, state"""
_COUNT = "UPDATE subscriptions SET pending = pending + ?, delivered = delivered + ?, dead = dead + ? WHERE id = ?"
_PRUNE = """DELETE FROM messages WHERE row IN (SELECT row FROM messages INDEXED BY messages_finished
    WHERE state = ? AND finished < ? ORDER BY finished LIMIT ?) RETURNING subscription"""
_SHRINK_PAGES = 4096


class Claims:
    """Which rows are handed out, and to which subscription they belong.

    Later calls in the same transaction see what is taken and dropped; a rollback undoes it with the rest.
    """

    def __init__(self) -> None:
        self._owners: dict[int, str] = {}
        self._counts: Counter[str] = Counter()
        self._undo: list[tuple[int, str | None]] = []

    def __contains__(self, row: int) -> bool:
        return row in self._owners

    def count(self, subscription: str) -> int:
        """How many rows of this subscription are handed out."""
        return self._counts[subscription]

    def take(self, rows: Mapping[int, str]) -> None:
        """Hand out rows (row -> subscription)."""
        for row, subscription in rows.items():
            self._undo.append((row, self._set(row, subscription)))

    def drop(self, rows: Iterable[int]) -> None:
        """Take rows back; those not handed out are ignored."""
        self._undo.extend((row, self._set(row, None)) for row in rows)

    def drop_subscription(self, subscription: str) -> None:
        """Take all rows of one subscription back."""
        self.drop([row for row, owner in self._owners.items() if owner == subscription])

    def settle(self, *, kept: bool) -> None:
        """The transaction ended: ``kept`` says whether what it did is durable."""
        if not kept:
            for row, before in reversed(self._undo):
                self._set(row, before)
        self._undo.clear()

    def _set(self, row: int, owner: str | None) -> str | None:
        """Change a row's owner (None: nobody). Returns the one before."""
        before = self._owners.pop(row, None)
        if before is not None:
            self._counts[before] -= 1
            if not self._counts[before]:
                del self._counts[before]
        if owner is not None:
            self._owners[row] = owner
            self._counts[owner] += 1
        return before


class Messages:
    """The queue's tables on one connection, together with the claims on them. ``clock`` gives Unix seconds."""

    def __init__(self, connection: apsw.Connection, clock: Callable[[], float]) -> None:
        self._db = connection
        self._clock = clock
        self.claims = Claims()
        # Counted here, not by SQLite, which would give a deleted message's number to the next one: a verdict that
        # arrives late could then hit a message that was never sent.
        top: int = self._db.execute("SELECT coalesce(max(row), 0) FROM messages").get
        self._rows = itertools.count(top + 1)

    def add(self, messages: Sequence[Message]) -> int:
        """Store messages, due at once; skip those whose (subscription, id) is there. Returns how many were new."""
        if not messages:
            return 0
        now = self._clock()
        owners = {uid: self._owner(uid) for uid in {message.subscription for message in messages}}
        numbered = {row: message for message, row in zip(messages, self._rows, strict=False)}
        inserted = self._db.executemany(
            _INSERT,
            (
                (row, owners[m.subscription], m.id, m.sequence, m.object_uid, m.event_type, m.observed, now, now)
                for row, m in numbered.items()
            ),
        )
        new = {row: numbered[row] for (row,) in inserted}
        self._db.executemany(
            "INSERT INTO contents (row, headers, body) VALUES (?, ?, ?)",
            ((row, orjson.dumps(m.headers), m.body) for row, m in new.items()),
        )
        self._db.executemany(
            "UPDATE subscriptions SET pending = pending + 1, sequence = max(sequence, ?) WHERE id = ?",
            ((m.sequence, owners[m.subscription]) for m in new.values()),
        )
        return len(new)

    def claim(self, wanted: Mapping[str, int], now: float) -> list[Claimed]:
        """Hand out due messages, at most ``wanted[subscription]`` of each, in order of due time and then age."""
        due: list[tuple[float, int, str]] = []
        for uid, limit in wanted.items():
            if limit > 0:
                due.extend((when, row, uid) for when, row in self._free(uid, now, limit))
        due.sort()
        owners = {row: uid for _, row, uid in due}
        claimed = [
            Claimed(
                row=row,
                message=Message(
                    id=ident,
                    subscription=owners[row],
                    sequence=sequence,
                    object_uid=object_uid,
                    event_type=event_type,
                    headers=tuple((name, value) for name, value in orjson.loads(headers)),
                    body=body,
                    observed=observed,
                ),
                attempts=attempts,
                stored=stored,
            )
            for row, ident, sequence, object_uid, event_type, headers, body, observed, attempts, stored in (
                self._db.executemany(_LOAD, ((row,) for row in owners))
            )
        ]
        self.claims.take(owners)
        return claimed

    def _free(self, uid: str, now: float, limit: int) -> list[tuple[float, int]]:
        """The first ``limit`` unclaimed messages that are due at ``now``, as (due, row).

        Claimed rows may stand anywhere in the index, but there are only so many: reading that many more finds all
        that is wanted, however long the queue is.
        """
        found: Iterator[tuple[float, int]] = self._db.execute(_DUE, (uid, now, limit + self.claims.count(uid)))
        return [(due, row) for due, row in found if row not in self.claims][:limit]

    def record(self, attempts: Sequence[Attempt]) -> None:
        """Store the verdicts of attempts; a message that is gone or finished already stays as it is."""
        tally = Counter(self._db.executemany(_RECORD, map(_verdict, attempts)))
        self._db.executemany(
            _COUNT,
            (
                (-n, n * (state == DELIVERED), n * (state == DEAD), owner)
                for (owner, state), n in tally.items()
                if state
            ),
        )
        self.claims.drop(attempt.claimed.row for attempt in attempts)

    def next_due(self) -> dict[str, float]:
        """For each subscription with unclaimed pending messages, when the earliest is due."""
        earliest: dict[str, float] = {}
        heads: dict[str, float] = dict(self._db.execute(_FIRST_DUE))
        for uid, first in heads.items():
            claimed = self.claims.count(uid)
            free = self._free(uid, math.inf, 1) if claimed else [(first, 0)]
            earliest.update((uid, due) for due, _ in free)
        return earliest

    def counts(self) -> dict[str, Counts]:
        """Messages by state for each subscription, from counters kept in the same transactions."""
        rows = self._db.execute("SELECT uid, pending, delivered, dead FROM subscriptions")
        return {uid: Counts(pending, delivered, dead) for uid, pending, delivered, dead in rows}

    def sequences(self) -> dict[str, int]:
        """The highest sequence number ever committed, by subscription."""
        return dict(self._db.execute("SELECT uid, sequence FROM subscriptions"))

    def prune(self, delivered_before: float, dead_before: float, limit: int) -> int:
        """Delete at most ``limit`` messages finished before these times, the oldest first. Returns how many went."""
        gone = 0
        for state, before in ((DELIVERED, delivered_before), (DEAD, dead_before)):
            tally = Counter(owner for (owner,) in self._db.execute(_PRUNE, (state, before, max(limit - gone, 0))))
            self._db.executemany(
                _COUNT, ((0, -n * (state == DELIVERED), -n * (state == DEAD), owner) for owner, n in tally.items())
            )
            gone += tally.total()
        self._shrink()
        return gone

    def forget(self, subscription: str) -> None:
        """Drop a subscription's messages and counters."""
        self._db.execute(
            "DELETE FROM messages WHERE subscription = (SELECT id FROM subscriptions WHERE uid = ?)", (subscription,)
        )
        self._db.execute("DELETE FROM subscriptions WHERE uid = ?", (subscription,))
        self.claims.drop_subscription(subscription)

    def _shrink(self) -> None:
        """Return a piece of the file to the volume when most of it is free; less is left for the next messages."""
        if 2 * self._db.pragma("freelist_count") > self._db.pragma("page_count"):
            self._db.execute(f"PRAGMA incremental_vacuum({_SHRINK_PAGES})").fetchall()

    def _owner(self, uid: str) -> int:
        """The number of a subscription, made when it is new: uids are long and stand in three indexes."""
        self._db.execute("INSERT INTO subscriptions (uid, sequence) VALUES (?, 0) ON CONFLICT DO NOTHING", (uid,))
        number: int = self._db.execute("SELECT id FROM subscriptions WHERE uid = ?", (uid,)).get
        return number


def _verdict(attempt: Attempt) -> tuple[int, float | None, str, int | None, float | None, int]:
    """The parameters of ``_RECORD``. A retry without a time breaks the table's CHECK and fails the call."""
    verdict, state = attempt.verdict, _STATES[attempt.verdict.outcome]
    due, finished = (verdict.retry_at, None) if state == PENDING else (None, attempt.started + attempt.duration)
    return state, due, verdict.reason, verdict.status_code, finished, attempt.claimed.row
