"""Replays in the SQLite outbox: finished messages become pending again, once for each replay.

In: ``Replay``. Out: ``ReplayCounts``, which the schema's triggers keep. Runs in the writer's thread
(``sqlite_writer``), inside its transaction; the next step is ``Messages.claim``.
"""

from __future__ import annotations

from collections.abc import Callable

import apsw
import orjson

from hookline.outbox.sqlite_counts import Tally
from hookline.outbox.sqlite_schema import DEAD, DELIVERED, PENDING
from hookline.stored import Replay, ReplayCounts, ReplayState

_STATES = {ReplayState.DEAD: DEAD, ReplayState.DELIVERED: DELIVERED}
_AGAIN = """UPDATE messages INDEXED BY {index}
SET state = 0, due = :now, attempts = 0, finished = NULL, replay = :replay, replayed = :now
WHERE subscription = :owner AND state = :state AND {which} RETURNING size"""
_TIMES, _IN_TIME = "messages_finished", "finished IS NOT NULL AND stored >= :begin AND stored < :end"
_IDS, _OF_IDS = "sqlite_autoindex_messages_1", "id IN (SELECT value FROM json_each(:ids))"
_BY_TIME = _AGAIN.format(index=_TIMES, which=_IN_TIME)
_BY_ID = _AGAIN.format(index=_IDS, which=_OF_IDS)
_GROUNDS = """SELECT DISTINCT ground FROM messages INDEXED BY {index} JOIN contents USING (row)
WHERE ground IS NOT NULL AND subscription = (SELECT id FROM subscriptions WHERE uid = :uid) AND state = :state
    AND {which}"""
_GROUNDS_BY_TIME = _GROUNDS.format(index=_TIMES, which=_IN_TIME)
_GROUNDS_BY_ID = _GROUNDS.format(index=_IDS, which=_OF_IDS)


class Replays:
    """The table of replays on one connection. ``clock`` gives Unix seconds."""

    def __init__(self, connection: apsw.Connection, clock: Callable[[], float]) -> None:
        self._db = connection
        self._clock = clock

    def replay(self, request: Replay) -> ReplayCounts:
        """Set the selected messages pending again, unless this replay did so before. Returns how far it is."""
        now = self._clock()
        made = self._db.execute(
            "INSERT INTO replays (uid, started) VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING id", (request.uid, now)
        ).get
        if made is not None:
            self._select(made, request, now)
        return self.counts()[request.uid]

    def grounds(self, request: Replay) -> frozenset[str]:
        """What the messages rest on that ``replay`` would select now."""
        query, which = (_GROUNDS_BY_ID if request.ids else _GROUNDS_BY_TIME), _which(request)
        return frozenset(
            ground
            for state in request.states
            for (ground,) in self._db.execute(query, {"uid": request.subscription, "state": _STATES[state], **which})
        )

    def counts(self) -> dict[str, ReplayCounts]:
        """How far each remembered replay is."""
        rows = self._db.execute("SELECT uid, total, replayed, failed, started FROM replays")
        return {uid: ReplayCounts(*counts) for uid, *counts in rows}

    def forget(self, uid: str) -> None:
        """Drop what is remembered of a replay."""
        self._db.execute("DELETE FROM replays WHERE uid = ?", (uid,))

    def _select(self, replay: int, request: Replay, now: float) -> None:
        owner = self._db.execute("SELECT id FROM subscriptions WHERE uid = ?", (request.subscription,)).get
        if owner is None:  # nothing of it was ever stored
            return
        query, which = (_BY_ID if request.ids else _BY_TIME), _which(request)
        tally, total = Tally(), 0
        for state in sorted(_STATES[state] for state in request.states):
            place = {"now": now, "replay": replay, "owner": owner, "state": state}
            sizes = [size for (size,) in self._db.execute(query, {**place, **which})]
            tally.went(owner, state, sum(sizes), len(sizes))
            tally.came(owner, PENDING, sum(sizes), len(sizes))
            total += len(sizes)
        tally.apply(self._db)
        self._db.execute("UPDATE replays SET total = ? WHERE id = ?", (total, replay))


def _which(request: Replay) -> dict[str, float | str]:
    if request.ids:
        return {"ids": orjson.dumps(sorted(request.ids)).decode()}
    return {"begin": request.begin, "end": request.end}
