"""Hung endpoints beside healthy ones: the healthy must not notice.

Short: the structure (all healthy ones are served while all hung ones hang, each within its own limit).
Full: 50 hung beside 50 healthy ones; the healthy ones' p99, from commit to arrival, against that of the same run alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
import statistics
import threading
import time
from collections import Counter
from functools import partial

import pytest

from hookline.deliver.client import Client
from hookline.deliver.dial import tls_context
from hookline.model import WatchCommit
from hookline.outbox.sqlite import SqliteStore
from hookline.spec import RetryPolicy
from support.cluster import eventually
from support.live import LiveReceiver
from support.load import create_config_maps
from support.receiver import Answer, Receiver
from support.scale import FULL, note, scale
from support.sending import LOOPBACK, line, message, target, until

LANES = scale(20, 50)
IN_FLIGHT = 2
EACH = 10
ROUNDS = 4
SECONDS = 10
PER_SECOND = 100
MOST = 1.5


@pytest.fixture
async def store(tmp_path):
    made = SqliteStore(tmp_path / "outbox.db")
    await made.open()
    yield made
    await made.close()


async def test_all_healthy_ones_are_served_while_all_hung_ones_hang(store):
    hold = asyncio.Event()
    async with Receiver() as healthy, Receiver(authority=healthy.authority) as hung:
        hung.answer_with(Answer(hold=hold))
        async with Client(LOOPBACK, tls_context(healthy.ca_pem)) as client, line(store, client) as (dispatcher, seen):
            hung_names = [f"hung-{n}" for n in range(LANES)]
            healthy_names = [f"healthy-{n}" for n in range(LANES)]
            for name in hung_names:
                dispatcher.set_target(target(hung.url(f"/{name}"), name, max_in_flight=IN_FLIGHT))
            await store.commit(WatchCommit("a", [message(n, name) for name in hung_names for n in range(EACH)]))
            dispatcher.notify(hung_names)
            await hung.wait_until(lambda: hung.busy == LANES * IN_FLIGHT)
            for name in healthy_names:
                dispatcher.set_target(target(healthy.url(f"/{name}"), name, max_in_flight=IN_FLIGHT))
            await store.commit(WatchCommit("b", [message(n, name) for name in healthy_names for n in range(EACH)]))
            dispatcher.notify(healthy_names)
            await healthy.wait_for(LANES * EACH)
            await seen.until(lambda attempts: len(attempts) == LANES * EACH)
            # Now, with all healthy ones done, every hung one still hangs, each at its limit and not above it.
            assert Counter(request.target for request in hung.requests) == {f"/{n}": IN_FLIGHT for n in hung_names}
            assert hung.busiest == dispatcher.in_flight == LANES * IN_FLIGHT
            assert {attempt.claimed.message.subscription for attempt in seen} == set(healthy_names)
            hold.set()  # the control: what kept them was the endpoint
            await hung.wait_for(LANES * EACH)


async def test_in_one_lane_the_healthy_do_wait_for_the_hung(store):
    """The control: lanes are what protects. Messages that share one with hung ones are stuck behind them."""
    hold = asyncio.Event()
    async with Receiver() as receiver:
        receiver.answers(*[Answer(hold=hold)] * IN_FLIGHT)
        async with Client(LOOPBACK, tls_context(receiver.ca_pem)) as client, line(store, client) as (dispatcher, seen):
            dispatcher.set_target(target(receiver.url(), max_in_flight=IN_FLIGHT))
            dispatcher.set_target(target(receiver.url("/other"), "other"))
            await store.commit(WatchCommit("a", [message(n) for n in range(EACH)]))
            dispatcher.notify({"sub"})
            await receiver.wait_until(lambda: receiver.busy == IN_FLIGHT)
            await store.commit(WatchCommit("b", [message(n, "other") for n in range(EACH)]))
            dispatcher.notify({"other"})
            await seen.until(lambda attempts: len(attempts) == EACH)
            assert {attempt.claimed.message.subscription for attempt in seen} == {"other"}
            assert len([request for request in receiver.requests if request.target == "/"]) == IN_FLIGHT
            hold.set()
            await seen.until(lambda attempts: len(attempts) == 2 * EACH)


def test_through_the_operator_hung_endpoints_delay_nobody_else(
    make_operator, control_plane, subscriptions, receiver, namespace
):
    operator = make_operator().start()
    with socket.socket() as hung:
        hung.bind(("127.0.0.1", 0))
        hung.listen(512)  # the kernel takes connections, and nobody ever shakes hands
        url = f"https://localhost:{hung.getsockname()[1]}/"
        for number in range(2):
            subscriptions.ready(f"hung-{number}", destination={"url": url}, delivery={"maxInFlight": 4})
            subscriptions.ready(f"healthy-{number}", delivery={"maxInFlight": 4})
        create_config_maps(control_plane.kubeconfig, namespace, [f"web-{number}" for number in range(10)])
        eventually(lambda: len(receiver.requests) == 20, "all healthy ones are served")
        assert operator.metric('hookline_delivery_attempts_total{outcome="delivered"}') <= 20
        assert operator.metric("hookline_delivery_attempts_in_flight") > 0, "the hung ones hang"
        eventually(
            lambda: operator.metric('hookline_outbox_messages{state="pending"}') == 20, "all of the hung ones are kept"
        )


class Hole(threading.Thread):
    """Accepts connections and never says a word, in a thread of its own."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}/"
        self.taken: list[socket.socket] = []

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self.taken.append(self._listener.accept()[0])

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self.join()
        for connection in (self._listener, *self.taken):
            connection.close()


