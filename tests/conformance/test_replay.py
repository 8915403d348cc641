"""What every outbox promises about replays: the same messages again, selected once, counted once."""

from __future__ import annotations

import dataclasses

import pytest

from hookline.errors import StoreError
from hookline.model import Counts, Outcome
from hookline.stored import Replay, ReplayCounts, ReplayState, Retention
from support.outbox import EVER, UNSTORABLE, A, B, add, attempt, finish, ids, message, restart

DELIVERED, DEAD = frozenset({ReplayState.DELIVERED}), frozenset({ReplayState.DEAD})
BOTH = DELIVERED | DEAD


async def verdicts(store, outcome: Outcome, number: int, subscription: str = A, retry_at: float | None = None):
    claimed = await store.claim({subscription: number}, EVER)
    assert len(claimed) == number
    await store.record([attempt(c, outcome, retry_at=retry_at) for c in claimed])


class TestSelection:
    async def test_a_dead_letter_comes_back_as_it_was_untried_and_due_now(self, store, clock):
        sent = message(7, body=bytes(range(256)), headers=(("ce-id", "größe"), ("a", "")))
        await add(store, sent)
        await verdicts(store, Outcome.RETRY, 1, retry_at=clock.now)
        await verdicts(store, Outcome.DEAD, 1)
        clock.now += 1000
        assert await store.replay(Replay("r", A)) == ReplayCounts(1, 0, 0, started=clock.now)
        assert await store.counts() == {A: Counts(pending=1)}
        assert await store.next_due() == {A: clock.now}
        (claimed,) = await store.claim({A: 9}, clock.now)
        assert (claimed.message, claimed.attempts) == (sent, 0)
        assert claimed.stored == clock.now, "its age counts from the replay"

    @pytest.mark.parametrize(
        ("states", "expected"), [(DEAD, ["msg_0002"]), (DELIVERED, ["msg_0001"]), (BOTH, ["msg_0001", "msg_0002"])]
    )
    async def test_only_the_states_asked_for(self, store, states, expected):
        await finish(store, Outcome.DELIVERED, message(1))
        await finish(store, Outcome.DEAD, message(2))
        assert (await store.replay(Replay("r", A, states))).total == len(expected)
        assert ids(await store.claim({A: 9}, EVER)) == expected

    async def test_only_what_was_stored_in_the_time_span_its_end_excluded(self, store, clock):
        begin = clock.now
        for number in range(5):
            await finish(store, Outcome.DEAD, message(number))
            clock.now += 10
        assert (await store.replay(Replay("r", A, DEAD, begin + 10, begin + 30))).total == 2
        assert ids(await store.claim({A: 9}, EVER)) == ["msg_0001", "msg_0002"]

    async def test_a_replayed_message_still_counts_by_the_time_when_it_was_stored(self, store, clock):
        begin = clock.now
        await finish(store, Outcome.DEAD, message(1))
        clock.now += 1000
        for uid in ("first", "second"):
            assert (await store.replay(Replay(uid, A, DEAD, begin, begin + 1))).total == 1
            await verdicts(store, Outcome.DEAD, 1)

    async def test_only_the_ids_asked_for(self, store):
        await finish(store, Outcome.DEAD, *(message(n) for n in range(5)))
        await finish(store, Outcome.DELIVERED, message(5))
        wanted = frozenset({"msg_0001", "msg_0003", "msg_0005", "msg_absent", 'msg_"]'})
        assert (await store.replay(Replay("r", A, DEAD, ids=wanted))).total == 2
        assert ids(await store.claim({A: 9}, EVER)) == ["msg_0001", "msg_0003"]

    async def test_another_subscription_is_left_alone(self, store):
        await finish(store, Outcome.DEAD, message(1, A))
        await finish(store, Outcome.DEAD, message(1, B))
        assert (await store.replay(Replay("r", A))).total == 1
        assert await store.counts() == {A: Counts(pending=1), B: Counts(dead=1)}

    async def test_pending_messages_are_left_alone(self, store, clock):
        await add(store, message(1))
        await verdicts(store, Outcome.RETRY, 1, retry_at=clock.now + 60)
        assert await store.replay(Replay("r", A, BOTH)) == ReplayCounts(0, 0, 0, clock.now)
        assert await store.next_due() == {A: clock.now + 60}
        (claimed,) = await store.claim({A: 1}, EVER)
        assert claimed.attempts == 1

    async def test_they_go_out_in_the_order_of_their_age(self, store):
        await finish(store, Outcome.DEAD, *(message(n) for n in range(9)))
        await store.replay(Replay("r", A))
        assert ids(await store.claim({A: 9}, EVER)) == [f"msg_{n:04d}" for n in range(9)]

    async def test_a_subscription_that_left_nothing_gives_nothing(self, store, clock):
        assert await store.replay(Replay("r", "nobody")) == ReplayCounts(0, 0, 0, clock.now)
        assert await store.counts() == {}


