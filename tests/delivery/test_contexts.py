"""TLS contexts have a bound, and one namespace's do not take the room of another's."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

import pytest
import trustme
from multidict import CIMultiDict
from yarl import URL

from hookline.deliver.contexts import ITSELF, Contexts
from hookline.deliver.dial import tls_context
from hookline.deliver.tls import profile_context
from hookline.deliver.transport import Transports
from hookline.errors import InvalidKey
from hookline.model import TlsProfile
from support.authority import TlsServer, pair, pem, server_context
from support.turns import turns

OURS = trustme.CA()
ONE = ITSELF + 1
"""How much a context with one authority counts."""


def profile(number: int) -> TlsProfile:
    """They differ in the text around the certificate only."""
    return TlsProfile(f"# {number}\n{pem(OURS)}")


class Bench:
    """Contexts, and those that were dropped."""

    def __init__(self, limit: int) -> None:
        self.dropped: list[ssl.SSLContext] = []
        self.contexts = Contexts(tls_context(), None, self.dropped.append, limit=limit)

    async def lent(self, namespace: str, number: int) -> ssl.SSLContext:
        """Use one for a moment; a subscription that has this profile stays."""
        self.contexts.use(f"{namespace}-{number}", profile(number))
        async with self.contexts.lend(namespace, profile(number)) as context:
            return context


@pytest.mark.parametrize(("room", "dropped"), [(3, 2), (5, 0)])
async def test_the_one_that_was_idle_longest_goes_where_there_is_no_room_and_is_made_again(room, dropped):
    bench = Bench(room * ONE)
    first, second, third = [await bench.lent("a", number) for number in range(3)]
    assert await bench.lent("a", 0) is first
    for number in (3, 4):
        await bench.lent("a", number)
        assert bench.contexts.held <= room * ONE
    assert bench.dropped == [second, third][:dropped]
    assert (await bench.lent("a", 1) is second) == (not dropped)


async def test_a_namespace_with_many_makes_room_for_others_and_never_takes_theirs():
    bench = Bench(4 * ONE)
    big = [await bench.lent("big", number) for number in range(10, 14)]
    small = [await bench.lent("small", number) for number in (0, 1)]
    assert bench.dropped == big[:2]
    for number in range(20, 30):
        await bench.lent("big", number)
    assert [await bench.lent("small", number) for number in (0, 1)] == small
    assert bench.contexts.held == 4 * ONE


async def test_many_namespaces_with_one_each_share_the_room_too():
    bench = Bench(4 * ONE)
    for number in range(10):
        await bench.lent(f"namespace-{number}", number)
        assert bench.contexts.held <= 4 * ONE


async def test_one_in_use_is_kept_and_who_needs_its_room_waits_but_another_namespace_gets_its_first():
    bench = Bench(ONE)
    async with asyncio.timeout(60), contextlib.AsyncExitStack() as used:
        await used.enter_async_context(bench.contexts.lend("a", profile(0)))
        bench.contexts.use("a-0", profile(0))
        waiting = asyncio.create_task(bench.lent("a", 1))
        await bench.lent("b", 2)
        await turns()
        assert not waiting.done()
        assert bench.dropped == []
        assert bench.contexts.held == 2 * ONE
        await used.aclose()
        await waiting
    assert bench.contexts.held <= 2 * ONE


async def test_what_nobody_has_any_more_is_dropped_once_it_is_idle():
    bench = Bench(9 * ONE)
    bench.contexts.use("sub", profile(1))
    async with bench.contexts.lend("a", profile(1)) as context:
        bench.contexts.use("sub", None)
        assert bench.dropped == []
    assert (bench.dropped, bench.contexts.held) == ([context], 0)


async def test_namespaces_that_make_the_same_at_the_same_time_get_the_same():
    bench = Bench(9 * ONE)
    assert len({id(context) for context in await asyncio.gather(*(bench.lent(name, 1) for name in "abc"))}) == 1
    assert bench.contexts.held == ONE


async def test_a_profile_that_is_none_takes_no_room():
    bench = Bench(ONE)
    with pytest.raises(InvalidKey):
        async with bench.contexts.lend("a", TlsProfile("nonsense")):
            pass
    assert bench.contexts.held == 0


@pytest.mark.parametrize(("room", "connections"), [(1, 3), (2, 2)])
async def test_with_a_context_its_connections_go(tools, room, connections):
    async with TlsServer(server_context(OURS.issue_cert("127.0.0.1"))) as server:
        transports = Transports(tools.loopback, tls_context())
        contexts = Contexts(tls_context(), None, transports.drop, limit=room * ONE)
        for number in (1, 2, 1):
            contexts.use(str(number), profile(number))
            async with contexts.lend("a", profile(number)) as context:
                pool = transports.pool(transports.check(server.url), context)
                answer = await pool.post(URL(server.url, encoded=True), CIMultiDict(), b"{}")
                await answer.read()
                answer.release()
        assert server.connections == connections
        await transports.close()


def test_a_context_with_authorities_of_its_own_does_not_hold_the_systems():
    certificate, key = pair(OURS.issue_cert(common_name="me"))
    for own in (TlsProfile(pem(OURS)), TlsProfile(pem(OURS), certificate, key)):
        assert profile_context(own).cert_store_stats()["x509"] == 1
    system = tls_context().cert_store_stats()["x509"]
    assert profile_context(TlsProfile("", certificate, key)).cert_store_stats()["x509"] == system
