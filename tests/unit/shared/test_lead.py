"""From the Lease to an outbox that this process alone writes: what is waited out, and what ends the process."""

from __future__ import annotations

from typing import Any, cast

import pytest

from hookline.controller.lease import Lease
from hookline.errors import Fenced, StoreDamaged, StoreError, StoreInUse, StoreVersionError
from hookline.lead import patiently, take_over
from hookline.outbox.store import Store

FULL = StoreError("the volume is full")


class Scripted:
    """A store whose calls fail with these errors, one after the other, and succeed then."""

    def __init__(self, **errors: list[StoreError]) -> None:
        self.errors = errors
        self.calls: list[tuple[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: Any) -> None:
            self.calls.append((name, *arguments))
            if self.errors.get(name):
                raise self.errors[name].pop(0)

        return call


class Elected:
    async def raise_epoch(self, least: int) -> int:
        return least


async def lead(store: Scripted) -> None:
    await take_over(cast(Store, store), cast(Lease, Elected()), 3, 0.0)


async def test_a_full_volume_is_waited_out_when_a_leader_takes_over():
    store = Scripted(open=[FULL, FULL], take_over=[FULL, FULL])
    await lead(store)
    assert store.calls == [("open",)] * 3 + [("take_over", 3)] * 3


async def test_a_full_volume_is_waited_out_also_by_a_leader_whose_lease_was_deleted():
    store = Scripted(take_over=[Fenced("later", 8), FULL])
    await lead(store)
    assert store.calls[1:] == [("take_over", 3), ("take_over", 9), ("take_over", 9)]


async def test_the_former_leaders_lock_is_waited_out():
    store = Scripted(open=[StoreInUse("in use")])
    await lead(store)
    assert store.calls == [("open",), ("open",), ("take_over", 3)]


@pytest.mark.parametrize("error", [StoreDamaged("damaged"), StoreVersionError("newer"), Fenced("later")])
async def test_what_can_not_heal_is_not_waited_for(error: StoreError):
    with pytest.raises(type(error)):
        await patiently(Scripted(open=[error]).open, 0.0)


async def test_without_an_election_a_second_process_does_not_wait_for_the_first():
    with pytest.raises(StoreInUse):
        await patiently(Scripted(open=[StoreInUse("in use")]).open, 0.0)


async def test_each_reason_to_wait_is_logged_once_until_there_is_another(caplog: pytest.LogCaptureFixture):
    reasons = ["full", "full", "full", "read-only", "full"]
    await patiently(Scripted(open=[StoreError(reason) for reason in reasons]).open, 0.0)
    assert [record.getMessage().rpartition(" ")[2] for record in caplog.records] == ["full", "read-only", "full"]
