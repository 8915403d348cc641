"""Group commit: one thread owns the outbox file and runs many calls in one transaction, with one fsync.

In: functions on a ``Session``, from the event loop. Out: their results, as futures of that loop, after the commit that
holds what they did or could have seen. ``sqlite`` is the store that submits them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

import apsw

from hookline.errors import StoreError
from hookline.outbox.sealing import Sealing
from hookline.outbox.sqlite_browse import Browser
from hookline.outbox.sqlite_fence import Fence
from hookline.outbox.sqlite_file import Database, store_error
from hookline.outbox.sqlite_marks import Marks
from hookline.outbox.sqlite_messages import Messages
from hookline.outbox.sqlite_replays import Replays
from hookline.outbox.sqlite_retention import Keeper

T = TypeVar("T")

MAX_BATCH = 256
"""Calls in one transaction: bounds how long the first of them waits for the last."""
_SEALED_AT_ONCE = 1000


class Session:
    """What a submitted function works on. Only the writer's thread touches it."""

    def __init__(self, path: Path, clock: Callable[[], float], sealing: Sealing) -> None:
        self.path = path
        self.database = Database(path)
        self.connection = self.database.connection
        self.messages = Messages(self.connection, clock, sealing)
        self.marks = Marks(self.connection, sealing)
        self.replays = Replays(self.connection, clock)
        self.browser = Browser(self.connection, self.messages.claims, sealing)
        self.keeper = Keeper(self.connection)
        self.fence = Fence(self.connection)
        try:
            self._unlock(sealing)
        except BaseException:
            self.database.close()
            raise

    def _unlock(self, sealing: Sealing) -> None:
        """Make sure that all keys are there, and have the first one seal what others did. Raises StoreKeyMissing."""
        sealing.check(self.marks.keys())
        while sealing.current is not None and self.marks.sealed_otherwise():
            with self.connection:
                self.marks.seal_again(_SEALED_AT_ONCE)

    def settle(self, *, kept: bool) -> None:
        """The transaction ended: bring the memory of claims and of the epoch in line with what is stored."""
        self.messages.claims.settle(kept=kept)
        self.fence.settle(kept=kept)


class _Job(NamedTuple):
    work: Callable[[Session], Any]
    writes: bool
    fenced: bool
    future: asyncio.Future[Any]


class _Outcome(NamedTuple):
    future: asyncio.Future[Any]
    result: Any
    error: StoreError | None


class Writer:
    """The thread. Made and used on one event loop, the one that runs when it is made."""

    def __init__(self, path: Path, clock: Callable[[], float], sealing: Sealing) -> None:
        self._path = path
        self._clock = clock
        self._sealing = sealing
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self.accepting = True
        # A daemon, since nothing durable depends on its end: a process that crashed must not wait for it.
        self._thread = threading.Thread(target=self._main, name="outbox", daemon=True)

    async def start(self) -> None:
        """Open the file in the thread. Raises StoreError, StoreVersionError."""
        self._thread.start()
        try:
            await self._opened
        except asyncio.CancelledError:
            self._jobs.put(None)
            raise

    def submit(self, work: Callable[[Session], T], *, writes: bool, fenced: bool = True) -> asyncio.Future[T]:
        """Queue a call; ``writes`` says that it changes tables, which fails with Fenced if another process took over.

        Only the call that takes over goes without that (``fenced=False``). Raises StoreError after ``stop``.
        """
        if not self.accepting:
            raise StoreError(f"outbox {self._path}: closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put(_Job(work, writes, fenced and writes, future))
        return future

    async def stop(self) -> None:
        """Run what is queued, close the file, end the thread."""
        if self.accepting:
            self.accepting = False
            self._jobs.put(None)
        await asyncio.shield(self._closed)
        self._thread.join()

    def _main(self) -> None:
        """The thread's life."""
        try:
            session = Session(self._path, self._clock, self._sealing)
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to the caller of open, who waits for it
            self._resolve([_Outcome(self._opened, None, store_error(self._path, error))])
            return
        self._resolve([_Outcome(self._opened, None, None)])
        while batch := self._next_batch():
            self._resolve(_run(session, batch))
        # Closing moves the log into the file. Where that fails nothing is lost: the next open reads the log.
        with suppress(apsw.Error):
            session.database.close()
        self._resolve([_Outcome(self._closed, None, None)])

    def _next_batch(self) -> list[_Job]:
        """Wait for a call and take along what else is queued, in order; empty at the end."""
        batch: list[_Job] = []
        job = self._jobs.get()
        with suppress(Empty):
            while job is not None:
                batch.append(job)
                if len(batch) == MAX_BATCH:
                    return batch
                job = self._jobs.get_nowait()
            if batch:
                self._jobs.put(None)  # nothing is queued behind the end: see it again after this batch
        return batch

    def _resolve(self, outcomes: Sequence[_Outcome]) -> None:
        """Wake the callers, all with one call to the loop; a loop that is closed has none left."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(_settle, outcomes)


def _settle(outcomes: Sequence[_Outcome]) -> None:
    for future, result, error in outcomes:
        if future.done():  # its caller was cancelled
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


def _run(session: Session, batch: Sequence[_Job]) -> list[_Outcome]:
    """Run calls in one transaction; when it can't be committed, all of them fail and nothing of them is kept.

    A failed write or fsync of the log does not poison the connection: SQLite advances the end of the log only after
    the fsync, so the next transaction writes the same pages of the log again. (docs/decisions/0008)
    """
    connection = session.connection
    writing = any(job.writes for job in batch)
    try:
        if writing:
            connection.execute("BEGIN IMMEDIATE")
        outcomes = [_run_one(session, job, writing=writing) for job in batch]
        if writing:
            connection.execute("COMMIT")
    except Exception as error:  # noqa: BLE001 - the callers wait: whatever it is belongs to them, not to the thread
        with suppress(apsw.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        session.settle(kept=False)
        return [_Outcome(job.future, None, store_error(session.path, error)) for job in batch]
    session.settle(kept=True)
    return outcomes


def _run_one(session: Session, job: _Job, *, writing: bool) -> _Outcome:
    """Run one call; its failure undoes nothing but its own, unless SQLite had to give up the whole transaction."""
    connection = session.connection
    if job.writes:
        connection.execute("SAVEPOINT job")
    try:
        if job.fenced:
            session.fence.check()
        result, failure = job.work(session), None
    except Exception as error:
        if writing and not connection.in_transaction:
            raise
        if job.writes:
            connection.execute("ROLLBACK TO job")
        result, failure = None, store_error(session.path, error)
    if job.writes:
        connection.execute("RELEASE job")
    return _Outcome(job.future, result, failure)
