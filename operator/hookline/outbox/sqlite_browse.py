"""Looking at the messages of the SQLite outbox while it works: a page, one with its content, some by id.

In: a subscription's uid, and which. Out: ``Delivery`` and ``Message``. Every method runs in the writer's thread
(``sqlite_writer``), like all that is asked of the file: it is open for one connection alone (``sqlite_file``). So each
call is short, whatever is stored: it reads at most ``SCAN`` rows by an index. What is in flight is known there, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import apsw
import orjson

from hookline.model import Message
from hookline.outbox.sealing import Sealing, message_of
from hookline.outbox.sqlite_claims import Claims
from hookline.outbox.sqlite_schema import DEAD, DELIVERED, PENDING
from hookline.stored import Delivery, DeliveryPage, DeliveryState

SCAN = 500
"""Rows that one call may read: a millisecond of the writer's time."""
_NEWEST = 2**63 - 1
_STATES = {PENDING: DeliveryState.PENDING, DELIVERED: DeliveryState.DELIVERED, DEAD: DeliveryState.DEAD}
_FIELDS = """row, state, id, sequence, object_uid, event_type, size, attempts, reason, status_code,
    observed, stored, due, finished"""
_PAGE = f"""SELECT {_FIELDS} FROM messages INDEXED BY messages_sequence
WHERE subscription = (SELECT id FROM subscriptions WHERE uid = ?) AND sequence < ?
ORDER BY sequence DESC LIMIT {SCAN}"""  # noqa: S608 (ours)
_ONE = f"""SELECT {_FIELDS} FROM messages
WHERE subscription = (SELECT id FROM subscriptions WHERE uid = ?) AND id = ?"""  # noqa: S608
_CONTENT = "SELECT coalesce(ground, ''), headers, whole, seal, body FROM contents WHERE row = ?"


class Browser:
    """Reads on the writer's connection. ``claims`` says what is in flight, ``sealing`` opens bodies."""

    def __init__(self, connection: apsw.Connection, claims: Claims, sealing: Sealing) -> None:
        self._db = connection
        self._claims = claims
        self._sealing = sealing

    def page(
        self, subscription: str, states: Collection[DeliveryState], limit: int, before: int | None
    ) -> DeliveryPage:
        """See ``Store.deliveries``."""
        limit = max(limit, 1)
        found: list[Delivery] = []
        read = 0
        last = _NEWEST if before is None else before
        for row in self._db.execute(_PAGE, (subscription, last)):
            if len(found) >= limit:
                return DeliveryPage(tuple(found), last)
            delivery = self._delivery(row)
            read, last = read + 1, delivery.sequence
            if delivery.state in states:
                found.append(delivery)
        return DeliveryPage(tuple(found), last if read == SCAN else None)

    def one(self, subscription: str, message_id: str) -> tuple[Delivery, Message] | None:
        """See ``Store.delivery``. Raises StoreKeyMissing, SealBroken."""
        row = self._db.execute(_ONE, (subscription, message_id)).fetchone()
        if row is None:
            return None
        found = self._delivery(row)
        ground, headers, whole, seal, body = self._db.execute(_CONTENT, (row[0],)).get
        known = (found.sequence, found.object_uid, found.event_type)
        identity = message_of(subscription, found.id, *known, ground, headers, whole=bool(whole))
        body = self._sealing.open(identity, seal, body)
        pairs = tuple((name, value) for name, value in orjson.loads(headers))
        return found, Message(found.id, subscription, *known, pairs, body, found.observed, ground)

    def some(self, subscription: str, ids: Sequence[str]) -> dict[str, Delivery]:
        """See ``Store.deliveries_of``."""
        rows: Iterator[Any] = self._db.executemany(_ONE, ((subscription, ident) for ident in ids))
        return {found.id: found for found in map(self._delivery, rows)}

    def _delivery(self, row: Any) -> Delivery:
        number, state, ident, sequence, object_uid, event_type, size, *rest = row
        known = DeliveryState.IN_FLIGHT if number in self._claims else _STATES[state]
        return Delivery(ident, sequence, object_uid, event_type, size, known, *rest)
