"""What a namespace takes of the operator while its endpoints never answer, and that another's go on. No network."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from hookline.deliver import lane as lane_module
from hookline.deliver import share
from hookline.deliver.lane import Lane
from hookline.deliver.share import Share, Shares
from hookline.deliver.verdict import Response
from hookline.deliver.worker import Dispatcher
from hookline.model import Message, Target, WatchCommit
from hookline.outbox.sqlite import SqliteStore
from support.dispatching import JUDGE, Attempts
from support.sending import message, target

KIB = 1024
LANES = 40


class Sender:
    """Answers for one namespace at once, for the other when it is ``open``; counts what is under way."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.bytes: Counter[str] = Counter()
        self.busy: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self._changed = asyncio.Event()

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not reached():
                self._changed.clear()
                await self._changed.wait()

    async def send(self, target: Target, message: Message, timestamp: int, headers: object) -> Response:
        namespace = target.namespace
        self.busy[namespace] += 1
        self.bytes[namespace] += len(message.body)
        self.most[namespace] = max(self.most[namespace], self.bytes[namespace])
        self._changed.set()
        try:
            if namespace == "hung":
                await self.open.wait()
        finally:
            self.busy[namespace] -= 1
            self.bytes[namespace] -= len(message.body)
        return Response(200)

    def forget(self, subscription: str) -> None:
        pass


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "outbox.db")
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(share, "NAMESPACE_BYTES", 200 * KIB)
    for module in (share, lane_module):
        monkeypatch.setattr(module, "PIECE", 20 * KIB)


def lane(namespace: str, number: int) -> Target:
    uid = f"{namespace}-{number}"
    return target("https://a.example/", namespace=namespace, subscription=uid, max_in_flight=8)


async def backlog(store: SqliteStore, namespace: str, size: int, each: int = 5) -> None:
    await store.commit(
        WatchCommit(
            "scope",
            [
                message(n, subscription=f"{namespace}-{number}", body=bytes(size))
                for number in range(LANES)
                for n in range(each)
            ],
        )
    )


async def test_a_namespace_whose_endpoints_never_answer_holds_its_share_and_no_more_and_nothing_is_lost(store, small):
    await backlog(store, "hung", 10 * KIB)
    await backlog(store, "well", 10 * KIB)
    sender, attempts = Sender(), Attempts()
    dispatcher = Dispatcher(store, sender, JUDGE, attempts, time.time)
    running = asyncio.create_task(dispatcher.run())
    for number in range(LANES):
        dispatcher.set_target(lane("hung", number))
    await sender.until(lambda: sender.bytes["hung"] >= 180 * KIB)
    for number in range(LANES):
        dispatcher.set_target(lane("well", number))
    await attempts.until(lambda seen: len(seen) == LANES * 5)
    assert sender.most["hung"] <= 200 * KIB, "of the 2,000 KiB that wait"
    sender.open.set()
    await attempts.until(lambda seen: len(seen) == 2 * LANES * 5)
    await dispatcher.stop(0)
    await running


async def test_the_control_with_room_for_all_it_holds_all(store):
    await backlog(store, "hung", 10 * KIB)
    sender, attempts = Sender(), Attempts()
    dispatcher = Dispatcher(store, sender, JUDGE, attempts, time.time)
    running = asyncio.create_task(dispatcher.run())
    for number in range(LANES):
        dispatcher.set_target(lane("hung", number))
    await sender.until(lambda: sender.bytes["hung"] == LANES * 50 * KIB)
    await dispatcher.stop(0)
    await running


@pytest.mark.parametrize(("crowd", "most", "busy"), [(10, 25, 25), (10, 1000, LANES), (1000, 1000, LANES * 5)])
async def test_in_a_crowd_each_lane_makes_one_attempt_at_a_time_and_beyond_it_they_take_turns(
    store, monkeypatch, crowd, most, busy
):
    monkeypatch.setattr(share, "CROWD", crowd)
    monkeypatch.setattr(share, "ATTEMPTS", most)
    await backlog(store, "hung", 1)
    sender, attempts = Sender(), Attempts()
    dispatcher = Dispatcher(store, sender, JUDGE, attempts, time.time)
    for number in range(LANES):
        dispatcher.set_target(lane("hung", number))
    running = asyncio.create_task(dispatcher.run())
    await sender.until(lambda: sender.busy["hung"] >= min(busy, LANES))
    for _ in range(3):  # nothing more comes
        await store.counts()
    assert busy <= sender.busy["hung"] <= busy + crowd
    sender.open.set()
    await attempts.until(lambda seen: len(seen) == LANES * 5)
    await dispatcher.stop(0)
    await running


def test_all_namespaces_together_hold_a_bounded_number_of_bytes_and_each_may_have_a_floor():
    shares = Shares()
    kept = [shares.of(f"n{number}") for number in range(6)]
    for one in kept[:4]:
        one.hold(share.NAMESPACE_BYTES)
    assert shares.held == share.ALL_BYTES
    assert [one.room for one in kept] == [0, 0, 0, 0, share.FLOOR_BYTES, share.FLOOR_BYTES]
    kept[0].hold(-share.NAMESPACE_BYTES)
    assert kept[5].room == share.NAMESPACE_BYTES


def test_what_a_round_has_promised_is_not_promised_twice():
    one = Share()
    lanes = [Lane(lane("busy", number), one) for number in range(1000)]
    promised = sum(one.reserve(each) for each in lanes)
    assert promised == share.NAMESPACE_BYTES // share.PIECE
    assert not one.feeds
    one.reserved = 0
    assert len(one.fed()) == 1000 - promised


def test_all_namespaces_together_make_a_bounded_number_of_attempts_and_each_may_have_a_floor():
    shares = Shares()
    kept = [shares.of(f"n{number}") for number in range(4)]
    for one in kept[:2]:
        one.begin(share.ATTEMPTS)
    assert [one.places for one in kept] == [0, 0, share.FLOOR_ATTEMPTS, share.FLOOR_ATTEMPTS]
    kept[0].begin(-share.ATTEMPTS)
    assert kept[3].places == share.ATTEMPTS


def test_of_those_that_wait_for_a_place_as_many_may_try_as_there_are_places_the_longest_first():
    one = Share()
    lanes = [Lane(lane("busy", number), one) for number in range(5)]
    one.begin(share.ATTEMPTS)
    for each in lanes:
        one.block(each)
    assert (one.feeds, one.fed()) == (False, set())
    one.begin(-2)
    assert one.feeds
    assert one.fed() == set(lanes[:2])
