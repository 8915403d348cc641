"""A running dispatcher for tests: a real outbox file, a real client, and every attempt that it tells of."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
import time
from collections.abc import AsyncIterator, Callable
from functools import partial

from hookline.deliver.attempt import Judge, Sender
from hookline.deliver.verdict import judge
from hookline.deliver.worker import Dispatcher
from hookline.model import Attempt, Counts, Message, WatchCommit
from hookline.outbox.schedule import next_attempt
from hookline.outbox.sqlite import SqliteStore

JUDGE = partial(judge, rand=random.random, next_attempt=next_attempt)


class Attempts(list[Attempt]):
    """What ``on_attempt`` was told; ``until`` waits for something about it."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = asyncio.Event()

    def __call__(self, attempt: Attempt) -> None:
        self.append(attempt)
        self._changed.set()

    async def until(self, condition: Callable[[Attempts], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()

    async def until_so_many(self, number: int) -> None:
        await self.until(lambda seen: len(seen) >= number)


@dataclasses.dataclass
class Bench:
    """A running dispatcher and what belongs to it; ``breakers`` has what it told of them."""

    store: SqliteStore
    client: Sender
    attempts: Attempts
    dispatcher: Dispatcher
    run: asyncio.Task[None]
    breakers: list[bool]

    async def commit(self, *messages: Message) -> None:
        await self.store.commit(WatchCommit("scope", messages))
        self.dispatcher.notify({message.subscription for message in messages})

    async def dispatcher_idle(self) -> None:
        """Wait until the dispatcher has done what it can do now: several turns of its loop, and of the outbox's."""
        for _ in range(20):
            await self.store.counts()
            await asyncio.sleep(0.005)  # nothing tells that nothing more comes

    async def stop(self, grace: float = 5.0) -> None:
        await self.dispatcher.stop(grace)
        async with asyncio.timeout(10):
            await self.run

    async def counts(self, subscription: str = "sub-1") -> Counts:
        return (await self.store.counts())[subscription]


@contextlib.asynccontextmanager
async def running(
    store: SqliteStore, client: Sender, clock: Callable[[], float] = time.time, judged: Judge = JUDGE
) -> AsyncIterator[Bench]:
    attempts = Attempts()
    breakers: list[bool] = []
    dispatcher = Dispatcher(store, client, judged, attempts, clock, lambda _, is_open: breakers.append(is_open))
    made = Bench(store, client, attempts, dispatcher, asyncio.create_task(dispatcher.run()), breakers)
    try:
        yield made
    finally:
        await made.stop(0)
