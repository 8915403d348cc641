"""Each message is looked at by what it rests on itself, right before it would be sent."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hookline.deliver import attempt as attempts
from hookline.deliver.verdict import Response
from hookline.deliver.worker import Dispatcher
from hookline.model import Counts, Message, Outcome, Standing, Target, WatchCommit
from hookline.outbox.sqlite import SqliteStore
from support.dispatching import JUDGE, Attempts
from support.sending import message, target


class Sender:
    def __init__(self) -> None:
        self.sent: list[int] = []

    async def send(self, target: Target, message: Message, timestamp: int, headers: object) -> Response:
        self.sent.append(message.sequence)
        return Response(200)

    def forget(self, subscription: str) -> None:
        pass


@pytest.mark.parametrize("ordered", [False, True])
async def test_a_message_without_its_right_is_given_up_without_a_request_and_holds_nobody(tmp_path: Path, ordered):
    store, sender, seen = SqliteStore(tmp_path / "outbox.db"), Sender(), Attempts()
    await store.open()
    await store.commit(WatchCommit("scope", [replace(message(number), object_uid="one") for number in range(20)]))
    dispatcher = Dispatcher(
        store, sender, JUDGE, seen, time.time,
        standing=lambda one: Standing.DENIED if one.sequence % 2 else Standing.GOOD,
    )  # fmt: skip
    running = asyncio.create_task(dispatcher.run())
    dispatcher.set_target(target("https://receiver.example/", ordered=ordered))
    await seen.until(lambda ended: len(ended) == 20)
    assert sorted(sender.sent) == list(range(0, 20, 2)), "the control: the others are sent"
    given_up = [one for one in seen if one.claimed.message.sequence % 2]
    assert {(one.verdict.outcome, one.verdict.reason, one.made) for one in given_up} == {
        (Outcome.DEAD, "AccessDenied", False)
    }
    assert not any(one.current for one in given_up), "they say nothing of the endpoint"
    assert await store.counts() == {"sub": Counts(delivered=10, dead=10)}
    await dispatcher.stop(0)
    await running
    await store.close()


async def test_a_message_of_which_that_is_not_known_waits_untried_and_is_sent_when_it_is(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(attempts, "_UNKNOWN_RETRY_SECONDS", 0.05)
    store, sender, seen, known = SqliteStore(tmp_path / "outbox.db"), Sender(), Attempts(), list[Standing]()
    await store.open()
    await store.commit(WatchCommit("scope", [message(1)]))
    dispatcher = Dispatcher(
        store, sender, JUDGE, seen, time.time, standing=lambda _: known[0] if known else Standing.UNKNOWN
    )
    running = asyncio.create_task(dispatcher.run())
    dispatcher.set_target(target("https://receiver.example/"))
    await seen.until(lambda ended: len(ended) == 2)
    assert sender.sent == []
    known.append(Standing.GOOD)
    await seen.until(lambda ended: ended[-1].verdict.outcome is Outcome.DELIVERED)
    assert seen[-1].claimed.attempts == 0, "it was never tried before"
    await dispatcher.stop(0)
    await running
    await store.close()
