"""Claims about the dispatcher: real outbox file, real client, real TLS receivers."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from hookline.deliver.client import Client
from hookline.deliver.dial import tls_context
from hookline.deliver.guard import AddressPolicy
from hookline.deliver.worker import Dispatcher
from hookline.errors import StoreError
from hookline.model import Attempt, Counts, Outcome, Verdict, WatchCommit
from hookline.outbox.sqlite import SqliteStore
from hookline.spec import RetryPolicy
from support.dispatching import JUDGE, Bench, running
from support.receiver import Answer, Receiver


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(tmp_path / "outbox.db")
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def bench(store: SqliteStore, client: Client) -> AsyncIterator[Bench]:
    async with running(store, client) as made:
        yield made


async def test_messages_committed_before_and_after_the_start_all_arrive(bench, receiver, tools):
    await bench.store.commit(WatchCommit("scope", [tools.message(n) for n in range(100)]))
    bench.dispatcher.set_target(tools.target(receiver.url()))
    await receiver.wait_for(100)
    for first in range(100, 200, 10):
        await bench.commit(*(tools.message(n) for n in range(first, first + 10)))
    requests = await receiver.wait_for(200)
    assert {request.id for request in requests} == {f"msg_sub-1_{n}" for n in range(200)}
    await bench.attempts.until(lambda seen: len(seen) == 200)
    assert await bench.counts() == Counts(pending=0, delivered=200, dead=0)
    assert len(requests) == 200


async def test_a_retry_has_the_same_id_and_body_and_a_new_timestamp_and_signature(store, client, receiver, tools):
    ahead = 0.0
    hold = asyncio.Event()
    receiver.answers(Answer(500, hold=hold))
    async with running(store, client, clock=lambda: time.time() + ahead) as bench:
        bench.dispatcher.set_target(tools.target(receiver.url()))
        await bench.commit(tools.message())
        await receiver.wait_for(1)
        ahead = 7.0
        hold.set()
        first, second = await receiver.wait_for(2)
        await bench.attempts.until(lambda seen: len(seen) == 2)
    assert (first.id, first.body) == (second.id, second.body)
    assert int(second.headers["webhook-timestamp"]) >= int(first.headers["webhook-timestamp"]) + 7
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
    assert [attempt.verdict.reason for attempt in bench.attempts] == ["HTTP500", "Delivered"]
    assert [attempt.claimed.attempts for attempt in bench.attempts] == [0, 1]


async def test_a_503_is_retried_no_earlier_than_retry_after(bench, receiver, tools):
    receiver.answers(Answer(503, headers={"Retry-After": "1"}))
    bench.dispatcher.set_target(tools.target(receiver.url()))
    await bench.commit(tools.message())
    await receiver.wait_for(2)
    await bench.attempts.until(lambda seen: len(seen) == 2)
    first, second = bench.attempts
    assert first.verdict.retry_at is not None
    assert second.started >= first.verdict.retry_at >= first.started + 1


async def test_a_retry_that_an_earlier_process_scheduled_is_made_without_a_notice(store, client, receiver, tools):
    await store.commit(WatchCommit("scope", [tools.message()]))
    [claimed] = await store.claim({"sub-1": 1}, time.time())
    due = time.time() + 0.3
    await store.record([Attempt(claimed, Verdict(Outcome.RETRY, "HTTP500", 500, due), time.time(), 0.1)])
    async with running(store, client) as bench:
        bench.dispatcher.set_target(tools.target(receiver.url()))
        await receiver.wait_for(1)
        await bench.attempts.until(lambda seen: len(seen) == 1)
        assert bench.attempts[0].started >= due


async def test_a_message_is_dead_when_its_attempts_are_used_up(bench, receiver, tools):
    receiver.answer(500)
    bench.dispatcher.set_target(tools.target(receiver.url(), retry=RetryPolicy((0.0, 0.0), 60)))
    await bench.commit(tools.message())
    await bench.attempts.until(lambda seen: len(seen) == 3)
    assert [attempt.verdict.outcome for attempt in bench.attempts] == [Outcome.RETRY, Outcome.RETRY, Outcome.DEAD]
    assert await bench.counts() == Counts(pending=0, delivered=0, dead=1)


async def test_an_endpoint_that_hangs_delays_nobody_else(bench, client, receiver, tools):
    hold = asyncio.Event()
    receiver.answer_with(Answer(hold=hold))
    healthy = tools.target(receiver.url(), subscription="healthy", max_in_flight=2)
    async with Receiver(authority=receiver.authority) as other:
        bench.dispatcher.set_target(tools.target(receiver.url(), subscription="hung", max_in_flight=1))
        bench.dispatcher.set_target(dataclasses.replace(healthy, url=other.url()))
        await bench.commit(*(tools.message(n, "hung") for n in range(2)))
        await receiver.wait_for(1)
        await bench.commit(*(tools.message(n, "healthy") for n in range(50)))
        await other.wait_for(50)
        # The control: what shares the lane of the hung message does wait.
        assert len(receiver.requests) == 1
        assert bench.dispatcher.in_flight >= 1
        hold.set()
        await receiver.wait_for(2)


@pytest.mark.parametrize("limit", [1, 3, 5])
async def test_no_more_are_in_flight_than_allowed_and_as_many_as_allowed(bench, receiver, tools, limit):
    hold = asyncio.Event()
    receiver.answer_with(Answer(hold=hold))
    bench.dispatcher.set_target(tools.target(receiver.url(), max_in_flight=limit))
    await bench.commit(*(tools.message(n) for n in range(30)))
    await receiver.wait_until(lambda: receiver.busy == limit)
    hold.set()
    await receiver.wait_for(30)
    assert receiver.busiest == limit


async def test_a_paused_target_is_sent_nothing_until_it_is_resumed(bench, receiver, tools):
    paused = tools.target(receiver.url("/paused"), subscription="paused", paused=True)
    bench.dispatcher.set_target(paused)
    bench.dispatcher.set_target(tools.target(receiver.url("/other"), subscription="other"))
    await bench.commit(tools.message(1, "paused"))
    await bench.commit(*(tools.message(n, "other") for n in range(20)))
    await receiver.wait_for(20)
    assert {request.target for request in receiver.requests} == {"/other"}
    bench.dispatcher.set_target(dataclasses.replace(paused, paused=False))
    await receiver.wait_until(lambda: any(request.target == "/paused" for request in receiver.requests))


async def test_what_was_queued_when_a_target_was_paused_is_sent_after_it_resumes(bench, receiver, tools):
    hold = asyncio.Event()
    receiver.answer_with(Answer(hold=hold))
    target = tools.target(receiver.url(), max_in_flight=1)
    bench.dispatcher.set_target(target)
    await bench.commit(*(tools.message(n) for n in range(3)))
    await receiver.wait_for(1)
    bench.dispatcher.set_target(dataclasses.replace(target, paused=True))
    hold.set()
    await bench.attempts.until(lambda seen: len(seen) == 1)
    assert len(receiver.requests) == 1
    bench.dispatcher.set_target(target)
    await bench.attempts.until(lambda seen: len(seen) == 3)
    assert sorted(request.id for request in receiver.requests) == [f"msg_sub-1_{n}" for n in range(3)]


async def test_a_changed_target_takes_over_what_is_queued(bench, receiver, tools):
    hold = asyncio.Event()
    receiver.answers(Answer(hold=hold))
    target = tools.target(receiver.url("/old"), max_in_flight=1)
    bench.dispatcher.set_target(target)
    await bench.commit(*(tools.message(n) for n in range(3)))
    await receiver.wait_for(1)
    bench.dispatcher.set_target(dataclasses.replace(target, url=receiver.url("/new")))
    hold.set()
    await receiver.wait_for(3)
    assert [request.target for request in receiver.requests] == ["/old", "/new", "/new"]


async def test_after_a_410_nothing_more_is_sent_until_the_target_changes(bench, receiver, tools):
    receiver.answers(Answer(410))
    target = tools.target(receiver.url(), max_in_flight=1)
    bench.dispatcher.set_target(target)
    await bench.commit(*(tools.message(n) for n in range(5)))
    await bench.attempts.until(lambda seen: len(seen) == 1)
    assert bench.attempts[0].verdict.gone
    bench.dispatcher.set_target(dataclasses.replace(target))  # the same again, as a level-based controller does
    bench.dispatcher.set_target(tools.target(receiver.url("/other"), subscription="other"))
    await bench.commit(tools.message(9), tools.message(1, "other"))
    await receiver.wait_until(lambda: any(request.target == "/other" for request in receiver.requests))
    assert len(receiver.requests) == 2
    bench.dispatcher.set_target(dataclasses.replace(target, url=receiver.url("/fixed")))
    await bench.attempts.until(lambda seen: len(seen) == 7)
    assert await bench.counts() == Counts(pending=0, delivered=5, dead=1)


async def test_a_late_answer_of_a_former_endpoint_is_told_apart(bench, receiver, tools):
    hold = asyncio.Event()
    receiver.answers(Answer(410, hold=hold))
    target = tools.target(receiver.url("/old"), max_in_flight=1)
    bench.dispatcher.set_target(target)
    await bench.commit(tools.message(1), tools.message(2))
    await receiver.wait_for(1)
    bench.dispatcher.set_target(dataclasses.replace(target, url=receiver.url("/new")))
    hold.set()
    await bench.attempts.until(lambda seen: len(seen) == 2)
    assert [(attempt.verdict.gone, attempt.current) for attempt in bench.attempts] == [(True, False), (False, True)]


async def test_an_answer_that_is_recorded_after_the_correction_is_told_apart_too(
    bench, receiver, tools, monkeypatch: pytest.MonkeyPatch
):
    going, recording = asyncio.Event(), asyncio.Event()
    record = bench.store.record

    async def slowly(attempts):
        recording.set()
        await going.wait()
        await record(attempts)

    monkeypatch.setattr(bench.store, "record", slowly)
    receiver.answers(Answer(410))
    target = tools.target(receiver.url("/old"))
    bench.dispatcher.set_target(target)
    await bench.commit(tools.message(1))
    await recording.wait()
    bench.dispatcher.set_target(dataclasses.replace(target, url=receiver.url("/new")))
    going.set()
    await bench.attempts.until(lambda seen: len(seen) == 1)
    assert not bench.attempts[0].current


async def test_after_a_500_the_next_message_is_sent(bench, receiver, tools):
    """The control of the claim above."""
    receiver.answers(Answer(500))
    bench.dispatcher.set_target(tools.target(receiver.url(), max_in_flight=1, retry=RetryPolicy((), 60)))
    await bench.commit(*(tools.message(n) for n in range(5)))
    await bench.attempts.until(lambda seen: len(seen) == 5)
    assert await bench.counts() == Counts(pending=0, delivered=4, dead=1)


async def test_a_dropped_target_is_sent_nothing_more(bench, receiver, tools):
    hold = asyncio.Event()
    receiver.answer_with(Answer(hold=hold))
    bench.dispatcher.set_target(tools.target(receiver.url(), max_in_flight=1))
    await bench.commit(*(tools.message(n) for n in range(3)))
    await receiver.wait_for(1)
    bench.dispatcher.drop_target("sub-1")
    hold.set()
    await bench.attempts.until(lambda seen: len(seen) == 1)
    bench.dispatcher.set_target(tools.target(receiver.url("/other"), subscription="other"))
    await bench.commit(tools.message(1, "other"))
    await bench.attempts.until(lambda seen: len(seen) == 2)
    assert [request.target for request in receiver.requests] == ["/", "/other"]
    assert await bench.counts() == Counts(pending=2, delivered=1, dead=0)


async def test_stopping_lets_attempts_in_flight_finish_and_records_them(bench, receiver, tools):
    hold = asyncio.Event()
    receiver.answer_with(Answer(hold=hold))
    bench.dispatcher.set_target(tools.target(receiver.url(), max_in_flight=2))
    await bench.commit(*(tools.message(n) for n in range(10)))
    await receiver.wait_until(lambda: receiver.busy == 2)
    stopping = asyncio.create_task(bench.stop(grace=20))
    await asyncio.sleep(0)  # let stop begin
    hold.set()
    await stopping
    assert len(receiver.requests) == 2
    assert len(bench.attempts) == 2
    assert await bench.counts() == Counts(pending=8, delivered=2, dead=0)


async def test_stopping_gives_back_what_is_queued_and_what_hangs_untried(bench, receiver, tools):
    hold = asyncio.Event()
    receiver.answer_with(Answer(hold=hold))
    bench.dispatcher.set_target(tools.target(receiver.url(), max_in_flight=2))
    await bench.commit(*(tools.message(n) for n in range(10)))
    await receiver.wait_until(lambda: receiver.busy == 2)
    await bench.stop(grace=0.05)
    hold.set()
    assert bench.dispatcher.in_flight == 0
    again = await bench.store.claim({"sub-1": 20}, time.time())
    assert {claimed.message.id for claimed in again} == {f"msg_sub-1_{n}" for n in range(10)}
    assert {claimed.attempts for claimed in again} == {0}


class Faulty(SqliteStore):
    """A real outbox whose disk is full for a while."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.faults = {"claim": 0, "record": 0, "next_due": 0}

    def _maybe_fail(self, name: str) -> None:
        if self.faults[name]:
            self.faults[name] -= 1
            raise StoreError("outbox: disk full")

    async def claim(self, wanted, now, **bounds):
        self._maybe_fail("claim")
        return await super().claim(wanted, now, **bounds)

    async def record(self, attempts: Sequence[Attempt]) -> None:
        self._maybe_fail("record")
        await super().record(attempts)

    async def next_due(self):
        self._maybe_fail("next_due")
        return await super().next_due()