class TestOnce:
    async def test_the_same_replay_again_changes_nothing(self, store, store_factory, clock):
        await finish(store, Outcome.DEAD, message(1), message(2))
        first = await store.replay(Replay("r", A))
        one, two = await store.claim({A: 2}, EVER)
        await store.record([attempt(one, Outcome.DEAD)])
        await finish(store, Outcome.DEAD, message(3))
        await store.release([two.row])
        clock.now += 50
        seen = dataclasses.replace(first, failed=1)
        assert await store.replay(Replay("r", A)) == seen
        fresh = await restart(store, store_factory)
        assert await fresh.replay(Replay("r", A)) == seen
        assert await fresh.replay_counts() == {"r": seen}
        assert await fresh.counts() == {A: Counts(pending=1, dead=2)}
        await fresh.close()

    async def test_one_that_fails_leaves_nothing_and_can_be_made_again(self, store):
        await finish(store, Outcome.DEAD, message(1))
        with pytest.raises(StoreError):
            await store.replay(Replay("r", A, ids=frozenset({"msg_0001", UNSTORABLE})))
        assert await store.replay_counts() == {}
        assert await store.counts() == {A: Counts(dead=1)}
        assert (await store.replay(Replay("r", A))).total == 1

    async def test_each_message_is_counted_once_when_it_is_finished(self, store, clock):
        await finish(store, Outcome.DEAD, *(message(n) for n in range(3)))
        begun = await store.replay(Replay("r", A))
        await verdicts(store, Outcome.RETRY, 3, retry_at=clock.now)
        assert (await store.replay_counts())["r"] == begun
        claimed = await store.claim({A: 3}, EVER)
        await store.record([attempt(claimed[0], Outcome.DELIVERED), attempt(claimed[1], Outcome.DEAD)])
        await store.record([attempt(claimed[0], Outcome.DELIVERED)])
        assert (await store.replay_counts())["r"] == dataclasses.replace(begun, replayed=1, failed=1)
        await store.record([attempt(claimed[2], Outcome.DELIVERED)])
        done = (await store.replay_counts())["r"]
        assert (done.replayed, done.failed, done.finished) == (2, 1, True)

    async def test_messages_of_no_replay_are_counted_by_none(self, store):
        await finish(store, Outcome.DEAD, message(1))
        await store.replay(Replay("r", A))
        await add(store, message(2))
        await verdicts(store, Outcome.DELIVERED, 2)
        assert (await store.replay_counts())["r"].replayed == 1

    async def test_a_later_replay_of_the_same_message_counts_for_itself(self, store):
        await finish(store, Outcome.DEAD, message(1))
        for uid in ("first", "second"):
            assert (await store.replay(Replay(uid, A))).total == 1
            await verdicts(store, Outcome.DEAD, 1)
        assert {uid: (c.total, c.failed) for uid, c in (await store.replay_counts()).items()} == {
            "first": (1, 1),
            "second": (1, 1),
        }

    async def test_what_goes_with_its_subscription_has_failed(self, store):
        await finish(store, Outcome.DEAD, message(1), message(2))
        await store.replay(Replay("r", A))
        await verdicts(store, Outcome.DELIVERED, 1)
        await store.forget_subscription(A)
        counts = (await store.replay_counts())["r"]
        assert (counts.replayed, counts.failed, counts.finished) == (1, 1, True)

    async def test_counts_outlive_the_retention_of_the_messages(self, store):
        await finish(store, Outcome.DEAD, message(1))
        await store.replay(Replay("r", A))
        await verdicts(store, Outcome.DELIVERED, 1)
        assert (await store.prune(Retention(EVER, 0), Retention(EVER, 0), 9)).total == 1
        assert (await store.replay_counts())["r"].replayed == 1

    async def test_a_forgotten_replay_changes_nothing_but_its_record(self, store):
        await finish(store, Outcome.DEAD, message(1), message(2))
        await store.replay(Replay("gone", A))
        await store.forget_replay("gone")
        await store.forget_replay("never there")
        assert await store.replay_counts() == {}
        assert (await store.replay(Replay("later", A))).total == 0
        await verdicts(store, Outcome.DELIVERED, 2)
        assert (await store.replay_counts())["later"].replayed == 0, "the number of a forgotten one is not used again"


class TestGrounds:
    async def test_what_waits_tells_what_it_rests_on_and_what_is_finished_no_more(self, store, store_factory):
        await add(store, message(1, ground="watcher v1/pods@shop"), message(2, ground="watcher v1/pods@shop"))
        await add(store, message(3, ground="other batch/v1/jobs@"), message(4), message(5, subscription=B))
        both = frozenset({"watcher v1/pods@shop", "other batch/v1/jobs@"})
        assert await store.grounds() == {A: both}
        store = await restart(store, store_factory)
        assert await store.grounds() == {A: both}
        claimed = await store.claim({A: 9}, EVER)
        assert {c.message.ground for c in claimed} == both | {""}
        await store.record([attempt(c, Outcome.DELIVERED) for c in claimed if c.message.sequence != 1])
        assert await store.grounds() == {A: frozenset({"watcher v1/pods@shop"})}
        await store.close()

    @pytest.mark.parametrize(
        ("request_", "expected"),
        [
            (Replay("r", A), {"dead"}),
            (Replay("r", A, BOTH), {"dead", "delivered"}),
            (Replay("r", A, BOTH, ids=frozenset({"msg_0001"})), {"delivered"}),
            (Replay("r", A, BOTH, 0.0, 1.0), set()),
            (Replay("r", B, BOTH), set()),
        ],
    )
    async def test_a_replay_tells_beforehand_what_its_messages_rest_on(self, store, request_, expected):
        await finish(store, Outcome.DELIVERED, message(1, ground="delivered"))
        await finish(store, Outcome.DEAD, message(2, ground="dead"))
        await add(store, message(3, ground="pending"))
        assert await store.grounds(request_) == {request_.subscription: frozenset(expected)}
