"""Whose file it is: locks, versions, foreign files, permissions, settings."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from hookline.errors import StoreError, StoreVersionError
from hookline.model import WatchCommit
from hookline.outbox import sqlite_file
from hookline.outbox.sqlite import SqliteStore
from hookline.outbox.sqlite_schema import APPLICATION_ID, MIGRATIONS

HOLD = """
import asyncio, sys
from pathlib import Path
from hookline.outbox.sqlite import SqliteStore

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    await store.open()
    print("open", flush=True)
    sys.stdin.read()

asyncio.run(main())
"""


@contextmanager
def another_process_holding(path: Path) -> Iterator[int]:
    """Run a process that has the outbox open, kill it at the end; yields its id."""
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        yield holder.pid
        os.kill(holder.pid, signal.SIGKILL)


def read_with_another_program(path: Path) -> str:
    """What Python's own SQLite, in a process of its own, says about the messages' table: errors, or nothing."""
    shell = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('SELECT * FROM messages')"
    command = [sys.executable, "-c", shell, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


async def test_a_second_process_is_refused_and_told_who_holds_the_file(tmp_path: Path):
    path = tmp_path / "outbox.db"
    with another_process_holding(path) as holder, pytest.raises(StoreError) as refused:
        await SqliteStore(path).open()
    assert f"in use by process {holder} on {socket.gethostname()}: " in str(refused.value)
    store = SqliteStore(path)
    await store.open()  # the lock ended with the process, however it ended
    await store.close()


async def test_a_second_store_in_the_same_process_is_refused_and_harms_nothing(tmp_path: Path):
    first = SqliteStore(tmp_path / "outbox.db")
    await first.open()
    with pytest.raises(StoreError, match="in use by process"):
        await SqliteStore(tmp_path / "outbox.db").open()
    with pytest.raises(StoreError, match="open already"):
        await first.open()
    await first.commit(WatchCommit("s", resource_version="1"))
    await first.close()


async def test_no_other_sqlite_program_gets_in_either(tmp_path: Path):
    store = SqliteStore(tmp_path / "outbox.db")
    await store.open()
    assert "database is locked" in read_with_another_program(tmp_path / "outbox.db")
    await store.close()
    assert read_with_another_program(tmp_path / "outbox.db") == ""


def test_no_migration_is_edited_once_outboxes_may_have_it():
    """An outbox never gets it again: write another one. To that end alone add a line here."""
    fingerprints = [hashlib.sha256(migration.encode()).hexdigest()[:16] for migration in MIGRATIONS]
    assert fingerprints == ["97d5fdcdbbc420f8", "e99035616ce020a9"]


async def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path):
    path = tmp_path / "outbox.db"
    store = SqliteStore(path)
    await store.open()
    await store.close()
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", len(MIGRATIONS) + 1)
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreVersionError, match=f"schema {len(MIGRATIONS) + 1}"):
        await SqliteStore(path).open()
    assert path.read_bytes() == before


async def test_a_migration_that_fails_leaves_the_old_schema(tmp_path: Path):
    path = tmp_path / "outbox.db"
    store = SqliteStore(path)
    await store.open()
    await store.commit(WatchCommit("s", resource_version="1"))
    await store.close()
    connection = apsw.Connection(str(path))
    with pytest.raises(apsw.SQLError):
        sqlite_file.prepare(connection, path, (*MIGRATIONS, "CREATE TABLE extra (a); CREATE TABLE extra (a);"))
    connection.close()
    await store.open()
    assert await store.checkpoint("s") == "1"
    await store.close()


async def test_a_migration_is_applied_once_and_keeps_the_rows(tmp_path: Path):
    path = tmp_path / "outbox.db"
    store = SqliteStore(path)
    await store.open()
    await store.commit(WatchCommit("s", resource_version="1"))
    await store.close()
    for _ in range(2):
        connection = apsw.Connection(str(path))
        sqlite_file.prepare(connection, path, (*MIGRATIONS, "CREATE TABLE extra (a)"))
        assert connection.pragma("user_version") == len(MIGRATIONS) + 1
        assert connection.execute("SELECT resource_version FROM scopes").get == "1"
        connection.close()


async def test_the_file_of_another_application_is_refused(tmp_path: Path):
    path = tmp_path / "outbox.db"
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE theirs (a)")
    connection.close()
    with pytest.raises(StoreError, match="another application"):
        await SqliteStore(path).open()


@pytest.mark.parametrize(
    ("place", "advice"),
    [("absent/outbox.db", "check the mount"), ("text.db", "not a database"), (".", "can't be opened")],
)
async def test_what_can_not_be_an_outbox_is_refused_with_advice(tmp_path: Path, place: str, advice: str):
    (tmp_path / "text.db").write_text("This is no database. " * 100)
    store = SqliteStore(tmp_path / place)
    with pytest.raises(StoreError, match=advice):
        await store.open()
    with pytest.raises(StoreError, match="not open"):
        await store.counts()


def modes(directory: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()}


async def test_nobody_else_may_read_the_bodies(tmp_path: Path):
    store = SqliteStore(tmp_path / "outbox.db")
    await store.open()
    await store.commit(WatchCommit("s", resource_version="1"))
    assert modes(tmp_path) == {"outbox.db": 0o600, "outbox.db-wal": 0o600, "outbox.db.lock": 0o600}
    await store.close()


async def test_close_ends_the_thread_and_leaves_one_file_without_a_log(tmp_path: Path):
    store = SqliteStore(tmp_path / "outbox.db")
    await store.open()
    await store.commit(WatchCommit("s", resource_version="1"))
    assert [thread.name for thread in threading.enumerate()].count("outbox") == 1
    await store.close()
    assert "outbox" not in [thread.name for thread in threading.enumerate()]
    assert not (tmp_path / "outbox.db-wal").exists()


async def test_an_open_that_is_cancelled_lets_go_of_the_file(tmp_path: Path):
    opening = asyncio.create_task(SqliteStore(tmp_path / "outbox.db").open())
    await asyncio.sleep(0)  # let it start its thread
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    for thread in threading.enumerate():
        if thread.name == "outbox":
            thread.join(60)
    store = SqliteStore(tmp_path / "outbox.db")
    await store.open()
    await store.close()


def test_the_file_is_marked_as_ours_and_synced_at_each_commit(tmp_path: Path):
    database = sqlite_file.Database(tmp_path / "outbox.db")
    names = ("application_id", "journal_mode", "synchronous", "foreign_keys", "auto_vacuum")
    assert [database.connection.pragma(name) for name in names] == [APPLICATION_ID, "wal", 2, 1, 2]
    database.close()
