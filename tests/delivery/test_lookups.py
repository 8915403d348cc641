"""Claims about name lookups: whoever's names hang, the others' are looked up."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hookline.deliver.client import Client
from hookline.deliver.dial import tls_context
from hookline.deliver.guard import AddressPolicy
from hookline.deliver.lookups import SHARE, THREADS, Lookups
from hookline.deliver.verdict import Failure, Reason, Response
from support.receiver import Receiver
from support.sending import until

ANSWER = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 443))]


class Names:
    """A resolver whose answers for names that begin with ``slow`` wait; ``asked`` are the names, in order."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.released = threading.Event()

    def __call__(self, host: str, port: int):
        self.asked.append(host)
        if host.startswith("slow") and not self.released.wait(60):
            raise OSError
        return [(family, kind, proto, name, (address[0], port)) for family, kind, proto, name, address in ANSWER]


@pytest.fixture
def names() -> Iterator[Names]:
    made = Names()
    yield made
    made.released.set()


async def abandon(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_tenant_whose_names_hang_takes_its_share_and_no_more(names):
    lookups = Lookups(names)
    hung = [asyncio.create_task(lookups.find("a", f"slow{n}", 443)) for n in range(100)]
    assert await lookups.find("b", "quick", 443) == ANSWER
    assert len(names.asked) == SHARE + 1
    await abandon(*hung)


async def test_one_pool_for_all_is_stopped_by_one_tenant(names):
    """The control: what asyncio does by itself."""
    with ThreadPoolExecutor(THREADS) as pool:
        loop = asyncio.get_running_loop()
        hung = [loop.run_in_executor(pool, names, f"slow{n}", 443) for n in range(THREADS)]
        quick = loop.run_in_executor(pool, names, "quick", 443)
        await until(lambda: len(names.asked) == THREADS)
        assert "quick" not in names.asked
        names.released.set()
        await asyncio.gather(*hung, quick)


async def test_however_many_tenants_hang_one_that_does_not_finds_a_thread(names):
    lookups = Lookups(names)
    hung = []
    for number in range(THREADS // 2):  # each comes with as many lookups as there are threads
        hung += [asyncio.create_task(lookups.find(f"tenant{number}", f"slow{n}", 443)) for n in range(THREADS)]
    await asyncio.sleep(0)  # let them ask first
    assert await lookups.find("b", "quick", 443) == ANSWER
    assert len(names.asked) <= THREADS
    await abandon(*hung)


async def test_a_lookup_that_nobody_waits_for_keeps_its_thread_and_is_counted_until_it_ends(names):
    lookups = Lookups(names, threads=4, share=2)
    hung = [asyncio.create_task(lookups.find("a", f"slow{n}", 443)) for n in range(2)]
    await until(lambda: len(names.asked) == 2)
    await abandon(*hung)
    waiting = asyncio.create_task(lookups.find("a", "quick", 443))
    assert await lookups.find("b", "quick", 443) == ANSWER
    assert names.asked.count("quick") == 1  # b's; a's share is in use by those who are gone
    names.released.set()
    assert await waiting == ANSWER


async def test_a_lookup_that_nobody_waits_for_any_more_is_not_begun(names):
    lookups = Lookups(names, share=1)
    first = asyncio.create_task(lookups.find("a", "slow", 443))
    given_up = asyncio.create_task(lookups.find("a", "unwanted", 443))
    await until(lambda: names.asked)
    await abandon(given_up)
    names.released.set()
    await first
    assert await lookups.find("a", "wanted", 443) == ANSWER
    assert names.asked == ["slow", "wanted"]


async def test_tenants_do_not_wait_for_each_others_lookup_of_the_same_name(names):
    lookups = Lookups(names, share=1)
    hung = asyncio.create_task(lookups.find("a", "slow", 443))
    queued = asyncio.create_task(lookups.find("a", "quick", 443))
    await asyncio.sleep(0)  # let them ask first
    assert await lookups.find("b", "quick", 443) == ANSWER
    await abandon(hung, queued)


async def test_a_failed_lookup_is_told_to_all_who_wait_and_the_next_one_asks_again():
    asked = []

    def failing(host: str, port: int):
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    lookups = Lookups(failing)
    results = await asyncio.gather(*(lookups.find("a", "x", 443) for _ in range(5)), return_exceptions=True)
    assert [type(result) for result in results] == [socket.gaierror] * 5
    assert asked == ["x"]
    with pytest.raises(socket.gaierror):
        await lookups.find("a", "x", 443)
    assert asked == ["x", "x"]


async def test_a_namespace_whose_names_hang_delays_no_other_namespaces_deliveries(names, tools):
    def sending(client: Client, url: str, subscription: str, namespace: str, seconds: float):
        where = tools.target(url, subscription=subscription, namespace=namespace, timeout=seconds)
        return client.send(where, tools.message(), 0)

    loopback = AddressPolicy.parse(allowed_cidrs=["127.0.0.0/8"])
    async with (
        Receiver(names=("quick.example.com",)) as receiver,
        Client(loopback, tls_context(receiver.ca_pem), names) as client,
    ):
        slow = [(f"https://slow{n}.example.com/", f"s{n}", "bad", 60.0) for n in range(2 * THREADS)]
        hung = [asyncio.create_task(sending(client, *each)) for each in slow]
        quick = receiver.url(host="quick.example.com")
        assert isinstance(await sending(client, quick, "good", "good", 15.0), Response)
        # The control. A kept-alive connection needs no lookup, so it is a port that nobody has connected to.
        other_port = "https://quick.example.com:1/"
        assert await sending(client, other_port, "own", "bad", 0.2) == Failure(Reason.TIMEOUT)
        await abandon(*hung)


async def test_a_lookup_for_which_there_is_no_thread_fails_and_takes_no_place_for_ever(names, monkeypatch):
    lookups = Lookups(names, threads=1)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as machine:
        machine.setattr(threading.Thread, "start", refuse)
        async with asyncio.timeout(30):
            with pytest.raises(RuntimeError):
                await lookups.find("shop", "a.example.", 443)
    async with asyncio.timeout(30):
        assert len(await lookups.find("shop", "a.example.", 443)) == 1
