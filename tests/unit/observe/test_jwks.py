"""Claims about the published key sets: of one subscription each, as the RFCs write them, read by our own receiver."""

from __future__ import annotations

import json

import aiohttp
import pytest

from hookline import keys
from hookline.deliver.sign import Signer
from hookline.model import SigningKeys
from hookline.observe.jwks import key_set
from hookline.observe.server import Server
from hookline.receiver.jwks import keys_from_jwks
from hookline.receiver.verifier import verify

SEED = keys.new_ed25519()
PUBLIC = keys.encode_ed25519_public(SEED)
RFC_8037_X = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"  # RFC 8037, appendix A.2
RFC_8037_THUMBPRINT = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"  # appendix A.3


async def nothing(): ...


@pytest.fixture
async def get():
    """Ask a server that knows the keys of shop/orders, and can't know yet those of the namespace ``later``."""

    def public_keys(namespace, name):
        return None if namespace == "later" else [PUBLIC] if (namespace, name) == ("shop", "orders") else []

    server = Server(
        "127.0.0.1", 0, render=bytes, refresh=nothing, healthy=str, ready=str, public_keys=public_keys, key_max_age=60
    )
    port = await server.start()
    async with aiohttp.ClientSession() as session:

        async def ask(query):
            async with session.get(f"http://127.0.0.1:{port}/.well-known/jwks.json{query}") as answer:
                return answer.status, answer.headers, await answer.text()

        yield ask
    await server.stop()


def test_a_key_is_written_and_named_as_the_rfcs_do():
    raw = keys.parse_ed25519_public
    text = keys.PUBLIC_PREFIX + RFC_8037_X.replace("_", "/").replace("-", "+") + "="
    assert len(raw(text)) == 32
    assert json.loads(key_set([text])) == {
        "keys": [
            {
                "kty": "OKP",
                "crv": "Ed25519",
                "x": RFC_8037_X,
                "kid": RFC_8037_THUMBPRINT,
                "use": "sig",
                "alg": "EdDSA",
            }
        ]
    }


async def test_what_the_sender_signs_verifies_with_the_set_that_it_publishes(get):
    status, headers, text = await get("?subscription=shop/orders")
    assert (status, headers["cache-control"]) == (200, "public, max-age=60")
    assert headers["content-type"].startswith("application/jwk-set+json")
    signature = Signer(SigningKeys((), (SEED,)), ("v1a",)).sign("msg_1", 100, b"{}")
    sent = {"webhook-id": "msg_1", "webhook-timestamp": "100", "webhook-signature": signature}
    assert verify(keys_from_jwks(json.loads(text)), sent, b"{}", clock=lambda: 100).id == "msg_1"


async def test_nobodys_keys_are_given_without_naming_a_subscription(get):
    for query in ("", "?subscription=", "?subscription=shop", "?subscription=/orders", "?subscription=shop/"):
        status, _, text = await get(query)
        assert status == 400
        assert '"keys"' not in text


async def test_a_subscription_that_does_not_exist_looks_like_one_without_keys_and_is_not_kept(get):
    status, headers, text = await get("?subscription=shop/other")
    assert (status, json.loads(text)) == (200, {"keys": []})
    assert headers["cache-control"] == "public, max-age=0"


async def test_who_can_not_know_says_so_instead_of_publishing_an_empty_set(get):
    status, headers, _ = await get("?subscription=later/orders")
    assert (status, headers["retry-after"]) == (503, "5")
