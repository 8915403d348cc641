"""The file of the SQLite outbox: its lock, its settings, its schema's version, and what its errors mean.

In: a path. Out: a ``Database`` that this process owns alone. ``sqlite_writer`` runs it.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import IO

import apsw

from hookline.errors import StoreDamaged, StoreError, StoreInUse, StoreVersionError, ValueRefused
from hookline.outbox.sqlite_schema import APPLICATION_ID, MIGRATIONS

_CACHE_KIB = 16 * 1024
_LOG_LIMIT_BYTES = 64 * 1024 * 1024
_LOG_PAGES = 4000
_PIECE = 64 * 1024  # SQLite writes less than 128 KiB at once

_LOOK = "look at it with `hookline outbox check`; "
_ADVICE: tuple[tuple[type[Exception], str], ...] = (
    (apsw.FullError, "its volume is full: enlarge it or make room; it goes on by itself"),
    (apsw.CorruptError, f"its file is damaged: {_LOOK}restore it, or move it away to start with an empty outbox"),
    (apsw.NotADBError, f"its file is not a database: {_LOOK}restore it, move it away, or name another path"),
    (apsw.CantOpenError, "its file can't be opened: check that the directory exists and is writable"),
    (OSError, "its file can't be opened: check the mount and the file's owner"),
    (apsw.ReadOnlyError, "its file is read-only: check the mount and the file's owner"),
    (apsw.BusyError, "another program has its file open: close that program"),
    (apsw.IOError, "its volume fails to read or write: check the disk; it goes on by itself once that works again"),
)
_KINDS: tuple[tuple[tuple[type[Exception], ...], type[StoreError]], ...] = (
    ((apsw.CorruptError, apsw.NotADBError), StoreDamaged),
    # No encoding, no such type, too large, or against a rule of the table: the same call would fail for ever.
    ((TypeError, ValueError, OverflowError, apsw.TooBigError, apsw.MismatchError, apsw.ConstraintError), ValueRefused),
)


def store_error(path: Path, error: BaseException, *, looking: bool = False) -> StoreError:
    """Say what went wrong with the outbox at ``path``, and what to do about it. Keeps ``error`` as the cause.

    ``looking``: it is being looked at already.
    """
    if isinstance(error, StoreError):
        return type(error)(*error.args)
    advice = next((text for kind, text in _ADVICE if isinstance(error, kind)), "the call was refused")
    if looking:
        advice = advice.replace(_LOOK, "")
    kind = next((kind for causes, kind in _KINDS if isinstance(error, causes)), StoreError)
    failure = kind(f"outbox {path}: {advice} ({type(error).__name__}: {error})")
    failure.__cause__ = error
    return failure


class Database:
    """An open outbox file: the connection and the lock. Raises StoreError, StoreVersionError or apsw.Error.

    Two locks, for two dangers. ``flock`` on ``<path>.lock`` keeps a second Hookline out and can say who holds it; the
    kernel drops it with the process, however that ends. SQLite's own exclusive mode keeps out everything else, such
    as a ``sqlite3`` shell with the WAL-reset bug (before 3.51.3), which needs a second connection to do its harm.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = _lock(path)
        try:
            # Bodies are the tenants' business: nobody else on the node may read them.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            write_log_again(path)
            self.connection = apsw.Connection(str(path))
            try:
                prepare(self.connection, path)
            except BaseException:
                self.connection.close()
                raise
        except BaseException:
            self._lock.close()
            raise

    def size(self) -> int:
        """Bytes of the file and of its log."""
        log = self._path.with_name(self._path.name + "-wal")
        return sum(file.stat().st_size for file in (self._path, log) if file.exists())

    def free(self) -> int:
        """Bytes of the file's pages that hold nothing."""
        free: int = self.connection.pragma("freelist_count") * self.connection.pragma("page_size")
        return free

    def close(self) -> None:
        """Close the file, then let the next process in."""
        with closing(self._lock):
            self.connection.close()


def write_log_again(path: Path) -> None:
    """Write the log that an earlier process left over itself, and sync it. Raises apsw.Error.

    After a failed fsync Linux calls the pages clean, though they are in its cache only. Who reads the log then would
    build on a transaction that the next power cut takes away, and all after it. A log left by a clean end is absent.
    """
    log = path.with_name(path.name + "-wal")
    if not log.exists():
        return
    # By way of SQLite's own file layer, so that whoever puts another one below (tests do) sees these writes as well.
    file = apsw.VFSFile("", str(log), [apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_READWRITE, 0])
    try:
        size = file.xFileSize()
        for offset in range(0, size, _PIECE):
            file.xWrite(file.xRead(min(_PIECE, size - offset), offset), offset)
        if size:
            file.xSync(apsw.SQLITE_SYNC_FULL)
    finally:
        file.xClose()


def prepare(connection: apsw.Connection, path: Path, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Apply settings and missing migrations.

    Raises StoreVersionError on a newer schema and StoreDamaged on another application's file; both are left untouched.
    """
    connection.pragma("locking_mode", "EXCLUSIVE")
    version, application = connection.pragma("user_version"), connection.pragma("application_id")
    if application != APPLICATION_ID and (application or connection.execute("SELECT 1 FROM sqlite_schema").fetchall()):
        raise StoreDamaged(f"outbox {path}: the file belongs to another application: name another path")
    if version > len(migrations):
        raise StoreVersionError(
            f"outbox {path}: written by a newer Hookline (schema {version}, this one knows {len(migrations)}): "
            "run that version, or move the file away to start with an empty outbox"
        )
    connection.pragma("auto_vacuum", "INCREMENTAL")  # takes effect in a new file only; ``prune`` then shrinks it
    connection.pragma("journal_mode", "WAL")
    # FULL syncs the log at each commit: with NORMAL an acknowledged commit may be gone after a power loss.
    connection.pragma("synchronous", "FULL")
    connection.pragma("cache_size", -_CACHE_KIB)
    connection.pragma("journal_size_limit", _LOG_LIMIT_BYTES)
    connection.pragma("wal_autocheckpoint", _LOG_PAGES)
    connection.pragma("foreign_keys", 1)
    if version < len(migrations):
        connection.execute("BEGIN IMMEDIATE")
        for migration in migrations[version:]:
            connection.execute(migration)
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", len(migrations))
        connection.execute("COMMIT")


def _lock(path: Path) -> IO[str]:
    """Take the lock beside the file. Raises StoreError that names the holder."""
    lock = path.with_name(path.name + ".lock")
    try:
        file = os.fdopen(os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+", encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"outbox {path}: no lock file can be made beside it ({error.strerror}): check the mount"
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = file.read() or "another process"
        file.close()
        raise StoreInUse(
            f"outbox {path}: in use by {holder}: an outbox belongs to one process. Stop the other one "
            "(in Kubernetes: replicas 1, strategy Recreate), or give this one its own volume"
        ) from error
    except OSError as error:
        file.close()
        raise StoreError(
            f"outbox {path}: the lock beside it can't be taken ({error.strerror}): use a local disk"
        ) from error
    with suppress(OSError):  # on a full volume the lock holds all the same, it only can't name its holder
        file.truncate()
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
    return file
