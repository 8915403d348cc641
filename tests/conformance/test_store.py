"""What every outbox promises: the sentences of ``hookline.outbox.store.Store``, one by one."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from hookline.errors import StoreError
from hookline.model import Claimed, Counts, Outcome, Seen, WatchCommit
from hookline.outbox.store import Store
from hookline.stored import Replay, ReplayState, Retention
from support.outbox import (
    EVER,
    JOBS,
    PODS,
    UNSTORABLE,
    A,
    B,
    add,
    attempt,
    finish,
    ids,
    message,
    prune,
    restart,
)


class TestOpenAndClose:
    async def test_a_new_store_is_empty(self, store):
        assert await store.counts() == {}
        assert await store.sequences() == {}
        assert await store.subscriptions() == frozenset()
        assert await store.next_due() == {}
        assert await store.attachments() == {}
        assert await store.claim({A: 10}, EVER) == []

    async def test_close_finishes_what_was_begun(self, store, store_factory):
        begun = [asyncio.create_task(add(store, message(n))) for n in range(20)]
        await asyncio.sleep(0)  # let every task make its call
        fresh = await restart(store, store_factory)
        assert await asyncio.gather(*begun) == [1] * 20
        assert await fresh.counts() == {A: Counts(pending=20)}
        await fresh.close()

    @pytest.mark.parametrize(
        "call",
        [
            lambda s: s.commit(WatchCommit(PODS)),
            lambda s: s.checkpoint(PODS),
            lambda s: s.seen(PODS, ["u"]),
            lambda s: s.seen_uids(PODS),
            lambda s: s.attach(A, PODS, "1"),
            lambda s: s.attachments(),
            lambda s: s.detach(A, PODS),
            lambda s: s.forget_scope(PODS),
            lambda s: s.forget_subscription(A),
            lambda s: s.subscriptions(),
            lambda s: s.sequences(),
            lambda s: s.claim({A: 1}, EVER),
            lambda s: s.release([1]),
            lambda s: s.record([]),
            lambda s: s.next_due(),
            lambda s: s.counts(),
            lambda s: s.prune(Retention(1.0, 1), Retention(1.0, 1), 1),
            lambda s: s.replay(Replay("r", A)),
            lambda s: s.replay_counts(),
            lambda s: s.forget_replay("r"),
            lambda s: s.deliveries(A, [], 1),
            lambda s: s.delivery(A, "msg_0001"),
            lambda s: s.deliveries_of(A, ["msg_0001"]),
            lambda s: s.follow(A, lambda _: None),
            lambda s: s.size(),
            lambda s: s.free(),
        ],
    )
    async def test_calls_after_close_raise(self, store, call: Callable[[Store], Awaitable[Any]]):
        await call(store)  # the control: it works before
        await store.close()
        with pytest.raises(StoreError):
            await call(store)

    async def test_closing_twice_is_harmless(self, store):
        await store.close()
        await store.close()


class TestCommit:
    async def test_returns_how_many_messages_were_new(self, store):
        assert await add(store, message(1), message(2)) == 2
        assert await add(store, message(2), message(3)) == 1
        assert await add(store) == 0

    async def test_a_message_stored_already_is_skipped_and_its_bytes_stay(self, store):
        await add(store, message(1, body=b"first"))
        assert await add(store, message(1, body=b"second")) == 0
        (claimed,) = await store.claim({A: 10}, EVER)
        assert claimed.message.body == b"first"
        assert await store.counts() == {A: Counts(pending=1)}

    async def test_a_message_twice_in_one_commit_is_stored_once(self, store):
        assert await add(store, message(1), message(1)) == 1
        assert ids(await store.claim({A: 10}, EVER)) == ["msg_0001"]

    async def test_a_delivered_message_is_not_stored_again(self, store):
        await finish(store, Outcome.DELIVERED, message(1))
        assert await add(store, message(1)) == 0
        assert await store.claim({A: 10}, EVER) == []

    async def test_the_same_id_of_another_subscription_is_another_message(self, store):
        assert await add(store, message(1, A), message(1, B)) == 2

    async def test_everything_comes_back_exactly(self, store, clock):
        odd = message(
            2**40,
            "sub-\x00-ünïcode-😀",
            id="msg_\x00_é",
            object_uid="",
            event_type="typ\u2028e",
            headers=(("ce-subject", "größe \x00 😀"), ("ce-subject", "again"), ("a", "")),
            body=bytes(range(256)) * 64,
            observed=0.1 + 0.2,
        )
        await add(store, odd, message(1, odd.subscription, headers=(), body=b""))
        first, second = await store.claim({odd.subscription: 2}, EVER)
        assert first.message == odd
        assert (first.attempts, first.stored) == (0, clock.now)
        assert (second.message.headers, second.message.body) == ((), b"")

    async def test_updates_checkpoint_and_index_together(self, store):
        old, new = Seen("u1", "5", b'{"a":1}', full=False), Seen("u1", "7", b'{"a":"\x00"}', full=True)
        await store.commit(WatchCommit(PODS, seen=[old, Seen("u2", "6", b"{}", full=True)], resource_version="6"))
        await store.commit(WatchCommit(PODS, seen=[new], forgotten=["u2", "never-seen"], resource_version="8"))
        assert await store.checkpoint(PODS) == "8"
        assert await store.seen(PODS, ["u1", "u2"]) == {"u1": new}

    async def test_without_a_resource_version_the_checkpoint_stays(self, store):
        await store.commit(WatchCommit(PODS, resource_version="6"))
        await store.commit(WatchCommit(PODS, [message(1)]))
        assert await store.checkpoint(PODS) == "6"

    @pytest.mark.parametrize(
        "broken",
        [
            WatchCommit(PODS, [message(2), message(3, headers=(("x", UNSTORABLE),))], resource_version="9"),
            WatchCommit(PODS, [message(2), message(3, B, id=UNSTORABLE)], resource_version="9"),
            WatchCommit(PODS, [message(2)], seen=[Seen(UNSTORABLE, "9", b"", full=False)], resource_version="9"),
            WatchCommit(PODS, [message(2)], forgotten=["u1", UNSTORABLE], resource_version="9"),
            WatchCommit(PODS, [message(2)], seen=[Seen("u2", "9", b"", full=False)], resource_version=UNSTORABLE),
        ],
        ids=["header", "id", "seen", "forgotten", "checkpoint"],
    )
    async def test_one_that_fails_leaves_nothing(self, store, broken: WatchCommit):
        seen = Seen("u1", "5", b"{}", full=True)
        await store.commit(WatchCommit(PODS, [message(1)], seen=[seen], resource_version="5"))
        with pytest.raises(StoreError):
            await store.commit(broken)
        assert await store.counts() == {A: Counts(pending=1)}
        assert await store.sequences() == {A: 1}
        assert await store.subscriptions() == {A}
        assert await store.checkpoint(PODS) == "5"
        assert await store.seen(PODS, ["u1", "u2"]) == {"u1": seen}
        assert ids(await store.claim({A: 10, B: 10}, EVER)) == ["msg_0001"]

    async def test_one_that_fails_does_not_spoil_those_beside_it(self, store):
        calls = [add(store, message(n, id=UNSTORABLE if n == 5 else f"msg_{n}")) for n in range(10)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [n for n, result in enumerate(results) if isinstance(result, StoreError)] == [5]
        assert await store.counts() == {A: Counts(pending=9)}


class TestIndex:
    async def test_a_scope_that_never_committed_has_no_checkpoint(self, store):
        await store.commit(WatchCommit(PODS, resource_version="6"))
        await store.commit(WatchCommit("v1/nodes@*", [message(1)]))
        assert await store.checkpoint(JOBS) is None
        assert await store.checkpoint("v1/nodes@*") is None

    async def test_scopes_are_separate(self, store):
        for scope, version in ((PODS, "1"), (JOBS, "2")):
            seen = [Seen("u1", version, b"", full=False)]
            await store.commit(WatchCommit(scope, seen=seen, resource_version=version))
        await store.commit(WatchCommit(JOBS, forgotten=["u1"]))
        assert (await store.checkpoint(PODS), await store.checkpoint(JOBS)) == ("1", "2")
        assert await store.seen_uids(PODS) == {"u1"}
        assert await store.seen_uids(JOBS) == frozenset()
        assert await store.seen(JOBS, ["u1"]) == {}

    async def test_many_objects_are_looked_up_at_once(self, store):
        everything = {f"uid-{n}": Seen(f"uid-{n}", str(n), b"x" * (n % 5000), full=bool(n % 2)) for n in range(2500)}
        await store.commit(WatchCommit(PODS, seen=list(everything.values())))
        assert await store.seen(PODS, [*everything, "absent"]) == everything
        assert await store.seen_uids(PODS) == everything.keys()
        assert await store.seen(PODS, []) == {}

    async def test_the_first_attachment_stays(self, store):
        assert await store.attach(A, PODS, "10") == "10"
        assert await store.attach(A, PODS, "20") == "10"
        assert await store.attach(A, JOBS, "30") == "30"
        assert await store.attach(B, PODS, "40") == "40"
        assert await store.attachments() == {(A, PODS): "10", (A, JOBS): "30", (B, PODS): "40"}

    async def test_detach_removes_one_note(self, store):
        await store.attach(A, PODS, "10")
        await store.attach(A, JOBS, "30")
        await store.attach(B, PODS, "40")
        await store.detach(A, PODS)
        await store.detach(B, JOBS)
        assert await store.attachments() == {(A, JOBS): "30", (B, PODS): "40"}
        assert await store.attach(A, PODS, "50") == "50"

    async def test_a_forgotten_scope_loses_checkpoint_and_index_and_nothing_else(self, store):
        for scope in (PODS, JOBS):
            seen = [Seen("u1", "1", b"", full=False)]
            await store.commit(WatchCommit(scope, [message(1)], seen=seen, resource_version="1"))
        await store.attach(A, PODS, "1")
        await store.forget_scope(PODS)
        assert await store.checkpoint(PODS) is None
        assert await store.seen_uids(PODS) == frozenset()
        assert await store.checkpoint(JOBS) == "1"
        assert await store.seen_uids(JOBS) == {"u1"}
        assert await store.attachments() == {(A, PODS): "1"}
        assert await store.counts() == {A: Counts(pending=1)}


class TestSubscriptions:
    async def test_all_that_left_anything_are_known(self, store):
        await store.attach(A, PODS, "1")
        await finish(store, Outcome.DELIVERED, message(1, B))
        assert await prune(store, EVER, EVER, 10) == 1
        assert await store.subscriptions() == {A, B}

    async def test_one_that_only_detached_left_nothing(self, store):
        await store.attach(A, PODS, "1")
        await store.detach(A, PODS)
        assert await store.subscriptions() == frozenset()

    async def test_a_forgotten_one_leaves_nothing_but_its_attachments_and_the_others_stay(self, store):
        for subscription in (A, B):
            await finish(store, Outcome.DELIVERED, message(1, subscription))
            await finish(store, Outcome.DEAD, message(2, subscription))
            await add(store, message(3, subscription))
            await store.attach(subscription, PODS, "1")
        await store.forget_subscription(A)
        assert set(await store.attachments()) == {(A, PODS), (B, PODS)}
        await store.detach(A, PODS)
        assert await store.subscriptions() == {B}
        assert await store.counts() == {B: Counts(pending=1, delivered=1, dead=1)}
        assert await store.sequences() == {B: 3}
        assert await store.attachments() == {(B, PODS): "1"}
        assert (await store.next_due()).keys() == {B}
        assert ids(await store.claim({A: 10, B: 10}, EVER)) == ["msg_0003"]

    async def test_others_get_their_turn_while_one_with_very_much_is_forgotten(self, store):
        await add(store, *(message(number, A) for number in range(20_000)))
        forgetting = asyncio.create_task(store.forget_subscription(A))
        await asyncio.sleep(0)  # let it begin
        await add(store, message(1, B))
        assert not forgetting.done()
        await forgetting
        assert await store.counts() == {B: Counts(pending=1)}

    async def test_a_verdict_for_a_forgotten_message_hits_no_other(self, store):
        await add(store, message(1, A))
        late = await store.claim({A: 1}, EVER)
        await store.forget_subscription(A)
        await add(store, message(1, B))
        await store.record([attempt(late[0], Outcome.DELIVERED)])
        assert await store.counts() == {B: Counts(pending=1)}
        assert len(await store.claim({B: 10}, EVER)) == 1
        await store.release([late[0].row])
        assert await store.claim({B: 10}, EVER) == []

    async def test_sequences_are_the_highest_ever_committed(self, store):
        await add(store, message(7), message(5), message(2, B))
        await add(store, message(6))
        assert await store.sequences() == {A: 7, B: 2}

    async def test_a_skipped_message_does_not_move_the_sequence(self, store):
        await add(store, message(1))
        await add(store, message(1, sequence=9))
        assert await store.sequences() == {A: 1}

    async def test_sequences_outlive_their_messages_and_a_restart(self, store, store_factory):
        await finish(store, Outcome.DELIVERED, message(1), message(2))
        assert await prune(store, EVER, EVER, 10) == 2
        fresh = await restart(store, store_factory)
        assert await fresh.sequences() == {A: 2}
        await fresh.close()


class TestClaim:
    async def test_at_most_the_wanted_number_of_each(self, store):
        await add(store, *(message(n, s) for s in (A, B, "other") for n in range(5)))
        claimed = await store.claim({A: 2, B: 3, "unknown": 4}, EVER)
        assert [c.message.subscription for c in claimed].count(A) == 2
        assert [c.message.subscription for c in claimed].count(B) == 3
        assert len(claimed) == 5
        assert await store.claim({A: 0, B: -1}, EVER) == []
        assert await store.claim({}, EVER) == []

    async def test_in_order_of_due_time_and_then_age(self, store, clock):
        await add(store, message(1, A), message(2, B), message(3, A))
        for claimed in await store.claim({A: 9, B: 9}, EVER):
            later = {1: 900.0, 2: 700.0, 3: 800.0}[claimed.message.sequence]
            await store.record([attempt(claimed, Outcome.RETRY, retry_at=later)])
        clock.now = 750.0
        await add(store, message(5, B), message(4, A))
        assert [c.message.sequence for c in await store.claim({A: 9, B: 9}, EVER)] == [2, 5, 4, 3, 1]

    async def test_the_oldest_come_first_when_fewer_are_wanted(self, store):
        await add(store, *(message(n) for n in range(9)))
        taken = [ident for _ in range(5) for ident in ids(await store.claim({A: 2}, EVER))]
        assert taken == [f"msg_{n:04d}" for n in range(9)]

    async def test_a_message_is_due_from_its_time_on(self, store, clock):
        await add(store, message(1))
        assert await store.claim({A: 1}, clock.now - 0.001) == []
        assert ids(await store.claim({A: 1}, clock.now)) == ["msg_0001"]

    async def test_none_is_handed_out_twice(self, store):
        await add(store, *(message(n) for n in range(100)))
        claims = await asyncio.gather(*(store.claim({A: 9}, EVER) for _ in range(20)))
        handed = [ident for claimed in claims for ident in ids(claimed)]
        assert len(handed) == len(set(handed)) == 100
        assert await store.claim({A: 9}, EVER) == []

    async def test_one_behind_claimed_ones_is_found(self, store, clock):
        await add(store, *(message(n) for n in range(50)))
        assert len(await store.claim({A: 50}, EVER)) == 50
        clock.now -= 10  # sorted before those that are claimed already
        await add(store, message(50))
        clock.now += 20
        await add(store, message(51), message(52))
        assert ids(await store.claim({A: 2}, EVER)) == ["msg_0050", "msg_0051"]

    async def test_what_a_cancelled_claim_took_is_given_back(self, store):
        await add(store, message(1))
        claiming = asyncio.create_task(store.claim({A: 1}, EVER))
        await asyncio.sleep(0)  # let it make its call
        claiming.cancel()
        with pytest.raises(asyncio.CancelledError):
            await claiming
        await store.counts()  # the cancelled call has run by now
        assert ids(await store.claim({A: 1}, EVER)) == ["msg_0001"]

    async def test_released_messages_are_due_as_before(self, store, clock):
        await add(store, message(1), message(2))
        before = await store.claim({A: 2}, EVER)
        await store.release([before[0].row, 10**9])
        assert await store.next_due() == {A: clock.now}
        assert await store.claim({A: 2}, clock.now) == [before[0]]

    async def test_releasing_what_is_not_claimed_changes_nothing(self, store):
        await add(store, message(1), message(2))
        (one,) = await store.claim({A: 1}, EVER)
        await store.release([one.row])
        await store.release([one.row, one.row])
        assert len(await store.claim({A: 9}, EVER)) == 2
        assert await store.claim({A: 9}, EVER) == []


class TestRecord:
    async def test_a_delivered_message_is_counted_and_never_claimed_again(self, store):
        await finish(store, Outcome.DELIVERED, message(1))
        assert await store.counts() == {A: Counts(delivered=1)}
        assert await store.claim({A: 1}, EVER) == []
        assert await store.next_due() == {}

    async def test_a_dead_message_is_counted_and_never_claimed_again(self, store):
        await finish(store, Outcome.DEAD, message(1))
        assert await store.counts() == {A: Counts(dead=1)}
        assert await store.claim({A: 1}, EVER) == []

    async def test_a_retry_is_due_at_its_time_with_one_more_attempt(self, store, clock):
        await add(store, message(1))
        for made in range(3):
            (claimed,) = await store.claim({A: 1}, clock.now)
            assert (claimed.attempts, claimed.message) == (made, message(1))
            await store.record([attempt(claimed, Outcome.RETRY, retry_at=clock.now + 60.5)])
            assert await store.next_due() == {A: clock.now + 60.5}
            assert await store.counts() == {A: Counts(pending=1)}
            assert await store.claim({A: 1}, clock.now + 60.4) == []
            clock.now += 60.5

    async def test_a_batch_of_different_verdicts(self, store):
        await add(store, *(message(n, A) for n in range(4)), message(9, B))
        claimed = await store.claim({A: 4, B: 1}, EVER)
        outcomes = [Outcome.DELIVERED, Outcome.DEAD, Outcome.DELIVERED, Outcome.RETRY, Outcome.DEAD]
        await store.record([attempt(c, o, retry_at=7.0) for c, o in zip(claimed, outcomes, strict=True)])
        assert await store.counts() == {A: Counts(pending=1, delivered=2, dead=1), B: Counts(dead=1)}

    async def test_all_or_nothing(self, store):
        await add(store, message(1), message(2))
        good, bad = await store.claim({A: 2}, EVER)
        with pytest.raises(StoreError):
            await store.record([attempt(good, Outcome.DELIVERED), attempt(bad, Outcome.RETRY, retry_at=None)])
        assert await store.counts() == {A: Counts(pending=2)}
        assert await store.claim({A: 2}, EVER) == []  # both are still handed out, to be recorded again
        await store.record([attempt(good, Outcome.DELIVERED), attempt(bad, Outcome.DEAD)])
        assert await store.counts() == {A: Counts(delivered=1, dead=1)}

    async def test_a_second_verdict_for_a_finished_message_changes_nothing(self, store):
        await add(store, message(1))
        (claimed,) = await store.claim({A: 1}, EVER)
        await store.record([attempt(claimed, Outcome.DELIVERED)])
        await store.record([attempt(claimed, Outcome.RETRY, retry_at=1.0), attempt(claimed, Outcome.DEAD)])
        assert await store.counts() == {A: Counts(delivered=1)}

    async def test_nothing_to_record_is_fine(self, store):
        await store.record([])


class TestNextDue:
    async def test_the_earliest_unclaimed_message_of_each_subscription(self, store, clock):
        start = clock.now
        await add(store, message(1, A), message(1, B))
        clock.now += 5
        await add(store, message(2, A))
        assert await store.next_due() == {A: start, B: start}
        first = await store.claim({A: 1, B: 1}, start)
        assert await store.next_due() == {A: start + 5}
        rest = await store.claim({A: 1}, EVER)
        assert await store.next_due() == {}
        await store.release([c.row for c in (*first, *rest) if c.message.subscription == A])
        assert await store.next_due() == {A: start}


class TestPrune:
    async def test_only_what_finished_before_goes(self, store):
        await finish(store, Outcome.DELIVERED, message(1), at=10.0)
        await finish(store, Outcome.DELIVERED, message(2), at=20.0)
        await finish(store, Outcome.DEAD, message(3), at=10.0)
        await finish(store, Outcome.DEAD, message(4), at=20.0)
        await add(store, message(5))
        assert await prune(store, 10.0, 10.0, 99) == 0
        assert await prune(store, 20.0, 0.0, 99) == 1
        assert await store.counts() == {A: Counts(pending=1, delivered=1, dead=2)}
        assert await prune(store, 0.0, 20.0, 99) == 1
        assert await store.counts() == {A: Counts(pending=1, delivered=1, dead=1)}
        assert await prune(store, EVER, EVER, 99) == 2
        assert await store.counts() == {A: Counts(pending=1)}
        assert ids(await store.claim({A: 9}, EVER)) == ["msg_0005"]

    async def test_the_limit_holds_over_both_states(self, store):
        await finish(store, Outcome.DELIVERED, *(message(n) for n in range(5)))
        await finish(store, Outcome.DEAD, *(message(n, B) for n in range(5)))
        assert await prune(store, EVER, EVER, 0) == 0
        assert [await prune(store, EVER, EVER, 4) for _ in range(4)] == [4, 4, 2, 0]

    async def test_a_pruned_message_may_be_stored_again(self, store):
        await finish(store, Outcome.DELIVERED, message(1))
        await prune(store, EVER, EVER, 1)
        assert await add(store, message(1)) == 1

    async def test_the_volume_gets_its_room_back(self, store, store_factory):
        await finish(store, Outcome.DELIVERED, *(message(n, body=bytes(100_000)) for n in range(100)))
        full = await store.size()
        assert full > 100 * 100_000
        await prune(store, EVER, EVER, 100)
        fresh = await restart(store, store_factory)
        assert await fresh.size() < full / 10
        await fresh.close()

    async def test_room_that_was_freed_is_told_and_used_before_the_store_grows(self, store):
        await finish(store, Outcome.DELIVERED, *(message(n, body=bytes(100_000)) for n in range(40)))
        await add(store, *(message(n, body=bytes(100_000)) for n in range(40, 100)))  # so that most is in use
        assert await store.free() < 100_000
        await prune(store, EVER, EVER, 40)
        freed = await store.free()
        assert 39 * 100_000 < freed < await store.size() / 2
        await add(store, *(message(n, body=bytes(100_000)) for n in range(100, 120)))
        assert await store.free() < freed - 19 * 100_000


class TestRestart:
    async def test_everything_but_the_claims_is_kept(self, store, store_factory, clock):
        seen = Seen("u1", "5", b'{"a":1}', full=True)
        await store.commit(
            WatchCommit(PODS, [message(n) for n in range(4)], seen=[seen, Seen("u2", "5", b"", full=False)])
        )
        await store.commit(WatchCommit(PODS, forgotten=["u2"], resource_version="6"))
        await store.attach(A, PODS, "3")
        claimed = await store.claim({A: 4}, EVER)
        outcomes = [Outcome.DELIVERED, Outcome.DEAD, Outcome.RETRY]
        await store.record([attempt(c, o, retry_at=clock.now + 50) for c, o in zip(claimed, outcomes, strict=False)])

        fresh = await restart(store, store_factory)
        assert await fresh.counts() == {A: Counts(pending=2, delivered=1, dead=1)}
        assert await fresh.sequences() == {A: 3}
        assert await fresh.checkpoint(PODS) == "6"
        assert await fresh.seen(PODS, ["u1", "u2"]) == {"u1": seen}
        assert await fresh.attachments() == {(A, PODS): "3"}
        assert await fresh.next_due() == {A: clock.now}
        # the one that was claimed and not recorded is pending as before, the retried one keeps its time
        assert await fresh.claim({A: 9}, clock.now) == [claimed[3]]
        assert await fresh.claim({A: 9}, clock.now + 50) == [dataclasses.replace(claimed[2], attempts=1)]
        assert await fresh.claim({A: 9}, EVER) == []
        assert await add(fresh, message(0)) == 0
        await fresh.close()


async def test_the_bytes_that_wait_are_counted_for_each_subscription(store):
    await add(store, message(1, A), message(2, B))
    plain = (await store.counts())[A].pending_bytes
    assert plain > len(b"{}"), "headers take room too"
    await add(store, message(3, A, body=b"x" * 1002))
    assert (await store.counts())[A].pending_bytes == 2 * plain + 1000
    small, large = await store.claim({A: 2}, EVER)
    await store.record([attempt(small, Outcome.RETRY, retry_at=EVER), attempt(large, Outcome.DEAD)])
    assert {uid: found.pending_bytes for uid, found in (await store.counts()).items()} == {A: plain, B: plain}


Key = tuple[str, str]


async def agrees(
    store: Store, subscriptions: list[str], states: dict[Key, str], held: list[Claimed], replays: dict[str, set[Key]]
) -> None:
    """Compare what the store says with the model."""
    expected = {s: [state for (owner, _), state in states.items() if owner == s] for s in subscriptions}
    counts = await store.counts()
    for subscription, found in expected.items():
        recount = Counts(found.count("pending"), found.count("delivered"), found.count("dead"))
        assert counts.get(subscription, Counts()) == recount
    free = {s for s in subscriptions if expected[s].count("pending") > sum(c.message.subscription == s for c in held)}
    assert (await store.next_due()).keys() == free
    last = {key: uid for uid, keys in replays.items() for key in keys}  # the replay that selected a message last
    waiting = Counter(last[key] for key, state in states.items() if state == "pending" and key in last)
    for uid, known in (await store.replay_counts()).items():
        assert known.total - known.replayed - known.failed == waiting[uid]


@pytest.mark.parametrize("seed", range(8))
async def test_any_order_of_calls_agrees_with_a_model(store, store_factory, clock, seed: int):
    """The counters are kept, not counted: recount them in a model that can't be subtle."""
    rng = random.Random(seed)
    subscriptions = [A, B, "c"]
    states: dict[Key, str] = {}
    replays: dict[str, set[Key]] = {}
    held: list[Claimed] = []
    number = 0
    for _ in range(150):
        match rng.choice([*("add", "claim", "record") * 2, "release", "prune", "replay", "forget", "restart"]):
            case "add":
                batch = [message(number + n, rng.choice(subscriptions)) for n in range(rng.randrange(6))]
                batch += [message(rng.randrange(number + 1), rng.choice(subscriptions))]
                number += len(batch)
                new = {(m.subscription, m.id) for m in batch} - states.keys()
                assert await add(store, *batch) == len(new)
                states.update(dict.fromkeys(new, "pending"))
                replays = {uid: keys - new for uid, keys in replays.items()}
            case "claim":
                held += await store.claim({s: rng.randrange(4) for s in subscriptions}, EVER)
            case "record" if held:
                rng.shuffle(held)
                done, held = held[:3], held[3:]
                outcomes = [rng.choice(list(Outcome)) for _ in done]
                await store.record([attempt(c, o, retry_at=clock.now) for c, o in zip(done, outcomes, strict=True)])
                for claimed, outcome in zip(done, outcomes, strict=True):
                    key = (claimed.message.subscription, claimed.message.id)
                    if outcome is not Outcome.RETRY and key in states:
                        states[key] = outcome.value
            case "release" if held:
                await store.release([held.pop().row])
            case "prune":
                gone = {key for key, state in states.items() if state != "pending"}
                assert await prune(store, EVER, EVER, 10**6) == len(gone)
                states = {key: state for key, state in states.items() if key not in gone}
            case "replay":
                owner = rng.choice(subscriptions)
                again = [key for key, state in states.items() if key[0] == owner and state != "pending"]
                request = Replay(f"replay-{number}-{len(replays)}", owner, frozenset(ReplayState))
                assert (await store.replay(request)).total == len(again)
                replays[request.uid] = set(again)
                states.update(dict.fromkeys(again, "pending"))
            case "forget" if rng.random() < 0.2:
                lost = rng.choice(subscriptions)
                await store.forget_subscription(lost)
                states = {key: state for key, state in states.items() if key[0] != lost}
                held = [c for c in held if c.message.subscription != lost]
            case "restart" if rng.random() < 0.2:
                store, held = await restart(store, store_factory), []
        await agrees(store, subscriptions, states, held, replays)
    await store.close()
