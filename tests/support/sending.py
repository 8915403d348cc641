"""The deliver room in the test's own process: targets, messages, and a dispatcher on a real outbox file.

async with line(store, client) as (dispatcher, attempts): …
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

from hookline import keys
from hookline.deliver.client import Client
from hookline.deliver.guard import AddressPolicy
from hookline.deliver.verdict import judge
from hookline.deliver.worker import Dispatcher
from hookline.model import Attempt, Message, SigningKeys, Target
from hookline.outbox.schedule import next_attempt
from hookline.outbox.sqlite import SqliteStore
from hookline.spec import RetryPolicy

LOOPBACK = AddressPolicy.parse(allowed_cidrs=["127.0.0.0/8"])
_KEYS = SigningKeys((keys.new_hmac(),), (keys.new_ed25519(),))


def target(url: str, subscription: str = "sub", **changes: Any) -> Target:
    """A target with sensible values; ``changes`` are fields of ``Target``."""
    fields: dict[str, Any] = {
        "subscription": subscription,
        "namespace": "shop",
        "name": subscription,
        "url": url,
        "headers": (),
        "keys": _KEYS,
        "schemes": ("v1",),
        "timeout": 15.0,
        "retry": RetryPolicy((60.0,) * 9, 86_400.0),
        "max_in_flight": 8,
    }
    return Target(**{**fields, **changes})


def message(number: int, subscription: str = "sub", body: bytes = b"{}") -> Message:
    """The n-th message of a subscription, about an object of its own."""
    return Message(
        id=f"msg_{subscription}_{number}",
        subscription=subscription,
        sequence=number,
        object_uid=f"object-{number}",
        event_type="test",
        headers=(("content-type", "application/json"),),
        body=body,
        observed=time.time(),
    )


class Attempts(list[Attempt]):
    """What ``on_attempt`` was told; ``until`` waits for something about it."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = asyncio.Event()

    def __call__(self, attempt: Attempt) -> None:
        self.append(attempt)
        self._changed.set()

    async def until(self, condition: Callable[[Attempts], bool], seconds: float = 60) -> None:
        async with asyncio.timeout(seconds):
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()


async def until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Wait until something holds that no event stands for."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 (as said)
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def line(
    store: SqliteStore,
    client: Client,
    *,
    clock: Callable[[], float] = time.time,
    rand: Callable[[], float] = random.random,
) -> AsyncIterator[tuple[Dispatcher, Attempts]]:
    """A running dispatcher, and the attempts that it recorded; stopped at the end without grace."""
    attempts = Attempts()
    dispatcher = Dispatcher(store, client, partial(judge, rand=rand, next_attempt=next_attempt), attempts, clock)
    running = asyncio.create_task(dispatcher.run())
    try:
        yield dispatcher, attempts
    finally:
        await dispatcher.stop(0)
        await running
