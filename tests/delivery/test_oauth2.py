"""Requests that authenticate, on real sockets: a token endpoint, a receiver that counts, and headers as they arrive."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
from urllib.parse import parse_qs

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hookline.deliver.client import Client
from hookline.deliver.dial import tls_context
from hookline.deliver.guard import AddressPolicy
from hookline.deliver.verdict import Failure, Reason, Response
from hookline.model import ClientCredentials, ServiceAccountToken, StaticAuth
from hookline.outbox.sqlite import SqliteStore
from support.dispatching import running
from support.receiver import Answer, Receiver


def issued(number: int, seconds: float = 3600) -> Answer:
    body = {"access_token": f"token-{number}", "token_type": "Bearer", "expires_in": seconds}
    return Answer(200, {"Content-Type": "application/json"}, orjson.dumps(body))


@pytest.fixture
async def issuer(receiver):
    """A token endpoint, of the receiver's authority; numbers its tokens as it is told."""
    async with Receiver(authority=receiver.authority) as server:
        yield server


@pytest.fixture
def to(tools, receiver, issuer):
    """A target that gets its tokens from ``issuer``."""

    def make(**changes):
        fields = {"token_url": issuer.url("/token"), "client_id": "me", "client_secret": "s:1", "scopes": ("a", "b")}
        return tools.target(receiver.url(), auth=ClientCredentials(**(fields | changes)))

    return make


def sent(receiver) -> list[str]:
    return [request.headers["authorization"] for request in receiver.requests]


async def test_a_token_is_asked_for_once_and_sent_with_every_message(client, receiver, issuer, tools, to):
    issuer.answers(issued(1))
    target = to()
    results = await asyncio.gather(*(client.send(target, tools.message(number), 1) for number in range(8)))
    assert results == [Response(200, None, result.date) for result in results]
    assert sent(receiver) == ["Bearer token-1"] * 8
    (asked,) = issuer.requests
    assert asked.target == "/token"
    assert asked.headers["authorization"] == "Basic " + base64.b64encode(b"me:s%3A1").decode()
    assert parse_qs(asked.body.decode()) == {"grant_type": ["client_credentials"], "scope": ["a b"]}
    assert not [name for name in asked.headers if name.startswith("webhook-")]


async def test_a_new_message_gets_a_new_token_after_a_401_and_not_after_a_403(client, receiver, issuer, tools, to):
    issuer.answers(issued(1), issued(2))
    receiver.answers(Answer(401), Answer(403))
    target = to()
    for number in range(3):
        await client.send(target, tools.message(number), 1)
    assert sent(receiver) == ["Bearer token-1", "Bearer token-2", "Bearer token-2"]


async def test_a_token_that_expired_is_not_sent(client, receiver, issuer, tools, to):
    issuer.answers(issued(1, seconds=1e-9), issued(2))
    target = to()
    for number in range(2):
        await client.send(target, tools.message(number), 1)
    assert sent(receiver) == ["Bearer token-1", "Bearer token-2"]


async def test_a_target_that_changed_otherwise_keeps_its_token_and_other_credentials_get_another(
    client, receiver, issuer, tools, to
):
    issuer.answers(issued(1), issued(2))
    for target in (to(), to(), to(client_secret="another")):
        await client.send(target, tools.message(), 1)
    assert sent(receiver) == ["Bearer token-1", "Bearer token-1", "Bearer token-2"]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(500),
        Answer(401, body=b"SECRET"),
        Answer(302, {"Location": "/else"}),
        Answer(200, body=b"SECRET"),
        Answer(200, body=b"x" * 70_000),
    ],
    ids=["500", "401", "redirect", "no JSON", "too long"],
)
async def test_without_a_token_the_receiver_is_not_asked(client, receiver, issuer, tools, to, answer, caplog):
    issuer.answer_with(answer)
    assert await client.send(to(), tools.message(), 1) == Failure(Reason.TOKEN_FAILED)
    assert (receiver.connections, len(issuer.requests)) == (0, 1)
    assert "SECRET" not in caplog.text


