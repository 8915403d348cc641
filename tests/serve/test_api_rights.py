"""Who may read deliveries: the API server says it, for each user, namespace, name and verb."""

from __future__ import annotations

import asyncio
import base64
import json
import time

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from hookline.model import Outcome
from hookline.serve import limits, rights, server, tokens
from support.outbox import A, B, add, finish, message
from support.served import AUDIENCE, BASE, token_of

SHOP, BANK = BASE.format("shop", "orders"), BASE.format("bank", "orders")
PATIENCE = 30.0
BILLS = BASE.format("shop", "bills")
MAY = {
    "reads": {(SHOP, "list"), (SHOP, "get"), (SHOP, "watch"), (BILLS, "list"), (BILLS, "get"), (BILLS, "watch")},
    "lists": {(SHOP, "list"), (BILLS, "list")},
    "one": {(SHOP, "list"), (SHOP, "get"), (SHOP, "watch")},
    "views": set(),
    "nobody": set(),
    "wide": {(path, verb) for path in (SHOP, BANK, BILLS) for verb in ("list", "get", "watch")},
    "static": {(BANK, "list"), (BANK, "get"), (BANK, "watch")},
}
QUERY = {"list": "", "get": "/msg_0001", "watch": "?watch=true"}


async def fill(store):
    """One message for each subscription, of the same id."""
    bills = "cccccccc-0000-4000-8000-000000000003"
    await add(store, *(message(1, uid, body=f"of {uid}".encode()) for uid in (A, B, bills)))


@pytest.mark.parametrize("audiences", [(AUDIENCE,), ()], ids=["for the operator", "for the API server"])
@pytest.mark.parametrize("user", MAY)
async def test_everybody_may_what_rbac_gives_and_nothing_else(served, token, user, audiences, request):
    await fill(served.store)
    own = "https://kubernetes.default.svc.cluster.local"
    theirs = request.getfixturevalue("static") if user == "static" else token(user, *(audiences or (own,)))
    found = {}
    for path in (SHOP, BANK, BILLS):
        for verb in ("list", "get"):
            found[path, verb] = (await served.get(theirs, path + QUERY[verb]))[0]
        stream = await served.stream(theirs, path + QUERY["watch"])
        found[path, "watch"] = stream.code
        await served.do(stream.close)
    assert {wish for wish, code in found.items() if code == 200} == MAY[user]
    assert set(found.values()) <= {200, 403}


async def test_a_refusal_has_the_words_of_kubectl_and_is_the_same_whether_there_is_such_a_thing_or_not(served, token):
    await fill(served.store)
    code, said = await served.get(token("reads"), BANK)
    assert (code, said["kind"], said["reason"], said["code"]) == (403, "Status", "Forbidden", 403)
    assert (
        'User "system:serviceaccount:shop:reads" cannot list resource "webhooksubscriptions/deliveries" in API group '
        '"hookline.dev" in the namespace "bank"'
    ) in said["message"]
    _, absent = await served.get(token("reads"), BASE.format("bank", "no-such"))
    assert absent["message"].replace("no-such", "orders") == said["message"]
    code, said = await served.get(token("reads"), BASE.format("shop", "no-such"))
    assert (code, said["reason"]) == (404, "NotFound")


async def test_a_subscription_of_the_same_name_in_another_namespace_is_out_of_reach(served, token):
    await add(served.store, message(1, A), message(2, B))
    _, listed = await served.get(token("reads"), SHOP)
    assert [item["metadata"]["name"] for item in listed["items"]] == ["msg_0001"]
    assert (await served.get(token("reads"), SHOP + "/msg_0002"))[0] == 404
    assert (await served.get(token("wide"), BANK + "/msg_0002"))[0] == 200, "the control: it is there"


async def test_without_the_review_the_same_request_would_be_answered(served, token, monkeypatch):
    """The control of this file: it is the SubjectAccessReview that refuses."""
    await fill(served.store)
    assert (await served.get(token("nobody"), SHOP))[0] == 403

    async def unchecked(*_):
        return None

    monkeypatch.setattr(rights.Rights, "check", unchecked)
    code, listed = await served.get(token("nobody"), SHOP)
    assert (code, len(listed["items"])) == (200, 1)


