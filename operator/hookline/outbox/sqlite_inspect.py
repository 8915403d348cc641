"""Looking into the file of a stopped operator's outbox without changing it.

In: the path. Out: what is wrong with it, and its messages, row by row, however many there are. For people, through
``hookline.cli.outbox``; the operator itself never reads this way.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import apsw
import orjson

from hookline.errors import StoreError, StoreInUse, StoreVersionError
from hookline.outbox.sealing import Sealing, message_of
from hookline.outbox.sqlite_file import store_error
from hookline.outbox.sqlite_invariants import MAX_EACH, findings
from hookline.outbox.sqlite_schema import APPLICATION_ID, DEAD, DELIVERED, MIGRATIONS, PENDING

STATES = {"pending": PENDING, "delivered": DELIVERED, "dead": DEAD}
_NAMES = {number: name for name, number in STATES.items()}
_ROWS = """SELECT state, uid, messages.id, event_type, object_uid, messages.sequence, attempts, reason, status_code,
    observed, stored, due, finished, size {more}
FROM messages JOIN subscriptions ON subscriptions.id = subscription {join}
WHERE (:state IS NULL OR state = :state) AND (:subscription IS NULL OR uid = :subscription)
ORDER BY row LIMIT :limit"""
_CONTENT = ", coalesce(ground, ''), headers, whole, seal, body"


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored message: times in Unix seconds; ``due`` only while it is pending, ``finished`` only afterwards."""

    state: str
    subscription: str
    id: str
    type: str
    object_uid: str
    sequence: int
    attempts: int
    reason: str | None
    status_code: int | None
    observed: float
    stored: float
    due: float | None
    finished: float | None
    size: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which messages: a name of ``STATES``, a subscription's uid, how many at most; None: all."""

    state: str | None = None
    subscription: str | None = None
    limit: int | None = None


class Inspector:
    """A context in which the file is open for reading, and no operator can start on it.

    ``sealing`` has the keys of an outbox that is sealed; they are needed for bodies alone. Entering raises StoreInUse
    while one runs, StoreVersionError on a newer schema, StoreError on anything else.
    """

    def __init__(self, path: Path, sealing: Sealing | None = None) -> None:
        self._path = path
        self._sealing = sealing or Sealing()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            with self._stack:
                _lock(self._path, self._stack)
                self._db = apsw.Connection(_address(self._path), flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
                self._stack.callback(self._db.close)
                self._know()
                self._stack = self._stack.pop_all()
        except (apsw.Error, OSError) as error:
            raise store_error(self._path, error, looking=True) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stack.close()
        if isinstance(error, apsw.Error):
            raise store_error(self._path, error, looking=True) from error

    def check(self) -> list[str]:
        """What is wrong, a sentence each; empty when all is well. What is sealed is opened where the keys are there."""
        return findings(self._db) or list(islice(self._unopened(), MAX_EACH))

    def entries(self, wanted: Wanted) -> Iterator[Entry]:
        """The messages, the oldest first."""
        for row in self._rows(wanted):
            yield Entry(_NAMES[row[0]], *row[1:])

    def contents(self, wanted: Wanted) -> Iterator[tuple[Entry, list[list[str]], bytes]]:
        """The messages with their headers, as (name, value), and bodies. Raises StoreKeyMissing, SealBroken."""
        for row in self._rows(wanted, _CONTENT, "JOIN contents USING (row)"):
            entry, (ground, headers, whole, *stored) = Entry(_NAMES[row[0]], *row[1:-5]), row[-5:]
            yield entry, orjson.loads(headers), self._open(entry, ground, headers, whole, *stored)

    def _unopened(self) -> Iterator[str]:
        if self._sealing.current is None:
            return
        for row in self._rows(Wanted(), _CONTENT, "JOIN contents USING (row)"):
            entry = Entry(_NAMES[row[0]], *row[1:-5])
            try:
                self._open(entry, *row[-5:])
            except StoreError as error:
                yield f"message {entry.id} of subscription {entry.subscription}: it can't be opened: {error}"

    def _open(self, entry: Entry, ground: str, headers: bytes, whole: int, seal: int | None, body: bytes) -> bytes:
        known = (entry.subscription, entry.id, entry.sequence, entry.object_uid, entry.type)
        return self._sealing.open(message_of(*known, ground, headers, whole=bool(whole)), seal, body)

    def _rows(self, wanted: Wanted, more: str = "", join: str = "") -> Iterator[Any]:
        return self._db.execute(
            _ROWS.format(more=more, join=join),
            {
                "state": None if wanted.state is None else STATES[wanted.state],
                "subscription": wanted.subscription,
                "limit": -1 if wanted.limit is None else wanted.limit,
            },
        )

    def _know(self) -> None:
        """Make sure that the file is an outbox of ours, in this version's schema."""
        if self._db.pragma("application_id") != APPLICATION_ID:
            raise StoreError(f"outbox {self._path}: the file belongs to another application: name another path")
        version, known = self._db.pragma("user_version"), len(MIGRATIONS)
        if version > known:
            raise StoreVersionError(
                f"outbox {self._path}: written by a newer Hookline (schema {version}, this one knows {known}): "
                "look at it with that version"
            )
        if version < known:
            raise StoreError(
                f"outbox {self._path}: written by an older Hookline (schema {version}, this one knows {known}): "
                "look at it with that version, or start the operator once, which brings it up to date"
            )


def _lock(path: Path, stack: ExitStack) -> None:
    """Keep operators out, and be kept out by one that runs; others may look at the same time."""
    if not path.is_file():
        raise StoreError(
            f"outbox {path}: there is no such file: name the directory that the operator has as --data-dir"
        )
    lock = path.with_name(path.name + ".lock")
    if not lock.exists():  # a copy of the file, which no operator can have open
        return
    file = stack.enter_context(lock.open(encoding="utf-8"))
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = file.read() or "another process"
        raise StoreInUse(
            f"outbox {path}: {holder} has it open, alone, as long as it runs. Stop the operator first (in Kubernetes: "
            "scale its Deployment to 0, and run this in a pod that mounts the volume), or look at its metrics instead"
        ) from None


def _address(path: Path) -> str:
    """How to open the file: without any side file where its log is empty, which a clean stop leaves it.

    A log that is left from a kill must be read; SQLite then needs to make an index of it beside the file.
    """
    log = path.with_name(path.name + "-wal")
    settled = not log.exists() or not log.stat().st_size
    if not settled and not os.access(path.parent, os.W_OK):
        raise StoreError(
            f"outbox {path}: the operator was killed, and to read its log the directory must be writable: mount it so, "
            "or copy the file and its -wal elsewhere"
        )
    return path.resolve().as_uri() + ("?immutable=1" if settled else "")
