"""Authentication and TLS, looked up: which values become what, and what each missing or wrong one is called."""

from __future__ import annotations

import base64

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from hookline.controller.credentials import check_token_url, check_tokens, references, resolve_auth, resolve_tls
from hookline.controller.secrets import Secrets
from hookline.deliver.profiles import Profiles
from hookline.errors import DestinationRefused, NotReadyError, SpecError
from hookline.model import ClientCredentials, ServiceAccountToken, StaticAuth
from hookline.spec import (
    ApiKeySpec,
    BasicSpec,
    BearerSpec,
    ClientCredentialsSpec,
    ConfigMapRef,
    SecretRef,
    ServiceAccountTokenSpec,
    TlsSpec,
)
from support.authority import pair, pem
from support.controlling import NotingApplier, ScriptedApi, controller, secret, webhook
from support.samples import subscription

CONFIG_MAP = "/api/v1/namespaces/shop/configmaps/c"
AUTHORITY = trustme.CA()
CERTIFICATE, KEY = pair(AUTHORITY.issue_cert(common_name="hookline"))
OTHER_KEY = pair(AUTHORITY.issue_cert(common_name="other"))[1]
REF = SecretRef("s", "k")
CLIENT = ClientCredentialsSpec("https://login.example/", SecretRef("s", "id"), SecretRef("s", "secret"))


class Cluster(ScriptedApi):
    """Has ConfigMaps, too."""

    def __init__(self, **values):
        super().__init__()
        self.secrets = {"s": secret(**values)} if values else {}
        self.config_map = None

    async def request(self, method, path, **rest):
        if path == CONFIG_MAP:
            return self.config_map
        return await super().request(method, path, **rest)


async def auth(spec, api, **changes):
    return await resolve_auth(subscription(auth=spec, **changes), Secrets(api, lambda _: None))


async def tls(spec, api, url="https://a.example/"):
    return await resolve_tls(subscription(tls=spec), Secrets(api, lambda _: None), url, Profiles().admit)


async def test_each_method_becomes_its_header():
    assert await auth(None, Cluster()) is None
    assert await auth(BearerSpec(REF), Cluster(k="t.o-k\n")) == StaticAuth("authorization", "Bearer t.o-k")
    assert await auth(ApiKeySpec("X-Key", REF), Cluster(k="a b")) == StaticAuth("x-key", "a b")
    basic = await auth(BasicSpec("s"), Cluster(username="jörg", password="p:w\n"))
    assert base64.b64decode(basic.value.removeprefix("Basic ")).decode() == "jörg:p:w"
    assert await auth(CLIENT, Cluster(id="i", secret="x")) == ClientCredentials("https://login.example/", "i", "x")
    token = await auth(ServiceAccountTokenSpec("aud", 700), Cluster(), service_account="sender")
    assert token == ServiceAccountToken("shop", "sender", "aud", 700)


@pytest.mark.parametrize(
    ("audience", "allowed", "words"),
    [
        ("https://hooks.example.com", False, "settings.allowServiceAccountTokens"),
        ("hookline.dev", True, "audience of Hookline's own API"),
    ],
)
def test_tokens_of_the_cluster_need_the_administrators_word_and_another_audience_than_ours(audience, allowed, words):
    with pytest.raises(SpecError, match=words):
        check_tokens(subscription(auth=ServiceAccountTokenSpec(audience, 700)), allowed)
    check_tokens(subscription(auth=ServiceAccountTokenSpec("https://hooks.example.com", 700)), allowed=True)
    check_tokens(subscription(auth=BearerSpec(REF)), allowed=False)


METHODS = {
    "bearer": BearerSpec(REF),
    "basic": BasicSpec("s"),
    "apiKey": ApiKeySpec("X-Key", REF),
    "oauth2": CLIENT,
}


@pytest.mark.parametrize("spec", METHODS.values(), ids=METHODS.keys())
async def test_an_absent_secret_or_key_is_named(spec):
    for api in (Cluster(), Cluster(other="x")):
        with pytest.raises(NotReadyError, match=r"^Secret 's' ") as error:
            await auth(spec, api)
        assert error.value.reason == "SecretNotFound"


@pytest.mark.parametrize(
    ("spec", "values"),
    [
        (BearerSpec(REF), {"k": ""}),
        (BearerSpec(REF), {"k": "Bearer SECRET"}),
        (BearerSpec(REF), {"k": "SECRET\r\nx: y"}),
        (BearerSpec(REF), {"k": "SECRETé"}),
        (BearerSpec(REF), {"k": "S" * 4097}),
        (ApiKeySpec("X-Key", REF), {"k": "SECRET\nx"}),
        (ApiKeySpec("X-Key", REF), {"k": ""}),
        (BasicSpec("s"), {"username": "SECRET:x", "password": "p"}),
        (BasicSpec("s"), {"username": "u", "password": "SECRET\nx"}),
        (BasicSpec("s"), {"username": "u", "password": "S" * 1025}),
        (CLIENT, {"id": "SECRET\x00", "secret": "s"}),
        (CLIENT, {"id": "i", "secret": ""}),
    ],
)
async def test_a_value_that_can_not_be_sent_is_found_before_it_is(spec, values):
    with pytest.raises(NotReadyError, match=r"^Secret 's'") as error:
        await auth(spec, Cluster(**values))
    assert error.value.reason == "SecretInvalid"
    assert "SECRET" not in str(error.value)


