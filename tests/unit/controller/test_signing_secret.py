"""Claims about the signing Secret: made once, the subscription's own, and there before everything else is."""

from __future__ import annotations

import pytest

from hookline import keys
from hookline.controller.secrets import Secrets
from hookline.controller.signing import signing_keys
from hookline.controller.target import prepare
from hookline.errors import NotReadyError
from hookline.spec import SecretRef
from support.controlling import ScriptedApi, secret
from support.samples import subscription

OURS = subscription(uid="u1")
KEYS = {"v1": keys.encode_hmac(keys.new_hmac()), "v1a": keys.encode_ed25519_private(keys.new_ed25519())}


@pytest.fixture
def api():
    return ScriptedApi()


@pytest.fixture
def secrets(api):
    return Secrets(api, lambda _: None)


async def test_it_is_made_when_it_is_absent_and_then_stays_as_it_is(api, secrets):
    first = await signing_keys(OURS, secrets)
    assert await signing_keys(OURS, secrets) == first
    assert list(api.secrets) == ["orders-signing"]


@pytest.mark.parametrize("left", [secret("u0", **KEYS), secret("u1", deleted=True, **KEYS), secret(deleted=True)])
async def test_one_that_will_be_deleted_is_not_used(api, secrets, left):
    api.secrets["orders-signing"] = left
    with pytest.raises(NotReadyError) as caught:
        await signing_keys(OURS, secrets)
    assert caught.value.reason == "Pending"


@pytest.mark.parametrize("found", [secret("u1", **KEYS), secret(**KEYS)], ids=["its own", "somebody's"])
async def test_the_control_one_that_stays_is_used(api, secrets, found):
    api.secrets["orders-signing"] = found
    assert (await signing_keys(OURS, secrets)).keys.hmac == (keys.parse_hmac(KEYS["v1"]),)


async def test_a_secret_that_the_spec_names_may_belong_to_anybody(api, secrets):
    api.secrets["mine"] = secret("u0", **KEYS)
    assert (await signing_keys(subscription(signing_secret="mine"), secrets)).secret == "mine"


async def test_it_is_made_and_told_although_the_url_is_missing(api, secrets):
    waiting = subscription(url=None, url_ref=SecretRef("hook", "url"))
    prepared = await prepare(waiting, secrets, lambda _: "https://a.example")
    assert prepared.target is None
    assert prepared.finding.blocked == "SecretNotFound"
    assert (prepared.finding.signing_secret, len(prepared.finding.public_keys or ())) == ("orders-signing", 1)
    assert "orders-signing" in api.secrets


async def test_where_none_may_be_made_it_is_told_and_nothing_fails(api, secrets):
    api.may_create = False
    with pytest.raises(NotReadyError, match="'orders-signing' can't be made in this namespace: 403") as caught:
        await signing_keys(OURS, secrets)
    assert caught.value.reason == "SecretNotFound"