@pytest.mark.parametrize("method", ["claim", "record", "next_due"])
async def test_an_outbox_that_fails_for_a_while_loses_no_result_and_sends_nothing_twice(
    tmp_path, client, receiver, tools, method
):
    store = Faulty(tmp_path / "outbox.db")
    await store.open()
    store.faults[method] = 3
    receiver.answers(Answer(500))
    async with running(store, client) as bench:
        bench.dispatcher.set_target(tools.target(receiver.url()))
        await bench.commit(*(tools.message(n) for n in range(5)))
        await bench.attempts.until(lambda seen: len(seen) == 6)
        assert await bench.counts() == Counts(pending=0, delivered=5, dead=0)
        assert store.faults[method] < 3  # it did fail
    assert len(receiver.requests) == 6
    await store.close()


async def test_a_message_that_breaks_the_client_is_retried_and_the_lane_goes_on(bench, receiver, tools, caplog):
    broken = tools.message(1, headers=(("content-type", "s3cret-\N{SNOWMAN}"),))
    bench.dispatcher.set_target(tools.target(receiver.url(), max_in_flight=1, retry=RetryPolicy((3600.0,), 7200)))
    await bench.commit(broken, tools.message(2))
    await bench.attempts.until(lambda seen: len(seen) == 2)
    reasons = {attempt.claimed.message.sequence: attempt.verdict.reason for attempt in bench.attempts}
    assert reasons == {1: "InternalError", 2: "Delivered"}
    assert "UnicodeEncodeError" in caplog.text
    assert "s3cret" not in caplog.text


