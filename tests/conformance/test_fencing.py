"""Who may write: an epoch, taken over, keeps everybody of an older one out. Any backend must pass."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from hookline.errors import Fenced
from hookline.model import Attempt, Message, Outcome, Verdict, WatchCommit
from hookline.outbox.sqlite import SqliteStore
from hookline.outbox.store import Store
from hookline.stored import Retention

SCOPE = "v1/pods@shop"


async def usurp(store: Store, epoch: int) -> None:
    """What another process's ``take_over`` leaves in the same storage, while this store believes that it is alone."""
    assert isinstance(store, SqliteStore)  # its file lets no second handle in; another backend would use one
    statement = f"UPDATE epoch SET number = {epoch}"
    await store._writer.submit(lambda session: session.connection.execute(statement).fetchall(), writes=False)


def message(number: int = 1) -> Message:
    return Message(f"msg_{number}", "sub", number, "uid", "type", (), b"{}", observed=1.0)


async def test_an_epoch_is_taken_over_and_outlives_a_restart(store_factory: Callable[[], Store]):
    store = store_factory()
    await store.open()
    await store.take_over(3)
    assert await store.commit(WatchCommit(SCOPE, [message()])) == 1
    await store.close()
    again = store_factory()
    await again.open()
    with pytest.raises(Fenced) as refused:
        await again.take_over(2)
    assert refused.value.epoch == 3
    await again.take_over(4)
    await again.close()


async def test_who_took_nothing_over_works_under_the_epoch_that_it_found(store_factory: Callable[[], Store]):
    store = store_factory()
    await store.open()
    await store.take_over(3)
    await store.close()
    again = store_factory()
    await again.open()
    assert await again.commit(WatchCommit(SCOPE, [message()])) == 1
    await again.close()


async def test_the_control_without_another_process_every_call_goes_through(store: Store):
    await store.take_over(1)
    for call in await _changes(store):
        await call()


async def test_after_another_process_took_over_nothing_can_be_changed_any_more(store: Store):
    await store.take_over(1)
    changes = await _changes(store)
    await usurp(store, 2)
    before = await store.counts(), await store.checkpoint(SCOPE), await store.attachments(), await store.subscriptions()
    for call in changes:
        with pytest.raises(Fenced) as refused:
            await call()
        assert refused.value.epoch == 2
    after = await store.counts(), await store.checkpoint(SCOPE), await store.attachments(), await store.subscriptions()
    assert after == before


async def test_a_later_leader_takes_over_from_whoever_is_in_force(store: Store):
    await store.take_over(1)
    await usurp(store, 2)
    with pytest.raises(Fenced):
        await store.take_over(1)
    await store.take_over(3)
    assert await store.commit(WatchCommit(SCOPE, [message()])) == 1


async def _changes(store: Store) -> list[Callable[[], Awaitable[object]]]:
    """One call of everything that changes something, with something to change."""
    await store.commit(WatchCommit(SCOPE, [message()], resource_version="1"))
    await store.attach("sub", SCOPE, "1")
    (claimed,) = await store.claim({"sub": 1}, 4e9)
    delivered = Attempt(claimed, Verdict(Outcome.DELIVERED, "Delivered", 200), 1.0, 1.0)
    return [
        lambda: store.commit(WatchCommit(SCOPE, [message(2)], resource_version="2")),
        lambda: store.record([delivered]),
        lambda: store.attach("other", SCOPE, "1"),
        lambda: store.detach("sub", SCOPE),
        lambda: store.prune(Retention(4e9, 0), Retention(4e9, 0), 10),
        lambda: store.forget_subscription("sub"),
        lambda: store.forget_scope(SCOPE),
    ]
