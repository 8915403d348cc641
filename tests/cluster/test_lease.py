"""The election against a real API server: one leads, epochs grow, and who lost knows it. Clocks are the test's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from hookline.controller.lease import Lease
from hookline.errors import ApiError, LeadershipLost
from hookline.kube import KubeClient

RETRY = 0.01


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def candidate(client: KubeClient, namespace: str) -> Callable[..., tuple[Lease, Clock]]:
    """``candidate("a")``: a part in the election of the test's namespace, with a clock of its own."""

    def make(identity: str, api: Any = None) -> tuple[Lease, Clock]:
        clock = Clock()
        return Lease(api or client, namespace, "hookline", identity, retry=RETRY, clock=clock), clock

    return make


async def read(client: KubeClient, namespace: str) -> Any:
    return await client.request("GET", f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/hookline")


async def looks_twice(lease: Lease) -> None:
    """Let it look at the Lease, once to see it and once to judge."""
    assert not await lease._try_to_acquire()
    assert not await lease._try_to_acquire()


async def test_the_first_makes_the_lease_and_leads(client: KubeClient, candidate: Any, namespace: str) -> None:
    lease, _ = candidate("a")
    assert not lease.leading
    assert await lease.acquire() == 1
    assert lease.leading
    spec = (await read(client, namespace))["spec"]
    assert (spec["holderIdentity"], spec["leaseTransitions"], spec["leaseDurationSeconds"]) == ("a", 1, 15)


async def test_of_many_that_begin_at_once_exactly_one_leads(candidate: Any) -> None:
    leases = [candidate(str(number))[0] for number in range(8)]
    assert sum(await asyncio.gather(*(lease._try_to_acquire() for lease in leases))) == 1
    assert sum(lease.leading for lease in leases) == 1


async def test_a_leader_is_followed_only_after_a_full_duration_without_a_sign_of_life(candidate: Any) -> None:
    first, _ = candidate("a")
    await first.acquire()
    second, clock = candidate("b")
    await looks_twice(second)
    clock.now += 14.9
    await looks_twice(second)
    await first._renew()
    clock.now += 14.9
    await looks_twice(second)  # the sign of life was seen only now, so the time counts from now
    clock.now += 15.1
    assert await second.acquire() == 2


async def test_clocks_of_different_machines_are_never_compared(
    client: KubeClient, candidate: Any, namespace: str
) -> None:
    first, _ = candidate("a")
    await first.acquire()
    lease = await read(client, namespace)
    lease["spec"] |= {"renewTime": "1999-01-01T00:00:00.000000Z", "acquireTime": "1999-01-01T00:00:00.000000Z"}
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/hookline"
    await client.request("PUT", path, body=lease)
    second, _ = candidate("b")
    await looks_twice(second)


async def test_a_released_lease_is_taken_at_once_under_the_next_epoch(candidate: Any) -> None:
    first, _ = candidate("a")
    await first.acquire()
    await first.release()
    assert not first.leading
    second, _ = candidate("b")
    assert await second.acquire() == 2


async def test_who_was_replaced_learns_it_with_the_next_renewal(candidate: Any) -> None:
    first, _ = candidate("a")
    await first.acquire()
    second, clock = candidate("b")
    await looks_twice(second)
    clock.now += 15.1
    await second.acquire()
    with pytest.raises(LeadershipLost, match="b holds the Lease"):
        await first.keep()
    with pytest.raises(LeadershipLost):
        await first.raise_epoch(9)


async def test_who_only_touches_the_lease_ends_no_leadership(
    client: KubeClient, candidate: Any, namespace: str
) -> None:
    lease, _ = candidate("a")
    await lease.acquire()
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/hookline"
    note = {"metadata": {"annotations": {"seen": "yes"}}}
    await client.request("PATCH", path, body=note, content_type="application/merge-patch+json")
    await lease._renew()
    await lease._renew()
    assert lease.leading
    assert (await read(client, namespace))["metadata"]["annotations"] == {"seen": "yes"}


async def test_a_deleted_lease_ends_the_leadership_and_the_epoch_can_be_raised_again(
    client: KubeClient, candidate: Any, namespace: str
) -> None:
    lease, _ = candidate("a")
    await lease.acquire()
    await client.request("DELETE", f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/hookline")
    with pytest.raises(LeadershipLost, match="deleted"):
        await lease.keep()
    again, _ = candidate("b")
    assert await again.acquire() == 1
    assert await again.raise_epoch(8) == 8
    assert (await read(client, namespace))["spec"]["leaseTransitions"] == 8


class Unreachable:
    """An API that answers until it is cut off."""

    def __init__(self, client: KubeClient) -> None:
        self.client = client
        self.cut = False

    async def request(self, *arguments: Any, **named: Any) -> Any:
        if self.cut:
            raise ApiError(0, "no answer")
        return await self.client.request(*arguments, **named)


async def test_without_an_answer_the_leadership_ends_before_another_may_begin(
    client: KubeClient, candidate: Any
) -> None:
    api = Unreachable(client)
    first, clock = candidate("a", api)
    await first.acquire()
    api.cut = True
    clock.now += 9.9
    assert first.leading
    clock.now += 0.2
    assert not first.leading, "known without any answer, at the deadline, which is before the duration"
    with pytest.raises(LeadershipLost, match="not renewed for 10 s"):
        await first.keep()


async def test_a_pause_of_the_whole_process_is_noticed_before_anything_else_is_done(candidate: Any) -> None:
    lease, clock = candidate("a")
    await lease.acquire()
    keeping = asyncio.create_task(lease.keep())
    await asyncio.sleep(0)  # let it begin
    clock.now += 60.0  # as monotonic time does while a process is stopped
    assert not lease.leading
    keeping.cancel()
