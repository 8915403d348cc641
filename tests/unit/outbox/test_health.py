"""How the outbox is: what counts as failing, when it heals, and what shuts the gate."""

from __future__ import annotations

from typing import Any, cast

import pytest

from hookline.errors import Fenced, StoreDamaged, StoreError, ValueRefused
from hookline.model import WatchCommit
from hookline.outbox.health import GIVEN_UP_SECONDS, OPERATIONS, StoreHealth
from hookline.outbox.store import Store


class Scripted:
    """A store whose calls fail as long as ``error`` is set; the calls that reached it are kept."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        async def call(*_: Any) -> str:
            self.calls.append(name)
            if self.error is not None:
                raise self.error
            return "done"

        return call


class Observed:
    def __init__(self) -> None:
        self.now = 100.0
        self.admitted = True
        self.errors: list[str] = []
        self.fatal: list[StoreError] = []
        self.inner = Scripted()
        self.health = StoreHealth(lambda: self.now, self.errors.append, self.fatal.append, lambda: self.admitted)
        self.store = self.health.watched(cast(Store, self.inner))

    async def commit(self) -> object:
        return await self.store.commit(WatchCommit("scope"))


@pytest.fixture
def observed() -> Observed:
    return Observed()


def test_every_call_of_a_store_is_watched():
    assert {"open", "close", "take_over", "commit", "claim", "record", "prune", "size"} <= set(OPERATIONS)


async def test_a_call_that_succeeds_gives_its_result_and_leaves_nothing(observed: Observed):
    assert await observed.commit() == "done"
    assert (observed.health.failing, observed.errors, observed.fatal) == ("", [], [])


async def test_a_failing_write_is_counted_and_not_healed_by_reads_but_by_its_repetition(observed: Observed):
    observed.inner.error = StoreError("full")
    with pytest.raises(StoreError, match="full"):
        await observed.commit()
    observed.inner.error = None
    await observed.store.counts()
    assert observed.health.failing == "full"
    assert observed.errors == ["commit"]
    await observed.commit()
    assert observed.health.failing == ""
    assert observed.fatal == []


async def test_a_failure_that_nobody_repeats_says_nothing_after_a_while(observed: Observed):
    observed.inner.error = StoreError("full")
    with pytest.raises(StoreError):
        await observed.commit()
    observed.now += GIVEN_UP_SECONDS + 1
    assert observed.health.failing == ""


async def test_a_refused_value_is_no_failure_of_the_outbox(observed: Observed):
    observed.inner.error = ValueRefused("no Unicode")
    with pytest.raises(ValueRefused):
        await observed.commit()
    assert observed.health.failing == ""
    assert observed.errors == ["commit"]


@pytest.mark.parametrize("error", [StoreDamaged("damaged"), Fenced("fenced", 3)])
async def test_what_can_not_heal_is_told_once_and_nothing_reaches_the_store_afterwards(
    observed: Observed, error: StoreError
):
    observed.inner.error = error
    with pytest.raises(type(error)):
        await observed.commit()
    observed.inner.error = None
    for _ in range(3):
        with pytest.raises(type(error), match=str(error)):
            await observed.commit()
    assert observed.inner.calls == ["commit"]
    assert observed.fatal == [error]
    await observed.store.close()


async def test_a_refused_take_over_may_be_answered_by_a_later_epoch(observed: Observed):
    observed.inner.error = Fenced("older", 3)
    with pytest.raises(Fenced):
        await observed.store.take_over(2)
    observed.inner.error = None
    await observed.store.take_over(4)
    assert observed.fatal == []


async def test_who_leads_no_longer_does_not_touch_the_store(observed: Observed):
    observed.admitted = False
    with pytest.raises(Fenced, match="Lease ran out"):
        await observed.commit()
    assert observed.inner.calls == []
    assert [type(error) for error in observed.fatal] == [Fenced]
    observed.admitted = True  # too late: another may have begun meanwhile
    with pytest.raises(Fenced):
        await observed.commit()
