"""Faults below SQLite: a disk that is full, fails or is slow, and a process that is killed."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from hookline.errors import StoreError
from hookline.model import Attempt, Counts, Message, Outcome, Seen, Verdict, WatchCommit
from hookline.outbox.sqlite import SqliteStore
from hookline.outbox.sqlite_writer import Session
from support.turns import turns

SUBSCRIPTION, SCOPE, EVER = "sub", "v1/pods@shop", 4e9


def message(number: int) -> Message:
    body = b"x" * 3000
    return Message(f"msg_{number}", SUBSCRIPTION, number, "uid", "type", (("a", "b"),), body, observed=1.0)


def step(number: int) -> WatchCommit:
    seen = [Seen(f"uid-{number}", str(number), b"{}", full=True)]
    return WatchCommit(SCOPE, [message(number)], seen=seen, resource_version=str(number))


class Disk(apsw.VFS):
    """Every file that SQLite opens while this is registered; ``before`` is called before each write and sync."""

    def __init__(self) -> None:
        self.base = apsw.vfs_names()[0]  # the default until now
        super().__init__("disk", base=self.base, makedefault=True)
        self.before: Callable[[str], None] = lambda operation: None
        self.syncs = 0
        self.unsynced: set[str] = set()

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        return _File(self, name, flags)


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        super().__init__(disk.base, name, flags)
        self.disk = disk
        self.name = Path(name.filename() if isinstance(name, apsw.URIFilename) else str(name)).name

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        self.disk.before("write")
        self.disk.unsynced.add(self.name)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        self.disk.before("sync")
        super().xSync(flags)
        self.disk.syncs += 1
        self.disk.unsynced.discard(self.name)


@pytest.fixture
def disk() -> Iterator[Disk]:
    registered = Disk()
    yield registered
    registered.unregister()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


def fail(kind: type[apsw.Error], *operations: str) -> Callable[[str], None]:
    def before(operation: str) -> None:
        if operation in operations:
            raise kind("injected")

    return before


async def contents(store: SqliteStore) -> tuple[set[str], str | None, frozenset[str]]:
    """Message ids, checkpoint and seen uids; claims are given back."""
    claimed = await store.claim({SUBSCRIPTION: 10**6}, EVER)
    await store.release([c.row for c in claimed])
    return {c.message.id for c in claimed}, await store.checkpoint(SCOPE), await store.seen_uids(SCOPE)


async def test_a_commit_is_on_the_disk_when_it_returns(disk: Disk, path: Path):
    store = SqliteStore(path)
    await store.open()
    for number in range(5):
        await store.commit(step(number))
        assert disk.unsynced == set()
    await store.close()


def test_the_control_without_full_synchronisation_leaves_the_log_unsynced(disk: Disk, path: Path):
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "WAL")
    connection.pragma("synchronous", "NORMAL")
    connection.execute("CREATE TABLE t (a)")
    connection.execute("INSERT INTO t VALUES (1)")
    assert "outbox.db-wal" in disk.unsynced
    connection.close()


async def test_calls_that_wait_together_share_a_sync(disk: Disk, path: Path):
    store = SqliteStore(path)
    await store.open()
    before = disk.syncs
    for number in range(100):
        await store.commit(step(number))
    assert disk.syncs - before >= 100  # the control: one after the other
    before = disk.syncs
    await asyncio.gather(*(store.commit(step(number)) for number in range(100, 200)))
    assert disk.syncs - before <= 4
    await store.close()


async def test_reads_need_no_sync(disk: Disk, path: Path):
    store = SqliteStore(path)
    await store.open()
    await store.commit(step(1))
    disk.before = fail(apsw.IOError, "write", "sync")
    (claimed,) = await store.claim({SUBSCRIPTION: 1}, EVER)
    await store.release([claimed.row])
    assert await store.counts() == {SUBSCRIPTION: Counts(pending=1)}
    assert (await store.next_due()).keys() == {SUBSCRIPTION}
    disk.before = lambda operation: None
    await store.close()


async def test_nothing_is_handed_out_before_it_is_on_the_disk(disk: Disk, path: Path):
    store = SqliteStore(path)
    await store.open()
    reached, release = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def hold(operation: str) -> None:
        if operation == "sync":
            loop.call_soon_threadsafe(reached.set)
            assert release.wait(60)

    disk.before = hold
    committing = asyncio.create_task(store.commit(step(1)))
    claiming = asyncio.create_task(store.claim({SUBSCRIPTION: 1}, EVER))
    await reached.wait()
    await turns()
    assert not committing.done()
    assert not claiming.done()
    release.set()
    assert await committing == 1
    assert [c.message.id for c in await claiming] == ["msg_1"]
    await store.close()


@pytest.mark.parametrize("kind", [apsw.FullError, apsw.IOError])
@pytest.mark.parametrize("operation", ["write", "sync"])
async def test_a_failing_disk_fails_all_who_wait_and_keeps_what_was_there(
    disk: Disk, path: Path, kind: type[apsw.Error], operation: str
):
    store = SqliteStore(path)
    await store.open()
    await store.commit(step(0))
    (claimed,) = await store.claim({SUBSCRIPTION: 1}, EVER)
    disk.before = fail(kind, operation)
    results = await asyncio.gather(
        *(store.commit(step(number)) for number in range(1, 4)),
        store.record([Attempt(claimed, Verdict(Outcome.DELIVERED, "Delivered", 200), 1.0, 1.0)]),
        store.claim({SUBSCRIPTION: 9}, EVER),
        return_exceptions=True,
    )
    assert [type(result) for result in results[:4]] == [StoreError] * 4
    assert "volume" in str(results[0])
    assert await store.counts() == {SUBSCRIPTION: Counts(pending=1)}
    assert await store.claim({SUBSCRIPTION: 9}, EVER) == []  # the one is claimed still, no other was

    disk.before = lambda operation: None
    assert [await store.commit(step(number)) for number in range(4)] == [0, 1, 1, 1]
    assert len(await store.claim({SUBSCRIPTION: 9}, EVER)) == 3
    await store.record([Attempt(claimed, Verdict(Outcome.DELIVERED, "Delivered", 200), 1.0, 1.0)])
    assert await store.counts() == {SUBSCRIPTION: Counts(pending=3, delivered=1)}
    await store.close()


async def in_one_batch(store: SqliteStore, *calls: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Make calls while the writer's thread is held up, so that they share a transaction; returns results or errors."""
    reached, release = threading.Event(), threading.Event()

    def hold(_: object) -> bool:
        reached.set()
        return release.wait(60)

    held = store._writer.submit(hold, writes=False)
    assert await asyncio.to_thread(reached.wait, 60)
    tasks = [asyncio.ensure_future(call()) for call in calls]
    await asyncio.sleep(0)  # let every task make its call
    release.set()
    assert await held
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_commit_that_is_refused_with_the_transaction_still_open_is_rolled_back(path: Path):
    def deny(operation: int, first: str | None, *_: str | None) -> int:
        return apsw.SQLITE_DENY if (operation, first) == (apsw.SQLITE_TRANSACTION, "COMMIT") else apsw.SQLITE_OK

    def authorize(authorizer: Callable[..., int] | None) -> Awaitable[None]:
        return store._writer.submit(lambda session: setattr(session.connection, "authorizer", authorizer), writes=False)

    store = SqliteStore(path)
    await store.open()
    await authorize(deny)
    with pytest.raises(StoreError, match="AuthError"):
        await store.commit(step(1))
    await authorize(None)
    assert await store.counts() == {}
    assert await store.commit(step(2)) == 1
    assert await contents(store) == ({"msg_2"}, "2", frozenset({"uid-2"}))
    await store.close()