async def test_a_judge_that_breaks_ends_nothing(store, client, receiver, tools):
    def confused(claimed, policy, result, now):
        if claimed.message.sequence == 1:
            raise ZeroDivisionError
        return JUDGE(claimed, policy, result, now)

    async with running(store, client, judged=confused) as bench:
        bench.dispatcher.set_target(tools.target(receiver.url(), max_in_flight=1))
        await bench.commit(tools.message(1), tools.message(2))
        await bench.attempts.until(lambda seen: len(seen) == 2)
    assert {attempt.verdict.reason for attempt in bench.attempts} == {"InternalError", "Delivered"}


async def test_a_listener_that_breaks_ends_nothing(store, client, receiver, tools):
    def deaf(attempt: Attempt) -> None:
        raise ZeroDivisionError

    dispatcher = Dispatcher(store, client, JUDGE, deaf, time.time)
    run = asyncio.create_task(dispatcher.run())
    dispatcher.set_target(tools.target(receiver.url()))
    await store.commit(WatchCommit("scope", [tools.message(n) for n in range(5)]))
    dispatcher.notify(["sub-1"])
    await receiver.wait_for(5)
    await dispatcher.stop(5)
    await run
    assert (await store.counts())["sub-1"] == Counts(pending=0, delivered=5, dead=0)


