"""What is kept of finished messages: so long and so much, fairly shared, and nothing that still has to be sent."""

from __future__ import annotations

import pytest

from hookline.model import Counts, Message, Outcome
from hookline.stored import Pruned, Retention
from support.outbox import EVER, ROOMY, A, B, add, finish, ids, message, restart

KILO = 1000
HEADERS = len(b'[["content-type","application/json"]]')
ALL = Retention(0.0, ROOMY)


def kilo(number: int, subscription: str = A) -> Message:
    """A message that takes 1,000 bytes."""
    return message(number, subscription, body=bytes(KILO - HEADERS))


async def finished(store, outcome: Outcome, number: int, subscription: str = A) -> None:
    for n in range(number):
        await finish(store, outcome, kilo(n, subscription), at=100.0 + n)


async def stored_again(store, number: int, subscription: str = A) -> list[str]:
    """Which of the first ``number`` messages are gone: those can be stored anew."""
    before = (await store.counts())[subscription].pending
    await add(store, *(kilo(n, subscription) for n in range(number)))
    claimed = await store.claim({subscription: number + before}, EVER)
    return sorted(ids(claimed))


async def test_the_oldest_go_until_the_rest_fits(store):
    await finished(store, Outcome.DELIVERED, 6)
    assert await store.prune(Retention(0.0, 6 * KILO), ALL, 99) == Pruned()
    assert await store.prune(Retention(0.0, 4 * KILO), ALL, 99) == Pruned(crowded=Counts(delivered=2))
    assert await store.counts() == {A: Counts(delivered=4)}
    assert await stored_again(store, 6) == ["msg_0000", "msg_0001"]


async def test_what_fits_by_a_byte_stays_and_what_is_too_large_by_a_byte_goes(store):
    await finished(store, Outcome.DEAD, 2)
    assert (await store.prune(ALL, Retention(0.0, 2 * KILO), 99)).total == 0
    assert await store.prune(ALL, Retention(0.0, 2 * KILO - 1), 99) == Pruned(crowded=Counts(dead=1))
    assert await store.prune(ALL, Retention(0.0, 0), 99) == Pruned(crowded=Counts(dead=1))


async def test_each_state_has_its_own_room_and_pending_messages_take_none(store):
    await finished(store, Outcome.DELIVERED, 3)
    await finished(store, Outcome.DEAD, 3, B)
    await add(store, *(kilo(n) for n in range(10, 20)))
    assert await store.prune(Retention(0.0, KILO), Retention(0.0, 2 * KILO), 99) == Pruned(
        crowded=Counts(delivered=2, dead=1)
    )
    assert await store.counts() == {A: Counts(pending=10, delivered=1), B: Counts(dead=2)}


async def test_a_noisy_subscription_does_not_push_out_what_others_keep(store):
    await finished(store, Outcome.DEAD, 2, B)  # the oldest of all
    await finished(store, Outcome.DEAD, 20, A)
    assert await store.prune(ALL, Retention(0.0, 10 * KILO), 99) == Pruned(crowded=Counts(dead=12))
    assert await store.counts() == {A: Counts(dead=8), B: Counts(dead=2)}


async def test_the_limit_holds_and_the_next_calls_go_on(store):
    await finished(store, Outcome.DELIVERED, 5)
    await finished(store, Outcome.DEAD, 5, B)
    nothing = Retention(0.0, 0)
    assert [(await store.prune(nothing, nothing, 4)).total for _ in range(4)] == [4, 4, 2, 0]


async def test_age_comes_before_room(store):
    await finished(store, Outcome.DEAD, 6)
    gone = await store.prune(ALL, Retention(102.0, 3 * KILO), 99)
    assert gone == Pruned(aged=Counts(dead=2), crowded=Counts(dead=1))


async def test_the_room_that_is_taken_is_known_after_a_restart(store, store_factory):
    await finished(store, Outcome.DELIVERED, 4)
    fresh = await restart(store, store_factory)
    assert (await fresh.prune(Retention(0.0, 3 * KILO), ALL, 99)).total == 1
    await fresh.close()


@pytest.mark.parametrize("outcome", [Outcome.DELIVERED, Outcome.DEAD])
async def test_a_forgotten_subscription_takes_no_room(store, outcome):
    await finished(store, outcome, 5)
    await store.forget_subscription(A)
    await finished(store, outcome, 2, B)
    bound = Retention(0.0, 2 * KILO)
    assert (await store.prune(bound, bound, 99)).total == 0
