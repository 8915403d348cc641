"""What ``Store.claim`` promises beyond due time and age: order per object, a bound for retries, a bound for bytes."""

from __future__ import annotations

import random

import pytest

from hookline.model import Claimed, Outcome
from hookline.stored import Replay, ReplayState
from support.outbox import EVER, A, B, add, attempt, ids, message, restart

ORDERED = frozenset({A})


async def claim(store, limit=100, now=EVER, **bounds):
    return await store.claim({A: limit}, now, **{"ordered": ORDERED, **bounds})


def of(number, object_uid, subscription=A, **changes):
    return message(number, subscription, object_uid=object_uid, **changes)


class TestOrder:
    async def test_only_the_oldest_of_each_object_is_handed_out(self, store):
        await add(store, *(of(n, "xyz"[n % 3]) for n in range(9)))
        assert ids(await claim(store)) == ["msg_0000", "msg_0001", "msg_0002"]
        assert await claim(store) == []

    async def test_the_control_without_order_all_are(self, store):
        await add(store, *(of(n, "xyz"[n % 3]) for n in range(9)))
        assert len(await claim(store, ordered=())) == 9

    @pytest.mark.parametrize("end", [Outcome.DELIVERED, Outcome.DEAD])
    async def test_the_next_one_goes_when_the_first_is_finished_and_not_before(self, store, end):
        await add(store, of(1, "x"), of(2, "x"))
        (first,) = await claim(store)
        assert await claim(store) == []
        await store.record([attempt(first, end)])
        assert ids(await claim(store)) == ["msg_0002"]

    async def test_one_that_is_retried_keeps_its_object_back_and_no_other(self, store, clock):
        await add(store, of(1, "x"), of(2, "x"), of(3, "y"), of(4, "y"))
        first, other = await claim(store)
        await store.record([attempt(first, Outcome.RETRY, retry_at=clock.now + 60), attempt(other, Outcome.DELIVERED)])
        assert ids(await claim(store, now=clock.now + 59)) == ["msg_0004"]
        assert ids(await claim(store, now=clock.now + 60)) == ["msg_0001"]

    async def test_released_it_comes_again_before_the_later_ones(self, store):
        await add(store, of(1, "x"), of(2, "x"))
        (first,) = await claim(store)
        await store.release([first.row])
        assert ids(await claim(store)) == ["msg_0001"]

    async def test_what_comes_while_an_older_one_waits_stays_behind_it(self, store, clock):
        await add(store, of(1, "x"))
        (first,) = await claim(store)
        await store.record([attempt(first, Outcome.RETRY, retry_at=clock.now + 60)])
        clock.now -= 100  # even with a clock that was set back
        await add(store, of(2, "x"))
        assert await claim(store, now=clock.now + 159) == []
        assert ids(await claim(store)) == ["msg_0001"]

    async def test_the_same_object_of_another_subscription_is_another_object(self, store):
        await add(store, of(1, "x"), of(2, "x"), of(1, "x", B), of(2, "x", B))
        both = await store.claim({A: 9, B: 9}, EVER, ordered=frozenset({A, B}))
        assert [(c.message.subscription, c.message.id) for c in both] == [(A, "msg_0001"), (B, "msg_0001")]
        mixed = await store.claim({A: 9, B: 9}, EVER, ordered=ORDERED)
        assert [(c.message.subscription, c.message.id) for c in mixed] == [(B, "msg_0002")]

    async def test_a_restart_keeps_the_order(self, store, store_factory, clock):
        await add(store, *(of(n, "xy"[n % 2]) for n in range(6)))
        first, second = await claim(store)
        await store.record([attempt(first, Outcome.DELIVERED), attempt(second, Outcome.RETRY, retry_at=clock.now + 60)])
        fresh = await restart(store, store_factory)
        assert ids(await claim(fresh, now=clock.now)) == ["msg_0002"]
        await add(fresh, of(6, "x"), of(7, "y"), of(8, "z"))
        assert ids(await claim(fresh)) == ["msg_0008", "msg_0001"]  # in order of due time
        await fresh.close()

    async def test_order_may_be_asked_for_and_given_up_with_messages_stored(self, store):
        await add(store, *(of(n, "x") for n in range(4)))
        taken = await claim(store, 2, ordered=())
        assert await claim(store) == []  # the first of the object is handed out already
        await store.record([attempt(taken[0], Outcome.DELIVERED)])
        assert await claim(store) == []  # the next one is, too
        await store.record([attempt(taken[1], Outcome.DELIVERED)])
        assert ids(await claim(store)) == ["msg_0002"]
        assert ids(await claim(store, ordered=())) == ["msg_0003"]

    async def test_one_behind_a_later_one_that_went_without_order_waits_for_it(self, store):
        await add(store, of(1, "x"), of(2, "x"))
        first, second = await claim(store, ordered=())
        await store.release([first.row])
        assert await claim(store) == []
        await store.record([attempt(second, Outcome.DELIVERED)])
        assert ids(await claim(store)) == ["msg_0001"]

    async def test_order_may_be_asked_for_before_anything_is_stored(self, store):
        assert await claim(store) == []
        await add(store, of(1, "x"), of(2, "x"))
        assert ids(await claim(store)) == ["msg_0001"]

    async def test_a_forgotten_subscription_that_comes_back_is_ordered_again(self, store):
        await add(store, of(1, "x"))
        await claim(store)
        await store.forget_subscription(A)
        await add(store, of(2, "x"), of(3, "x"))
        assert ids(await claim(store)) == ["msg_0002"]

    async def test_a_replayed_message_goes_before_later_ones_that_still_wait(self, store):
        await add(store, *(of(n, "x") for n in range(1, 4)))
        (first,) = await claim(store)
        await store.record([attempt(first, Outcome.DEAD)])
        await store.replay(Replay("r", A, frozenset({ReplayState.DEAD})))
        assert ids(await claim(store)) == ["msg_0001"]
        assert await claim(store) == []

    async def test_the_next_due_time_is_that_of_what_can_be_handed_out(self, store, clock):
        await add(store, of(1, "x"), of(2, "x"))
        (first,) = await claim(store)
        assert await store.next_due() == {}
        await store.record([attempt(first, Outcome.RETRY, retry_at=clock.now + 60)])
        assert await store.next_due() == {A: clock.now + 60}

    @pytest.mark.parametrize("seed", range(6))
    async def test_whatever_happens_no_message_overtakes_another_of_its_object(
        self, store, store_factory, clock, seed: int
    ):
        rng = random.Random(seed)
        model = Model(store, rng, clock)
        for _ in range(200):
            await rng.choice(
                [model.add, model.claim, model.claim, model.record, model.record, model.release, model.replay]
            )()
            if rng.random() < 0.03:
                model.store, model.held = await restart(model.store, store_factory), []
        await model.drain()
        await model.store.close()


