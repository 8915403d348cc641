"""Every method of docs/authentication.md, as it is written there, from the Secret to a receiver that checks it."""

from __future__ import annotations

import base64
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

import rights
from support.authority import pair, pem
from support.cluster import eventually
from support.live import LiveOperator, LiveReceiver
from support.receiver import Receiver

DOCS = (Path(__file__).parents[2] / "docs" / "authentication.md").read_text()
BLOCKS = [yaml.safe_load(text)["destination"] for text in re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL)]
BY_METHOD = {next(iter(block.get("auth") or ["mutualTLS"])): block for block in BLOCKS}


TOKENS = ("--allow-service-account-tokens",)


@pytest.fixture
def operator(make_operator):
    """A running operator that may make tokens."""
    return make_operator(*TOKENS).start()


@pytest.fixture
def cluster(kubectl, namespace):
    """Makes Secrets and ConfigMaps: ``cluster("Secret", "name", key="value")``."""

    def make(kind: str, name: str, values: dict[str, str], **fields: str) -> None:
        data = "data" if kind == "ConfigMap" else "stringData"
        kubectl.apply(
            {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, data: values, **fields}, namespace=namespace
        )

    return make


@pytest.fixture
def strict():
    """A receiver with an authority of its own, that demands a certificate of another one."""
    clients = trustme.CA()
    live = LiveReceiver(Receiver(clients=clients))
    yield live, clients
    live.close()


@pytest.fixture
def issuer(receiver):
    """A token endpoint under the authority that the administrator trusts."""
    live = LiveReceiver(Receiver(authority=receiver.do(lambda one: one.authority)))
    body = {"access_token": "from.the-issuer", "token_type": "Bearer", "expires_in": 3600}
    live.do(lambda one: one.answer(200, body=json.dumps(body).encode()))
    yield live
    live.close()


def to(receiver, method, path=None):
    """The destination of the docs, at this receiver."""
    return BY_METHOD[method] | {"url": receiver.url(f"/{path or method.lower()}")}


def arrived(receiver, path, count=1):
    """The headers of the last request at this path, once there are so many."""
    found = eventually(
        lambda: len(seen := [one for one in receiver.requests if one.target == path]) >= count and seen,
        f"{count} requests at {path}",
    )
    return found[-1].headers


def test_each_method_arrives_as_the_documentation_says(
    receiver, issuer, strict, operator, subscriptions, cluster, config_map, kubectl, namespace
):
    demanding, clients = strict
    assert set(BY_METHOD) == {
        *("bearer", "basic", "apiKey", "oauth2ClientCredentials", "serviceAccountToken", "mutualTLS")
    }
    methods = ["bearer", "basic", "apiKey", "oauth2ClientCredentials"]
    for method in methods:
        destination = to(receiver, method)
        if method == "oauth2ClientCredentials":
            client = destination["auth"][method] | {"tokenUrl": issuer.url("/token")}
            destination = destination | {"auth": {method: client}}
        subscriptions.apply(method.lower(), destination=destination)
        subscriptions.wait("SecretNotFound", method.lower())
    subscriptions.apply("mutual", destination=to(demanding, "mutualTLS", "mutual"))
    subscriptions.wait("ConfigMapNotFound", "mutual")
    config_map("before", a="1")

    cluster("Secret", "hooks", {"token": "tok-1"})
    cluster("Secret", "hooks-login", {"username": "me", "password": "p:w"}, type="kubernetes.io/basic-auth")
    cluster("Secret", "hooks-key", {"key": "key-1"})
    cluster("Secret", "hooks-client", {"id": "client", "secret": "s-1"})
    for method in methods:
        subscriptions.wait("Watching", method.lower())
    assert arrived(receiver, "/bearer")["authorization"] == "Bearer tok-1"
    assert arrived(receiver, "/basic")["authorization"] == "Basic " + base64.b64encode(b"me:p:w").decode()
    assert arrived(receiver, "/apikey")["x-api-key"] == "key-1"
    assert arrived(receiver, "/oauth2clientcredentials")["authorization"] == "Bearer from.the-issuer"
    (asked,) = issuer.requests
    assert asked.body == b"grant_type=client_credentials&scope=hooks%3Awrite"
    assert asked.headers["authorization"] == "Basic " + base64.b64encode(b"client:s-1").decode()

    cluster("ConfigMap", "hooks-authority", {"ca.crt": "none"})
    subscriptions.wait("ConfigMapInvalid", "mutual")
    cluster("ConfigMap", "hooks-authority", {"ca.crt": demanding.ca_pem})
    subscriptions.wait("SecretNotFound", "mutual")
    assert demanding.requests == []
    present(cluster, trustme.CA())  # of an authority that the receiver does not know
    eventually(lambda: "lastFailure" in subscriptions.get("mutual")["status"], "a failure")
    assert demanding.requests == []
    present(cluster, clients)
    kubectl("annotate", "whsub", "mutual", "-n", namespace, "hookline.dev/requested-at=now")
    assert arrived(demanding, "/mutual")["webhook-id"]

    cluster("Secret", "hooks", {"token": "tok-2"})
    eventually(lambda: bearer_after(receiver, config_map) == "Bearer tok-2", "the new token is sent")
    shown = operator.log.read_text() + operator.get("/metrics")[1]
    for name in (*map(str.lower, methods), "mutual"):
        shown += json.dumps(subscriptions.get(name)["status"])
    assert [
        text for text in ("tok-1", "tok-2", "p:w", "key-1", "from.the-issuer", "PRIVATE KEY") if text in shown
    ] == []
    assert "hooks-client" in json.dumps(subscriptions.get("oauth2clientcredentials")), "the control: names are shown"