async def test_a_refused_destination_is_retried_and_never_connected_to(store, receiver, tools):
    async with Client(AddressPolicy(), tls_context(receiver.ca_pem)) as strict, running(store, strict) as bench:
        bench.dispatcher.set_target(tools.target(receiver.url()))
        await bench.commit(tools.message())
        await bench.attempts.until(lambda seen: len(seen) == 4)
    assert {attempt.verdict.reason for attempt in bench.attempts} == {"DestinationRefused"}
    assert receiver.connections == 0


async def test_many_lanes_deliver_everything_exactly_once(bench, receiver, tools):
    lanes = [f"lane-{n}" for n in range(50)]
    for lane in lanes:
        bench.dispatcher.set_target(tools.target(receiver.url(), subscription=lane, max_in_flight=2))
    for number in range(10):
        await bench.commit(*(tools.message(number, lane) for lane in lanes))
    requests = await receiver.wait_for(500)
    await bench.attempts.until(lambda seen: len(seen) == 500)
    assert len({request.id for request in requests}) == len(receiver.requests) == 500


async def test_the_receivers_clock_skew_is_measured(bench, receiver, tools):
    receiver.answer(200, headers={"Date": "Tue, 14 Nov 2023 22:13:20 GMT"})
    bench.dispatcher.set_target(tools.target(receiver.url()))
    await bench.commit(tools.message())
    await bench.attempts.until(lambda seen: len(seen) == 1)
    [attempt] = bench.attempts
    assert attempt.skew == pytest.approx(1_700_000_000 - time.time(), abs=60)
