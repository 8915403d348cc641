"""What every outbox shows to readers: pages, one message with its content, and the news of changes."""

from __future__ import annotations

import pytest

from hookline.errors import StoreError
from hookline.model import Outcome
from hookline.outbox import sqlite_browse
from hookline.outbox.store import Store
from hookline.stored import DeliveryState, Replay, ReplayState
from support.outbox import EVER, A, B, add, attempt, finish, message, prune, restart

ALL = frozenset(DeliveryState)
PENDING, IN_FLIGHT, DELIVERED, DEAD = DeliveryState


async def pages(store: Store, states=ALL, limit: int = 2, uid: str = A) -> list[list[int]]:
    """The sequence numbers on all pages."""
    found, before, more = [], None, True
    while more:
        page = await store.deliveries(uid, states, limit, before)
        found.append([item.sequence for item in page.items])
        before, more = page.before, page.before is not None
    return found


class TestPages:
    async def test_pages_go_from_the_newest_to_the_oldest_without_a_gap_or_a_repetition(self, store):
        await add(store, *(message(n) for n in (3, 1, 5, 2, 4)), message(9, B))
        assert await pages(store) == [[5, 4], [3, 2], [1]]
        assert await pages(store, uid=B) == [[9]]

    async def test_what_is_stored_meanwhile_is_on_no_later_page(self, store):
        await add(store, *(message(n) for n in range(1, 5)))
        first = await store.deliveries(A, ALL, 2)
        await add(store, message(5), message(6))
        second = await store.deliveries(A, ALL, 9, first.before)
        assert [item.sequence for item in first.items + second.items] == [4, 3, 2, 1]

    async def test_what_goes_meanwhile_takes_nothing_else_along(self, store):
        await finish(store, Outcome.DELIVERED, *(message(n) for n in range(1, 4)))
        await add(store, message(4), message(5))
        first = await store.deliveries(A, ALL, 3)
        assert await prune(store, 1000.0, 0.0, 2) == 2
        second = await store.deliveries(A, ALL, 9, first.before)
        assert [item.sequence for item in first.items] == [5, 4, 3]
        assert {item.sequence for item in second.items} <= {1, 2}

    async def test_a_page_has_only_the_wanted_states(self, store):
        await finish(store, Outcome.DEAD, message(1), message(4))
        await finish(store, Outcome.DELIVERED, message(2))
        await add(store, message(3), message(5))
        [claimed] = await store.claim({A: 1}, EVER)
        assert claimed.message.sequence == 3
        seen = {state: (await pages(store, {state}, 9))[0] for state in DeliveryState}
        assert seen == {PENDING: [5], IN_FLIGHT: [3], DELIVERED: [2], DEAD: [4, 1]}

    async def test_one_call_reads_a_bounded_number_and_the_pages_reach_what_lies_behind(self, store):
        await finish(store, Outcome.DEAD, message(1))
        await add(store, *(message(n) for n in range(2, 2 * sqlite_browse.SCAN + 2)))
        assert await pages(store, {DEAD}, 10) == [[], [], [1]]

    async def test_nothing_is_known_of_a_stranger(self, store):
        assert await pages(store) == [[]]
        assert await store.delivery(A, "msg_0001") is None
        assert await store.deliveries_of(A, ["msg_0001"]) == {}


class TestOne:
    async def test_it_has_its_content_and_what_became_of_it(self, store, clock):
        stored = message(7, headers=(("content-type", "text/plain"), ("ce-id", "x")), body=b"caf\xc3\xa9 \x00\xff")
        await add(store, stored)
        [claimed] = await store.claim({A: 1}, EVER)
        await store.record([attempt(claimed, Outcome.DEAD, at=clock.now + 5)])
        found, content = await store.delivery(A, stored.id)
        assert content == stored
        assert (found.state, found.attempts, found.reason, found.status_code) == (DEAD, 1, "HTTP503", 503)
        assert (found.stored, found.finished, found.due) == (clock.now, clock.now + 5, None)
        assert (found.id, found.sequence, found.object_uid) == (stored.id, 7, stored.object_uid)
        assert found.size >= len(stored.body)
        assert await store.deliveries_of(A, [stored.id]) == {stored.id: found}
        assert (await store.deliveries(A, ALL, 1)).items == (found,)

    async def test_one_that_waits_for_its_next_attempt_says_when_it_is_due(self, store):
        await add(store, message(1))
        [claimed] = await store.claim({A: 1}, EVER)
        assert (await store.delivery(A, "msg_0001"))[0].state is IN_FLIGHT
        await store.record([attempt(claimed, Outcome.RETRY, retry_at=2000.0)])
        found, _ = await store.delivery(A, "msg_0001")
        assert (found.state, found.due, found.finished, found.attempts) == (PENDING, 2000.0, None, 1)

    async def test_a_message_of_another_subscription_is_not_there(self, store):
        await add(store, message(1), message(2, B))
        assert await store.delivery(A, "msg_0002") is None
        assert list(await store.deliveries_of(A, ["msg_0001", "msg_0002"])) == ["msg_0001"]
        _, found = await store.delivery(B, "msg_0002")
        assert found.subscription == B

    async def test_what_was_in_flight_is_not_after_a_restart(self, store, store_factory):
        await add(store, message(1))
        await store.claim({A: 1}, EVER)
        fresh = await restart(store, store_factory)
        found = await fresh.delivery(A, "msg_0001")
        assert found is not None
        assert found[0].state is PENDING
        await fresh.close()


class TestFollow:
    async def test_what_is_stored_handed_out_and_recorded_is_told(self, store):
        told: list[str] = []
        end = await store.follow(A, told.append)
        await add(store, message(1), message(2, B))
        assert told == ["msg_0001"]
        [claimed] = await store.claim({A: 1}, EVER)
        assert told == ["msg_0001"] * 2
        await store.record([attempt(claimed, Outcome.DEAD)])
        assert told == ["msg_0001"] * 3
        end()
        await add(store, message(3))
        assert len(told) == 3

    async def test_what_is_told_can_be_read(self, store):
        states: list[str] = []
        waiting: list[str] = []
        await store.follow(A, waiting.append)

        async def look() -> None:
            states.append((await store.deliveries_of(A, waiting))[waiting[-1]].state)

        await add(store, message(1))
        await look()
        [claimed] = await store.claim({A: 1}, EVER)
        await look()
        await store.record([attempt(claimed, Outcome.DELIVERED)])
        await look()
        await store.replay(Replay("again", A, frozenset({ReplayState.DELIVERED})))
        await store.claim({A: 1}, EVER)
        await look()
        assert states == [PENDING, IN_FLIGHT, DELIVERED, IN_FLIGHT]

    async def test_several_follow_and_each_ends_alone(self, store):
        one: list[str] = []
        two: list[str] = []
        end_one, end_two = await store.follow(A, one.append), await store.follow(A, two.append)
        await add(store, message(1))
        end_one()
        await add(store, message(2))
        end_two()
        await add(store, message(3))
        assert (one, two) == (["msg_0001"], ["msg_0001", "msg_0002"])

    async def test_what_was_not_stored_is_not_told(self, store):
        told: list[str] = []
        await store.follow(A, told.append)
        with pytest.raises(StoreError):
            await add(store, message(1, id="\ud800"))
        assert told == []
