"""What a namespace takes of the operator while its endpoints never answer, and that another's go on. No network."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from hookline.deliver import lane as lane_module
from hookline.deliver import share
from hookline.deliver.lane import Lane
from hookline.deliver.share import Share, Shares
from hookline.deliver.verdict import Response
from hookline.model import Claimed, Message, Target, WatchCommit
from hookline.outbox.sqlite import SqliteStore
from support.dispatching import Bench, running
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
            await (self.open.wait() if namespace == "hung" else asyncio.sleep(0))
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


def begin(bench: Bench, namespace: str) -> None:
    """Give all lanes of a namespace their targets."""
    for number in range(LANES):
        bench.dispatcher.set_target(lane(namespace, number))


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
    sender = Sender()
    async with running(store, sender) as bench:
        begin(bench, "hung")
        await sender.until(lambda: sender.bytes["hung"] >= 180 * KIB)
        begin(bench, "well")
        await bench.attempts.until(lambda seen: len(seen) == LANES * 5)
        assert sender.most["hung"] <= 200 * KIB, "of the 2,000 KiB that wait"
        sender.open.set()
        await bench.attempts.until(lambda seen: len(seen) == 2 * LANES * 5)


async def test_the_control_with_room_for_all_it_holds_all(store):
    await backlog(store, "hung", 10 * KIB)
    sender = Sender()
    async with running(store, sender) as bench:
        begin(bench, "hung")
        await sender.until(lambda: sender.bytes["hung"] == LANES * 50 * KIB)


@pytest.mark.parametrize(("crowd", "most", "busy"), [(10, 25, 25), (10, 1000, LANES), (1000, 1000, LANES * 5)])
async def test_in_a_crowd_each_lane_makes_one_attempt_at_a_time_and_beyond_it_they_take_turns(
    store, monkeypatch, crowd, most, busy
):
    monkeypatch.setattr(share, "CROWD", crowd)
    monkeypatch.setattr(share, "ATTEMPTS", most)
    await backlog(store, "hung", 1)
    sender = Sender()
    async with running(store, sender) as bench:
        begin(bench, "hung")
        await sender.until(lambda: sender.busy["hung"] >= min(busy, LANES))
        await bench.dispatcher_idle()
        assert busy <= sender.busy["hung"] <= busy + crowd
        sender.open.set()
        await bench.attempts.until(lambda seen: len(seen) == LANES * 5)


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
    shares = Shares()
    one = shares.of("busy")
    lanes = [Lane(lane("busy", number), one) for number in range(1000)]
    promised = sum(one.reserve(each) for each in lanes)
    assert promised == share.NAMESPACE_BYTES // share.PIECE
    assert not one.feeds
    shares.settle()
    assert one.fed() == lanes[promised : 2 * promised], "who waited longest, and as many as there is room for"


def test_all_namespaces_together_make_a_bounded_number_of_attempts_and_each_may_have_a_floor():
    shares = Shares()
    kept = [shares.of(f"n{number}") for number in range(4)]
    anybody = Lane(lane("busy", 0))
    for one in kept[:2]:
        for _ in range(share.ATTEMPTS):
            one.begin(anybody)
    assert [one.places for one in kept] == [0, 0, share.FLOOR_ATTEMPTS, share.FLOOR_ATTEMPTS]
    for _ in range(share.ATTEMPTS):
        kept[0].end()
    assert kept[3].places == share.ATTEMPTS


def waiting(one: Share, count: int) -> list[Lane]:
    """So many lanes, each with a message and without a place."""
    lanes = [Lane(lane("busy", number), one) for number in range(count)]
    for _ in range(one.places):
        one.begin(Lane(lane("busy", 99)))
    for number, each in enumerate(lanes):
        each.accept([Claimed(number, message(number), 0, 1.0)], 1.0)
        one.block(each)
    return lanes


def test_of_those_that_wait_for_a_place_as_many_may_try_as_there_are_places_the_longest_first():
    one = Share()
    lanes = waiting(one, 5)
    assert (one.feeds, one.fed()) == (False, [])
    one.end()
    one.end()
    assert one.feeds
    assert one.fed() == lanes[:2]
    assert (one.feeds, one.fed()) == (False, []), "the two have not begun yet"
    assert [one.places_for(each) for each in lanes] == [1, 1, 0, 0, 0]


def test_a_turn_that_is_not_used_goes_to_the_next_and_who_has_nothing_to_send_has_none():
    one = Share()
    lanes = waiting(one, 4)
    lanes[1].close()
    one.end()
    assert one.fed() == lanes[:1]
    one.renounce(lanes[0])
    assert one.fed() == lanes[2:3]


async def test_lanes_that_never_run_dry_take_turns_for_the_places_of_their_namespace(store, monkeypatch):
    monkeypatch.setattr(share, "ATTEMPTS", 4)
    monkeypatch.setattr(share, "CROWD", 2)
    await backlog(store, "well", 1, each=100)
    async with running(store, Sender()) as bench:
        begin(bench, "well")
        await bench.attempts.until(lambda seen: len(seen) >= LANES * 10)
        sent = Counter(attempt.claimed.message.subscription for attempt in bench.attempts[: LANES * 10])
        assert len(sent) == LANES, "each had its turn"
        assert max(sent.values()) <= 30
        await bench.attempts.until(lambda seen: len(seen) == LANES * 100)


def test_a_round_of_many_namespaces_promises_no_more_than_there_is_for_all():
    shares = Shares()
    lanes = [Lane(lane(f"n{number}", number), shares.of(f"n{number}")) for number in range(100) for _ in range(20)]
    promised = sum(one.share.reserve(one) for one in lanes) * share.PIECE
    assert promised <= share.ALL_BYTES + 100 * share.FLOOR_BYTES
    shares.settle()
    fed = shares.fed()
    assert len(fed) == len(set(fed))


def test_bodies_of_attempts_under_way_are_counted_until_they_end_though_the_lane_is_gone():
    one = Share()
    gone = Lane(lane("busy", 1), one)
    before = one.room
    gone.accept([Claimed(number, message(number, body=bytes(100)), 0, 1.0) for number in range(3)], 1.0)
    taken = gone.take(1.0)
    assert taken is not None
    assert sorted(gone.close()) == [1, 2]
    assert one.room == before - 100
    gone.ended(taken)
    assert one.room == before
