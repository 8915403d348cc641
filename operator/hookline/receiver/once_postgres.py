"""The store of ids in PostgreSQL, through psycopg 3 (``pip install hookline[postgres]``): for several receivers.

In and out: ``hookline.receiver.once``. A second request with the same id waits at the primary key until the first one
commits or rolls back; requests with other ids wait for nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, TypeVar

import psycopg
from psycopg import errors as pg

from hookline.receiver import once_sql as sql
from hookline.receiver.errors import InProgress, OnceUnavailable
from hookline.receiver.once import KEEP_SECONDS, LEASE_SECONDS, WAIT_SECONDS, Claim

Connection = psycopg.Connection[Any]
T = TypeVar("T")
Connect = Callable[[], AbstractContextManager[Connection]]

_CONNECT_SECONDS = 10
_WAITED = (pg.LockNotAvailable, pg.DeadlockDetected, pg.SerializationFailure)
# Concurrent CREATE … IF NOT EXISTS can fail on the catalogue's unique keys: one at a time.
_LOCK_SCHEMA = "SELECT pg_advisory_xact_lock(7236838461)"


class PostgresOnce(sql.Ending):
    """``source``: a connection string (a connection per call), or ``pool.connection`` of a ``psycopg_pool``.

    ``keep`` and ``wait`` in seconds; ``clock`` gives Unix time: leases compare the clocks of the machines that share
    the database. The transaction that ``once`` gives is a ``psycopg.Connection``. The role needs the right to create
    the table the first time.
    """

    def __init__(
        self,
        source: str | Connect,
        *,
        keep: float = KEEP_SECONDS,
        wait: float = WAIT_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(keep, clock)
        self._connect: Connect = source if callable(source) else lambda: _connection(source)
        self._wait_ms = max(1, int(wait * 1000))
        self._ready = False
        self._making = threading.Lock()

    @contextmanager
    def once(self, message_id: str, scope: str = "") -> Iterator[Connection]:
        """See ``OnceStore.once``."""
        claim = Claim(scope, message_id)
        with self._transaction() as connection:
            self._claim(connection, claim, done=1, until=self._clock() + self._keep)
            yield connection

    def begin(self, message_id: str, scope: str = "", lease: float = LEASE_SECONDS) -> Claim:
        """See ``OnceStore.begin``."""
        claim = Claim(scope, message_id)
        with self._transaction() as connection:
            self._claim(connection, claim, done=0, until=self._clock() + lease)
        return claim

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with _sentences():
            connecting = self._connect()
        with _guarded(connecting) as connection:
            self._make(connection)
            # psycopg refuses commit() and rollback() inside of such a block, so the body can't cut it in two.
            with _guarded(connection.transaction()):
                yield connection

    def _make(self, connection: Connection) -> None:
        if self._ready:
            return
        with self._making, _sentences(), connection.transaction():
            connection.execute(_LOCK_SCHEMA)
            if _one(connection, "SELECT to_regclass('hookline_once')", ()) == (None,):
                connection.execute(sql.CREATE.encode())
                connection.execute(sql.CREATE_INDEX.encode())
            self._ready = True

    def _claim(self, connection: Connection, claim: Claim, *, done: int, until: float) -> None:
        key = (claim.scope, claim.id)
        with _sentences():
            connection.execute("SELECT set_config('lock_timeout', %s, true)", (str(self._wait_ms),))
            if _one(connection, sql.CLAIM, (*key, claim.token, done, until, self._clock())) is None:
                raise sql.refusal(_one(connection, sql.LOOK, key))
            connection.execute("SET LOCAL lock_timeout TO DEFAULT")  # the handler's own statements

    def _write(self, statement: str, values: Sequence[object]) -> int:
        with self._transaction() as connection, _sentences():
            return _run(connection, statement, values).rowcount


def _connection(conninfo: str) -> Connection:
    return psycopg.connect(conninfo, connect_timeout=_CONNECT_SECONDS)


def _run(connection: Connection, statement: str, values: Sequence[object]) -> psycopg.Cursor[Any]:
    return connection.execute(statement.replace("?", "%s").encode(), values)


def _one(connection: Connection, statement: str, values: Sequence[object]) -> tuple[Any, ...] | None:
    row: tuple[Any, ...] | None = _run(connection, statement, values).fetchone()
    return row


@contextmanager
def _guarded(manager: AbstractContextManager[T]) -> Iterator[T]:
    """Enter and leave with our errors; what the body raises passes as it is."""
    with _sentences():
        value = manager.__enter__()
    try:
        yield value
    except BaseException as error:
        with suppress(psycopg.Error):  # a lost connection can't roll back, and need not
            manager.__exit__(type(error), error, error.__traceback__)
        raise
    with _sentences():
        manager.__exit__(None, None, None)


@contextmanager
def _sentences() -> Iterator[None]:
    try:
        yield
    except _WAITED as error:
        raise InProgress("this message is being processed by another request; try again") from error
    except psycopg.Error as error:
        raise OnceUnavailable(f"the store of ids can't be used: {type(error).__name__}") from error