async def test_an_issuer_that_is_slow_ends_the_attempt_and_says_whose_fault_it_was(client, issuer, tools, receiver):
    issuer.answer_with(Answer(hold=asyncio.Event()))
    auth = ClientCredentials(issuer.url(), "me", "s")
    target = tools.target(receiver.url(), auth=auth, timeout=0.2)
    assert await client.send(target, tools.message(), 1) == Failure(Reason.TOKEN_FAILED)
    assert receiver.connections == 0
    issuer._default.hold.set()


async def test_a_failing_issuer_costs_tries_and_no_message(tmp_path, client, receiver, issuer, tools, to):
    issuer.answers(Answer(503), issued(1))
    store = SqliteStore(tmp_path / "outbox.db")
    await store.open()
    async with running(store, client) as bench:
        bench.dispatcher.set_target(to())
        await bench.commit(tools.message())
        await bench.attempts.until(lambda seen: len(seen) == 2)
        assert [attempt.verdict.reason for attempt in bench.attempts] == ["TokenFailed", "Delivered"]
    await store.close()
    assert sent(receiver) == ["Bearer token-1"]


async def test_a_changed_secret_does_not_end_the_lane_whose_attempt_waits_for_a_token(
    tmp_path, client, receiver, issuer, tools, to
):
    """The only place of a lane waits for a token when its credentials are replaced; it is there afterwards."""
    release = asyncio.Event()
    issuer.answers(Answer(hold=release), issued(2))
    store = SqliteStore(tmp_path / "outbox.db")
    await store.open()
    async with running(store, client) as bench:
        bench.dispatcher.set_target(dataclasses.replace(to(), max_in_flight=1))
        await bench.commit(tools.message(1))
        await issuer.wait_for(1)
        bench.dispatcher.set_target(dataclasses.replace(to(client_secret="another"), max_in_flight=1))
        client.forget("sub-1")
        await receiver.wait_for(1)
        await bench.commit(tools.message(2))
        await receiver.wait_for(2)
        await bench.attempts.until(lambda seen: len(seen) == 3)
        assert [attempt.verdict.reason for attempt in bench.attempts] == ["TokenFailed", "Delivered", "Delivered"]
    await store.close()
    release.set()


async def test_the_guard_stands_before_the_token_endpoint_too(receiver, tools):
    """The receiver may be reached, the issuer at another address of the same host may not."""
    async with Receiver(authority=receiver.authority) as forbidden:
        policy = AddressPolicy.parse(allowed_hosts=["localhost"])
        for url, reached in ((forbidden.url("/"), 0), (forbidden.url("/", host="localhost"), 1)):
            forbidden.answer_with(issued(1))
            async with Client(policy, tls_context(receiver.ca_pem)) as client:
                target = tools.target(receiver.url(host="localhost"), auth=ClientCredentials(url, "me", "s"))
                result = await client.send(target, tools.message(), 1)
            assert (isinstance(result, Response), forbidden.connections) == (bool(reached), reached)


async def test_a_token_endpoint_of_plain_http_is_refused_even_where_messages_may_go_so(tools):
    async with Receiver(tls=False) as plain:
        policy = AddressPolicy.parse(allowed_hosts=["127.0.0.1"], http_hosts=["127.0.0.1"])
        async with Client(policy, tls_context()) as client:
            assert isinstance(await client.send(tools.target(plain.url()), tools.message(1), 1), Response)
            target = tools.target(plain.url(), auth=ClientCredentials(plain.url(), "me", "s"))
            assert await client.send(target, tools.message(2), 1) == Failure(Reason.TOKEN_FAILED)
        assert len(plain.requests) == 1


async def test_without_an_api_server_a_cluster_token_is_a_failed_attempt(client, receiver, tools):
    auth = ServiceAccountToken("shop", "default", "a", 600)
    result = await client.send(tools.target(receiver.url(), auth=auth), tools.message(), 1)
    assert (result, receiver.connections) == (Failure(Reason.TOKEN_FAILED), 0)


