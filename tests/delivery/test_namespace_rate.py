"""The rate of a namespace: its lanes share it, and another namespace's do not notice. The clock is ours."""

from __future__ import annotations

import asyncio
import time

import pytest

from hookline.deliver.client import Client
from hookline.deliver.dial import tls_context
from hookline.deliver.lane import Lane
from hookline.deliver.share import Share
from hookline.deliver.worker import Dispatcher
from hookline.model import Claimed, WatchCommit
from hookline.outbox.sqlite import SqliteStore
from support.dispatching import JUDGE
from support.receiver import Receiver
from support.sending import LOOPBACK, Attempts, message, target

NOW = 1_700_000_000.0


def lane(shared: Share) -> Lane:
    made = Lane(target("https://a.example/", max_in_flight=64), shared)
    made.accept([Claimed(number, message(number), 0, NOW) for number in range(40)], NOW)
    return made


def taken(lanes: list[Lane], now: float) -> int:
    count = 0
    for one in lanes:
        while one.take(now) is not None:
            count += 1
    return count


def test_lanes_that_share_a_rate_keep_it_together():
    shared = Share(rate=10)
    lanes = [lane(shared), lane(shared)]
    assert taken(lanes, NOW) == 10
    assert taken(lanes, NOW + 1) == 10
    assert min(one.ready_at(NOW + 1) for one in lanes) == pytest.approx(NOW + 1.1)


def test_the_control_without_it_each_goes_as_fast_as_it_can():
    assert taken([lane(Share()), lane(Share())], NOW) == 80


def test_another_namespace_has_its_own():
    mine, other = Share(rate=1), Share(rate=10)
    assert taken([lane(mine)], NOW) == 1
    assert taken([lane(other)], NOW) == 10


async def test_the_dispatcher_gives_each_namespace_a_rate(tmp_path):
    """All of a second's share go at once; what exceeds it waits, and is delivered."""
    store = SqliteStore(tmp_path / "outbox.db")
    await store.open()
    attempts = Attempts()
    async with Receiver() as receiver, Client(LOOPBACK, tls_context(receiver.ca_pem)) as client:
        dispatcher = Dispatcher(store, client, JUDGE, attempts, time.time, namespace_rate=5)
        running = asyncio.create_task(dispatcher.run())
        names = {"a": "greedy", "b": "greedy", "c": "modest"}
        for name, namespace in names.items():
            dispatcher.set_target(target(receiver.url(f"/{name}"), name, namespace=namespace))
        began = time.time()
        await store.commit(WatchCommit("s", [message(n, name) for n in range(5) for name in names]))
        dispatcher.notify(names)
        await attempts.until(lambda seen: len(seen) == 15)
        await dispatcher.stop(0)
        await running
    await store.close()
    greedy = sorted(a.started - began for a in attempts if names[a.claimed.message.subscription] == "greedy")
    modest = [a.started - began for a in attempts if names[a.claimed.message.subscription] == "modest"]
    assert greedy[-1] >= 0.95, "ten of them take a second beyond the burst of five"
    assert max(modest) < greedy[-1], "nobody else waits for them"
