"""TLS to a receiver: who must not be trusted gets no byte of a request, and whoever asks for a certificate gets it."""

from __future__ import annotations

import asyncio

import pytest
import trustme

from hookline.deliver.client import Client
from hookline.deliver.dial import tls_context
from hookline.deliver.verdict import Failure, Reason, Response, Result
from hookline.model import TlsProfile
from support import authority as certs
from support.authority import TlsServer, demanding, pair, pem, server_context
from support.receiver import Answer, Receiver

OURS = trustme.CA()
OTHERS = trustme.CA()
CLIENTS = trustme.CA()
TRUSTING = TlsProfile(authorities=pem(OURS))


def presenting(clients: trustme.CA, name: str = "hookline") -> TlsProfile:
    """Trusts ours, and has a certificate of this authority."""
    certificate, key = pair(clients.issue_cert(common_name=name))
    return TlsProfile(pem(OURS), certificate, key)


async def attempt(tools, server: TlsServer, tls: TlsProfile | None, bundle: str | None = None):
    async with Client(tools.loopback, tls_context(bundle), extra_ca=bundle) as client:
        result = await client.send(tools.target(server.url, tls=tls), tools.message(), 1)
    await asyncio.wait_for(server.idle.wait(), 30)
    return result


REFUSED = {
    "expired": (lambda: certs.expired(OURS), TRUSTING),
    "of another name": (lambda: server_context(OURS.issue_cert("127.0.0.2", "localhost")), TRUSTING),
    "self-signed": (certs.self_signed, TRUSTING),
    "of another authority": (lambda: server_context(OTHERS.issue_cert("127.0.0.1")), TRUSTING),
    "of a private authority, without a bundle": (lambda: server_context(OURS.issue_cert("127.0.0.1")), None),
    "TLS 1.1 only": (lambda: certs.only_tls_1_1(OURS), TRUSTING),
    "TLS 1.2 only, for 1.3": (lambda: certs.only_tls_1_2(OURS), TlsProfile(pem(OURS), min_version="1.3")),
    "demanding a certificate of one without": (lambda: demanding(OURS, CLIENTS), TRUSTING),
    "demanding a certificate of another authority": (lambda: demanding(OURS, CLIENTS), presenting(OTHERS)),
}
TRUSTED = {
    "of the bundle's authority": (lambda: server_context(OURS.issue_cert("127.0.0.1")), TRUSTING),
    "TLS 1.2 only": (lambda: certs.only_tls_1_2(OURS), TRUSTING),
    "TLS 1.3 where it must be": (
        lambda: server_context(OURS.issue_cert("127.0.0.1")),
        TlsProfile(pem(OURS), min_version="1.3"),
    ),
    "demanding a certificate of one that has it": (lambda: demanding(OURS, CLIENTS), presenting(CLIENTS)),
}


@pytest.mark.parametrize(("server", "tls"), REFUSED.values(), ids=REFUSED.keys())
async def test_who_must_not_be_trusted_gets_no_byte(tools, server, tls):
    async with TlsServer(server()) as listening:
        result = await attempt(tools, listening, tls)
        assert isinstance(result, Failure)
        assert (listening.connections, listening.received) == (1, b"")


@pytest.mark.parametrize(("server", "tls"), TRUSTED.values(), ids=TRUSTED.keys())
async def test_who_is_trusted_gets_the_request(tools, server, tls):
    """The control: the same servers, right in every thing, do get bytes."""
    async with TlsServer(server()) as listening:
        assert await attempt(tools, listening, tls) == Response(204)
        assert listening.received.startswith(b"POST / HTTP/1.1\r\n")


