"""Claims about one lane at work: order, rate, throttling, the circuit breaker, the places kept for first attempts."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hookline.deliver.breaker import LONGEST_PAUSE_SECONDS, THRESHOLD
from hookline.deliver.lane import ROOM
from hookline.model import Attempt, Counts, Outcome, Verdict, WatchCommit
from hookline.outbox.sqlite import SqliteStore
from hookline.spec import RateLimit, RetryPolicy
from support.dispatching import running
from support.receiver import Answer, Receiver

STORED = 1_800_000_000.0
HOUR = 3600.0


class Clock:
    """A wall clock that the test moves. The dispatcher sleeps in real time: tell it after a move."""

    def __init__(self) -> None:
        self.now = STORED

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(tmp_path / "outbox.db", clock)
    await made.open()
    yield made
    await made.close()


def inversions(receiver: Receiver) -> int:
    """How many requests came after a later message of the same object had been accepted or tried."""
    latest: dict[str, int] = {}
    found = 0
    for request in receiver.requests:
        name, number = request.body.decode().split(":")
        found += int(number) < latest.get(name, 0)
        latest[name] = max(int(number), latest.get(name, 0))
    return found


@contextlib.asynccontextmanager
async def answering(receiver: Receiver, statuses: list[int], chance: random.Random) -> AsyncIterator[None]:
    """Answer these requests with these statuses, several open at a time, in an order that is not that of arrival."""
    holds = [asyncio.Event() for _ in statuses]
    receiver.answers(*(Answer(status, hold=hold) for status, hold in zip(statuses, holds, strict=True)))

    async def release() -> None:
        await receiver.wait_until(lambda: receiver.busy > 4)
        while True:
            waiting = [hold for hold in holds if not hold.is_set()]
            if not waiting:
                return
            chance.choice(waiting[: max(receiver.busy, 1)]).set()
            await asyncio.sleep(0.001)  # the pace of the receiver: nothing is waited for

    releasing = asyncio.create_task(release())
    try:
        yield
    finally:
        releasing.cancel()
        await asyncio.gather(releasing, return_exceptions=True)


async def deliver_many(bench, receiver, tools, *, ordered: bool) -> int:
    """300 messages of 12 objects, eight at a time, a third of the attempts refused; returns the inversions."""
    chance = random.Random(7)
    statuses = [400 if chance.random() < 0.33 else 200 for _ in range(300)]
    retry = RetryPolicy((0.0,) * 50, HOUR)
    bench.dispatcher.set_target(tools.target(receiver.url(), max_in_flight=8, ordered=ordered, retry=retry))
    async with answering(receiver, statuses, chance):
        for first in range(0, 300, 30):
            await bench.commit(
                *(
                    tools.message(n, object_uid=f"object-{n % 12}", body=f"object-{n % 12}:{n}".encode())
                    for n in range(first, first + 30)
                )
            )
        await bench.attempts.until(lambda seen: sum(a.verdict.outcome is Outcome.DELIVERED for a in seen) == 300)
    assert len(receiver.requests) > 350  # there were retries
    assert receiver.busiest > 4  # and several at a time
    return inversions(receiver)


async def test_no_message_overtakes_another_of_its_object_across_retries(tmp_path, client, receiver, tools):
    async with stored(tmp_path) as store, running(store, client) as bench:
        assert await deliver_many(bench, receiver, tools, ordered=True) == 0


async def test_the_control_without_order_some_do(tmp_path, client, receiver, tools):
    async with stored(tmp_path) as store, running(store, client) as bench:
        assert await deliver_many(bench, receiver, tools, ordered=False) > 0


@contextlib.asynccontextmanager
async def stored(directory: Path) -> AsyncIterator[SqliteStore]:
    """An outbox with the real clock."""
    made = SqliteStore(directory / "real.db")
    await made.open()
    try:
        yield made
    finally:
        await made.close()


async def test_an_object_whose_message_is_retried_holds_up_no_other_and_a_dead_one_lets_the_next_go(
    store, client, receiver, tools, clock
):
    receiver.answers(Answer(400))
    async with running(store, client, clock) as bench:
        bench.dispatcher.set_target(
            tools.target(receiver.url(), max_in_flight=1, ordered=True, retry=RetryPolicy((60.0,), HOUR))
        )
        await bench.commit(tools.message(1, object_uid="x"), tools.message(2, object_uid="x"))
        await bench.attempts.until(lambda seen: len(seen) == 1)
        await bench.commit(*(tools.message(n, object_uid="y") for n in range(3, 6)))
        await bench.attempts.until(lambda seen: len(seen) == 4)
        receiver.answers(Answer(400))
        clock.now += 70
        bench.dispatcher.notify(["sub-1"])
        await bench.attempts.until(lambda seen: len(seen) == 6)
    assert [request.id.rpartition("_")[2] for request in receiver.requests] == list("134512")
    assert bench.attempts[4].verdict.outcome is Outcome.DEAD


async def test_no_more_requests_are_made_than_the_rate_allows(store, client, receiver, tools, clock):
    async with running(store, client, clock) as bench:
        bench.dispatcher.set_target(tools.target(receiver.url(), max_in_flight=8, rate=RateLimit(10, 5)))
        await bench.commit(*(tools.message(n) for n in range(40)))
        counted = []
        for allowed in (5, 6, 7, 12, 17, 22):
            await bench.attempts.until_so_many(allowed)
            await bench.dispatcher_idle()
            counted.append(len(receiver.requests))
            clock.now += 0.1 if allowed < 7 else 60  # a token; later, a full bucket
            bench.dispatcher.notify(["sub-1"])
        assert counted == [5, 6, 7, 12, 17, 22]


async def test_the_control_without_a_rate_all_are_made_at_once(store, client, receiver, tools, clock):
    async with running(store, client, clock) as bench:
        bench.dispatcher.set_target(tools.target(receiver.url(), max_in_flight=8))
        await bench.commit(*(tools.message(n) for n in range(40)))
        await bench.attempts.until(lambda seen: len(seen) == 40)


async def test_a_rate_is_reached_without_anybody_telling(tmp_path, client, receiver, tools):
    async with stored(tmp_path) as store, running(store, client) as bench:
        bench.dispatcher.set_target(tools.target(receiver.url(), rate=RateLimit(100, 1)))
        begun = time.time()
        await bench.commit(*(tools.message(n) for n in range(30)))
        await bench.attempts.until(lambda seen: len(seen) == 30)
        assert max(attempt.started for attempt in bench.attempts) >= begun + 0.29


@pytest.mark.parametrize("status", [429, 503])
async def test_a_retry_after_holds_back_everything_to_that_endpoint(store, client, receiver, tools, clock, status):
    receiver.answers(Answer(status, {"Retry-After": "120"}))
    async with running(store, client, clock) as bench:
        bench.dispatcher.set_target(tools.target(receiver.url(), max_in_flight=1))
        bench.dispatcher.set_target(tools.target(receiver.url("/other"), subscription="other"))
        await bench.commit(*(tools.message(n) for n in range(10)))
        await bench.attempts.until(lambda seen: len(seen) == 1)
        clock.now += 119
        await bench.commit(tools.message(10), tools.message(1, "other"))
        await bench.attempts.until(lambda seen: len(seen) == 2)
        await bench.dispatcher_idle()
        assert [request.target for request in receiver.requests] == ["/", "/other"]
        clock.now += 2
        bench.dispatcher.notify(["sub-1"])
        await receiver.wait_for(11)
        assert {attempt.claimed.attempts for attempt in bench.attempts[1:]} <= {0, 1}


async def test_another_chance_ends_the_patience_that_a_retry_after_asked_for(store, client, receiver, tools, clock):
    receiver.answers(Answer(503, {"Retry-After": "120"}))
    async with running(store, client, clock) as bench:
        bench.dispatcher.set_target(tools.target(receiver.url(), max_in_flight=1))
        await bench.commit(*(tools.message(n) for n in range(3)))
        await bench.attempts.until(lambda seen: len(seen) == 1)
        await bench.dispatcher_idle()
        assert len(receiver.requests) == 1, "the control: it is held back"
        bench.dispatcher.reset("sub-1")
        await bench.commit(tools.message(3))
        await bench.attempts.until(lambda seen: len(seen) == 4)
        assert await bench.counts() == Counts(pending=1, delivered=3)


async def test_another_chance_closes_the_circuit_breaker(store, client, receiver, tools, clock):
    receiver.answer(503)
    async with running(store, client, clock) as bench:
        bench.dispatcher.set_target(tools.target(receiver.url(), retry=RetryPolicy((HOUR,) * 9, 1e9)))
        await bench.commit(*(tools.message(n) for n in range(THRESHOLD + 9)))
        await bench.attempts.until(lambda _: bench.breakers == [True])
        receiver.answer(200)
        await bench.dispatcher_idle()
        bench.dispatcher.reset("sub-1")
        await bench.commit(tools.message(100))
        await bench.attempts.until(lambda seen: seen[-1].claimed.message.sequence == 100)
        assert bench.attempts[-1].verdict.outcome is Outcome.DELIVERED
        assert bench.breakers == [True, False]


async def test_with_its_target_goes_what_was_told_of_the_circuit_breaker(store, client, receiver, tools, clock):
    receiver.answer(503)
    async with running(store, client, clock) as bench:
        bench.dispatcher.set_target(tools.target(receiver.url(), retry=RetryPolicy((HOUR,) * 9, 1e9)))
        await bench.commit(*(tools.message(n) for n in range(THRESHOLD + 9)))
        await bench.attempts.until(lambda _: bench.breakers == [True])
        bench.dispatcher.drop_target("sub-1")
        assert bench.breakers == [True, False]


async def test_the_control_without_retry_after_the_others_go_on(store, client, receiver, tools, clock):
    receiver.answers(Answer(503))
    async with running(store, client, clock) as bench:
        bench.dispatcher.set_target(tools.target(receiver.url(), max_in_flight=1, retry=RetryPolicy((120.0,), HOUR)))
        await bench.commit(*(tools.message(n) for n in range(10)))
        await bench.attempts.until(lambda seen: len(seen) == 10)


async def test_after_ten_failures_only_probes_arrive_until_one_succeeds(store, client, receiver, tools, clock):
    receiver.answer(503)
    async with running(store, client, clock) as bench:
        bench.dispatcher.set_target(tools.target(receiver.url(), max_in_flight=4, retry=RetryPolicy((HOUR,) * 9, 1e9)))
        await bench.commit(*(tools.message(n) for n in range(200)))
        await bench.attempts.until(lambda _: bench.breakers == [True])
        assert bench.dispatcher.breakers_open == 1
        await bench.dispatcher_idle()
        before = len(receiver.requests)
        assert THRESHOLD <= before < THRESHOLD + 4  # those under way when it opened
        for probe in range(1, 6):
            receiver.busiest = 0
            clock.now += LONGEST_PAUSE_SECONDS
            bench.dispatcher.notify(["sub-1"])
            await receiver.wait_for(before + probe)
            await bench.dispatcher_idle()
            assert len(receiver.requests) == before + probe
            assert receiver.busiest == 1
        # Nobody else was tried: no attempt is counted for what stayed in the outbox.
        assert len(bench.attempts) == before + 5
        assert await bench.counts() == Counts(pending=200)
        receiver.answer(200)
        clock.now += LONGEST_PAUSE_SECONDS
        bench.dispatcher.notify(["sub-1"])
        await bench.attempts.until(lambda seen: sum(a.verdict.outcome is Outcome.DELIVERED for a in seen) >= 180)
        assert bench.breakers == [True, False]
        assert bench.dispatcher.breakers_open == 0


async def test_the_control_refusals_of_single_messages_open_no_breaker(store, client, receiver, tools, clock):
    receiver.answer(400)
    async with running(store, client, clock) as bench:
        bench.dispatcher.set_target(tools.target(receiver.url(), retry=RetryPolicy((HOUR,) * 9, 1e9)))
        await bench.commit(*(tools.message(n) for n in range(200)))
        await bench.attempts.until(lambda seen: len(seen) == 200)
        assert bench.breakers == []


async def test_a_probe_is_made_in_time_without_anybody_telling(tmp_path, client, receiver, tools):
    receiver.answers(*(Answer(503) for _ in range(THRESHOLD)))
    async with stored(tmp_path) as store, running(store, client) as bench:
        bench.dispatcher.set_target(tools.target(receiver.url(), max_in_flight=1, retry=RetryPolicy((HOUR,) * 9, 1e9)))
        await bench.commit(*(tools.message(n) for n in range(20)))
        await bench.attempts.until(lambda seen: sum(a.verdict.outcome is Outcome.DELIVERED for a in seen) == 10)
        assert bench.breakers == [True, False]


async def test_a_broken_endpoint_that_is_corrected_gets_everything_at_once(store, client, receiver, tools, clock):
    receiver.answer(503)
    retry = RetryPolicy((0.0,) * 20, 1e9)
    async with running(store, client, clock) as bench:
        bench.dispatcher.set_target(tools.target(receiver.url(), retry=retry))
        await bench.commit(*(tools.message(n) for n in range(20)))
        await bench.attempts.until(lambda _: bench.breakers == [True])
        receiver.answer(200)
        bench.dispatcher.set_target(tools.target(receiver.url("/corrected"), retry=retry))
        await bench.attempts.until(lambda seen: sum(a.verdict.outcome is Outcome.DELIVERED for a in seen) == 20)
        assert bench.breakers == [True, False]


async def backlog_of_retries(store, tools, count: int) -> None:
    await store.commit(WatchCommit("scope", [tools.message(n) for n in range(count)]))
    claims = await store.claim({"sub-1": count}, STORED)
    failed = Verdict(Outcome.RETRY, "HTTP500", 500, STORED)
    await store.record([Attempt(claimed, failed, STORED, 0.1) for claimed in claims])


async def test_a_new_message_goes_at_once_though_retries_occupy_the_lane(store, client, receiver, tools, clock):
    await backlog_of_retries(store, tools, 100)
    hold = asyncio.Event()
    receiver.answer_with(Answer(hold=hold))
    async with running(store, client, clock) as bench:
        bench.dispatcher.set_target(tools.target(receiver.url(), max_in_flight=4))
        await receiver.wait_until(lambda: receiver.busy == 3)
        await bench.dispatcher_idle()
        assert receiver.busy == 3
        await bench.commit(tools.message(1000))
        await receiver.wait_until(lambda: "msg_sub-1_1000" in {request.id for request in receiver.requests})
        assert len(receiver.requests) == 4
        hold.set()
        await bench.attempts.until(lambda seen: len(seen) == 101)


async def test_the_control_new_messages_take_every_place(store, client, receiver, tools, clock):
    await store.commit(WatchCommit("scope", [tools.message(n) for n in range(100)]))
    hold = asyncio.Event()
    receiver.answer_with(Answer(hold=hold))
    async with running(store, client, clock) as bench:
        bench.dispatcher.set_target(tools.target(receiver.url(), max_in_flight=4))
        await receiver.wait_until(lambda: receiver.busy == 4)
        hold.set()
        await bench.attempts.until(lambda seen: len(seen) == 100)


async def test_a_lane_holds_a_bounded_number_of_bytes(store, client, receiver, tools, clock):
    size = ROOM // 4
    await store.commit(WatchCommit("scope", [tools.message(n, body=bytes(size)) for n in range(12)]))
    hold = asyncio.Event()
    receiver.answer_with(Answer(hold=hold))
    async with running(store, client, clock) as bench:
        bench.dispatcher.set_target(tools.target(receiver.url(), max_in_flight=16))
        await receiver.wait_until(lambda: receiver.busy == 4)
        await bench.dispatcher_idle()
        assert receiver.busy == 4
        left = await store.claim({"sub-1": 99}, STORED)
        assert len(left) == 8
        await store.release([claimed.row for claimed in left])
        hold.set()
        await bench.attempts.until(lambda seen: len(seen) == 12)
