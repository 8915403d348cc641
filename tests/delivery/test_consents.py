"""Proof of consent on real sockets: asked by the guarded client, of a plain receiver and of our own."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace

import pytest

from hookline import keys
from hookline.deliver.client import Client
from hookline.deliver.consents import Consents
from hookline.deliver.dial import tls_context
from hookline.deliver.guard import AddressPolicy
from hookline.model import Consent, SigningKeys, StaticAuth
from hookline.receiver.config import parse
from hookline.receiver.server import Server
from hookline.spec import RateLimit
from support.receiver import Answer, Receiver
from support.sending import LOOPBACK, message, target

ORIGIN = "prod.example.com"
YES = Answer(200, {"WebHook-Allowed-Origin": ORIGIN, "WebHook-Allowed-Rate": "120", "Allow": "POST"})
NO = Answer(405)


class Told(asyncio.Queue[Consent]):
    """What ``on_change`` was told."""

    def __call__(self, uid: str, consent: Consent) -> None:
        self.put_nowait(consent)

    async def next(self) -> Consent:
        async with asyncio.timeout(30):
            return await self.get()


@contextlib.asynccontextmanager
async def asking(receiver: Receiver, policy: AddressPolicy = LOOPBACK):
    told = Told()
    async with Client(policy, tls_context(receiver.ca_pem)) as client:
        consents = Consents(client, ORIGIN, time.time, lambda: 0.0, told)
        try:
            yield consents, told, client
        finally:
            await consents.close()


async def test_the_owner_is_asked_and_until_he_consents_the_target_is_paused():
    async with Receiver() as receiver, asking(receiver) as (consents, told, _):
        receiver.answers(YES)
        wanted = target(receiver.url("/in?x=%2f"), headers=(("x-team", "shop"),), rate=RateLimit(10, 10))
        wanted = replace(wanted, auth=StaticAuth("authorization", "Bearer t"))
        paused, consent = consents.gate(wanted, Consent())
        assert paused.paused
        assert consent == Consent()
        granted = await told.next()
        (asked,) = receiver.requests
        assert (asked.method, asked.target) == ("OPTIONS", "/in?x=%2f")
        assert asked.headers["webhook-request-origin"] == ORIGIN
        assert asked.headers["webhook-request-rate"] == "600"
        assert (asked.headers["authorization"], asked.headers["x-team"]) == ("Bearer t", "shop")
        opened, kept = consents.gate(wanted, granted)
        assert not opened.paused
        assert opened.rate == RateLimit(119 / 60, 2), "the allowed 120 a minute, not the 600 that were asked for"
        assert kept == granted


async def test_a_message_names_the_origin_that_was_consented_to():
    async with Receiver() as receiver, asking(receiver) as (consents, told, client):
        receiver.answers(YES)
        wanted = target(receiver.url("/in"))
        consents.gate(wanted, Consent())
        opened, _ = consents.gate(wanted, await told.next())
        await client.send(opened, message(1), 1)
        await client.send(replace(wanted, subscription="other"), message(2), 1)
        assert receiver.requests[1].headers["webhook-request-origin"] == ORIGIN
        assert "webhook-request-origin" not in receiver.requests[2].headers, "the control: nobody was asked"


async def test_a_refusal_is_told_and_the_question_repeated():
    async with Receiver() as receiver, asking(receiver) as (consents, told, _):
        receiver.answers(NO, Answer(200), YES)
        wanted = target(receiver.url("/in"))
        consents.gate(wanted, Consent())
        refused = await told.next()
        assert (refused.proof, "HTTP 405" in refused.problem) == ("", True)
        assert consents.gate(wanted, refused) == (replace(wanted, paused=True), refused), "and asks nothing twice"
        consents.again(wanted.subscription)
        assert "no WebHook-Allowed-Origin" in (await told.next()).problem
        consents.again(wanted.subscription)
        assert (await told.next()).proof
        assert len(receiver.requests) == 3


async def test_who_consented_before_is_not_asked_again_but_for_another_url():
    async with Receiver() as receiver, asking(receiver) as (consents, told, _):
        receiver.answer_with(YES)
        wanted = target(receiver.url("/in"))
        consents.gate(wanted, Consent())
        granted = await told.next()
        await consents.close()
        assert not consents.gate(wanted, granted)[0].paused
        moved, consent = consents.gate(replace(wanted, url=receiver.url("/elsewhere")), granted)
        assert (moved.paused, consent) == (True, Consent())
        assert (await told.next()).proof not in ("", granted.proof)
        assert [request.target for request in receiver.requests] == ["/in", "/elsewhere"]


async def test_a_new_signing_key_keeps_the_consent_as_long_as_the_old_one_is_there():
    async with Receiver() as receiver, asking(receiver) as (consents, told, _):
        receiver.answers(YES)
        wanted = target(receiver.url("/in"))
        consents.gate(wanted, Consent())
        granted = await told.next()
        both = SigningKeys((keys.new_hmac(), *wanted.keys.hmac), ())
        opened, renewed = consents.gate(replace(wanted, keys=both), granted)
        assert not opened.paused
        assert renewed.proof != granted.proof, "and is kept under the new one from then on"
        assert not consents.gate(replace(wanted, keys=SigningKeys(both.hmac[:1], ())), renewed)[0].paused


async def test_nobody_is_asked_for_a_suspended_subscription():
    async with Receiver() as receiver, asking(receiver) as (consents, told, _):
        receiver.answer_with(YES)
        wanted = target(receiver.url("/in"))
        assert consents.gate(replace(wanted, paused=True), Consent())[0].paused
        consents.gate(replace(wanted, subscription="other"), Consent())
        await told.next()
        assert len(receiver.requests) == 1


@pytest.mark.parametrize("allowed", [False, True], ids=["guarded", "the control: allowed"])
async def test_the_question_goes_through_the_guard(allowed):
    policy = LOOPBACK if allowed else AddressPolicy.parse()
    async with Receiver() as receiver, asking(receiver, policy) as (consents, told, _):
        receiver.answer_with(YES)
        consents.gate(target(receiver.url("/in")), Consent())
        consent = await told.next()
        assert (bool(consent.proof), receiver.connections) == (allowed, int(allowed))
        assert allowed or consent.problem == "OPTIONS failed: DestinationRefused"


async def test_a_redirect_is_not_followed_and_a_hung_endpoint_has_a_deadline():
    async with Receiver() as receiver, asking(receiver) as (consents, told, _):
        receiver.answers(Answer(307, {"Location": receiver.url("/yes")}), Answer(hold=(hold := asyncio.Event())))
        consents.gate(target(receiver.url("/in"), timeout=0.5), Consent())
        assert "HTTP 307" in (await told.next()).problem
        consents.again("sub")
        assert (await told.next()).problem == "OPTIONS failed: Timeout"
        assert {request.target for request in receiver.requests} == {"/in"}
        hold.set()


@pytest.mark.parametrize(("origins", "consents_"), [([ORIGIN], True), (["*"], True), (["other.example.com"], False)])
async def test_our_own_receiver_consents_to_whom_it_was_told(tmp_path, origins, consents_):
    path = "/" + "p" * 43
    (tmp_path / "key").write_text(keys.encode_hmac(keys.new_hmac()))
    document = {
        "listen": {"host": "127.0.0.1", "port": 0},
        "tls": {"certificate": "tls.crt", "key": "tls.key"},
        "once": "sqlite:ids.db",
        "endpoints": [
            {
                "name": "orders",
                "path": path,
                "keys": [{"file": "key"}],
                "actions": [{"script": {"command": ["/bin/true"]}}],
                "allowedOrigins": origins,
                "allowedRate": 60,
            }
        ],
    }
    async with Receiver() as authority:
        certificate = authority.authority.issue_cert("127.0.0.1")
        certificate.private_key_pem.write_to_path(tmp_path / "tls.key")
        certificate.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
        server = Server(parse(document, tmp_path, {}))
        await server.start()
        try:
            async with asking(authority) as (consents, told, _):
                consents.gate(target(f"https://127.0.0.1:{server.address[1]}{path}"), Consent())
                consent = await told.next()
        finally:
            await server.stop()
    assert bool(consent.proof) is consents_
    assert consent.per_minute == (60 if consents_ else None)
    assert consents_ or "HTTP 403" in consent.problem