@pytest.mark.skipif(not FULL, reason="a ratio of times: only in full, with the machine for itself")
async def test_the_p99_of_healthy_ones_beside_hung_ones_is_within_1_5_of_alone(store):
    receiver, hole = LiveReceiver(), Hole()
    hole.start()
    try:
        async with Client(LOOPBACK, tls_context(receiver.ca_pem)) as client, line(store, client) as (dispatcher, _):
            hung = [target(hole.url, f"hung-{n}", retry=RetryPolicy((1.0,) * 1000, 86_400)) for n in range(LANES)]
            for n in range(LANES):
                dispatcher.set_target(
                    target(receiver.url().replace("localhost", "127.0.0.1"), f"healthy-{n}", max_in_flight=8)
                )
            messages = [message(n, one.subscription) for one in hung for n in range(100)]
            await store.commit(WatchCommit("hung", messages))
            committed: dict[str, float] = {}
            latencies: dict[bool, list[float]] = {False: [], True: []}
            await drive(store, dispatcher, committed, "warm-up", 3)
            for number in range(ROUNDS):
                for noisy in (False, True):
                    for one in hung:
                        dispatcher.set_target(dataclasses.replace(one, paused=not noisy))
                    if noisy:
                        # Where a circuit breaker is open already, one probe hangs instead of eight attempts.
                        await until(lambda: dispatcher.in_flight >= LANES)
                    begin = len(receiver.requests)
                    await drive(store, dispatcher, committed, f"{number}{noisy}", SECONDS)
                    enough = begin + SECONDS * PER_SECOND
                    await until(partial(receiver.has, enough))
                    latencies[noisy] += [r.arrived - committed[r.id] for r in receiver.requests[begin:]]
    finally:
        hole.close()
        receiver.close()
    alone, beside = (statistics.quantiles(latencies[noisy], n=100)[98] for noisy in (False, True))
    note(
        f"{LANES} hung beside {LANES} healthy at {PER_SECOND}/s: p99 {alone * 1000:.1f} ms alone, "
        f"{beside * 1000:.1f} ms beside, ratio {beside / alone:.2f}; {len(hole.taken)} connections hung"
    )
    assert beside <= MOST * alone


async def drive(store, dispatcher, committed, label, seconds) -> None:
    """Commit one message every 1/PER_SECOND s, to one healthy lane after the other."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for n in range(seconds * PER_SECOND):
        name = f"healthy-{n % LANES}"
        one = dataclasses.replace(message(n, name), id=f"msg_{label}_{n}")
        await asyncio.sleep(max(0.0, begun + n / PER_SECOND - loop.time()))  # the pace of the load
        committed[one.id] = time.time()
        await store.commit(WatchCommit("healthy", [one]))
        dispatcher.notify({name})
