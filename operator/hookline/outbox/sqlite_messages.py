"""The messages of the SQLite outbox: added, claimed, recorded.

In: ``Message`` and ``Attempt``. Out: ``Claimed``, counters, due times. Every method runs in the writer's thread
(``sqlite_writer``), inside its transaction; the memory of claims changes as a method's last act, so that a method
that raises has changed nothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import apsw
import orjson

from hookline.errors import SealBroken
from hookline.model import Attempt, Claimed, Counts, Message, Outcome
from hookline.outbox.sealing import Identity, Sealing, message_of
from hookline.outbox.sqlite_claims import Claims
from hookline.outbox.sqlite_counts import Tally
from hookline.outbox.sqlite_schema import DEAD, DELIVERED, PENDING

_STATES = {Outcome.RETRY: PENDING, Outcome.DELIVERED: DELIVERED, Outcome.DEAD: DEAD}

DAMAGED = "Damaged"
"""The reason of a dead letter that was changed in the outbox."""

NOTHING: Mapping[str, int] = MappingProxyType({})

# INDEXED BY is a promise, not a hint: a schema in which a claim would have to scan refuses to run it.
_DUE = """SELECT due, row, '' FROM messages INDEXED BY messages_pending
WHERE state = 0 AND subscription = (SELECT id FROM subscriptions WHERE uid = ?) AND tried = ? AND due <= ?
ORDER BY due, row LIMIT ?"""
_DUE_HEADS = """SELECT due, row, object_uid FROM messages INDEXED BY messages_heads
WHERE state = 0 AND head = 1 AND subscription = (SELECT id FROM subscriptions WHERE uid = ?) AND tried = ? AND due <= ?
ORDER BY due, row LIMIT ?"""
_LOAD = """SELECT id, sequence, object_uid, event_type, coalesce(ground, ''), headers, whole, seal, body, observed,
    attempts, coalesce(replayed, stored)
FROM messages JOIN contents USING (row) WHERE row = ?"""
_FIRST_DUE = """SELECT uid, ordered, min(
    ifnull((SELECT due FROM messages INDEXED BY messages_pending
        WHERE state = 0 AND subscription = subscriptions.id AND tried = 0 ORDER BY due LIMIT 1), 9e999),
    ifnull((SELECT due FROM messages INDEXED BY messages_pending
        WHERE state = 0 AND subscription = subscriptions.id AND tried = 1 ORDER BY due LIMIT 1), 9e999))
FROM subscriptions WHERE pending > 0"""
_GROUNDS = """SELECT DISTINCT uid, ground FROM subscriptions
JOIN messages INDEXED BY messages_pending ON messages.subscription = subscriptions.id AND state = 0
JOIN contents USING (row) WHERE ground IS NOT NULL"""
_ORDER = "UPDATE subscriptions SET ordered = ? WHERE uid = ?"
_INSERT = """INSERT INTO messages (row, subscription, id, sequence, object_uid, event_type, size, observed, stored, due)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (subscription, id) DO NOTHING RETURNING row"""
# The newest first, so that until the last one the oldest of each object is there, which an ordered queue hands out.
_FORGET = """DELETE FROM messages WHERE row IN (SELECT row FROM messages
    WHERE subscription = (SELECT id FROM subscriptions WHERE uid = ?) ORDER BY row DESC LIMIT ?)
