"""Claims about one attempt, made with real sockets and real TLS."""

from __future__ import annotations

import asyncio
import base64
import gzip
import socket
import ssl
import threading
import time

import aiohttp
import httpx
import pytest
import trustme
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook, WebhookVerificationError

from hookline import __version__, keys
from hookline.deliver import answers
from hookline.deliver.client import MAX_BODY, Client, reason_of
from hookline.deliver.dial import GuardedConnector, Resolver, tls_context
from hookline.deliver.guard import AddressPolicy
from hookline.deliver.lookups import AddressInfo, Lookups
from hookline.deliver.verdict import Failure, Reason, Response
from hookline.errors import DestinationRefused
from hookline.receiver.verifier import Verifier
from support.receiver import Answer, Receiver


def now() -> int:
    return int(time.time())


def answers_with(*addresses: str):
    """A name lookup that gives these addresses for every name."""

    def lookup(host: str, port: int):
        return [
            info
            for address in addresses
            for info in socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, proto=6)
        ]

    return lookup


@pytest.mark.parametrize("body", [b"{}", '{"name": "Zoë \\u0000 ☃"}'.encode(), b'"' + b"x" * (1 << 20) + b'"'])
async def test_the_official_library_verifies_what_arrives(client, receiver, tools, body):
    assert (await client.send(tools.target(receiver.url()), tools.message(body=body), now())).status == 200
    [request] = await receiver.wait_for(1)
    assert request.body == body
    headers = dict(request.headers)
    headers["webhook-signature"] = headers["webhook-signature"].split()[0]
    official = Webhook(keys.encode_hmac(tools.keys.hmac[0]))
    official.verify(request.body, headers, json_parse=False)
    official.verify(request.body, dict(request.headers), json_parse=False)  # with v1a beside it
    with pytest.raises(WebhookVerificationError):
        official.verify(request.body + b" ", headers, json_parse=False)


async def test_v1a_is_verified_by_the_public_key_alone(client, receiver, tools):
    await client.send(tools.target(receiver.url()), tools.message(), now())
    [request] = await receiver.wait_for(1)
    scheme, _, text = request.headers["webhook-signature"].split()[1].partition(",")
    public = Ed25519PublicKey.from_public_bytes(
        keys.parse_ed25519_public(keys.encode_ed25519_public(tools.keys.ed25519[0]))
    )
    signed = f"{request.id}.{request.headers['webhook-timestamp']}.".encode() + request.body
    assert scheme == "v1a"
    public.verify(base64.b64decode(text), signed)
    with pytest.raises(InvalidSignature):
        public.verify(base64.b64decode(text), signed + b" ")


async def test_our_own_verifier_accepts_what_arrives(client, receiver, tools):
    await client.send(tools.target(receiver.url()), tools.message(), now())
    [request] = await receiver.wait_for(1)
    for key in (keys.encode_hmac(tools.keys.hmac[0]), keys.encode_ed25519_public(tools.keys.ed25519[0])):
        assert Verifier([key]).verify(request.headers, request.body).id == "msg_sub-1_1"