class Model:
    """What waits, by object, in a form that can't be subtle; every claim is compared with it."""

    def __init__(self, store, rng: random.Random, clock) -> None:
        self.store = store
        self.rng = rng
        self.clock = clock
        self.pending: dict[str, list[int]] = {name: [] for name in "vwxyz"}
        self.dead: list[tuple[str, int]] = []
        self.held: list[Claimed] = []
        self.number = self.replays = 0

    async def add(self):
        for _ in range(self.rng.randrange(4)):
            name = self.rng.choice("vwxyz")
            await add(self.store, of(self.number, name))
            self.pending[name].append(self.number)
            self.number += 1

    async def claim(self):
        for claimed in await claim(self.store, self.rng.randrange(4)):
            name = claimed.message.object_uid
            assert claimed.message.sequence == min(self.pending[name])
            assert name not in {other.message.object_uid for other in self.held}
            self.held.append(claimed)

    async def record(self, outcome=None):
        if not self.held:
            return
        claimed = self.held.pop(self.rng.randrange(len(self.held)))
        outcome = outcome or self.rng.choice(list(Outcome))
        await self.store.record([attempt(claimed, outcome, retry_at=self.clock.now)])
        if outcome is not Outcome.RETRY:
            self.pending[claimed.message.object_uid].remove(claimed.message.sequence)
        if outcome is Outcome.DEAD:
            self.dead.append((claimed.message.object_uid, claimed.message.sequence))

    async def release(self):
        if self.held:
            await self.store.release([self.held.pop().row])

    async def replay(self):
        if self.dead and not self.held:
            self.replays += 1
            await self.store.replay(Replay(f"r{self.replays}", A, frozenset({ReplayState.DEAD})))
            for name, sequence in self.dead:
                self.pending[name].append(sequence)
            self.dead.clear()

    async def drain(self):
        while self.held:
            await self.record(Outcome.DELIVERED)
        while claims := await claim(self.store):
            self.held = list(claims)
            heads = {c.message.object_uid: c.message.sequence for c in self.held}
            assert heads == {name: min(waiting) for name, waiting in self.pending.items() if waiting}
            while self.held:
                await self.record(Outcome.DELIVERED)
        assert not any(self.pending.values())


