"""The page cache that lies: after a failed fsync the kernel calls pages clean which the disk never got.

``Cache`` stands between SQLite and its files and knows what the disk would hold after a power cut.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from hookline.errors import StoreError
from hookline.model import Attempt, Message, Outcome, Seen, Verdict, WatchCommit
from hookline.outbox import sqlite_file
from hookline.outbox.sqlite import SqliteStore

SUBSCRIPTION, SCOPE, EVER = "sub", "v1/pods@shop", 4e9


class Cache(apsw.VFS):
    """The files as programs see them are real; ``durable`` has, by path, what a power cut would leave of each."""

    def __init__(self) -> None:
        self.base = apsw.vfs_names()[0]
        super().__init__("lying-cache", base=self.base, makedefault=True)
        self.durable: dict[Path, bytearray] = {}
        self.dirty: dict[Path, list[tuple[int, int]]] = {}
        self.fault: Callable[[str], None] = lambda operation: None

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        return _File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 - SQLite's name
        super().xDelete(filename, syncdir)
        self.durable.pop(Path(filename), None)
        self.dirty.pop(Path(filename), None)


class _File(apsw.VFSFile):
    def __init__(self, cache: Cache, name: Any, flags: list[int]) -> None:
        super().__init__(cache.base, name, flags)
        self.cache = cache
        self.path = Path(name.filename() if isinstance(name, apsw.URIFilename) else str(name))
        cache.durable.setdefault(self.path, bytearray())
        cache.dirty.setdefault(self.path, [])

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        self.cache.fault("write")
        super().xWrite(data, offset)
        self.cache.dirty[self.path].append((offset, len(data)))

    def xTruncate(self, size: int) -> None:  # noqa: N802 - SQLite's name
        super().xTruncate(size)
        del self.cache.durable[self.path][size:]

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        dirty, self.cache.dirty[self.path] = self.cache.dirty[self.path], []
        self.cache.fault("sync")  # the pages count as clean now, though they are on no disk
        durable = self.cache.durable[self.path]  # the disk of this test: the real one need not turn
        for offset, length in dirty:
            durable.extend(bytes(max(0, offset + length - len(durable))))
            durable[offset : offset + length] = self.xRead(length, offset)


@pytest.fixture
def cache() -> Iterator[Cache]:
    registered = Cache()
    yield registered
    registered.unregister()


def step(number: int) -> WatchCommit:
    message = Message(f"msg_{number}", SUBSCRIPTION, number, "uid", "type", (("a", "b"),), b"x" * 3000, observed=1.0)
    return WatchCommit(SCOPE, [message], [Seen(f"uid-{number}", str(number), b"{}", full=True)], (), str(number))


class Run:
    """A process works, is killed, its successor works on, the power fails; what was acknowledged is remembered."""

    def __init__(self, cache: Cache, directory: Path) -> None:
        self.cache = cache
        self.path = directory / "first" / "outbox.db"
        self.path.parent.mkdir(parents=True)
        self.store = SqliteStore(self.path)
        self.numbers = itertools.count()
        self.commits: set[int] = set()
        self.delivered: set[str] = set()

    async def open(self) -> None:
        """Open the outbox; where the fault hits just that, once more."""
        try:
            await self.store.open()
        except StoreError:
            await self.store.open()

    async def work(self, count: int) -> None:
        """Commit, claim, record. An error ends that, and the next follows, as it does in the operator."""
        for number in itertools.islice(self.numbers, count):
            try:
                await self.store.commit(step(number))
                self.commits.add(number)
                (claimed,) = await self.store.claim({SUBSCRIPTION: 1}, EVER)
                await self.store.record([Attempt(claimed, Verdict(Outcome.DELIVERED, "Delivered", 200), 1.0, 1.0)])
                self.delivered.add(claimed.message.id)
            except StoreError:
                continue

    async def kill(self) -> None:
        """Go on in another directory with what programs see of the files now, and what the disk has of them."""
        old, self.path = self.path, self.path.parent.with_name("second") / "outbox.db"
        self.path.parent.mkdir()
        for suffix in ("", "-wal"):
            before, after = (path.with_name(path.name + suffix) for path in (old, self.path))
            if before.exists():
                after.write_bytes(before.read_bytes())
                self.cache.durable[after] = bytearray(self.cache.durable[before])
                self.cache.dirty[after] = list(self.cache.dirty[before])
        killed, self.store = self.store, SqliteStore(self.path)
        fault, self.cache.fault = self.cache.fault, lambda operation: None
        await killed.close()  # in this test a process can't die alone; nobody looks at its files any more
        self.cache.fault = fault

    async def cut_the_power(self) -> list[str]:
        """Returns what is wrong afterwards: lost, corrupt, or a checkpoint that is ahead."""
        self.cache.fault = lambda operation: None
        durable = {path: bytes(content) for path, content in self.cache.durable.items()}
        await self.store.close()
        for path, content in durable.items():
            if path.parent == self.path.parent:
                path.write_bytes(content)
        try:
            connection = apsw.Connection(str(self.path))
            ids = {ident for (ident,) in connection.execute("SELECT id FROM messages")}
            delivered = {ident for (ident,) in connection.execute("SELECT id FROM messages WHERE state = 1")}
            place = connection.execute("SELECT resource_version FROM scopes").get
            integrity = str(connection.pragma("integrity_check"))
            connection.close()
        except apsw.Error as error:
            return [f"unreadable: {error}"]
        wrong = [f"message {number} is lost" for number in self.commits if f"msg_{number}" not in ids]
        wrong += [f"the verdict of {ident} is lost" for ident in self.delivered - delivered]
        if place is not None and f"msg_{place}" not in ids:
            wrong.append(f"the checkpoint {place} is ahead")
        return wrong + ([integrity] if integrity != "ok" else [])


def faults(kind: type[apsw.Error], failing: int, calls: Iterator[int]) -> Callable[[str], None]:
    """Fail one call to the disk."""

    def fault(operation: str) -> None:
        if next(calls) == failing:
            raise kind("injected")

    return fault


async def all_runs(cache: Cache, directory: Path, kind: type[apsw.Error], *, killed: bool) -> dict[int, list[str]]:
    """Fail the first call to the disk, then the second, until a run ends without a fault: what was wrong, by call."""
    wrong: dict[int, list[str]] = {}
    for failing in itertools.count():
        calls = itertools.count()
        cache.durable.clear()
        cache.dirty.clear()
        cache.fault = faults(kind, failing, calls)
        run = Run(cache, directory / str(failing))
        await run.open()
        await run.work(2)
        if killed:
            await run.kill()
            await run.open()
        await run.work(2)
        if found := await run.cut_the_power():
            wrong[failing] = found
        assert len(run.commits) >= 3, "one fault costs one call"
        shutil.rmtree(directory / str(failing))
        if next(calls) <= failing:
            assert failing > 50
            return wrong
    raise AssertionError


@pytest.mark.parametrize("kind", [apsw.FullError, apsw.IOError])
@pytest.mark.parametrize("killed", [False, True])
async def test_whichever_call_to_the_disk_fails_a_power_cut_later_takes_nothing_that_was_acknowledged(
    cache: Cache, tmp_path: Path, kind: type[apsw.Error], killed: bool
):
    assert await all_runs(cache, tmp_path, kind, killed=killed) == {}


async def test_the_control_without_writing_the_log_again_loses_what_was_acknowledged_after_a_failed_sync(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sqlite_file, "write_log_again", lambda path: None)
    wrong = await all_runs(cache, tmp_path, apsw.IOError, killed=True)
    assert any("is lost" in item for found in wrong.values() for item in found)


async def test_the_control_without_synchronisation_loses_what_was_acknowledged(cache: Cache, tmp_path: Path):
    run = Run(cache, tmp_path)
    await run.open()
    await run.store._writer.submit(lambda session: session.connection.pragma("synchronous", "OFF"), writes=False)
    await run.work(3)
    assert any("is lost" in item or "unreadable" in item for item in await run.cut_the_power())