async def test_a_request_carries_the_standard_headers_and_nothing_ambient(client, receiver, tools, monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    at = now()
    sent = tools.message(7, headers=(("content-type", "application/cloudevents+json"), ("ce-id", "x")))
    await client.send(tools.target(receiver.url("/p"), headers=(("X-Api-Key", "k"),)), sent, at)
    [request] = await receiver.wait_for(1)
    headers = dict(request.headers)
    assert headers.pop("webhook-signature").startswith("v1,")
    assert headers == {
        "host": f"127.0.0.1:{receiver.port}",
        "content-type": "application/cloudevents+json",
        "content-length": str(len(sent.body)),
        "ce-id": "x",
        "x-api-key": "k",
        "user-agent": f"hookline/{__version__}",
        "accept": "*/*",
        "accept-encoding": "identity",
        "webhook-id": sent.id,
        "webhook-timestamp": str(at),
        "hookline-sequence": "7",
    }


async def test_the_path_arrives_exactly_as_it_was_written(client, receiver, tools):
    path = "/a%2Fb/%7Ex;y=1?sp=%2Ftriggers%2Frun&sig=%3D%2b&t=a+b&q='x'"
    await client.send(tools.target(receiver.url(path)), tools.message(), now())
    assert (await receiver.wait_for(1))[0].target == path


async def test_connections_are_kept_and_cookies_are_not(client, receiver, tools):
    receiver.answer(200, headers={"Set-Cookie": "session=1"}, body=b"ok")
    for number in range(3):
        await client.send(tools.target(receiver.url()), tools.message(number), now())
    assert receiver.connections == 1
    assert all("cookie" not in request.headers for request in receiver.requests)


async def test_a_connection_that_was_used_long_enough_makes_way_for_one_that_is_vetted_anew(
    client, receiver, tools, monkeypatch
):
    monkeypatch.setattr(answers, "LIFE_SECONDS", 0.0)
    for number in range(3):
        await client.send(tools.target(receiver.url()), tools.message(number), now())
    assert receiver.connections == 3


async def test_status_retry_after_and_date_come_back(client, receiver, tools):
    receiver.answer(503, headers={"Retry-After": "7", "Date": "Tue, 14 Nov 2023 22:13:20 GMT"})
    result = await client.send(tools.target(receiver.url()), tools.message(), now())
    assert result == Response(503, "7", "Tue, 14 Nov 2023 22:13:20 GMT")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(client, receiver, tools, status):
    async with Receiver() as other:
        receiver.answer(status, headers={"Location": other.url("/stolen")})
        result = await client.send(tools.target(receiver.url()), tools.message(), now())
        assert isinstance(result, Response)
        assert result.status == status
        assert other.connections == 0
        # The control: a client that follows does get there.
        context = tls_context(receiver.ca_pem + other.ca_pem)
        async with httpx.AsyncClient(verify=context, follow_redirects=True, trust_env=False) as naive:
            await naive.post(receiver.url())
        assert [request.target for request in other.requests] == ["/stolen"]


@pytest.mark.parametrize(
    "name",
    [
        *("webhook-id", "Webhook-Signature", "webhook-timestamp", "hookline-sequence", "Host", "content-length"),
        *("Content-Type", "Transfer-Encoding", "connection", "user-agent", "Accept-Encoding", "ce-id", "proxy-x"),
        *("x y", "x:", "", "x\r\nwebhook-id", "ü", "traceparent", "Tracestate"),
    ],
)
async def test_a_custom_header_that_is_reserved_or_malformed_never_reaches_the_wire(client, receiver, tools, name):
    result = await client.send(tools.target(receiver.url(), headers=((name, "v"),)), tools.message(), now())
    assert result == Failure(Reason.INVALID_HEADER)
    assert receiver.connections == 0


@pytest.mark.parametrize("value", ["a\r\nwebhook-id: x", "a\n", "\x00", "ü", " a", "a\x7f"])
async def test_a_custom_header_value_can_not_inject_another(client, receiver, tools, value):
    result = await client.send(tools.target(receiver.url(), headers=(("x-a", value),)), tools.message(), now())
    assert result == Failure(Reason.INVALID_HEADER)
    assert receiver.connections == 0


async def test_a_changed_target_is_used_at_once(client, receiver, tools):
    await client.send(tools.target(receiver.url("/old")), tools.message(1), now())
    await client.send(tools.target(receiver.url("/new")), tools.message(2), now())
    assert [request.target for request in receiver.requests] == ["/old", "/new"]


# Where it may not go.


async def test_a_private_address_is_refused_unless_it_is_allowed(receiver, tools):
    context = tls_context(receiver.ca_pem)
    async with Client(AddressPolicy(), context) as strict:
        refused = await strict.send(tools.target(receiver.url()), tools.message(), now())
    assert refused == Failure(Reason.DESTINATION_REFUSED)
    assert receiver.connections == 0
    async with Client(tools.loopback, context) as allowed:  # the control
        assert isinstance(await allowed.send(tools.target(receiver.url()), tools.message(), now()), Response)
    assert receiver.connections == 1


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("93.184.215.14", "127.0.0.1"), ("::ffff:127.0.0.1",)])
async def test_a_name_with_any_private_address_is_refused_unless_it_is_allowed(tools, addresses):
    async with Receiver(names=("hooks.example.com",)) as receiver:
        url, context = receiver.url(host="hooks.example.com"), tls_context(receiver.ca_pem)
        async with Client(AddressPolicy(), context, answers_with(*addresses)) as strict:
            result = await strict.send(tools.target(url), tools.message(), now())
        assert result == Failure(Reason.DESTINATION_REFUSED)
        assert receiver.connections == 0
        async with Client(tools.loopback, context, answers_with("127.0.0.1")) as allowed:  # the control
            assert isinstance(await allowed.send(tools.target(url), tools.message(), now()), Response)
        assert receiver.connections == 1
        assert receiver.requests[0].headers["host"] == f"hooks.example.com:{receiver.port}"


async def test_an_answer_that_changes_after_it_was_vetted_is_never_asked_for(tools):
    """DNS rebinding: the first answer is what is dialled, and there is no second question."""
    asked = []

    def rebinding(host: str, port: int):
        asked.append(host)
        return answers_with("127.0.0.1")(host, port) if len(asked) > 1 else answers_with("127.0.0.2")(host, port)

    async with Receiver(names=("hooks.example.com",)) as receiver:
        only_second = AddressPolicy.parse(allowed_cidrs=["127.0.0.2/32"])
        async with Client(only_second, tls_context(receiver.ca_pem), rebinding) as client:
            result = await client.send(tools.target(receiver.url(host="hooks.example.com")), tools.message(), now())
        assert result == Failure(Reason.UNREACHABLE)  # nothing listens on 127.0.0.2; that is where it went
        assert asked == ["hooks.example.com."]  # absolute: no search domain applies
        assert receiver.connections == 0


