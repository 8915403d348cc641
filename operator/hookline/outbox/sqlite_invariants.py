"""What must hold in a sound outbox, beyond what SQLite checks by itself.

In: a connection. Out: a sentence for each thing that is wrong. ``sqlite_inspect`` asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import apsw

from hookline.outbox.sealing import SEAL_BYTES

MAX_EACH = 20
"""Findings of one rule: a file that is broken everywhere needs no longer list."""

_COUNTED = "SELECT uid, pending, delivered, dead, pending_bytes, delivered_bytes, dead_bytes FROM subscriptions"
_THERE = """SELECT uid, sum(state = 0), sum(state = 1), sum(state = 2),
    sum((state = 0) * size), sum((state = 1) * size), sum((state = 2) * size)
FROM messages JOIN subscriptions ON subscriptions.id = subscription GROUP BY subscription"""
_COLUMNS = ("pending", "delivered", "dead", "bytes pending", "bytes delivered", "bytes dead")

_SIZE = f"(length(headers) + length(body) - iif(seal IS NULL, 0, {SEAL_BYTES}))"
# Each selects a sentence about every row that breaks it.
_RULES = (
    """SELECT 'message ' || messages.id || ': its subscription has no row' FROM messages
    LEFT JOIN subscriptions ON subscriptions.id = subscription WHERE subscriptions.id IS NULL""",
    """SELECT 'message ' || messages.id || ' of subscription ' || uid || ': its content is missing' FROM messages
    JOIN subscriptions ON subscriptions.id = subscription LEFT JOIN contents USING (row) WHERE contents.row IS NULL""",
    f"""SELECT 'message ' || messages.id || ' of subscription ' || uid || ': its size is noted as ' || size ||
    ', it is ' || {_SIZE} FROM messages JOIN subscriptions ON subscriptions.id = subscription
    JOIN contents USING (row) WHERE size <> {_SIZE}""",  # noqa: S608 (ours)
    """SELECT 'subscription ' || uid || ': its highest sequence number is noted as ' || subscriptions.sequence
    || ', a message has ' || max(messages.sequence) FROM messages JOIN subscriptions ON subscriptions.id = subscription
    GROUP BY uid HAVING max(messages.sequence) > subscriptions.sequence""",
    """SELECT 'subscription ' || uid || ': ' || sum(ifnull(head, 0)) || ' of the waiting messages of object '
    || object_uid || ' may be sent, it must be the oldest alone' FROM messages
    JOIN subscriptions ON subscriptions.id = subscription WHERE ordered AND state = 0 GROUP BY subscription, object_uid
    HAVING sum(ifnull(head, 0)) <> 1 OR min(row) <> min(CASE WHEN head = 1 THEN row END)""",
    """SELECT 'replay ' || uid || ': ' || (total - replayed - failed) || ' of its messages should wait, '
    || (SELECT count(*) FROM messages WHERE state = 0 AND replay = replays.id) || ' do' FROM replays
    WHERE total - replayed - failed <> (SELECT count(*) FROM messages WHERE state = 0 AND replay = replays.id)""",
    """SELECT 'watch ' || key || ': its checkpoint is empty' FROM scopes WHERE resource_version = ''""",
    """SELECT 'the last-seen object ' || seen.uid || ': its watch has no row' FROM seen
    LEFT JOIN scopes ON scopes.id = scope WHERE scopes.id IS NULL""",
    """SELECT 'subscription ' || subscription || ': it listens to ' || scope_key || ' since no resourceVersion'
    FROM attachments WHERE since = ''""",
    "SELECT 'the epoch has ' || count(*) || ' rows, it must have 1' FROM epoch HAVING count(*) <> 1",
)


def findings(connection: apsw.Connection) -> list[str]:
    """What is wrong. When the file itself is damaged, that alone: whatever else it says can't be trusted."""
    try:
        damage = [text for (text,) in connection.execute(f"PRAGMA integrity_check({MAX_EACH})") if text != "ok"]
        if damage:
            return [f"the file is damaged: {text}" for text in damage]
        wrong = list(islice(_miscounted(connection), MAX_EACH))
        for rule in _RULES:
            wrong += [text for (text,) in islice(connection.execute(rule), MAX_EACH)]
    except apsw.CorruptError as error:
        return [f"the file is damaged: {error}"]
    return wrong


def _miscounted(connection: apsw.Connection) -> Iterator[str]:
    there = {uid: numbers for uid, *numbers in connection.execute(_THERE)}
    for uid, *noted in connection.execute(_COUNTED):
        for column, number, actual in zip(_COLUMNS, noted, there.get(uid, [0] * len(_COLUMNS)), strict=True):
            if number != actual:
                yield f"subscription {uid}: {column}: {number} counted, {actual} there"