def present(cluster, authority):
    """Give the operator a client certificate of this authority."""
    certificate, key = pair(authority.issue_cert(common_name="hookline"))
    cluster("Secret", "hooks-certificate", {"tls.crt": certificate, "tls.key": key}, type="kubernetes.io/tls")


def bearer_after(receiver, config_map):
    """The Authorization of a message about a new change."""
    before = len([one for one in receiver.requests if one.target == "/bearer"])
    config_map("again", a=str(time.time()))
    return arrived(receiver, "/bearer", before + 1)["authorization"]


def claims_of(token: str, jwks: Any) -> Any:
    """Verify as a receiver does (RFC 7515, ES256), with the cluster's public keys; returns the claims."""

    def decoded(text: str) -> bytes:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

    head, payload, signature = token.split(".")
    header = json.loads(decoded(head))
    (key,) = [one for one in jwks["keys"] if one["kid"] == header["kid"]]
    assert (header["alg"], key["crv"]) == ("ES256", "P-256")
    x, y, r, s = (
        int.from_bytes(part)
        for part in (decoded(key["x"]), decoded(key["y"]), decoded(signature)[:32], decoded(signature)[32:])
    )
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    public.verify(encode_dss_signature(r, s), f"{head}.{payload}".encode(), ec.ECDSA(hashes.SHA256()))
    return json.loads(decoded(payload))


def test_a_token_of_the_cluster_is_verified_by_its_public_keys_alone(
    operator, subscriptions, receiver, config_map, kubectl, namespace
):
    subscriptions.ready("token", destination=to(receiver, "serviceAccountToken", "token"))
    config_map("one", a="1")
    token = arrived(receiver, "/token")["authorization"].removeprefix("Bearer ")
    jwks = json.loads(kubectl("get", "--raw", "/openid/v1/jwks"))
    issuer = json.loads(kubectl("get", "--raw", "/.well-known/openid-configuration"))["issuer"]
    claims = claims_of(token, jwks)
    assert (claims["iss"], claims["aud"]) == (issuer, ["https://hooks.example.com"])
    assert claims["sub"] == f"system:serviceaccount:{namespace}:default"
    assert 0 < claims["exp"] - time.time() <= 600
    head, payload, signature = token.split(".")
    with pytest.raises(InvalidSignature):
        claims_of(f"{head}.{payload[:-1]}.{signature}", jwks)
    assert token not in operator.log.read_text()

    # One that the API server would accept itself must not leave the cluster.
    audience = {"serviceAccountToken": {"audience": issuer}}
    subscriptions.apply("own", destination={"url": receiver.url("/own"), "auth": audience})
    subscriptions.wait("Watching", "own")
    config_map("two", a="1")
    failure = eventually(lambda: subscriptions.get("own")["status"].get("lastFailure"), "a failure")
    assert failure["reason"] == "TokenFailed"
    assert [one for one in receiver.requests if one.target == "/own"] == []


def test_the_rights_that_it_is_shipped_with_are_enough(
    control_plane, crds, kubectl, namespace, receiver, subscriptions, cluster, config_map, tmp_path
):
    """A token of the cluster and a bundle of a ConfigMap, which need rights that nothing else does."""
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": rights.OWN_NAMESPACE}})
    kubectl.apply(*rights.cluster_mode(tokens=True))
    config = json.loads(control_plane.kubeconfig.read_text())
    token = kubectl("create", "token", rights.NAME, "-n", rights.OWN_NAMESPACE, "--duration=1h").strip()
    config["users"][0]["user"] = {"token": token}
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    strangers = pem(trustme.CA())  # what arrives came by the subscription's own bundle
    live = LiveOperator(tmp_path / "kubeconfig", tmp_path / "operator", strangers, "--namespace", namespace, *TOKENS)
    try:
        live.start()
        bundle = {"tls": {"caBundle": BY_METHOD["mutualTLS"]["tls"]["caBundle"]}}
        subscriptions.apply(destination=to(receiver, "serviceAccountToken", "orders") | bundle)
        subscriptions.wait("ConfigMapNotFound")
        cluster("ConfigMap", "hooks-authority", {"ca.crt": receiver.ca_pem})
        subscriptions.wait("Watching")
        config_map("one", a="1")
        assert arrived(receiver, "/orders")["authorization"].startswith("Bearer ey")
    finally:
        live.kill()


def test_where_the_administrator_allows_no_tokens_the_status_says_what_to_set(
    receiver, make_operator, subscriptions, config_map
):
    make_operator().start()
    subscriptions.apply("token", destination=to(receiver, "serviceAccountToken", "token"))
    subscriptions.wait("DestinationRefused", "token")
    assert "settings.allowServiceAccountTokens" in subscriptions.condition("Accepted", "token")[2]


def test_every_block_of_the_documentation_is_known_here():
    assert len(BLOCKS) == len(BY_METHOD) == 6