class TestRetries:
    async def retried(self, store, count):
        await add(store, *(message(n) for n in range(count)))
        claims = await store.claim({A: count}, EVER)
        await store.record([attempt(c, Outcome.RETRY, retry_at=1.0) for c in claims])

    async def test_no_more_retries_than_asked_for_are_handed_out_and_the_rest_is_filled_with_new_ones(self, store):
        await self.retried(store, 50)
        await add(store, *(message(n) for n in range(100, 110)))
        claims = await store.claim({A: 8}, EVER, retries={A: 6})
        assert [c.attempts for c in claims] == [1] * 6 + [0] * 2

    async def test_the_control_without_a_bound_retries_that_are_due_longer_take_all(self, store):
        await self.retried(store, 50)
        await add(store, *(message(n) for n in range(100, 110)))
        assert [c.attempts for c in await store.claim({A: 8}, EVER)] == [1] * 8

    async def test_none_may_be_asked_for(self, store):
        await self.retried(store, 5)
        assert await store.claim({A: 8}, EVER, retries={A: 0}) == []
        assert len(await store.claim({A: 8}, EVER, retries={B: 0})) == 5

    async def test_the_bound_holds_with_order_too(self, store):
        await add(store, *(of(n, f"uid-{n}") for n in range(6)))
        await store.record([attempt(c, Outcome.RETRY, retry_at=1.0) for c in await claim(store)])
        await add(store, *(of(n, f"uid-{n % 6}") for n in range(6, 18)), of(20, "new"))
        claims = await claim(store, retries={A: 2})
        assert ids(claims) == ["msg_0000", "msg_0001", "msg_0020"]


class TestRoom:
    async def test_none_is_added_once_the_bodies_hold_the_bytes_asked_for(self, store):
        await add(store, *(message(n, body=bytes(1000)) for n in range(10)), message(1, B, body=bytes(1000)))
        claims = await store.claim({A: 10, B: 10}, EVER, room={A: 2500})
        assert sorted(c.message.subscription for c in claims) == [A] * 3 + [B]
        assert len(await store.claim({A: 10}, EVER)) == 7

    async def test_one_message_larger_than_that_is_handed_out_alone(self, store):
        await add(store, message(1, body=bytes(9000)), message(2))
        assert ids(await store.claim({A: 10}, EVER, room={A: 10})) == ["msg_0001"]

    async def test_no_room_is_no_message(self, store):
        await add(store, message(1))
        assert await store.claim({A: 10}, EVER, room={A: 0}) == []