async def test_a_server_that_speaks_1_1_only_is_reachable_for_who_allows_it():
    """The control of the control: it is the client that refuses this server, not the server that fails."""
    old = certs.only_tls_1_1(OURS)
    async with TlsServer(old) as listening:
        context = tls_context(pem(OURS))
        certs.allow_old(context)
        port = int(listening.url.rstrip("/").rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(b"hello")
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()
        assert listening.received == b"hello"


async def test_a_bundle_replaces_the_administrators_authorities(tools):
    async with TlsServer(server_context(OTHERS.issue_cert("127.0.0.1"))) as listening:
        assert await attempt(tools, listening, TRUSTING, bundle=pem(OTHERS)) == Failure(Reason.TLS_FAILED)
        assert listening.received == b""
        assert await attempt(tools, listening, None, bundle=pem(OTHERS)) == Response(204)
        only_a_version = TlsProfile(min_version="1.3")
        assert await attempt(tools, listening, only_a_version, bundle=pem(OTHERS)) == Response(204)


async def test_the_receiver_sees_whose_certificate_it_is_and_nobody_uses_anothers_connection(tools):
    """Two tenants send to one receiver: each over connections of its own, with its own certificate."""
    async with TlsServer(demanding(OURS, CLIENTS)) as listening, Client(tools.loopback, tls_context()) as client:
        targets = {
            name: tools.target(listening.url, subscription=name, tls=presenting(CLIENTS, name))
            for name in ("one", "two")
        }
        for name in ("one", "two", "one", "two"):
            assert await client.send(targets[name], tools.message(subscription=name), 1) == Response(204)
        assert [peer for peer in listening.peers if peer in ("one", "two")] == ["one", "two"]
        bare = tools.target(listening.url, subscription="bare", tls=TRUSTING)
        assert isinstance(await client.send(bare, tools.message(subscription="bare"), 1), Failure)
        assert listening.connections == 3, "it did not borrow one"


async def test_subscriptions_with_the_same_profile_share_connections(tools):
    async with TlsServer(demanding(OURS, CLIENTS)) as listening, Client(tools.loopback, tls_context()) as client:
        profile = presenting(CLIENTS)
        for name in ("one", "two"):
            target = tools.target(listening.url, subscription=name, tls=profile)
            assert await client.send(target, tools.message(subscription=name), 1) == Response(204)
        assert listening.connections == 1


def status(result: Result) -> int:
    assert isinstance(result, Response), result
    return result.status


async def test_an_attempt_under_way_ends_well_while_its_profile_is_replaced(tools):
    """What a new certificate makes of the old one's connections: they are closed, but not under a request."""
    release = asyncio.Event()
    async with (
        Receiver(authority=OURS) as receiver,
        Client(tools.loopback, tls_context()) as client,
    ):
        receiver.answers(Answer(200, hold=release))
        before = tools.target(receiver.url(), tls=TRUSTING)
        first = asyncio.create_task(client.send(before, tools.message(1), 1))
        await receiver.wait_until(lambda: receiver.busy == 1)
        after = tools.target(receiver.url(), tls=TlsProfile(pem(OURS), min_version="1.3"))
        assert status(await client.send(after, tools.message(2), 1)) == 200
        assert not first.done()
        release.set()
        assert status(await first) == 200
        assert receiver.connections == 2


async def test_closing_waits_for_no_attempt(tools):
    async with Receiver(authority=OURS) as receiver:
        release = asyncio.Event()
        receiver.answers(Answer(200, hold=release))
        client = Client(tools.loopback, tls_context())
        first = asyncio.create_task(client.send(tools.target(receiver.url(), tls=TRUSTING), tools.message(1), 1))
        await receiver.wait_until(lambda: receiver.busy == 1)
        client.forget("sub-1")
        await client.close()
        assert isinstance(await first, Failure)
        release.set()


async def test_a_profile_that_is_none_is_a_failed_attempt(tools):
    async with Client(tools.loopback, tls_context()) as client:
        target = tools.target("https://127.0.0.1:1/", tls=TlsProfile(authorities="nonsense"))
        assert await client.send(target, tools.message(), 1) == Failure(Reason.TLS_FAILED)