async def test_the_endpoint_is_asked_for_consent_with_the_same_authentication(client, receiver, tools):
    target = tools.target(receiver.url(), auth=StaticAuth("x-api-key", "k"))
    await client.options(target, (("webhook-request-origin", "o"),))
    assert (receiver.requests[0].method, receiver.requests[0].headers["x-api-key"]) == ("OPTIONS", "k")


async def test_a_success_of_a_message_ends_the_row_of_refusals(client, receiver, issuer, tools, to, monkeypatch):
    """Else the second refusal, so soon after the first, would leave the token as it is."""
    monkeypatch.setattr("hookline.deliver.tokens.LONGEST_REFUSAL_SECONDS", 0.0)
    issuer.answers(issued(1), issued(2), issued(3))
    receiver.answers(Answer(401), Answer(200), Answer(401), Answer(200))
    target = to()
    for number in range(4):
        await client.send(target, tools.message(number), 1)
    assert sent(receiver) == [f"Bearer token-{number}" for number in (1, 2, 2, 3)]


async def test_a_token_that_the_endpoint_refuses_when_it_is_asked_for_consent_is_replaced(
    client, receiver, issuer, tools, to
):
    issuer.answers(issued(1), issued(2))
    receiver.answers(Answer(401))
    target = to()
    assert [(await client.options(target, ())).status for _ in range(2)] == [401, 200]
    assert sent(receiver) == ["Bearer token-1", "Bearer token-2"]


@pytest.mark.parametrize(
    ("headers", "auth"),
    [
        ((("Authorization", "mine"),), StaticAuth("authorization", "Bearer theirs")),
        ((("X-API-Key", "mine"),), StaticAuth("x-api-key", "theirs")),
        ((("AUTHORIZATION", "mine"),), ClientCredentials("https://127.0.0.1:1/", "me", "s")),
        ((), StaticAuth("webhook-signature", "v1,forged")),
        ((), StaticAuth("host", "elsewhere.example")),
        ((), StaticAuth("content-length", "0")),
    ],
)
async def test_no_header_can_take_the_place_of_another(client, receiver, tools, headers, auth):
    """Admission refuses these already; here they would reach the wire."""
    target = tools.target(receiver.url(), headers=headers, auth=auth)
    assert await client.send(target, tools.message(), 1) == Failure(Reason.INVALID_HEADER)
    assert receiver.connections == 0
    control = tools.target(receiver.url(), headers=(("X-Team", "mine"),), auth=StaticAuth("x-api-key", "theirs"))
    assert isinstance(await client.send(control, tools.message(), 1), Response)


NAMES = st.one_of(st.sampled_from(["X-A", "x-b", "Authorization", "Host", "Webhook-Id", "CE-Id"]), st.text(max_size=8))
VALUES = st.one_of(st.text(max_size=20), st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=NAMES, value=VALUES, key=VALUES)
def test_whatever_the_values_are_a_request_has_them_exactly_or_is_not_made(tools, name, value, key):
    async def attempt() -> None:
        async with Receiver() as receiver, Client(tools.loopback, tls_context(receiver.ca_pem)) as client:
            target = tools.target(receiver.url(), headers=((name, value),), auth=StaticAuth("x-key", key))
            result = await client.send(target, tools.message(body=b"{}"), 1)
            if result == Failure(Reason.INVALID_HEADER):
                assert receiver.connections == 0
                return
            (request,) = receiver.requests
            assert request.headers[name.lower()] == value
            assert request.headers["x-key"] == key
            assert (request.headers["webhook-id"], request.body) == ("msg_sub-1_1", b"{}")
            ours = {"host", "user-agent", "accept-encoding", "content-type", "content-length", "accept"}
            known = {name.lower(), "x-key", "webhook-id", "webhook-timestamp", "webhook-signature", "hookline-sequence"}
            assert set(request.headers) <= ours | known

    asyncio.run(attempt())