class TestTokens:
    @pytest.mark.parametrize(
        "header",
        ["", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "Bearer two words", "Bearer !", "Bearer " + "x" * 12_289],
    )
    async def test_what_is_no_bearer_token_is_refused_without_asking_anybody(
        self, served, plane, header, token, reviews
    ):
        before = await reviews()
        headers = {"Authorization": header} if header else {}
        code, said = await served.get("", SHOP, **headers)
        assert (code, said["reason"]) == (401, "Unauthorized")
        assert await reviews() == before
        assert (await served.get(token("reads"), SHOP))[0] == 200
        assert await reviews() > before, "the control: these are counted"

    async def test_garbage_and_what_is_for_somebody_else_is_refused(self, served, token):
        good = token("reads")
        head, body, signature = good.split(".")
        other = base64.urlsafe_b64encode(base64.urlsafe_b64decode(body + "==").replace(b"reads", b"wides")).decode()
        for bad in ("garbage", head + "." + other.rstrip("=") + "." + signature, token("reads", "example.com")):
            assert (await served.get(bad, SHOP))[0] == 401
        assert (await served.get(good, SHOP))[0] == 200

    async def test_a_token_that_expired_is_refused(self, served, plane):
        assert (await served.get(self.made(plane, -60), SHOP))[0] == 401
        assert (await served.get(self.made(plane, 60), SHOP))[0] == 200, "the control: it is but for its time"

    async def test_the_token_of_an_account_that_was_deleted_is_refused_within_the_time_of_the_cache(
        self, served, plane, until
    ):
        path = "/api/v1/namespaces/shop/serviceaccounts"
        plane.request("POST", path, {"metadata": {"name": "leaving"}})
        body = plane.request("POST", f"{path}/leaving/token", {"spec": {"audiences": [AUDIENCE]}})
        theirs = body["status"]["token"]
        assert (await served.get(theirs, SHOP))[0] == 403
        plane.request("DELETE", f"{path}/leaving")

        async def changed():
            code, _ = await served.get(theirs, SHOP)
            return code if code != 403 else None

        patience = PATIENCE + 2 * tokens.KNOWN_SECONDS
        code = await until(changed, "what was known of it is forgotten", patience, pause=0.25)  # within its rate
        assert code == 401

    @staticmethod
    def made(plane, seconds):
        """A token of the ServiceAccount ``reads`` as the API server makes it, that ends in so many seconds."""
        [issued] = {plane_token(plane)}
        head, body, _ = issued.split(".")
        claims = json.loads(base64.urlsafe_b64decode(body + "=="))
        now = int(time.time())
        claims |= {"iat": now - 600, "nbf": now - 600, "exp": now + seconds}
        signed = f"{head}.{encoded(json.dumps(claims).encode())}"
        key = load_pem_private_key((plane.directory / "pki" / "service-accounts.key").read_bytes(), None)
        assert isinstance(key, EllipticCurvePrivateKey)
        r, s = decode_dss_signature(key.sign(signed.encode(), ECDSA(SHA256())))
        return f"{signed}.{encoded(r.to_bytes(32) + s.to_bytes(32))}"


def plane_token(plane):
    path = "/api/v1/namespaces/shop/serviceaccounts/reads/token"
    return plane.request("POST", path, {"spec": {"audiences": [AUDIENCE]}})["status"]["token"]


def encoded(raw):
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


class TestFloods:
    async def test_made_up_tokens_do_not_flood_the_api_server_and_the_owner_of_a_good_one_is_served(
        self, served, token, reviews
    ):
        assert (await served.get(token("reads"), SHOP))[0] == 200
        before = await reviews()
        flood = [served.get(f"{'e' * 40}.{number}.x", SHOP) for number in range(300)]
        codes = [code for code, _ in await asyncio.gather(*flood)]
        assert set(codes) == {401, 429}
        asked = await reviews() - before
        # What comes back while the flood lasts is little beside what may be made at once.
        assert 0 < asked <= tokens.BAD_AT_ONCE + 20
        assert codes.count(401) == asked
        assert (await served.get(token("reads"), SHOP))[0] == 200

    async def test_a_token_and_a_right_are_asked_about_once_in_a_while(self, served, token, reviews):
        before = await reviews()
        for _ in range(10):
            assert (await served.get(token("reads"), SHOP))[0] == 200
        assert await reviews() - before <= 3

    async def test_who_asks_for_everything_that_there_might_be_is_held_back(self, served, token, reviews):
        asks = [served.get(token("nobody"), BASE.format("shop", f"name-{number}")) for number in range(120)]
        codes = [code for code, _ in await asyncio.gather(*asks)]
        assert set(codes) == {403, 429}
        assert codes.count(403) <= limits.EACH_AT_ONCE + 40

    async def test_refusals_count_and_end_the_connection(self, served, token, plane):
        """Whoever has no right may ask no more often than others, by whichever of its tokens."""
        tokens_of_one = [token("nobody"), token_of(plane, "shop", "nobody", AUDIENCE)]
        assert [(await served.get(one, SHOP))[0] for one in tokens_of_one] == [403, 403]
        asks = [served.get(tokens_of_one[number % 2], SHOP) for number in range(4 * server.AT_ONCE)]
        codes = [code for code, _ in await asyncio.gather(*asks)]
        assert set(codes) == {403, 429}
        assert codes.count(403) <= server.AT_ONCE + 40
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(f"GET {SHOP} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token('nobody')}\r\n\r\n".encode() * 20)
        async with asyncio.timeout(20):
            assert (await reader.read()).count(b"HTTP/1.1 ") == 1
        writer.close()


async def test_rights_that_are_taken_away_end_a_running_stream(served, plane, until, kubectl_of):
    kubectl_of("create", "serviceaccount", "watcher", "-n", "shop")
    kubectl_of("create", "rolebinding", "watcher", "-n", "shop", "--role=reads", "--serviceaccount=shop:watcher")
    body = plane.request(
        "POST", "/api/v1/namespaces/shop/serviceaccounts/watcher/token", {"spec": {"audiences": [AUDIENCE]}}
    )
    stream = await served.stream(body["status"]["token"], SHOP + "?watch=true")
    await finish(served.store, Outcome.DELIVERED, message(1))
    await until(lambda: stream.states("msg_0001"), "the stream tells what changes while the right is there")
    await served.do(lambda: kubectl_of("delete", "rolebinding", "watcher", "-n", "shop"))
    await until(stream.ended.is_set, "the stream ends", PATIENCE + 2 * rights.KNOWN_SECONDS)
    [error] = stream.of("ERROR")
    assert (error["code"], error["reason"]) == (403, "Forbidden")
    await finish(served.store, Outcome.DELIVERED, message(2))
    assert stream.states("msg_0002") == []
    stream.close()
