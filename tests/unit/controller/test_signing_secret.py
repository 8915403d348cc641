"""Claims about the signing Secret: made once, the subscription's own, and there before everything else is."""

from __future__ import annotations

from typing import Any

import pytest

from hookline import keys
from hookline.controller.secrets import Secrets
from hookline.controller.signing import signing_keys
from hookline.controller.target import prepare
from hookline.errors import NotReadyError
from hookline.spec import SecretRef
from hookline.status.facts import Facts
from hookline.status.report import signing_of
from support.controlling import ScriptedApi, secret
from support.samples import subscription
from support.schema import merged

OURS = subscription(uid="u1")
KEYS: dict[str, Any] = {"v1": keys.encode_hmac(keys.new_hmac()), "v1a": keys.encode_ed25519_private(keys.new_ed25519())}


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


LABEL = {"app.kubernetes.io/managed-by": "hookline"}


@pytest.mark.parametrize(
    "foreign",
    [
        secret("u0", **KEYS),
        merged(secret(**KEYS), {"metadata": {"labels": LABEL}}),
        merged(secret(**KEYS), {"type": "hookline.dev/signing-key"}),
        merged(secret(**KEYS), {"type": "kubernetes.io/service-account-token"}),
        merged(secret("u1", **KEYS), {"type": "bootstrap.kubernetes.io/token"}),
    ],
    ids=["owned by another", "labelled", "of our type", "a ServiceAccount's token", "a bootstrap token"],
)
async def test_anothers_keys_and_tokens_of_the_cluster_look_absent_to_every_reference(api, secrets, foreign):
    ours, words = subscription(uid="u1", signing_secret="mine"), []
    for there in (foreign, None):
        api.secrets = {"mine": there} if there else {}
        with pytest.raises(NotReadyError) as signing:
            await signing_keys(ours, secrets)
        with pytest.raises(NotReadyError) as value:
            await secrets.value(ours, SecretRef("mine", "v1"))
        words += [(caught.value.reason, str(caught.value)) for caught in (signing, value)]
    assert len(set(words)) == 1
    assert words[0][0] == "SecretNotFound"


@pytest.mark.parametrize(
    "found",
    [
        secret(**KEYS),
        merged(secret("u1", **KEYS), {"metadata": {"labels": LABEL}, "type": "hookline.dev/signing-key"}),
        merged(secret(**KEYS), {"type": "Opaque", "metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}}}),
    ],
)
async def test_the_control_a_secret_of_ones_own_may_be_referred_to(api, secrets, found):
    api.secrets["mine"] = found
    ours = subscription(uid="u1", signing_secret="mine")
    assert (await signing_keys(ours, secrets)).secret == "mine"
    assert await secrets.value(ours, SecretRef("mine", "v1")) == KEYS["v1"]


@pytest.mark.parametrize("left", [None, secret(v1=KEYS["v1"])], ids=["the Secret is gone", "v1a left it"])
async def test_a_public_key_whose_private_key_is_gone_is_published_no_more(api, secrets, left):
    """Before, the status and the key set went on telling it: so did a restart, which begins with the status."""
    api.secrets["mine"] = secret(**KEYS)
    ours = subscription(uid="u1", signing_secret="mine")
    first = (await prepare(ours, secrets, lambda _: "https://a.example")).finding
    facts = Facts("shop", "orders", {}, first)
    told = signing_of(facts)
    assert told is not None
    assert len(told["publicKeys"]) == 1
    api.secrets = {"mine": left} if left else {}
    facts.status = {"signing": told}
    facts.finding = (await prepare(ours, secrets, lambda _: "https://a.example")).finding
    assert signing_of(facts) == {"secretName": "mine", "publicKeys": []}


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