async def test_when_sqlite_gives_up_the_transaction_in_a_read_all_calls_of_it_fail(path: Path):
    """As after an I/O error or lack of memory: what follows must not be committed by itself, and called failed."""

    def give_up(session: Session) -> None:
        session.connection.execute("ROLLBACK")
        raise apsw.NoMemError("injected")

    store = SqliteStore(path)
    await store.open()
    results = await in_one_batch(
        store,
        lambda: store.commit(step(1)),
        lambda: store._writer.submit(give_up, writes=False),
        lambda: store.commit(step(2)),
    )
    assert [type(result) for result in results] == [StoreError] * 3
    assert await contents(store) == (set(), None, frozenset())
    assert await store.commit(step(3)) == 1
    await store.close()


@pytest.mark.parametrize("kind", [apsw.FullError, apsw.IOError])
async def test_whichever_call_to_the_disk_fails_no_acknowledged_commit_is_lost(
    disk: Disk, tmp_path: Path, kind: type[apsw.Error]
):
    """SQLite's own method: fail the first call, then the second, and so on until a run ends without a fault."""
    for failing in itertools.count():
        path = tmp_path / f"{failing}.db"
        calls = itertools.count()

        def before(operation: str, calls: Iterator[int] = calls, failing: int = failing) -> None:
            if next(calls) == failing:
                raise kind("injected")

        disk.before = before
        store = SqliteStore(path)
        await open_at_the_second_try(store)
        acknowledged: list[int] = []
        for number in range(4):
            try:
                await store.commit(step(number))
            except StoreError:
                continue
            acknowledged.append(number)
        await store.close()
        await open_at_the_second_try(store)
        ids, checkpoint, seen = await contents(store)
        assert ids == {f"msg_{number}" for number in acknowledged}
        assert checkpoint == str(acknowledged[-1])
        assert seen == {f"uid-{number}" for number in acknowledged}
        await store.close()
        if next(calls) <= failing:
            break
    assert failing > 20


async def open_at_the_second_try(store: SqliteStore) -> None:
    try:
        await store.open()
    except StoreError:
        await store.open()


COMMIT_FOREVER = """
import asyncio, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from test_sqlite_faults import SqliteStore, step

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    await store.open()
    number = 0
    while True:
        await asyncio.gather(*(store.commit(step(number + n)) for n in range(3)))
        number += 3
        print(number - 1, flush=True)

asyncio.run(main())
"""


def commit_until_killed(path: Path, lines: int) -> int:
    """Kill a process that commits, after this many acknowledgements; returns the last number it acknowledged."""
    folder = Path(__file__).parent
    command = [sys.executable, "-c", COMMIT_FOREVER, str(path), str(folder), str(folder.parents[1])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(lines):
            assert process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        rest = process.stdout.read().split("\n")[:-1]  # what follows the last line end was cut by the kill
    assert process.returncode == -signal.SIGKILL
    return int(rest[-1]) if rest else 3 * lines - 1


@pytest.mark.parametrize("lines", [1, 7, 40, 300])
async def test_a_killed_process_leaves_every_acknowledged_message(path: Path, lines: int):
    last = commit_until_killed(path, lines)
    store = SqliteStore(path)
    await store.open()
    ids, checkpoint, seen = await contents(store)
    assert {f"msg_{number}" for number in range(last + 1)} <= ids
    assert checkpoint is not None
    assert last <= int(checkpoint)
    assert ids == {f"msg_{number}" for number in range(int(checkpoint) + 1)}  # the checkpoint is never ahead
    assert seen == {f"uid-{number}" for number in range(int(checkpoint) + 1)}
    await store.close()
    connection = apsw.Connection(str(path))
    assert connection.pragma("integrity_check") == "ok"
    connection.close()