async def test_a_host_that_the_administrator_trusts_may_resolve_to_anything(receiver, tools):
    url, context = receiver.url(host="localhost"), tls_context(receiver.ca_pem)
    async with Client(AddressPolicy(), context) as strict:
        assert await strict.send(tools.target(url), tools.message(), now()) == Failure(Reason.DESTINATION_REFUSED)
    async with Client(AddressPolicy.parse(allowed_hosts=["localhost"]), context) as trusting:
        assert isinstance(await trusting.send(tools.target(url), tools.message(), now()), Response)
    assert receiver.connections == 1


async def test_plain_http_is_sent_only_where_it_is_allowed(tools):
    async with Receiver(tls=False) as receiver:
        async with Client(tools.loopback, tls_context()) as strict:
            result = await strict.send(tools.target(receiver.url()), tools.message(), now())
            assert result == Failure(Reason.DESTINATION_REFUSED)
        assert receiver.connections == 0
        policy = AddressPolicy.parse(allowed_cidrs=["127.0.0.0/8"], http_hosts=["127.0.0.1"])
        async with Client(policy, tls_context()) as allowed:
            assert isinstance(await allowed.send(tools.target(receiver.url()), tools.message(), now()), Response)


async def test_the_socket_is_vetted_even_when_no_name_was_looked_up(receiver, tools):
    """An IP literal needs no lookup: whatever let it through to the connector, the socket is never made."""
    context = tls_context(receiver.ca_pem)

    async def post(policy: AddressPolicy) -> int:
        connector = GuardedConnector(policy, Resolver(policy, Lookups(answers_with())), context)
        async with aiohttp.ClientSession(connector=connector) as session, session.post(receiver.url()) as response:
            return response.status

    with pytest.raises(aiohttp.ClientConnectorError) as refused:
        await post(AddressPolicy())
    assert reason_of(refused.value) is Reason.DESTINATION_REFUSED
    assert receiver.connections == 0
    assert await post(tools.loopback) == 200  # the control


async def test_the_peer_is_vetted_again_before_the_request_is_sent(tools):
    """The last gate alone: the lookup and the socket passed, the peer does not."""
    vetted = []

    class OnlyThePeer(AddressPolicy):
        def vet(self, address: str) -> None:
            vetted.append(address)
            if len(vetted) > 2:
                raise DestinationRefused("no")

    async with Receiver(names=("hooks.example.com",)) as receiver:
        context = tls_context(receiver.ca_pem)
        async with Client(OnlyThePeer(), context, answers_with("127.0.0.1")) as client:
            result = await client.send(tools.target(receiver.url(host="hooks.example.com")), tools.message(), now())
        assert result == Failure(Reason.DESTINATION_REFUSED)
        assert vetted == ["127.0.0.1"] * 3
        assert receiver.requests == []


# What a network and a receiver can do.


async def test_an_unknown_authority_or_another_name_fails_as_tls_and_no_request_arrives(receiver, tools):
    async with Client(tools.loopback, tls_context()) as ignorant:
        assert await ignorant.send(tools.target(receiver.url()), tools.message(), now()) == Failure(Reason.TLS_FAILED)
    async with Receiver(names=("other.example",)) as other, Client(tools.loopback, tls_context(other.ca_pem)) as client:
        assert await client.send(tools.target(other.url()), tools.message(), now()) == Failure(Reason.TLS_FAILED)
        assert other.requests == []
    assert receiver.requests == []


async def test_a_server_that_speaks_no_tls_fails_as_tls(tools):
    async with Receiver(tls=False) as receiver, Client(tools.loopback, tls_context()) as client:
        url = receiver.url().replace("http:", "https:")
        assert await client.send(tools.target(url), tools.message(), now()) == Failure(Reason.TLS_FAILED)


def test_tls_is_1_2_at_least_and_names_are_checked():
    context = tls_context(trustme.CA().cert_pem.bytes().decode())
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


async def test_nobody_listening_is_unreachable(client, tools):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{unused.getsockname()[1]}/"
        assert await client.send(tools.target(url), tools.message(), now()) == Failure(Reason.UNREACHABLE)


async def test_a_name_that_does_not_exist_is_told_apart(tools):
    def absent(host: str, port: int) -> list[AddressInfo]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    def empty(host: str, port: int) -> list[AddressInfo]:
        return []

    for lookup in (absent, empty):
        async with Client(AddressPolicy(), tls_context(), lookup) as client:
            result = await client.send(tools.target("https://hooks.example.com/"), tools.message(), now())
            assert result == Failure(Reason.NAME_NOT_RESOLVED)


