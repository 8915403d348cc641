"""The store of ids in a SQLite file, through the standard library: next to the rows of a handler, or a file of its own.

In and out: ``hookline.receiver.once``. A connection per call, so threads share nothing. The journal mode is left as the
file has it: a new file gets a rollback journal, which is safe with every release of SQLite.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from hookline.receiver import once_sql as sql
from hookline.receiver.errors import InProgress, OnceUnavailable
from hookline.receiver.once import KEEP_SECONDS, LEASE_SECONDS, WAIT_SECONDS, Claim

_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class SqliteOnce(sql.Ending):
    """``path`` of the file (made when absent); ``keep`` and ``wait`` in seconds; ``clock`` gives Unix time.

    The transaction that ``once`` gives is a ``sqlite3.Connection``. SQLite has one writer at a time, so requests with
    different ids wait for each other too: keep the body short.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        keep: float = KEEP_SECONDS,
        wait: float = WAIT_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(keep, clock)
        self._path = Path(path)
        self._wait = wait

    @contextmanager
    def once(self, message_id: str, scope: str = "") -> Iterator[sqlite3.Connection]:
        """See ``OnceStore.once``."""
        claim = Claim(scope, message_id)
        with closing(self._open()) as connection:
            try:
                self._claim(connection, claim, done=1, until=self._clock() + self._keep)
                yield connection
            except BaseException:
                _roll_back(connection)
                raise
            with _sentences():
                connection.execute("COMMIT")

    def begin(self, message_id: str, scope: str = "", lease: float = LEASE_SECONDS) -> Claim:
        """See ``OnceStore.begin``."""
        claim = Claim(scope, message_id)
        with closing(self._open()) as connection, _sentences():
            try:
                self._claim(connection, claim, done=0, until=self._clock() + lease)
                connection.execute("COMMIT")
            except BaseException:
                _roll_back(connection)
                raise
        return claim

    def _open(self) -> sqlite3.Connection:
        with _sentences():
            connection = sqlite3.connect(self._path, timeout=self._wait, isolation_level=None)
            try:
                # EXTRA also syncs the directory: without it a power cut can bring a deleted journal back.
                connection.execute("PRAGMA synchronous = EXTRA")
                connection.execute(sql.CREATE)
                connection.execute(sql.CREATE_INDEX)
            except BaseException:
                connection.close()
                raise
            return connection

    def _claim(self, connection: sqlite3.Connection, claim: Claim, *, done: int, until: float) -> None:
        values = (claim.scope, claim.id, claim.token, done, until)
        with _sentences():
            connection.execute("BEGIN IMMEDIATE")  # waits for whoever writes now
            if connection.execute(sql.CLAIM, (*values, self._clock())).fetchone() is None:
                raise sql.refusal(connection.execute(sql.LOOK, (claim.scope, claim.id)).fetchone())

    def _write(self, statement: str, values: Sequence[object]) -> int:
        with closing(self._open()) as connection, _sentences():
            return connection.execute(statement, values).rowcount


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


@contextmanager
def _sentences() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY:
            raise InProgress("the store of ids is busy with another message; try again") from error
        raise OnceUnavailable(f"the store of ids can't be used: {type(error).__name__}") from error
