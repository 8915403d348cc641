"""What was claimed and may not be sent for a while is sent afterwards, though nobody says that it may again."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from hookline.deliver import worker
from hookline.deliver.verdict import Response
from hookline.deliver.worker import Dispatcher
from hookline.model import Message, Target, WatchCommit
from hookline.outbox.sqlite import SqliteStore
from support.dispatching import JUDGE, Attempts
from support.sending import message, target


class Gate:
    """Answers when it is open."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.open = asyncio.Event()

    async def send(self, target: Target, message: Message, timestamp: int, headers: object) -> Response:
        self.asked.set()
        await self.open.wait()
        return Response(200)

    def forget(self, subscription: str) -> None:
        pass


async def test_a_claimed_message_whose_permission_came_back_unnoticed_waits_no_longer_than_a_sweep(
    tmp_path: Path, monkeypatch
):
    monkeypatch.setattr(worker, "SWEEP_SECONDS", 0.1)
    monkeypatch.setattr(worker, "REFRESH_SECONDS", 0.1)
    store, gate, attempts, allowed = SqliteStore(tmp_path / "outbox.db"), Gate(), Attempts(), {"sub"}
    await store.open()
    dispatcher = Dispatcher(store, gate, JUDGE, attempts, time.time, may_send=lambda uid, _: uid in allowed)
    running = asyncio.create_task(dispatcher.run())
    await store.commit(WatchCommit("scope", [message(number) for number in range(2)]))
    dispatcher.set_target(target("https://receiver.example/", max_in_flight=1))
    async with asyncio.timeout(30):
        await gate.asked.wait()
    allowed.clear()
    gate.open.set()
    await attempts.until(lambda seen: len(seen) == 1)
    assert await store.next_due() == {}, "the lane holds the other: the outbox does not tell of it"
    allowed.add("sub")
    await attempts.until(lambda seen: len(seen) == 2)
    await dispatcher.stop(0)
    await running
    await store.close()