RETURNING subscription, state, size"""
_RECORD = """UPDATE messages SET state = ?, due = ?, attempts = attempts + ?, reason = ?, status_code = ?, finished = ?
WHERE row = ? AND state = 0 RETURNING subscription, state, size"""


class Messages:
    """The queue's tables on one connection, together with the claims on them. ``clock`` gives Unix seconds."""

    def __init__(self, connection: apsw.Connection, clock: Callable[[], float], sealing: Sealing) -> None:
        self._db = connection
        self._clock = clock
        self._sealing = sealing
        self.claims = Claims()
        self._broken: list[tuple[int, str]] = []
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
        numbered = {row: (m, orjson.dumps(m.headers)) for m, row in zip(messages, self._rows, strict=False)}
        inserted = self._db.executemany(
            _INSERT,
            (
                (row, owners[m.subscription], m.id, m.sequence, m.object_uid, m.event_type,
                 len(headers) + len(m.body), m.observed, now, now)
                for row, (m, headers) in numbered.items()
            ),
        )  # fmt: skip
        new = {row: numbered[row] for (row,) in inserted}
        self._db.executemany(
            "INSERT INTO contents (row, ground, headers, whole, seal, body) VALUES (?, ?, ?, 1, ?, ?)",
            (
                (row, m.ground or None, headers, *self._sealing.seal(_identity(m, headers), m.body))
                for row, (m, headers) in new.items()
            ),
        )
        tally, highest = Tally(), dict[int, int]()
        for m, headers in new.values():
            owner = owners[m.subscription]
            tally.came(owner, PENDING, len(headers) + len(m.body))
            highest[owner] = max(m.sequence, highest.get(owner, 0))
        tally.apply(self._db)
        self._db.executemany(
            "UPDATE subscriptions SET sequence = max(sequence, ?) WHERE id = ?",
            ((sequence, owner) for owner, sequence in highest.items()),
        )
        return len(new)

    def order(self, uid: str, *, ordered: bool) -> None:
        """Keep track of the oldest pending message of each object of this subscription from now on, or no more."""
        if ordered:
            self._owner(uid)
        self._db.execute(_ORDER, (int(ordered), uid))

    def claim(
        self,
        wanted: Mapping[str, int],
        now: float,
        ordered: Container[str] = (),
        retries: Mapping[str, int] = NOTHING,
        room: Mapping[str, int] = NOTHING,
    ) -> list[Claimed]:
        """Hand out due messages, see ``Store.claim``. Those of ``ordered`` must be known as such to ``order``.

        Those that can't be opened are nobody's until they are buried: ask for ``broken``.
        """
        self._broken.clear()
        found: list[tuple[float, Claimed]] = []
        for uid, limit in wanted.items():
            most = min(retries.get(uid, limit), limit)
            due = [*self._free(uid, now, limit, 0, uid in ordered), *self._free(uid, now, most, 1, uid in ordered)]
            found += self._load(uid, sorted(due)[: max(limit, 0)], room.get(uid, math.inf))
        self.claims.take({row: ("", "") for row, _ in self._broken})
        found.sort(key=lambda item: (item[0], item[1].row))
        claimed = [item for _, item in found]
        self.claims.take({item.row: (item.message.subscription, item.message.object_uid) for item in claimed})
        return claimed

    def _free(self, uid: str, now: float, limit: int, tried: int, ordered: bool) -> list[tuple[float, int]]:
        """The first ``limit`` unclaimed messages that are due at ``now``, as (due, row).

        Claimed rows may stand anywhere in the index, but there are only so many: reading that many more finds all
        that is wanted, however long the queue is. In an ordered queue a claimed row keeps back one head at most.
        """
        if limit <= 0:
            return []
        claims = self.claims
        query = _DUE_HEADS if ordered else _DUE
        found: Iterator[tuple[float, int, str]] = self._db.execute(query, (uid, tried, now, limit + claims.count(uid)))
        return [
            (due, row)
            for due, row, object_uid in found
            if row not in claims and not (ordered and claims.holds(uid, object_uid))
        ][:limit]

    def _load(self, uid: str, due: Sequence[tuple[float, int]], room: float) -> Iterator[tuple[float, Claimed]]:
        """The messages of these rows, as (due, message), until their bodies hold ``room`` bytes."""
        used = 0
        for when, row in due:
            if used >= room:
                return
            record: tuple[Any, ...] = self._db.execute(_LOAD, (row,)).get
            ident, sequence, object_uid, event_type, ground, headers, whole, seal, body, observed, *later = record
            identity = message_of(uid, *record[:6], whole=bool(whole))
            try:
                body = self._sealing.open(identity, seal, body)
            except SealBroken:
                self._broken.append((row, identity.name))
                continue
            used += len(body)
            pairs = tuple((name, value) for name, value in orjson.loads(headers))
            message = Message(ident, uid, sequence, object_uid, event_type, pairs, body, observed, ground)
            yield when, Claimed(row, message, *later)

    def broken(self) -> dict[int, str]:
        """Those that the last ``claim`` found changed, or moved from another row, with their names."""
        return dict(self._broken)

    def bury(self, rows: Collection[int]) -> None:
        """Give up what can't be opened: nothing of it may be sent, and it must not be in the way of the others."""
        tally, now = Tally(), self._clock()
        buried = ((DEAD, None, 0, DAMAGED, None, now, row) for row in rows)
        for owner, _, size in self._db.executemany(_RECORD, buried):
            tally.went(owner, PENDING, size)
            tally.came(owner, DEAD, size)
        tally.apply(self._db)
        self.claims.drop(rows)

    def record(self, attempts: Sequence[Attempt]) -> None:
        """Store the verdicts of attempts; a message that is gone or finished already stays as it is."""
        tally = Tally()
        for owner, state, size in self._db.executemany(_RECORD, map(_verdict, attempts)):
            if state != PENDING:
                tally.went(owner, PENDING, size)
                tally.came(owner, state, size)
        tally.apply(self._db)
        self.claims.drop(attempt.claimed.row for attempt in attempts)

    def next_due(self) -> dict[str, float]:
        """For each subscription with unclaimed pending messages, when the earliest is due."""
        earliest: dict[str, float] = {}
        heads: Iterator[tuple[str, int, float]] = self._db.execute(_FIRST_DUE)
        for uid, ordered, first in list(heads):
            free = [(first, 0)]
            if ordered or self.claims.count(uid):
                free = [due for tried in (0, 1) for due in self._free(uid, math.inf, 1, tried, bool(ordered))]
            if free:
                earliest[uid] = min(free)[0]
        return earliest

    def counts(self) -> dict[str, Counts]:
        """Messages by state for each subscription, from counters kept in the same transactions."""
        rows = self._db.execute("SELECT uid, pending, delivered, dead, pending_bytes FROM subscriptions")
        return {uid: Counts(*numbers) for uid, *numbers in rows}

    def grounds(self) -> dict[str, frozenset[str]]:
        """What the pending messages of each subscription rest on."""
        found: dict[str, set[str]] = {}
        for uid, ground in self._db.execute(_GROUNDS):
            found.setdefault(uid, set()).add(ground)
        return {uid: frozenset(grounds) for uid, grounds in found.items()}

    def sequences(self) -> dict[str, int]:
        """The highest sequence number ever committed, by subscription."""
        return dict(self._db.execute("SELECT uid, sequence FROM subscriptions"))

    def forget(self, subscription: str, limit: int) -> bool:
        """Drop at most ``limit`` of a subscription's messages; after the last one its counters. Whether all is done."""
        tally, gone = Tally(), 0
        for owner, state, size in self._db.execute(_FORGET, (subscription, limit)):
            tally.went(owner, state, size)
            gone += 1
        tally.apply(self._db)
        if gone == limit:
            return False
        self._db.execute("DELETE FROM subscriptions WHERE uid = ?", (subscription,))
        self.claims.drop_subscription(subscription)
        return True

    def _owner(self, uid: str) -> int:
        """The number of a subscription, made when it is new: uids are long and stand in three indexes."""
        self._db.execute("INSERT INTO subscriptions (uid, sequence) VALUES (?, 0) ON CONFLICT DO NOTHING", (uid,))
        number: int = self._db.execute("SELECT id FROM subscriptions WHERE uid = ?", (uid,)).get
        return number


def _identity(message: Message, headers: bytes) -> Identity:
    m = message
    return message_of(m.subscription, m.id, m.sequence, m.object_uid, m.event_type, m.ground, headers)


def _verdict(attempt: Attempt) -> tuple[int, float | None, int, str, int | None, float | None, int]:
    """The parameters of ``_RECORD``. A retry without a time breaks the table's CHECK and fails the call."""
    verdict, state = attempt.verdict, _STATES[attempt.verdict.outcome]
    due, finished = (verdict.retry_at, None) if state == PENDING else (None, attempt.started + attempt.duration)
    return state, due, int(attempt.made), verdict.reason, verdict.status_code, finished, attempt.claimed.row