@given(st.text(max_size=30), st.text(max_size=30))
async def test_whatever_is_in_the_secret_a_header_is_one_line_of_ascii(username, password):
    try:
        header = (await auth(BasicSpec("s"), Cluster(username=username, password=password))).value
    except NotReadyError:
        return
    pair_ = base64.b64decode(header.removeprefix("Basic "), validate=True).decode()
    assert pair_ == f"{username.strip()}:{password.strip()}"


async def test_certificates_come_from_secrets_and_config_maps():
    api = Cluster(ca=pem(AUTHORITY), **{"tls.crt": CERTIFICATE, "tls.key": KEY})
    api.config_map = {"metadata": {"resourceVersion": "1"}, "data": {"ca.crt": f"# Übung\n{pem(AUTHORITY)}"}}
    assert await tls(None, api) is None
    found = await tls(TlsSpec(SecretRef("s", "ca"), "s", "1.3"), api)
    assert (found.authorities, found.certificate) == (pem(AUTHORITY).strip(), CERTIFICATE.strip())
    assert (found.private_key, found.min_version) == (KEY.strip(), "1.3")
    found = await tls(TlsSpec(ConfigMapRef("c", "ca.crt")), api)
    assert found.authorities.startswith("# Übung")


@pytest.mark.parametrize(
    "text", ["", " \n", "SECRET", CERTIFICATE.replace("A", "B")], ids=["empty", "blank", "text", "damaged"]
)
async def test_a_bundle_that_holds_no_certificates_never_means_the_systems(text):
    api = Cluster(ca=text)
    api.config_map = {"metadata": {"resourceVersion": "1"}, "data": {"ca": text}}
    for ref, reason in ((SecretRef("s", "ca"), "SecretInvalid"), (ConfigMapRef("c", "ca"), "ConfigMapInvalid")):
        with pytest.raises(NotReadyError) as error:
            await tls(TlsSpec(ref), api)
        assert error.value.reason == reason
        assert "SECRET" not in str(error.value)


async def test_an_absent_config_map_or_key_is_named():
    api = Cluster()
    for api.config_map in (None, {"metadata": {"resourceVersion": "1"}}):
        with pytest.raises(NotReadyError, match=r"^ConfigMap 'c' ") as error:
            await tls(TlsSpec(ConfigMapRef("c", "ca")), api)
        assert error.value.reason == "ConfigMapNotFound"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"tls.crt": CERTIFICATE}, "SecretNotFound"),
        ({"tls.crt": CERTIFICATE, "tls.key": OTHER_KEY}, "SecretInvalid"),
        ({"tls.crt": "x", "tls.key": KEY}, "SecretInvalid"),
        ({"tls.crt": CERTIFICATE, "tls.key": ""}, "SecretInvalid"),
    ],
    ids=["no key", "another key", "no certificate", "an empty key"],
)
async def test_a_client_certificate_that_can_not_be_used_is_named(values, reason):
    with pytest.raises(NotReadyError, match=r"^Secret 's'") as error:
        await tls(TlsSpec(certificate="s"), Cluster(**values))
    assert error.value.reason == reason


async def test_tls_is_not_silently_without_effect():
    with pytest.raises(NotReadyError, match="https") as error:
        await tls(TlsSpec(min_version="1.3"), Cluster(), url="http://a.example/")
    assert error.value.reason == "DestinationRefused"


def test_a_token_endpoint_stands_under_the_guard():
    def refuse(_):
        raise DestinationRefused("not there")

    with pytest.raises(SpecError, match="tokenUrl: not there") as error:
        check_token_url(subscription(auth=CLIENT), refuse)
    assert error.value.reason == "DestinationRefused"
    check_token_url(subscription(auth=BearerSpec(REF)), refuse)
    check_token_url(subscription(auth=CLIENT), lambda _: "https://login.example")


def test_all_that_is_referred_to_is_watched():
    both = subscription(auth=CLIENT, tls=TlsSpec(ConfigMapRef("c", "k"), "client"))
    assert set(references(both)) == {
        ("secrets", "shop", "s"),
        ("configmaps", "shop", "c"),
        ("secrets", "shop", "client"),
    }
    assert set(references(subscription(auth=BasicSpec("b")))) == {("secrets", "shop", "b")}
    assert list(references(subscription())) == []


async def test_a_changed_secret_or_config_map_takes_effect():
    api, applier = Cluster(k="one"), NotingApplier()
    destination = {
        "url": "https://a.example/",
        "auth": {"bearer": {"tokenFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}},
        "tls": {"caBundle": {"configMapKeyRef": {"name": "c", "key": "ca"}}},
    }
    api.config_map = {"metadata": {"resourceVersion": "1"}, "data": {"ca": "first"}}
    reconciler = controller(api, applier)
    reconciler.observe("ADDED", webhook(destination=destination))
    await reconciler.drain()

    async def now():
        await reconciler.secrets.polled.poll()
        await reconciler.drain()
        target = applier.targets["u1"]
        if target is None:
            return None
        assert isinstance(target.auth, StaticAuth)
        return target.auth.value, target.tls and target.tls.authorities

    assert await now() == ("Bearer one", "first")
    api.secrets["s"] = secret(version="2", k="two")
    assert await now() == ("Bearer two", "first")
    api.config_map = {"metadata": {"resourceVersion": "2"}, "data": {"ca": "second"}}
    assert await now() == ("Bearer two", "second")
    api.config_map = None
    assert await now() is None
    assert applier.findings[-1].blocked == "ConfigMapNotFound"