async def test_a_hanging_lookup_times_out_and_takes_one_thread_whoever_waits_for_it(tools):
    release, asked = threading.Event(), []

    def hanging(host: str, port: int):
        asked.append(host)
        release.wait(30)
        return []

    async with Client(AddressPolicy(), tls_context(), hanging) as client:
        slow = tools.target("https://hooks.example.com/", timeout=0.2)
        results = await asyncio.gather(*(client.send(slow, tools.message(n), now()) for n in range(40)))
        assert results == [Failure(Reason.TIMEOUT)] * 40
        assert asked == ["hooks.example.com."]
        release.set()


async def test_a_body_that_drips_runs_into_the_one_deadline(raw_server, tools):
    async def drip(reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"1\r\nx\r\n")
            await writer.drain()
            await asyncio.sleep(0.02)  # the pace of the drops

    server = await raw_server(drip)
    async with Client(tools.loopback, tls_context(server.ca_pem)) as client:
        result = await client.send(tools.target(server.url, timeout=0.5), tools.message(), now())
        assert result == Failure(Reason.TIMEOUT)
        async with asyncio.timeout(10):
            await server.ended.wait()  # the connection was closed, not leaked


async def test_a_head_that_never_comes_times_out(raw_server, tools):
    async def silent(reader, writer):
        await reader.read(-1)

    server = await raw_server(silent)
    async with Client(tools.loopback, tls_context(server.ca_pem)) as client:
        result = await client.send(tools.target(server.url, timeout=0.3), tools.message(), now())
        assert result == Failure(Reason.TIMEOUT)


async def test_an_endless_body_is_cut_and_its_connection_closed(raw_server, tools):
    written = 0

    async def flood(reader, writer):
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            written += 65536
            await writer.drain()

    server = await raw_server(flood)
    async with Client(tools.loopback, tls_context(server.ca_pem)) as client:
        result = await client.send(tools.target(server.url), tools.message(), now())
        assert result == Response(200)
        async with asyncio.timeout(10):
            await server.ended.wait()
    assert written < 16 * 1024 * 1024  # what the sockets' buffers hold, not an endless body


async def test_a_body_up_to_the_limit_keeps_the_connection_and_a_longer_one_does_not(client, receiver, tools):
    receiver.answers(Answer(body=b"x" * (MAX_BODY - 1)), Answer(body=b"x" * (MAX_BODY * 8)))
    for number in range(3):
        assert isinstance(await client.send(tools.target(receiver.url()), tools.message(number), now()), Response)
    assert receiver.connections == 2


async def test_an_answer_before_the_whole_request_was_read_is_an_answer(raw_server, tools):
    async def hasty(reader, writer):
        writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        await reader.read(-1)

    server = await raw_server(hasty)
    async with Client(tools.loopback, tls_context(server.ca_pem)) as client:
        result = await client.send(tools.target(server.url), tools.message(body=b"x" * (8 << 20)), now())
        assert result == Response(413)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", Reason.UNREACHABLE),
        (b"HTTP/1.1 200 OK\r\nContent-Le", Reason.UNREACHABLE),
        (b"garbage\r\n\r\n", Reason.PROTOCOL),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", Reason.PROTOCOL),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000 + b"\r\n", Reason.PROTOCOL),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", Reason.PROTOCOL),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", Reason.PROTOCOL),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Reason.PROTOCOL),
    ],
)
async def test_a_broken_answer_is_a_failure_and_never_an_exception(raw_server, tools, answer, reason):
    async def broken(reader, writer):
        writer.write(answer)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await raw_server(broken)
    async with Client(tools.loopback, tls_context(server.ca_pem)) as client:
        assert await client.send(tools.target(server.url), tools.message(), now()) == Failure(reason)


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.0 200\r\n\r\n", b"HTTP/1.1 204 \r\n\r\n", b"HTTP/1.1 100 \r\n\r\nHTTP/1.1 204 X\r\n\r\n"]
)
async def test_a_terse_answer_is_an_answer(raw_server, tools, answer):
    async def terse(reader, writer):
        writer.write(answer)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await raw_server(terse)
    async with Client(tools.loopback, tls_context(server.ca_pem)) as client:
        result = await client.send(tools.target(server.url), tools.message(), now())
        assert isinstance(result, Response)
        assert result.status in (200, 204)


async def test_a_gzip_bomb_is_not_unpacked(client, receiver, tools):
    bomb = gzip.compress(b"x" * (64 << 20))
    receiver.answer(200, headers={"Content-Encoding": "gzip"}, body=bomb)
    assert len(bomb) < MAX_BODY * 2
    assert isinstance(await client.send(tools.target(receiver.url()), tools.message(), now()), Response)
