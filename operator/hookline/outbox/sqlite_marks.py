"""How far the watches have come, in the SQLite outbox: checkpoints, last-seen index, attachments.

In: the index part of ``WatchCommit``. Out: what a watch asks after a restart or a gap. Every method runs in the
writer's thread (``sqlite_writer``), inside its transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import apsw

from hookline.errors import SealBroken, StoreDamaged
from hookline.model import Seen, WatchCommit
from hookline.outbox.sealing import Identity, Sealing, last_seen_of

# A rowid table with a slim unique index: projections are kilobytes, which a WITHOUT ROWID table would move to overflow
# pages, and listing the uids of a scope reads the index alone.
_SEE = """INSERT INTO seen (scope, uid, resource_version, is_full, seal, projection) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (scope, uid) DO UPDATE SET resource_version = excluded.resource_version,
    seal = excluded.seal, projection = excluded.projection, is_full = excluded.is_full"""
_LOOK = """SELECT uid, seen.resource_version, is_full, seal, projection FROM seen
WHERE scope = (SELECT id FROM scopes WHERE key = ?) AND uid = ?"""

# By counting in indexes: a scan would read all projections at each start.
_OTHERWISE = "SELECT (SELECT count(*) FROM seen) > (SELECT count(*) FROM seen WHERE seal = ?)"
_OTHERS = """SELECT seen.id, key, uid, seen.resource_version, seal, projection FROM seen
JOIN scopes ON scopes.id = scope WHERE seal IS NOT ? LIMIT ?"""


class Marks:
    """The tables of checkpoints, last-seen objects and attachments on one connection."""

    def __init__(self, connection: apsw.Connection, sealing: Sealing) -> None:
        self._db = connection
        self._sealing = sealing

    def advance(self, commit: WatchCommit) -> None:
        """Apply the last-seen entries and the checkpoint of one step of a watch; what is forgotten wins."""
        if not (commit.seen or commit.forgotten or commit.resource_version is not None):
            return
        self._db.execute("INSERT INTO scopes (key) VALUES (?) ON CONFLICT DO NOTHING", (commit.scope_key,))
        scope: int = self._db.execute("SELECT id FROM scopes WHERE key = ?", (commit.scope_key,)).get
        seal, key = self._sealing.seal, commit.scope_key
        self._db.executemany(
            _SEE,
            (
                (
                    scope,
                    s.uid,
                    s.resource_version,
                    int(s.full),
                    *seal(last_seen_of(key, s.uid, s.resource_version), s.projection),
                )
                for s in commit.seen
            ),
        )
        self._db.executemany("DELETE FROM seen WHERE scope = ? AND uid = ?", ((scope, uid) for uid in commit.forgotten))
        if commit.resource_version is not None:
            self._db.execute("UPDATE scopes SET resource_version = ? WHERE id = ?", (commit.resource_version, scope))

    def checkpoint(self, scope_key: str) -> str | None:
        """The resourceVersion of a scope's last step, or None."""
        version: str | None = self._db.execute("SELECT resource_version FROM scopes WHERE key = ?", (scope_key,)).get
        return version

    def seen(self, scope_key: str, uids: Sequence[str]) -> dict[str, Seen]:
        """The last-seen entries of these objects, by uid."""
        rows = self._db.executemany(_LOOK, ((scope_key, uid) for uid in uids))
        return {
            uid: Seen(uid, version, self._open(last_seen_of(scope_key, uid, version), number, stored), bool(full))
            for uid, version, full, number, stored in rows
        }

    def seen_uids(self, scope_key: str) -> frozenset[str]:
        """The uids of all objects in the last-seen index of a scope."""
        rows = self._db.execute(
            "SELECT uid FROM seen WHERE scope = (SELECT id FROM scopes WHERE key = ?)", (scope_key,)
        )
        return frozenset(uid for (uid,) in rows)

    def attach(self, subscription: str, scope_key: str, since: str) -> str:
        """Note where a subscription began to listen to a scope. The first note stays; returns the one in force."""
        self._db.execute(
            "INSERT INTO attachments VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (subscription, scope_key, since)
        )
        note: str = self._db.execute(
            "SELECT since FROM attachments WHERE subscription = ? AND scope_key = ?", (subscription, scope_key)
        ).get
        return note

    def attachments(self) -> dict[tuple[str, str], str]:
        """All notes: (subscription, scope key) -> since."""
        rows = self._db.execute("SELECT subscription, scope_key, since FROM attachments")
        return {(subscription, scope_key): since for subscription, scope_key, since in rows}

    def detach(self, subscription: str, scope_key: str) -> None:
        """Remove one note."""
        self._db.execute("DELETE FROM attachments WHERE subscription = ? AND scope_key = ?", (subscription, scope_key))

    def forget_scope(self, scope_key: str) -> None:
        """Drop checkpoint and last-seen index of a scope."""
        self._db.execute("DELETE FROM scopes WHERE key = ?", (scope_key,))

    def subscriptions(self) -> frozenset[str]:
        """The uids of all subscriptions with notes here or a row among the messages' counters."""
        rows = self._db.execute("SELECT uid FROM subscriptions UNION SELECT subscription FROM attachments")
        return frozenset(uid for (uid,) in rows)

    def keys(self) -> frozenset[int]:
        """The numbers of all keys that anything is sealed with: one look into an index for each."""
        return frozenset(number for table in ("contents", "seen") for number in _numbers(self._db, table))

    def sealed_otherwise(self) -> bool:
        """Whether any last-seen object is clear, or sealed with another key than the current one."""
        return bool(self._db.execute(_OTHERWISE, (self._sealing.current,)).get)

    def seal_again(self, limit: int) -> None:
        """Seal at most ``limit`` of these last-seen objects with the current key.

        Messages end by themselves, but a last-seen object stays as it is as long as nobody changes it.
        """
        rows: list[tuple[int, str, str, str, int | None, bytes]] = []
        rows += self._db.execute(_OTHERS, (self._sealing.current, limit))
        for ident, key, uid, version, number, stored in rows:
            identity = last_seen_of(key, uid, version)
            clear = self._open(identity, number, stored)
            self._db.execute(
                "UPDATE seen SET seal = ?, projection = ? WHERE id = ?", (*self._sealing.seal(identity, clear), ident)
            )

    def _open(self, identity: Identity, number: int | None, stored: bytes) -> bytes:
        """A last-seen object. One that was changed can't be left out: what it is compared with would seem to be new."""
        try:
            return self._sealing.open(identity, number, stored)
        except SealBroken as error:
            raise StoreDamaged(str(error)) from None


def _numbers(db: apsw.Connection, table: str) -> Iterator[int]:
    number: int | None = -1
    while number is not None:
        number = db.execute(f"SELECT min(seal) FROM {table} WHERE seal > ?", (number,)).get  # noqa: S608 (ours)
        if number is not None:
            yield number
